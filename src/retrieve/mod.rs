//! The engine between what a manifest selects and who asked: it fetches the planned instances from
//! their sources at the same time and gives them on in the order in which they arrive.
//!
//! What is known to be missing before the first instance is given on is said so; what turns out to
//! be missing later ends the stream with an error. What is kept is given from there; what is not is
//! asked of its source once for everybody who waits for it.

mod absence;
mod ahead;
mod crossing;
mod forward;
mod giving;
mod kept;
mod manners;
mod mend;
mod on_disk;
mod progress;
mod relay;
mod worker;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use serde::Deserialize;
use tokio::sync::{mpsc, oneshot};

pub use absence::Absences;
pub use forward::Forwarded;

use crate::body;
use crate::cache::Cache;
use crate::dicom::part10::Identity;
use crate::dicom::{SopInstanceUid, TransferSyntaxes};
use crate::hop::Hop;
use crate::instance::{Given, Instance, Instances, Listing, Target};
use crate::metrics::Metrics;
use crate::source::{self, Arrivals, Claim, InstanceRequest, Seat, Source};
use ahead::Ahead;
use crossing::{Crossings, Follower, Question};
use giving::Giving;
use manners::{Manner, Manners};
use relay::Relay;
use worker::{Opening, Worker};

/// Chunks of what is passed on unseen that are read ahead of a slow client.
pub const CHUNKS_AHEAD: usize = 2;

/// Bounds on retrieval.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Settings {
    /// Series of one answer that are fetched from one location at the same time.
    pub series_at_once: usize,
    /// Seconds for which a client may read nothing before its answer is given up.
    pub client_silence_seconds: u64,
    /// Seconds for which it is tried to fetch an instance again that broke off, while none of its
    /// bytes comes.
    pub repair_seconds: u64,
    /// Answers that one client may have under way; 0: any number.
    pub streams_per_client: usize,
    /// Answers that are fetched from all sources at the same time.
    pub fetches: usize,
    /// Seconds for which it is remembered that a source does not have an instance.
    pub absence_seconds: u64,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            series_at_once: 2,
            client_silence_seconds: 300,
            repair_seconds: 20,
            streams_per_client: 256,
            fetches: 1024,
            absence_seconds: 60,
        }
    }
}

/// What to fetch from where, for one answer.
#[derive(Debug)]
pub struct Plan {
    /// The request that this is done for.
    pub hop: Arc<Hop>,
    /// One for each series.
    pub jobs: Vec<Job>,
    /// Instances that are selected and that no configured source holds, or that the manifest declares
    /// without listing them.
    pub not_locatable: usize,
}

/// The selected part of one series, and its source.
#[derive(Debug, Clone)]
pub struct Job {
    /// Where it is.
    pub source: Arc<Source>,
    /// What the manifest lists.
    pub listing: Arc<Listing>,
    /// One instance of it; `None` for all.
    pub only: Option<SopInstanceUid>,
}

/// Everything that one source has of a target, without a manifest that says what that is.
#[derive(Debug)]
pub struct Errand {
    /// The request that this is done for.
    pub hop: Arc<Hop>,
    /// Who has it.
    pub source: Arc<Source>,
    /// What is asked for.
    pub target: Target,
}

/// An answer that has begun.
#[derive(Debug)]
pub struct Retrieval {
    /// The instances. If the stream ends without an error, all but the missing ones were in it.
    pub instances: Instances,
    /// What is known not to come.
    pub missing: Missing,
    /// Whether no source had to be asked.
    pub is_kept: bool,
}

/// What is known not to come, before the first byte of an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Missing {
    /// Nothing.
    Nothing,
    /// So many of those that are selected.
    Some {
        /// How many do not come.
        missing: usize,
        /// How many are selected.
        selected: usize,
    },
    /// The source says that it does not give everything, and not how much that is.
    SourceSaysSome,
}

/// Why nothing can be given.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// No configured source holds any of it.
    #[error("no configured source holds it")]
    NotLocatable,
    /// The source, or the most telling of several.
    #[error(transparent)]
    Source(#[from] source::Error),
}

/// Fetches what plans say.
#[derive(Debug, Clone)]
pub struct Retriever {
    settings: Settings,
    metrics: Metrics,
    cache: Cache,
    absences: Absences,
    crossings: Crossings,
    ahead: Ahead,
    manners: Manners,
}

impl Retriever {
    /// A retriever with nothing under way, that keeps what it fetches in `cache`.
    #[must_use]
    pub fn new(settings: Settings, cache: Cache, metrics: Metrics) -> Self {
        let (mode, bytes) = cache.look_ahead();
        let absences = Absences::new(Duration::from_secs(settings.absence_seconds));
        let crossings = Crossings::new(settings.fetches);
        Self {
            settings,
            metrics,
            cache,
            absences,
            crossings,
            ahead: Ahead::new(mode, bytes),
            manners: Manners::new(),
        }
    }

    /// What is kept.
    #[must_use]
    pub fn cache(&self) -> &Cache {
        &self.cache
    }

    /// Begins to fetch. Returns once every location has either an instance to give or failed, so
    /// that what is missing is known as far as it can be.
    ///
    /// # Errors
    /// Why there is nothing at all to give.
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
        let (giving, receiver) = self.giving();
        let mut openings = Vec::new();
        let is_kept = !plan.jobs.iter().any(|job| self.must_ask(job));
        for jobs in self.deal(plan.jobs) {
            let (opened, opening) = oneshot::channel();
            let shift = (Arc::clone(&plan.hop), Arc::clone(&accepted));
            let worker = Worker::new(jobs, shift, self, &giving);
            tokio::spawn(worker.run(opened));
            openings.push(opening);
        }
        // The stream ends when the last worker has dropped its sender.
        drop(giving);
        let missing = plan.not_locatable + missing(openings).await?;
        let instances = Instances::new(receiver, selected.saturating_sub(missing));
        let missing = match missing {
            0 => Missing::Nothing,
            _ => Missing::Some { missing, selected },
        };
        Ok(Retrieval {
            instances,
            missing,
            is_kept,
        })
    }

    /// Begins to pass on what a source has. Returns once the first instance arrives.
    ///
    /// # Errors
    /// Why there is nothing to give.
    pub async fn relay(
        &self,
        errand: Errand,
        accepted: TransferSyntaxes,
    ) -> Result<Retrieval, source::Error> {
        let (giving, receiver) = self.giving();
        let (opened, opening) = oneshot::channel();
        tokio::spawn(Relay::new(errand, accepted, self, giving).run(opened));
        let is_partial = opening.await.unwrap_or(Err(source::Error::Unreachable))?;
        Ok(Retrieval {
            instances: Instances::until_told(receiver),
            missing: if is_partial {
                Missing::SourceSaysSome
            } else {
                Missing::Nothing
            },
            is_kept: false,
        })
    }

    /// Answers that one client may have under way; 0: any number.
    #[must_use]
    pub fn streams_per_client(&self) -> usize {
        self.settings.streams_per_client
    }

    fn giving(&self) -> (Giving, mpsc::Receiver<Given>) {
        let (sender, receiver) = mpsc::channel(1);
        (Giving::new(sender, self.client_silence()), receiver)
    }

    /// For how long a client may take nothing of its answer.
    #[must_use]
    pub fn client_silence(&self) -> Duration {
        Duration::from_secs(self.settings.client_silence_seconds)
    }

    /// Whether several answers share what a source sends: only where it is kept can each of them read it
    /// at its own pace.
    fn shares(&self, source: &Source) -> bool {
        self.cache.keeps_something() && !self.manners.has(source, Manner::NoStore)
    }

    /// Asks a source in its turn, or joins those who have asked it already. Returns once it begins to
    /// answer, with whether it says that this is only some of what it was asked for.
    async fn follow(
        &self,
        question: &Question,
        claim: Claim,
    ) -> Result<(Follower, bool), source::Error> {
        self.follow_from(question, claim, None).await
    }

    /// As [`Retriever::follow`], from a seat that is taken already, if there is one.
    async fn follow_from(
        &self,
        question: &Question,
        claim: Claim,
        mut seat: Option<Seat>,
    ) -> Result<(Follower, bool), source::Error> {
        loop {
            let follower = match (self.crossings.find(question), seat.take()) {
                (Some(follower), _not_needed) => follower,
                (None, Some(seat)) => self.begin(question, seat),
                (None, None) => {
                    seat = self.turn(question, claim).await?;
                    continue;
                }
            };
            match follower.opened().await {
                Ok(is_partial) => return Ok((follower, is_partial)),
                // Everybody else had left it just when it was joined.
                Err(source::Error::BrokeOff(body::Error::Abandoned)) if follower.has_joined => {}
                Err(error) => return Err(error),
            }
        }
    }

    /// Asks a source, or joins those who have asked it already. The seat is the crossing's.
    fn begin(&self, question: &Question, seat: Seat) -> Follower {
        self.crossings.follow(question.clone(), seat, self)
    }

    /// Asks a source for instances.
    async fn open(
        &self,
        source: &Source,
        ask: &InstanceRequest<'_>,
    ) -> Result<Arrivals, source::Error> {
        let opened = self.counted(source, source.open(ask)).await;
        self.count_instances(source);
        opened
    }

    /// Asks a source, and counts that.
    async fn counted<T>(
        &self,
        source: &Source,
        asking: impl Future<Output = Result<T, source::Error>>,
    ) -> Result<T, source::Error> {
        let location = &*source.alias;
        let began = Instant::now();
        let opened = asking.await;
        let outcome = match &opened {
            Ok(_) => "answered",
            Err(error) => error.name(),
        };
        let (requests, first_byte) = (
            &self.metrics.source_requests,
            &self.metrics.source_first_byte_seconds,
        );
        requests.with_label_values(&[location, outcome]).inc();
        match &opened {
            Ok(_) => first_byte
                .with_label_values(&[location])
                .observe(began.elapsed().as_secs_f64()),
            Err(error) => tracing::info!(location, %error, "a source gives nothing"),
        }
        opened
    }

    /// Tells the metrics how many instances a source offers, if it knows.
    pub fn count_instances(&self, source: &Source) {
        if let Some(count) = source.instances() {
            let count = count.try_into().unwrap_or(i64::MAX);
            let alias = &*source.alias;
            self.metrics
                .folder_instances
                .with_label_values(&[alias])
                .set(count);
        }
    }

    /// A seat from which a source is to be asked; none once somebody else asks it the same. A worker
    /// that waits for one holds none, neither here nor elsewhere.
    async fn turn(&self, question: &Question, claim: Claim) -> Result<Option<Seat>, source::Error> {
        let seat = self.seat_at(&question.source, claim);
        let mut seat = std::pin::pin!(seat);
        loop {
            let begun = self.crossings.begun();
            let mut begun = std::pin::pin!(begun);
            begun.as_mut().enable();
            if self.crossings.find(question).is_some() {
                return Ok(None);
            }
            tokio::select! {
                biased;
                seat = &mut seat => return seat.map(Some),
                () = begun => {}
            }
        }
    }

    async fn seat_at(&self, source: &Source, claim: Claim) -> Result<Seat, source::Error> {
        let seat = source.seat(claim).await;
        if seat.is_err() {
            self.metrics.refused.with_label_values(&["queue"]).inc();
        }
        seat
    }

    /// The jobs of each worker, all of one source. There are more workers for a source than one only
    /// where it has seats to spare.
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

/// Whether an instance is what was asked for, by its own bytes.
fn is_of(identity: &Identity, target: &Target) -> bool {
    match target {
        Target::Study(study) => identity.study == *study,
        Target::Series(study, series) => identity.study == *study && identity.series == *series,
        Target::Instance(..) => identity.target() == *target,
    }
}

fn deal(jobs: Vec<Job>, hands: usize) -> Vec<Vec<Job>> {
    let mut dealt = vec![Vec::new(); hands];
    for (at, job) in jobs.into_iter().enumerate() {
        dealt[at % hands].push(job);
    }
    dealt
}

async fn missing(openings: Vec<oneshot::Receiver<Opening>>) -> Result<usize, Error> {
    let mut missing = 0;
    let mut has_begun = false;
    let mut worst: Option<source::Error> = None;
    for opening in openings {
        match opening.await {
            Ok(Opening::Begun { missing: known }) => {
                missing += known;
                has_begun = true;
            }
            Ok(Opening::Failed {
                missing: all,
                error,
            }) => {
                missing += all;
                worst = Some(more_telling(worst, error));
            }
            // It panicked; whatever it had is missing and must not look as if it were not.
            Err(_gone) => return Err(Error::Source(source::Error::Unreachable)),
        }
    }
    match worst {
        Some(error) if !has_begun => Err(Error::Source(error)),
        Some(_) | None => Ok(missing),
    }
}

/// Of two failures, the one that a client can do more about: trying again may help after a passing
/// fault, not after a definite answer.
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
        | source::Error::Crowded { .. } => 6,
    };
    match one {
        Some(one) if rank(&one) >= rank(&other) => one,
        Some(_) | None => other,
    }
}

impl Plan {
    /// Nothing yet.
    #[must_use]
    pub fn new(hop: Arc<Hop>) -> Self {
        Self {
            hop,
            jobs: Vec::new(),
            not_locatable: 0,
        }
    }

    /// What is known to be missing before any source is asked.
    #[must_use]
    pub fn missing(&self) -> Missing {
        match self.not_locatable {
            0 => Missing::Nothing,
            missing => Missing::Some {
                missing,
                selected: missing + self.count(),
            },
        }
    }

    /// How many instances its jobs select.
    #[must_use]
    pub fn count(&self) -> usize {
        self.jobs.iter().map(Job::count).sum()
    }
}

impl Retrieval {
    /// An answer of one instance that is here.
    fn of(instance: Instance) -> Self {
        Self {
            instances: Instances::of(instance),
            missing: Missing::Nothing,
            is_kept: true,
        }
    }
}

impl Job {
    /// How many instances it selects.
    #[must_use]
    pub fn count(&self) -> usize {
        match self.only {
            Some(_) => 1,
            None => self.listing.instances.len(),
        }
    }
}
