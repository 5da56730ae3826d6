//! Persons who log in at a certified OpenID Provider.

use std::time::{Duration, Instant};

use http::HeaderMap;
use http::header::COOKIE;
use serde_json::json;
use tempfile::TempDir;
use tokio::time::timeout;
use url::Url;
use xcwado::access::person::{Begun, Failure, Finished, LoginSettings, Logins};
use xcwado::metrics::Metrics;

use crate::commands::process::{outcome, run_beside};
use crate::peers::provider::{Browser, Provider};
use crate::rig::origin::{Gate, Origin, honest};
use crate::rig::study::{Study, at};
use crate::rig::{Answer, Rig};

/// A second, and what a busy machine adds.
const SOON: Duration = Duration::from_secs(3);
const GATEWAY: &str = "https://gw.example/xcwado";
const CALLBACK: &str = "https://gw.example/xcwado/login/callback";

fn provider() -> Option<Provider> {
    Provider::start(&json!({"redirect_uri": CALLBACK}))
}

/// The gateway as a confidential client, and as a public one.
fn logins(provider: &Provider, method: &str) -> (TempDir, Logins) {
    let directory = tempfile::tempdir().expect("a directory");
    let file = directory.path().join("secret");
    std::fs::write(&file, "pages-secret\n").expect("written");
    let secret = match method {
        "none" => String::new(),
        _ => format!("client_secret = {{ file = {file:?} }}"),
    };
    let text = format!(
        "issuer = {:?}\nclient_id = \"pages-{method}\"\nin_clear = true\n{secret}",
        provider.issuer
    );
    let settings: LoginSettings = toml::from_str(&text).expect("settings");
    let logins = Logins::open(&settings, &Url::parse(GATEWAY).expect("a URL")).expect("logins");
    logins.watch(&Metrics::new());
    (directory, logins)
}

/// A request with these `Set-Cookie` fields as its cookies.
fn with(cookies: &[&str]) -> HeaderMap {
    let pairs = cookies.iter().map(|cookie| {
        let pair = cookie.split(';').next().expect("a cookie");
        (COOKIE, pair.parse().expect("a field"))
    });
    pairs.collect()
}

async fn begin(logins: &Logins) -> Begun {
    let begun = logins.begin("/xcwado/viewers?a=b", &HeaderMap::new()).await;
    begun.expect("a redirect")
}

/// The query with which the provider sends the browser back.
async fn returned(provider: &Provider, begun: &Begun, person: &str) -> String {
    let back = Browser::new(provider).log_in(&begun.location, person).await;
    let query = back
        .strip_prefix(CALLBACK)
        .and_then(|rest| rest.strip_prefix('?'));
    query.unwrap_or_else(|| panic!("{back}")).to_owned()
}

async fn log_in(provider: &Provider, logins: &Logins, person: &str) -> Finished {
    let begun = begin(logins).await;
    let query = returned(provider, &begun, person).await;
    let finished = logins.finish(&query, &with(&[&begun.cookie])).await;
    finished.expect("a session")
}

#[tokio::test]
async fn a_person_logs_in_and_out() {
    let Some(provider) = provider() else {
        return;
    };
    for method in ["client_secret_basic", "none"] {
        let (_directory, logins) = logins(&provider, method);
        let begun = begin(&logins).await;
        let query = returned(&provider, &begun, "dr-a").await;
        let finished = logins.finish(&query, &with(&[&begun.cookie])).await;
        let finished = finished.expect("a session");
        assert_eq!(finished.location, "/xcwado/viewers?a=b");
        let [session, login] = &finished.cookies;
        assert!(session.starts_with("__Host-xcwado="), "{session}");
        assert!(
            session.contains("Secure; HttpOnly; SameSite=Lax"),
            "{session}"
        );
        assert!(login.starts_with("__Host-xcwado-login=;"), "{login}");
        let claims = logins.session(&with(&[session])).expect("a session");
        assert_eq!((&*claims.issuer, &*claims.subject), ("login", "dr-a"));
        assert_eq!(&*claims.purposes[0].code, "TREAT");
        assert_eq!(&*claims.scopes[0], "openid");

        let ended = logins.end(&with(&[session]));
        let end = format!("{}/session/end?id_token_hint=", provider.issuer);
        assert!(ended.location.starts_with(&end), "{}", ended.location);
        assert_eq!(logins.session(&with(&[session])), None);
        let page = Browser::new(&provider).get(&ended.location).await;
        assert_eq!(page.status, 200, "{page:?}");
        assert_eq!(logins.end(&with(&[session])).location, "/xcwado/");
    }
}

/// The value of a cookie that an answer sets, as a request sends it.
fn sent(answer: &Answer, name: &str) -> Option<String> {
    let fields = answer.headers.get_all("set-cookie").iter();
    let mut fields = fields.filter_map(|field| field.to_str().ok());
    let field = fields.find(|field| field.starts_with(&format!("{name}=")))?;
    field.split(';').next().map(ToOwned::to_owned)
}

#[tokio::test]
async fn whoever_opens_an_address_logs_in_and_sees_it() {
    let Some(provider) = provider() else {
        return;
    };
    let study = Study::new(1).with(3, at(10));
    let (instances, gate) = (study.instances(), Gate::new());
    let waits = gate.clone();
    // The study never arrives to its end.
    let origin = Origin::start(move |asked| {
        let reply = honest(&instances, asked);
        let length = reply.whole_body().len();
        reply.held_at(length * 2 / 3, &waits)
    })
    .await;
    let rules = "[[rule]]\nanyone = true\ntransactions = [\"register\"]\n\
                 [[rule]]\nissuers = [\"login\"]\nsubjects = [\"dr-a\"]\n\
                 transactions = [\"search\", \"retrieve\", \"link\"]\nmanifests = \"all\"\n";
    let login = format!(
        "[login]\nissuer = {:?}\nclient_id = \"pages-none\"\nin_clear = true\n\
         origins = [\"https://viewer.example\"]\n",
        provider.issuer
    );
    let rig = Rig::start_at(GATEWAY, &format!("{login}{}{rules}", origin.location(10)));
    let manifest = rig.register(study.fhir()).await;
    let path = format!("{}studies?limit=3", manifest.root);
    let page = [("accept", "text/html,*/*")];
    let below = |location: &str| {
        let path = location.strip_prefix("https://gw.example/xcwado");
        path.or(location.strip_prefix("/xcwado"))
            .expect("one of ours")
            .to_owned()
    };
    // What does not exist leads there too.
    let unknown = format!("/manifests/{}/dicomweb/studies", "0".repeat(32));
    assert_eq!(rig.get(&unknown, &page).await.status, 303);
    assert_eq!(rig.get(&path, &[]).await.status, 401);
    let asked = rig.get(&path, &page).await;
    assert_eq!(asked.status, 303);
    let begun = rig.get(&below(asked.field("location")), &[]).await;
    assert_eq!(begun.status, 303);
    let browser = sent(&begun, "__Host-xcwado-login").expect("a cookie");
    let back = Browser::new(&provider)
        .log_in(begun.field("location"), "dr-a")
        .await;
    // In another browser, the way back leads nowhere.
    assert_eq!(rig.get(&below(&back), &[]).await.status, 400);
    let begun = rig
        .get(&below(asked.field("location")), &[("cookie", &browser)])
        .await;
    let back = Browser::new(&provider)
        .log_in(begun.field("location"), "dr-a")
        .await;
    let finished = rig.get(&below(&back), &[("cookie", &browser)]).await;
    assert_eq!(finished.status, 303, "{finished:?}");
    assert_eq!(below(finished.field("location")), path);
    let session = sent(&finished, "__Host-xcwado").expect("a session");
    let cookie = ("cookie", session.as_str());
    for (fields, expected) in [
        (vec![cookie], 200),
        (vec![cookie, ("origin", "https://gw.example")], 200),
        (vec![cookie, ("origin", "https://viewer.example")], 200),
        (vec![cookie, ("origin", "https://evil.example")], 401),
        (vec![cookie, ("origin", "null")], 401),
        (
            vec![
                cookie,
                ("sec-fetch-site", "cross-site"),
                ("sec-fetch-mode", "no-cors"),
            ],
            401,
        ),
        (
            vec![
                cookie,
                ("sec-fetch-site", "same-site"),
                ("sec-fetch-mode", "no-cors"),
            ],
            401,
        ),
        (
            vec![
                cookie,
                ("sec-fetch-site", "cross-site"),
                ("sec-fetch-mode", "navigate"),
            ],
            200,
        ),
        (
            vec![(
                "cookie",
                "__Host-xcwado=AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA",
            )],
            401,
        ),
        // A token that is not valid is not made good by a session.
        (vec![cookie, ("authorization", "Bearer x")], 401),
    ] {
        assert_eq!(rig.get(&path, &fields).await.status, expected, "{fields:?}");
    }
    // Pages of other origins change nothing by a session.
    let links = format!("/manifests/{}/links", manifest.id);
    let foreign = [
        cookie,
        ("origin", "https://evil.example"),
        ("sec-fetch-site", "cross-site"),
    ];
    assert_eq!(rig.post(&links, &foreign, "{}").await.status, 403);
    assert_eq!(rig.post(&links, &[cookie], "{}").await.status, 201);
    assert_eq!(rig.post("/logout", &foreign, "").await.status, 403);
    assert_eq!(rig.get("/logout", &[cookie]).await.status, 405);
    // An answer that is under way ends with the session.
    let of_study = format!("{}{}", manifest.root, study.path());
    let stream = rig.open(&of_study, &[cookie, ("accept", "*/*")]).await;
    let ended = rig.post("/logout", &[cookie], "").await;
    assert_eq!(ended.status, 303);
    let cut = timeout(SOON, stream.read()).await;
    assert!(!cut.expect("it ends").is_whole());
    assert!(ended.field("location").starts_with(&provider.issuer));
    gate.open();
    assert_eq!(rig.get(&path, &[cookie]).await.status, 401);
}

#[tokio::test]
async fn the_first_page_is_there_where_persons_log_in() {
    let rig = Rig::start("");
    assert_eq!(rig.get("/", &[]).await.status, 404);
    let login = "[login]\nissuer = \"https://login.example\"\nclient_id = \"pages\"\n";
    let rig = Rig::start(&format!(
        "{login}[[rule]]\nanyone = true\ntransactions = [\"list\"]\n"
    ));
    let answer = rig.get("/", &[]).await;
    assert_eq!(answer.status, 200);
    assert_eq!(answer.field("content-type"), "text/html; charset=utf-8");
    assert_eq!(answer.field("cache-control"), "no-store");
    let rules = "default-src 'none'; base-uri 'none'; frame-ancestors 'none'";
    assert_eq!(answer.field("content-security-policy"), rules);
    assert!(answer.text().contains("<a href=\"login\">"), "{answer:?}");
    assert_eq!(rig.post("/", &[], "").await.status, 405);
}

#[tokio::test]
async fn check_asks_the_provider() {
    let Some(mut provider) = provider() else {
        return;
    };
    let directory = tempfile::tempdir().expect("a directory");
    let config = directory.path().join("config.toml");
    let text = format!(
        "home_community_id = \"1.2.3\"\n[login]\nissuer = {:?}\nclient_id = \"pages-none\"\n\
         in_clear = true\n",
        provider.issuer
    );
    std::fs::write(&config, text).expect("written");
    let file = config.display().to_string();
    let check = ["check", "--config", &file];
    let (code, output, _errors) = outcome(&run_beside(&check).await);
    assert_eq!(code, 0, "{output}");
    assert!(output.contains("login  answers"), "{output}");
    provider.stop();
    let (code, output, _errors) = outcome(&run_beside(&check).await);
    assert_eq!(code, 1, "{output}");
    assert!(
        output.contains("the login server does not answer"),
        "{output}"
    );
}

#[tokio::test]
async fn a_login_counts_once_and_in_its_own_browser_only() {
    let Some(provider) = provider() else {
        return;
    };
    let (_directory, logins) = logins(&provider, "client_secret_basic");
    let failure = async |query: &str, cookies: &[&str]| {
        let finished = logins.finish(query, &with(cookies)).await;
        finished.map(|_session| ()).expect_err("no session")
    };
    let other = begin(&logins).await.cookie;
    for cookies in [vec![], vec![other.as_str()]] {
        let begun = begin(&logins).await;
        let query = returned(&provider, &begun, "mallory").await;
        // Mallory sends the victim her own answer: login CSRF.
        assert_eq!(failure(&query, &cookies).await, Failure::Unknown);
        // That has ended her login too.
        assert_eq!(failure(&query, &[&begun.cookie]).await, Failure::Unknown);
    }
    let begun = begin(&logins).await;
    let query = returned(&provider, &begun, "dr-a").await;
    assert!(logins.finish(&query, &with(&[&begun.cookie])).await.is_ok());
    assert_eq!(failure(&query, &[&begun.cookie]).await, Failure::Unknown);
}

#[tokio::test]
async fn a_code_of_another_login_or_of_another_server_is_useless() {
    let Some(provider) = provider() else {
        return;
    };
    let (_directory, logins) = logins(&provider, "none");
    let parameter = |query: &str, name: &str| {
        let mut pairs = url::form_urlencoded::parse(query.as_bytes());
        let value = pairs
            .find(|(key, _value)| key == name)
            .map(|(_key, value)| value);
        value.expect("a parameter").into_owned()
    };
    let finish = async |code: &str, state: &str, issuer: &str, cookie: &str| {
        let query = url::form_urlencoded::Serializer::new(String::new())
            .extend_pairs([("code", code), ("state", state), ("iss", issuer)])
            .finish();
        logins
            .finish(&query, &with(&[cookie]))
            .await
            .map(|_session| ())
    };
    // The code of one login with the state of another: PKCE.
    let (one, two) = (begin(&logins).await, begin(&logins).await);
    let code = parameter(&returned(&provider, &one, "mallory").await, "code");
    let state = parameter(&returned(&provider, &two, "dr-a").await, "state");
    let mixed = finish(&code, &state, &provider.issuer, &two.cookie).await;
    assert_eq!(mixed, Err(Failure::Denied));
    // The answer of another server (RFC 9207).
    let begun = begin(&logins).await;
    let query = returned(&provider, &begun, "dr-a").await;
    let (code, state) = (parameter(&query, "code"), parameter(&query, "state"));
    let mixed = finish(&code, &state, "https://evil.example", &begun.cookie).await;
    assert_eq!(mixed, Err(Failure::Unknown));
    let begun = begin(&logins).await;
    let state = parameter(&returned(&provider, &begun, "dr-a").await, "state");
    let guessed = finish("guessed", &state, &provider.issuer, &begun.cookie).await;
    assert_eq!(guessed, Err(Failure::Denied));
}

#[tokio::test]
async fn a_session_is_new_with_each_login() {
    let Some(provider) = provider() else {
        return;
    };
    let (_directory, logins) = logins(&provider, "none");
    let first = log_in(&provider, &logins, "mallory").await;
    let begun = begin(&logins).await;
    let query = returned(&provider, &begun, "dr-a").await;
    // The browser of the victim has a session that Mallory planted.
    let cookies = with(&[&begun.cookie, &first.cookies[0]]);
    let second = logins.finish(&query, &cookies).await.expect("a session");
    assert_ne!(first.cookies[0], second.cookies[0]);
    assert_eq!(logins.session(&with(&[&first.cookies[0]])), None);
    let claims = logins
        .session(&with(&[&second.cookies[0]]))
        .expect("a session");
    assert_eq!(&*claims.subject, "dr-a");
}

#[tokio::test]
async fn sessions_survive_an_outage_and_logins_fail_in_time() {
    let Some(mut provider) = provider() else {
        return;
    };
    let (_directory, logins) = logins(&provider, "none");
    let session = log_in(&provider, &logins, "dr-a").await;
    let begun = begin(&logins).await;
    let query = returned(&provider, &begun, "dr-b").await;
    provider.stop();
    assert!(logins.session(&with(&[&session.cookies[0]])).is_some());
    let began = Instant::now();
    let finished = logins.finish(&query, &with(&[&begun.cookie])).await;
    assert_eq!(finished.map(|_session| ()), Err(Failure::Unavailable));
    assert!(began.elapsed() < Duration::from_secs(6));
}
