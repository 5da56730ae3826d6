//! One instance that may be opened as often as it is needed, and its frames.

use std::sync::Arc;

use bytes::BytesMut;

use super::Error;
use crate::body::{self, Body};
use crate::cache::Frames as KeptFrames;
use crate::dicom::{TransferSyntax, TransferSyntaxes};
use crate::hop::Hop;
use crate::instance::Instance;
use crate::object::{self, Extent, Layout, Skimmed, layout, plain, skim};
use crate::pixels::{Geometry, MOST_BYTES, Made, Pool, Task, Wanted, is_decodable};
use crate::retrieve::{Job, Plan, Retriever};

/// One instance that can be opened as often as it is needed.
#[derive(Debug, Clone)]
pub(super) struct One {
    retriever: Retriever,
    job: Job,
    hop: Arc<Hop>,
}

impl One {
    pub(super) fn new(retriever: Retriever, job: Job, hop: Arc<Hop>) -> Self {
        Self {
            retriever,
            job,
            hop,
        }
    }

    /// Whether it is a file on this machine.
    pub(super) fn is_here(&self) -> bool {
        self.job.source.instances().is_some()
    }

    pub(super) async fn open(&self) -> Result<Instance, Error> {
        let (listing, only) = (&self.job.listing, &self.job.only);
        if let Some(uid) = only
            && let Some(instance) = self.job.source.at_hand(&listing.instance(uid)).await
        {
            return Ok(instance);
        }
        self.fetch(TransferSyntaxes::AsStored).await
    }

    /// The instance as its source gives it in one of these transfer syntaxes.
    pub(super) async fn fetch(&self, accepted: TransferSyntaxes) -> Result<Instance, Error> {
        let mut plan = Plan::new(Arc::clone(&self.hop));
        plan.jobs.push(self.job.clone());
        let mut retrieval = self.retriever.start(plan, accepted).await?;
        let first = retrieval.instances.next().await?;
        Ok(first.ok_or(body::Error::Missing(1))?)
    }
}

/// An instance, and where its frames are.
pub(super) async fn frames_of(one: &One) -> Result<(Instance, Arc<KeptFrames>), Error> {
    let derived = one.retriever.cache().derived();
    let instance = one.open().await?;
    let digest = instance.digest();
    if let Some(kept) = digest.and_then(|digest| derived.frames(&digest)) {
        return Ok((instance, kept));
    }
    let skimmed = skim(instance.body, Extent::ToPixelData, false).await?;
    let kept = frames_in(one, &skimmed, digest).await?;
    Ok((one.open().await?, kept))
}

/// Where the frames of an instance are that has been skimmed; they are kept by its digest.
pub(super) async fn frames_in(
    one: &One,
    skimmed: &Skimmed,
    digest: Option<[u8; 32]>,
) -> Result<Arc<KeptFrames>, Error> {
    let derived = one.retriever.cache().derived();
    if let Some(kept) = digest.and_then(|digest| derived.frames(&digest)) {
        return Ok(kept);
    }
    if skimmed.pixel_data().is_none() {
        return Err(object::Error::NoPixelData.into());
    }
    let geometry = object::geometry(skimmed)?;
    let again = one.open().await?;
    let layout = skimmed.layout(&geometry, again.body).await?;
    let kept = Arc::new(KeptFrames { geometry, layout });
    if let Some(digest) = digest {
        derived.keep_frames(digest, Arc::clone(&kept));
    }
    Ok(kept)
}

/// The frames of one instance.
pub(super) struct OneFrame {
    one: One,
    stored: TransferSyntax,
    kept: Arc<KeptFrames>,
}

impl OneFrame {
    pub(super) fn new(one: One, stored: TransferSyntax, kept: Arc<KeptFrames>) -> Self {
        Self { one, stored, kept }
    }

    pub(super) fn is_compressed(&self) -> bool {
        matches!(self.kept.layout, Layout::Encapsulated(_))
    }

    /// What they are in when they are given as they are stored.
    pub(super) fn syntax(&self) -> TransferSyntax {
        if self.is_compressed() {
            self.stored.clone()
        } else {
            TransferSyntax::explicit_vr_little_endian()
        }
    }

    /// What the frames are.
    pub(super) fn geometry(&self) -> &Geometry {
        &self.kept.geometry
    }

    /// The bytes of a frame, counted from 1.
    pub(super) async fn stored(&self, instance: Instance, number: u32) -> Result<Body, Error> {
        let body = plain(instance.body, &self.stored).await?;
        let all = self.kept.layout.frames(&self.kept.geometry);
        match &self.kept.layout {
            _ if number == 0 || number > all => Err(object::Error::NoFrame(all).into()),
            Layout::Native(native) => Ok(layout::native_frame(body, *native, number)),
            Layout::Encapsulated(encapsulated) => {
                let span = encapsulated.spans.get(number as usize - 1);
                let span = *span.ok_or(object::Error::NoFrame(all))?;
                Ok(layout::compressed_frame(body, span))
            }
        }
    }

    /// A frame as it is stored, of the instance opened anew.
    pub(super) async fn opened(&self, number: u32) -> Result<Body, Error> {
        let instance = self.one.open().await?;
        self.stored(instance, number).await
    }

    /// All of a video, which is in one piece whatever the number of its frames.
    pub(super) async fn whole_video(&self) -> Result<Body, Error> {
        self.opened(1).await
    }

    /// What a decoder makes of a frame.
    pub(super) async fn made(
        &self,
        decoders: &Pool,
        number: u32,
        wanted: Wanted,
    ) -> Result<Made, Error> {
        let geometry = &self.kept.geometry;
        geometry.check()?;
        let compressed = self
            .is_compressed()
            .then(|| self.stored.as_str().to_owned());
        if compressed
            .as_deref()
            .is_some_and(|syntax| !is_decodable(syntax))
        {
            return Err(crate::pixels::Error::NoDecoder.into());
        }
        let mut body = self.opened(number).await?;
        let mut frame = BytesMut::new();
        while let Some(chunk) = body.chunk().await? {
            if (frame.len() + chunk.len()) as u64 > MOST_BYTES {
                return Err(crate::pixels::Error::TooLarge.into());
            }
            frame.extend_from_slice(&chunk);
        }
        let task = Task {
            compressed,
            geometry: geometry.clone(),
            wanted,
        };
        Ok(decoders.make(&task, &frame).await?)
    }
}

pub(super) fn broken_off(error: Error) -> body::Error {
    if let Error::BrokeOff(error) = error {
        return error;
    }
    if let Error::Instance(error) = error {
        return error.into();
    }
    tracing::info!(%error, "an instance cannot be opened again");
    body::Error::Disconnected
}
