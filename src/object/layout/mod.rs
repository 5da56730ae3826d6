//! The layout of frames in the bytes of an instance (PS3.3 C.7.6.3, PS3.5 8 and A.4).

mod encapsulated;
mod native;

use dicom_core::{Tag, VR};

use super::Error;
use super::skim::{Large, Skimmed};
use crate::body::Body;
use crate::dicom::Encoding;
use crate::dicom::dataset::{DataSet, Element};
use crate::dicom::json::{implicit_vr, width};
use crate::pixels::Geometry;

pub use encapsulated::{compressed_frame, recounted};
pub use native::{native_frame, swapped};

/// Pixel Data.
pub const PIXEL_DATA: Tag = Tag(0x7FE0, 0x0010);
/// Number of Frames.
pub(super) const NUMBER_OF_FRAMES: Tag = Tag(0x0028, 0x0008);
const FLOAT_PIXEL_DATA: Tag = Tag(0x7FE0, 0x0008);
const DOUBLE_FLOAT_PIXEL_DATA: Tag = Tag(0x7FE0, 0x0009);

/// The place of the pixel data, and of the frames in them.
#[derive(Debug, Clone)]
pub enum Layout {
    /// One frame after another.
    Native(Native),
    /// Frames in fragments.
    Encapsulated(Encapsulated),
}

/// Uncompressed frames.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Native {
    /// The offset of the value.
    pub offset: u64,
    /// Its length.
    pub length: u64,
    /// The number of frames.
    pub frames: u32,
    /// Bits of one frame.
    pub frame_bits: u64,
    /// The bytes of a number in a big-endian value; 1 in little endian.
    pub swapped: usize,
}

/// Compressed frames, each in one or several items.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Encapsulated {
    /// The offset of the first fragment.
    pub first: u64,
    /// The items of each frame.
    pub spans: Vec<Span>,
}

/// Consecutive items.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Span {
    /// The offset of the first item's tag.
    pub start: u64,
    /// The end of the last item; `None` for the last frame, which the delimiter ends.
    pub end: Option<u64>,
}

/// Reads the attributes of the Image Pixel module.
///
/// # Errors
/// [`Error::Pixels`] if one is missing.
pub fn geometry(skimmed: &Skimmed) -> Result<Geometry, Error> {
    let set = skimmed.data_set();
    let number = |element| u16_of(&set, Tag(0x0028, element)).map(u32::from);
    let needed = |element| number(element).ok_or(Error::Pixels("an attribute is missing"));
    let tag = skimmed.pixel_data().map(|large| large.tag);
    let bits_allocated = match tag {
        Some(FLOAT_PIXEL_DATA) => 32,
        Some(DOUBLE_FLOAT_PIXEL_DATA) => 64,
        _ => needed(0x0100)?,
    };
    let bits_stored = number(0x0101).unwrap_or(bits_allocated);
    Ok(Geometry {
        rows: needed(0x0010)?,
        columns: needed(0x0011)?,
        samples: number(0x0002).unwrap_or(1).max(1),
        bits_allocated,
        bits_stored,
        high_bit: number(0x0102).unwrap_or(bits_stored.saturating_sub(1)),
        is_signed: number(0x0103) == Some(1),
        is_planar: number(0x0006) == Some(1),
        photometric: set
            .element(Tag(0x0028, 0x0004))
            .and_then(|element| element.ascii().map(str::to_owned))
            .unwrap_or_default(),
        frames: set
            .element(NUMBER_OF_FRAMES)
            .and_then(|element| number_of_frames(&element)),
        is_float: tag.is_some_and(|tag| tag != PIXEL_DATA),
    })
}

/// The number in Number of Frames. It is a text of digits (IS), and some writers have `4.0`, repeat
/// it, or write a binary number.
fn number_of_frames(element: &Element<'_>) -> Option<u32> {
    if let Some(VR::US | VR::SS | VR::UL | VR::SL) = element.vr() {
        let mut bytes = element.bytes().to_vec();
        if element.is_big_endian() {
            bytes.reverse();
        }
        bytes.resize(4, 0);
        let bytes = bytes.first_chunk()?;
        return Some(u32::from_le_bytes(*bytes)).filter(|&number| number > 0);
    }
    let number = |text: &str| {
        let number: f64 = text.trim().parse().ok()?;
        let is_number = number.fract() == 0.0 && (1.0..=f64::from(u32::MAX)).contains(&number);
        is_number.then_some(number as u32)
    };
    let mut numbers = element.ascii()?.split('\\').map(number);
    let first = numbers.next()??;
    numbers.all(|other| other == Some(first)).then_some(first)
}

/// The first number of an element.
pub(super) fn u16_of(set: &DataSet<'_>, tag: Tag) -> Option<u16> {
    let element = set.element(tag)?;
    let bytes: [u8; 2] = *element.bytes().first_chunk()?;
    Some(if element.is_big_endian() {
        u16::from_be_bytes(bytes)
    } else {
        u16::from_le_bytes(bytes)
    })
}

impl Skimmed {
    /// Finds the frames. `body` is the instance once more, for its offset table and, if that is
    /// unusable, its fragments.
    ///
    /// # Errors
    /// Why the instance has no usable frames.
    pub async fn layout(&mut self, geometry: &Geometry, body: Body) -> Result<Layout, Error> {
        let large = *self.pixel_data().ok_or(Error::NoPixelData)?;
        let large = &large;
        match large.length {
            Some(length) => self.native(geometry, large, length).map(Layout::Native),
            None => {
                let encapsulated = self.encapsulated(geometry, large, body).await?;
                Ok(Layout::Encapsulated(encapsulated))
            }
        }
    }

    fn native(&self, geometry: &Geometry, large: &Large, length: u64) -> Result<Native, Error> {
        let bits = geometry.bits_allocated;
        let (frames, frame_bits) = self.native_frames(geometry, length)?;
        let is_big = self.transfer_syntax.encoding() == Encoding::ExplicitBig;
        let width = swapped_bytes(large, bits);
        Ok(Native {
            offset: large.offset,
            length,
            frames,
            frame_bits,
            swapped: if is_big { width } else { 1 },
        })
    }
}

impl Skimmed {
    /// The number of uncompressed frames, and the bits of one.
    fn native_frames(&self, geometry: &Geometry, length: u64) -> Result<(u32, u64), Error> {
        let (short, full) = (geometry.frame_bits(), geometry.full_frame_bits());
        if short == 0 {
            return Err(Error::Pixels("a frame has no pixels"));
        }
        // Some writers declare subsampled colours and write all samples.
        let declared = u64::from(geometry.frames.unwrap_or(1));
        let bytes = |bits: u64| Some(declared.checked_mul(bits)?.div_ceil(8).next_multiple_of(2));
        let bits = if bytes(full) == Some(length) {
            full
        } else {
            short
        };
        let frames = match geometry.frames {
            Some(frames) => frames,
            None => self.counted_by_length(bits, length)?,
        };
        let needed = u64::from(frames)
            .checked_mul(bits)
            .ok_or(Error::Pixels("too many frames"))?
            .div_ceil(8);
        // Some writers leave out the last sample.
        let sample = u64::from(geometry.bits_allocated / 8);
        if needed > length + sample || length == 0 {
            return Err(Error::Pixels("they are shorter than their frames"));
        }
        Ok((frames, bits))
    }

    /// The number of frames where Number of Frames is none.
    fn counted_by_length(&self, bits: u64, length: u64) -> Result<u32, Error> {
        let is_padded = |frames: u64| (frames * bits).div_ceil(8).next_multiple_of(2) == length;
        let counted = length.saturating_mul(8) / bits;
        if is_padded(1) {
            return Ok(1);
        }
        if is_padded(counted) {
            return u32::try_from(counted).map_err(|_many| Error::Pixels("too many frames"));
        }
        let set = self.data_set();
        let declared = set.element(NUMBER_OF_FRAMES);
        if declared.is_some_and(|element| element.text().is_some()) {
            return Err(Error::Pixels("the number of frames is none"));
        }
        Ok(1)
    }
}

/// The bytes of a number in big-endian pixel data: two (OW), or those of a larger sample.
#[must_use]
pub fn swapped_bytes(large: &Large, bits_allocated: u32) -> usize {
    let vr = large.vr.unwrap_or_else(|| implicit_vr(large.tag, false));
    match bits_allocated {
        0..=16 => width(vr),
        bits => usize::try_from(bits / 8).unwrap_or(1).max(1),
    }
}

impl Layout {
    /// The number of frames.
    #[must_use]
    pub fn frames(&self) -> u32 {
        match self {
            Self::Native(native) => native.frames,
            Self::Encapsulated(encapsulated) => {
                u32::try_from(encapsulated.spans.len()).unwrap_or(u32::MAX)
            }
        }
    }
}
