use http::HeaderValue;
use http::header::COOKIE;

use super::*;

fn logins(public_url: &str) -> Logins {
    let text = "issuer = \"https://login.example\"\nclient_id = \"gateway\"\n\
                origins = [\"https://viewer.example\"]";
    let settings: LoginSettings = toml::from_str(text).expect("settings");
    let url = Url::parse(public_url).expect("a URL");
    Logins::open(&settings, &url).expect("logins")
}

fn headers(cookies: &[&str]) -> HeaderMap {
    let fields = cookies.iter().map(|cookie| {
        let value = HeaderValue::from_str(cookie).expect("a field");
        (COOKIE, value)
    });
    fields.collect()
}

#[test]
fn a_login_returns_to_a_path_of_ours_only() {
    for public_url in ["https://gw.example/xcwado", "https://gw.example/xcwado/"] {
        let logins = logins(public_url);
        for path in [
            "/xcwado/",
            "/xcwado/viewers?a=b",
            "/xcwado/manifests/1/viewers?x=%2F%2Fy",
        ] {
            assert_eq!(logins.own_path(path), path);
        }
        assert_eq!(logins.own_path("/xcwado/a#b"), "/xcwado/a");
        for path in [
            "",
            "xcwado/",
            "/",
            "/other/",
            "/xcwado/../other",
            "/xcwado/%2e%2e/other",
            "//evil.example/xcwado/",
            "///evil.example",
            "/\\evil.example",
            "\\\\evil.example",
            "https://evil.example/xcwado/",
            "https://gw.example/xcwado/",
            "javascript:alert(1)",
            "/xcwado/\r\nSet-Cookie: a=b",
            "/xcwado/\t",
            " /xcwado/",
            &format!("/xcwado/{}", "x".repeat(3000)),
        ] {
            assert_eq!(logins.own_path(path), "/xcwado/", "{path:.40}");
        }
    }
    let logins = logins("https://gw.example");
    for path in [
        "//evil.example",
        "/.//evil.example",
        "/a/..//evil.example",
        "/\t/evil.example",
    ] {
        assert_eq!(logins.own_path(path), "/", "{path}");
    }
    assert_eq!(logins.own_path("/viewers"), "/viewers");
}

#[test]
fn a_session_is_for_pages_of_listed_origins() {
    let logins = logins("https://gw.example/xcwado");
    for (origin, is_listed) in [
        ("https://gw.example", true),
        ("https://viewer.example", true),
        ("https://viewer.example:8443", false),
        ("http://viewer.example", false),
        ("https://viewer.example.evil.example", false),
        ("https://a.viewer.example", false),
        ("null", false),
        ("", false),
    ] {
        assert_eq!(logins.is_for(origin), is_listed, "{origin}");
    }
}

#[test]
fn what_is_no_origin_or_no_session_is_refused() {
    let base = "issuer = \"https://login.example\"\nclient_id = \"gateway\"\n";
    for text in [
        "origins = [\"https://viewer.example/\"]",
        "origins = [\"https://viewer.example:443\"]",
        "origins = [\"viewer.example\"]",
        "origins = [\"*\"]",
        "origins = [\"null\"]",
        "session_hours = 0",
        "session_hours = 169",
        "session_hours = -1",
    ] {
        let read = toml::from_str::<LoginSettings>(&format!("{base}{text}"));
        assert!(read.is_err(), "{text}");
    }
    let clear: LoginSettings = toml::from_str(&base.replace("https", "http")).expect("settings");
    let url = Url::parse("https://gw.example").expect("a URL");
    let opened = Logins::open(&clear, &url);
    assert!(matches!(opened, Err(credentials::Error::InClear)));
}

#[test]
fn a_cookie_is_ours_or_none() {
    let secret = Secret::new().expect("random");
    let cookie = secret.set(SESSION, 60);
    let (pair, attributes) = cookie.split_once(';').expect("attributes");
    assert_eq!(
        attributes,
        " Path=/; Secure; HttpOnly; SameSite=Lax; Max-Age=60"
    );
    assert!(!format!("{secret:?}").contains(secret.as_str()));
    let sent = |cookies: &[&str]| {
        let sent = Secret::sent(&headers(cookies), SESSION);
        sent.map(|sent| sent.digest() == secret.digest())
    };
    assert_eq!(sent(&[pair]), Some(true));
    assert_eq!(sent(&["a=b", &format!("c=d; {pair};e=f")]), Some(true));
    let other = format!("{SESSION}={}", "A".repeat(43));
    for cookies in [
        vec![],
        vec!["a=b"],
        vec![&cookie[1..44]],
        vec![pair, pair],
        vec![pair, &other],
        vec![&pair[..pair.len() - 1]],
    ] {
        assert_eq!(sent(&cookies), None, "{cookies:?}");
    }
    assert_eq!(sent(&[&other]), Some(false));
}

#[test]
fn what_a_browser_brings_back_is_unambiguous() {
    let read = |query: &str| Returned::read(query).map(|returned| returned.code);
    assert_eq!(read("code=a&state=b&iss=c"), Ok("a".into()));
    assert_eq!(read("state=b&code=a%20b"), Ok("a b".into()));
    for query in [
        "",
        "code=a",
        "state=b",
        "code=&state=b",
        "code=a&code=b&state=c",
        "code=a&state=b&state=c",
        "code=a&state=b&iss=c&iss=d",
    ] {
        assert_eq!(read(query), Err(Failure::Unknown), "{query}");
    }
    let long = format!("code={}&state=b", "x".repeat(5000));
    assert_eq!(read(&long), Err(Failure::Unknown));
    for query in ["error=access_denied&state=b", "code=a&state=b&error=x"] {
        assert_eq!(read(query), Err(Failure::Denied), "{query}");
    }
}

#[tokio::test]
async fn a_guessed_cookie_or_state_is_nobody() {
    let logins = logins("https://gw.example");
    let guess = Secret::new().expect("random");
    let cookies = [SESSION, LOGIN].map(|name| format!("{name}={}", guess.as_str()));
    let headers = headers(&cookies.each_ref().map(String::as_str));
    assert_eq!(logins.session(&headers), None);
    let query = format!("code=a&state={}", guess.as_str());
    let finished = logins.finish(&query, &headers).await;
    assert_eq!(finished.map(|_session| ()), Err(Failure::Unknown));
    let ended = logins.end(&headers);
    assert_eq!(ended.location, "/");
    assert!(ended.cookie.starts_with("__Host-xcwado=; "));
}

#[tokio::test]
async fn a_dead_provider_costs_less_than_a_second() {
    let text = "issuer = \"http://192.0.2.1\"\nclient_id = \"gateway\"\nin_clear = true";
    let settings: LoginSettings = toml::from_str(text).expect("settings");
    let url = Url::parse("https://gw.example").expect("a URL");
    let logins = Logins::open(&settings, &url).expect("logins");
    for _ in 0..20 {
        let began = std::time::Instant::now();
        let begun = logins.begin("/", &HeaderMap::new()).await;
        assert_eq!(begun.map(|_login| ()), Err(Failure::Unavailable));
        assert!(began.elapsed() < Duration::from_secs(1));
    }
}
