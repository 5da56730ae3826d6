//! A series as a whole: which instances the source is asked for, and the steps after its answer.

use super::{AnswerEnd, Worker, is_absence, is_definite};
use crate::dicom::SopInstanceUid;
use crate::retrieve::Job;
use crate::retrieve::answer::delivery::Stop;
use crate::retrieve::answer::progress::Progress;
use crate::retrieve::crossing::Follower;
use crate::retrieve::kept::{Knowledge, key};
use crate::retrieve::learned::SourceTrait;
use crate::source::Representation;

/// Missing instances are requested one by one if they are at most one in this many of the series.
const FEW: usize = 8;

impl Worker {
    /// Delivers a series: from the tiers, from one answer of its source, or instance by instance.
    pub(super) async fn series(&mut self, progress: &mut Progress<'_>) -> Result<(), Stop> {
        let mut wanting = self.revalidated(progress).await?;
        let job = progress.job;
        let target = job.listing.target();
        let question = self.question(job, target, Representation::AsStored);
        let mut turn = Ok(None);
        if !self.are_better_asked_for_singly(wanting, job) {
            turn = self.retriever.turn(&question, self.claim()).await;
            // Other answers may have fetched them in the meantime.
            wanting = wanting.min(self.wanting(progress));
        }
        if self.are_better_asked_for_singly(wanting, job) {
            drop(turn);
            self.give_kept(progress).await?;
            return self.each(progress).await;
        }
        let answer = match turn {
            Ok(seat) => self.open(question.clone(), seat).await,
            Err(error) => Err(error),
        };
        // Cached instances are delivered after those that arrive, because the seat is already
        // taken.
        match answer {
            Ok(follower) => self.follow_series(follower, progress).await,
            // The crossing has just learned this from the source.
            Err(_) if self.gives_instances_only(job) => {
                self.give_kept(progress).await?;
                self.each(progress).await
            }
            Err(error) if is_absence(&error) => {
                self.failed(error);
                self.unknown_series(progress).await
            }
            Err(error) => {
                if is_definite(&error) && wanting == job.listing.instances.len() {
                    let absences = &self.retriever.absences;
                    absences.remember_series(&job.source, &job.listing.series);
                }
                self.failed(error);
                self.without_source(progress).await
            }
        }
    }

    /// Delivers what a source has of a series that it does not know: some servers find instances
    /// only, so nothing is absent before it was asked for by itself.
    async fn unknown_series(&mut self, progress: &mut Progress<'_>) -> Result<(), Stop> {
        self.give_kept(progress).await?;
        let job = progress.job;
        let searched = progress.left;
        let given = progress.given;
        self.each(progress).await?;
        // Of a long series only some of the absences are remembered one by one.
        let is_absent = self.last_error.as_ref().is_some_and(is_absence);
        if is_absent && progress.given == given && searched == job.listing.instances.len() {
            let absences = &self.retriever.absences;
            absences.remember_series(&job.source, &job.listing.series);
        }
        Ok(())
    }

    /// Delivers the answer of the source, then the instances that it lacked.
    async fn follow_series(
        &mut self,
        follower: Follower,
        progress: &mut Progress<'_>,
    ) -> Result<(), Stop> {
        match self.pass_on(follower, progress).await? {
            AnswerEnd::Complete | AnswerEnd::Aborted if progress.left == 0 => Ok(()),
            AnswerEnd::Complete | AnswerEnd::Aborted if self.is_hopeless() => {
                self.without_source(progress).await
            }
            AnswerEnd::Complete => self.each(progress).await,
            AnswerEnd::Aborted => self.rest(progress).await,
            AnswerEnd::NotAccepted => {
                self.give_kept(progress).await?;
                self.decoded(progress).await
            }
        }
    }

    pub(super) fn are_better_asked_for_singly(&self, wanting: usize, job: &Job) -> bool {
        wanting * FEW <= job.listing.instances.len() || self.gives_instances_only(job)
    }

    /// Delivers the cached instances if the source sends nothing. The head of the response can
    /// report the others missing if nothing was delivered before.
    pub(super) async fn without_source(&mut self, progress: &mut Progress<'_>) -> Result<(), Stop> {
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

    /// Fetches the instances that had not arrived when the source broke off, one by one: it may
    /// break off at the same place of the series each time.
    pub(super) async fn rest(&mut self, progress: &mut Progress<'_>) -> Result<(), Stop> {
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

    /// Revalidates the first stale instance and returns how many awaited ones must be fetched. If
    /// the source cannot revalidate it, all stale instances count.
    pub(super) async fn revalidated(&mut self, progress: &mut Progress<'_>) -> Result<usize, Stop> {
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
        let traits = &self.retriever.traits;
        let can_tell = !traits.has(&job.source, SourceTrait::NoRevalidation);
        let is_told = if can_tell { stale.len() - 1 } else { 0 };
        Ok(self.wanting(progress).saturating_sub(is_told))
    }

    pub(super) fn gives_instances_only(&self, job: &Job) -> bool {
        let traits = &self.retriever.traits;
        traits.has(&job.source, SourceTrait::InstancesOnly)
    }

    /// The number of awaited instances that are not cached.
    pub(super) fn wanting(&self, progress: &Progress<'_>) -> usize {
        let job = progress.job;
        let is_kept = |uid: &&SopInstanceUid| {
            let key = key(&job.source, &job.listing, uid, Representation::AsStored);
            self.retriever.holds(&job.source, &key)
        };
        let awaited = progress.awaited();
        awaited.len() - awaited.iter().filter(is_kept).count()
    }

    /// Delivers the awaited instances that are cached.
    pub(super) async fn give_kept(&mut self, progress: &mut Progress<'_>) -> Result<(), Stop> {
        for uid in progress.awaited() {
            let form = Representation::AsStored;
            let given = self.give_one_kept(progress, &uid, form, Knowledge::Nothing);
            // An instance that is not cached stays on the list.
            drop(given.await?);
        }
        Ok(())
    }

    /// Requests every instance that has not arrived as stored, then the instances that the client
    /// does not accept in that form.
    pub(super) async fn each(&mut self, progress: &mut Progress<'_>) -> Result<(), Stop> {
        match self.one_by_one(progress, Representation::AsStored).await? {
            AnswerEnd::NotAccepted => self.decoded(progress).await,
            AnswerEnd::Complete | AnswerEnd::Aborted => Ok(()),
        }
    }

    /// Requests every instance that has not arrived, in Explicit VR Little Endian.
    pub(super) async fn decoded(&mut self, progress: &mut Progress<'_>) -> Result<(), Stop> {
        if !self.accepts_conversion() {
            for uid in progress.awaited() {
                self.stand_in(progress, &uid).await?;
            }
            return Ok(());
        }
        let form = Representation::ExplicitVrLittleEndian;
        self.one_by_one(progress, form).await.map(drop)
    }
}
