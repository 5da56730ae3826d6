//! The addresses of one server: several ways to the same place, asked in order of health.

use std::cmp::min;
use std::fmt;
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use http::header::HeaderValue;
use http::{StatusCode, Uri};
use prometheus::IntCounter;

use super::Error;
use super::breaker::{Breaker, Outcome, Permit, Refused, Report, Seen};
use super::client::{Client, Response, retry_after};
use crate::hop::Hop;
use crate::metrics::Metrics;

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
pub(super) struct Answered {
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
            entry.breaker.watch(Seen {
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
    /// [`Error::Resting`] at once if all are left alone, else as [`Client::get`] if none answers.
    pub(super) async fn get(
        &self,
        client: &Client,
        question: &Question<'_, T>,
    ) -> Result<Answered, Error> {
        let mut failed: Option<Result<Answered, Error>> = None;
        let mut shortest = Duration::MAX;
        for entry in self.order(Instant::now()) {
            let permit = match entry.breaker.permit(Instant::now()) {
                Ok(permit) => permit,
                Err(Refused { wait }) => {
                    shortest = min(shortest, wait);
                    continue;
                }
            };
            if let (Some(_), Some(retries)) = (&failed, self.retries.get()) {
                retries.inc();
            }
            let outcome = question.ask(client, &entry.address, permit).await;
            if is_definite(&outcome) {
                self.heed(&outcome);
                self.try_others(client, question);
                return outcome;
            }
            // What somebody said is more telling than silence.
            if outcome.is_ok() || !matches!(failed, Some(Ok(_))) {
                failed = Some(outcome);
            }
        }
        let resting = Error::Resting {
            retry_after: shortest,
        };
        failed.unwrap_or(Err(resting))
    }

    /// `429` is said of us, whichever way we come.
    fn heed(&self, outcome: &Result<Answered, Error>) {
        let Ok(Answered { response, .. }) = outcome else {
            return;
        };
        let wait = retry_after(&response.headers);
        if let (StatusCode::TOO_MANY_REQUESTS, Some(wait)) = (response.status, wait) {
            let now = Instant::now();
            self.all
                .iter()
                .for_each(|entry| entry.breaker.rest(wait, now));
        }
    }

    /// Finds out, while nobody waits for it, whether those that failed are back. Nothing else would:
    /// they are not asked as long as there is a better one.
    fn try_others(&self, client: &Client, question: &Question<'_, T>) {
        if self.all.len() == 1 {
            return;
        }
        for entry in &self.all {
            let probe = || (question.probe)(&entry.address).ok();
            let permit = entry.breaker.permit_trial(Instant::now());
            if let Some((permit, uri)) = permit.and_then(|permit| Some((permit, probe()?))) {
                tokio::spawn(try_again(client.clone(), uri, permit));
            }
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
}

impl<T> Question<'_, T> {
    async fn ask(&self, client: &Client, address: &T, permit: Permit) -> Result<Answered, Error> {
        let uri = (self.uri)(address)?;
        let asked = client.get(&uri, (self.accept, self.had), self.hop).await;
        let report = permit.record(outcome(&asked), Instant::now());
        Ok(Answered {
            response: asked?,
            uri,
            report,
        })
    }
}

impl fmt::Debug for Answered {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Answered")
            .field(&self.response.status)
            .finish()
    }
}

async fn try_again(client: Client, uri: Uri, permit: Permit) {
    let whatever = HeaderValue::from_static("*/*");
    let asked = client.get(&uri, (&whatever, None), None).await;
    permit.record(outcome(&asked), Instant::now());
}

/// What a breaker makes of it.
fn outcome(asked: &Result<Response, Error>) -> Outcome {
    let Ok(response) = asked else {
        return Outcome::Failed;
    };
    let wait = retry_after(&response.headers);
    match (response.status, wait) {
        (status, Some(wait)) if cannot_help(status) => Outcome::AskedToWait(wait),
        (StatusCode::TOO_MANY_REQUESTS, Some(wait)) => Outcome::AskedToWait(wait),
        (status, None) if cannot_help(status) => Outcome::Failed,
        (_definite, _) => Outcome::Answered,
    }
}

/// Whether no other way to the server would lead to another answer.
fn is_definite(outcome: &Result<Answered, Error>) -> bool {
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
        for outcome in outcomes {
            let permit = addresses.all[at].breaker.permit(now).expect("closed");
            permit.record(*outcome, now);
        }
    }

    fn order(addresses: &Addresses<char>, now: Instant) -> String {
        let order = addresses.order(now);
        order.iter().map(|entry| entry.address).collect()
    }

    #[test]
    fn the_best_comes_first_and_the_settings_decide_among_equals() {
        let now = Instant::now();
        let mut addresses = Addresses::new('a');
        addresses.extend(['b', 'c', 'd']);
        assert_eq!(order(&addresses, now), "abcd");
        outcomes(&addresses, 0, &[Outcome::Failed; 3], now);
        outcomes(&addresses, 1, &[Outcome::Failed; 2], now);
        outcomes(&addresses, 2, &[Outcome::Failed], now);
        assert_eq!(order(&addresses, now), "dcba");
        // b is left alone, a may be tried again.
        outcomes(
            &addresses,
            1,
            &[Outcome::AskedToWait(Duration::from_secs(9))],
            now,
        );
        assert_eq!(order(&addresses, now + Duration::from_secs(1)), "dcab");
        outcomes(&addresses, 2, &[Outcome::Answered], now);
        assert_eq!(order(&addresses, now), "cdab");
    }
}
