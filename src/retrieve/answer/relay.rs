//! The relay (RAD-160): all instances of a target that one source holds, without a manifest to list
//! them.
//!
//! The relay is complete when the source has ended its answer properly. Instances in a transfer
//! syntax that the client does not accept are requested again at the end, one by one, in Explicit
//! VR Little Endian.

use std::collections::HashSet;
use std::sync::Arc;

use tokio::sync::oneshot;

use super::delivery::{Delivery, Stop};
use crate::body;
use crate::cache::Key;
use crate::dicom::part10::Identity;
use crate::dicom::{TransferSyntax, TransferSyntaxes};
use crate::digest::Digest;
use crate::instance::Instance;
use crate::resource::Target;
use crate::retrieve::crossing::{ArrivedInstance, Follower, MOST_INSTANCES, Question, TOO_MANY};
use crate::retrieve::kept::{CacheLookup, Knowledge};
use crate::retrieve::tally::Tally;
use crate::retrieve::{RelayRequest, Retriever};
use crate::source::{self, Claim, Representation};

/// Failed decodings in a row before the source is assumed to decode nothing.
const TRIES: usize = 4;

/// The start of a relay: whether it is known to be partial, or why there is no instance.
pub(crate) type FirstOutcome = Result<bool, source::Error>;

/// Relays the instances of one source.
pub(crate) struct Relay {
    request: RelayRequest,
    accepted: TransferSyntaxes,
    retriever: Retriever,
    delivery: Delivery,
    tally: Tally,
    opened: Option<oneshot::Sender<FirstOutcome>>,
    /// Whether instances are known to be missing.
    is_partial: bool,
    /// Instances that the client accepts only in another transfer syntax.
    to_decode: Vec<Target>,
    /// The digest of each instance that has arrived, with its representation: [`MOST_INSTANCES`] of
    /// 16 bytes.
    known: HashSet<Digest>,
    given: usize,
    /// Instances of another patient that were refused.
    refused: usize,
    /// Those of them that the head of the response could not report.
    withheld: usize,
}

/// Why a relay stops early.
enum Halt {
    ClientLeft,
    Failed(source::Error),
}

impl Relay {
    pub(crate) fn new(
        request: RelayRequest,
        accepted: TransferSyntaxes,
        retriever: &Retriever,
        delivery: Delivery,
    ) -> Self {
        Self {
            tally: Tally::of(&request.source, &retriever.metrics),
            request,
            accepted,
            retriever: retriever.clone(),
            delivery,
            opened: None,
            is_partial: false,
            to_decode: Vec::new(),
            known: HashSet::new(),
            given: 0,
            refused: 0,
            withheld: 0,
        }
    }

    /// Relays all instances, and reports the start once through `opened`.
    pub(crate) async fn run(mut self, opened: oneshot::Sender<FirstOutcome>) {
        self.opened = Some(opened);
        self.work().await;
    }

    async fn work(&mut self) {
        let outcome = self.everything().await;
        let failed = match outcome {
            Err(Halt::ClientLeft) => return,
            Err(Halt::Failed(error)) => Some(error),
            Ok(()) if self.opened.is_some() && self.refused > 0 => {
                Some(source::Error::OtherPatient)
            }
            Ok(()) if self.withheld > 0 => Some(source::Error::OtherPatient),
            Ok(()) => None,
        };
        // A client that has disconnected needs no report.
        let _ = match (self.opened.take(), failed) {
            (Some(opened), error) => {
                let error = error.unwrap_or(source::Error::NotFound);
                opened.send(Err(error)).map_err(|_left| ())
            }
            (None, None) => self.delivery.give(Ok(None)).await.map_err(|_left| ()),
            (None, Some(error)) => {
                let broken = self.delivery.give(Err(error.late(body::Error::Missing(1))));
                broken.await.map_err(|_left| ())
            }
        };
    }

    async fn everything(&mut self) -> Result<(), Halt> {
        let target = self.request.target.clone();
        self.all_of(&target, Representation::AsStored).await?;
        self.decode().await
    }

    /// Relays the instances of a target in this representation.
    async fn all_of(&mut self, target: &Target, form: Representation) -> Result<(), Halt> {
        let mut question = self.question(target, form);
        match self.look(&question, Knowledge::Nothing).await {
            CacheLookup::Here(instance) => return self.give_kept(*instance).await,
            CacheLookup::NotAccepted => return self.ask_decoded(target.clone()),
            CacheLookup::Stale(tags) => question.had = Some(tags),
            CacheLookup::Nowhere => {}
        }
        let mut following = self.retriever.follow(&question, self.claim()).await;
        if let Err(source::Error::NotModified) = &following {
            match self.look(&question, Knowledge::Confirmed).await {
                CacheLookup::Here(instance) => return self.give_kept(*instance).await,
                CacheLookup::NotAccepted => return self.ask_decoded(target.clone()),
                // The instance was evicted in the meantime.
                CacheLookup::Stale(_) | CacheLookup::Nowhere => {
                    question.had = None;
                    following = self.retriever.follow(&question, self.claim()).await;
                }
            }
        }
        self.retriever.heed(&question, following.as_ref().err());
        let (follower, is_partial) = following.map_err(Halt::Failed)?;
        self.is_partial |= is_partial;
        question.had = None;
        self.follow_through(follower, question).await
    }

    /// Looks up the requested instance, if the question is for one.
    async fn look(&self, question: &Question, knowledge: Knowledge) -> CacheLookup {
        match question.key() {
            Some(key) => {
                let (retriever, accepted) = (&self.retriever, &self.accepted);
                retriever.kept(&key, accepted, question, knowledge).await
            }
            None => CacheLookup::Nowhere,
        }
    }

    /// Relays the arriving instances. If the source breaks off, the rest is requested again, as
    /// long as each try makes progress: the source may break off at the same place each time.
    async fn follow_through(
        &mut self,
        mut follower: Follower,
        mut question: Question,
    ) -> Result<(), Halt> {
        let form = question.representation;
        let mut backoff = self.retriever.backoff();
        loop {
            let given = self.given;
            let Err(halt) = self.pass_on(&mut follower, form).await else {
                return Ok(());
            };
            let Halt::Failed(mut error) = halt else {
                return Err(halt);
            };
            if self.is_full() {
                return Err(Halt::Failed(error));
            }
            if self.given > given {
                backoff = self.retriever.backoff();
            }
            // A relay that has not begun can still fail with an error status.
            follower = loop {
                if self.opened.is_some() || !backoff.pause(&error).await {
                    return Err(Halt::Failed(error));
                }
                question.is_repair = true;
                match self.retriever.follow(&question, self.claim()).await {
                    Ok((follower, _is_partial)) => break follower,
                    Err(again) => error = again,
                }
            };
        }
    }

    async fn pass_on(&mut self, follower: &mut Follower, form: Representation) -> Result<(), Halt> {
        while let Some(arrived) = follower.next().await? {
            let target = arrived.identity.target();
            let known = digest(&target, form);
            if self.known.contains(&known) {
                follower.pass_over(&arrived);
                continue;
            }
            if self.is_full() {
                return Err(TOO_MANY.into());
            }
            if !self.is_of_patient(&arrived.identity) {
                follower.pass_over(&arrived);
            } else if self.accepted.permit(&arrived.identity.transfer_syntax) {
                self.arrived(&arrived, follower, form).await?;
            } else {
                follower.pass_over(&arrived);
                self.ask_decoded(target)?;
            }
            self.known.insert(known);
        }
        if follower.is_contested() {
            return Err(body::Error::Conflicting.into());
        }
        Ok(())
    }

    /// Whether the source has sent the maximum number of instances.
    fn is_full(&self) -> bool {
        self.known.len() >= MOST_INSTANCES
    }

    async fn arrived(
        &mut self,
        arrived: &ArrivedInstance,
        follower: &Follower,
        form: Representation,
    ) -> Result<(), Halt> {
        let question = follower.question();
        let mend = |flight| self.retriever.mended(&flight, question);
        if let Some(body) = arrived.flight().and_then(mend) {
            return self.give(follower.instance(arrived, body)).await;
        }
        let key = Key::of(&self.request.source, &arrived.identity, form);
        let nothing = Knowledge::Nothing;
        let kept = self.retriever.kept(&key, &self.accepted, question, nothing);
        match kept.await {
            CacheLookup::Here(instance) => self.give(*instance).await,
            // The instance arrived, but was dropped before this relay could read it.
            CacheLookup::NotAccepted | CacheLookup::Stale(_) | CacheLookup::Nowhere => {
                Box::pin(self.all_of(&arrived.identity.target(), form)).await
            }
        }
    }

    fn ask_decoded(&mut self, target: Target) -> Result<(), Halt> {
        if self.to_decode.len() >= MOST_INSTANCES {
            return Err(TOO_MANY.into());
        }
        self.to_decode.push(target);
        Ok(())
    }

    async fn decode(&mut self) -> Result<(), Halt> {
        let to_decode = std::mem::take(&mut self.to_decode);
        let explicit = TransferSyntax::explicit_vr_little_endian();
        if !to_decode.is_empty() && !self.accepted.permit(&explicit) {
            return Err(Halt::Failed(source::Error::NotAcceptable));
        }
        let mut last = None;
        let mut in_vain = 0;
        for target in &to_decode {
            match self.decoded(target).await {
                Ok(()) => in_vain = 0,
                // The head of the response can still report it missing.
                Err(Halt::Failed(error)) if self.opened.is_some() && in_vain < TRIES => {
                    self.is_partial = true;
                    in_vain += 1;
                    last = Some(error);
                }
                Err(halt) => return Err(halt),
            }
        }
        match (last, &self.opened) {
            (Some(error), Some(_)) => Err(Halt::Failed(error)),
            (Some(_) | None, _) => Ok(()),
        }
    }

    async fn decoded(&mut self, target: &Target) -> Result<(), Halt> {
        let before = self.given + self.refused;
        self.all_of(target, Representation::ExplicitVrLittleEndian)
            .await?;
        if self.given + self.refused > before {
            Ok(())
        } else {
            // The source sent nothing, or again a transfer syntax that the client does not accept.
            self.to_decode.clear();
            Err(Halt::Failed(source::Error::NotAcceptable))
        }
    }

    /// Delivers an instance that was looked up by its name.
    async fn give_kept(&mut self, instance: Instance) -> Result<(), Halt> {
        if !self.is_of_patient(&instance.identity) {
            return Ok(());
        }
        self.give(instance).await
    }

    async fn give(&mut self, instance: Instance) -> Result<(), Halt> {
        if let Some(opened) = self.opened.take() {
            opened
                .send(Ok(self.is_partial))
                .map_err(|_client_left| Halt::ClientLeft)?;
        }
        self.given += 1;
        self.retriever.count_lookup(&instance);
        Ok(self.delivery.instance(instance, &self.tally).await?)
    }

    /// Whether an instance is of the patient for whom its study is registered.
    fn is_of_patient(&mut self, identity: &Identity) -> bool {
        let (source, patient) = (&self.request.source, self.request.patient.as_ref());
        if self.retriever.admits(source, patient, identity) {
            return true;
        }
        self.refused += 1;
        match self.opened {
            Some(_) => self.is_partial = true,
            None => self.withheld += 1,
        }
        false
    }

    fn claim(&self) -> Claim {
        match self.opened {
            Some(_) => Claim::New,
            None => Claim::Begun,
        }
    }

    fn question(&self, target: &Target, form: Representation) -> Question {
        Question {
            source: Arc::clone(&self.request.source),
            target: target.clone(),
            representation: form,
            listing: None,
            hop: Arc::clone(&self.request.hop),
            had: None,
            is_repair: false,
        }
    }
}

fn digest(target: &Target, form: Representation) -> Digest {
    let form = match form {
        Representation::AsStored => "stored",
        Representation::ExplicitVrLittleEndian => "explicit",
    };
    Digest::of(format!("{} {form}", target.path()).as_bytes())
}

impl From<Stop> for Halt {
    fn from(stop: Stop) -> Self {
        match stop {
            Stop::ClientLeft => Self::ClientLeft,
            Stop::Broken(error) => Self::from(error),
        }
    }
}

impl From<body::Error> for Halt {
    fn from(error: body::Error) -> Self {
        Self::Failed(source::Error::BrokeOff(error))
    }
}
