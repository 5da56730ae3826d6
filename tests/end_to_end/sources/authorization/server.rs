//! An authorization server with one token endpoint, which a test makes slow, dead or wrong.

use std::collections::HashSet;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use jsonwebtoken::{Algorithm, DecodingKey, Validation, decode, decode_header};
use rcgen::{KeyPair, PKCS_ECDSA_P384_SHA384};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::AbortHandle;
use url::form_urlencoded;

pub(super) const CLIENT: &str = "gateway of A";
const EXCHANGE: &str = "urn:ietf:params:oauth:grant-type:token-exchange";
pub(super) const SECRET: &str = "s3cret/+:ä";

/// A server that runs until it is dropped.
pub(super) struct Server {
    pub(super) address: SocketAddr,
    key: KeyPair,
    state: Arc<Mutex<State>>,
    listening: AbortHandle,
}

struct State {
    behaviour: Behaviour,
    /// The public key of the client, and the audience of its assertions.
    public_key: String,
    audience: String,
    /// The requests so far, and those of them that proved who asks.
    asked: usize,
    proven: usize,
    seen: HashSet<String>,
    valid: Option<String>,
    /// The tokens that it has given for those of users, and the exchanges so far.
    of_users: HashSet<String>,
    exchanges: Vec<Exchanged>,
}

/// A request for the exchange of a user's token.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Exchanged {
    pub(super) subject: String,
    pub(super) audience: Option<String>,
    pub(super) resource: Option<String>,
    pub(super) scope: Option<String>,
    /// The extensions of the actor's token.
    pub(super) actor: Option<Value>,
}

/// What it answers.
#[derive(Debug, Clone)]
pub(super) enum Behaviour {
    /// A token with this `expires_in`.
    Issue(Value),
    /// The same, after a while.
    Late(Value, Duration),
    /// Nothing: it closes the connection.
    Dead,
    /// This status and body.
    Say(u16, String),
}

impl Server {
    pub(super) async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = listener.local_addr().expect("an address");
        let key = KeyPair::generate_for(&PKCS_ECDSA_P384_SHA384).expect("a key");
        let state = Arc::new(Mutex::new(State {
            behaviour: Behaviour::Issue(json!(300)),
            public_key: key.public_key_pem(),
            audience: format!("http://{address}/token"),
            asked: 0,
            proven: 0,
            seen: HashSet::new(),
            valid: None,
            of_users: HashSet::new(),
            exchanges: Vec::new(),
        }));
        let shared = Arc::clone(&state);
        let listening = tokio::spawn(async move {
            while let Ok((socket, _peer)) = listener.accept().await {
                let state = Arc::clone(&shared);
                tokio::spawn(async move { serve(socket, &state).await });
            }
        });
        Self {
            address,
            key,
            state,
            listening: listening.abort_handle(),
        }
    }

    /// The private key of the client in PEM.
    pub(super) fn private_key(&self) -> String {
        self.key.serialize_pem()
    }

    pub(super) fn behave(&self, behaviour: Behaviour) {
        lock(&self.state).behaviour = behaviour;
    }

    /// Assertions are for this URL from now on.
    pub(super) fn is_at(&self, audience: &str) {
        audience.clone_into(&mut lock(&self.state).audience);
    }

    /// The token in force is no longer accepted.
    pub(super) fn revoke(&self) {
        lock(&self.state).valid = Some("none".to_owned());
    }

    pub(super) fn asked(&self) -> usize {
        lock(&self.state).asked
    }

    /// Requests with a right proof.
    pub(super) fn proven(&self) -> usize {
        lock(&self.state).proven
    }

    /// The exchanges so far.
    pub(super) fn exchanges(&self) -> Vec<Exchanged> {
        lock(&self.state).exchanges.clone()
    }

    /// The tokens of users are no longer accepted.
    pub(super) fn revoke_users(&self) {
        lock(&self.state).of_users.clear();
    }

    /// Whether a field has a token that is given for one of these users.
    pub(super) fn judge_users(&self) -> impl Fn(&str, &[&str]) -> bool + Send + Sync + use<> {
        let state = Arc::clone(&self.state);
        move |field, users| {
            let token = field.strip_prefix("Bearer ").unwrap_or_default();
            let user = token.rsplit_once('-').map_or("", |(user, _number)| user);
            users.contains(&user) && lock(&state).of_users.contains(token)
        }
    }

    /// What a source asks to know whether it answers a request with this field.
    pub(super) fn judge(&self) -> impl Fn(&str) -> bool + Send + Sync + use<> {
        let state = Arc::clone(&self.state);
        move |field| {
            lock(&state)
                .valid
                .as_ref()
                .is_some_and(|token| field == format!("Bearer {token}"))
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.listening.abort();
    }
}

async fn serve(mut socket: TcpStream, state: &Mutex<State>) -> Option<()> {
    let mut read = Vec::new();
    let head = loop {
        if let Some(at) = read.windows(4).position(|four| four == b"\r\n\r\n") {
            break at;
        }
        if socket.read_buf(&mut read).await.ok()? == 0 {
            return None;
        }
    };
    let text = String::from_utf8_lossy(&read[..head]).into_owned();
    let field = |named: &str| {
        let mut fields = text.lines().filter_map(|line| line.split_once(": "));
        fields
            .find(|(name, _)| name.eq_ignore_ascii_case(named))
            .map(|(_, value)| value.to_owned())
    };
    let length: usize = field("content-length")?.parse().ok()?;
    while read.len() < head + 4 + length {
        if socket.read_buf(&mut read).await.ok()? == 0 {
            return None;
        }
    }
    let (status, body, pause) = {
        let mut state = lock(state);
        state.asked += 1;
        state.answer(&text, field("authorization").as_deref(), &read[head + 4..])?
    };
    tokio::time::sleep(pause).await;
    let head = format!(
        "HTTP/1.1 {status} X\r\nContent-Type: application/json\r\nLocation: /elsewhere\r\nContent-Length: {}\r\n\r\n",
        body.len()
    );
    socket.write_all((head + &body).as_bytes()).await.ok()
}

impl State {
    fn answer(
        &mut self,
        head: &str,
        basic: Option<&str>,
        form: &[u8],
    ) -> Option<(u16, String, Duration)> {
        let form: Vec<(String, String)> = form_urlencoded::parse(form).into_owned().collect();
        let value = |named: &str| {
            form.iter()
                .find(|(name, _)| name == named)
                .map(|(_, v)| v.as_str())
        };
        let is_exchange = value("grant_type") == Some(EXCHANGE);
        let is_right = head.starts_with("POST /token HTTP/1.1")
            && (is_exchange || value("grant_type") == Some("client_credentials"))
            && value("scope") == Some("system/ImagingStudy.read RAD-107");
        let is_proven = match (value("client_assertion"), basic) {
            (Some(assertion), None) => {
                value("client_assertion_type")
                    == Some("urn:ietf:params:oauth:client-assertion-type:jwt-bearer")
                    && self.is_signed(assertion)
            }
            // The client id and the secret, each in the encoding of forms.
            (None, Some(basic)) => {
                basic == "Basic Z2F0ZXdheStvZitBOnMzY3JldCUyRiUyQiUzQSVDMyVBNA=="
            }
            _ => false,
        };
        if !is_right || !is_proven {
            return Some((
                401,
                json!({"error": "invalid_client"}).to_string(),
                Duration::ZERO,
            ));
        }
        self.proven += 1;
        if is_exchange && matches!(self.behaviour, Behaviour::Issue(_)) {
            return Some(self.exchange(&value));
        }
        let (expires, pause) = match self.behaviour.clone() {
            Behaviour::Issue(expires) => (expires, Duration::ZERO),
            Behaviour::Late(expires, pause) => (expires, pause),
            Behaviour::Dead => return None,
            Behaviour::Say(status, body) => return Some((status, body, Duration::ZERO)),
        };
        let token = format!("TOKEN-{}", self.asked);
        self.valid = Some(token.clone());
        let mut answer = json!({"access_token": token, "token_type": "bearer"});
        if !expires.is_null() {
            answer["expires_in"] = expires;
        }
        Some((200, answer.to_string(), pause))
    }

    /// RFC 8693 2.
    fn exchange<'a>(&mut self, value: &dyn Fn(&str) -> Option<&'a str>) -> (u16, String, Duration) {
        const ACCESS_TOKEN: Option<&str> = Some("urn:ietf:params:oauth:token-type:access_token");
        let refused = |code: &str| (400, json!({ "error": code }).to_string(), Duration::ZERO);
        if value("subject_token_type") != ACCESS_TOKEN
            || value("requested_token_type") != ACCESS_TOKEN
            || value("actor_token").is_some()
                != (value("actor_token_type") == Some("urn:ietf:params:oauth:token-type:jwt"))
        {
            return refused("invalid_request");
        }
        let subject = claims_of(value("subject_token").unwrap_or_default())["sub"]
            .as_str()
            .unwrap_or_default()
            .to_owned();
        let actor = value("actor_token").map(|token| {
            assert!(self.is_signed(token), "the actor proves who it is");
            claims_of(token)["extensions"].clone()
        });
        let owned = |name| value(name).map(ToOwned::to_owned);
        self.exchanges.push(Exchanged {
            subject: subject.clone(),
            audience: owned("audience"),
            resource: owned("resource"),
            scope: owned("scope"),
            actor,
        });
        if subject == "mallory" {
            return refused("invalid_request");
        }
        let token = format!("{subject}-{}", self.asked);
        self.of_users.insert(token.clone());
        let answer = json!({
            "access_token": token,
            "issued_token_type": ACCESS_TOKEN,
            "token_type": "Bearer",
            "expires_in": 300,
        });
        (200, answer.to_string(), Duration::ZERO)
    }

    /// Checks an assertion as SMART Backend Services demands.
    fn is_signed(&mut self, assertion: &str) -> bool {
        let key = DecodingKey::from_ec_pem(self.public_key.as_bytes()).expect("a key");
        let mut validation = Validation::new(Algorithm::ES384);
        validation.set_audience(&[&self.audience]);
        validation.set_issuer(&[CLIENT]);
        validation.set_required_spec_claims(&["exp", "aud", "iss", "sub"]);
        let header = decode_header(assertion).expect("a header");
        let Ok(token) = decode::<Value>(assertion, &key, &validation) else {
            return false;
        };
        let claims = token.claims;
        let lifetime = claims["exp"].as_i64().zip(claims["iat"].as_i64());
        let id = claims["jti"].as_str().unwrap_or_default();
        header.kid.as_deref() == Some("key-1")
            && header.typ.as_deref() == Some("JWT")
            && claims["sub"] == CLIENT
            && lifetime.is_some_and(|(exp, iat)| exp - iat <= 300)
            && id.len() >= 16
            && self.seen.insert(id.to_owned())
    }
}

/// The claims of a token, whoever signed it.
fn claims_of(token: &str) -> Value {
    let claims = token.split('.').nth(1).unwrap_or_default();
    let claims = BASE64_URL_SAFE_NO_PAD.decode(claims).expect("Base64");
    serde_json::from_slice(&claims).expect("JSON")
}

fn lock(state: &Mutex<State>) -> MutexGuard<'_, State> {
    state.lock().unwrap_or_else(PoisonError::into_inner)
}
