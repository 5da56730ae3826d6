//! Fetches series from one source, one after the other.
//!
//! Cached instances are delivered first. A series is then requested as a whole, as stored, unless
//! only few of its instances are missing. Instances in a transfer syntax that the client does not
//! accept, and listed instances that did not arrive, are then requested one by one.

mod arriving;
mod series;
mod single;

use std::sync::Arc;

use http::HeaderValue;
use tokio::sync::oneshot;

use super::delivery::{Delivery, Stop};
use super::progress::Progress;
use crate::body;
use crate::dicom::{SopInstanceUid, TransferSyntax, TransferSyntaxes};
use crate::hop::Hop;
use crate::resource::Target;
use crate::retrieve::crossing::Question;
use crate::retrieve::kept::key;
use crate::retrieve::{Job, Retriever};
use crate::source::{self, Claim, Representation};

/// Consecutive time-outs of a source, before the first delivery, after which the worker stops
/// asking it.
const MOST_SILENCES: usize = 2;

/// The start of a worker.
#[derive(Debug)]
pub(crate) enum FirstOutcome {
    /// The worker has an instance to deliver; `missing` others are known to be missing.
    Instance { missing: usize },
    /// The worker has no instance to deliver.
    Nothing {
        missing: usize,
        error: source::Error,
    },
}

/// Fetches the jobs of one source.
pub(crate) struct Worker {
    jobs: Vec<Job>,
    hop: Arc<Hop>,
    accepted: Arc<TransferSyntaxes>,
    retriever: Retriever,
    delivery: Delivery,
    opened: Option<oneshot::Sender<FirstOutcome>>,
    /// Missing instances known before the first delivery.
    missing: usize,
    last_error: Option<source::Error>,
    /// Consecutive time-outs of the source.
    silences: usize,
    /// Whether the current request repeats one that broke off.
    is_repair: bool,
    /// Whether a source contradicted itself, so that delivered instances may be wrong.
    is_contested: bool,
}

/// An instance that must be fetched.
struct NotKept {
    /// Entity tags of a cached copy that may be outdated.
    had: Option<HeaderValue>,
}

/// How a source's answer ended.
#[derive(Clone, Copy, PartialEq, Eq)]
enum AnswerEnd {
    /// All awaited instances were delivered.
    Complete,
    /// The answer held a transfer syntax that the client does not accept.
    NotAccepted,
    /// The answer broke off.
    Aborted,
}

impl Worker {
    pub(crate) fn new(
        jobs: Vec<Job>,
        hop: Arc<Hop>,
        accepted: Arc<TransferSyntaxes>,
        retriever: &Retriever,
        delivery: &Delivery,
    ) -> Self {
        Self {
            jobs,
            hop,
            accepted,
            retriever: retriever.clone(),
            delivery: delivery.clone(),
            opened: None,
            missing: 0,
            last_error: None,
            silences: 0,
            is_repair: false,
            is_contested: false,
        }
    }

    /// Fetches all jobs, and reports the start once through `opened`.
    pub(crate) async fn run(mut self, opened: oneshot::Sender<FirstOutcome>) {
        self.opened = Some(opened);
        self.work().await;
    }

    async fn work(&mut self) {
        let jobs = std::mem::take(&mut self.jobs);
        let metrics = self.retriever.metrics.clone();
        let begin = || {
            jobs.iter()
                .map(|job| Progress::new(job, &metrics))
                .collect::<Vec<_>>()
        };
        let mut jobs = begin();
        // Absent instances come first, while the head of the response can still report them.
        for job in &mut jobs {
            self.leave_out_absent(job);
        }
        // If no instance is left, the memory of absences saves nothing: the source is asked again.
        if jobs.iter().all(|job| job.left == 0) {
            (self.missing, self.last_error) = (0, None);
            jobs = begin();
        }
        let mut jobs = jobs.iter_mut();
        for job in jobs.by_ref() {
            match self.job(job).await {
                Ok(()) if self.is_hopeless() => break,
                Ok(()) => {}
                Err(Stop::ClientLeft) => return,
                Err(Stop::Broken(error)) => {
                    return self.delivery.give(Err(error)).await.unwrap_or(());
                }
            }
        }
        if self.is_contested && self.opened.is_none() {
            let error = body::Error::Conflicting;
            return self.delivery.give(Err(error)).await.unwrap_or(());
        }
        self.finish(jobs.map(|job| job.left).sum());
    }

    /// Whether further requests to the source are pointless: it does not answer, and no instance
    /// has been promised.
    fn is_hopeless(&self) -> bool {
        // Any other failure may concern one object only.
        let does_not_answer = matches!(
            self.last_error,
            Some(
                source::Error::Unreachable
                    | source::Error::Resting { .. }
                    | source::Error::NoToken { .. }
                    | source::Error::Crowded { .. }
            )
        );
        (does_not_answer || self.silences >= MOST_SILENCES) && self.opened.is_some()
    }

    fn failed(&mut self, error: source::Error) {
        let is_silent = matches!(
            error,
            source::Error::TimedOut
                | source::Error::BrokeOff(body::Error::Silent | body::Error::TooSlow)
        );
        self.silences = if is_silent { self.silences + 1 } else { 0 };
        self.last_error = Some(error);
    }

    fn finish(&mut self, not_tried: usize) {
        self.missing += not_tried;
        if let Some(opened) = self.opened.take() {
            let error = self.last_error.take().unwrap_or(source::Error::NotFound);
            let missing = self.missing;
            // A client that has disconnected needs no report.
            let _ = opened.send(FirstOutcome::Nothing { missing, error });
        }
    }

    async fn job(&mut self, progress: &mut Progress<'_>) -> Result<(), Stop> {
        let done = match &progress.job.only {
            Some(uid) => self.single(progress, uid).await,
            None if progress.left == 0 => Ok(()),
            None => self.series(progress).await,
        };
        done?;
        self.account(progress.left + progress.withheld)
    }

    /// Accounts for the instances still missing at the end of a job: if the head of the response
    /// cannot report them any more, the answer is broken.
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

    /// Takes the instances that the source is known to lack off the list.
    fn leave_out_absent(&mut self, progress: &mut Progress<'_>) {
        let job = progress.job;
        if job.only.is_some() {
            return;
        }
        let (source, series) = (&job.source, &job.listing.series);
        let refused = self.retriever.refused(source, job.patient.as_ref(), series);
        for (uid, _form) in refused.iter().flat_map(|refused| &refused.instances) {
            if progress.take_uid(uid) {
                self.missing += 1;
                self.last_error = Some(source::Error::OtherPatient);
            }
        }
        let absent = self.retriever.absences.of(source, series);
        let Some(absent) = absent else { return };
        if absent.series {
            self.missing += progress.take_all();
            self.last_error = Some(source::Error::NotFound);
        }
        let as_stored = *self.accepted == TransferSyntaxes::AsStored;
        for (uid, form) in &absent.instances {
            let error = match form {
                Representation::AsStored => source::Error::NotFound,
                // An instance that cannot be decoded may still be available as stored.
                Representation::ExplicitVrLittleEndian if as_stored => continue,
                Representation::ExplicitVrLittleEndian => source::Error::NotAcceptable,
            };
            if progress.take_uid(uid) {
                self.missing += 1;
                self.last_error = Some(error);
            }
        }
    }

    fn holds(&self, job: &Job, uid: &SopInstanceUid, form: Representation) -> bool {
        let key = key(&job.source, &job.listing, uid, form);
        self.retriever.holds(&job.source, &key)
    }

    /// Whether the client accepts what a source is asked to convert to.
    fn accepts_conversion(&self) -> bool {
        let explicit = TransferSyntax::explicit_vr_little_endian();
        self.accepted.permit(&explicit)
    }

    fn claim(&self) -> Claim {
        match self.opened {
            Some(_) => Claim::New,
            None => Claim::Begun,
        }
    }

    fn question(&self, job: &Job, target: Target, form: Representation) -> Question {
        Question {
            source: Arc::clone(&job.source),
            target,
            representation: form,
            listing: Some(Arc::clone(&job.listing)),
            hop: Arc::clone(&self.hop),
            had: None,
            is_repair: self.is_repair,
        }
    }
}

/// Whether the source denies that it has the target.
fn is_absence(error: &source::Error) -> bool {
    matches!(error, source::Error::NotFound | source::Error::Gone)
}

/// Whether an early retry is pointless.
fn is_definite(error: &source::Error) -> bool {
    match error {
        source::Error::NotFound
        | source::Error::Gone
        | source::Error::NotAcceptable
        | source::Error::OtherPatient => true,
        source::Error::NotModified
        | source::Error::BadRequest
        | source::Error::InstancesOnly
        | source::Error::NotForUser(_)
        | source::Error::Forbidden
        | source::Error::Overloaded { .. }
        | source::Error::Resting { .. }
        | source::Error::NoToken { .. }
        | source::Error::Crowded { .. }
        | source::Error::Status(_)
        | source::Error::Malformed(_)
        | source::Error::Unreachable
        | source::Error::HungUp
        | source::Error::TimedOut
        | source::Error::BrokeOff(_) => false,
    }
}
