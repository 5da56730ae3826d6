//! The frames of one instance.

use std::sync::Arc;

use super::Error;
use super::material::One;
use crate::body::{self, Body};
use crate::cache::Frames as KeptFrames;
use crate::dicom::TransferSyntax;
use crate::instance::Instance;
use crate::object::{self, Extent, LEAST_KEPT, Layout, Skimmed, layout, plain, skim};
use crate::pixels::{Geometry, MOST_BYTES, Output, Product, Task, is_decodable};

/// The data set of an instance that has been opened.
pub(super) async fn skimmed(one: &One, body: Body, extent: Extent) -> Result<Skimmed, Error> {
    let share = one.context.account.share(LEAST_KEPT).await?;
    Ok(skim(body, extent, false, share).await?)
}

/// An instance, and where its frames are.
pub(super) async fn frames_of(one: &One) -> Result<(Instance, Arc<KeptFrames>), Error> {
    let derived = one.context.retriever.cache().derived();
    let instance = one.open().await?;
    let digest = instance.digest();
    if let Some(kept) = digest.and_then(|digest| derived.frames(&digest)) {
        return Ok((instance, kept));
    }
    let mut skimmed = skimmed(one, instance.body, Extent::ToPixelData).await?;
    let kept = frames_in(one, &mut skimmed, digest).await?;
    drop(skimmed);
    Ok((one.open().await?, kept))
}

/// Where the frames of an instance are that has been skimmed; they are kept by its digest.
pub(super) async fn frames_in(
    one: &One,
    skimmed: &mut Skimmed,
    digest: Option<[u8; 32]>,
) -> Result<Arc<KeptFrames>, Error> {
    let derived = one.context.retriever.cache().derived();
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

    /// The same, for an answer that has begun.
    pub(super) fn patient(&self) -> Self {
        Self {
            one: self.one.patient(),
            stored: self.stored.clone(),
            kept: Arc::clone(&self.kept),
        }
    }

    /// What a decoder makes of a frame. Nothing is read before there is memory for the frame and for
    /// what is made of it.
    pub(super) async fn made(&self, number: u32, output: Output) -> Result<Product, Error> {
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
        let task = Task {
            compressed,
            geometry: geometry.clone(),
            output,
        };
        let context = &self.one.context;
        let (expected, output) = (self.expected_bytes(number), task.most_bytes());
        let mut share = context.account.share(expected + output).await?;
        let mut body = self.opened(number).await?;
        // Memory that is not written to is not taken.
        let mut frame = Vec::with_capacity(usize::try_from(expected).unwrap_or(0));
        while let Some(chunk) = body.chunk().await? {
            let length = frame.len() + chunk.len();
            if length as u64 > MOST_BYTES {
                return Err(crate::pixels::Error::TooLarge.into());
            }
            if length > frame.capacity() {
                let more = length + length / 4;
                share.grow(more as u64 + output).await?;
                frame.reserve_exact(more - frame.len());
            }
            frame.extend_from_slice(&chunk);
        }
        drop(body);
        share.shrink(frame.len() as u64 + output);
        Ok(context.decoders.decode(&task, frame, share).await?)
    }

    /// How many bytes a stored frame takes; of a compressed one that ends where the pixel data do, as
    /// many as if it were not compressed.
    fn expected_bytes(&self, number: u32) -> u64 {
        let plain = self.kept.geometry.frame_bits().div_ceil(8);
        let expected = match &self.kept.layout {
            Layout::Native(_) => plain,
            Layout::Encapsulated(encapsulated) => {
                let at = (number as usize).saturating_sub(1);
                let span = encapsulated.spans.get(at);
                let length = span.and_then(|span| span.end?.checked_sub(span.start));
                length.unwrap_or(plain)
            }
        };
        expected.min(MOST_BYTES)
    }
}

pub(super) fn broken_off(error: Error) -> body::Error {
    if let Error::BrokeOff(error) = error {
        return error;
    }
    if let Error::Memory(error) = error {
        return error.into();
    }
    if let Error::Instance(error) = error {
        return error.into();
    }
    tracing::info!(%error, "an instance cannot be opened again");
    body::Error::Disconnected
}
