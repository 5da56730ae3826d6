use super::*;

#[test]
fn the_commented_default_is_what_the_code_defaults_to() {
    let text = include_str!("../../config.toml");
    let config = Config::parse(text).expect("it can be read");
    let bare = Config::parse("home_community_id = \"1.3.6.1.4.1.99999.1\"").expect("settings");
    assert_eq!(format!("{config:?}"), format!("{bare:?}"));
    // What is commented out can be uncommented: `# key = value`, `# [table]`.
    let uncommented: String = text
        .lines()
        .map(|line| match line.strip_prefix("# ") {
            Some(setting) if setting.contains(" = ") || setting.starts_with('[') => setting,
            Some(_) | None => line,
        })
        .flat_map(|line| [line, "\n"])
        .collect();
    let config = Config::parse(&uncommented).expect("it can be uncommented");
    assert_eq!(config.locations.len(), 2);
    assert_eq!(config.communities.len(), 1);
    assert!(config.gateway_listen.is_some());
    let shown = |config: &Config| {
        format!(
            "{:?} {:?} {:?}",
            config.cache, config.retrieve, config.limits
        )
    };
    assert_eq!(shown(&config), shown(&bare));
}

#[test]
fn tells_every_problem_at_once_with_table_and_key() {
    let problems = Config::parse(
        r#"
        public_url = "ftp://x/"
        colour = "blue"
        [listen]
        address = "nowhere"
        conections = 5
        drain_seconds = "soon"
        [[location]]
        retrieve_location_uid = 5
        wado_rs_url = "http://127.0.0.1:1/"
        http.conect_seconds = 1
        [[location]]
        offers = ["everything"]
        "#,
    )
    .expect_err("problems");
    for expected in [
        "home_community_id: the key is missing",
        "public_url: ",
        "colour: unknown key",
        "listen.address: ",
        "listen.conections: unknown field",
        "listen.drain_seconds: invalid type",
        "location[0].retrieve_location_uid: ",
        "location[0].http.conect_seconds: unknown field",
        "location[1].offers.0: ",
    ] {
        let is_told = problems
            .0
            .iter()
            .any(|problem| problem.starts_with(expected));
        assert!(is_told, "{expected} in {problems:#?}");
    }
    assert_eq!(problems.0.len(), 9, "{problems:#?}");
}

#[test]
fn the_public_url_follows_the_address_when_it_is_not_set() {
    let url = |listen: &str| {
        let consent = "[listen]\neverybody_may_see_everything = true";
        let listen = listen.replace("[listen]", consent);
        let text = format!("home_community_id = \"1.2.3\"\n{listen}");
        Config::parse(&text)
            .expect("settings")
            .public_url()
            .to_string()
    };
    for (listen, expected) in [
        ("", "http://127.0.0.1:8080/"),
        ("[listen]\naddress = \"10.1.2.3:80\"", "http://10.1.2.3/"),
        (
            "[listen]\naddress = \"[fd00::1]:8080\"",
            "http://[fd00::1]:8080/",
        ),
        (
            "[listen]\naddress = \"0.0.0.0:9000\"",
            "http://127.0.0.1:9000/",
        ),
        ("[listen]\naddress = \"[::]:9000\"", "http://[::1]:9000/"),
        (
            "[listen]\naddress = \"10.1.2.3:443\"\ncertificate = \"c\"\nprivate_key = \"k\"",
            "https://10.1.2.3/",
        ),
        (
            "public_url = \"https://pacs.example/x\"\n[listen]\naddress = \"10.1.2.3:443\"",
            "https://pacs.example/x",
        ),
    ] {
        assert_eq!(url(listen), expected, "{listen}");
    }
}

#[test]
fn a_listener_that_others_reach_needs_tls_and_rules_or_consent() {
    const TLS: &str = "certificate = \"c\"\nprivate_key = \"k\"\n";
    const PROXY: &str = "proxies = [\"10.0.0.1\"]\n";
    const RULE: &str = "[[rule]]\ntransactions = [\"search\"]\nmanifests = \"all\"\n";
    let problems = |url: &str, listen: &str, rule: &str| {
        let text = format!(
            "home_community_id = \"1.2.3\"\npublic_url = \"{url}\"\n[listen]\n{listen}{rule}"
        );
        Config::parse(&text).map_or_else(|problems| problems.0.len(), |_| 0)
    };
    let (clear, secure) = ("http://pacs.example", "https://pacs.example");
    let outside = "address = \"0.0.0.0:8080\"\n";
    for (url, listen, rule, expected) in [
        (clear, String::new(), "", 0),
        (clear, "address = \"[::1]:8080\"\n".into(), "", 0),
        (clear, outside.into(), "", 2),
        (secure, outside.into(), "", 2),
        (secure, format!("{outside}{TLS}"), "", 1),
        (secure, format!("{outside}{TLS}"), RULE, 0),
        (clear, outside.into(), RULE, 1),
        (secure, format!("{outside}{PROXY}"), RULE, 0),
        (clear, format!("{outside}{PROXY}"), RULE, 1),
        // Rules that do not apply protect nothing.
        (
            secure,
            format!("{outside}{TLS}access = \"open\"\n"),
            RULE,
            1,
        ),
        (
            clear,
            format!("{outside}everybody_may_see_everything = true\n"),
            "",
            0,
        ),
        (clear, "operator_address = \"0.0.0.0:9090\"\n".into(), "", 1),
    ] {
        assert_eq!(
            problems(url, &listen, rule),
            expected,
            "{url} {listen} {rule}"
        );
    }
}

#[test]
fn answers_to_identified_clients_are_not_for_shared_caches() {
    let problems = |more: &str| {
        let text = format!(
            "home_community_id = \"1.2.3\"\n[cache]\ncache_control = \"Public, max-age=60\"\n{more}"
        );
        Config::parse(&text).map_or_else(|problems| problems.0.len(), |_| 0)
    };
    assert_eq!(problems(""), 0);
    assert_eq!(problems("[listen]\naccess = \"rules\""), 1);
}

#[test]
fn a_listener_on_loopback_may_be_reached_by_a_proxy() {
    for (settings, expected) in [
        ("", false),
        ("public_url = \"http://localhost:8080\"", false),
        ("public_url = \"https://pacs.example\"", true),
        ("[listen]\nproxies = [\"127.0.0.1\"]", true),
    ] {
        let text = format!("home_community_id = \"1.2.3\"\n{settings}");
        let config = Config::parse(&text).expect("settings");
        assert_eq!(config.is_reached_by_a_proxy(), expected, "{settings}");
    }
}

#[test]
fn a_token_of_a_partner_needs_a_listener_that_asks_for_certificates() {
    let partner = "[[community]]\nhome_community_id = \"1.2.4\"\ntheir_token = { env = \"X\" }\n";
    let text = format!("home_community_id = \"1.2.3\"\n{partner}");
    let problems = Config::parse(&text).expect_err("a problem");
    assert!(
        problems.0[0].starts_with("community[0].their_token: "),
        "{problems}"
    );
    let listener = "[listen]\nclient_authorities = \"a\"\n";
    assert!(Config::parse(&format!("{text}{listener}")).is_ok());
}

#[test]
fn what_is_no_toml_is_told_with_its_line() {
    let problems = Config::parse("home_community_id = \n").expect_err("a problem");
    assert!(problems.to_string().contains("line 1"), "{problems}");
}
