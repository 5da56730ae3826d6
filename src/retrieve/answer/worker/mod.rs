//! Fetches some series from one source, one after the other.
//!
//! What is kept is given first. A series is then asked for as a whole, as it is stored, unless only
//! little of it is wanting. Instances in a transfer syntax that is not accepted, and listed instances
//! that did not come, are then asked for one by one.

mod arriving;
mod series;
mod single;

use std::sync::Arc;

use http::HeaderValue;
use tokio::sync::oneshot;

use super::delivery::{Delivery, Stop};
use super::progress::Progress;
use crate::body;
use crate::dicom::{SopInstanceUid, TransferSyntaxes};
use crate::hop::Hop;
use crate::resource::Target;
use crate::retrieve::crossing::Question;
use crate::retrieve::kept::key;
use crate::retrieve::{Job, Retriever};
use crate::source::{self, Claim, Representation};

/// Time limits of a source that run out in a row, while nothing has been given yet, before it is asked for
/// nothing more.
const MOST_SILENCES: usize = 2;

/// How a worker began.
#[derive(Debug)]
pub(crate) enum FirstOutcome {
    /// It has an instance to give; some others are known to be missing.
    Instance { missing: usize },
    /// It has nothing to give.
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
    /// Missing instances that were known before the first one was given.
    missing: usize,
    last_error: Option<source::Error>,
    /// How often in a row the source kept the worker waiting in vain.
    silences: usize,
    /// Whether what is asked for now broke off before.
    is_repair: bool,
    /// Whether a source has contradicted itself, so that what was given may be wrong.
    is_contested: bool,
}

/// An instance must be asked for.
struct NotKept {
    /// Entity tags of what is here of it, and may have changed.
    had: Option<HeaderValue>,
}

/// What became of a source's answer.
#[derive(Clone, Copy, PartialEq, Eq)]
enum AnswerEnd {
    /// All of it was delivered.
    Complete,
    /// It held an instance that the client does not accept.
    NotAccepted,
    /// It broke off.
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

    /// Fetches everything. How it began is told once; the rest goes where the worker gives to. It
    /// stops as soon as nobody takes it any more.
    pub(crate) async fn run(mut self, opened: oneshot::Sender<FirstOutcome>) {
        self.opened = Some(opened);
        let delivery = self.delivery.clone();
        delivery.while_taken(self.work()).await;
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
        // First of all, for now it can still be said at the head of the answer.
        for job in &mut jobs {
            self.leave_out_absent(job);
        }
        // Where nothing is left, the memory spares nobody anything: the source is asked again.
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

    /// Whether there is no use in asking the source for anything more: it does not answer, and
    /// nothing has been promised.
    fn is_hopeless(&self) -> bool {
        // What else can be wrong may be wrong with one object.
        let does_not_answer = matches!(
            self.last_error,
            Some(
                source::Error::Unreachable
                    | source::Error::Resting { .. }
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
            // A client that has left does not need to know.
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

    /// Takes off the list what the source is known not to have.
    fn leave_out_absent(&mut self, progress: &mut Progress<'_>) {
        let job = progress.job;
        let absent = match &job.only {
            Some(_) => None,
            None => self.retriever.absences.of(&job.source, &job.listing.series),
        };
        let Some(absent) = absent else { return };
        if absent.series {
            self.missing += progress.take_all();
            self.last_error = Some(source::Error::NotFound);
        }
        let as_stored = *self.accepted == TransferSyntaxes::AsStored;
        for (uid, form) in &absent.instances {
            let error = match form {
                Representation::AsStored => source::Error::NotFound,
                // What cannot be decoded can still be had as it is.
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

/// Whether asking again soon is of no use.
fn is_definite(error: &source::Error) -> bool {
    match error {
        source::Error::NotFound | source::Error::Gone | source::Error::NotAcceptable => true,
        source::Error::NotModified
        | source::Error::BadRequest
        | source::Error::InstancesOnly
        | source::Error::Forbidden
        | source::Error::Overloaded { .. }
        | source::Error::Resting { .. }
        | source::Error::Crowded { .. }
        | source::Error::Status(_)
        | source::Error::Malformed(_)
        | source::Error::Unreachable
        | source::Error::HungUp
        | source::Error::TimedOut
        | source::Error::BrokeOff(_) => false,
    }
}
