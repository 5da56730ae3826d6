//! Instances in the transfer syntaxes that a client accepts (PS3.18 8.7.3).

use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use sha2::{Digest, Sha256};

use super::frames::{InstanceFrames, skimmed};
use super::{Context, Error, SelectedInstance};
use crate::body::{self, Body, End};
use crate::dicom::{Encoding, TransferSyntax, TransferSyntaxes};
use crate::instance::{Instance, Item, Making, StandIn, Way};
use crate::object::{self, DecodedPixels, Extent, LEAST_KEPT};
use crate::pixels::{Product, decodable, is_decodable};
use crate::retrieve::{Job, Plan, Retrieval};

/// Begins to fetch the instances of a plan in transfer syntaxes that a client accepts. Sources are
/// asked for the stored bytes; a source is asked to transcode only where the gateway cannot.
///
/// Instances at the front that cannot be converted are left out, as the retrieval says; each later
/// one has a stand-in.
///
/// # Errors
/// Why the first instance cannot be given, if none can: its fault still has a status.
pub async fn transcoded(
    context: Arc<Context>,
    plan: Plan,
    accepted: &TransferSyntaxes,
) -> Result<Retrieval, Error> {
    let retriever = context.retriever.clone();
    let transcoder = Transcoder {
        accepted: accepted.clone(),
        context,
        jobs: plan.jobs.clone(),
    };
    let mut retrieval = retriever.start(plan, requested(accepted)).await?;
    let first = transcoder.first(&mut retrieval).await?;
    let transcoder = Arc::new(transcoder.patient());
    let others = retrieval.instances.after(first);
    retrieval.instances = others.each(move |instance| -> Making {
        let transcoder = Arc::clone(&transcoder);
        Box::pin(async move { Ok(transcoder.transcode_or_stand_in(instance).await?) })
    });
    Ok(retrieval)
}

/// The transfer syntaxes that sources are asked for on behalf of a client that accepts these.
fn requested(accepted: &TransferSyntaxes) -> TransferSyntaxes {
    const REWRITTEN: [&str; 3] = [
        TransferSyntax::IMPLICIT_VR_LITTLE_ENDIAN,
        TransferSyntax::EXPLICIT_VR_BIG_ENDIAN,
        TransferSyntax::DEFLATED_EXPLICIT_VR_LITTLE_ENDIAN,
    ];
    let more = REWRITTEN.into_iter().chain(decodable()).map(str::to_owned);
    match accepted {
        TransferSyntaxes::OneOf(uids) if accepts_explicit(uids) => {
            TransferSyntaxes::OneOf(uids.iter().cloned().chain(more).collect())
        }
        TransferSyntaxes::Default => {
            let explicit = TransferSyntax::EXPLICIT_VR_LITTLE_ENDIAN.to_owned();
            let convertible = [explicit].into_iter().chain(more);
            let all = convertible.chain(TransferSyntax::lossy_and_videos());
            TransferSyntaxes::OneOf(all.collect())
        }
        TransferSyntaxes::AsStored | TransferSyntaxes::OneOf(_) => accepted.clone(),
    }
}

fn accepts_explicit(uids: &[String]) -> bool {
    uids.iter()
        .any(|uid| uid == TransferSyntax::EXPLICIT_VR_LITTLE_ENDIAN)
}

/// Transcodes the instances of one response.
struct Transcoder {
    accepted: TransferSyntaxes,
    context: Arc<Context>,
    jobs: Vec<Job>,
}

impl Transcoder {
    /// The same after the head of the response has left; see [`Context::patient`].
    fn patient(self) -> Self {
        Self {
            context: self.context.patient(),
            ..self
        }
    }

    /// The first instance that can be given.
    async fn first(&self, retrieval: &mut Retrieval) -> Result<Option<Instance>, Error> {
        let mut reason = None;
        while let Some(item) = retrieval.instances.next_item().await? {
            let instance = match item {
                Item::Instance(instance) => instance,
                Item::StandIn(absent) => {
                    retrieval.left_out.add(Some(&absent.target));
                    continue;
                }
            };
            let target = instance.identity.target();
            match self.transcode(*instance).await {
                Err(error) if is_passed_over(&error) => {
                    retrieval.left_out.add(Some(&target));
                    reason.get_or_insert(error);
                }
                transcoded => return transcoded.map(Some),
            }
        }
        reason.map_or(Ok(None), Err)
    }

    async fn transcode_or_stand_in(&self, instance: Instance) -> Result<Item, Error> {
        let target = instance.identity.target();
        match self.transcode(instance).await {
            Err(error) if is_passed_over(&error) => Ok(Item::StandIn(Box::new(StandIn {
                target,
                reason: error.to_string(),
            }))),
            transcoded => Ok(Item::Instance(Box::new(transcoded?))),
        }
    }

    async fn transcode(&self, instance: Instance) -> Result<Instance, Error> {
        let stored = &instance.identity.transfer_syntax;
        // PS3.18 8.7.3.3: these must not leave as they are stored, whatever a client accepts.
        let never_leaves = matches!(
            stored.encoding(),
            Encoding::ImplicitLittle | Encoding::ExplicitBig
        );
        if never_leaves || (!self.accepted.permit(stored) && object::is_rewritable(stored)) {
            let share = self.context.share(LEAST_KEPT).await?;
            let selected = self.selected(&instance).ok_or(Error::Internal)?;
            let body = object::explicit_little(instance.body, share);
            let body = noting_faults(body, selected);
            return Ok(rewritten(Instance { body, ..instance }));
        }
        if self.accepted.permit(stored) || !is_decodable(stored.as_str()) {
            return Ok(instance);
        }
        let selected = self.selected(&instance).ok_or(Error::Internal)?;
        let may_leave = self.accepted == TransferSyntaxes::Default && stored.is_lossy();
        match self.decompress(&selected, instance).await {
            Err(error) if may_leave && is_of_instance(&error) => {
                tracing::info!(%error, "an instance leaves as it is stored");
                selected.open().await
            }
            outcome => outcome,
        }
    }

    async fn decompress(
        &self,
        selected: &SelectedInstance,
        instance: Instance,
    ) -> Result<Instance, Error> {
        let converted = match &self.accepted {
            TransferSyntaxes::Default => {
                let explicit = TransferSyntax::EXPLICIT_VR_LITTLE_ENDIAN;
                TransferSyntaxes::OneOf(vec![explicit.to_owned()])
            }
            named @ (TransferSyntaxes::AsStored | TransferSyntaxes::OneOf(_)) => named.clone(),
        };
        // An instance that no tier keeps would be fetched again for each frame.
        if instance.way == Way::PassedOn && !selected.is_local() {
            return selected.fetch(converted).await;
        }
        match decoded(selected, instance).await {
            Err(error) if is_of_instance(&error) => {
                // The source may have a better decoder.
                tracing::info!(%error, "an instance cannot be decoded here");
                selected.fetch(converted).await
            }
            outcome => outcome,
        }
    }

    /// The same instance, to be opened once more.
    fn selected(&self, instance: &Instance) -> Option<SelectedInstance> {
        let identity = &instance.identity;
        let mut jobs = self.jobs.iter();
        let job = jobs.find(|job| job.listing.number(identity).is_some())?;
        Some(self.context.instance(job, identity.sop_instance.clone()))
    }
}

/// Whether the instance is at fault, or its source, which was asked to convert it.
fn is_of_instance(error: &Error) -> bool {
    error.is_of_instance() || matches!(error, Error::Retrieve(_))
}

fn is_passed_over(error: &Error) -> bool {
    if let Error::Retrieve(error) = error {
        tracing::warn!(%error, "an instance cannot be decoded, nor does its source convert it");
        return true;
    }
    error.is_passed_over()
}

/// Notes an instance whose fault shows after its part has begun.
fn noting_faults(body: Body, instance: SelectedInstance) -> Body {
    body.watched(
        |_bytes| {},
        move |_read, end| {
            if matches!(end, End::Failed(body::Error::Malformed(_))) {
                instance.note_unconvertible();
            }
        },
    )
}

/// The instance with its frames decoded. The first frame is decoded before any byte is given.
async fn decoded(selected: &SelectedInstance, instance: Instance) -> Result<Instance, Error> {
    let context = selected.context();
    let key = instance.layout_key();
    let opened = selected.open().await?;
    let mut skimmed = skimmed(selected, opened.body, Extent::ToPixelData).await?;
    if skimmed.pixel_data().is_none() {
        // Only the name of the transfer syntax is that of a compression.
        let body = object::explicit_little(instance.body, skimmed.into_share());
        return Ok(rewritten(Instance { body, ..instance }));
    }
    let frames = InstanceFrames::of_skimmed(selected, &mut skimmed, key).await?;
    drop(skimmed);
    // The small share is taken first: a task that waits for it holds no large one.
    let share = context.share(LEAST_KEPT).await?;
    let first = frames.samples(1).await?;
    let decoded = DecodedPixels::new(frames.geometry(), frames.count(), first.is_rgb)?;
    if first.bytes.len() != decoded.frame {
        return Err(object::Error::Pixels("a frame has another length than it says").into());
    }
    let frame = samples_of(frames.patient(), first);
    let body = object::decoded(instance.body, share, decoded, frame);
    let body = noting_faults(body, selected.clone());
    Ok(rewritten(Instance { body, ..instance }))
}

/// Gives the samples of each frame. Those of the first frame are held until they are given.
fn samples_of(
    frames: InstanceFrames,
    first: Product,
) -> impl Fn(u32) -> Samples + Send + Sync + 'static {
    let frames = Arc::new((frames, Mutex::new(Some(first.bytes))));
    move |number| {
        let frames = Arc::clone(&frames);
        let samples: Samples = Box::pin(async move {
            let (frames, first) = &*frames;
            let first = first.lock().unwrap_or_else(PoisonError::into_inner).take();
            if let Some(first) = first.filter(|_| number == 1) {
                return Ok(first);
            }
            Ok(frames.samples(number).await?.bytes)
        });
        samples
    }
}

type Samples = Pin<Box<dyn Future<Output = Result<Bytes, body::Error>> + Send>>;

/// The same instance in Explicit VR Little Endian.
fn rewritten(instance: Instance) -> Instance {
    // Its bytes follow from the stored bytes and the transfer syntax.
    let stamp = instance.digest().map(|digest| {
        let syntax = TransferSyntax::EXPLICIT_VR_LITTLE_ENDIAN;
        Sha256::digest([&digest, syntax.as_bytes()].concat()).into()
    });
    let mut identity = instance.identity;
    identity.transfer_syntax = TransferSyntax::explicit_vr_little_endian();
    Instance {
        identity,
        blake3: None,
        stamp,
        flight: None,
        ..instance
    }
}
