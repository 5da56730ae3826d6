//! Where the frames of an instance are in its bytes (PS3.3 C.7.6.3, PS3.5 8 and A.4).

use bytes::{Buf, Bytes};
use dicom_core::Tag;

use super::Error;
use super::reader::Reader;
use super::skim::{Large, Skimmed, plain};
use crate::body::Body;
use crate::dicom::dataset::{self, DataSet, Element, Head};
use crate::dicom::json::{implicit_vr, width};
use crate::dicom::{Encoding, TransferSyntax};
use crate::pixels::Geometry;

/// Pixel Data.
pub const PIXEL_DATA: Tag = Tag(0x7FE0, 0x0010);
const FLOAT_PIXEL_DATA: Tag = Tag(0x7FE0, 0x0008);
const DOUBLE_FLOAT_PIXEL_DATA: Tag = Tag(0x7FE0, 0x0009);
const EXTENDED_OFFSET_TABLE: Tag = Tag(0x7FE0, 0x0001);
/// Most frames that are looked for: an index takes 16 bytes for each.
const MOST_FRAMES: u32 = 1 << 20;
/// Memory that looking for frames takes for each: offsets, starts and a span.
const BYTES_PER_FRAME: u64 = 64;
/// An item's tag and length.
const ITEM_HEAD: u64 = 8;

/// Where the pixel data are, and how frames lie in them.
#[derive(Debug, Clone)]
pub enum Layout {
    /// One frame after another.
    Native(Native),
    /// In fragments.
    Encapsulated(Encapsulated),
}

/// Frames that are not compressed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Native {
    /// Where the value begins.
    pub offset: u64,
    /// Its length.
    pub length: u64,
    /// Bits of one frame.
    pub frame_bits: u64,
    /// Bytes that belong together in a big-endian value; 1 in others.
    pub swapped: usize,
}

/// Compressed frames, each in one or several items.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Encapsulated {
    /// The items of each frame.
    pub spans: Vec<Span>,
}

/// Items one after another.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Span {
    /// Where the tag of the first is.
    pub start: u64,
    /// Where the last ends; `None` for the last frame, which goes on until the delimiter.
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
    let frames = set.element(Tag(0x0028, 0x0008));
    let frames = frames.and_then(|frames| frames.ascii()?.trim().parse().ok());
    Ok(Geometry {
        rows: needed(0x0010)?,
        columns: needed(0x0011)?,
        samples: number(0x0002).unwrap_or(1).max(1),
        bits_allocated,
        bits_stored: number(0x0101).unwrap_or(bits_allocated),
        is_signed: number(0x0103) == Some(1),
        is_planar: number(0x0006) == Some(1),
        photometric: set
            .element(Tag(0x0028, 0x0004))
            .and_then(|element| element.ascii().map(str::to_owned))
            .unwrap_or_default(),
        frames: frames.unwrap_or(1u32).max(1),
        is_float: tag.is_some_and(|tag| tag != PIXEL_DATA),
    })
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
    /// Where the frames are. `body` is the instance once more: its offset table is looked at, or
    /// its fragments are counted.
    ///
    /// # Errors
    /// Why there are none.
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
        let frame_bits = geometry.frame_bits();
        if frame_bits == 0 {
            return Err(Error::Pixels("a frame without pixels"));
        }
        let needed = frame_bits
            .checked_mul(u64::from(geometry.frames))
            .ok_or(Error::Pixels("more frames than there can be"))?;
        if needed.div_ceil(8) > length {
            return Err(Error::Pixels("they are shorter than their frames"));
        }
        let is_big = self.transfer_syntax.encoding() == Encoding::ExplicitBig;
        let width = swapped_bytes(large, bits);
        Ok(Native {
            offset: large.offset,
            length,
            frame_bits,
            swapped: if is_big { width } else { 1 },
        })
    }

    async fn encapsulated(
        &mut self,
        geometry: &Geometry,
        large: &Large,
        body: Body,
    ) -> Result<Encapsulated, Error> {
        if geometry.frames > MOST_FRAMES {
            return Err(Error::Pixels("more frames than are looked for"));
        }
        let frames = u64::from(geometry.frames);
        self.make_room(frames * BYTES_PER_FRAME).await?;
        let mut reader = Reader::new(plain(body, &self.transfer_syntax).await?);
        reader
            .skip(large.offset.saturating_sub(reader.position()))
            .await?;
        let mut table = Vec::new();
        let head = item(&mut reader)
            .await?
            .ok_or(Error::Pixels("no offset table"))?;
        // A.4: 32-bit offsets, one for each frame, or none.
        let length = u64::from(head);
        if length > u64::from(MOST_FRAMES) * 4 {
            return Err(Error::Pixels("the offset table is too long"));
        }
        reader.take(length, &mut table).await?;
        let first = reader.position();
        // A video is in one piece, whatever the number of its frames.
        if geometry.frames == 1 || self.transfer_syntax.is_video() {
            let spans = vec![Span {
                start: first,
                end: None,
            }];
            return Ok(Encapsulated { spans });
        }
        let basic = offsets(&table);
        let extended = self.extended_offsets();
        for offsets in [extended, basic].into_iter().flatten() {
            if let Some(spans) = spans_of(first, &offsets, geometry.frames) {
                return Ok(Encapsulated { spans });
            }
        }
        counted(reader, geometry.frames, &self.transfer_syntax).await
    }

    /// The Extended Offset Table (7FE0,0001), if it is short enough to have been kept.
    fn extended_offsets(&self) -> Option<Vec<u64>> {
        let set = self.data_set();
        let element = set.element(EXTENDED_OFFSET_TABLE)?;
        let (numbers, _) = Element::bytes(&element).as_chunks::<8>();
        Some(
            numbers
                .iter()
                .map(|bytes| u64::from_le_bytes(*bytes))
                .collect(),
        )
    }
}

/// How many bytes of big-endian pixel data make a number: two (OW), or those of a larger sample.
#[must_use]
pub fn swapped_bytes(large: &Large, bits_allocated: u32) -> usize {
    let vr = large.vr.unwrap_or_else(|| implicit_vr(large.tag, false));
    match bits_allocated {
        0..=16 => width(vr),
        bits => usize::try_from(bits / 8).unwrap_or(1).max(1),
    }
}

fn offsets(table: &[u8]) -> Option<Vec<u64>> {
    let (numbers, _) = table.as_chunks::<4>();
    let numbers = numbers
        .iter()
        .map(|bytes| u64::from(u32::from_le_bytes(*bytes)));
    (!table.is_empty()).then(|| numbers.collect())
}

/// Frames by their offsets, if those can be true.
fn spans_of(first: u64, offsets: &[u64], frames: u32) -> Option<Vec<Span>> {
    let is_whole = offsets.len() as u64 == u64::from(frames) && offsets.first() == Some(&0);
    if !is_whole || !offsets.is_sorted_by(|one, next| one.saturating_add(ITEM_HEAD) <= *next) {
        return None;
    }
    let ends = offsets.iter().skip(1).map(|end| first.checked_add(*end));
    let starts = offsets.iter().map(|start| first.checked_add(*start));
    let spans = starts.zip(ends.chain([None])).map(|(start, end)| {
        let start = start?;
        Some(Span { start, end })
    });
    spans.collect()
}

/// Walks over all fragments: one for each frame, or as many as there are until one begins a new
/// codestream.
async fn counted(
    mut reader: Reader,
    frames: u32,
    transfer_syntax: &TransferSyntax,
) -> Result<Encapsulated, Error> {
    // Of each fragment, and of those that begin a codestream; no more of either than there are frames.
    let (mut all, mut begun) = (Starts::of(frames), Starts::of(frames));
    let end = loop {
        let start = reader.position();
        let Some(length) = item(&mut reader).await? else {
            break start;
        };
        reader.fill(4.min(length as usize)).await?;
        all.add(start);
        if begins_codestream(reader.here(), transfer_syntax) {
            begun.add(start);
        }
        reader.skip(length.into()).await?;
    };
    let unclear = Error::Pixels("it cannot be told which fragments make a frame");
    let starts = all.whole().or(begun.whole()).ok_or(unclear)?;
    let ends = starts.iter().skip(1).copied().chain([end]);
    let spans = starts.iter().zip(ends).map(|(&start, end)| Span {
        start,
        end: Some(end),
    });
    Ok(Encapsulated {
        spans: spans.collect(),
    })
}

/// Where frames may begin, as long as there are no more than there are frames.
struct Starts {
    frames: usize,
    first: Vec<u64>,
    count: usize,
}

impl Starts {
    fn of(frames: u32) -> Self {
        Self {
            frames: frames as usize,
            first: Vec::new(),
            count: 0,
        }
    }

    fn add(&mut self, start: u64) {
        self.count += 1;
        if self.count <= self.frames {
            self.first.push(start);
        }
    }

    /// One for each frame.
    fn whole(self) -> Option<Vec<u64>> {
        (self.count == self.frames).then_some(self.first)
    }
}

// JPEG and JPEG-LS begin with SOI, JPEG 2000 with SOC and SIZ.
fn begins_codestream(bytes: &[u8], transfer_syntax: &TransferSyntax) -> bool {
    match transfer_syntax.as_str() {
        "1.2.840.10008.1.2.5" => false,
        _ => bytes.starts_with(&[0xFF, 0xD8, 0xFF]) || bytes.starts_with(&[0xFF, 0x4F, 0xFF, 0x51]),
    }
}

/// The length of the item that comes next; `None` at the delimiter. Item heads are little endian.
async fn item(reader: &mut Reader) -> Result<Option<u32>, Error> {
    if !reader.fill(8).await? {
        return Err(dataset::Error::Truncated.into());
    }
    let head = Head::read(reader.here(), Encoding::ExplicitLittle)?;
    reader.skip(head.size as u64).await?;
    match head.length {
        _ if head.is_delimiter() => Ok(None),
        Some(length) if head.is_item() => Ok(Some(length)),
        Some(_) | None => Err(Error::Pixels("fragments hold something else than items")),
    }
}

impl Layout {
    /// How many frames there are.
    #[must_use]
    pub fn frames(&self, geometry: &Geometry) -> u32 {
        match self {
            Self::Native(_) => geometry.frames,
            Self::Encapsulated(encapsulated) => {
                u32::try_from(encapsulated.spans.len()).unwrap_or(u32::MAX)
            }
        }
    }
}

/// The bytes of a frame that is not compressed, `number` counted from 1, in little endian. Its bits
/// begin at the lowest bit of the first byte.
#[must_use]
pub fn native_frame(body: Body, native: Native, number: u32) -> Body {
    let first_bit = native.frame_bits * u64::from(number.saturating_sub(1));
    let length = native.frame_bits.div_ceil(8);
    let is_whole = first_bit.is_multiple_of(8) && native.frame_bits.is_multiple_of(8);
    if is_whole && native.swapped == 1 {
        return body.slice(native.offset + first_bit / 8, length);
    }
    // Single bits, or a retired syntax: bytes change places, and bits move within them.
    let width = native.swapped as u64;
    let start = first_bit / 8 / width * width;
    let end = (first_bit + native.frame_bits)
        .div_ceil(8)
        .next_multiple_of(width)
        .min(native.length);
    let before = first_bit - start * 8;
    let body = swapped(
        body.slice(native.offset + start, end - start),
        native.swapped,
    );
    let body = body.slice(before / 8, end - start - before / 8);
    moved(body, before % 8, native.frame_bits)
}

/// So many bits of a body, from one of its first byte on, a chunk at a time.
fn moved(mut body: Body, first: u64, count: u64) -> Body {
    Body::generate(Some(count.div_ceil(8)), move |out| async move {
        let mut left = count;
        // The last byte waits for the one behind it, which the highest of its bits come from.
        let mut rest = Vec::new();
        while let Some(chunk) = body.chunk().await? {
            rest.extend_from_slice(&chunk);
            let ready = left.min((rest.len() as u64).saturating_sub(1) * 8);
            if ready > 0 {
                out.emit(bits(&rest, first, ready)).await?;
                left -= ready;
                rest.drain(..rest.len() - 1);
            }
        }
        if left > 0 {
            out.emit(bits(&rest, first, left)).await?;
        }
        Ok(())
    })
}

/// So many bits from one on, from the lowest of each byte to the highest (PS3.5 8.1.1).
fn bits(bytes: &[u8], first: u64, count: u64) -> Bytes {
    let shift = (first % 8) as u32;
    let from = usize::try_from(first / 8).unwrap_or(usize::MAX);
    let length = usize::try_from(count.div_ceil(8)).unwrap_or(usize::MAX);
    let at = |index: usize| u16::from(bytes.get(index).copied().unwrap_or(0));
    let mut out: Vec<u8> = (from..from.saturating_add(length))
        .map(|index| (((at(index + 1) << 8 | at(index)) >> shift) & 0xFF) as u8)
        .collect();
    if let (Some(last), left @ 1..) = (out.last_mut(), count % 8) {
        *last &= (1 << left) - 1;
    }
    out.into()
}

/// The same bytes with the order turned round in every number of so many bytes.
#[must_use]
pub fn swapped(mut body: Body, width: usize) -> Body {
    if width <= 1 {
        return body;
    }
    Body::generate(body.length(), move |out| async move {
        let mut rest = Vec::new();
        while let Some(chunk) = body.chunk().await? {
            rest.extend_from_slice(&chunk);
            let left = rest.split_off(rest.len() / width * width);
            let mut whole = std::mem::replace(&mut rest, left);
            for number in whole.chunks_exact_mut(width) {
                number.reverse();
            }
            if !whole.is_empty() {
                out.emit(whole.into()).await?;
            }
        }
        if rest.is_empty() {
            Ok(())
        } else {
            out.emit(rest.into()).await
        }
    })
}

/// The bytes of a compressed frame: its fragments without what is around them.
#[must_use]
pub fn compressed_frame(body: Body, span: Span) -> Body {
    Body::generate(None, move |out| async move {
        let mut reader = Reader::new(body);
        reader.skip(span.start).await?;
        loop {
            if span.end.is_some_and(|end| reader.position() >= end) {
                return Ok(());
            }
            let broken = |_| crate::body::Error::Malformed("a fragment is broken");
            let Some(length) = item(&mut reader).await.map_err(broken)? else {
                return Ok(());
            };
            let mut left = u64::from(length);
            while left > 0 {
                let bytes = reader.next(left).await?;
                let bytes = bytes.ok_or(crate::body::Error::Truncated)?;
                left -= bytes.remaining() as u64;
                out.emit(bytes).await?;
            }
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn read(mut body: Body) -> Vec<u8> {
        let mut all = Vec::new();
        while let Some(chunk) = body.chunk().await.expect("a whole body") {
            all.extend_from_slice(&chunk);
        }
        all
    }

    /// The same bytes in chunks of this length.
    fn chunked(bytes: &[u8], length: usize) -> Body {
        let chunks: Vec<_> = bytes.chunks(length).map(Bytes::copy_from_slice).collect();
        Body::generate(None, |out| async move {
            for chunk in chunks {
                out.emit(chunk).await?;
            }
            Ok(())
        })
    }

    #[tokio::test]
    async fn bits_move_the_same_way_whatever_the_chunks() {
        let bytes: Vec<u8> = (0..40u32).map(|at| (at * 37 + 11) as u8).collect();
        for first in 0..8 {
            for count in [1, 7, 8, 9, 63, 64, 65, 120, 300 - first] {
                let whole = bits(&bytes, first, count);
                let needed = (first + count).div_ceil(8) as usize;
                for length in [1, 2, 3, 7, 64] {
                    let body = moved(chunked(&bytes[..needed], length), first, count);
                    let expected = Some(count.div_ceil(8));
                    assert_eq!(body.length(), expected);
                    assert_eq!(read(body).await, whole, "{first} {count} {length}");
                }
            }
        }
    }

    #[tokio::test]
    async fn frames_of_bits_and_of_big_endian_numbers_are_cut_out() {
        let body = || Body::full(Bytes::from_static(&[9, 9, 1, 2, 3, 4, 5, 6, 7, 8]));
        let native = Native {
            offset: 2,
            length: 8,
            frame_bits: 16,
            swapped: 2,
        };
        assert_eq!(read(native_frame(body(), native, 2)).await, [4, 3]);
        let bits = Native {
            frame_bits: 12,
            swapped: 1,
            ..native
        };
        assert_eq!(read(native_frame(body(), bits, 1)).await, [1, 2]);
        assert_eq!(read(native_frame(body(), bits, 2)).await, [0x30, 0x0]);
        let both = Native {
            frame_bits: 12,
            ..native
        };
        assert_eq!(read(native_frame(body(), both, 2)).await, [0x40, 0x0]);
    }
}
