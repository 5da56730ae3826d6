//! The access token that all requests to a source share: one request for it at a time, ahead of its
//! expiry, and pauses after failures.

use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;

use http::HeaderValue;
use moka::sync::Cache;
use tokio::sync::watch;
use tokio::time::{Instant, timeout};

use super::Shown;
use super::grant::{Asking, Failed, Failure, Issued};
use super::user::User;
use crate::metrics::Metrics;
use crate::random;
use crate::source::Error;

/// The time that a request waits for a token.
const WAIT: Duration = Duration::from_millis(800);
/// The time that the authorization server has for an answer, whether requests wait or not.
const ANSWER: Duration = Duration::from_secs(10);
const SHORTEST_PAUSE: Duration = Duration::from_secs(1);
const LONGEST_PAUSE: Duration = Duration::from_secs(30);
/// The longest time for which an authorization server may ask to be left alone.
const LONGEST_REST: Duration = Duration::from_secs(60);
/// The time between two tokens that replace rejected ones: a source that rejects every token must
/// not make the gateway ask for one with each request.
const BETWEEN_REJECTIONS: Duration = Duration::from_secs(5);

/// The most users whose tokens are remembered, and for how long after the last request: it costs a
/// few kilobytes for each of them.
const MOST_USERS: u64 = 4096;
const IDLE: Duration = Duration::from_secs(60 * 60);

/// All access tokens of a client. They outlive a change of its keys and certificates.
pub(in crate::source::client) struct Purse {
    own: Arc<Tokens>,
    of_users: Cache<Arc<str>, Arc<Tokens>>,
}

/// The access token of a client, or of one user.
pub(super) struct Tokens {
    /// The name of the client in metrics and logs.
    name: String,
    state: Mutex<State>,
    /// Changes when a request for a token ends.
    ended: watch::Sender<()>,
    metrics: OnceLock<Metrics>,
}

#[derive(Default)]
struct State {
    known: Option<Known>,
    /// The number of the latest token.
    issued: u64,
    is_fetching: bool,
    /// Failures in a row, and the last of them.
    failures: u32,
    failure: Option<Failure>,
    /// When the authorization server may be asked again.
    not_before: Option<Instant>,
    /// When a rejected token may be replaced again.
    no_rejection_before: Option<Instant>,
}

#[derive(Clone)]
struct Known {
    value: HeaderValue,
    number: u64,
    /// From then on it is replaced.
    refresh: Instant,
    expires: Instant,
}

/// The occasion for a new token.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Occasion {
    Expiry,
    Rejection,
}

impl Purse {
    pub(in crate::source::client) fn new(name: &str) -> Self {
        Self {
            own: Arc::new(Tokens::new(name)),
            of_users: Cache::builder()
                .max_capacity(MOST_USERS)
                .time_to_idle(IDLE)
                .build(),
        }
    }

    pub(in crate::source::client) fn watch(&self, metrics: &Metrics) {
        self.own.watch(metrics);
    }

    pub(super) fn own(&self) -> &Arc<Tokens> {
        &self.own
    }

    pub(super) fn of(&self, user: &User) -> Arc<Tokens> {
        let name = Arc::clone(user.name());
        self.of_users.get_with(name, || Arc::new(self.own.like()))
    }
}

impl Tokens {
    fn new(name: &str) -> Self {
        Self {
            name: name.to_owned(),
            state: Mutex::default(),
            ended: watch::Sender::new(()),
            metrics: OnceLock::new(),
        }
    }

    /// An empty place for tokens that counts with this one.
    fn like(&self) -> Self {
        Self {
            metrics: self.metrics.clone(),
            ..Self::new(&self.name)
        }
    }

    fn watch(&self, metrics: &Metrics) {
        // A second call has no effect.
        let _ = self.metrics.set(metrics.clone());
    }

    /// Asks for the first token.
    pub(super) fn prepare(self: &Arc<Self>, asking: &Asking) {
        if self.known().is_none() {
            self.begin(asking, 0, Occasion::Expiry);
        }
    }

    /// The token for a request.
    pub(super) async fn current(self: &Arc<Self>, asking: &Asking) -> Result<Shown, Error> {
        let Some(known) = self.known() else {
            let newer = Box::pin(self.newer(asking, 0, Occasion::Expiry)).await;
            return newer.ok_or_else(|| self.error());
        };
        if known.refresh <= Instant::now() {
            self.begin(asking, known.number, Occasion::Expiry);
        }
        Ok(known.shown())
    }

    /// Another token than the rejected one, if there is one in time.
    pub(super) async fn replace(self: &Arc<Self>, asking: &Asking, rejected: u64) -> Option<Shown> {
        self.newer(asking, rejected, Occasion::Rejection).await
    }

    /// A token later than this one; waits for it, but not for long.
    async fn newer(
        self: &Arc<Self>,
        asking: &Asking,
        than: u64,
        occasion: Occasion,
    ) -> Option<Shown> {
        let mut ended = self.ended.subscribe();
        if self.begin(asking, than, occasion) {
            // Without a token in time, the request fails; the next one may find it.
            let _ = timeout(WAIT, ended.changed()).await;
        }
        let known = self.known().filter(|known| known.number > than);
        known.map(|known| known.shown())
    }

    /// Asks for a token later than this one, unless there is one. `true` if a request for it is
    /// under way.
    fn begin(self: &Arc<Self>, asking: &Asking, than: u64, occasion: Occasion) -> bool {
        if !self.lock().may_begin(than, occasion, Instant::now()) {
            return self.lock().is_fetching;
        }
        let fetch = Fetch {
            tokens: Arc::clone(self),
            began: Instant::now(),
            outcome: None,
        };
        // It goes on without the request that began it.
        tokio::spawn(fetch.run(asking.clone()));
        true
    }

    /// The token that is still valid.
    fn known(&self) -> Option<Known> {
        let now = Instant::now();
        self.lock()
            .known
            .clone()
            .filter(|known| now < known.expires)
    }

    fn error(&self) -> Error {
        let state = self.lock();
        let wait = state.not_before.map(|time| time - Instant::now());
        Error::NoToken {
            failure: state.failure.unwrap_or(Failure::TimedOut),
            retry_after: wait.unwrap_or_default().max(SHORTEST_PAUSE),
        }
    }

    fn settle(&self, began: Instant, outcome: Option<Result<Issued, Failed>>) {
        let now = Instant::now();
        let told = outcome.map(|outcome| self.lock().settle(began, now, outcome));
        self.lock().is_fetching = false;
        if let Some(outcome) = told {
            self.tell(outcome);
        }
        self.ended.send_replace(());
    }

    fn tell(&self, outcome: Result<(), Failure>) {
        let name = self.name.as_str();
        match outcome {
            Ok(()) => tracing::debug!(credentials = name, "an access token was issued"),
            Err(failure) => tracing::warn!(credentials = name, %failure, "no access token"),
        }
        if let Some(metrics) = self.metrics.get() {
            let label = outcome.map_or("failed", |()| "issued");
            metrics
                .token_requests
                .with_label_values(&[name, label])
                .inc();
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    /// Whether a request for a token begins now.
    fn may_begin(&mut self, than: u64, occasion: Occasion, now: Instant) -> bool {
        let is_later = |known: &Known| known.number > than && now < known.expires;
        let is_early = |time: Option<Instant>| time.is_some_and(|time| now < time);
        if self.is_fetching
            || self.known.as_ref().is_some_and(is_later)
            || is_early(self.not_before)
        {
            return false;
        }
        if occasion == Occasion::Rejection {
            if is_early(self.no_rejection_before) {
                return false;
            }
            self.no_rejection_before = Some(now + BETWEEN_REJECTIONS);
        }
        self.is_fetching = true;
        true
    }

    fn settle(
        &mut self,
        began: Instant,
        now: Instant,
        outcome: Result<Issued, Failed>,
    ) -> Result<(), Failure> {
        // The lifetime began when the server issued it, so at the earliest when it was asked.
        let outcome = outcome.and_then(|issued| {
            let is_late = began + issued.lifetime <= now;
            (!is_late).then_some(issued).ok_or(Failure::TimedOut.into())
        });
        match outcome {
            Ok(issued) => {
                self.issued += 1;
                self.known = Some(Known {
                    value: issued.value,
                    number: self.issued,
                    refresh: began + issued.lifetime * 3 / 4,
                    expires: began + issued.lifetime,
                });
                (self.failures, self.failure, self.not_before) = (0, None, None);
                Ok(())
            }
            Err(Failed {
                failure,
                retry_after,
            }) => {
                let pause = pause_after(self.failures)
                    .max(retry_after.unwrap_or_default().min(LONGEST_REST));
                self.failures = self.failures.saturating_add(1);
                self.failure = Some(failure);
                self.not_before = Some(now + pause);
                Err(failure)
            }
        }
    }
}

impl Known {
    fn shown(&self) -> Shown {
        Shown {
            value: Some(self.value.clone()),
            token: Some(self.number),
        }
    }
}

/// The pause after this many failures before the last, with up to 25 % jitter, so that gateways do
/// not return all at once.
#[must_use]
pub fn pause_after(failures: u32) -> Duration {
    let pause = SHORTEST_PAUSE * 2_u32.pow(failures.min(5));
    let [random] = random::bytes::<1>().unwrap_or_default();
    pause.min(LONGEST_PAUSE) * (1024 + u32::from(random)) / 1024
}

/// A request for a token. When its task ends, also with its runtime, the next one may begin.
struct Fetch {
    tokens: Arc<Tokens>,
    began: Instant,
    outcome: Option<Result<Issued, Failed>>,
}

impl Fetch {
    async fn run(mut self, asking: Asking) {
        let fetched = timeout(ANSWER, asking.fetch()).await;
        self.outcome = Some(fetched.unwrap_or_else(|_late| Err(Failure::TimedOut.into())));
    }
}

impl Drop for Fetch {
    fn drop(&mut self) {
        self.tokens.settle(self.began, self.outcome.take());
    }
}
