//! Finds the ends of values, by their length or by a walk to their delimiter.

use dicom_core::{Tag, VR};

use super::form::syntax_of_item;
use super::header::Header;
use super::syntax::Syntax;
use super::{Error, ITEM, ITEM_END, MAX_DEPTH, PIXEL_DATA, SEQUENCE_END};

pub(super) fn end_of(bytes: &[u8], start: usize, length: u32) -> Result<usize, Error> {
    let length = usize::try_from(length).map_err(|_too_big| Error::Truncated)?;
    let end = start.checked_add(length).ok_or(Error::Truncated)?;
    if end <= bytes.len() {
        Ok(end)
    } else {
        Err(Error::Truncated)
    }
}

pub(super) fn end_of_undefined(
    bytes: &[u8],
    header: &Header,
    syntax: Syntax,
    depth: usize,
) -> Result<(usize, usize), Error> {
    let (container, inner) = header.undefined(syntax)?;
    walk(
        bytes,
        header.value,
        Level {
            container,
            end: None,
            syntax: inner,
        },
        depth,
        Traversal::Skip,
    )
}

#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Traversal {
    /// Skip values of defined length.
    Skip,
    /// Enter every sequence.
    Descend,
}

#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Container {
    Sequence,
    /// Encapsulated pixel data: items whose values are opaque (PS3.5 A.4).
    Fragments,
    Item,
}

pub(super) struct Level {
    pub(super) container: Container,
    /// `None`: until its delimiter.
    pub(super) end: Option<usize>,
    pub(super) syntax: Syntax,
}

/// Walks from `at` to the end of the container `first`. Returns the end of its content and the
/// start of the next element. [`MAX_DEPTH`] bounds the stack.
pub(super) fn walk(
    bytes: &[u8],
    mut at: usize,
    first: Level,
    depth: usize,
    mode: Traversal,
) -> Result<(usize, usize), Error> {
    let mut stack = vec![first];
    loop {
        let Some(level) = stack.last() else {
            return Ok((at, at));
        };
        if level.end == Some(at) || (is_last(level) && stack.len() == 1 && at == bytes.len()) {
            stack.pop();
            continue;
        }
        let header = Header::read(bytes, at, level.syntax)?;
        match level.at(&header) {
            Step::Enter => {}
            Step::Skip => {
                at = level.within(header.value)?;
                continue;
            }
            Step::End => {
                stack.pop();
                if stack.is_empty() {
                    return Ok((at, header.value));
                }
                at = header.value;
                continue;
            }
            Step::EndBefore => {
                stack.pop();
                continue;
            }
        }
        let opened = level.open(&header, mode)?;
        let end = level.end_within(bytes, &header)?;
        at = match (opened, end) {
            (None, Some(end)) => end,
            (None, None) => return Err(Error::Malformed("a plain value has an undefined length")),
            (Some((container, syntax)), end) => {
                let syntax = match container {
                    Container::Item => syntax_of_item(&bytes[header.value..], syntax),
                    Container::Sequence | Container::Fragments => syntax,
                };
                // An item and its sequence count as one level.
                if depth + stack.len().div_ceil(2) > MAX_DEPTH {
                    return Err(Error::TooDeep);
                }
                stack.push(Level {
                    container,
                    end,
                    syntax,
                });
                header.value
            }
        };
    }
}

/// Whether a level may end with the bytes: those of a sequence end where it does, also if the
/// delimiter of its last item is missing.
fn is_last(level: &Level) -> bool {
    level.container == Container::Item && level.end.is_none()
}

impl Header {
    /// The container and the encoding of an element of undefined length.
    fn undefined(&self, syntax: Syntax) -> Result<(Container, Syntax), Error> {
        match self.vr {
            Some(VR::OB | VR::OW) => Ok((Container::Fragments, syntax)),
            Some(VR::SQ) => Ok((Container::Sequence, syntax)),
            // CP-246.
            Some(VR::UN) => Ok((Container::Sequence, Syntax::ImplicitLittle)),
            None if self.tag == PIXEL_DATA => Ok((Container::Fragments, syntax)),
            None => Ok((Container::Sequence, syntax)),
            Some(_) => Err(Error::Malformed("a plain value has an undefined length")),
        }
    }
}

/// What comes of a head.
enum Step {
    /// It is an element or an item.
    Enter,
    /// It is a delimiter that ends nothing: some writers put one into what has a length.
    Skip,
    /// It ends the level.
    End,
    /// The level ends before it: its own delimiter is missing.
    EndBefore,
}

impl Level {
    fn at(&self, header: &Header) -> Step {
        match (self.container, self.end, header.tag) {
            (container, None, tag) if tag == container.delimiter() => Step::End,
            (Container::Item, None, ITEM | SEQUENCE_END) => Step::EndBefore,
            (Container::Sequence, _, ITEM_END) => Step::Skip,
            (Container::Item | Container::Sequence, Some(_), ITEM_END | SEQUENCE_END) => Step::Skip,
            _ => Step::Enter,
        }
    }

    /// An offset on this level.
    fn within(&self, at: usize) -> Result<usize, Error> {
        match self.end {
            Some(end) if at > end => Err(Error::Malformed(
                "a length exceeds the enclosing item or sequence",
            )),
            Some(_) | None => Ok(at),
        }
    }

    /// The end of the value of `header`, by its length.
    fn end_within(&self, bytes: &[u8], header: &Header) -> Result<Option<usize>, Error> {
        let Some(length) = header.length else {
            return Ok(None);
        };
        self.within(end_of(bytes, header.value, length)?).map(Some)
    }

    /// The container that `header` opens on this level; `None` for a value to skip.
    fn open(&self, header: &Header, mode: Traversal) -> Result<Option<(Container, Syntax)>, Error> {
        let is_item = header.tag == ITEM;
        match self.container {
            Container::Sequence if !is_item => Err(Error::Malformed(
                "a sequence holds something other than items",
            )),
            Container::Fragments if !is_item => Err(Error::Malformed(
                "pixel data fragments hold something other than items",
            )),
            Container::Fragments => Ok(None),
            Container::Sequence if header.length.is_some() && mode == Traversal::Skip => Ok(None),
            Container::Sequence => Ok(Some((Container::Item, self.syntax))),
            Container::Item if header.tag.group() == ITEM.group() => {
                Err(Error::Malformed("an item stands outside a sequence"))
            }
            Container::Item if header.length.is_none() => header.undefined(self.syntax).map(Some),
            Container::Item if mode == Traversal::Descend && header.is_sequence(self.syntax) => {
                Ok(Some((Container::Sequence, self.syntax)))
            }
            Container::Item => Ok(None),
        }
    }
}

impl Container {
    fn delimiter(self) -> Tag {
        match self {
            Self::Sequence | Self::Fragments => SEQUENCE_END,
            Self::Item => ITEM_END,
        }
    }
}
