//! Fetches some series from one source, one after the other.
//!
//! What is kept is given first. A series is then asked for as a whole, as it is stored, unless only
//! little of it is wanting. Instances in a transfer syntax that is not accepted, and listed instances
//! that did not come, are then asked for one by one.

use std::sync::Arc;

use tokio::sync::oneshot;

use super::crossing::{Arrived, Follower, Question};
use super::giving::{Giving, Stop};
use super::progress::Progress;
use super::{Job, Retriever, key};
use crate::body;
use crate::dicom::{SopInstanceUid, TransferSyntax, TransferSyntaxes};
use crate::hop::Hop;
use crate::instance::{Instance, Target, Way};
use crate::source::{self, Representation, Seat};

/// How many instances of a series are asked for one by one in vain, while nothing has been given
/// yet, before the whole series is taken to be missing.
const TRIES: usize = 4;
/// The same once something has been given: the answer is lost, but the next one knows of these.
const LATE_TRIES: usize = 64;
/// What is wanting of a series is asked for one by one if it is one in so many or less.
const FEW: usize = 8;

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

/// Fetches the jobs of one source.
pub(super) struct Worker {
    jobs: Vec<Job>,
    hop: Arc<Hop>,
    accepted: Arc<TransferSyntaxes>,
    retriever: Retriever,
    giving: Giving,
    /// Its place among those whom the source serves at once, if it is to be asked.
    seat: Option<Arc<Seat>>,
    opened: Option<oneshot::Sender<Opening>>,
    /// Missing instances that were known before the first one was given.
    missing: usize,
    last_error: Option<source::Error>,
}

/// What became of a source's answer.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Passed {
    /// It was passed on to its end.
    All,
    /// It held something that is not accepted.
    UntilNotAccepted,
    /// It broke off before anything was given.
    BrokenOff,
}

impl Worker {
    pub(super) fn new(
        jobs: Vec<Job>,
        seat: Option<Arc<Seat>>,
        (hop, accepted): (Arc<Hop>, Arc<TransferSyntaxes>),
        retriever: &Retriever,
        giving: &Giving,
    ) -> Self {
        Self {
            jobs,
            hop,
            accepted,
            retriever: retriever.clone(),
            giving: giving.clone(),
            seat,
            opened: None,
            missing: 0,
            last_error: None,
        }
    }

    /// Fetches everything. How it began is told once; the rest goes where the worker gives to. It
    /// stops as soon as nobody takes it any more.
    pub(super) async fn run(mut self, opened: oneshot::Sender<Opening>) {
        self.opened = Some(opened);
        let giving = self.giving.clone();
        giving.while_taken(self.work()).await;
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
                    return self.giving.give(Err(error)).await.unwrap_or(());
                }
            }
        }
        self.finish(jobs.map(|job| job.left).sum());
    }

    /// Whether there is no use in asking the source for anything more: it does not answer, and
    /// nothing has been promised.
    fn is_hopeless(&self) -> bool {
        let does_not_answer = matches!(
            self.last_error,
            Some(
                source::Error::Unreachable
                    | source::Error::TimedOut
                    | source::Error::Overloaded { .. }
                    | source::Error::Resting { .. }
                    | source::Error::BrokeOff(body::Error::Silent)
            )
        );
        does_not_answer && self.opened.is_some()
    }

    fn finish(&mut self, not_tried: usize) {
        self.missing += not_tried;
        if let Some(opened) = self.opened.take() {
            let error = self.last_error.take().unwrap_or(source::Error::NotFound);
            let missing = self.missing;
            // A client that has left does not need to know.
            let _ = opened.send(Opening::Failed { missing, error });
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

    async fn series(&mut self, progress: &mut Progress<'_>) -> Result<(), Stop> {
        let wanting = self.wanting(progress);
        if wanting * FEW <= progress.job.listing.instances.len() {
            self.give_kept(progress).await?;
            return self.one_by_one(progress, Representation::AsStored).await;
        }
        let listing = &progress.job.listing;
        let target = Target::Series(listing.study.clone(), listing.series.clone());
        // Before what is kept is given: what is known to be missing can then still be said.
        let opened = self
            .open(progress.job, &target, Representation::AsStored)
            .await;
        if progress.left > wanting {
            self.give_kept(progress).await?;
        }
        let follower = match opened {
            Ok(follower) => follower,
            Err(error) => {
                if is_definite(&error) && wanting == listing.instances.len() {
                    let job = progress.job;
                    let absences = &self.retriever.absences;
                    absences.remember_series(&job.source, &job.listing.series);
                }
                self.last_error = Some(error);
                return Ok(());
            }
        };
        match self.pass_on(follower, progress).await? {
            Passed::All | Passed::BrokenOff if progress.left == 0 || self.is_hopeless() => Ok(()),
            Passed::All | Passed::BrokenOff => {
                self.one_by_one(progress, Representation::AsStored).await
            }
            Passed::UntilNotAccepted => self.decoded(progress).await,
        }
    }

    /// How many of the awaited instances are not kept.
    fn wanting(&self, progress: &Progress<'_>) -> usize {
        let job = progress.job;
        let is_kept = |uid: &&SopInstanceUid| {
            let key = key(&job.source, &job.listing, uid, Representation::AsStored);
            self.retriever.cache.holds(&key)
        };
        let awaited = progress.awaited();
        awaited.len() - awaited.iter().filter(is_kept).count()
    }

    /// Gives what is awaited and kept.
    async fn give_kept(&mut self, progress: &mut Progress<'_>) -> Result<(), Stop> {
        for uid in progress.awaited() {
            self.give_one_kept(progress, &uid, Representation::AsStored)
                .await?;
        }
        Ok(())
    }

    /// Gives an instance if it is kept; `false` if it is not.
    async fn give_one_kept(
        &mut self,
        progress: &mut Progress<'_>,
        uid: &SopInstanceUid,
        form: Representation,
    ) -> Result<bool, Stop> {
        let job = progress.job;
        let key = key(&job.source, &job.listing, uid, form);
        let Some(instance) = self.retriever.kept(&key, &self.accepted).await else {
            return Ok(false);
        };
        progress.take_uid(uid);
        self.give_instance(instance, progress).await?;
        Ok(true)
    }

    async fn single(
        &mut self,
        progress: &mut Progress<'_>,
        uid: &SopInstanceUid,
    ) -> Result<(), Stop> {
        match self
            .instance(progress, uid, Representation::AsStored)
            .await?
        {
            Some(Passed::UntilNotAccepted) => self.decoded(progress).await,
            Some(Passed::All | Passed::BrokenOff) | None => Ok(()),
        }
    }

    /// Asks for every instance that has not come, in Explicit VR Little Endian.
    async fn decoded(&mut self, progress: &mut Progress<'_>) -> Result<(), Stop> {
        if !self
            .accepted
            .permit(&TransferSyntax::explicit_vr_little_endian())
        {
            self.last_error = Some(source::Error::NotAcceptable);
            return Ok(());
        }
        self.one_by_one(progress, Representation::ExplicitVrLittleEndian)
            .await
    }

    /// Asks for every instance that has not come.
    async fn one_by_one(
        &mut self,
        progress: &mut Progress<'_>,
        form: Representation,
    ) -> Result<(), Stop> {
        let awaited = match &progress.job.only {
            Some(uid) => vec![uid.clone()],
            None => progress.awaited(),
        };
        let mut in_vain = 0;
        for uid in awaited {
            let given = progress.given;
            self.instance(progress, &uid, form).await?;
            in_vain = if progress.given > given {
                0
            } else {
                in_vain + 1
            };
            let tries = if self.opened.is_some() {
                TRIES
            } else {
                LATE_TRIES
            };
            if in_vain >= tries || self.is_hopeless() {
                break;
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
        if self.give_one_kept(progress, uid, form).await? {
            return Ok(Some(Passed::All));
        }
        let given = progress.given;
        match self.open(job, &target, form).await {
            Ok(follower) => {
                let passed = self.pass_on(follower, progress).await?;
                if passed == Passed::All && progress.given == given {
                    let error = source::Error::Malformed("it does not hold what was asked for");
                    self.last_error = Some(error);
                }
                Ok(Some(passed))
            }
            Err(error) => {
                if is_definite(&error) {
                    let absences = &self.retriever.absences;
                    absences.remember(&job.source, &listing.series, uid, form);
                }
                // It can still be said that this one is missing.
                if self.opened.is_some() && progress.take_uid(uid) {
                    self.missing += 1;
                }
                self.last_error = Some(error);
                Ok(None)
            }
        }
    }

    async fn open(
        &self,
        job: &Job,
        target: &Target,
        form: Representation,
    ) -> Result<Follower, source::Error> {
        let question = Question {
            source: Arc::clone(&job.source),
            target: target.clone(),
            representation: form,
            listing: Some(Arc::clone(&job.listing)),
            hop: Arc::clone(&self.hop),
        };
        let following = self.retriever.follow(&question, self.seat.as_ref());
        let (follower, _is_partial) = following.await?;
        Ok(follower)
    }

    /// Gives on what arrives and is awaited, until the source ends its answer or sends something
    /// in a transfer syntax that is not accepted.
    async fn pass_on(
        &mut self,
        mut follower: Follower,
        progress: &mut Progress<'_>,
    ) -> Result<Passed, Stop> {
        loop {
            if progress.left == 0 {
                return Ok(Passed::All);
            }
            let arrived = match follower.next().await {
                Ok(Some(arrived)) => arrived,
                Ok(None) => return Ok(Passed::All),
                Err(error) => return self.broke_off(error, progress),
            };
            if !progress.awaits(&arrived.identity) {
                follower.pass_over(&arrived);
                continue;
            }
            if !self.accepted.permit(&arrived.identity.transfer_syntax) {
                return Ok(Passed::UntilNotAccepted);
            }
            self.give_arrived(&arrived, &follower, progress).await?;
        }
    }

    /// Gives an instance that has arrived, unless it is gone again; then it stays on the list.
    async fn give_arrived(
        &mut self,
        arrived: &Arrived,
        follower: &Follower,
        progress: &mut Progress<'_>,
    ) -> Result<(), Stop> {
        let uid = &arrived.identity.sop_instance;
        let flight = arrived.flight();
        let Some(body) = flight.and_then(|flight| flight.follow()) else {
            let form = Representation::AsStored;
            return self.give_one_kept(progress, uid, form).await.map(drop);
        };
        progress.take_uid(uid);
        let instance = Instance {
            identity: arrived.identity.clone(),
            body,
            way: if follower.has_joined {
                Way::Collapsed
            } else {
                Way::Fetched
            },
        };
        self.give_instance(instance, progress).await
    }

    /// A source's answer that breaks off ends the client's, unless nothing has been promised.
    fn broke_off(&mut self, error: body::Error, progress: &Progress<'_>) -> Result<Passed, Stop> {
        tracing::warn!(location = %progress.job.source.alias, %error, "a source broke off");
        if self.opened.is_none() {
            return Err(Stop::Broken(error));
        }
        self.last_error = Some(source::Error::BrokeOff(error));
        Ok(Passed::BrokenOff)
    }

    async fn give_instance(
        &mut self,
        instance: Instance,
        progress: &mut Progress<'_>,
    ) -> Result<(), Stop> {
        progress.given += 1;
        if let Some(opened) = self.opened.take() {
            let begun = Opening::Begun {
                missing: std::mem::take(&mut self.missing),
            };
            opened
                .send(begun)
                .map_err(|_client_left| Stop::ClientLeft)?;
        }
        self.giving.instance(instance, &progress.tally).await
    }
}

/// Whether asking again soon is of no use.
fn is_definite(error: &source::Error) -> bool {
    match error {
        source::Error::NotFound | source::Error::Gone | source::Error::NotAcceptable => true,
        source::Error::BadRequest
        | source::Error::Forbidden
        | source::Error::Overloaded { .. }
        | source::Error::Resting { .. }
        | source::Error::Status(_)
        | source::Error::Malformed(_)
        | source::Error::Unreachable
        | source::Error::TimedOut
        | source::Error::BrokeOff(_) => false,
    }
}
