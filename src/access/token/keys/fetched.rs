//! The keys at a URL: fetched at the start, from time to time, and for an unknown key, one request
//! at a time. A failure leaves the keys as they are: an outage of the server concerns new keys only.

use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;

use arc_swap::ArcSwapOption;
use http::StatusCode;
use jsonwebtoken::Algorithm;
use tokio::sync::watch;
use tokio::time::{Instant, sleep, timeout};

use super::set::KeySet;
use crate::access::token::settings::IssuerSettings;
use crate::credentials::{Error, Loaded, Watched};
use crate::metrics::Metrics;
use crate::source::client::{Endpoint, pause_after};

/// The time that a request waits for keys.
const WAIT: Duration = Duration::from_millis(800);
/// The time that the server has for an answer, whether requests wait or not.
const ANSWER: Duration = Duration::from_secs(10);
/// The interval between two fetches that no token gives occasion for.
const EVERY: Duration = Duration::from_secs(300);
/// The shortest interval: anybody may send tokens with unknown keys.
const BETWEEN: Duration = Duration::from_secs(5);
/// The largest JWK set.
const LARGEST: usize = 256 << 10;

/// The keys at a URL.
pub(in crate::access::token) struct Fetched {
    /// The name of the issuer in metrics and logs.
    name: String,
    algorithms: Vec<Algorithm>,
    endpoint: Arc<Watched<Endpoint>>,
    current: ArcSwapOption<KeySet>,
    state: Mutex<State>,
    /// Changes when a fetch ends.
    ended: watch::Sender<()>,
    metrics: OnceLock<Metrics>,
}

#[derive(Default)]
struct State {
    is_fetching: bool,
    /// Failures in a row.
    failures: u32,
    /// When the server may be asked again.
    not_before: Option<Instant>,
    /// The digest of the current document.
    document: Option<blake3::Hash>,
}

/// Why there are no new keys.
#[derive(Debug, Clone, Copy, thiserror::Error)]
enum Failure {
    #[error("the server cannot be reached")]
    Unreachable,
    #[error("the server does not answer in time")]
    TimedOut,
    #[error("the server answers with status {0}")]
    Status(u16),
    #[error("the answer is no JWK set, or too large")]
    Malformed,
}

impl Fetched {
    pub(super) fn open(
        settings: &IssuerSettings,
        url: String,
        algorithms: &[Algorithm],
    ) -> Result<Arc<Self>, Error> {
        let (files, networks) = (settings.files(), settings.allow_networks.clone());
        let paths = files.paths().cloned().collect();
        let load = move || {
            let endpoint = Endpoint::open(&url, &files, &networks)?;
            let lists = endpoint.revocation_lists().to_vec();
            Ok(Loaded {
                revocation_lists: lists,
                ..Loaded::plain(endpoint)
            })
        };
        let endpoint = Watched::load(&format!("issuer {}", settings.name), paths, load)?;
        Ok(Arc::new(Self {
            name: settings.name.clone(),
            algorithms: algorithms.to_vec(),
            endpoint: Arc::new(endpoint),
            current: ArcSwapOption::empty(),
            state: Mutex::default(),
            ended: watch::Sender::new(()),
            metrics: OnceLock::new(),
        }))
    }

    /// Fetches the keys now and from time to time, in a task that ends with the last use of this
    /// value.
    pub(super) fn watch(self: &Arc<Self>, metrics: &Metrics) {
        // A second call has no effect.
        let _ = self.metrics.set(metrics.clone());
        self.endpoint.watch(metrics);
        let fetched = Arc::downgrade(self);
        tokio::spawn(async move {
            while let Some(fetched) = fetched.upgrade() {
                fetched.wait(ANSWER).await;
                let pause = fetched.pause();
                drop(fetched);
                sleep(pause).await;
            }
        });
    }

    pub(super) fn current(&self) -> Option<Arc<KeySet>> {
        self.current.load_full()
    }

    /// Whether the last fetch failed, or none has ended.
    pub(super) fn is_failing(&self) -> bool {
        let state = self.lock();
        state.failures > 0 || state.document.is_none()
    }

    /// Whether a fetch is under way or may begin.
    pub(super) fn may_change(&self) -> bool {
        let state = self.lock();
        state.is_fetching || !state.is_resting(Instant::now())
    }

    /// Fetches the keys; waits for them, but not for long.
    pub(super) async fn refresh(self: &Arc<Self>) {
        self.wait(WAIT).await;
    }

    async fn wait(self: &Arc<Self>, longest: Duration) {
        let mut ended = self.ended.subscribe();
        if self.begin() {
            // Without keys in time, the request fails; the next one may find them.
            let _ = timeout(longest, ended.changed()).await;
        }
    }

    /// Begins a fetch, unless the server was asked a moment ago. `true` if one is under way.
    fn begin(self: &Arc<Self>) -> bool {
        {
            let mut state = self.lock();
            if state.is_fetching || state.is_resting(Instant::now()) {
                return state.is_fetching;
            }
            state.is_fetching = true;
        }
        let fetch = Fetch {
            fetched: Arc::clone(self),
            outcome: Err(Failure::Unreachable),
        };
        // It goes on without the request that began it.
        tokio::spawn(fetch.run());
        true
    }

    async fn fetch(&self) -> Result<Vec<u8>, Failure> {
        let endpoint = self.endpoint.current();
        let document = endpoint.value.get(LARGEST).await;
        let document = document.map_err(|_unreachable| Failure::Unreachable)?;
        if document.status != StatusCode::OK {
            return Err(Failure::Status(document.status.as_u16()));
        }
        document.body.ok_or(Failure::Malformed)
    }

    fn settle(&self, outcome: Result<Vec<u8>, Failure>) {
        let outcome = outcome.and_then(|document| self.apply(&document));
        let mut state = self.lock();
        state.is_fetching = false;
        state.failures = match outcome {
            Ok(()) => 0,
            Err(_) => state.failures.saturating_add(1),
        };
        let pause = match state.failures {
            0 => BETWEEN,
            failures => pause_after(failures - 1),
        };
        state.not_before = Some(Instant::now() + pause);
        drop(state);
        self.tell(outcome);
        self.ended.send_replace(());
    }

    /// Uses the keys of a document, if it is another one.
    fn apply(&self, document: &[u8]) -> Result<(), Failure> {
        let digest = Some(blake3::hash(document));
        if self.lock().document == digest {
            return Ok(());
        }
        let keys = KeySet::parse(document, &self.algorithms).ok_or(Failure::Malformed)?;
        let (issuer, count) = (self.name.as_str(), keys.len());
        tracing::info!(issuer, keys = count, "the keys of an issuer are in use");
        self.current.store(Some(Arc::new(keys)));
        self.lock().document = digest;
        Ok(())
    }

    fn tell(&self, outcome: Result<(), Failure>) {
        let issuer = self.name.as_str();
        if let Err(failure) = outcome {
            tracing::warn!(issuer, %failure, "the keys of an issuer cannot be fetched");
        }
        if let Some(metrics) = self.metrics.get() {
            let label = outcome.map_or("failed", |()| "fetched");
            let requests = &metrics.issuer_requests;
            requests.with_label_values(&[issuer, "keys", label]).inc();
        }
    }

    /// The time until the next fetch.
    fn pause(&self) -> Duration {
        let state = self.lock();
        match (state.failures, state.not_before) {
            (0, _) | (_, None) => EVERY,
            (_, Some(time)) => (time - Instant::now()).max(Duration::from_millis(100)),
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn is_resting(&self, now: Instant) -> bool {
        self.not_before.is_some_and(|time| now < time)
    }
}

impl std::fmt::Debug for Fetched {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Fetched")
            .field("name", &self.name)
            .finish_non_exhaustive()
    }
}

/// A fetch. When its task ends, also with its runtime, the next one may begin.
struct Fetch {
    fetched: Arc<Fetched>,
    outcome: Result<Vec<u8>, Failure>,
}

impl Fetch {
    async fn run(mut self) {
        let fetched = timeout(ANSWER, self.fetched.fetch()).await;
        self.outcome = fetched.unwrap_or(Err(Failure::TimedOut));
    }
}

impl Drop for Fetch {
    fn drop(&mut self) {
        let outcome = std::mem::replace(&mut self.outcome, Err(Failure::Unreachable));
        self.fetched.settle(outcome);
    }
}
