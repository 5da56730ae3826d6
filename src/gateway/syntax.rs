//! In which transfer syntaxes instances leave (PS3.18 8.7.3).

use std::sync::{Arc, Mutex, PoisonError};

use sha2::{Digest, Sha256};

use super::material::{Context, One};
use super::one::{OneFrame, broken_off, frames_in, skimmed};
use super::{Asking, Error, Gateway};
use crate::dicom::{Encoding, TransferSyntax, TransferSyntaxes};
use crate::instance::{Instance, Making, Way};
use crate::object::{self, DecodedPixels, Extent, LEAST_KEPT};
use crate::pixels::{self, Output, decodable, is_decodable};
use crate::retrieve::{Job, Plan, Retrieval};

impl Gateway {
    /// Begins to fetch what a client gets in a transfer syntax that it accepts. Sources are asked for
    /// what they have; what cannot be made here is asked of them.
    pub(super) async fn fetch(
        &self,
        plan: Plan,
        accepted: &TransferSyntaxes,
        asking: &Asking,
    ) -> Result<Retrieval, Error> {
        let rewriting = Rewriting {
            accepted: accepted.clone(),
            context: self.context(asking),
            jobs: plan.jobs.clone(),
        };
        let mut retrieval = self.retriever.start(plan, fetched(accepted)).await?;
        // What is wrong with the first one can still be told at the head of the answer.
        let first = match retrieval.instances.next().await? {
            Some(first) => Some(rewriting.make(first).await?),
            None => None,
        };
        let rewriting = Arc::new(rewriting.patient());
        let others = retrieval.instances.after(first);
        retrieval.instances = others.each(move |instance| -> Making {
            let rewriting = Arc::clone(&rewriting);
            Box::pin(async move { rewriting.make(instance).await.map_err(broken_off) })
        });
        Ok(retrieval)
    }
}

/// What is asked of sources for a client that accepts these.
fn fetched(accepted: &TransferSyntaxes) -> TransferSyntaxes {
    const REWRITTEN: [&str; 3] = [
        TransferSyntax::IMPLICIT_VR_LITTLE_ENDIAN,
        TransferSyntax::EXPLICIT_VR_BIG_ENDIAN,
        TransferSyntax::DEFLATED_EXPLICIT_VR_LITTLE_ENDIAN,
    ];
    match accepted {
        TransferSyntaxes::OneOf(uids) if accepts_explicit(uids) => {
            let more = REWRITTEN.into_iter().chain(decodable());
            let more = more.map(str::to_owned);
            TransferSyntaxes::OneOf(uids.iter().cloned().chain(more).collect())
        }
        TransferSyntaxes::AsStored | TransferSyntaxes::OneOf(_) => accepted.clone(),
    }
}

fn accepts_explicit(uids: &[String]) -> bool {
    uids.iter()
        .any(|uid| uid == TransferSyntax::EXPLICIT_VR_LITTLE_ENDIAN)
}

/// What is made of instances for one client.
struct Rewriting {
    accepted: TransferSyntaxes,
    context: Arc<Context>,
    jobs: Vec<Job>,
}

impl Rewriting {
    /// The same, for an answer that has begun.
    fn patient(self) -> Self {
        Self {
            context: self.context.patient(),
            ..self
        }
    }

    async fn make(&self, instance: Instance) -> Result<Instance, Error> {
        let stored = &instance.identity.transfer_syntax;
        // PS3.18 8.7.3.3: these must not leave as they are stored, whatever a client accepts.
        let never_leaves = matches!(
            stored.encoding(),
            Encoding::ImplicitLittle | Encoding::ExplicitBig
        );
        if never_leaves || (!self.accepted.permit(stored) && object::is_rewritable(stored)) {
            let share = self.context.account.share(LEAST_KEPT).await?;
            let body = object::explicit_little(instance.body, share);
            return Ok(rewritten(Instance { body, ..instance }));
        }
        if self.accepted.permit(stored) || !is_decodable(stored.as_str()) {
            return Ok(instance);
        }
        let one = self.one(&instance).ok_or(Error::Internal)?;
        // Whoever may keep nothing of it would have to fetch it again for each frame.
        if instance.way == Way::PassedOn && !one.is_here() {
            return one.fetch(self.accepted.clone()).await;
        }
        match self.decoded(&one, instance).await {
            Ok(decoded) => Ok(decoded),
            Err(
                error @ (Error::BrokeOff(_)
                | Error::Memory(_)
                | Error::Instance(object::Error::Memory(_))
                | Error::Pixels(pixels::Error::Busy)),
            ) => Err(error),
            // Its source may know better.
            Err(error) => {
                tracing::info!(%error, "an instance cannot be decoded here");
                one.fetch(self.accepted.clone()).await
            }
        }
    }

    /// The instance, as it may be opened once more.
    fn one(&self, instance: &Instance) -> Option<One> {
        let identity = &instance.identity;
        let mut jobs = self.jobs.iter();
        let job = jobs.find(|job| job.listing.number(identity).is_some())?;
        Some(self.context.one(job, identity.sop_instance.clone()))
    }

    /// The instance with its frames decoded. The first one is decoded before anything is given.
    async fn decoded(&self, one: &One, instance: Instance) -> Result<Instance, Error> {
        let digest = instance.digest();
        let mut skimmed = skimmed(one, one.open().await?.body, Extent::ToPixelData).await?;
        if skimmed.pixel_data().is_none() {
            // Compressed in name only.
            let body = object::explicit_little(instance.body, skimmed.into_share());
            return Ok(rewritten(Instance { body, ..instance }));
        }
        let kept = frames_in(one, &mut skimmed, digest).await?;
        drop(skimmed);
        let stored = instance.identity.transfer_syntax.clone();
        let frames = OneFrame::new(one.clone(), stored, kept);
        // Before that of a frame: what is small is waited for with nothing large in hand.
        let share = self.context.account.share(LEAST_KEPT).await?;
        let first = frames.made(1, Output::Samples).await?;
        let decoded = DecodedPixels::new(frames.geometry(), first.is_rgb)?;
        if first.bytes.len() != decoded.frame {
            return Err(object::Error::Pixels("a frame has another length than it says").into());
        }
        let frames = Arc::new((frames.patient(), Mutex::new(Some(first.bytes))));
        let frame = move |number| {
            let frames = Arc::clone(&frames);
            async move {
                let (frames, first) = &*frames;
                // It is not held longer than until it is given.
                let first = first.lock().unwrap_or_else(PoisonError::into_inner).take();
                if let Some(first) = first.filter(|_| number == 1) {
                    return Ok(first);
                }
                let made = frames.made(number, Output::Samples).await;
                made.map(|made| made.bytes).map_err(broken_off)
            }
        };
        let body = object::decoded(instance.body, share, decoded, frame);
        Ok(rewritten(Instance { body, ..instance }))
    }
}

/// The same instance in other bytes.
fn rewritten(instance: Instance) -> Instance {
    // They are told from others by what they were made of.
    let stamp = instance.digest().map(|digest| {
        let syntax = TransferSyntax::EXPLICIT_VR_LITTLE_ENDIAN;
        Sha256::digest([&digest, syntax.as_bytes()].concat()).into()
    });
    let mut identity = instance.identity;
    identity.transfer_syntax = TransferSyntax::explicit_vr_little_endian();
    Instance {
        identity,
        sha256: None,
        stamp,
        ..instance
    }
}
