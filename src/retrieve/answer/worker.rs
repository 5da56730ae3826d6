//! Fetches some series from one source, one after the other.
//!
//! What is kept is given first. A series is then asked for as a whole, as it is stored, unless only
//! little of it is wanting. Instances in a transfer syntax that is not accepted, and listed instances
//! that did not come, are then asked for one by one.

use std::collections::VecDeque;
use std::sync::Arc;

use http::HeaderValue;
use tokio::sync::{OwnedSemaphorePermit, oneshot};

use super::delivery::{Giving, Stop};
use super::progress::Progress;
use crate::body;
use crate::dicom::{SopInstanceUid, TransferSyntax, TransferSyntaxes};
use crate::hop::Hop;
use crate::instance::Instance;
use crate::resource::Target;
use crate::retrieve::crossing::{Arrived, Brought, Follower, Question};
use crate::retrieve::kept::{Kept, Knowledge, key};
use crate::retrieve::learned::Manner;
use crate::retrieve::{Job, Retriever};
use crate::source::{self, Claim, Representation, Seat};

/// How many instances of a series are asked for one by one in vain, while nothing has been given
/// yet, before the whole series is taken to be missing.
const TRIES: usize = 4;
/// The same once something has been given: the answer is lost, but the next one knows of these.
const LATE_TRIES: usize = 64;
/// Instances that are asked for one by one at the same time, beside the one that is awaited.
const AHEAD: usize = 4;
/// Time limits of a source that run out in a row, while nothing has been given yet, before it is asked for
/// nothing more.
const MOST_SILENCES: usize = 2;
/// What is wanting of a series is asked for one by one if it is one in so many or less.
const FEW: usize = 8;

/// How a worker began.
#[derive(Debug)]
pub(crate) enum Opening {
    /// It has an instance to give; some others are known to be missing.
    Begun { missing: usize },
    /// It has nothing to give.
    Failed {
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
    giving: Giving,
    opened: Option<oneshot::Sender<Opening>>,
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
enum Passed {
    /// It was passed on to its end.
    All,
    /// It held something that is not accepted.
    UntilNotAccepted,
    /// It broke off.
    BrokenOff,
}

impl Worker {
    pub(crate) fn new(
        jobs: Vec<Job>,
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
    pub(crate) async fn run(mut self, opened: oneshot::Sender<Opening>) {
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
        if self.is_contested && self.opened.is_none() {
            let error = body::Error::Conflicting;
            return self.giving.give(Err(error)).await.unwrap_or(());
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
        let mut wanting = self.revalidated(progress).await?;
        let listing = &progress.job.listing;
        let target = listing.target();
        let question = self.question(progress.job, target.clone(), Representation::AsStored);
        let mut turn = Ok(None);
        if !self.are_better_asked_for_singly(wanting, progress.job) {
            turn = self.retriever.turn(&question, self.claim()).await;
            // Others may have fetched them in the meantime.
            wanting = wanting.min(self.wanting(progress));
        }
        if self.are_better_asked_for_singly(wanting, progress.job) {
            drop(turn);
            self.give_kept(progress).await?;
            return self.each(progress).await;
        }
        let opened = match turn {
            Ok(seat) => self.open(question, seat).await,
            Err(error) => Err(error),
        };
        // What is kept is given after what arrives, for a seat is taken now.
        let follower = match opened {
            Ok(follower) => follower,
            // The crossing has learned it from the source just now.
            Err(_) if self.gives_instances_only(progress.job) => {
                self.give_kept(progress).await?;
                return self.each(progress).await;
            }
            Err(error) => {
                self.retriever.heed(
                    &self.question(progress.job, target, Representation::AsStored),
                    Some(&error),
                );
                if is_definite(&error) && wanting == listing.instances.len() {
                    let job = progress.job;
                    let absences = &self.retriever.absences;
                    absences.remember_series(&job.source, &job.listing.series);
                }
                self.failed(error);
                return self.without_source(progress).await;
            }
        };
        match self.pass_on(follower, progress).await? {
            Passed::All | Passed::BrokenOff if progress.left == 0 => Ok(()),
            Passed::All | Passed::BrokenOff if self.is_hopeless() => {
                self.without_source(progress).await
            }
            Passed::All => self.each(progress).await,
            Passed::BrokenOff => self.rest(progress).await,
            Passed::UntilNotAccepted => {
                self.give_kept(progress).await?;
                self.decoded(progress).await
            }
        }
    }

    fn are_better_asked_for_singly(&self, wanting: usize, job: &Job) -> bool {
        wanting * FEW <= job.listing.instances.len() || self.gives_instances_only(job)
    }

    /// Gives what is kept where the source gives nothing. What is missing can still be said if nothing
    /// was given before.
    async fn without_source(&mut self, progress: &mut Progress<'_>) -> Result<(), Stop> {
        let job = progress.job;
        for uid in progress.awaited() {
            let is_kept = self.holds(job, &uid, Representation::AsStored);
            let is_missing = self.opened.is_some() && !is_kept;
            if is_missing && progress.take_uid(&uid) {
                self.missing += 1;
            }
        }
        self.give_kept(progress).await
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

    /// Fetches what had not come when a source broke off. It may break off at the same place each
    /// time: so not the series again.
    async fn rest(&mut self, progress: &mut Progress<'_>) -> Result<(), Stop> {
        self.is_repair = true;
        let fetched = self.each(progress).await;
        self.is_repair = false;
        let outcome = if progress.left == 0 {
            "repaired"
        } else {
            "failed"
        };
        let location = &*progress.job.source.alias;
        let repairs = &self.retriever.metrics.repairs;
        repairs.with_label_values(&[location, outcome]).inc();
        fetched
    }

    /// How many of the awaited instances must be asked for, of the rest of which only whether they have
    /// changed. If the source cannot tell that of the first one, all of them must be.
    async fn revalidated(&mut self, progress: &mut Progress<'_>) -> Result<usize, Stop> {
        let job = progress.job;
        let is_stale = |uid: &SopInstanceUid| {
            let key = key(&job.source, &job.listing, uid, Representation::AsStored);
            !self.retriever.holds(&job.source, &key)
                && self.retriever.had(&job.source, &key).is_some()
        };
        let stale: Vec<_> = progress.awaited().into_iter().filter(is_stale).collect();
        let Some(first) = stale.first() else {
            return Ok(self.wanting(progress));
        };
        let form = Representation::AsStored;
        self.instance(progress, first, form, None).await?;
        let manners = &self.retriever.manners;
        let can_tell = !manners.has(&job.source, Manner::NoRevalidation);
        let is_told = if can_tell { stale.len() - 1 } else { 0 };
        Ok(self.wanting(progress).saturating_sub(is_told))
    }

    fn gives_instances_only(&self, job: &Job) -> bool {
        let manners = &self.retriever.manners;
        manners.has(&job.source, Manner::InstancesOnly)
    }

    /// How many of the awaited instances are not kept.
    fn wanting(&self, progress: &Progress<'_>) -> usize {
        let job = progress.job;
        let is_kept = |uid: &&SopInstanceUid| {
            let key = key(&job.source, &job.listing, uid, Representation::AsStored);
            self.retriever.holds(&job.source, &key)
        };
        let awaited = progress.awaited();
        awaited.len() - awaited.iter().filter(is_kept).count()
    }

    /// Gives what is awaited and kept.
    async fn give_kept(&mut self, progress: &mut Progress<'_>) -> Result<(), Stop> {
        for uid in progress.awaited() {
            let form = Representation::AsStored;
            let given = self.give_one_kept(progress, &uid, form, Knowledge::Nothing);
            // What is not kept stays on the list.
            drop(given.await?);
        }
        Ok(())
    }

    /// Gives an instance if it is kept.
    async fn give_one_kept(
        &mut self,
        progress: &mut Progress<'_>,
        uid: &SopInstanceUid,
        form: Representation,
        knowledge: Knowledge,
    ) -> Result<Result<Passed, NotKept>, Stop> {
        let job = progress.job;
        let key = key(&job.source, &job.listing, uid, form);
        let question = self.question(job, job.listing.instance(uid), form);
        let kept = self
            .retriever
            .kept(&key, &self.accepted, &question, knowledge);
        let instance = match kept.await {
            Kept::Here(instance) => *instance,
            Kept::NotAccepted => return Ok(Ok(Passed::UntilNotAccepted)),
            Kept::Stale(tags) => return Ok(Err(NotKept { had: Some(tags) })),
            Kept::Nowhere => return Ok(Err(NotKept { had: None })),
        };
        progress.take_uid(uid);
        self.give_instance(instance, progress).await?;
        Ok(Ok(Passed::All))
    }

    async fn single(
        &mut self,
        progress: &mut Progress<'_>,
        uid: &SopInstanceUid,
    ) -> Result<(), Stop> {
        let _permit = self.with_the_series(progress, uid).await?;
        if progress.left == 0 {
            return Ok(());
        }
        match self
            .instance(progress, uid, Representation::AsStored, None)
            .await?
        {
            Some(Passed::UntilNotAccepted) => self.decoded(progress).await,
            Some(Passed::All | Passed::BrokenOff) | None => Ok(()),
        }
    }

    /// Gives an instance that the crossing of its series brings soon. If it gives none the instance is
    /// to be fetched by itself, while the permit is held if there is one.
    async fn with_the_series(
        &mut self,
        progress: &mut Progress<'_>,
        uid: &SopInstanceUid,
    ) -> Result<Option<OwnedSemaphorePermit>, Stop> {
        let Job {
            source, listing, ..
        } = progress.job;
        let crossings = &self.retriever.crossings;
        let Some(mut follower) = crossings.bringing(source, listing) else {
            return Ok(None);
        };
        let key = key(source, listing, uid, Representation::AsStored);
        if self.retriever.holds(source, &key) {
            return Ok(None);
        }
        match follower.bring(uid).await {
            Brought::Fetch(permit) => Ok(Some(permit)),
            Brought::Never => Ok(None),
            Brought::Here(arrived) => {
                if self.accepted.permit(&arrived.identity.transfer_syntax) {
                    self.give_arrived(&arrived, &follower, progress).await?;
                }
                Ok(None)
            }
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
        let form = Representation::ExplicitVrLittleEndian;
        self.one_by_one(progress, form).await.map(drop)
    }

    /// Asks for every instance that has not come, as it is stored; then for those that are not
    /// accepted like that.
    async fn each(&mut self, progress: &mut Progress<'_>) -> Result<(), Stop> {
        match self.one_by_one(progress, Representation::AsStored).await? {
            Passed::UntilNotAccepted => self.decoded(progress).await,
            Passed::All | Passed::BrokenOff => Ok(()),
        }
    }

    /// Asks for every instance that has not come. Once something has been promised, what fails and may
    /// come yet is asked for again after the others: it does not take them along.
    async fn one_by_one(
        &mut self,
        progress: &mut Progress<'_>,
        form: Representation,
    ) -> Result<Passed, Stop> {
        let mut awaited: VecDeque<_> = match &progress.job.only {
            Some(uid) => VecDeque::from([uid.clone()]),
            None => progress.awaited().into(),
        };
        let mut not_asked = awaited.len();
        let mut in_vain = 0;
        let mut outcome = Passed::All;
        let mut begun = VecDeque::new();
        while let Some(uid) = awaited.pop_front() {
            let given = progress.given;
            let is_asked_again = not_asked == 0;
            not_asked = not_asked.saturating_sub(1);
            let asked = match begun.pop_front() {
                Some(asked) => asked,
                None => self.begin(progress.job, &uid, form),
            };
            if asked.is_some() || self.holds(progress.job, &uid, form) {
                while begun.len() < AHEAD.min(not_asked)
                    && let Some(next) = awaited.get(begun.len())
                {
                    begun.push_back(self.begin(progress.job, next, form));
                }
            } else {
                // A seat is waited for now, and none is held meanwhile.
                begun.clear();
            }
            // Where several fail in a row, it is the source that is waited for.
            let is_patient = is_asked_again || in_vain >= TRIES;
            let passed = if is_patient {
                self.instance(progress, &uid, form, asked).await?
            } else {
                self.try_instance(progress, &uid, form, asked).await?
            };
            if passed == Some(Passed::UntilNotAccepted) {
                outcome = Passed::UntilNotAccepted;
                if form == Representation::AsStored {
                    continue;
                }
                self.last_error = Some(source::Error::NotAcceptable);
            }
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
            let may_come = in_vain > 0 && self.opened.is_none() && self.may_come();
            if may_come && !is_patient {
                awaited.push_back(uid);
                continue;
            }
            if in_vain >= tries || self.is_hopeless() || may_come {
                break;
            }
        }
        Ok(outcome)
    }

    /// Asks for an instance that will be awaited soon, if that keeps nobody waiting.
    fn begin(&self, job: &Job, uid: &SopInstanceUid, form: Representation) -> Option<Follower> {
        let key = key(&job.source, &job.listing, uid, form);
        if self.retriever.holds(&job.source, &key) {
            return None;
        }
        let seat = job.source.free_seat()?;
        let mut question = self.question(job, job.listing.instance(uid), form);
        question.had = self.retriever.had(&job.source, &key);
        Some(self.retriever.begin(&question, seat))
    }

    /// Whether the last failure is one that may pass.
    fn may_come(&self) -> bool {
        self.last_error
            .as_ref()
            .is_some_and(|error| !is_definite(error))
    }

    /// Asks for one instance, unless that was `asked` already; `None` if the source does not give it.
    /// Once something has been promised, what is no definite answer is tried to get over.
    async fn instance(
        &mut self,
        progress: &mut Progress<'_>,
        uid: &SopInstanceUid,
        form: Representation,
        mut asked: Option<Follower>,
    ) -> Result<Option<Passed>, Stop> {
        let given = progress.given;
        let mut backoff = self.retriever.backoff();
        loop {
            let passed = self.try_instance(progress, uid, form, asked.take()).await?;
            let may_come = self.opened.is_none() && passed != Some(Passed::UntilNotAccepted);
            match &self.last_error {
                Some(error) if progress.given == given && may_come => {
                    if !backoff.pause(error).await {
                        return Ok(passed);
                    }
                }
                Some(_) | None => return Ok(passed),
            }
        }
    }

    async fn try_instance(
        &mut self,
        progress: &mut Progress<'_>,
        uid: &SopInstanceUid,
        form: Representation,
        asked: Option<Follower>,
    ) -> Result<Option<Passed>, Stop> {
        let mut had = None;
        if asked.is_none() {
            match self
                .give_one_kept(progress, uid, form, Knowledge::Nothing)
                .await?
            {
                Ok(passed) => return Ok(Some(passed)),
                Err(not_kept) => had = not_kept.had,
            }
        }
        let job = progress.job;
        let given = progress.given;
        let mut question = self.question(job, job.listing.instance(uid), form);
        let mut opened = match asked {
            Some(follower) => match follower.opened().await {
                Ok(_is_partial) => Ok(follower),
                // Another answer asked first, and this one must ask for itself.
                Err(source::Error::BrokeOff(body::Error::Abandoned)) if follower.has_joined => {
                    self.open(question.clone(), None).await
                }
                Err(error) => Err(error),
            },
            None => {
                question.had = had;
                let turn = self.retriever.turn(&question, self.claim()).await;
                if self.holds(job, uid, form) {
                    // Others have fetched it in the meantime, and it may go to a slow client.
                    drop(turn);
                    let nothing = Knowledge::Nothing;
                    let given = self.give_one_kept(progress, uid, form, nothing).await?;
                    if let Ok(passed) = given {
                        return Ok(Some(passed));
                    }
                    self.open(question.clone(), None).await
                } else {
                    match turn {
                        Ok(seat) => self.open(question.clone(), seat).await,
                        Err(error) => Err(error),
                    }
                }
            }
        };
        if let Err(source::Error::NotModified) = &opened {
            match self
                .give_one_kept(progress, uid, form, Knowledge::Confirmed)
                .await?
            {
                Ok(passed) => return Ok(Some(passed)),
                // It was forgotten in the meantime.
                Err(_) => {
                    question.had = None;
                    opened = self.open(question, None).await;
                }
            }
        }
        match opened {
            Ok(follower) => {
                let passed = self.pass_on(follower, progress).await?;
                if passed == Passed::All && progress.given == given {
                    let error = source::Error::Malformed("it does not hold what was asked for");
                    self.last_error = Some(error);
                }
                Ok(Some(passed))
            }
            Err(error) => {
                let question = self.question(job, job.listing.instance(uid), form);
                self.retriever.heed(&question, Some(&error));
                if is_definite(&error) && !progress.was_lost(uid) {
                    let absences = &self.retriever.absences;
                    absences.remember(&job.source, &job.listing.series, uid, form);
                }
                // It can still be said that this one is missing.
                if self.opened.is_some() && progress.take_uid(uid) {
                    self.missing += 1;
                }
                self.failed(error);
                Ok(None)
            }
        }
    }

    async fn open(
        &self,
        question: Question,
        seat: Option<Seat>,
    ) -> Result<Follower, source::Error> {
        let claim = self.claim();
        let following = self.retriever.follow_from(&question, claim, seat);
        let (follower, _is_partial) = following.await?;
        Ok(follower)
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

    /// Gives on what arrives and is awaited, until the source ends its answer or sends something
    /// in a transfer syntax that is not accepted.
    async fn pass_on(
        &mut self,
        mut follower: Follower,
        progress: &mut Progress<'_>,
    ) -> Result<Passed, Stop> {
        let passed = self.pass_through(&mut follower, progress).await?;
        if progress.left == 0 {
            follower.settle().await;
        }
        self.is_contested |= follower.is_contested();
        Ok(passed)
    }

    async fn pass_through(
        &mut self,
        follower: &mut Follower,
        progress: &mut Progress<'_>,
    ) -> Result<Passed, Stop> {
        loop {
            if progress.left == 0 {
                return Ok(Passed::All);
            }
            let arrived = match follower.next().await {
                Ok(Some(arrived)) => arrived,
                Ok(None) => return Ok(Passed::All),
                Err(error) => return Ok(self.broke_off(error, progress)),
            };
            if !progress.awaits(&arrived.identity) {
                follower.pass_over(&arrived);
                continue;
            }
            if !self.accepted.permit(&arrived.identity.transfer_syntax) {
                return Ok(Passed::UntilNotAccepted);
            }
            self.give_arrived(&arrived, follower, progress).await?;
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
        let question = follower.question();
        let mend = |flight| self.retriever.mended(&flight, question);
        let Some(body) = arrived.flight().and_then(mend) else {
            let form = question.representation;
            let given = self.give_one_kept(progress, uid, form, Knowledge::Nothing);
            if given.await?.is_err() {
                progress.lose(uid);
            }
            return Ok(());
        };
        progress.take_uid(uid);
        let instance = follower.instance(arrived, body);
        self.give_instance(instance, progress).await
    }

    fn broke_off(&mut self, error: body::Error, progress: &Progress<'_>) -> Passed {
        tracing::warn!(location = %progress.job.source.alias, %error, "a source broke off");
        self.failed(source::Error::BrokeOff(error));
        Passed::BrokenOff
    }

    async fn give_instance(
        &mut self,
        instance: Instance,
        progress: &mut Progress<'_>,
    ) -> Result<(), Stop> {
        progress.given += 1;
        self.silences = 0;
        self.retriever.count_lookup(&instance);
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
