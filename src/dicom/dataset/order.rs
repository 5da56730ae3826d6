//! Where a data set ends that has other bytes behind it.

use dicom_core::dictionary::DataDictionary;
use dicom_core::{Tag, VR};
use dicom_dictionary_std::StandardDataDictionary;

use super::PIXEL_DATA;
use super::syntax::Syntax;
use crate::dicom::transfer_syntax::Encoding;
use crate::dicom::value_representation;

/// The shortest head of an element.
const SHORTEST: usize = 8;

/// The order of the elements at the top level of a data set. It tells an element from bytes that
/// follow the data set.
#[derive(Debug, Clone, Copy)]
pub struct Order {
    syntax: Syntax,
    /// The greatest tag so far.
    last: Tag,
}

impl Order {
    /// The order at the start of a data set.
    #[must_use]
    pub fn new(encoding: Encoding) -> Self {
        Self::of(Syntax::of(encoding))
    }

    pub(in crate::dicom) fn of(syntax: Syntax) -> Self {
        Self {
            syntax,
            last: Tag(0, 0),
        }
    }

    /// The greatest tag so far.
    pub(in crate::dicom) fn last(&self) -> Tag {
        self.last
    }

    /// An element has passed.
    pub fn pass(&mut self, tag: Tag) {
        self.last = self.last.max(tag);
    }

    /// Whether a head cannot belong to an element here. Elements are sorted (PS3.5 7.1), and few
    /// follow pixel data; a tag out of order must be in the dictionary or have a known
    /// representation.
    #[must_use]
    pub fn is_foreign(&self, tag: Tag, vr: Option<VR>) -> bool {
        self.cannot_follow(tag, Some(vr))
    }

    /// `vr`: `None` if it has not arrived.
    fn cannot_follow(&self, tag: Tag, vr: Option<Option<VR>>) -> bool {
        let (is_sorted, is_behind_pixels) = (tag >= self.last, self.last >= PIXEL_DATA);
        let is_private = tag.group() % 2 == 1;
        let has_entry = || StandardDataDictionary.by_tag(tag).is_some();
        let is_known = match vr {
            Some(Some(_)) if self.syntax != Syntax::ImplicitLittle => true,
            Some(None) if self.syntax != Syntax::ImplicitLittle => !is_behind_pixels && has_entry(),
            Some(_) | None if is_private => is_sorted || !is_behind_pixels,
            Some(_) | None => has_entry(),
        };
        // PS3.5 7.1: data sets do not contain groups 0000 and 0002.
        let is_expected = is_sorted && !is_behind_pixels;
        tag.group() == 0 || !(is_expected || is_known)
    }

    /// Whether the last bytes, which are fewer than the head of an element, follow the data set.
    #[must_use]
    pub fn ends_before(&self, rest: &[u8]) -> bool {
        let is_padding = match rest {
            // The first byte of a group in big endian, in nearly every case.
            [0] => self.syntax != Syntax::ExplicitBig,
            _ => rest.iter().all(|byte| *byte == 0),
        };
        is_padding || self.is_foreign_rest(rest)
    }

    fn is_foreign_rest(&self, rest: &[u8]) -> bool {
        match *rest {
            [b'\n'] | [b'\r', b'\n'] => true,
            [a, b, c, d, ..] if rest.len() < SHORTEST => {
                let tag = Tag(self.syntax.u16([a, b]), self.syntax.u16([c, d]));
                let vr = rest.get(4..6).and_then(|vr| vr.first_chunk());
                self.cannot_follow(tag, vr.map(|vr| value_representation(*vr)))
            }
            _ => false,
        }
    }
}
