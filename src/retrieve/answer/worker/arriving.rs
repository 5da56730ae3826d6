//! Delivery of arriving instances to the reader.

use super::{AnswerEnd, FirstOutcome, Worker};
use crate::body;
use crate::dicom::SopInstanceUid;
use crate::dicom::part10::Identity;
use crate::instance::{Instance, StandIn};
use crate::retrieve::answer::delivery::Stop;
use crate::retrieve::answer::progress::Progress;
use crate::retrieve::crossing::{ArrivedInstance, Follower, Question};
use crate::retrieve::kept::Knowledge;
use crate::source::{self, Seat};

impl Worker {
    pub(super) async fn open(
        &self,
        question: Question,
        seat: Option<Seat>,
    ) -> Result<Follower, source::Error> {
        let claim = self.claim();
        let following = self.retriever.follow_from(&question, claim, seat);
        let (follower, _is_partial) = following.await?;
        Ok(follower)
    }

    /// Delivers the awaited instances that arrive, until the source ends its answer or sends an
    /// instance in a transfer syntax that the client does not accept.
    pub(super) async fn pass_on(
        &mut self,
        mut follower: Follower,
        progress: &mut Progress<'_>,
    ) -> Result<AnswerEnd, Stop> {
        let passed = self.pass_through(&mut follower, progress).await?;
        if progress.left == 0 {
            follower.settle().await;
        }
        self.is_contested |= follower.is_contested();
        Ok(passed)
    }

    pub(super) async fn pass_through(
        &mut self,
        follower: &mut Follower,
        progress: &mut Progress<'_>,
    ) -> Result<AnswerEnd, Stop> {
        loop {
            if progress.left == 0 {
                return Ok(AnswerEnd::Complete);
            }
            let arrived = match follower.next().await {
                Ok(Some(arrived)) => arrived,
                Ok(None) => return Ok(AnswerEnd::Complete),
                Err(error) => return Ok(self.broke_off(error, progress)),
            };
            if !progress.awaits(&arrived.identity) {
                follower.pass_over(&arrived);
                continue;
            }
            if !self.accepted.permit(&arrived.identity.transfer_syntax) {
                if self.accepts_conversion() {
                    return Ok(AnswerEnd::NotAccepted);
                }
                follower.pass_over(&arrived);
                let uid = &arrived.identity.sop_instance;
                self.stand_in(progress, uid).await?;
                continue;
            }
            self.give_arrived(&arrived, follower, progress).await?;
        }
    }

    /// Delivers an instance that has arrived, unless it has been dropped; then it stays on the
    /// list.
    pub(super) async fn give_arrived(
        &mut self,
        arrived: &ArrivedInstance,
        follower: &Follower,
        progress: &mut Progress<'_>,
    ) -> Result<(), Stop> {
        let uid = &arrived.identity.sop_instance;
        if !self.is_of_patient(&arrived.identity, progress) {
            follower.pass_over(arrived);
            return Ok(());
        }
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

    /// Whether an instance is of the patient of its manifest; if not, and if it is to be refused, it
    /// is missing.
    pub(super) fn is_of_patient(
        &mut self,
        identity: &Identity,
        progress: &mut Progress<'_>,
    ) -> bool {
        let (source, patient) = (&progress.job.source, progress.job.patient.as_ref());
        if self.retriever.admits(source, patient, identity) {
            return true;
        }
        if progress.take_uid(&identity.sop_instance) {
            progress.refused += 1;
            match self.opened {
                Some(_) => self.missing += 1,
                None => progress.withheld += 1,
            }
        }
        self.failed(source::Error::OtherPatient);
        false
    }

    /// Takes an instance off the list whose transfer syntax the client does not accept, and which
    /// its source does not convert: the head of the response states it, or a stand-in takes its
    /// place.
    pub(super) async fn stand_in(
        &mut self,
        progress: &mut Progress<'_>,
        uid: &SopInstanceUid,
    ) -> Result<(), Stop> {
        let error = source::Error::NotAcceptable;
        let stand_in = StandIn {
            target: progress.job.listing.instance(uid),
            reason: error.to_string(),
        };
        self.failed(error);
        if !progress.take_uid(uid) {
            return Ok(());
        }
        if self.opened.is_some() {
            self.missing += 1;
            return Ok(());
        }
        let location = &*progress.job.source.alias;
        let reason = &*stand_in.reason;
        tracing::warn!(
            location,
            reason,
            "a stand-in takes the place of an instance"
        );
        progress.given += 1;
        self.delivery.stand_in(stand_in).await
    }

    pub(super) fn broke_off(&mut self, error: body::Error, progress: &Progress<'_>) -> AnswerEnd {
        tracing::warn!(location = %progress.job.source.alias, %error, "a source broke off");
        self.failed(source::Error::BrokeOff(error));
        AnswerEnd::Aborted
    }

    pub(super) async fn give_instance(
        &mut self,
        instance: Instance,
        progress: &mut Progress<'_>,
    ) -> Result<(), Stop> {
        progress.given += 1;
        self.silences = 0;
        self.retriever.count_lookup(&instance);
        if let Some(opened) = self.opened.take() {
            let begun = FirstOutcome::Instance {
                missing: std::mem::take(&mut self.missing),
            };
            opened
                .send(begun)
                .map_err(|_client_left| Stop::ClientLeft)?;
        }
        self.delivery.instance(instance, &progress.tally).await
    }
}
