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
/// The most frames of an instance that does not tell their number.
const MOST_COUNTED: u32 = 1 << 16;
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
        let room = geometry.frames.unwrap_or(MOST_COUNTED);
        if room > MOST_FRAMES {
            return Err(Error::Pixels("too many frames"));
        }
        self.make_room(u64::from(room) * BYTES_PER_FRAME).await?;
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
        if geometry.frames == Some(1) || self.transfer_syntax.is_video() {
            let spans = vec![Span {
                start: first,
                end: None,
            }];
            return Ok(Encapsulated { first, spans });
        }
        let basic = offsets(&table);
        let extended = self.extended_offsets();
        // Whether a plausible table is false turns out when a frame is opened.
        for offsets in [extended, basic].into_iter().flatten() {
            let counted = u32::try_from(offsets.len()).unwrap_or(u32::MAX).min(room);
            let frames = geometry.frames.unwrap_or(counted);
            if let Some(spans) = spans_of(first, &offsets, frames) {
                return Ok(Encapsulated { first, spans });
            }
        }
        let mut fragments = Fragments::new(reader, &self.transfer_syntax, room);
        fragments.counted(geometry.frames).await
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
    frames: Option<u32>,
    transfer_syntax: &TransferSyntax,
) -> Result<Encapsulated, Error> {
    let mut reader = Reader::new(body);
    reader.skip(first).await?;
    let room = frames.unwrap_or(MOST_COUNTED);
    let mut fragments = Fragments::new(reader, transfer_syntax, room);
    fragments.counted(frames).await
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

/// The fragments. A frame is one fragment, or all fragments up
/// to the next start of a codestream.
struct Fragments {
    reader: Reader,
    /// The offset of the first one.
    begin: u64,
    transfer_syntax: TransferSyntax,
    /// All of them, those that are not empty, and those that begin a codestream.
    all: Starts,
    filled: Starts,
    begun: Starts,
    /// Where they end.
    end: u64,
}

impl Fragments {
    fn new(reader: Reader, transfer_syntax: &TransferSyntax, most: u32) -> Self {
        Self {
            begin: reader.position(),
            reader,
            transfer_syntax: transfer_syntax.clone(),
            all: Starts::of(most),
            filled: Starts::of(most),
            begun: Starts::of(most),
            end: 0,
        }
    }

    /// Walks over all of them.
    async fn walk(&mut self) -> Result<&Self, Error> {
        loop {
            let start = self.reader.position();
            let Some(length) = fragment(&mut self.reader).await? else {
                self.end = start;
                return Ok(self);
            };
            self.reader.fill(8.min(length as usize)).await?;
            self.all.add(start);
            if length > 0 {
                self.filled.add(start);
            }
            if begins_codestream(self.reader.here(), &self.transfer_syntax) {
                self.begun.add(start);
            }
            self.reader.skip(length.into()).await?;
        }
    }

    /// The frames, of which there are so many, if that is known.
    async fn counted(&mut self, frames: Option<u32>) -> Result<Encapsulated, Error> {
        let all = self.walk().await?;
        match frames {
            Some(frames) => all.of(frames),
            None => all.begun_or_all(),
        }
    }

    /// The frames, of which there are so many.
    fn of(&self, frames: u32) -> Result<Encapsulated, Error> {
        let mut starts = [&self.all, &self.filled, &self.begun].into_iter();
        let starts = starts.find(|starts| starts.count == frames as usize);
        let unclear = Error::Pixels("fragments cannot be assigned to frames");
        self.spans(starts.ok_or(unclear)?)
    }

    /// The frames, however many there are.
    fn begun_or_all(&self) -> Result<Encapsulated, Error> {
        let starts = if self.begun.count > 0 {
            &self.begun
        } else {
            &self.filled
        };
        if starts.count == 0 || starts.count > starts.most {
            return Err(Error::Pixels("the number of frames is none"));
        }
        self.spans(starts)
    }

    fn spans(&self, starts: &Starts) -> Result<Encapsulated, Error> {
        let ends = starts.first.iter().skip(1).copied().chain([self.end]);
        let spans = starts.first.iter().zip(ends).map(|(&start, end)| Span {
            start,
            end: Some(end),
        });
        Ok(Encapsulated {
            first: self.begin,
            spans: spans.collect(),
        })
    }
}

/// Possible starts of frames; only as many as there may be frames are kept.
struct Starts {
    most: usize,
    first: Vec<u64>,
    count: usize,
}

impl Starts {
    fn of(most: u32) -> Self {
        Self {
            most: most as usize,
            first: Vec::new(),
            count: 0,
        }
    }

    fn add(&mut self, start: u64) {
        self.count += 1;
        if self.count <= self.most {
            self.first.push(start);
        }
    }
}

// JPEG and JPEG-LS begin with SOI, JPEG 2000 with SOC and SIZ, RLE with the number of its segments
// and the place of the first (PS3.5 G.5).
fn begins_codestream(bytes: &[u8], transfer_syntax: &TransferSyntax) -> bool {
    match transfer_syntax.as_str() {
        "1.2.840.10008.1.2.5" => {
            matches!(bytes, [1..=15, 0, 0, 0, 64, 0, 0, 0, ..])
        }
        _ => bytes.starts_with(&[0xFF, 0xD8, 0xFF]) || bytes.starts_with(&[0xFF, 0x4F, 0xFF, 0x51]),
    }
}
