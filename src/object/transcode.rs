//! Rewrites an instance as Explicit VR Little Endian while it arrives, with decoded frames in place
//! of compressed ones.
//!
//! PS3.18 8.7.3.3: Implicit VR Little Endian and Explicit VR Big Endian never leave an origin
//! server.

use bytes::Bytes;
use dicom_core::{Tag, VR};

use super::inflate::inflated;
use super::layout::{NUMBER_OF_FRAMES, PIXEL_DATA, swapped_bytes, u16_of};
use super::reader::Reader;
use super::skim::{Large, Skim, is_pixel_data, start};
use super::{Error, LEAST_KEPT};
use crate::body::{self, Body, Emitter};
use crate::budget::Share;
use crate::dicom::dataset::{DataSet, Head};
use crate::dicom::json::{implicit_vr, width};
use crate::dicom::{Encoding, TransferSyntax, explicit};
use crate::pixels::Geometry;

const BITS_ALLOCATED: Tag = Tag(0x0028, 0x0100);
const PHOTOMETRIC: Tag = Tag(0x0028, 0x0004);
const PLANAR_CONFIGURATION: Tag = Tag(0x0028, 0x0006);
/// Small elements are sent in chunks of this size.
const CHUNK: usize = 64 << 10;

/// Whether an instance can be rewritten as Explicit VR Little Endian without a decoder.
#[must_use]
pub fn is_rewritable(transfer_syntax: &TransferSyntax) -> bool {
    matches!(
        transfer_syntax.encoding(),
        Encoding::ImplicitLittle | Encoding::ExplicitBig | Encoding::Deflated
    )
}

/// Pixel data after decoding.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DecodedPixels {
    /// The number of frames.
    pub frames: u32,
    /// The bytes of a frame.
    pub frame: usize,
    /// Whether the decoder converted them to red, green and blue.
    pub is_rgb: bool,
    /// Bits Allocated (0028,0100).
    pub bits_allocated: u32,
}

impl DecodedPixels {
    /// Describes the decoded frames of an instance.
    ///
    /// # Errors
    /// If Explicit VR Little Endian cannot hold them.
    pub fn new(geometry: &Geometry, frames: u32, is_rgb: bool) -> Result<Self, Error> {
        let Geometry {
            rows,
            columns,
            samples,
            bits_allocated,
            ..
        } = *geometry;
        let bits = u64::from(rows)
            .saturating_mul(columns.into())
            .saturating_mul(samples.into())
            .saturating_mul(bits_allocated.into());
        // Single bits of a frame would begin within a byte.
        let is_whole = bits_allocated == 1 && (frames == 1 || bits.is_multiple_of(8));
        if !is_whole && !matches!(bits_allocated, 8 | 16 | 32) {
            return Err(Error::Pixels("samples are not whole bytes"));
        }
        let frame = bits.div_ceil(8);
        let all = frame.saturating_mul(frames.into());
        match (usize::try_from(frame), u32::try_from(all)) {
            // PS3.5 7.1.2: the length is an even number of 32 bits, and 0xFFFFFFFF is reserved.
            (Ok(frame), Ok(all)) if all < u32::MAX - 1 => Ok(Self {
                frames,
                frame,
                is_rgb,
                bits_allocated,
            }),
            (Ok(_) | Err(_), _) => Err(Error::Pixels("the decoded frames are too long")),
        }
    }
}

type NoFrames = fn(u32) -> std::future::Ready<Result<Bytes, body::Error>>;

/// The same instance in Explicit VR Little Endian. Only small values are held, in memory of
/// `share`.
#[must_use]
pub fn explicit_little(body: Body, share: Share) -> Body {
    Body::generate(None, |out| async move {
        Ok(rewrite::<NoFrames, _>(body, share, None, &out).await?)
    })
}

/// The same instance in Explicit VR Little Endian, its pixel data replaced by the frames that
/// `frame` decodes, counted from 1. One frame is held at a time.
#[must_use]
pub fn decoded<F, D>(body: Body, share: Share, pixels: DecodedPixels, frame: F) -> Body
where
    F: Fn(u32) -> D + Send + Sync + 'static,
    D: Future<Output = Result<Bytes, body::Error>> + Send,
{
    let frames = Frames { pixels, frame };
    Body::generate(None, move |out| async move {
        Ok(rewrite(body, share, Some(frames), &out).await?)
    })
}

/// DecodedPixels frames, each decoded when it is its turn.
struct Frames<F> {
    pixels: DecodedPixels,
    frame: F,
}

async fn rewrite<F, D>(
    body: Body,
    share: Share,
    frames: Option<Frames<F>>,
    out: &Emitter,
) -> Result<(), Error>
where
    F: Fn(u32) -> D,
    D: Future<Output = Result<Bytes, body::Error>>,
{
    let mut reader = Reader::new(body);
    let (meta, bytes) = start(&mut reader).await?;
    let elements = explicit::file_meta(&meta.elements(&bytes), None)?;
    out.emit(elements.into()).await?;
    let encoding = meta.transfer_syntax.encoding();
    let mut reader = match encoding {
        Encoding::Deflated => Reader::new(inflated(reader)),
        Encoding::ImplicitLittle | Encoding::ExplicitLittle | Encoding::ExplicitBig => reader,
    };
    let decoded = frames.as_ref().map(|frames| frames.pixels);
    let mut rewriter = Rewriter::new(encoding, decoded);
    let mut skim = Skim::new(encoding, share);
    loop {
        skim.forget();
        if skim.next(&mut reader).await?.is_none() {
            return rewriter.flush(out).await;
        }
        let Some(large) = skim.last_large() else {
            // Heads grow from 8 bytes to 12.
            let kept = skim.kept().len() as u64;
            skim.share().grow(kept * 3).await?;
            rewriter.small(&skim)?;
            rewriter.flush_chunk(skim.share(), out).await?;
            continue;
        };
        match (large.length, &frames) {
            (Some(length), _) => rewriter.large(&mut reader, &large, length, out).await?,
            (None, Some(frames)) => {
                rewriter.pixel_data(&frames.pixels);
                rewriter.flush(out).await?;
                frames.give(out).await?;
                skim.skip_fragments(&mut reader).await?;
            }
            (None, None) => {
                return Err(Error::Pixels(
                    "they are encapsulated in a native transfer syntax",
                ));
            }
        }
    }
}

impl<F, D> Frames<F>
where
    F: Fn(u32) -> D,
    D: Future<Output = Result<Bytes, body::Error>>,
{
    /// Sends all frames, padded to an even length.
    async fn give(&self, out: &Emitter) -> Result<(), Error> {
        for number in 1..=self.pixels.frames {
            let samples = (self.frame)(number).await?;
            if samples.len() != self.pixels.frame {
                return Err(Error::Pixels("a frame differs in length from the others"));
            }
            out.emit(samples).await?;
        }
        if self.pixels.length() % 2 == 1 {
            out.emit(Bytes::from_static(&[0])).await?;
        }
        Ok(())
    }
}

impl DecodedPixels {
    fn length(&self) -> u64 {
        self.frame as u64 * u64::from(self.frames)
    }
}

/// Extended Offset Table, its lengths, and the length of all fragments (PS3.3 C.7.6.3), which exist
/// only with fragments.
fn is_offset_table(Tag(group, element): Tag) -> bool {
    group == 0x7FE0 && (1..=3).contains(&element)
}

struct Rewriter {
    encoding: Encoding,
    is_signed: bool,
    bits_allocated: u32,
    /// The pixel data that replace compressed ones.
    decoded: Option<DecodedPixels>,
    /// Whether Number of Frames has been written, or is not needed.
    has_frames: bool,
    ready: Vec<u8>,
}

impl Rewriter {
    fn new(encoding: Encoding, decoded: Option<DecodedPixels>) -> Self {
        Self {
            encoding,
            is_signed: false,
            bits_allocated: 0,
            decoded,
            has_frames: false,
            ready: Vec::new(),
        }
    }

    fn take_ready(&mut self) -> Bytes {
        std::mem::take(&mut self.ready).into()
    }

    /// Sends the small elements once they make a chunk, which holds its memory until it has been
    /// sent.
    async fn flush_chunk(&mut self, share: &mut Share, out: &Emitter) -> Result<(), Error> {
        if self.ready.len() >= CHUNK {
            let ready = self.take_ready();
            let share = share.split(LEAST_KEPT);
            Body::full(share.hold(ready)).give(out).await?;
        }
        Ok(())
    }

    async fn flush(&mut self, out: &Emitter) -> Result<(), Error> {
        if !self.ready.is_empty() {
            out.emit(self.take_ready()).await?;
        }
        Ok(())
    }

    /// Passes on a large value.
    async fn large(
        &mut self,
        reader: &mut Reader,
        large: &Large,
        length: u64,
        out: &Emitter,
    ) -> Result<(), Error> {
        if self.decoded.is_some() && is_offset_table(large.tag) {
            return Ok(reader.skip(length).await?);
        }
        let vr = large.vr;
        let vr = vr.unwrap_or_else(|| implicit_vr(large.tag, self.is_signed));
        let width = self.width(vr, large);
        let declared = u32::try_from(length).unwrap_or(u32::MAX);
        explicit::head(large.tag, vr, declared, &mut self.ready);
        self.flush(out).await?;
        pass(reader, length, width, out).await
    }

    fn small(&mut self, skim: &Skim) -> Result<(), Error> {
        let set = DataSet::new(skim.kept(), self.encoding);
        if let Err(error) = set.check() {
            return self.unreadable(skim.kept()).ok_or(error.into());
        }
        if let Some(bits) = u16_of(&set, BITS_ALLOCATED) {
            self.bits_allocated = u32::from(bits);
        }
        if let Some(decoded) = self.decoded {
            self.number_frames(&set, decoded);
            if self.described_anew(&set, decoded) {
                return Ok(());
            }
        }
        Ok(explicit::write(&set, &mut self.is_signed, &mut self.ready)?)
    }

    /// Writes an element with a length whose items cannot be read, with the bytes that it has: UN
    /// holds those of an implicit one (PS3.5 6.2.2).
    fn unreadable(&mut self, element: &[u8]) -> Option<()> {
        if self.encoding == Encoding::ExplicitBig {
            return None;
        }
        let head = Head::read(element, self.encoding).ok()?;
        let value = element.get(head.size..)?;
        let vr = head.vr.unwrap_or(VR::UN);
        explicit::head(head.tag, vr, head.length?, &mut self.ready);
        self.ready.extend_from_slice(value);
        Some(())
    }

    /// Writes Number of Frames in its place, in front of the first element behind it. It may be no
    /// number, or missing.
    fn number_frames(&mut self, set: &DataSet<'_>, decoded: DecodedPixels) {
        let Some(Ok(element)) = set.elements().next() else {
            return;
        };
        if self.has_frames || element.tag < NUMBER_OF_FRAMES {
            return;
        }
        self.has_frames = true;
        if element.tag == NUMBER_OF_FRAMES || decoded.frames > 1 {
            self.text(NUMBER_OF_FRAMES, VR::IS, &decoded.frames.to_string());
        }
    }

    fn text(&mut self, tag: Tag, vr: VR, text: &str) {
        let mut value = text.as_bytes().to_vec();
        value.resize(value.len().next_multiple_of(2), b' ');
        let length = u32::try_from(value.len()).unwrap_or(0);
        explicit::head(tag, vr, length, &mut self.ready);
        self.ready.extend_from_slice(&value);
    }

    /// Writes an element whose value changes with decoding.
    fn described_anew(&mut self, set: &DataSet<'_>, decoded: DecodedPixels) -> bool {
        let Some(Ok(element)) = set.elements().next() else {
            return false;
        };
        match element.tag {
            tag if is_offset_table(tag) || tag == NUMBER_OF_FRAMES => {}
            PHOTOMETRIC => {
                let photometric = element.ascii().unwrap_or_default();
                let now = match photometric {
                    _ if decoded.is_rgb => "RGB",
                    // Each decoded pixel has all three samples.
                    "YBR_FULL_422" | "YBR_PARTIAL_422" => "YBR_FULL",
                    other => other,
                };
                self.text(PHOTOMETRIC, VR::CS, now);
            }
            PLANAR_CONFIGURATION => {
                explicit::head(PLANAR_CONFIGURATION, VR::US, 2, &mut self.ready);
                self.ready.extend_from_slice(&[0, 0]);
            }
            _ => return false,
        }
        true
    }

    /// The head of the pixel data.
    fn pixel_data(&mut self, decoded: &DecodedPixels) {
        let vr = if decoded.bits_allocated > 8 {
            VR::OW
        } else {
            VR::OB
        };
        let length = u32::try_from(decoded.length().next_multiple_of(2)).unwrap_or(u32::MAX);
        explicit::head(PIXEL_DATA, vr, length, &mut self.ready);
    }

    /// The bytes of a number in a large value that are reversed; 1 if none are.
    fn width(&self, vr: VR, large: &Large) -> usize {
        match self.encoding {
            Encoding::ExplicitBig if is_pixel_data(large.tag) => {
                swapped_bytes(large, self.bits_allocated)
            }
            Encoding::ExplicitBig => width(vr),
            Encoding::ImplicitLittle | Encoding::ExplicitLittle | Encoding::Deflated => 1,
        }
    }
}

/// Passes on `length` bytes, each number of `width` bytes reversed.
async fn pass(reader: &mut Reader, length: u64, width: usize, out: &Emitter) -> Result<(), Error> {
    let mut left = length;
    let mut rest = Vec::new();
    while left > 0 {
        let bytes = reader.next(left).await?.ok_or(body::Error::Truncated)?;
        left -= bytes.len() as u64;
        if width <= 1 {
            out.emit(bytes).await?;
            continue;
        }
        rest.extend_from_slice(&bytes);
        let tail = rest.split_off(rest.len() / width * width);
        let mut whole = std::mem::replace(&mut rest, tail);
        whole.chunks_exact_mut(width).for_each(<[u8]>::reverse);
        if !whole.is_empty() {
            out.emit(whole.into()).await?;
        }
    }
    if !rest.is_empty() {
        out.emit(Bytes::from(rest)).await?;
    }
    Ok(())
}
