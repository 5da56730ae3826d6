use serde::Deserialize;

use super::*;

const HOME: &str = "1.3.6.1.4.1.99999.1";

#[derive(Deserialize)]
struct File {
    #[serde(default)]
    opaque: bool,
    #[serde(default)]
    not_initiating: bool,
    #[serde(default)]
    retrieve_url_alone: bool,
    #[serde(default)]
    location: Vec<LocationSettings>,
    #[serde(default)]
    community: Vec<CommunitySettings>,
}

fn open(toml: &str) -> Result<Registry, Vec<Problem>> {
    let mut file = toml::from_str::<File>(toml).expect("settings");
    for (position, location) in file.location.iter_mut().enumerate() {
        location.position = position;
    }
    for (position, community) in file.community.iter_mut().enumerate() {
        community.position = position;
    }
    Registry::open(&Settings {
        home_community_id: &community(HOME),
        locations: &file.location,
        communities: &file.community,
        initiating: !file.not_initiating,
        opaque_location_ids: file.opaque,
        retrieve_url_alone: file.retrieve_url_alone,
    })
}

fn community(text: &str) -> HomeCommunityId {
    HomeCommunityId::parse(text).expect("an OID")
}

fn location(uid: Option<&str>, url: Option<&str>) -> Vec<Location> {
    vec![Location {
        retrieve_location_uid: uid.map(|uid| RetrieveLocationUid::parse(uid).expect("a uid")),
        retrieve_url: url.map(Into::into),
        retrieve_ae_title: None,
    }]
}

fn two() -> Registry {
    open(
        r#"
        [[location]]
        alias = "a"
        retrieve_location_uid = "1.2.3"
        wado_rs_url = "http://127.0.0.1:1/rs/"
        [[location]]
        alias = "b"
        retrieve_location_uid = "urn:oid:1.2.4"
        wado_rs_url = "http://127.0.0.1:2/rs"
        retrieve_urls = ["https://pacs.example/rs/", "https://pacs.example/rs/deep"]
        "#,
    )
    .expect("a registry")
}

fn found(registry: &Registry, uid: Option<&str>, url: Option<&str>) -> Option<(String, Via)> {
    found_from(registry, None, uid, url)
}

fn found_from(
    registry: &Registry,
    from: Option<&str>,
    uid: Option<&str>,
    url: Option<&str>,
) -> Option<(String, Via)> {
    let from = from.map(community);
    let (source, via) = registry.resolve(&location(uid, url), from.as_ref())?;
    Some((source.alias.to_string(), via))
}

#[test]
fn the_retrieve_location_uid_wins_over_the_retrieve_url() {
    let registry = two();
    let both = found(&registry, Some("1.2.3"), Some("https://pacs.example/rs/"));
    assert_eq!(both, Some(("a".into(), Via::RetrieveLocationUid)));
}

#[test]
fn the_retrieve_url_selects_where_the_uid_is_unknown() {
    let registry = two();
    let by_url = Some(("b".into(), Via::RetrieveUrl));
    assert_eq!(
        found(
            &registry,
            Some("9.9"),
            Some("https://pacs.example/rs/deep/x")
        ),
        by_url
    );
    assert_eq!(
        found(&registry, None, Some("http://127.0.0.1:2/rs/")),
        by_url
    );
}

#[test]
fn what_is_not_configured_is_nowhere() {
    let registry = two();
    assert_eq!(
        found(
            &registry,
            Some("9.9"),
            Some("https://elsewhere.example/rs/")
        ),
        None
    );
    assert_eq!(found(&registry, None, None), None);
}

#[test]
fn one_server_may_go_by_two_location_uids() {
    let two = |second: &str| {
        open(&format!(
            "[[location]]\nalias = \"one\"\nretrieve_location_uid = \"1.2.3\"\n\
             wado_rs_url = \"http://127.0.0.1:1/rs/\"\nretrieve_urls = [\"https://x.example/\"]\n\
             [[location]]\nalias = \"two\"\n{second}\nretrieve_urls = [\"https://x.example/\"]\n"
        ))
    };
    let same = "retrieve_location_uid = \"1.2.4\"\nwado_rs_url = \"http://127.0.0.1:1/rs\"";
    let registry = two(same).expect("a registry");
    let second = found(&registry, Some("1.2.4"), Some("https://x.example/"));
    assert_eq!(second, Some(("two".into(), Via::RetrieveLocationUid)));
    let first = found(&registry, None, Some("https://x.example/"));
    assert_eq!(first, Some(("one".into(), Via::RetrieveUrl)));
    for other in [
        "wado_rs_url = \"http://127.0.0.1:1/rs/\"",
        "retrieve_location_uid = \"1.2.4\"\nwado_rs_url = \"http://127.0.0.1:2/rs/\"",
    ] {
        assert!(two(other).is_err(), "{other}");
    }
}

#[test]
fn further_addresses_are_on_the_allow_list_too() {
    let registry = open(
        r#"
        [[location]]
        wado_rs_url = "http://127.0.0.1:1/rs/"
        more_wado_rs_urls = ["http://127.0.0.2:1/rs", "https://pacs.example/dicom/"]
        "#,
    )
    .expect("a registry");
    let location = Some(("location-1".into(), Via::RetrieveUrl));
    for url in ["http://127.0.0.2:1/rs/", "https://pacs.example/dicom/x"] {
        assert_eq!(found(&registry, None, Some(url)), location, "{url}");
    }
}

#[test]
fn a_wado_uri_service_is_at_its_address_slash_for_slash() {
    for (url, dialled) in [
        ("http://127.0.0.1:1/wado", "http://127.0.0.1:1/wado"),
        ("http://127.0.0.1:1/wado/", "http://127.0.0.1:1/wado/"),
        ("http://127.0.0.1:1", "http://127.0.0.1:1/"),
    ] {
        let registry = open(&format!("[[location]]\nwado_uri_url = {url:?}")).expect("one");
        let source = &registry.sites()[0].source;
        assert_eq!(source.kind.to_string(), dialled);
        let meant = location(None, Some(url));
        assert!(registry.resolve(&meant, None).is_some());
    }
    for (settings, key) in [
        ("folder = \"/tmp\"", "folder"),
        ("wado_rs_url = \"http://127.0.0.1:2/\"", "wado_uri_url"),
        ("offers = [\"instances\", \"frames\"]", "offers"),
        (
            "more_wado_rs_urls = [\"http://127.0.0.1:2/\"]",
            "more_wado_rs_urls",
        ),
    ] {
        let text = format!("[[location]]\nwado_uri_url = \"http://127.0.0.1:1/wado\"\n{settings}");
        let problems = open(&text).expect_err("a problem");
        let keys: Vec<_> = problems.iter().map(ToString::to_string).collect();
        assert!(keys.len() == 1 && keys[0].contains(key), "{keys:?}");
    }
}

#[test]
fn further_addresses_are_other_ones_and_of_a_server() {
    let location = "location]]\nretrieve_location_uid = \"1.2.3\"";
    let community = "community]]\nhome_community_id = \"1.2.99.2\"";
    for (table, keys, expected) in [
        (
            location,
            "wado_rs_url = \"http://a/\"\nmore_wado_rs_urls = [\"http://a\"]",
            "location[0].more_wado_rs_urls: \"http://a\" is given twice",
        ),
        (
            location,
            "wado_rs_url = \"http://a/\"\nmore_wado_rs_urls = [\"ftp://a\"]",
            "location[0].more_wado_rs_urls: \"ftp://a\" is not",
        ),
        (
            location,
            "folder = \"/tmp\"\nmore_wado_rs_urls = [\"http://a\"]",
            "location[0].more_wado_rs_urls: these are further addresses",
        ),
        (
            community,
            "gateway_url = \"http://a/\"\nmore_gateway_urls = [\"http://b/\", \"http://b/\"]",
            "community[0].more_gateway_urls: \"http://b/\" is given twice",
        ),
        (
            community,
            "gateway_url = \"http://a/\"\nmore_gateway_urls = [\"ftp://b/\"]",
            "community[0].more_gateway_urls: it is not of http or https",
        ),
        (
            community,
            "more_gateway_urls = [\"http://a/\"]",
            "community[0].more_gateway_urls: these are further addresses",
        ),
    ] {
        let errors = open(&format!("[[{table}\n{keys}")).expect_err("a problem");
        let texts: Vec<_> = errors.iter().map(ToString::to_string).collect();
        let is_told = texts.iter().any(|text| text.starts_with(expected));
        assert!(is_told, "{expected} in {texts:?}");
    }
}

#[test]
fn tells_every_problem_at_once() {
    let opened = open(
        r#"
        [[location]]
        retrieve_location_uid = "ACME"
        wado_rs_url = "ftp://x/"
        [[location]]
        alias = "x"
        retrieve_location_uid = "1.2.3"
        folder = "/nowhere/at/all"
        [[location]]
        alias = "x"
        retrieve_location_uid = "1.2.3"
        "#,
    );
    let errors = opened.expect_err("problems");
    let texts: Vec<_> = errors.iter().map(ToString::to_string).collect();
    for expected in [
        "location[0].retrieve_location_uid",
        "location[0].wado_rs_url",
        "location[1].folder",
        "location[2].retrieve_location_uid",
        "location[2].wado_rs_url",
        "location[2].alias",
    ] {
        assert!(
            texts.iter().any(|text| text.starts_with(expected)),
            "{expected} in {texts:?}"
        );
    }
}

#[test]
fn an_opaque_location_id_needs_the_switch() {
    let settings =
        "[[location]]\nretrieve_location_uid = \"ACME\"\nwado_rs_url = \"http://127.0.0.1:1/\"";
    assert!(open(settings).is_err());
    let registry = open(&format!("opaque = true\n{settings}")).expect("a registry");
    assert!(found(&registry, Some("ACME"), None).is_some());
}

const OTHERS: &str = r#"
    [[community]]
    alias = "country-b"
    home_community_id = "1.2.99.2"
    gateway_url = "https://gateway.b.example/wado-rs/"
    retrieve_location_uids = ["1.2.3.20"]
    [[community]]
    alias = "country-c"
    home_community_id = "urn:oid:1.2.99.3"
    gateway_url = "https://gateway.c.example/wado-rs/"
    [[community]]
    alias = "only-calls"
    home_community_id = "1.2.99.4"
    retrieve_location_uids = ["1.2.3.40"]
    [[location]]
    alias = "ours"
    retrieve_location_uid = "1.2.3.10"
    wado_rs_url = "http://127.0.0.1:1/rs/"
    retrieve_urls = ["https://pacs.example/rs/"]
    retrieve_ae_titles = ["PACS"]
"#;

#[test]
fn a_series_belongs_where_its_location_does_whoever_wrote_the_manifest() {
    let registry = open(OTHERS).expect("a registry");
    for from in [None, Some(HOME), Some("1.2.99.3"), Some("9.9.9")] {
        let ours = found_from(&registry, from, Some("1.2.3.10"), None);
        assert_eq!(ours, Some(("ours".into(), Via::RetrieveLocationUid)));
        let theirs = found_from(&registry, from, Some("1.2.3.20"), None);
        assert_eq!(theirs, Some(("country-b".into(), Via::RetrieveLocationUid)));
    }
}

#[test]
fn what_no_settings_name_belongs_to_the_community_of_the_manifest() {
    let registry = open(OTHERS).expect("a registry");
    let url = Some("https://pacs.example/rs/");
    let theirs = Some(("country-c".into(), Via::HomeCommunityId));
    assert_eq!(
        found_from(&registry, Some("1.2.99.3"), Some("9.8.7"), url),
        theirs
    );
    // A Retrieve URL alone does not make a request between communities.
    let ours = Some(("ours".into(), Via::RetrieveUrl));
    assert_eq!(found_from(&registry, Some("1.2.99.3"), None, url), ours);
    for from in [None, Some(HOME), Some("1.2.99.4"), Some("9.9.9")] {
        assert_eq!(
            found_from(&registry, from, Some("9.8.7"), url),
            ours,
            "{from:?}"
        );
        assert_eq!(
            found_from(&registry, from, Some("9.8.7"), None),
            None,
            "{from:?}"
        );
    }
    let alone = open(&format!("retrieve_url_alone = true\n{OTHERS}")).expect("a registry");
    assert_eq!(found_from(&alone, Some("1.2.99.3"), None, url), theirs);
}

#[test]
fn without_the_initiating_role_nothing_is_asked_of_another_community() {
    let registry = open(&format!("not_initiating = true\n{OTHERS}")).expect("a registry");
    let theirs = found_from(&registry, None, Some("1.2.3.20"), None);
    assert_eq!(theirs, None);
    let theirs = found_from(&registry, Some("1.2.99.3"), Some("9.8.7"), None);
    assert_eq!(theirs, None);
}

#[test]
fn an_ae_title_means_nothing_in_a_manifest_of_another_community() {
    let registry = open(OTHERS).expect("a registry");
    let title = [Location {
        retrieve_ae_title: Some("PACS".into()),
        ..Location::default()
    }];
    assert!(registry.resolve(&title, None).is_some());
    assert!(registry.resolve(&title, Some(&community(HOME))).is_some());
    assert!(
        registry
            .resolve(&title, Some(&community("1.2.99.3")))
            .is_none()
    );
}

#[test]
fn a_request_names_a_location_of_ours_or_an_address_that_is_allowed() {
    let registry = open(OTHERS).expect("a registry");
    let site = |uid: Option<&str>, url: Option<&str>| {
        let asked = location(uid, url).remove(0);
        registry
            .site(&asked)
            .map(|site| site.source.alias.to_string())
    };
    let ours = Ok("ours".to_owned());
    assert_eq!(site(Some("1.2.3.10"), None), ours);
    assert_eq!(site(Some("1.2.3.10"), Some("https://evil.example/")), ours);
    assert_eq!(site(Some("9.9"), Some("https://pacs.example/rs/")), ours);
    assert_eq!(site(None, Some("https://pacs.example/rs/")), ours);
    assert_eq!(site(Some("9.9"), None), Err(NotLocated::Unknown));
    assert_eq!(site(Some("1.2.3.20"), None), Err(NotLocated::Unknown));
    let evil = site(Some("9.9"), Some("https://evil.example/"));
    assert_eq!(evil, Err(NotLocated::NotAllowed));
}

#[test]
fn a_token_is_not_sent_in_clear() {
    let directory = tempfile::tempdir().expect("a directory");
    let file = directory.path().join("token");
    std::fs::write(&file, "secret").expect("written");
    for (urls, is_fine) in [
        ("gateway_url = \"https://x.example/\"", true),
        ("gateway_url = \"http://x.example/\"", false),
        ("gateway_url = \"http://127.0.0.1:1/\"", false),
        (
            "gateway_url = \"https://x.example/\"\nmore_gateway_urls = [\"http://y.example/\"]",
            false,
        ),
    ] {
        for (token, has_token) in [
            (format!("token = {{ file = {file:?} }}"), true),
            (String::new(), false),
        ] {
            let text =
                format!("[[community]]\nhome_community_id = \"1.2.99.2\"\n{urls}\n{token}\n");
            let opened = open(&text);
            assert_eq!(opened.is_ok(), is_fine || !has_token, "{text}");
            if let Err(problems) = opened {
                let told = problems[0].to_string();
                assert!(
                    told.starts_with("community[0].token: it would be sent in clear"),
                    "{told}"
                );
            }
        }
    }
}

#[test]
fn tells_what_is_wrong_with_communities() {
    let errors = open(
        r#"
        [[community]]
        home_community_id = "1.3.6.1.4.1.99999.1"
        gateway_url = "ftp://x/"
        retrieve_location_uids = ["1.2.3.10", "ACME", "1.2.3.20"]
        token = { env = "XCWADO_NO_SUCH_VARIABLE" }
        [[community]]
        alias = "ours"
        home_community_id = "1.2.99.2"
        gateway_url = "https://x.example/"
        retrieve_location_uids = ["1.2.3.20"]
        http.certificate = "/nowhere.pem"
        [[community]]
        home_community_id = "1.2.99.2"
        gateway_url = "https://x.example/"
        token = { file = "/nowhere" }
        [[location]]
        alias = "ours"
        retrieve_location_uid = "1.2.3.10"
        wado_rs_url = "http://127.0.0.1:1/"
        "#,
    )
    .expect_err("problems");
    let texts: Vec<_> = errors.iter().map(ToString::to_string).collect();
    for expected in [
        "community[0].home_community_id: it is our own",
        "community[0].gateway_url: ",
        "community[0].retrieve_location_uids: \"1.2.3.10\" is a location of ours",
        "community[0].retrieve_location_uids: \"ACME\" is not an OID",
        "community[1].alias: ",
        "community[1].retrieve_location_uids: \"1.2.3.20\" is listed twice",
        "community[1].http: ",
        "community[2].home_community_id: it belongs to two communities",
        "community[2].token: ",
    ] {
        let is_told = texts.iter().any(|text| text.starts_with(expected));
        assert!(is_told, "{expected} in {texts:#?}");
    }
}

#[test]
fn a_name_is_needed_as_soon_as_there_are_two() {
    let url = |at| format!("wado_rs_url = \"http://127.0.0.{at}/rs/\"\n");
    let id = |at| format!("home_community_id = \"1.2.3.{at}\"\n");
    for (table, one, other) in [("location", url(1), url(2)), ("community", id(1), id(2))] {
        let of = |first: &str, second: &str| {
            let (first, second) = (format!("{first}{one}"), format!("{second}{other}"));
            open(&format!("[[{table}]]\n{first}[[{table}]]\n{second}"))
        };
        assert!(open(&format!("[[{table}]]\n{one}")).is_ok());
        assert!(of("alias = \"a\"\n", "alias = \"b\"\n").is_ok());
        let problems = of("alias = \"a\"\n", "").expect_err("a problem");
        let text = problems.iter().map(ToString::to_string).collect::<Vec<_>>();
        assert!(
            text[0].starts_with(&format!("{table}[1].alias: set an alias")),
            "{text:?}"
        );
        assert!(of("alias = \"a\"\n", "alias = \"a\"\n").is_err());
    }
}

#[test]
fn a_key_names_the_source_and_not_its_place_or_its_name() {
    let location = |alias: &str, uid: &str, rest: &str| {
        format!("[[location]]\nalias = {alias:?}\nretrieve_location_uid = {uid:?}\n{rest}\n")
    };
    let keys = |toml: &str| -> Vec<String> {
        let registry = open(toml).expect("a registry");
        let keys = registry
            .sites()
            .iter()
            .map(|site| site.source.key().to_string());
        keys.collect()
    };
    let key = |alias: &str, uid: &str, rest: &str| keys(&location(alias, uid, rest)).remove(0);
    let (x, y) = (
        "wado_rs_url = \"http://x.example/rs\"",
        "wado_rs_url = \"http://y.example/rs/\"",
    );
    let one = keys(&[location("a", "1.2", x), location("b", "1.3", y)].concat());
    let other = keys(&[location("q", "1.3", y), location("a", "1.2", x)].concat());
    assert_eq!(one, [&*other[1], &*other[0]]);
    // However the address is written, and whatever other ways there are to the server.
    for same in [
        "wado_rs_url = \"HTTP://X.example:80/rs/\"",
        "wado_rs_url = \"http://x.example/rs/\"\nmore_wado_rs_urls = [\"http://y.example/rs/\"]\nfresh_hours = 1",
    ] {
        assert_eq!(key("a", "1.2", same), one[0], "{same}");
    }
    for (uid, another) in [
        ("1.2", "wado_rs_url = \"http://x.example/rs2/\""),
        ("1.2", "wado_rs_url = \"https://x.example/rs/\""),
        ("1.2", "wado_rs_url = \"http://x.example:8080/rs/\""),
        (
            "1.2",
            "wado_rs_url = \"http://y.example/rs/\"\nmore_wado_rs_urls = [\"http://x.example/rs/\"]",
        ),
        ("1.2", "wado_uri_url = \"http://x.example/rs/\""),
        ("1.3", x),
    ] {
        assert_ne!(key("a", uid, another), one[0], "{another}");
    }
    let registry = open(&location("a", "1.2", x)).expect("a registry");
    assert!(registry.knows(&one[0]) && !registry.knows(&one[1]));
}

#[test]
fn a_key_of_a_location_elsewhere_names_community_gateway_and_location() {
    let of = |gateway: &str, id: &str, uid: &str| {
        let registry = open(&format!(
            "[[community]]\nhome_community_id = {id:?}\ngateway_url = {gateway:?}\n"
        ));
        let registry = registry.expect("a registry");
        let (source, _) = registry
            .resolve(&location(Some(uid), None), Some(&community(id)))
            .expect("a source");
        assert!(registry.knows(&source.key()));
        source.key()
    };
    let key = of("https://b.example/wado-rs/", "1.2.3", "1.5");
    assert_eq!(of("https://B.example:443/wado-rs", "1.2.3", "1.5"), key);
    let others = [
        of("https://c.example/wado-rs/", "1.2.3", "1.5"),
        of("https://b.example/wado-rs/", "1.2.4", "1.5"),
        of("https://b.example/wado-rs/", "1.2.3", "1.6"),
    ];
    assert!(!others.contains(&key));
    let nobody = open("").expect("a registry");
    assert!(!nobody.knows(&key));
}
