//! Reading data sets in place: a view over bytes that somebody else wrote.
//!
//! Nothing is copied and nothing is allocated on the word of a length field: a value is a slice of
//! bytes that are there. Sequences may nest [`MAX_DEPTH`] deep; what is skipped is walked without
//! recursion. A view over the first bytes of a longer stream says [`Error::Truncated`] where more
//! bytes would be needed, and something else where more bytes would not help.

use dicom_core::dictionary::{DataDictionary, DataDictionaryEntry, VirtualVr};
use dicom_core::{Tag, VR};
use dicom_dictionary_std::StandardDataDictionary;

use super::transfer_syntax::Encoding;

/// How deep sequences may nest. Real objects stay below ten.
pub const MAX_DEPTH: usize = 32;

pub(super) const ITEM: Tag = Tag(0xFFFE, 0xE000);
pub(super) const ITEM_END: Tag = Tag(0xFFFE, 0xE00D);
pub(super) const SEQUENCE_END: Tag = Tag(0xFFFE, 0xE0DD);
pub(super) const PIXEL_DATA: Tag = Tag(0x7FE0, 0x0010);
const UNDEFINED: u32 = 0xFFFF_FFFF;

/// Why bytes are no data set.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// A header or a value goes beyond the bytes that are there.
    #[error("a length goes beyond the end of the data")]
    Truncated,
    /// The bytes break PS3.5.
    #[error("{0}")]
    Malformed(&'static str),
    /// Sequences nest deeper than [`MAX_DEPTH`].
    #[error("sequences nest deeper than {MAX_DEPTH}")]
    TooDeep,
}

/// A data set, or an item of a sequence.
#[derive(Clone, Copy, Debug)]
pub struct DataSet<'a> {
    bytes: &'a [u8],
    syntax: Syntax,
    depth: usize,
}

/// One element of a data set.
#[derive(Clone, Copy, Debug)]
pub struct Element<'a> {
    /// Its tag.
    pub tag: Tag,
    vr: Option<VR>,
    value: &'a [u8],
    has_length: bool,
    syntax: Syntax,
    depth: usize,
}

/// The head of an element: everything before its value.
#[derive(Clone, Copy, Debug)]
pub struct Head {
    /// Its tag; also that of an item or a delimiter.
    pub tag: Tag,
    /// The value representation, where one is written.
    pub vr: Option<VR>,
    /// The length of its value; `None` if it is undefined.
    pub length: Option<u32>,
    /// The length of the head itself.
    pub size: usize,
}

impl Head {
    /// Reads the head at the beginning of some bytes.
    ///
    /// # Errors
    /// [`Error::Truncated`] if that is not all of it.
    pub fn read(bytes: &[u8], encoding: Encoding) -> Result<Self, Error> {
        let header = Header::read(bytes, 0, DataSet::new(&[], encoding).syntax)?;
        Ok(Self {
            tag: header.tag,
            vr: header.vr,
            length: header.length,
            size: header.value,
        })
    }

    /// Whether it is an item, or a delimiter.
    #[must_use]
    pub fn is_item(&self) -> bool {
        self.tag.group() == ITEM.group()
    }

    /// Whether it ends an item or a sequence of undefined length.
    #[must_use]
    pub fn is_delimiter(&self) -> bool {
        self.tag == ITEM_END || self.tag == SEQUENCE_END
    }
}

/// How elements are written, once a deflated data set is inflated.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Syntax {
    ImplicitLittle,
    ExplicitLittle,
    ExplicitBig,
}

impl<'a> DataSet<'a> {
    /// A view over the bytes of a data set; of a deflated one, over its inflated bytes.
    #[must_use]
    pub fn new(bytes: &'a [u8], encoding: Encoding) -> Self {
        Self {
            bytes,
            syntax: Syntax::of(encoding),
            depth: 0,
        }
    }

    /// Walks over everything, into every sequence, so that a later reader meets no surprise.
    ///
    /// # Errors
    /// What is wrong with the bytes.
    pub fn check(&self) -> Result<(), Error> {
        let root = Frame {
            kind: Kind::Item,
            end: Some(self.bytes.len()),
            syntax: self.syntax,
        };
        walk(self.bytes, 0, root, self.depth, Walk::Descend).map(|_end| ())
    }

    /// The elements in the order in which they are written.
    #[must_use]
    pub fn elements(&self) -> Elements<'a> {
        Elements { set: *self, at: 0 }
    }

    /// The first element with this tag. Elements are looked at in order, and all of them: writers
    /// that do not sort them exist.
    #[must_use]
    pub fn element(&self, tag: Tag) -> Option<Element<'a>> {
        self.elements()
            .map_while(Result::ok)
            .find(|element| element.tag == tag)
    }

    /// The value of an element as text bytes, without padding. `None` if it is absent, empty or
    /// not text. The tag is trusted, not the value representation that a writer chose for it.
    #[must_use]
    pub fn text(&self, tag: Tag) -> Option<&'a [u8]> {
        self.element(tag)?.text()
    }

    /// The items of a sequence; none if it is absent.
    #[must_use]
    pub fn items(&self, tag: Tag) -> Items<'a> {
        self.element(tag)
            .map_or_else(Items::none, |element| element.items())
    }
}

impl<'a> Element<'a> {
    /// The bytes of the value. Of a sequence: its items, delimiters included.
    #[must_use]
    pub fn bytes(&self) -> &'a [u8] {
        self.value
    }

    /// The value representation, where one is written.
    #[must_use]
    pub fn vr(&self) -> Option<VR> {
        self.vr
    }

    /// The value as text bytes without leading and trailing blanks and NULs; `None` if that is
    /// nothing, or if the value is a sequence or binary.
    #[must_use]
    pub fn text(&self) -> Option<&'a [u8]> {
        if matches!(self.vr, Some(VR::SQ | VR::OB | VR::OW)) {
            return None;
        }
        let trimmed = trim(self.value);
        (!trimmed.is_empty()).then_some(trimmed)
    }

    /// The value as ASCII text, such as UIDs and codes are.
    #[must_use]
    pub fn ascii(&self) -> Option<&'a str> {
        std::str::from_utf8(self.text()?).ok()
    }

    /// Whether it holds items: by its value representation, or by what an undefined length means.
    #[must_use]
    pub fn is_sequence(&self) -> bool {
        match self.vr {
            Some(VR::SQ) => true,
            Some(VR::UN) => !self.has_length,
            Some(_) => false,
            None if self.has_length => is_sequence_by_dictionary(self.tag),
            None => self.tag != PIXEL_DATA,
        }
    }

    /// Whether numbers in it are written with their highest byte first.
    #[must_use]
    pub fn is_big_endian(&self) -> bool {
        self.syntax == Syntax::ExplicitBig
    }

    /// Whether it is encapsulated pixel data, whose bytes are items (PS3.5 A.4).
    #[must_use]
    pub fn is_encapsulated(&self) -> bool {
        !self.has_length && !self.is_sequence()
    }

    /// The items of this element, if it is a sequence.
    #[must_use]
    pub fn items(&self) -> Items<'a> {
        // CP-246: what is written as UN keeps its items in Implicit VR Little Endian.
        let syntax = if self.vr == Some(VR::UN) {
            Syntax::ImplicitLittle
        } else {
            self.syntax
        };
        Items {
            bytes: self.value,
            at: 0,
            syntax,
            depth: self.depth + 1,
        }
    }
}

fn trim(mut bytes: &[u8]) -> &[u8] {
    while let [b' ' | 0 | b'\t' | b'\r' | b'\n', rest @ ..] = bytes {
        bytes = rest;
    }
    while let [rest @ .., b' ' | 0 | b'\t' | b'\r' | b'\n'] = bytes {
        bytes = rest;
    }
    bytes
}

/// The elements of a data set; ends after the first error.
#[derive(Debug)]
pub struct Elements<'a> {
    set: DataSet<'a>,
    at: usize,
}

impl<'a> Iterator for Elements<'a> {
    type Item = Result<Element<'a>, Error>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.at >= self.set.bytes.len() {
            return None;
        }
        let element = self.read();
        if element.is_err() {
            self.at = self.set.bytes.len();
        }
        Some(element)
    }
}

impl<'a> Elements<'a> {
    fn read(&mut self) -> Result<Element<'a>, Error> {
        let DataSet {
            bytes,
            syntax,
            depth,
        } = self.set;
        let header = Header::read(bytes, self.at, syntax)?;
        if header.tag.group() == ITEM.group() {
            return Err(Error::Malformed("an item stands outside a sequence"));
        }
        let (end, next) = match header.length {
            Some(length) => {
                let end = end_of(bytes, header.value, length)?;
                (end, end)
            }
            None => end_of_undefined(bytes, &header, syntax, depth)?,
        };
        self.at = next;
        let value = &bytes[header.value..end];
        Ok(Element {
            tag: header.tag,
            vr: header.vr,
            value,
            has_length: header.length.is_some(),
            syntax,
            depth,
        })
    }
}

/// The items of a sequence; ends after the first error.
#[derive(Debug)]
pub struct Items<'a> {
    bytes: &'a [u8],
    at: usize,
    syntax: Syntax,
    depth: usize,
}

impl<'a> Items<'a> {
    fn none() -> Self {
        Self {
            bytes: &[],
            at: 0,
            syntax: Syntax::ImplicitLittle,
            depth: 0,
        }
    }

    fn read(&mut self) -> Result<Option<DataSet<'a>>, Error> {
        if self.depth > MAX_DEPTH {
            return Err(Error::TooDeep);
        }
        let header = Header::read(self.bytes, self.at, self.syntax)?;
        if header.tag == SEQUENCE_END {
            return Ok(None);
        }
        if header.tag != ITEM {
            return Err(Error::Malformed(
                "a sequence holds something else than items",
            ));
        }
        let (end, next) = match header.length {
            Some(length) => {
                let end = end_of(self.bytes, header.value, length)?;
                (end, end)
            }
            None => {
                let frame = Frame {
                    kind: Kind::Item,
                    end: None,
                    syntax: self.syntax,
                };
                walk(self.bytes, header.value, frame, self.depth, Walk::Skip)?
            }
        };
        self.at = next;
        let bytes = &self.bytes[header.value..end];
        Ok(Some(DataSet {
            bytes,
            syntax: self.syntax,
            depth: self.depth,
        }))
    }
}

impl<'a> Iterator for Items<'a> {
    type Item = Result<DataSet<'a>, Error>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.at >= self.bytes.len() {
            return None;
        }
        let item = self.read().transpose();
        if !matches!(item, Some(Ok(_))) {
            self.at = self.bytes.len();
        }
        item
    }
}

struct Header {
    tag: Tag,
    vr: Option<VR>,
    /// `None`: undefined.
    length: Option<u32>,
    /// Where the value starts.
    value: usize,
}

impl Header {
    // PS3.5 7.1.2 and 7.1.3, 7.5 for items.
    fn read(bytes: &[u8], at: usize, syntax: Syntax) -> Result<Self, Error> {
        let head: [u8; 8] = take(bytes, at)?;
        let [t0, t1, t2, t3, l0, l1, l2, l3] = head;
        let tag = Tag(syntax.u16([t0, t1]), syntax.u16([t2, t3]));
        if tag.group() == ITEM.group() || syntax == Syntax::ImplicitLittle {
            return Ok(Self::new(tag, None, syntax.u32([l0, l1, l2, l3]), at + 8));
        }
        let vr = VR::from_binary([l0, l1]);
        if vr.is_none() && !(l0.is_ascii_uppercase() && l1.is_ascii_uppercase()) {
            return Err(Error::Malformed("an element has no value representation"));
        }
        if vr.is_some_and(has_short_length) {
            return Ok(Self::new(tag, vr, u32::from(syntax.u16([l2, l3])), at + 8));
        }
        let length = take(bytes, at + 8)?;
        Ok(Self::new(tag, vr, syntax.u32(length), at + 12))
    }

    fn new(tag: Tag, vr: Option<VR>, length: u32, value: usize) -> Self {
        Self {
            tag,
            vr,
            length: (length != UNDEFINED).then_some(length),
            value,
        }
    }

    fn is_sequence(&self, syntax: Syntax) -> bool {
        match self.vr {
            Some(vr) => vr == VR::SQ,
            None if syntax == Syntax::ImplicitLittle => is_sequence_by_dictionary(self.tag),
            None => false,
        }
    }

    /// What an element of undefined length holds, and how that is written.
    fn undefined(&self, syntax: Syntax) -> Result<(Kind, Syntax), Error> {
        match self.vr {
            Some(VR::OB | VR::OW) => Ok((Kind::Fragments, syntax)),
            Some(VR::SQ) => Ok((Kind::Sequence, syntax)),
            // CP-246.
            Some(VR::UN) => Ok((Kind::Sequence, Syntax::ImplicitLittle)),
            None if self.tag == PIXEL_DATA => Ok((Kind::Fragments, syntax)),
            None => Ok((Kind::Sequence, syntax)),
            Some(_) => Err(Error::Malformed("a plain value has an undefined length")),
        }
    }
}

// PS3.5 table 7.1-2: every other representation, and every future one, has the long form.
pub(super) fn has_short_length(vr: VR) -> bool {
    matches!(
        vr,
        VR::AE
            | VR::AS
            | VR::AT
            | VR::CS
            | VR::DA
            | VR::DS
            | VR::DT
            | VR::FL
            | VR::FD
            | VR::IS
            | VR::LO
            | VR::LT
            | VR::PN
            | VR::SH
            | VR::SL
            | VR::SS
            | VR::ST
            | VR::TM
            | VR::UI
            | VR::UL
            | VR::US
    )
}

fn is_sequence_by_dictionary(tag: Tag) -> bool {
    StandardDataDictionary
        .by_tag(tag)
        .is_some_and(|entry| entry.vr() == VirtualVr::Exact(VR::SQ))
}

impl Syntax {
    pub(super) fn of(encoding: Encoding) -> Self {
        match encoding {
            Encoding::ImplicitLittle => Self::ImplicitLittle,
            Encoding::ExplicitLittle | Encoding::Deflated => Self::ExplicitLittle,
            Encoding::ExplicitBig => Self::ExplicitBig,
        }
    }

    pub(super) fn u16(self, bytes: [u8; 2]) -> u16 {
        match self {
            Self::ImplicitLittle | Self::ExplicitLittle => u16::from_le_bytes(bytes),
            Self::ExplicitBig => u16::from_be_bytes(bytes),
        }
    }

    pub(super) fn u32(self, bytes: [u8; 4]) -> u32 {
        match self {
            Self::ImplicitLittle | Self::ExplicitLittle => u32::from_le_bytes(bytes),
            Self::ExplicitBig => u32::from_be_bytes(bytes),
        }
    }
}

fn take<const N: usize>(bytes: &[u8], at: usize) -> Result<[u8; N], Error> {
    bytes
        .get(at..)
        .and_then(|rest| rest.first_chunk::<N>())
        .copied()
        .ok_or(Error::Truncated)
}

fn end_of(bytes: &[u8], start: usize, length: u32) -> Result<usize, Error> {
    let length = usize::try_from(length).map_err(|_too_big| Error::Truncated)?;
    let end = start.checked_add(length).ok_or(Error::Truncated)?;
    if end <= bytes.len() {
        Ok(end)
    } else {
        Err(Error::Truncated)
    }
}

fn end_of_undefined(
    bytes: &[u8],
    header: &Header,
    syntax: Syntax,
    depth: usize,
) -> Result<(usize, usize), Error> {
    let (kind, inner) = header.undefined(syntax)?;
    walk(
        bytes,
        header.value,
        Frame {
            kind,
            end: None,
            syntax: inner,
        },
        depth,
        Walk::Skip,
    )
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Walk {
    /// Jump over what has a length.
    Skip,
    /// Look into every sequence.
    Descend,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Sequence,
    /// Encapsulated pixel data: items whose values are opaque (PS3.5 A.4).
    Fragments,
    Item,
}

struct Frame {
    kind: Kind,
    /// `None`: until its delimiter.
    end: Option<usize>,
    syntax: Syntax,
}

/// Walks from `at` to the end of what `first` opens. Gives where its content ends and where the
/// next element starts. The stack is bounded by [`MAX_DEPTH`].
fn walk(
    bytes: &[u8],
    mut at: usize,
    first: Frame,
    depth: usize,
    mode: Walk,
) -> Result<(usize, usize), Error> {
    let mut stack = vec![first];
    loop {
        let Some(frame) = stack.last() else {
            return Ok((at, at));
        };
        if frame.end == Some(at) {
            stack.pop();
            continue;
        }
        let header = Header::read(bytes, at, frame.syntax)?;
        if frame.end.is_none() && header.tag == frame.kind.delimiter() {
            stack.pop();
            if stack.is_empty() {
                return Ok((at, header.value));
            }
            at = header.value;
            continue;
        }
        let opened = frame.open(&header, mode)?;
        let end = header
            .length
            .map(|length| end_of(bytes, header.value, length))
            .transpose()?;
        if let (Some(limit), Some(end)) = (frame.end, end)
            && end > limit
        {
            return Err(Error::Malformed("a length goes beyond what encloses it"));
        }
        at = match (opened, end) {
            (None, Some(end)) => end,
            (None, None) => return Err(Error::Malformed("a plain value has an undefined length")),
            (Some((kind, syntax)), end) => {
                // An item and its sequence make one level.
                if depth + stack.len().div_ceil(2) > MAX_DEPTH {
                    return Err(Error::TooDeep);
                }
                stack.push(Frame { kind, end, syntax });
                header.value
            }
        };
    }
}

impl Frame {
    /// What `header`, met in this frame, opens; `None` if it is a value to jump over.
    fn open(&self, header: &Header, mode: Walk) -> Result<Option<(Kind, Syntax)>, Error> {
        let is_item = header.tag == ITEM;
        match self.kind {
            Kind::Sequence if !is_item => Err(Error::Malformed(
                "a sequence holds something else than items",
            )),
            Kind::Fragments if !is_item => Err(Error::Malformed(
                "pixel data fragments hold something else than items",
            )),
            Kind::Fragments => Ok(None),
            Kind::Sequence if header.length.is_some() && mode == Walk::Skip => Ok(None),
            Kind::Sequence => Ok(Some((Kind::Item, self.syntax))),
            Kind::Item if header.tag.group() == ITEM.group() => {
                Err(Error::Malformed("an item stands outside a sequence"))
            }
            Kind::Item if header.length.is_none() => header.undefined(self.syntax).map(Some),
            Kind::Item if mode == Walk::Descend && header.is_sequence(self.syntax) => {
                Ok(Some((Kind::Sequence, self.syntax)))
            }
            Kind::Item => Ok(None),
        }
    }
}

impl Kind {
    fn delimiter(self) -> Tag {
        match self {
            Self::Sequence | Self::Fragments => SEQUENCE_END,
            Self::Item => ITEM_END,
        }
    }
}

#[cfg(test)]
#[path = "dataset_tests.rs"]
mod tests;
