//! Parses data sets in place: a view over untrusted bytes.
//!
//! The parser does not copy values or allocate by length fields: a value is a slice of the input.
//! Sequences may nest [`MAX_DEPTH`] deep and are skipped without recursion. A view over the first
//! bytes of a longer stream fails with [`Error::Truncated`] if more bytes would help, and with
//! another error if they would not.

mod extent;
mod form;
mod header;
mod order;
mod syntax;
#[cfg(test)]
mod tests;

use dicom_core::{Tag, VR};

use super::transfer_syntax::Encoding;
use extent::{Container, Level, Traversal, end_of, end_of_undefined, walk};
use header::{Header, is_sequence_by_dictionary};

pub use form::encoding_of_item;
pub(super) use form::{HeadForm, has_short_length, syntax_of_item};
pub use header::Head;
pub use order::Order;
pub(super) use syntax::Syntax;

/// The limit on nested sequences. Real objects nest less than ten deep.
pub const MAX_DEPTH: usize = 32;

pub(super) const ITEM: Tag = Tag(0xFFFE, 0xE000);
pub(super) const ITEM_END: Tag = Tag(0xFFFE, 0xE00D);
pub(super) const SEQUENCE_END: Tag = Tag(0xFFFE, 0xE0DD);
pub(super) const PIXEL_DATA: Tag = Tag(0x7FE0, 0x0010);

/// Why bytes are not a data set.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// A header or a value extends beyond the end of the bytes.
    #[error("a length exceeds the data")]
    Truncated,
    /// The bytes violate PS3.5.
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

    /// The data set without bytes that follow it: zeros, or bytes that are no element. The view of
    /// a whole file starts with it.
    #[must_use]
    pub fn without_tail(self) -> Self {
        let mut order = Order::of(self.syntax);
        let mut elements = self.elements();
        loop {
            let rest = &self.bytes[elements.at..];
            let Ok(header) = Header::read(rest, 0, self.syntax) else {
                let end = if order.ends_before(rest) {
                    elements.at
                } else {
                    self.bytes.len()
                };
                return self.up_to(end);
            };
            if !header.is_delimiter() && order.is_foreign(header.tag, header.vr) {
                return self.up_to(elements.at);
            }
            match elements.next() {
                Some(Ok(element)) => order.pass(element.tag),
                Some(Err(_)) | None => return self,
            }
        }
    }

    fn up_to(self, end: usize) -> Self {
        Self {
            bytes: &self.bytes[..end],
            ..self
        }
    }

    /// Walks over all elements and into every sequence, so that later reads cannot fail.
    ///
    /// # Errors
    /// Why the bytes are malformed.
    pub fn check(&self) -> Result<(), Error> {
        let root = Level {
            container: Container::Item,
            end: Some(self.bytes.len()),
            syntax: self.syntax,
        };
        walk(self.bytes, 0, root, self.depth, Traversal::Descend).map(|_end| ())
    }

    /// The elements in stored order.
    #[must_use]
    pub fn elements(&self) -> Elements<'a> {
        Elements { set: *self, at: 0 }
    }

    /// The first element with this tag. The search covers all elements: some writers do not sort
    /// them.
    #[must_use]
    pub fn element(&self, tag: Tag) -> Option<Element<'a>> {
        self.elements()
            .map_while(Result::ok)
            .find(|element| element.tag == tag)
    }

    /// The value of an element as text bytes, without padding; `None` if it is absent, empty or
    /// binary. The tag determines the type, not the value representation of the writer.
    #[must_use]
    pub fn text(&self, tag: Tag) -> Option<&'a [u8]> {
        self.element(tag)?.text()
    }

    /// The items of a sequence; empty if it is absent.
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

    /// The value representation, unless it is implicit.
    #[must_use]
    pub fn vr(&self) -> Option<VR> {
        self.vr
    }

    /// The value as text bytes without leading and trailing blanks and NULs; `None` if it is empty,
    /// a sequence or binary.
    #[must_use]
    pub fn text(&self) -> Option<&'a [u8]> {
        if matches!(self.vr, Some(VR::SQ | VR::OB | VR::OW)) {
            return None;
        }
        let trimmed = trim(self.value);
        (!trimmed.is_empty()).then_some(trimmed)
    }

    /// The value as ASCII text, such as a UID or a code.
    #[must_use]
    pub fn ascii(&self) -> Option<&'a str> {
        std::str::from_utf8(self.text()?).ok()
    }

    /// Whether it holds items, by its value representation or its undefined length.
    #[must_use]
    pub fn is_sequence(&self) -> bool {
        match self.vr {
            Some(VR::SQ) => true,
            Some(VR::UN) => !self.has_length,
            Some(_) => false,
            // What has an odd representation has the length of a text.
            None if self.has_length => {
                self.syntax == Syntax::ImplicitLittle && is_sequence_by_dictionary(self.tag)
            }
            None => self.tag != PIXEL_DATA,
        }
    }

    /// Whether its numbers are big endian.
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
        // CP-246: the items of a UN element are Implicit VR Little Endian.
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
        self.at = past_delimiters(self.set.bytes, self.at, self.set.syntax);
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
        if header.tag == ITEM {
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

    fn read(&mut self) -> Result<DataSet<'a>, Error> {
        if self.depth > MAX_DEPTH {
            return Err(Error::TooDeep);
        }
        let header = Header::read(self.bytes, self.at, self.syntax)?;
        if header.tag != ITEM {
            return Err(Error::Malformed(
                "a sequence holds something other than items",
            ));
        }
        let syntax = syntax_of_item(&self.bytes[header.value..], self.syntax);
        let (end, next) = match header.length {
            Some(length) => {
                let end = end_of(self.bytes, header.value, length)?;
                (end, end)
            }
            None => {
                let level = Level {
                    container: Container::Item,
                    end: None,
                    syntax,
                };
                walk(self.bytes, header.value, level, self.depth, Traversal::Skip)?
            }
        };
        self.at = next;
        let bytes = &self.bytes[header.value..end];
        Ok(DataSet {
            bytes,
            syntax,
            depth: self.depth,
        })
    }
}

impl<'a> Iterator for Items<'a> {
    type Item = Result<DataSet<'a>, Error>;

    fn next(&mut self) -> Option<Self::Item> {
        self.at = past_delimiters(self.bytes, self.at, self.syntax);
        if self.at >= self.bytes.len() {
            return None;
        }
        let item = self.read();
        if item.is_err() {
            self.at = self.bytes.len();
        }
        Some(item)
    }
}

/// The offset behind delimiters at `at`. Some writers put one into what has a length, or behind it.
fn past_delimiters(bytes: &[u8], mut at: usize, syntax: Syntax) -> usize {
    while let Ok(header) = Header::read(bytes, at, syntax)
        && header.is_delimiter()
    {
        at = header.value;
    }
    at
}
