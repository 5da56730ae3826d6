//! Finds the items of compressed frames, by an offset table or by counting (PS3.5 A.4).

use bytes::Buf;
use dicom_core::Tag;

use super::super::Error;
use super::super::reader::Reader;
use super::super::skim::{Large, Skimmed, fragment, plain};
use super::{Encapsulated, Span};
use crate::body::{self, Body};
use crate::dicom::TransferSyntax;
use crate::dicom::dataset::Element;
use crate::pixels::Geometry;

const EXTENDED_OFFSET_TABLE: Tag = Tag(0x7FE0, 0x0001);
/// The most frames of an instance: an index takes 16 bytes for each.
const MOST_FRAMES: u32 = 1 << 20;
/// The memory for each frame during the search: offsets, starts and a span.
const BYTES_PER_FRAME: u64 = 64;
/// An item's tag and length.
const ITEM_HEAD: u64 = 8;

impl Skimmed {
    pub(super) async fn encapsulated(
        &mut self,
        geometry: &Geometry,
        large: &Large,
        body: Body,
    ) -> Result<Encapsulated, Error> {
        if geometry.frames > MOST_FRAMES {
            return Err(Error::Pixels("too many frames"));
        }
        let frames = u64::from(geometry.frames);
        self.make_room(frames * BYTES_PER_FRAME).await?;
        let mut reader = Reader::new(plain(body, &self.transfer_syntax).await?);
        reader
            .skip(large.offset.saturating_sub(reader.position()))
            .await?;
        let mut table = Vec::new();
        let head = fragment(&mut reader)
            .await?
            .ok_or(Error::Pixels("no offset table"))?;
        // A.4: 32-bit offsets, one for each frame, or an empty table.
        let length = u64::from(head);
        if length > u64::from(MOST_FRAMES) * 4 {
            return Err(Error::Pixels("the offset table is too long"));
        }
        reader.take(length, &mut table).await?;
        let first = reader.position();
        // A video is one bit stream, whatever its Number of Frames.
        if geometry.frames == 1 || self.transfer_syntax.is_video() {
            let spans = vec![Span {
                start: first,
                end: None,
            }];
            return Ok(Encapsulated { first, spans });
        }
        let basic = offsets(&table);
        let extended = self.extended_offsets();
        for offsets in [extended, basic].into_iter().flatten() {
            if let Some(spans) = spans_of(first, &offsets, geometry.frames) {
                return Ok(Encapsulated { first, spans });
            }
        }
        counted(reader, geometry.frames, &self.transfer_syntax).await
    }

    /// The Extended Offset Table (7FE0,0001), unless it was too large to be kept.
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

/// Finds the frames without the offset table, which is false. `first` is the offset of the first
/// fragment in `body`.
///
/// # Errors
/// [`Error::Pixels`] if fragments cannot be assigned to frames.
pub async fn recounted(
    body: Body,
    first: u64,
    frames: u32,
    transfer_syntax: &TransferSyntax,
) -> Result<Encapsulated, Error> {
    let mut reader = Reader::new(body);
    reader.skip(first).await?;
    counted(reader, frames, transfer_syntax).await
}

/// The bytes of a compressed frame: its fragments without their item heads. The head of the first
/// one is read before, because offset tables may be false.
///
/// # Errors
/// [`Error::Offsets`] if the frame does not begin with a fragment, or its first fragment extends
/// beyond its end.
pub async fn compressed_frame(body: Body, span: Span) -> Result<FirstFragment, Error> {
    let all = body.length();
    let mut reader = Reader::new(body);
    let skipped = reader.skip(span.start).await;
    let first = match skipped {
        Ok(()) => fragment(&mut reader).await,
        Err(error) => Err(error.into()),
    };
    let length = match first {
        Ok(Some(length)) => length,
        // A table may lead beyond the end of a whole instance.
        Ok(None) | Err(Error::Pixels(_) | Error::Body(body::Error::Truncated)) => {
            return Err(Error::Offsets);
        }
        Err(error) => return Err(error),
    };
    let end = reader.position() + u64::from(length);
    if span.end.is_some_and(|last| end > last) {
        return Err(Error::Offsets);
    }
    // Of the last frame: the delimiter, or nothing, is left of the instance.
    let is_last = span.end.is_none() && [end, end + ITEM_HEAD].map(Some).contains(&all);
    Ok(FirstFragment {
        length,
        is_whole: span.end == Some(end) || is_last,
        span,
        reader,
    })
}

/// A compressed frame whose first fragment is next.
#[derive(Debug)]
pub struct FirstFragment {
    /// The length of the fragment.
    length: u32,
    /// Whether it is the whole frame by the offset table.
    is_whole: bool,
    span: Span,
    reader: Reader,
}

impl FirstFragment {
    /// Whether the offset table says that there are more, whose heads are to be checked.
    #[must_use]
    pub fn is_first_of_many(&self) -> bool {
        !self.is_whole && self.span.end.is_some()
    }

    /// Skips the frame, and checks that its fragments end where the next frame begins.
    ///
    /// # Errors
    /// [`Error::Offsets`] if they do not.
    pub async fn check(mut self) -> Result<(), Error> {
        let mut length = u64::from(self.length);
        loop {
            self.reader.skip(length).await?;
            match self.span.end {
                Some(end) if self.reader.position() < end => {}
                Some(end) if self.reader.position() == end => return Ok(()),
                Some(_) | None => return Err(Error::Offsets),
            }
            length = match fragment(&mut self.reader).await {
                Ok(Some(length)) => length.into(),
                Ok(None) | Err(Error::Pixels(_)) => return Err(Error::Offsets),
                Err(error) => return Err(error),
            };
        }
    }

    /// The bytes of the frame.
    #[must_use]
    pub fn into_body(self) -> Body {
        let Self {
            length,
            is_whole,
            span,
            mut reader,
        } = self;
        let known = is_whole.then(|| u64::from(length));
        Body::generate(known, move |out| async move {
            let mut left = u64::from(length);
            loop {
                while left > 0 {
                    let bytes = reader.next(left).await?;
                    let bytes = bytes.ok_or(body::Error::Truncated)?;
                    left -= bytes.remaining() as u64;
                    out.emit(bytes).await?;
                }
                if is_whole || span.end.is_some_and(|end| reader.position() >= end) {
                    return Ok(());
                }
                match fragment(&mut reader).await? {
                    Some(length) => left = length.into(),
                    None => return Ok(()),
                }
            }
        })
    }
}

fn offsets(table: &[u8]) -> Option<Vec<u64>> {
    let (numbers, _) = table.as_chunks::<4>();
    let numbers = numbers
        .iter()
        .map(|bytes| u64::from(u32::from_le_bytes(*bytes)));
    (!table.is_empty()).then(|| numbers.collect())
}

/// The frames by their offsets, if the offsets are plausible.
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

/// Walks over all fragments. A frame is one fragment, or all fragments up to the next start of a
/// codestream.
async fn counted(
    mut reader: Reader,
    frames: u32,
    transfer_syntax: &TransferSyntax,
) -> Result<Encapsulated, Error> {
    let first = reader.position();
    // Of all fragments, of those that are not empty, and of those that begin a codestream.
    let mut all = Starts::of(frames);
    let (mut filled, mut begun) = (Starts::of(frames), Starts::of(frames));
    let end = loop {
        let start = reader.position();
        let Some(length) = fragment(&mut reader).await? else {
            break start;
        };
        reader.fill(4.min(length as usize)).await?;
        all.add(start);
        if length > 0 {
            filled.add(start);
        }
        if begins_codestream(reader.here(), transfer_syntax) {
            begun.add(start);
        }
        reader.skip(length.into()).await?;
    };
    let unclear = Error::Pixels("fragments cannot be assigned to frames");
    let starts = all.whole().or(filled.whole()).or(begun.whole());
    let starts = starts.ok_or(unclear)?;
    let ends = starts.iter().skip(1).copied().chain([end]);
    let spans = starts.iter().zip(ends).map(|(&start, end)| Span {
        start,
        end: Some(end),
    });
    Ok(Encapsulated {
        first,
        spans: spans.collect(),
    })
}

/// Possible starts of frames; only as many as there are frames are kept.
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

    /// The starts, if there is one for each frame.
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
