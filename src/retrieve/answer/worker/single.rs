//! Fetching instances one by one.

use std::collections::VecDeque;

use tokio::sync::OwnedSemaphorePermit;

use super::{AnswerEnd, NotKept, Worker, is_absence, is_definite};
use crate::body;
use crate::dicom::SopInstanceUid;
use crate::retrieve::Job;
use crate::retrieve::answer::delivery::Stop;
use crate::retrieve::answer::progress::Progress;
use crate::retrieve::crossing::{CrossingOutcome, Follower, Question};
use crate::retrieve::kept::{CacheLookup, Knowledge, key};
use crate::source::{self, Representation};

/// Consecutive failures of single instances, before the first delivery, after which the whole
/// series is assumed to be missing.
const TRIES: usize = 4;
/// The same limit after the first delivery: this answer is broken anyway, but the next one profits
/// from the known absences.
const LATE_TRIES: usize = 64;
/// Absences in a row after which the rest of a series is assumed to be absent too. An absence is a
/// definite and quick answer, so there may be more of them than of failures.
const ABSENCES: usize = 1_000;
/// Instances requested in parallel ahead of the awaited one.
const AHEAD: usize = 4;

/// Instances still to be fetched, in the order of the manifest.
struct Queue {
    awaited: VecDeque<SopInstanceUid>,
    /// The number of instances not requested yet.
    not_asked: usize,
    /// The first instances of the queue, requested ahead of need.
    begun: VecDeque<Option<Follower>>,
}

/// The answer for one instance.
enum Answer {
    /// A tier held the instance, which has been delivered.
    FromCache(AnswerEnd),
    /// The source began to answer, or failed.
    FromSource(Result<Follower, source::Error>),
}

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

    /// Delivers an instance that the crossing of its series will bring soon. Otherwise the instance
    /// must be fetched by itself, while the permit is held if there is one.
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

    /// Fetches every instance that has not arrived. Once an instance has been promised, an instance
    /// whose failure may be transient is retried after the others, so that it does not delay them.
    pub(super) async fn one_by_one(
        &mut self,
        progress: &mut Progress<'_>,
        form: Representation,
    ) -> Result<AnswerEnd, Stop> {
        let awaited = match &progress.job.only {
            Some(uid) => VecDeque::from([uid.clone()]),
            None => progress.awaited().into(),
        };
        let mut queue = Queue {
            not_asked: awaited.len(),
            awaited,
            begun: VecDeque::new(),
        };
        let (mut in_vain, mut absent) = (0, 0);
        let mut outcome = AnswerEnd::Complete;
        while let Some(uid) = queue.awaited.pop_front() {
            let before = progress.given + progress.refused;
            let is_asked_again = queue.not_asked == 0;
            let asked = self.begin_next(&mut queue, progress.job, &uid, form);
            // After several failures in a row, the worker waits for the source itself; and for an
            // instance that the source has.
            let is_lost = progress.was_lost(&uid);
            let is_patient = is_asked_again || in_vain >= TRIES || is_lost;
            let end = if is_patient {
                self.instance(progress, &uid, form, asked).await?
            } else {
                self.try_instance(progress, &uid, form, asked).await?
            };
            if end == Some(AnswerEnd::NotAccepted) {
                outcome = AnswerEnd::NotAccepted;
                if form == Representation::AsStored {
                    continue;
                }
                self.stand_in(progress, &uid).await?;
            }
            let is_given = progress.given + progress.refused > before;
            let is_absent = end.is_none() && self.last_error.as_ref().is_some_and(is_absence);
            (in_vain, absent) = match (is_given, is_absent) {
                (true, _) => (0, 0),
                (false, true) => (in_vain, absent + 1),
                (false, false) => (in_vain + 1, absent),
            };
            let may_come = in_vain > 0 && self.opened.is_none() && self.may_come();
            if may_come && !is_patient {
                queue.awaited.push_back(uid);
                continue;
            }
            let is_in_vain = in_vain >= self.most_tries() || absent >= ABSENCES;
            if is_in_vain || self.is_hopeless() || may_come {
                break;
            }
        }
        Ok(outcome)
    }

    fn most_tries(&self) -> usize {
        if self.opened.is_some() {
            TRIES
        } else {
            LATE_TRIES
        }
    }

    /// Begins to fetch an instance, unless already begun, and some of its successors.
    fn begin_next(
        &self,
        queue: &mut Queue,
        job: &Job,
        uid: &SopInstanceUid,
        form: Representation,
    ) -> Option<Follower> {
        queue.not_asked = queue.not_asked.saturating_sub(1);
        let asked = match queue.begun.pop_front() {
            Some(asked) => asked,
            None => self.begin(job, uid, form),
        };
        if asked.is_some() || self.holds(job, uid, form) {
            while queue.begun.len() < AHEAD.min(queue.not_asked)
                && let Some(next) = queue.awaited.get(queue.begun.len())
            {
                let begun = self.begin(job, next, form).map(Follower::read_later);
                queue.begun.push_back(begun);
            }
        } else {
            // The worker has to wait for a seat, and holds none meanwhile.
            queue.begun.clear();
        }
        asked
    }

    /// Requests an instance that will be awaited soon, if no other request waits for the seat.
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

    /// Whether the last failure may be transient.
    pub(super) fn may_come(&self) -> bool {
        self.last_error
            .as_ref()
            .is_some_and(|error| !is_definite(error))
    }

    /// Fetches one instance, unless already `asked`; `None` if the source does not supply it. Once
    /// an instance has been promised, transient failures are retried.
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
            // The source has sent a lost one, to a reader that was here before.
            let is_promised = self.opened.is_none() || progress.was_lost(uid);
            let may_come = is_promised && passed != Some(AnswerEnd::NotAccepted);
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

    /// Tries to fetch one instance once.
    pub(super) async fn try_instance(
        &mut self,
        progress: &mut Progress<'_>,
        uid: &SopInstanceUid,
        form: Representation,
        asked: Option<Follower>,
    ) -> Result<Option<AnswerEnd>, Stop> {
        let job = progress.job;
        let before = progress.given + progress.refused;
        let question = || self.question(job, job.listing.instance(uid), form);
        let answer = match asked {
            Some(follower) => self.answer_of(follower, question).await,
            None => match self.ask(progress, uid, form).await? {
                Answer::FromCache(end) => return Ok(Some(end)),
                Answer::FromSource(answer) => answer,
            },
        };
        let answer = match answer {
            Err(source::Error::NotModified) => {
                let confirmed = Knowledge::Confirmed;
                let given = self.give_one_kept(progress, uid, form, confirmed).await?;
                match given {
                    Ok(end) => return Ok(Some(end)),
                    // The cache evicted the instance in the meantime.
                    Err(NotKept { .. }) => {
                        let question = self.question(job, job.listing.instance(uid), form);
                        self.open(question, None).await
                    }
                }
            }
            answer => answer,
        };
        let end = self.settle(progress, uid, form, answer).await?;
        if end == Some(AnswerEnd::Complete) && progress.given + progress.refused == before {
            self.last_error = Some(if progress.was_lost(uid) {
                body::Error::Abandoned.into()
            } else {
                source::Error::Malformed("it does not contain the requested instance")
            });
        }
        Ok(end)
    }

    /// Requests an instance when its turn comes, unless a tier holds it.
    async fn ask(
        &mut self,
        progress: &mut Progress<'_>,
        uid: &SopInstanceUid,
        form: Representation,
    ) -> Result<Answer, Stop> {
        let nothing = Knowledge::Nothing;
        let had = match self.give_one_kept(progress, uid, form, nothing).await? {
            Ok(end) => return Ok(Answer::FromCache(end)),
            Err(not_kept) => not_kept.had,
        };
        let job = progress.job;
        let conditional = Question {
            had,
            ..self.question(job, job.listing.instance(uid), form)
        };
        let turn = self.retriever.turn(&conditional, self.claim()).await;
        if !self.holds(job, uid, form) {
            let answer = match turn {
                Ok(seat) => self.open(conditional, seat).await,
                Err(error) => Err(error),
            };
            return Ok(Answer::FromSource(answer));
        }
        // Another answer has fetched it in the meantime, and this client may be slow: no seat is
        // held.
        drop(turn);
        let nothing = Knowledge::Nothing;
        let given = self.give_one_kept(progress, uid, form, nothing).await?;
        Ok(match given {
            Ok(end) => Answer::FromCache(end),
            Err(NotKept { .. }) => Answer::FromSource(self.open(conditional, None).await),
        })
    }

    /// The follower of an earlier question, once the source begins to answer.
    async fn answer_of(
        &self,
        follower: Follower,
        question: impl FnOnce() -> Question,
    ) -> Result<Follower, source::Error> {
        match follower.opened().await {
            Ok(_is_partial) => Ok(follower),
            // The crossing serves its first follower only, so this follower must ask by itself.
            Err(source::Error::BrokeOff(body::Error::Abandoned)) if follower.has_joined => {
                self.open(question(), None).await
            }
            Err(error) => Err(error),
        }
    }

    /// Delivers the answer of a source for one instance, or notes its failure.
    async fn settle(
        &mut self,
        progress: &mut Progress<'_>,
        uid: &SopInstanceUid,
        form: Representation,
        answer: Result<Follower, source::Error>,
    ) -> Result<Option<AnswerEnd>, Stop> {
        let error = match answer {
            Ok(follower) => return self.pass_on(follower, progress).await.map(Some),
            Err(error) => error,
        };
        let job = progress.job;
        let question = self.question(job, job.listing.instance(uid), form);
        self.retriever.heed(&question, Some(&error));
        if is_definite(&error) && !progress.was_lost(uid) {
            let absences = &self.retriever.absences;
            absences.remember(&job.source, &job.listing.series, uid, form);
        }
        if form != Representation::AsStored && error == source::Error::NotAcceptable {
            self.stand_in(progress, uid).await?;
            return Ok(None);
        }
        // The head of the response can still state that this one is missing.
        if self.opened.is_some() && progress.take_uid(uid) {
            self.missing += 1;
        }
        self.failed(error);
        Ok(None)
    }

    /// Delivers an instance if it is cached.
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
        if !self.is_of_patient(&instance.identity, progress) {
            return Ok(Ok(AnswerEnd::Complete));
        }
        progress.take_uid(uid);
        self.give_instance(instance, progress).await?;
        Ok(Ok(AnswerEnd::Complete))
    }
}
