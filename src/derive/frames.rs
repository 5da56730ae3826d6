//! The frames of one instance (PS3.18 10.4.1.1.6).

use std::sync::Arc;

use tokio::sync::OnceCell;

use super::{Error, SelectedInstance};
use crate::body::{self, Body};
use crate::cache::Frames as FrameIndex;
use crate::dicom::TransferSyntax;
use crate::instance::Instance;
use crate::object::{self, Encapsulated, Extent, LEAST_KEPT, Layout, Skimmed, layout, plain, skim};
use crate::pixels::{self, Geometry, MOST_BYTES, Output, Product, Task, is_decodable};
use crate::present::parts::{Part, Parts, with_syntax};
use crate::request::accept_bulk::{OCTET_STREAM, Representation, Stored, media_type_of};

/// Reads the data set of an opened instance.
pub(super) async fn skimmed(
    instance: &SelectedInstance,
    body: Body,
    extent: Extent,
) -> Result<Skimmed, Error> {
    let share = instance.context().share(LEAST_KEPT).await?;
    Ok(skim(body, extent, false, share).await?)
}

/// The frames of one instance: an index of them, and the means to open each.
#[derive(Debug)]
pub struct InstanceFrames {
    instance: SelectedInstance,
    stored: TransferSyntax,
    index: Arc<FrameIndex>,
    /// The key of the index in the cache.
    key: Option<[u8; 32]>,
    /// The index without the offset table, once that has turned out to be false.
    recounted: Arc<OnceCell<Arc<FrameIndex>>>,
}

impl InstanceFrames {
    /// Opens an instance and finds its frames. The instance is still open, so that the first frame
    /// can be read from it.
    ///
    /// # Errors
    /// Why it has no frames that can be found.
    pub async fn open(instance: &SelectedInstance) -> Result<(Instance, Self), Error> {
        let derived = instance.context().retriever.cache().derived();
        let opened = instance.open().await?;
        let key = opened.layout_key();
        let stored = opened.identity.transfer_syntax.clone();
        if let Some(index) = key.and_then(|key| derived.frames(&key)) {
            return Ok((opened, Self::new(instance, stored, index, key)));
        }
        let mut skimmed = skimmed(instance, opened.body, Extent::ToPixelData).await?;
        let frames = Self::of_skimmed(instance, &mut skimmed, key).await?;
        drop(skimmed);
        Ok((instance.open().await?, frames))
    }

    /// Finds the frames of an instance whose data set has been read; the index is cached by
    /// `key`.
    pub(super) async fn of_skimmed(
        instance: &SelectedInstance,
        skimmed: &mut Skimmed,
        key: Option<[u8; 32]>,
    ) -> Result<Self, Error> {
        let stored = skimmed.transfer_syntax.clone();
        let derived = instance.context().retriever.cache().derived();
        if let Some(index) = key.and_then(|key| derived.frames(&key)) {
            return Ok(Self::new(instance, stored, index, key));
        }
        if skimmed.pixel_data().is_none() {
            return Err(object::Error::NoPixelData.into());
        }
        let geometry = object::geometry(skimmed)?;
        let again = instance.open().await?;
        let layout = skimmed.layout(&geometry, again.body).await?;
        let index = Arc::new(FrameIndex { geometry, layout });
        if let Some(key) = key {
            derived.keep_frames(key, Arc::clone(&index));
        }
        Ok(Self::new(instance, stored, index, key))
    }

    fn new(
        instance: &SelectedInstance,
        stored: TransferSyntax,
        index: Arc<FrameIndex>,
        key: Option<[u8; 32]>,
    ) -> Self {
        Self {
            instance: instance.clone(),
            stored,
            index,
            key,
            recounted: Arc::default(),
        }
    }

    /// The number of frames.
    #[must_use]
    pub fn count(&self) -> u32 {
        self.index.layout.frames()
    }

    /// Whether the frames are encapsulated.
    #[must_use]
    pub fn is_compressed(&self) -> bool {
        matches!(self.index.layout, Layout::Encapsulated(_))
    }

    /// The representation in which the frames are stored.
    #[must_use]
    pub fn as_stored(&self) -> Stored<'_> {
        Stored {
            syntax: &self.stored,
            media_type: media_type_of_frames(&self.index.layout, &self.stored),
            is_compressed: self.is_compressed(),
            is_decodable: is_decodable(self.stored.as_str()),
        }
    }

    /// The transfer syntax of frames that leave as they are stored.
    #[must_use]
    pub fn syntax(&self) -> TransferSyntax {
        if self.is_compressed() {
            self.stored.clone()
        } else {
            TransferSyntax::explicit_vr_little_endian()
        }
    }

    /// The geometry of each frame.
    #[must_use]
    pub fn geometry(&self) -> &Geometry {
        &self.index.geometry
    }

    /// The stored bytes of a frame of the opened instance; frames count from 1.
    ///
    /// # Errors
    /// [`object::Error::NoFrame`].
    pub async fn stored(&self, instance: Instance, number: u32) -> Result<Body, Error> {
        let body = plain(instance.body, &self.stored).await?;
        let all = self.count();
        match &self.index.layout {
            _ if number == 0 || number > all => Err(object::Error::NoFrame(all).into()),
            Layout::Native(native) => Ok(layout::native_frame(body, *native, number)),
            Layout::Encapsulated(encapsulated) => {
                let opened = self.fragments(body, encapsulated, number).await;
                let Err(Error::Instance(object::Error::Offsets)) = opened else {
                    return opened;
                };
                let index = self.recounted(encapsulated.first).await?;
                let Layout::Encapsulated(counted) = &index.layout else {
                    return Err(Error::Internal);
                };
                let again = self.open_plain().await?;
                self.fragments(again, counted, number).await
            }
        }
    }

    /// The fragments of a frame. Those of an offset table are checked before any of them is given.
    async fn fragments(
        &self,
        body: Body,
        encapsulated: &Encapsulated,
        number: u32,
    ) -> Result<Body, Error> {
        let span = encapsulated.spans.get(number as usize - 1);
        let span = *span.ok_or(object::Error::NoFrame(self.count()))?;
        let first = layout::compressed_frame(body, span).await?;
        if first.is_first_of_many() {
            let checked = layout::compressed_frame(self.open_plain().await?, span).await?;
            checked.check().await?;
        }
        Ok(first.into_body())
    }

    async fn open_plain(&self) -> Result<Body, Error> {
        let opened = self.instance.open().await?;
        Ok(plain(opened.body, &self.stored).await?)
    }

    /// The index without the offset table.
    async fn recounted(&self, first: u64) -> Result<&Arc<FrameIndex>, Error> {
        let counting = || async {
            let body = self.open_plain().await?;
            let geometry = self.index.geometry.clone();
            let frames = geometry.frames;
            let counted = layout::recounted(body, first, frames, &self.stored).await?;
            let layout = Layout::Encapsulated(counted);
            let index = Arc::new(FrameIndex { geometry, layout });
            if let Some(key) = self.key {
                let derived = self.instance.context().retriever.cache().derived();
                derived.keep_frames(key, Arc::clone(&index));
            }
            Ok(index)
        };
        self.recounted.get_or_try_init(counting).await
    }

    /// The stored bytes of a frame; the instance is opened anew.
    ///
    /// # Errors
    /// Why the instance cannot be opened, or [`object::Error::NoFrame`].
    pub async fn open_stored(&self, number: u32) -> Result<Body, Error> {
        let instance = self.instance.open().await?;
        self.stored(instance, number).await
    }

    /// The stream of a video. It is a single piece whatever the number of its frames.
    ///
    /// # Errors
    /// Why the instance cannot be opened.
    pub async fn whole_video(&self) -> Result<Body, Error> {
        self.open_stored(1).await
    }

    /// The samples of a frame.
    ///
    /// # Errors
    /// Why it cannot be decoded.
    pub async fn samples(&self, number: u32) -> Result<Product, Error> {
        self.decode(number, Output::Samples).await
    }

    /// The same after the head of the response has left; see [`super::Context::patient`].
    #[must_use]
    pub fn patient(&self) -> Self {
        Self {
            instance: self.instance.patient(),
            stored: self.stored.clone(),
            index: Arc::clone(&self.index),
            key: self.key,
            recounted: Arc::clone(&self.recounted),
        }
    }

    /// Decodes a frame. The memory for the frame and for the outcome is reserved before the frame
    /// is read.
    pub(super) async fn decode(&self, number: u32, output: Output) -> Result<Product, Error> {
        let task = self.task(output)?;
        let context = self.instance.context();
        let (expected, product) = (self.expected_bytes(number), task.most_bytes());
        let mut share = context.share(expected + product).await?;
        let mut body = self.open_stored(number).await?;
        // The kernel gives pages only when they are written.
        let mut frame = Vec::with_capacity(usize::try_from(expected).unwrap_or(0));
        while let Some(chunk) = body.chunk().await? {
            let length = frame.len() + chunk.len();
            if length as u64 > MOST_BYTES {
                return Err(pixels::Error::TooLarge.into());
            }
            if length > frame.capacity() {
                let more = length + length / 4;
                share.grow(more as u64 + product).await?;
                frame.reserve_exact(more - frame.len());
            }
            frame.extend_from_slice(&chunk);
        }
        drop(body);
        share.shrink(frame.len() as u64 + product);
        Ok(context.decoders.decode(&task, frame, share).await?)
    }

    fn task(&self, output: Output) -> Result<Task, Error> {
        let geometry = &self.index.geometry;
        geometry.check()?;
        let compressed = self
            .is_compressed()
            .then(|| self.stored.as_str().to_owned());
        let syntax = compressed.as_deref();
        if syntax.is_some_and(|syntax| !is_decodable(syntax)) {
            return Err(pixels::Error::NoDecoder.into());
        }
        Ok(Task {
            compressed,
            geometry: geometry.clone(),
            output,
        })
    }

    /// The bytes of a stored frame. A compressed frame whose end is the end of the pixel data
    /// counts like an uncompressed one.
    fn expected_bytes(&self, number: u32) -> u64 {
        let plain = self.index.geometry.frame_bits().div_ceil(8);
        let expected = match &self.index.layout {
            Layout::Native(native) => native.frame_bits.div_ceil(8),
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

/// The media type of frames as they are stored.
fn media_type_of_frames(layout: &Layout, stored: &TransferSyntax) -> &'static str {
    match layout {
        Layout::Native(_) => OCTET_STREAM,
        Layout::Encapsulated(_) => media_type_of(stored),
    }
}

/// Frames of one instance in the chosen representation, each opened when its turn comes.
#[derive(Debug)]
pub struct FrameParts<N> {
    frames: InstanceFrames,
    is_decoded: bool,
    media_type: String,
    content_type: String,
    /// The address of the instance.
    address: String,
    numbers: N,
    /// The latest number.
    number: u32,
}

impl<N: Iterator<Item = u32>> FrameParts<N> {
    /// Frames of the instance at `address`, as `given`.
    pub fn new(
        frames: InstanceFrames,
        given: Representation,
        address: String,
        numbers: impl IntoIterator<IntoIter = N>,
    ) -> Self {
        let is_decoded = !given.is_as_stored && frames.is_compressed();
        let syntax = if is_decoded {
            TransferSyntax::explicit_vr_little_endian()
        } else {
            frames.syntax()
        };
        Self {
            is_decoded,
            content_type: with_syntax(&given.media_type, &syntax),
            media_type: given.media_type,
            address,
            numbers: numbers.into_iter(),
            number: 0,
            frames,
        }
    }

    /// The media type of each part, without parameters.
    #[must_use]
    pub fn media_type(&self) -> &str {
        &self.media_type
    }

    /// The next frame; `None` after the last one. It is read from `opened` if the instance is still
    /// open, from the search for its frames.
    ///
    /// # Errors
    /// Why the frame cannot be given.
    pub async fn open_next(&mut self, opened: Option<Instance>) -> Result<Option<Part>, Error> {
        let Some(number) = self.numbers.next() else {
            return Ok(None);
        };
        self.number = number;
        let body = match opened {
            _ if self.is_decoded => {
                drop(opened);
                Body::full(self.frames.samples(number).await?.bytes)
            }
            Some(opened) => self.frames.stored(opened, number).await?,
            None => self.frames.open_stored(number).await?,
        };
        Ok(Some(Part {
            content_type: self.content_type.clone(),
            location: self.place(),
            body,
        }))
    }

    /// The address of the latest frame.
    pub(super) fn place(&self) -> String {
        format!("{}/frames/{}", self.address, self.number)
    }

    /// The same after the head of the response has left; see [`super::Context::patient`].
    #[must_use]
    pub fn patient(self) -> Self {
        Self {
            frames: self.frames.patient(),
            ..self
        }
    }
}

impl<N: Iterator<Item = u32> + Send + 'static> Parts for FrameParts<N> {
    async fn next(&mut self) -> Result<Option<Part>, body::Error> {
        match self.open_next(None).await {
            Err(error) if error.is_passed_over() => {
                Ok(Some(Part::stand_in(self.place(), &error.to_string())))
            }
            opened => Ok(opened?),
        }
    }
}
