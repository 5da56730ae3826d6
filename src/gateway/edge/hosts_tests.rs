use http::Request;

use super::*;

fn authority(
    version: Version,
    uri: &str,
    hosts: &[&str],
) -> Result<Option<Authority>, InvalidHost> {
    let mut request = Request::builder().version(version).uri(uri);
    for host in hosts {
        request = request.header(HOST, *host);
    }
    let (head, ()) = request.body(()).expect("a request").into_parts();
    Authority::of(&head)
}

fn name(text: &str, port: Option<u16>) -> Authority {
    let host = Host::Name(HostName::parse(text).expect("a name"));
    Authority { host, port }
}

#[test]
fn the_target_names_the_host_first_and_the_field_else() {
    use Version as V;
    let a = |port| Ok(Some(name("a.example", port)));
    for (version, uri, hosts, expected) in [
        (V::HTTP_11, "/", &["A.example:80"][..], a(Some(80))),
        (V::HTTP_11, "/", &["a.example."], a(None)),
        (V::HTTP_11, "http://a.example/", &["b.example"], a(None)),
        (
            V::HTTP_11,
            "http://a.example/",
            &[],
            Err(InvalidHost::Missing),
        ),
        (V::HTTP_11, "/", &[], Err(InvalidHost::Missing)),
        (V::HTTP_10, "/", &[], Ok(None)),
        (
            V::HTTP_11,
            "/",
            &["a.example", "a.example"],
            Err(InvalidHost::Repeated),
        ),
        (
            V::HTTP_10,
            "/",
            &["a.example", "b.example"],
            Err(InvalidHost::Repeated),
        ),
        (V::HTTP_2, "http://a.example/", &[], a(None)),
        (V::HTTP_2, "http://a.example/", &["a.example"], a(None)),
        (
            V::HTTP_2,
            "http://a.example/",
            &["b.example"],
            Err(InvalidHost::Malformed),
        ),
        (V::HTTP_2, "/", &["a.example"], a(None)),
        (V::HTTP_2, "/", &[], Err(InvalidHost::Missing)),
        (
            V::HTTP_11,
            "http://u:p@a.example/",
            &["a.example"],
            Err(InvalidHost::UserInformation),
        ),
        (
            V::HTTP_11,
            "/",
            &["u@a.example"],
            Err(InvalidHost::UserInformation),
        ),
    ] {
        assert_eq!(
            authority(version, uri, hosts),
            expected,
            "{version:?} {uri} {hosts:?}"
        );
    }
}

#[test]
fn a_host_is_a_name_or_an_address_and_perhaps_a_port() {
    for text in [
        "",
        ":80",
        "a b",
        "a/b",
        "a,b",
        "a.example:x",
        "a.example:-1",
        "a.example:65536",
        "a.example:80:80",
        "[::1",
        "[::1]80",
        "[x]",
        "::1",
        "a.example:80 ",
        "1.2.3",
        "127.1",
        "é.example",
        "a%2eb",
    ] {
        assert_eq!(Authority::parse(text).ok(), None, "{text:?}");
    }
    for text in ["127.0.0.1", "127.0.0.1:8080", "[::1]", "[::1]:8080"] {
        let parsed = Authority::parse(text).expect(text);
        assert!(matches!(parsed.host, Host::Address(_)), "{text}");
    }
    assert_eq!(Authority::parse("a.example:"), Ok(name("a.example", None)));
}

#[test]
fn ours_are_names_that_are_listed_or_certified() {
    let url = Url::parse("https://pacs.example/x").expect("a URL");
    let listed = HostName::parse("alias.example").expect("a name");
    let hosts = Hosts::new(&url, &[listed]);
    let certified = ["gateway.example", "*.wild.example"];
    let certificate = Certificate {
        fingerprint: crate::credentials::Fingerprint::parse(&"0".repeat(64)).expect("digits"),
        names: certified
            .map(|name| Name::parse(name).expect("a name"))
            .into(),
        not_before: 0,
        not_after: i64::MAX,
    };
    let has = |host: &str, shown: Option<&Certificate>| {
        hosts.have(&Host::parse(host).expect(host), shown)
    };
    for host in [
        "pacs.example",
        "PACS.example",
        "alias.example",
        "localhost",
        "10.0.0.1",
        "::1",
    ] {
        assert!(has(host, None), "{host}");
    }
    for host in ["gateway.example", "a.wild.example"] {
        assert!(has(host, Some(&certificate)) && !has(host, None), "{host}");
    }
    for host in [
        "evil.example",
        "x.pacs.example",
        "localhost.evil.example",
        "a.b.wild.example",
        "wild.example",
    ] {
        assert!(!has(host, Some(&certificate)), "{host}");
    }
}

#[test]
fn an_origin_is_ours_with_the_same_host_and_port() {
    let ours = name("pacs.example", Some(8080));
    let is_ours =
        |ours: &Authority, origin: &str| Url::parse(origin).is_ok_and(|origin| ours.is_of(&origin));
    assert!(is_ours(&ours, "http://pacs.example:8080"));
    assert!(is_ours(&name("pacs.example", None), "https://pacs.example"));
    for other in [
        "http://pacs.example",
        "http://evil.example:8080",
        "null",
        "ftp://pacs.example:8080",
    ] {
        assert!(!is_ours(&ours, other), "{other}");
    }
}
