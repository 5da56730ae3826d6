//! Fetches some series from one source, one after the other.
//!
//! A series is asked for as a whole, as it is stored. Instances in a transfer syntax that is not
//! accepted, and listed instances that did not come, are then asked for one by one.

use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;
use prometheus::IntCounter;
use tokio::sync::{mpsc, oneshot};
use tokio::time::timeout;

use super::{CHUNKS_AHEAD, Job, Retriever};
use crate::body::{self, Body};
use crate::dicom::part10::Identity;
use crate::dicom::{SopInstanceUid, TransferSyntax, TransferSyntaxes};
use crate::instance::{Instance, Target};
use crate::metrics::Metrics;
use crate::source::{self, Arrival, Arrivals, Representation, Source};

/// How many instances of a series are asked for one by one in vain before the whole series is
/// taken to be missing.
const TRIES: usize = 4;

/// How a worker began.
#[derive(Debug)]
pub(super) enum Opening {
    /// It has an instance to give; some others are known to be missing.
    Begun { missing: usize },
    /// It has nothing to give.
    Failed {
        missing: usize,
        error: source::Error,
    },
}

type Giving = mpsc::Sender<Result<Instance, body::Error>>;

/// Fetches the jobs of one source.
pub(super) struct Worker {
    jobs: Vec<Job>,
    accepted: Arc<TransferSyntaxes>,
    retriever: Retriever,
    giving: Giving,
    opened: Option<oneshot::Sender<Opening>>,
    /// Missing instances that were known before the first one was given.
    missing: usize,
    last_error: Option<source::Error>,
}

/// Why a worker stops before its time.
enum Stop {
    /// The client is gone, or does not read.
    ClientLeft,
    /// Something that was promised cannot be given any more.
    Broken(body::Error),
}

/// One series while it is fetched.
struct Progress<'a> {
    job: &'a Job,
    has_come: Vec<bool>,
    left: usize,
    fetched_bytes: IntCounter,
}

impl Worker {
    pub(super) fn new(
        jobs: Vec<Job>,
        accepted: &Arc<TransferSyntaxes>,
        retriever: &Retriever,
        giving: &Giving,
    ) -> Self {
        Self {
            jobs,
            accepted: Arc::clone(accepted),
            retriever: retriever.clone(),
            giving: giving.clone(),
            opened: None,
            missing: 0,
            last_error: None,
        }
    }

    /// Fetches everything. How it began is told once; the rest goes where the worker gives to.
    pub(super) async fn run(mut self, opened: oneshot::Sender<Opening>) {
        self.opened = Some(opened);
        let jobs = std::mem::take(&mut self.jobs);
        let mut jobs = jobs.iter();
        for job in jobs.by_ref() {
            match self.job(job).await {
                Ok(()) if self.is_hopeless() => break,
                Ok(()) => {}
                Err(Stop::ClientLeft) => return,
                Err(Stop::Broken(error)) => return self.give(Err(error)).await.unwrap_or(()),
            }
        }
        self.finish(jobs.map(Job::count).sum());
    }

    /// Whether there is no use in asking the source for further series: it cannot be reached, and
    /// nothing has been promised.
    fn is_hopeless(&self) -> bool {
        let unreachable = matches!(
            self.last_error,
            Some(
                source::Error::Unreachable
                    | source::Error::TimedOut
                    | source::Error::Overloaded { .. }
            )
        );
        unreachable && self.opened.is_some()
    }

    fn finish(&mut self, not_tried: usize) {
        self.missing += not_tried;
        if let Some(opened) = self.opened.take() {
            let error = self.last_error.take().unwrap_or(source::Error::NotFound);
            let _ = opened.send(Opening::Failed {
                missing: self.missing,
                error,
            });
        }
    }

    async fn job(&mut self, job: &Job) -> Result<(), Stop> {
        let mut progress = Progress::new(job, &self.retriever.metrics);
        if let Some(uid) = &job.only {
            self.single(&mut progress, uid).await?;
        } else {
            self.leave_out_absent(&mut progress)?;
            self.series(&mut progress).await?;
        }
        self.account(progress.left)
    }

    /// What has not come by the end of a job is missing, and it matters whether that can still be
    /// said at the head of the answer.
    fn account(&mut self, missing: usize) -> Result<(), Stop> {
        match (&self.opened, missing) {
            (_, 0) => Ok(()),
            (Some(_), missing) => {
                self.missing += missing;
                Ok(())
            }
            (None, missing) => Err(Stop::Broken(body::Error::Missing(missing))),
        }
    }

    fn leave_out_absent(&mut self, progress: &mut Progress<'_>) -> Result<(), Stop> {
        let job = progress.job;
        let Some(absences) = self.retriever.absences.of(&job.source, &job.listing.series) else {
            return Ok(());
        };
        let as_stored = *self.accepted == TransferSyntaxes::AsStored;
        let mut absent = 0;
        for (uid, form) in absences.iter() {
            // What cannot be decoded can still be had as it is.
            if as_stored && *form == Representation::ExplicitVrLittleEndian {
                continue;
            }
            let number = job.listing.instances.get(uid).copied();
            absent += usize::from(number.is_some_and(|number| progress.take(number)));
        }
        if absent > 0 {
            self.last_error = Some(source::Error::NotFound);
        }
        self.account(absent)
    }

    async fn series(&mut self, progress: &mut Progress<'_>) -> Result<(), Stop> {
        if progress.left == 0 {
            return Ok(());
        }
        let listing = &progress.job.listing;
        let target = Target::Series(listing.study.clone(), listing.series.clone());
        let arrivals = match self
            .open(progress.job, &target, Representation::AsStored)
            .await
        {
            Ok(arrivals) => arrivals,
            // Nothing more to hope for from asking for each instance alone.
            Err(error) => return self.fail(error, progress),
        };
        let outcome = self.pass_on(arrivals, progress).await?;
        match outcome {
            Passed::All if progress.left == 0 => Ok(()),
            Passed::All => self.one_by_one(progress, Representation::AsStored).await,
            Passed::UntilNotAccepted => {
                self.one_by_one(progress, Representation::ExplicitVrLittleEndian)
                    .await
            }
        }
    }

    async fn single(
        &mut self,
        progress: &mut Progress<'_>,
        uid: &SopInstanceUid,
    ) -> Result<(), Stop> {
        progress.left = 1;
        match self
            .instance(progress, uid, Representation::AsStored)
            .await?
        {
            Some(Passed::UntilNotAccepted) => {
                self.instance(progress, uid, Representation::ExplicitVrLittleEndian)
                    .await?;
                Ok(())
            }
            Some(Passed::All) | None => Ok(()),
        }
    }

    /// Asks for every instance that has not come.
    async fn one_by_one(
        &mut self,
        progress: &mut Progress<'_>,
        form: Representation,
    ) -> Result<(), Stop> {
        if form == Representation::ExplicitVrLittleEndian
            && !self
                .accepted
                .permit(&TransferSyntax::explicit_vr_little_endian())
        {
            return self.fail(source::Error::NotAcceptable, progress);
        }
        let mut in_vain = 0;
        for uid in progress.awaited() {
            let before = progress.left;
            self.instance(progress, &uid, form).await?;
            in_vain = if progress.left < before {
                0
            } else {
                in_vain + 1
            };
            if in_vain == TRIES || (in_vain > 0 && self.opened.is_none()) {
                return Ok(());
            }
        }
        Ok(())
    }

    /// Asks for one instance; `None` if the source does not give it.
    async fn instance(
        &mut self,
        progress: &mut Progress<'_>,
        uid: &SopInstanceUid,
        form: Representation,
    ) -> Result<Option<Passed>, Stop> {
        let job = progress.job;
        let listing = &job.listing;
        let target = Target::Instance(listing.study.clone(), listing.series.clone(), uid.clone());
        match self.open(job, &target, form).await {
            Ok(arrivals) => self.pass_on(arrivals, progress).await.map(Some),
            Err(error) => {
                if is_definite(&error) {
                    self.retriever
                        .absences
                        .remember(&job.source, &listing.series, uid, form);
                }
                self.last_error = Some(error);
                Ok(None)
            }
        }
    }

    /// Notes why a series does not come, which ends the worker only if it was promised.
    fn fail(&mut self, error: source::Error, progress: &Progress<'_>) -> Result<(), Stop> {
        self.last_error = Some(error);
        match self.opened {
            Some(_) => Ok(()),
            None => Err(Stop::Broken(body::Error::Missing(progress.left))),
        }
    }

    async fn open(
        &self,
        job: &Job,
        target: &Target,
        form: Representation,
    ) -> Result<Arrivals, source::Error> {
        let alias = job.source.alias.as_str();
        let began = Instant::now();
        let opened = job.source.open(target, form).await;
        let outcome = match &opened {
            Ok(_) => "answered",
            Err(error) => error.name(),
        };
        self.retriever
            .metrics
            .source_requests
            .with_label_values(&[alias, outcome])
            .inc();
        match &opened {
            Ok(_) => self
                .retriever
                .metrics
                .source_first_byte_seconds
                .with_label_values(&[alias])
                .observe(began.elapsed().as_secs_f64()),
            Err(error) => tracing::info!(location = alias, %error, "a source gives nothing"),
        }
        opened
    }

    /// Gives on what arrives and is selected, until the source ends its answer or sends something
    /// in a transfer syntax that is not accepted.
    async fn pass_on(
        &mut self,
        mut arrivals: Arrivals,
        progress: &mut Progress<'_>,
    ) -> Result<Passed, Stop> {
        loop {
            let (identity, length) = match arrivals.next().await {
                Ok(Some(Arrival::Instance(identity, length))) => (identity, length),
                Ok(Some(Arrival::Unidentified(error))) => {
                    self.dropped(&progress.job.source, "unidentified");
                    tracing::warn!(location = %progress.job.source.alias, %error, "bytes dropped");
                    continue;
                }
                Ok(None) => return Ok(Passed::All),
                Err(error) => return self.broke_off(error, progress),
            };
            let Some(number) = progress.job.selected(&identity) else {
                self.dropped(&progress.job.source, "not_selected");
                continue;
            };
            if !self.accepted.permit(&identity.transfer_syntax) {
                return Ok(Passed::UntilNotAccepted);
            }
            if !progress.take(number) {
                self.dropped(&progress.job.source, "duplicate");
                continue;
            }
            self.give_instance(identity, length, &mut arrivals, progress)
                .await?;
        }
    }

    /// A source's answer that breaks off ends the client's, unless nothing has been promised.
    fn broke_off(&mut self, error: body::Error, progress: &Progress<'_>) -> Result<Passed, Stop> {
        tracing::warn!(location = %progress.job.source.alias, %error, "a source broke off");
        if self.opened.is_none() {
            return Err(Stop::Broken(error));
        }
        self.last_error = Some(source::Error::BrokeOff(error));
        Ok(Passed::All)
    }

    async fn give_instance(
        &mut self,
        identity: Identity,
        length: Option<u64>,
        arrivals: &mut Arrivals,
        progress: &Progress<'_>,
    ) -> Result<(), Stop> {
        let alias = progress.job.source.alias.as_str();
        self.retriever
            .metrics
            .fetched_instances
            .with_label_values(&[alias])
            .inc();
        if let Some(opened) = self.opened.take() {
            let begun = Opening::Begun {
                missing: std::mem::take(&mut self.missing),
            };
            opened
                .send(begun)
                .map_err(|_client_left| Stop::ClientLeft)?;
        }
        let (sender, body) = Body::channel(CHUNKS_AHEAD, length);
        self.give(Ok(Instance { identity, body })).await?;
        loop {
            match arrivals.chunk().await {
                Ok(Some(chunk)) => {
                    progress.fetched_bytes.inc_by(chunk.len() as u64);
                    self.send(&sender, chunk).await?;
                }
                Ok(None) => break,
                Err(error) => {
                    sender.fail(error.clone()).await;
                    return Err(Stop::Broken(error));
                }
            }
        }
        self.retriever
            .metrics
            .delivered_instances
            .with_label_values(&[alias])
            .inc();
        sender.end().await.map_err(|_left| Stop::ClientLeft)
    }

    async fn send(&self, sender: &body::Sender, chunk: Bytes) -> Result<(), Stop> {
        match timeout(self.retriever.client_silence(), sender.send(chunk)).await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(_)) | Err(_) => Err(Stop::ClientLeft),
        }
    }

    async fn give(&self, instance: Result<Instance, body::Error>) -> Result<(), Stop> {
        match timeout(self.retriever.client_silence(), self.giving.send(instance)).await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(_)) | Err(_) => Err(Stop::ClientLeft),
        }
    }

    fn dropped(&self, source: &Source, why: &str) {
        self.retriever
            .metrics
            .dropped_instances
            .with_label_values(&[source.alias.as_str(), why])
            .inc();
        tracing::info!(location = %source.alias, why, "an instance was not passed on");
    }
}

/// What became of a source's answer.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Passed {
    /// It was passed on to its end.
    All,
    /// It held something that is not accepted.
    UntilNotAccepted,
}

/// Whether asking again soon is of no use.
fn is_definite(error: &source::Error) -> bool {
    match error {
        source::Error::NotFound | source::Error::Gone | source::Error::NotAcceptable => true,
        source::Error::Overloaded { .. }
        | source::Error::Status(_)
        | source::Error::Malformed(_)
        | source::Error::Unreachable
        | source::Error::TimedOut
        | source::Error::BrokeOff(_) => false,
    }
}

impl Job {
    fn selected(&self, identity: &Identity) -> Option<usize> {
        let is_meant = self
            .only
            .as_ref()
            .is_none_or(|only| *only == identity.sop_instance);
        is_meant.then(|| self.listing.number(identity)).flatten()
    }
}

impl<'a> Progress<'a> {
    fn new(job: &'a Job, metrics: &Metrics) -> Self {
        Self {
            job,
            has_come: vec![false; job.listing.instances.len()],
            left: job.count(),
            fetched_bytes: metrics
                .fetched_bytes
                .with_label_values(&[job.source.alias.as_str()]),
        }
    }

    /// Takes an instance off the list; `false` if it was off already.
    fn take(&mut self, number: usize) -> bool {
        match self.has_come.get_mut(number) {
            Some(has_come) if !*has_come => {
                *has_come = true;
                self.left -= 1;
                true
            }
            Some(_) | None => false,
        }
    }

    fn awaited(&self) -> Vec<SopInstanceUid> {
        let mut awaited: Vec<_> = self
            .job
            .listing
            .instances
            .iter()
            .filter(|(_, number)| !self.has_come.get(**number).copied().unwrap_or(true))
            .collect();
        awaited.sort_by_key(|(_, number)| **number);
        awaited.into_iter().map(|(uid, _)| uid.clone()).collect()
    }
}
