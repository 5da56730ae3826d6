//! What an authorization server says about a token (RFC 7662): one request for each token at a time,
//! shared by everybody who waits for it.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;

use http::StatusCode;
use serde_json::Value;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};
use tokio::time::{Instant, timeout};
use zeroize::Zeroizing;

use super::json::{self, Object};
use super::memory::{Digest, Memory, Remembered, digest};
use super::refused::Refused;
use super::rules::{Rules, Verified};
use super::settings::IssuerSettings;
use crate::credentials::{Error, Loaded, Watched, now};
use crate::metrics::Metrics;
use crate::source::client::{Endpoint, Proof, ProofSettings};

/// The time that the server has for an answer.
const ANSWER: Duration = Duration::from_millis(900);
/// The time for which a refusal counts.
const REFUSED: Duration = Duration::from_secs(5);
/// The largest answer.
const LARGEST: usize = 64 << 10;
/// The most requests at a time: anybody may send tokens that nobody has issued.
const AT_ONCE: usize = 64;

/// The introspection endpoint of an issuer.
pub(super) struct Introspection {
    /// The name of the issuer in metrics and logs.
    name: String,
    /// The issuer: the audience of our assertions.
    issuer: String,
    place: usize,
    rules: Arc<Rules>,
    server: Arc<Watched<Server>>,
    /// The longest time for which an answer counts.
    longest: Duration,
    memory: Arc<Memory>,
    under_way: Mutex<HashMap<Digest, watch::Receiver<Option<Outcome>>>>,
    seats: Arc<Semaphore>,
    metrics: OnceLock<Metrics>,
}

type Outcome = Result<Arc<Verified>, Refused>;

#[derive(Debug)]
struct Server {
    endpoint: Endpoint,
    proof: Proof,
}

impl Server {
    fn load(settings: &IssuerSettings, url: &str) -> Result<Loaded<Self>, Error> {
        let endpoint = Endpoint::open(url, &settings.files(), &settings.allow_networks)?;
        let proof = Proof::load(ProofSettings {
            client_id: settings.client_id.as_deref().unwrap_or_default(),
            private_key: settings.private_key.as_deref(),
            key_id: settings.key_id.as_deref(),
            client_secret: settings.client_secret.as_ref(),
        })?;
        let revocation_lists = endpoint.revocation_lists().to_vec();
        Ok(Loaded {
            revocation_lists,
            ..Loaded::plain(Self { endpoint, proof })
        })
    }
}

impl Introspection {
    /// The endpoint in the settings, if there is one.
    pub(super) fn open(
        settings: &IssuerSettings,
        place: usize,
        rules: &Arc<Rules>,
        memory: &Arc<Memory>,
    ) -> Result<Option<Arc<Self>>, Error> {
        let Some(url) = settings.introspection_url.clone() else {
            return Ok(None);
        };
        let files = settings.files();
        let secrets = settings.secret_files();
        let paths = files.paths().chain(secrets).cloned().collect();
        let own = settings.clone();
        let load = move || Server::load(&own, &url);
        let server = Watched::load(&format!("issuer {}", settings.name), paths, load)?;
        Ok(Some(Arc::new(Self {
            name: settings.name.clone(),
            issuer: settings.issuer.clone(),
            place,
            rules: Arc::clone(rules),
            server: Arc::new(server),
            longest: Duration::from_secs(settings.introspection_seconds),
            memory: Arc::clone(memory),
            under_way: Mutex::default(),
            seats: Arc::new(Semaphore::new(AT_ONCE)),
            metrics: OnceLock::new(),
        })))
    }

    pub(super) fn watch(&self, metrics: &Metrics) {
        // A second call has no effect.
        let _ = self.metrics.set(metrics.clone());
        self.server.watch(metrics);
    }

    /// Asks about a token, for less than a second.
    pub(super) async fn ask(self: &Arc<Self>, token: &str) -> Outcome {
        let mut asking = self.begin(token)?;
        let answered = asking.wait_for(Option::is_some).await;
        let outcome = answered.ok().and_then(|answered| answered.clone());
        outcome.unwrap_or(Err(Refused::Unavailable))
    }

    fn begin(self: &Arc<Self>, token: &str) -> Result<watch::Receiver<Option<Outcome>>, Refused> {
        let digest = digest(token);
        let mut under_way = self.lock();
        if let Some(asking) = under_way.get(&digest) {
            return Ok(asking.clone());
        }
        let seat = Arc::clone(&self.seats).try_acquire_owned();
        let seat = seat.map_err(|_full| Refused::Unavailable)?;
        let (sender, receiver) = watch::channel(None);
        under_way.insert(digest, receiver.clone());
        let asking = Asking {
            introspection: Arc::clone(self),
            token: Zeroizing::new(token.to_owned()),
            digest,
            sender,
            outcome: Err(Refused::Unavailable),
            _seat: seat,
        };
        // It goes on without the request that began it.
        tokio::spawn(asking.run());
        Ok(receiver)
    }

    /// The claims of an active token.
    async fn claims(&self, token: &str) -> Result<Object, Refused> {
        let fields = [("token", token), ("token_type_hint", "access_token")];
        let server = self.server.current();
        let Server { endpoint, proof } = &server.value;
        let form = proof.form(&self.issuer, &fields);
        let form = form.map_err(|_unsigned| Refused::Unavailable)?;
        let posted = endpoint.post(form, LARGEST).await;
        let document = posted.map_err(|_unreachable| Refused::Unavailable)?;
        let answer = document.body.as_deref().and_then(json::object);
        let answer = answer.filter(|_answer| document.status == StatusCode::OK);
        let answer = answer.ok_or(Refused::Unavailable)?;
        match answer.get("active") {
            Some(Value::Bool(true)) => Ok(answer),
            Some(Value::Bool(false)) => Err(Refused::Inactive),
            Some(_) | None => Err(Refused::Unavailable),
        }
    }

    /// RFC 7662 2.2 leaves out what its server and its client know.
    fn check(&self, mut claims: Object) -> Outcome {
        let now = now();
        let mut complete = |name: &str, value: Option<Value>| {
            if let Some(value) = value
                && !claims.contains_key(name)
            {
                claims.insert(name.to_owned(), value);
            }
        };
        complete("iss", Some(self.issuer.as_str().into()));
        let until = now.saturating_add_unsigned(self.longest.as_secs().max(1));
        complete("exp", Some(until.into()));
        let client = claims.get("client_id").cloned();
        // A client that acts for nobody else is its own subject (RFC 9068 2.2).
        if let Some(client) = client {
            claims.entry("sub").or_insert(client);
        }
        self.rules.check(&claims, now).map(Arc::new)
    }

    fn settle(&self, asking: &mut Asking) {
        let outcome = std::mem::replace(&mut asking.outcome, Err(Refused::Unavailable));
        let longest = match outcome {
            Ok(_) => Some(self.longest),
            Err(Refused::Unavailable) => None,
            Err(_) => Some(self.longest.min(REFUSED)),
        };
        if let Some(longest) = longest {
            let remembered = Remembered {
                outcome: outcome.clone(),
                issuer: self.place,
                keys: 0,
                until: Some(Instant::now() + longest),
                size: asking.token.len(),
            };
            self.memory.insert(asking.digest, remembered);
        }
        self.tell(longest.is_some());
        self.lock().remove(&asking.digest);
        asking.sender.send_replace(Some(outcome));
    }

    fn tell(&self, has_answered: bool) {
        let issuer = self.name.as_str();
        if !has_answered {
            tracing::warn!(issuer, "an introspection has failed");
        }
        if let Some(metrics) = self.metrics.get() {
            let outcome = if has_answered { "answered" } else { "failed" };
            let requests = &metrics.issuer_requests;
            requests
                .with_label_values(&[issuer, "introspection", outcome])
                .inc();
        }
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<Digest, watch::Receiver<Option<Outcome>>>> {
        self.under_way
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}

impl std::fmt::Debug for Introspection {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Introspection")
            .field("name", &self.name)
            .finish_non_exhaustive()
    }
}

/// A request about a token. When its task ends, also with its runtime, those who wait are told.
struct Asking {
    introspection: Arc<Introspection>,
    token: Zeroizing<String>,
    digest: Digest,
    sender: watch::Sender<Option<Outcome>>,
    outcome: Outcome,
    _seat: OwnedSemaphorePermit,
}

impl Asking {
    async fn run(mut self) {
        let claims = timeout(ANSWER, self.introspection.claims(&self.token)).await;
        let claims = claims.unwrap_or(Err(Refused::Unavailable));
        self.outcome = claims.and_then(|claims| self.introspection.check(claims));
    }
}

impl Drop for Asking {
    fn drop(&mut self) {
        let introspection = Arc::clone(&self.introspection);
        introspection.settle(self);
    }
}
