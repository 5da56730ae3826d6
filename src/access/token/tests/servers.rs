//! Authorization servers that are slow, dead, or change their minds.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures_util::future::join_all;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::AbortHandle;
use tokio::time::{Instant, sleep};

use super::super::{Refused, Tokens};
use super::mint::{AUDIENCE, ISSUER, Key, Keys, claims, claims_with, set_of, settings};
use crate::credentials::{TokenSource, now};
use crate::metrics::Metrics;

/// A server that runs until it is dropped.
pub(super) struct Server {
    pub(super) address: SocketAddr,
    state: Arc<Mutex<State>>,
    listening: AbortHandle,
}

struct State {
    answer: Answer,
    /// The requests so far.
    asked: Vec<String>,
}

#[derive(Clone)]
pub(super) enum Answer {
    Say(u16, String),
    Late(Duration, String),
    /// Nothing, and the connection stays open.
    Silent,
    Closed,
}

impl Server {
    pub(super) async fn start(answer: Answer) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = listener.local_addr().expect("an address");
        let asked = Vec::new();
        let state = Arc::new(Mutex::new(State { answer, asked }));
        let shared = Arc::clone(&state);
        let listening = tokio::spawn(async move {
            while let Ok((socket, _peer)) = listener.accept().await {
                let state = Arc::clone(&shared);
                tokio::spawn(async move { serve(socket, &state).await });
            }
        });
        Self {
            address,
            state,
            listening: listening.abort_handle(),
        }
    }

    fn answer(&self, answer: Answer) {
        self.state.lock().expect("no panic").answer = answer;
    }

    fn asked(&self) -> Vec<String> {
        self.state.lock().expect("no panic").asked.clone()
    }

    fn keys(&self) -> Tokens {
        let mut settings = settings();
        settings.jwks_url = Some(format!("http://{}/jwks", self.address));
        settings.in_clear = true;
        Tokens::open(&[settings]).expect("issuers")
    }

    fn introspection(&self, seconds: u64) -> Tokens {
        let directory = tempfile::tempdir().expect("a directory");
        let file = directory.path().join("secret");
        std::fs::write(&file, "s3cret").expect("written");
        let mut settings = settings();
        settings.introspection_url = Some(format!("http://{}/introspect", self.address));
        settings.introspection_seconds = seconds;
        settings.client_id = Some("gateway".into());
        settings.client_secret = Some(TokenSource::File(file));
        settings.in_clear = true;
        Tokens::open(&[settings]).expect("issuers")
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.listening.abort();
    }
}

async fn serve(mut socket: TcpStream, state: &Mutex<State>) {
    let mut request = Vec::new();
    while !is_whole(&request) {
        let mut chunk = [0; 4096];
        match socket.read(&mut chunk).await {
            Ok(0) | Err(_) => return,
            Ok(length) => request.extend_from_slice(&chunk[..length]),
        }
    }
    let answer = {
        let mut state = state.lock().expect("no panic");
        let request = String::from_utf8_lossy(&request).into_owned();
        state.asked.push(request);
        state.answer.clone()
    };
    let (status, body) = match answer {
        Answer::Say(status, body) => (status, body),
        Answer::Late(time, body) => {
            sleep(time).await;
            (200, body)
        }
        Answer::Silent => {
            sleep(Duration::from_secs(60)).await;
            return;
        }
        Answer::Closed => return,
    };
    let length = body.len();
    let head = format!("HTTP/1.1 {status} x\r\nContent-Length: {length}\r\n\r\n");
    let _ = socket.write_all(format!("{head}{body}").as_bytes()).await;
}

fn is_whole(request: &[u8]) -> bool {
    let text = String::from_utf8_lossy(request).to_ascii_lowercase();
    let Some((head, body)) = text.split_once("\r\n\r\n") else {
        return false;
    };
    let length = head
        .lines()
        .find_map(|line| line.strip_prefix("content-length:"));
    let length = length.map_or(0, |length| length.trim().parse().expect("a length"));
    body.len() >= length
}

pub(super) fn set(keys: &[&Key]) -> Answer {
    let keys: Vec<_> = keys.iter().map(|key| key.jwk()).collect();
    Answer::Say(200, json!({ "keys": keys }).to_string())
}

/// Asks until a token is accepted.
async fn accepts(tokens: &Tokens, token: &str) {
    let began = Instant::now();
    while tokens.ask(token, None).await.is_err() {
        assert!(began.elapsed() < Duration::from_secs(20));
        sleep(Duration::from_millis(100)).await;
    }
}

#[tokio::test]
async fn keys_are_fetched_once_for_all_who_wait() {
    let keys = Keys::all();
    let Answer::Say(_, document) = set(&[&keys.es256]) else {
        unreachable!()
    };
    let server = Server::start(Answer::Late(Duration::from_millis(200), document)).await;
    let tokens = server.keys();
    let token = keys.es256.token(&claims());
    assert_eq!(tokens.known(&token, None), None);
    let asked = join_all((0..20).map(|_| tokens.ask(&token, None))).await;
    assert!(asked.iter().all(Result::is_ok));
    assert_eq!(server.asked().len(), 1);
    assert!(tokens.known(&token, None).expect("known").is_ok());
}

#[tokio::test]
async fn a_new_key_is_found_and_a_withdrawn_one_is_forgotten() {
    let (old, new) = (Key::ec("old"), Key::ec("new"));
    let server = Server::start(set(&[&old])).await;
    let tokens = server.keys();
    tokens.watch(&Metrics::new());
    let (first, second) = (old.token(&claims()), new.token(&claims()));
    accepts(&tokens, &first).await;
    server.answer(set(&[&new]));
    // An unknown key is looked for at a bounded rate.
    let asked = server.asked().len();
    for number in 0..50 {
        let unknown = Key {
            id: "unknown",
            ..Key::ec("x")
        };
        let token = unknown.token(&claims_with(&json!({"jti": number.to_string()})));
        assert_eq!(tokens.ask(&token, None).await, Err(Refused::Key));
    }
    assert!(server.asked().len() <= asked + 1);
    accepts(&tokens, &second).await;
    assert_eq!(tokens.ask(&first, None).await, Err(Refused::Key));
}

#[tokio::test]
async fn an_outage_stops_new_keys_only() {
    let (old, new) = (Key::ec("old"), Key::ec("new"));
    let server = Server::start(set(&[&old])).await;
    let tokens = server.keys();
    let first = old.token(&claims());
    accepts(&tokens, &first).await;
    sleep(Duration::from_secs(5)).await;
    for answer in [
        Answer::Closed,
        Answer::Silent,
        Answer::Say(500, "x".into()),
        Answer::Say(200, "<html>".into()),
        Answer::Say(302, String::new()),
        Answer::Say(200, "x".repeat(300 << 10)),
    ] {
        server.answer(answer);
        let began = Instant::now();
        let unknown = new.token(&claims_with(&json!({"jti": "2"})));
        assert_eq!(tokens.ask(&unknown, None).await, Err(Refused::Unavailable));
        assert!(began.elapsed() < Duration::from_secs(1));
        // Also a token that nobody has shown before.
        let other = old.token(&claims_with(&json!({"jti": "3"})));
        assert!(tokens.known(&other, None).expect("known").is_ok());
        sleep(Duration::from_millis(300)).await;
    }
}

// The clock of the runtime jumps from one timer to the next; that of tokens stands still.
#[tokio::test]
async fn for_an_hour_without_a_server_known_keys_go_on_and_nothing_else_gets_in() {
    const STEP: Duration = Duration::from_secs(10);
    const STEPS: u32 = 360;
    let (old, new) = (Key::ec("old"), Key::ec("new"));
    let server = Server::start(set(&[&old])).await;
    let tokens = server.keys();
    tokens.watch(&Metrics::new());
    accepts(&tokens, &old.token(&claims())).await;
    let remote = Server::start(active(&json!({}))).await;
    let introspected = remote.introspection(60);
    accepts(&introspected, "opaque").await;
    server.answer(Answer::Silent);
    remote.answer(Answer::Closed);
    let before = (server.asked().len(), remote.asked().len());
    tokio::time::pause();
    let began = Instant::now();
    for step in 0..STEPS {
        sleep(STEP).await;
        let fresh = |key: &Key| key.token(&claims_with(&json!({"jti": step.to_string()})));
        let known = tokens.ask(&fresh(&old), None).await;
        assert!(known.is_ok(), "{known:?} after {:?}", began.elapsed());
        let asked = Instant::now();
        let unknown = tokens.ask(&fresh(&new), None).await;
        assert_eq!(unknown, Err(Refused::Unavailable));
        assert!(asked.elapsed() < Duration::from_secs(1));
        // An answer counts for a minute.
        if began.elapsed() > Duration::from_secs(60) {
            let asked = Instant::now();
            let opaque = introspected.ask("opaque", None).await;
            assert_eq!(opaque, Err(Refused::Unavailable));
            assert!(asked.elapsed() < Duration::from_secs(1));
        }
    }
    assert!(began.elapsed() >= Duration::from_secs(3600));
    let asked = server.asked().len() - before.0;
    assert!((60..=720).contains(&asked), "{asked} requests for keys");
    assert!(remote.asked().len() - before.1 <= 360);
    server.answer(set(&[&old, &new]));
    remote.answer(active(&json!({})));
    // The longest pause between two requests.
    sleep(Duration::from_secs(40)).await;
    tokio::time::resume();
    accepts(&tokens, &new.token(&claims_with(&json!({"jti": "last"})))).await;
    accepts(&introspected, "opaque").await;
}

#[tokio::test]
async fn without_keys_nothing_gets_in() {
    let server = Server::start(Answer::Closed).await;
    let tokens = server.keys();
    let token = Keys::all().es256.token(&claims());
    for _ in 0..20 {
        assert_eq!(tokens.ask(&token, None).await, Err(Refused::Unavailable));
    }
    assert!(server.asked().len() <= 2);
    server.answer(set(&[&Keys::all().es256]));
    accepts(&tokens, &token).await;
}

fn active(changed: &Value) -> Answer {
    let mut all = json!({
        "active": true, "sub": "dr-a", "aud": AUDIENCE, "client_id": "viewer",
        "token_type": "Bearer", "scope": "RAD-107", "exp": now() + 300,
    });
    for (name, value) in changed.as_object().expect("an object") {
        all[name] = value.clone();
    }
    all.as_object_mut()
        .expect("an object")
        .retain(|_name, value| !value.is_null());
    Answer::Say(200, all.to_string())
}

#[tokio::test]
async fn an_introspection_is_shared_and_remembered_for_a_while() {
    let server = Server::start(active(&json!({}))).await;
    let tokens = server.introspection(2);
    assert_eq!(tokens.known("opaque", None), None);
    let asked = join_all((0..20).map(|_| tokens.ask("opaque", None))).await;
    let claims = asked[0].as_ref().expect("active");
    assert_eq!((&*claims.issuer, &*claims.subject), ("as", "dr-a"));
    assert!(asked.iter().all(Result::is_ok));
    let requests = server.asked();
    assert_eq!(requests.len(), 1);
    assert!(requests[0].starts_with("POST /introspect HTTP/1.1"));
    assert!(requests[0].contains("authorization: Basic Z2F0ZXdheTpzM2NyZXQ="));
    assert!(requests[0].ends_with("token=opaque&token_type_hint=access_token"));
    server.answer(Answer::Say(200, r#"{"active":false}"#.into()));
    assert!(tokens.known("opaque", None).expect("known").is_ok());
    sleep(Duration::from_millis(2100)).await;
    assert_eq!(tokens.known("opaque", None), None);
    assert_eq!(tokens.ask("opaque", None).await, Err(Refused::Inactive));
    // So is a refusal.
    assert_eq!(tokens.known("opaque", None), Some(Err(Refused::Inactive)));
    assert_eq!(server.asked().len(), 2);
}

#[tokio::test]
async fn the_answer_to_an_introspection_is_checked_like_a_token() {
    let server = Server::start(Answer::Closed).await;
    let tokens = server.introspection(0);
    let late = Answer::Late(Duration::from_secs(2), r#"{"active":true}"#.into());
    let twice = format!(r#"{{"active":false,"active":true,"sub":"a","aud":{AUDIENCE:?}}}"#);
    for (number, (answer, expected)) in [
        (active(&json!({"iss": ISSUER})), Ok(())),
        (active(&json!({"exp": null})), Ok(())),
        (active(&json!({"sub": null})), Ok(())),
        (
            active(&json!({"sub": null, "client_id": null})),
            Err(Refused::Claim),
        ),
        (
            active(&json!({"iss": "https://other.example"})),
            Err(Refused::Issuer),
        ),
        (
            active(&json!({"aud": "https://other.example"})),
            Err(Refused::Audience),
        ),
        (active(&json!({"aud": null})), Err(Refused::Audience)),
        (active(&json!({"exp": now() - 100})), Err(Refused::Expired)),
        (active(&json!({"exp": "never"})), Err(Refused::Claim)),
        (active(&json!({"nbf": now() + 100})), Err(Refused::Early)),
        (active(&json!({"token_type": "DPoP"})), Err(Refused::Kind)),
        (
            active(&json!({"token_use": "refresh_token"})),
            Err(Refused::Kind),
        ),
        (active(&json!({"cnf": {"jkt": "x"}})), Err(Refused::Binding)),
        (active(&json!({"active": false})), Err(Refused::Inactive)),
        (
            active(&json!({"active": "true"})),
            Err(Refused::Unavailable),
        ),
        (active(&json!({"active": 1})), Err(Refused::Unavailable)),
        (active(&json!({"active": null})), Err(Refused::Unavailable)),
        (Answer::Say(200, twice), Err(Refused::Unavailable)),
        (Answer::Say(200, "[]".into()), Err(Refused::Unavailable)),
        (
            Answer::Say(401, r#"{"active":true}"#.into()),
            Err(Refused::Unavailable),
        ),
        (
            Answer::Say(200, "x".repeat(70 << 10)),
            Err(Refused::Unavailable),
        ),
        (late, Err(Refused::Unavailable)),
        (Answer::Silent, Err(Refused::Unavailable)),
        (Answer::Closed, Err(Refused::Unavailable)),
    ]
    .into_iter()
    .enumerate()
    {
        server.answer(answer);
        let began = Instant::now();
        let outcome = tokens.ask(&format!("opaque-{number}"), None).await;
        assert_eq!(outcome.map(|_claims| ()), expected, "{number}");
        assert!(began.elapsed() < Duration::from_secs(1), "{number}");
    }
}

#[tokio::test]
async fn only_the_issuer_of_a_token_is_asked_about_it() {
    let server = Server::start(active(&json!({}))).await;
    let tokens = server.introspection(60);
    let foreign = Keys::all()
        .es256
        .token(&claims_with(&json!({"iss": "https://b.example"})));
    assert_eq!(tokens.known(&foreign, None), Some(Err(Refused::Issuer)));
    for broken in ["", "two words", "a\r\nb", "ä", &"x".repeat(9 << 10)] {
        assert!(
            tokens
                .known(broken, None)
                .is_some_and(|outcome| outcome.is_err())
        );
        assert!(tokens.ask(broken, None).await.is_err());
    }
    assert!(server.asked().is_empty());
    let own = Keys::all().other.token(&claims());
    assert!(tokens.ask(&own, None).await.is_ok());
    assert_eq!(server.asked().len(), 1);
}

#[tokio::test]
async fn a_crowd_of_unknown_tokens_is_not_passed_on() {
    let server = Server::start(Answer::Silent).await;
    let tokens = server.introspection(60);
    let all: Vec<_> = (0..1000).map(|number| format!("opaque-{number}")).collect();
    let began = Instant::now();
    let outcomes = join_all(all.iter().map(|token| tokens.ask(token, None))).await;
    assert!(
        outcomes
            .iter()
            .all(|outcome| *outcome == Err(Refused::Unavailable))
    );
    assert!(began.elapsed() < Duration::from_secs(2));
    assert!(server.asked().len() <= 64);
}

#[tokio::test]
async fn keys_in_a_file_are_read_again_when_it_changes() {
    let (old, new) = (Key::ec("old"), Key::ec("new"));
    let (_directory, file) = set_of(&[old.jwk()]);
    let mut settings = settings();
    settings.jwks_file = Some(file.clone());
    let tokens = Tokens::open(&[settings]).expect("issuers");
    tokens.watch(&Metrics::new());
    let (first, second) = (old.token(&claims()), new.token(&claims()));
    assert!(tokens.known(&first, None).expect("known").is_ok());
    assert_eq!(tokens.known(&second, None), Some(Err(Refused::Key)));
    // What is no key set changes nothing.
    std::fs::write(&file, r#"{"keys":[]}"#).expect("written");
    sleep(Duration::from_millis(2500)).await;
    assert!(tokens.known(&first, None).expect("known").is_ok());
    std::fs::write(&file, json!({"keys": [new.jwk()]}).to_string()).expect("written");
    accepts(&tokens, &second).await;
    assert_eq!(tokens.known(&first, None), Some(Err(Refused::Key)));
}
