//! One answer: fetches its instances and delivers them at the pace of its reader.

pub(super) mod delivery;
pub(super) mod progress;
mod relay;
mod worker;

use std::collections::BTreeMap;
use std::sync::Arc;

use tokio::sync::oneshot;

use super::plan::{Job, Missing, Plan, RelayRequest, Retrieval};
use super::{Error, Retriever};
use crate::body::handover::{self, Taker};
use crate::dicom::TransferSyntaxes;
use crate::instance::{Given, Instances, LeftOut, Work};
use crate::source;
use delivery::Delivery;
use relay::Relay;
use worker::{FirstOutcome, Worker};

impl Retriever {
    /// Begins to fetch. Returns once every location has delivered its first instance or failed, so
    /// that missing instances are known as far as possible.
    ///
    /// # Errors
    /// Why there is no instance to deliver.
    pub async fn start(&self, plan: Plan, accepted: TransferSyntaxes) -> Result<Retrieval, Error> {
        let selected = plan.not_locatable + plan.count();
        if plan.jobs.is_empty() {
            return Err(Error::NotLocatable);
        }
        if let Some(instance) = self.at_once(&plan, &accepted) {
            return Ok(Retrieval::of(instance));
        }
        if let [job] = &plan.jobs[..]
            && job.only.is_some()
        {
            self.look_ahead(job, &plan.hop);
        }
        let accepted = Arc::new(accepted);
        let (delivery, given) = Self::giving();
        let mut openings = Vec::new();
        let mut work = Work::default();
        let is_kept = !plan.jobs.iter().any(|job| self.must_ask(job));
        for jobs in self.deal(plan.jobs) {
            let (opened, opening) = oneshot::channel();
            let (hop, accepted) = (Arc::clone(&plan.hop), Arc::clone(&accepted));
            let worker = Worker::new(jobs, hop, accepted, self, &delivery);
            work.add(worker.run(opened));
            openings.push(opening);
        }
        // The stream ends with the last worker.
        drop(delivery);
        let missing = plan.not_locatable + work.until(missing(openings)).await?;
        let promised = selected.saturating_sub(missing);
        let instances = Instances::new(given, work, Some(promised));
        let missing = match missing {
            0 => Missing::Nothing,
            _ => Missing::Some { missing, selected },
        };
        Ok(Retrieval {
            instances,
            missing,
            is_kept,
            left_out: LeftOut::default(),
        })
    }

    /// Begins to relay the instances of a source. Returns once the first instance arrives.
    ///
    /// # Errors
    /// Why there is no instance to deliver.
    pub async fn relay(
        &self,
        request: RelayRequest,
        accepted: TransferSyntaxes,
    ) -> Result<Retrieval, source::Error> {
        let (delivery, given) = Self::giving();
        let (opened, opening) = oneshot::channel();
        let mut work = Work::default();
        work.add(Relay::new(request, accepted, self, delivery).run(opened));
        let opening = work.until(opening).await;
        let is_partial = opening.unwrap_or(Err(source::Error::Unreachable))?;
        Ok(Retrieval {
            instances: Instances::new(given, work, None),
            missing: if is_partial {
                Missing::SourceSaysSome
            } else {
                Missing::Nothing
            },
            is_kept: false,
            left_out: LeftOut::default(),
        })
    }

    fn giving() -> (Delivery, Taker<Given>) {
        let (giver, taker) = handover::place();
        (Delivery::new(giver), taker)
    }

    /// The jobs of each worker, all for one source. A source gets more than one worker only if it
    /// has free seats.
    fn deal(&self, jobs: Vec<Job>) -> Vec<Vec<Job>> {
        let mut by_source: BTreeMap<Arc<str>, Vec<Job>> = BTreeMap::new();
        for job in jobs {
            let of_source = by_source.entry(Arc::clone(&job.source.alias));
            of_source.or_default().push(job);
        }
        let deal = |jobs: Vec<Job>| {
            let seats = jobs.first().map_or(1, |job| job.source.free_seats());
            let hands = seats.min(self.settings.series_at_once).min(jobs.len());
            deal(jobs, hands.max(1))
        };
        by_source.into_values().flat_map(deal).collect()
    }
}

fn deal(jobs: Vec<Job>, hands: usize) -> Vec<Vec<Job>> {
    let mut dealt = vec![Vec::new(); hands];
    for (at, job) in jobs.into_iter().enumerate() {
        dealt[at % hands].push(job);
    }
    dealt
}

async fn missing(openings: Vec<oneshot::Receiver<FirstOutcome>>) -> Result<usize, Error> {
    let mut missing = 0;
    let mut has_begun = false;
    let mut worst: Option<source::Error> = None;
    for opening in openings {
        match opening.await {
            Ok(FirstOutcome::Instance { missing: known }) => {
                missing += known;
                has_begun = true;
            }
            Ok(FirstOutcome::Nothing {
                missing: all,
                error,
            }) => {
                missing += all;
                worst = Some(more_telling(worst, error));
            }
            // A worker reports before it ends.
            Err(_gone) => return Err(Error::Source(source::Error::Unreachable)),
        }
    }
    match worst {
        Some(error) if !has_begun => Err(Error::Source(error)),
        Some(_) | None => Ok(missing),
    }
}

/// The failure that is more useful to the client: a retry may help after a transient fault, not
/// after a definite answer.
fn more_telling(one: Option<source::Error>, other: source::Error) -> source::Error {
    let rank = |error: &source::Error| match error {
        source::Error::NotFound | source::Error::NotModified => 0,
        source::Error::Gone => 1,
        source::Error::BadRequest | source::Error::InstancesOnly | source::Error::NotAcceptable => {
            2
        }
        source::Error::Forbidden | source::Error::Status(_) | source::Error::Malformed(_) => 3,
        source::Error::BrokeOff(_) | source::Error::Unreachable | source::Error::HungUp => 4,
        source::Error::TimedOut => 5,
        source::Error::Overloaded { .. }
        | source::Error::Resting { .. }
        | source::Error::NoToken { .. }
        | source::Error::Crowded { .. } => 6,
        source::Error::OtherPatient | source::Error::NotForUser(_) => 7,
    };
    match one {
        Some(one) if rank(&one) >= rank(&other) => one,
        Some(_) | None => other,
    }
}
