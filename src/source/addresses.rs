//! The addresses of one server, tried in order of health.

use std::cmp::min;
use std::fmt;
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use http::header::HeaderValue;
use http::{StatusCode, Uri};
use prometheus::IntCounter;
use tokio::time::timeout;

use super::Error;
use super::breaker::{Breaker, Meter, Object, Outcome, Permit, Refused, Report, Standing, Subject};
use super::client::{Client, Response, retry_after};
use crate::hop::Hop;
use crate::metrics::Metrics;

/// The time that a request waits for a probe.
const DOUBT: Duration = Duration::from_secs(1);
/// The time-out of a probe.
const PROBE: Duration = Duration::from_secs(5);

/// Addresses in the order of the settings, each with a breaker. Never empty.
#[derive(Debug)]
pub(super) struct Addresses<T> {
    all: Vec<Entry<T>>,
    /// Requests sent to a further address.
    retries: OnceLock<IntCounter>,
}

#[derive(Debug)]
struct Entry<T> {
    address: T,
    breaker: Arc<Breaker>,
}

/// A request that any of the addresses can answer.
pub(super) struct Question<'a, T> {
    /// The subject, as breakers know it.
    pub(super) subject: Subject,
    /// The URL, built from an address.
    pub(super) uri: Below<'a, T>,
    /// The `Accept` field.
    pub(super) accept: &'a HeaderValue,
    /// Entity tags of the cached copy.
    pub(super) had: Option<&'a HeaderValue>,
    /// The downstream request.
    pub(super) hop: Option<&'a Hop>,
    /// The URL of a harmless probe.
    pub(super) probe: Below<'a, T>,
}

/// A URL below an address.
pub(super) type Below<'a, T> = &'a (dyn Fn(&T) -> Result<Uri, Error> + Sync);

/// The answer of a source.
pub(super) struct SourceAnswer {
    pub(super) response: Response,
    /// The requested URL.
    pub(super) uri: Uri,
    /// Reports the course of the body to the breaker.
    pub(super) report: Report,
}

impl<T> Addresses<T> {
    /// A server at one address.
    pub(super) fn new(first: T) -> Self {
        Self {
            all: vec![Entry::new(first)],
            retries: OnceLock::new(),
        }
    }

    /// Adds further addresses of the same server.
    pub(super) fn extend(&mut self, more: impl IntoIterator<Item = T>) {
        self.all.extend(more.into_iter().map(Entry::new));
    }

    /// All addresses, in the order of the settings.
    pub(super) fn iter(&self) -> impl Iterator<Item = &T> {
        self.all.iter().map(|entry| &entry.address)
    }

    /// Reports the breakers' states to metrics and logs.
    pub(super) fn watch(&self, alias: &Arc<str>, metrics: &Metrics) {
        // A second call has no effect.
        let _ = self
            .retries
            .set(metrics.source_retries.with_label_values(&[alias]));
        for (number, entry) in (1..).zip(&self.all) {
            let labels: [&str; 2] = [alias, &number.to_string()];
            entry.breaker.watch(Meter {
                alias: Arc::clone(alias),
                address: number,
                gauge: metrics.breaker_state.with_label_values(&labels),
            });
        }
    }

    /// Healthy addresses first, equally healthy ones in the order of the settings. Open breakers
    /// come last: their addresses may have recovered when the others have failed.
    fn order(&self, now: Instant) -> Vec<&Entry<T>> {
        let mut order: Vec<_> = self.all.iter().collect();
        order.sort_by_cached_key(|entry| entry.breaker.standing(now));
        order
    }

    /// Tries one address after the other until one gives a definite answer.
    ///
    /// # Errors
    /// [`Error::Resting`] at once if all breakers are open, [`Error::Overloaded`] if only the
    /// requested object is refused, else as [`Client::get`] if no address answers.
    pub(super) async fn get(
        &self,
        client: &Client,
        question: &Question<'_, T>,
    ) -> Result<SourceAnswer, Error> {
        let mut failed: Option<Result<SourceAnswer, Error>> = None;
        let mut refused: Option<Refused> = None;
        for entry in self.order(Instant::now()) {
            let permit = match entry.permit(client, question).await {
                Ok(permit) => permit,
                Err(other) => {
                    refused = Some(refused.map_or(other, |one| one.milder(other)));
                    continue;
                }
            };
            if let (Some(_), Some(retries)) = (&failed, self.retries.get()) {
                retries.inc();
            }
            let outcome = question.ask(client, &entry.address, permit).await;
            // The request that raises the doubt waits for the probe, like all later requests.
            entry.settle(client, question).await;
            if is_definite(&outcome) {
                self.heed(&outcome, question.subject.object);
                self.try_others(client, question);
                return outcome;
            }
            // An answer tells more than a failed request.
            if outcome.is_ok() || !matches!(failed, Some(Ok(_))) {
                failed = Some(outcome);
            }
        }
        let refused = refused.unwrap_or(Refused::Doubted);
        failed.unwrap_or_else(|| Err(refused.into()))
    }

    /// `429` concerns us at all addresses: the object is refused at each of them.
    fn heed(&self, outcome: &Result<SourceAnswer, Error>, object: Object) {
        let Ok(SourceAnswer { response, .. }) = outcome else {
            return;
        };
        let wait = retry_after(&response.headers);
        if let (StatusCode::TOO_MANY_REQUESTS, Some(wait)) = (response.status, wait) {
            let now = Instant::now();
            self.all
                .iter()
                .for_each(|entry| entry.breaker.rest(object, wait, now));
        }
    }

    /// Probes the failed addresses in the background. Without probes they would never recover,
    /// because requests prefer a better address.
    fn try_others(&self, client: &Client, question: &Question<'_, T>) {
        if self.all.len() == 1 {
            return;
        }
        for entry in &self.all {
            entry.probe(client, question);
        }
    }
}

impl<T> Entry<T> {
    fn new(address: T) -> Self {
        Self {
            address,
            breaker: Arc::default(),
        }
    }

    /// Requests a permit, after the probe of a doubtful address.
    async fn permit(&self, client: &Client, question: &Question<'_, T>) -> Result<Permit, Refused> {
        let permit = || self.breaker.permit(question.subject, Instant::now());
        match permit() {
            Err(Refused::Doubted) => {
                self.settle(client, question).await;
                permit()
            }
            permitted => permitted,
        }
    }

    /// Starts a probe of a doubtful address, unless one is running, and waits briefly for its
    /// result.
    async fn settle(&self, client: &Client, question: &Question<'_, T>) {
        if self.breaker.standing(Instant::now()) == Standing::Doubted {
            self.probe(client, question);
            // Requests during the probe are refused.
            let _ = timeout(DOUBT, self.breaker.settled()).await;
        }
    }

    /// Starts a background probe, if one is due.
    fn probe(&self, client: &Client, question: &Question<'_, T>) {
        let Some(permit) = self.breaker.permit_probe(Instant::now()) else {
            return;
        };
        if let Ok(uri) = (question.probe)(&self.address) {
            tokio::spawn(probe(client.clone(), uri, permit));
        }
    }
}

impl Refused {
    /// Of two refusals, the one that tells the client more.
    fn milder(self, other: Self) -> Self {
        match (self, other) {
            (Self::Object { wait }, Self::Object { wait: other }) => Self::Object {
                wait: min(wait, other),
            },
            (Self::Address { wait }, Self::Address { wait: other }) => Self::Address {
                wait: min(wait, other),
            },
            (Self::Object { .. }, Self::Address { .. } | Self::Doubted) => self,
            (Self::Address { .. } | Self::Doubted, Self::Object { .. }) => other,
            (Self::Doubted, Self::Address { .. } | Self::Doubted) => self,
            (Self::Address { .. }, Self::Doubted) => other,
        }
    }
}

impl From<Refused> for Error {
    fn from(refused: Refused) -> Self {
        match refused {
            Refused::Address { wait } => Self::Resting { retry_after: wait },
            Refused::Doubted => Self::Resting { retry_after: DOUBT },
            Refused::Object { wait } => Self::Overloaded {
                retry_after: Some(wait),
            },
        }
    }
}

impl<T> Question<'_, T> {
    async fn ask(
        &self,
        client: &Client,
        address: &T,
        permit: Permit,
    ) -> Result<SourceAnswer, Error> {
        let uri = (self.uri)(address)?;
        let asked = client.get(&uri, self.accept, self.had, self.hop).await;
        // The server has not been asked: that says nothing about its address.
        if let Err(error @ (Error::NoToken { .. } | Error::NotForUser(_))) = asked {
            return Err(error);
        }
        let report = permit.record(outcome(&asked), Instant::now());
        Ok(SourceAnswer {
            response: asked?,
            uri,
            report: report.expect("it was no probe"),
        })
    }
}

impl fmt::Debug for SourceAnswer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("SourceAnswer")
            .field(&self.response.status)
            .finish()
    }
}

async fn probe(client: Client, uri: Uri, permit: Permit) {
    let whatever = HeaderValue::from_static("*/*");
    let asking = client.get(&uri, &whatever, None, None);
    let asked = timeout(PROBE, asking).await;
    let asked = asked.unwrap_or(Err(Error::TimedOut));
    if matches!(asked, Err(Error::NoToken { .. } | Error::NotForUser(_))) {
        return;
    }
    permit.record(outcome(&asked), Instant::now());
}

/// The outcome for the breaker.
fn outcome(asked: &Result<Response, Error>) -> Outcome {
    let response = match asked {
        Ok(response) => response,
        Err(Error::Unreachable) => return Outcome::Unconnected,
        Err(_) => return Outcome::Failed { wait: None },
    };
    match response.status {
        status if cannot_help(status) || status == StatusCode::TOO_MANY_REQUESTS => {
            Outcome::Failed {
                wait: retry_after(&response.headers),
            }
        }
        status if status.is_success() => Outcome::Begun,
        _definite => Outcome::Answered,
    }
}

/// Whether no other address could lead to another answer.
fn is_definite(outcome: &Result<SourceAnswer, Error>) -> bool {
    match outcome {
        Ok(answered) => !cannot_help(answered.response.status),
        // All addresses of a source take the same token.
        Err(error) => matches!(error, Error::NoToken { .. } | Error::NotForUser(_)),
    }
}

/// The statuses of a proxy in front of a failed server.
fn cannot_help(status: StatusCode) -> bool {
    matches!(
        status,
        StatusCode::BAD_GATEWAY | StatusCode::SERVICE_UNAVAILABLE | StatusCode::GATEWAY_TIMEOUT
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn outcomes(addresses: &Addresses<char>, at: usize, outcomes: &[Outcome], now: Instant) {
        for (number, outcome) in outcomes.iter().enumerate() {
            let subject = Subject {
                object: Object::at(&[&number.to_string()]),
                is_repair: false,
            };
            let permit = addresses.all[at].breaker.permit(subject, now);
            permit.expect("closed").record(*outcome, now);
        }
    }

    fn order(addresses: &Addresses<char>, now: Instant) -> String {
        let order = addresses.order(now);
        order.iter().map(|entry| entry.address).collect()
    }

    #[test]
    fn the_best_comes_first_and_the_settings_decide_among_equals() {
        const FAILED: Outcome = Outcome::Failed { wait: None };
        let now = Instant::now();
        let mut addresses = Addresses::new('a');
        addresses.extend(['b', 'c', 'd']);
        assert_eq!(order(&addresses, now), "abcd");
        outcomes(&addresses, 0, &[Outcome::Unconnected; 3], now);
        outcomes(&addresses, 1, &[FAILED; 2], now);
        outcomes(&addresses, 2, &[FAILED], now);
        assert_eq!(order(&addresses, now), "dcba");
        // b is doubtful, a may be tried again.
        outcomes(&addresses, 1, &[FAILED], now);
        assert_eq!(order(&addresses, now + Duration::from_secs(1)), "dcab");
        outcomes(&addresses, 2, &[Outcome::Answered], now);
        assert_eq!(order(&addresses, now), "cdba");
    }
}
