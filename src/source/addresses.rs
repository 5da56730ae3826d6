//! The addresses of one server: several ways to the same place, asked in order of health.

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

/// For how long a request waits until it is known whether an address is well.
const DOUBT: Duration = Duration::from_secs(1);
/// How long the answer to a harmless question may take.
const PROBE: Duration = Duration::from_secs(5);

/// Addresses in the order of the settings, with a breaker each. Never empty.
#[derive(Debug)]
pub(super) struct Addresses<T> {
    all: Vec<Entry<T>>,
    /// Requests that were sent to a further address.
    retries: OnceLock<IntCounter>,
}

#[derive(Debug)]
struct Entry<T> {
    address: T,
    breaker: Arc<Breaker>,
}

/// What is asked of whichever address.
pub(super) struct Question<'a, T> {
    /// What breakers know it by.
    pub(super) subject: Subject,
    /// Where, below an address.
    pub(super) uri: Below<'a, T>,
    /// What is accepted.
    pub(super) accept: &'a HeaderValue,
    /// Entity tags of what is here already.
    pub(super) had: Option<&'a HeaderValue>,
    /// The request that this one is made for.
    pub(super) hop: Option<&'a Hop>,
    /// Where a question that harms nobody is asked, to find out whether an address is back.
    pub(super) probe: Below<'a, T>,
}

/// Something below an address.
pub(super) type Below<'a, T> = &'a (dyn Fn(&T) -> Result<Uri, Error> + Sync);

/// What an address answered.
pub(super) struct SourceAnswer {
    pub(super) response: Response,
    /// The address that was asked, in full.
    pub(super) uri: Uri,
    /// Has to be told how the body goes on.
    pub(super) report: Report,
}

impl<T> Addresses<T> {
    /// A server that is at `first`.
    pub(super) fn new(first: T) -> Self {
        Self {
            all: vec![Entry::new(first)],
            retries: OnceLock::new(),
        }
    }

    /// The same server by further ways.
    pub(super) fn extend(&mut self, more: impl IntoIterator<Item = T>) {
        self.all.extend(more.into_iter().map(Entry::new));
    }

    /// All of them, in the order of the settings.
    pub(super) fn iter(&self) -> impl Iterator<Item = &T> {
        self.all.iter().map(|entry| &entry.address)
    }

    /// Shows the state of each from now on.
    pub(super) fn watch(&self, alias: &Arc<str>, metrics: &Metrics) {
        // Whoever watches a second time counts where the first one does.
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

    /// The best first; those that are equally good in the order of the settings. Those that are left
    /// alone come last: they may be back when the others have failed.
    fn order(&self, now: Instant) -> Vec<&Entry<T>> {
        let mut order: Vec<_> = self.all.iter().collect();
        order.sort_by_cached_key(|entry| entry.breaker.standing(now));
        order
    }

    /// Asks one address after the other until one gives a definite answer.
    ///
    /// # Errors
    /// [`Error::Resting`] at once if all are left alone, [`Error::Overloaded`] if only what is asked for
    /// is, else as [`Client::get`] if none answers.
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
            // The request that raises a doubt waits for its end, as those do that come after it.
            entry.settle(client, question).await;
            if is_definite(&outcome) {
                self.heed(&outcome, question.subject.object);
                self.try_others(client, question);
                return outcome;
            }
            // An answer is more telling than none.
            if outcome.is_ok() || !matches!(failed, Some(Ok(_))) {
                failed = Some(outcome);
            }
        }
        let refused = refused.unwrap_or(Refused::Doubted);
        failed.unwrap_or_else(|| Err(refused.into()))
    }

    /// `429` is said of us, whichever way we come: the object rests at all addresses.
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

    /// Finds out, while nobody waits for it, whether those that failed are back. Nothing else would:
    /// they are not asked as long as there is a better one.
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

    /// Whether the question may be asked here, once no doubt is left.
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

    /// If the address is doubtful, asks the question that harms nobody, unless that is being asked
    /// already, and waits for the answer for a while.
    async fn settle(&self, client: &Client, question: &Question<'_, T>) {
        if self.breaker.standing(Instant::now()) == Standing::Doubted {
            self.probe(client, question);
            // Who comes too early for an answer is refused.
            let _ = timeout(DOUBT, self.breaker.settled()).await;
        }
    }

    /// Finds out whether the address is well, if it is time to, while nobody waits for it.
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
    /// Of two addresses that may not be asked, the one that says more of what can be done.
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
    permit.record(outcome(&asked), Instant::now());
}

/// What a breaker makes of it.
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

/// Whether no other way to the server would lead to another answer.
fn is_definite(outcome: &Result<SourceAnswer, Error>) -> bool {
    outcome
        .as_ref()
        .is_ok_and(|answered| !cannot_help(answered.response.status))
}

/// What is said by whoever stands before a server that is not there.
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
