//! Sources that want to know who asks: passwords, tokens, and access tokens of an authorization
//! server.

mod server;
mod users;

use std::sync::Arc;
use std::time::{Duration, Instant};

use futures_util::future::join_all;
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::time::sleep;

use crate::commands::process::{outcome, run_beside};
use crate::rig::authority::{Authority, with_tls};
use crate::rig::origin::{Origin, Reply, honest};
use crate::rig::program::Program;
use crate::rig::study::{Study, at, location_uid};
use crate::rig::{AS_STORED, Answer, HERE, Rig, rad_160};
use server::{Behaviour, CLIENT, SECRET, Server};

const NO_CACHE: &str = "[cache]\nmemory = \"0\"\ndisk = \"0\"\n";

/// A source that answers requests with the right `Authorization` only.
struct Guarded {
    study: Study,
    origin: Origin,
    server: Arc<Server>,
    directory: TempDir,
}

impl Guarded {
    async fn new() -> Self {
        let server = Arc::new(Server::start().await);
        let judge = server.judge();
        Self::with(server, judge).await
    }

    async fn with(
        server: Arc<Server>,
        judge: impl Fn(&str) -> bool + Send + Sync + 'static,
    ) -> Self {
        let study = Study::new(1).with(3, at(10));
        let held = study.instances();
        let origin = Origin::start(move |asked| match judge(asked.field("authorization")) {
            true => honest(&held, asked),
            false => Reply::status(401),
        });
        let directory = tempfile::tempdir().expect("a directory");
        let write = |name: &str, text: &str| {
            std::fs::write(directory.path().join(name), text).expect("written")
        };
        write("key.pem", &server.private_key());
        write("secret", &format!("{SECRET}\n"));
        Self {
            study,
            origin: origin.await,
            server,
            directory,
        }
    }

    fn file(&self, name: &str) -> String {
        format!("{:?}", self.directory.path().join(name))
    }

    fn location(&self, authorization: &str) -> String {
        let http = format!("authorization_in_clear = true\n{authorization}");
        self.origin.location_with(10, &http)
    }

    /// The settings with an assertion for this token URL.
    fn by_assertion(&self, token_url: &str, further: &str) -> String {
        self.location(&format!(
            "[location.http.authorization.client_credentials]\ntoken_url = {token_url:?}\n\
             client_id = {CLIENT:?}\nscope = \"system/ImagingStudy.read RAD-107\"\n\
             private_key = {}\nkey_id = \"key-1\"\n{further}\n",
            self.file("key.pem")
        ))
    }

    fn token_url(&self) -> String {
        format!("http://{}/token", self.server.address)
    }

    fn start(&self) -> Rig {
        Rig::start(&format!(
            "{NO_CACHE}{}",
            self.by_assertion(&self.token_url(), "")
        ))
    }

    fn path(&self) -> String {
        rad_160(HERE, &location_uid(10), &self.study.path())
    }

    async fn get(&self, rig: &Rig) -> Answer {
        rig.get(&self.path(), &[AS_STORED]).await
    }

    async fn is_served(&self, rig: &Rig) {
        assert_eq!(self.get(rig).await.instances(), self.study.bytes());
    }
}

#[tokio::test]
async fn a_password_or_a_token_is_sent_with_each_request() {
    // RFC 7617 2: the user "Aladdin" with the password "open sesame".
    for (setting, secret, field) in [
        (
            "basic = { user = \"Aladdin\", password",
            "open sesame",
            "Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ==",
        ),
        ("token = { file", "abc.def", "Bearer abc.def"),
    ] {
        let server = Arc::new(Server::start().await);
        let guarded = Guarded::with(server, move |shown| shown == field).await;
        let file = guarded.directory.path().join("it");
        std::fs::write(&file, format!("{secret}\n")).expect("written");
        let value = match setting.starts_with("basic") {
            true => format!("{setting} = {{ file = {file:?} }} }}"),
            false => format!("{setting} = {file:?} }}"),
        };
        let location = guarded.location(&format!("[location.http.authorization]\n{value}"));
        let rig = Rig::start(&format!("{NO_CACHE}{location}"));
        guarded.is_served(&rig).await;
        // There is nothing to refresh.
        assert_eq!(guarded.origin.asked().len(), 1);
    }
}

#[tokio::test]
async fn one_token_serves_all_requests_of_a_location() {
    let guarded = Guarded::new().await;
    let rig = guarded.start();
    join_all((0..20).map(|_| guarded.is_served(&rig))).await;
    assert_eq!((guarded.server.asked(), guarded.server.proven()), (1, 1));
}

#[tokio::test]
async fn a_client_secret_is_a_proof_too() {
    let guarded = Guarded::new().await;
    let rig = Rig::start(&format!("{NO_CACHE}{}", guarded.location(&format!(
        "[location.http.authorization.client_credentials]\ntoken_url = {:?}\nclient_id = {CLIENT:?}\n\
         scope = \"system/ImagingStudy.read RAD-107\"\nclient_secret = {{ file = {} }}\n",
        guarded.token_url(), guarded.file("secret")
    ))));
    guarded.is_served(&rig).await;
    assert_eq!(guarded.server.proven(), 1);
}

#[tokio::test]
async fn the_token_endpoint_must_have_a_good_certificate() {
    let guarded = Guarded::new().await;
    let (authority, other) = (Authority::new(), Authority::new());
    let shown = authority.issue("127.0.0.1");
    let address = with_tls(guarded.server.address, shown.server()).await;
    let url = format!("https://{address}/token");
    guarded.server.is_at(&url);
    for (trusted, is_good) in [(&other, false), (&authority, true)] {
        let further = format!("authorities = {:?}", trusted.file());
        let settings = format!("{NO_CACHE}{}", guarded.by_assertion(&url, &further));
        let rig = Rig::start(&settings);
        match is_good {
            true => guarded.is_served(&rig).await,
            false => assert_eq!(guarded.get(&rig).await.status, 503),
        }
        assert_eq!(guarded.server.asked(), usize::from(is_good));
    }
}

#[tokio::test]
async fn a_rejected_token_is_replaced_once() {
    let guarded = Guarded::new().await;
    let rig = guarded.start();
    guarded.is_served(&rig).await;
    guarded.server.revoke();
    join_all((0..10).map(|_| guarded.is_served(&rig))).await;
    assert_eq!(guarded.server.asked(), 2);

    // A source that rejects every token gets each request twice at most, and costs few tokens.
    let server = Arc::new(Server::start().await);
    let guarded = Guarded::with(server, |_shown| false).await;
    let rig = guarded.start();
    assert_eq!(guarded.get(&rig).await.status, 502);
    assert_eq!(guarded.origin.asked().len(), 2);
    for _ in 0..10 {
        assert_eq!(guarded.get(&rig).await.status, 502);
    }
    assert!(guarded.server.asked() <= 3, "{}", guarded.server.asked());
}

#[tokio::test]
async fn a_dead_authorization_server_stops_nothing_until_the_token_expires() {
    let guarded = Guarded::new().await;
    guarded.server.behave(Behaviour::Issue(json!("4")));
    let rig = guarded.start();
    guarded.is_served(&rig).await;
    let issued = Instant::now();
    guarded.server.behave(Behaviour::Dead);
    while issued.elapsed() < Duration::from_millis(3500) {
        guarded.is_served(&rig).await;
        sleep(Duration::from_millis(100)).await;
    }
    sleep(Duration::from_millis(1000)).await;
    let asked_origin = guarded.origin.asked().len();
    let asked = guarded.server.asked();
    let began = Instant::now();
    for _ in 0..20 {
        let began = Instant::now();
        let answer = guarded.get(&rig).await;
        assert_eq!(answer.status, 503);
        assert!(
            answer
                .problem()
                .to_string()
                .contains("authorization server"),
            "{answer:?}"
        );
        assert!(began.elapsed() < Duration::from_secs(1));
    }
    assert_eq!(guarded.origin.asked().len(), asked_origin);
    let asked = guarded.server.asked() - asked;
    assert!(
        asked <= 2 + usize::try_from(began.elapsed().as_secs()).expect("few"),
        "{asked}"
    );

    // Once it lives again, so do requests.
    guarded.server.behave(Behaviour::Issue(json!(300)));
    while guarded.get(&rig).await.status != 200 {
        assert!(began.elapsed() < Duration::from_secs(60));
        sleep(Duration::from_millis(200)).await;
    }
}

#[tokio::test]
async fn a_token_is_replaced_ahead_of_its_expiry_while_requests_go_on() {
    let guarded = Guarded::new().await;
    guarded.server.behave(Behaviour::Issue(json!(8)));
    let rig = guarded.start();
    guarded.is_served(&rig).await;
    let issued = Instant::now();
    sleep(Duration::from_millis(6500)).await;
    // Slower than a request would wait, faster than the token expires.
    let late = Behaviour::Late(json!(300), Duration::from_millis(900));
    guarded.server.behave(late);
    while issued.elapsed() < Duration::from_secs(9) {
        // The old token is no longer the valid one here as soon as the new one is made.
        let status = guarded.get(&rig).await.status;
        assert!(status == 200 || status == 502, "{status}");
        sleep(Duration::from_millis(100)).await;
    }
    guarded.is_served(&rig).await;
    assert_eq!(guarded.server.asked(), 2);
}

#[tokio::test]
async fn nonsense_of_an_authorization_server_is_no_token() {
    let token = |further: Value| {
        let mut answer = json!({"access_token": "x", "token_type": "Bearer", "expires_in": 60});
        for (key, value) in further.as_object().expect("an object") {
            answer[key] = value.clone();
        }
        (200, answer.to_string())
    };
    let long = "x".repeat(17 << 10);
    for (status, body) in [
        token(json!({"token_type": "mac"})),
        token(json!({"token_type": null})),
        token(json!({"access_token": "two words"})),
        token(json!({"access_token": "a\r\nX-Y: b"})),
        token(json!({"access_token": ""})),
        token(json!({"access_token": 5})),
        token(json!({"access_token": long})),
        token(json!({"expires_in": 0})),
        token(json!({"expires_in": -5})),
        token(json!({"expires_in": "soon"})),
        token(json!({"pad": "x".repeat(70 << 10)})),
        (200, String::new()),
        (200, "[]".to_owned()),
        (200, "<html>".to_owned()),
        (302, String::new()),
        (400, json!({"error": "invalid_scope"}).to_string()),
        (500, "x".repeat(200 << 10)),
    ] {
        let guarded = Guarded::new().await;
        guarded.server.behave(Behaviour::Say(status, body.clone()));
        let rig = guarded.start();
        let began = Instant::now();
        let answer = guarded.get(&rig).await;
        assert_eq!(answer.status, 503, "{body:.80}");
        assert!(began.elapsed() < Duration::from_secs(1));
        assert!(guarded.origin.asked().is_empty());
        assert_eq!(guarded.server.asked(), 1);
    }
}

#[tokio::test]
async fn no_output_contains_a_secret() {
    let guarded = Guarded::new().await;
    let settings = guarded.by_assertion(&guarded.token_url(), "");
    let program = Program::serve(&settings).await;
    program.get(&guarded.path(), &[AS_STORED]).await;
    let refusal = json!({"error": "TOKEN-9", "error_description": "eyJ TOKEN-9"}).to_string();
    guarded.server.behave(Behaviour::Say(400, refusal));
    guarded.server.revoke();
    program.get(&guarded.path(), &[AS_STORED]).await;
    let log = format!("{:?}", program.log());

    let config = guarded.directory.path().join("config.toml");
    let config_text = format!("home_community_id = \"1.2.3\"\n{settings}");
    std::fs::write(&config, config_text).expect("written");
    let config = config.display().to_string();
    let (code, failed, errors) = outcome(&run_beside(&["check", "--config", &config]).await);
    assert_eq!(code, 1, "{failed}");
    assert!(
        failed.contains("the authorization server answers with status 400"),
        "{failed}"
    );
    guarded.server.behave(Behaviour::Issue(json!(300)));
    let (_code, output, more) = outcome(&run_beside(&["check", "--config", &config]).await);
    for text in [log, failed, errors, output, more] {
        for secret in ["TOKEN-", "eyJ", "BEGIN"] {
            assert!(!text.contains(secret), "{secret} in {text}");
        }
    }
}
