//! Instances that are fetched one by one.

use std::collections::VecDeque;

use tokio::sync::OwnedSemaphorePermit;

use super::{AnswerEnd, NotKept, Worker, is_definite};
use crate::body;
use crate::dicom::SopInstanceUid;
use crate::retrieve::Job;
use crate::retrieve::answer::delivery::Stop;
use crate::retrieve::answer::progress::Progress;
use crate::retrieve::crossing::{CrossingOutcome, Follower};
use crate::retrieve::kept::{CacheLookup, Knowledge, key};
use crate::source::{self, Representation};

/// How many instances of a series are asked for one by one in vain, while nothing has been given
/// yet, before the whole series is taken to be missing.
const TRIES: usize = 4;
/// The same once something has been given: the answer is lost, but the next one knows of these.
const LATE_TRIES: usize = 64;
/// Instances that are asked for one by one at the same time, beside the one that is awaited.
const AHEAD: usize = 4;

impl Worker {
    pub(super) async fn single(
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
            Some(AnswerEnd::NotAccepted) => self.decoded(progress).await,
            Some(AnswerEnd::Complete | AnswerEnd::Aborted) | None => Ok(()),
        }
    }

    /// Gives an instance that the crossing of its series brings soon. If it gives none the instance is
    /// to be fetched by itself, while the permit is held if there is one.
    pub(super) async fn with_the_series(
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
            CrossingOutcome::Fetch(permit) => Ok(Some(permit)),
            CrossingOutcome::Never => Ok(None),
            CrossingOutcome::Here(arrived) => {
                if self.accepted.permit(&arrived.identity.transfer_syntax) {
                    self.give_arrived(&arrived, &follower, progress).await?;
                }
                Ok(None)
            }
        }
    }

    /// Asks for every instance that has not come. Once something has been promised, what fails and may
    /// come yet is asked for again after the others: it does not take them along.
    pub(super) async fn one_by_one(
        &mut self,
        progress: &mut Progress<'_>,
        form: Representation,
    ) -> Result<AnswerEnd, Stop> {
        let mut awaited: VecDeque<_> = match &progress.job.only {
            Some(uid) => VecDeque::from([uid.clone()]),
            None => progress.awaited().into(),
        };
        let mut not_asked = awaited.len();
        let mut in_vain = 0;
        let mut outcome = AnswerEnd::Complete;
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
            if passed == Some(AnswerEnd::NotAccepted) {
                outcome = AnswerEnd::NotAccepted;
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
    pub(super) fn begin(
        &self,
        job: &Job,
        uid: &SopInstanceUid,
        form: Representation,
    ) -> Option<Follower> {
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
    pub(super) fn may_come(&self) -> bool {
        self.last_error
            .as_ref()
            .is_some_and(|error| !is_definite(error))
    }

    /// Asks for one instance, unless that was `asked` already; `None` if the source does not give it.
    /// Once something has been promised, what is no definite answer is tried to get over.
    pub(super) async fn instance(
        &mut self,
        progress: &mut Progress<'_>,
        uid: &SopInstanceUid,
        form: Representation,
        mut asked: Option<Follower>,
    ) -> Result<Option<AnswerEnd>, Stop> {
        let given = progress.given;
        let mut backoff = self.retriever.backoff();
        loop {
            let passed = self.try_instance(progress, uid, form, asked.take()).await?;
            let may_come = self.opened.is_none() && passed != Some(AnswerEnd::NotAccepted);
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

    pub(super) async fn try_instance(
        &mut self,
        progress: &mut Progress<'_>,
        uid: &SopInstanceUid,
        form: Representation,
        asked: Option<Follower>,
    ) -> Result<Option<AnswerEnd>, Stop> {
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
                if passed == AnswerEnd::Complete && progress.given == given {
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

    /// Gives an instance if it is kept.
    pub(super) async fn give_one_kept(
        &mut self,
        progress: &mut Progress<'_>,
        uid: &SopInstanceUid,
        form: Representation,
        knowledge: Knowledge,
    ) -> Result<Result<AnswerEnd, NotKept>, Stop> {
        let job = progress.job;
        let key = key(&job.source, &job.listing, uid, form);
        let question = self.question(job, job.listing.instance(uid), form);
        let kept = self
            .retriever
            .kept(&key, &self.accepted, &question, knowledge);
        let instance = match kept.await {
            CacheLookup::Here(instance) => *instance,
            CacheLookup::NotAccepted => return Ok(Ok(AnswerEnd::NotAccepted)),
            CacheLookup::Stale(tags) => return Ok(Err(NotKept { had: Some(tags) })),
            CacheLookup::Nowhere => return Ok(Err(NotKept { had: None })),
        };
        progress.take_uid(uid);
        self.give_instance(instance, progress).await?;
        Ok(Ok(AnswerEnd::Complete))
    }
}
