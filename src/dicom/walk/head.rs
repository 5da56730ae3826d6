//! The head of an element: everything before its value (PS3.5 7.1).

use dicom_core::{Tag, VR};

use crate::dicom::dataset::{HeadForm, ITEM, Syntax};
use crate::dicom::value_representation;

/// The longest head of an element.
pub(super) const LONGEST: usize = 12;

/// The shortest head, and that of every item and delimiter (PS3.5 7.5).
pub(super) const SHORTEST: usize = 8;

const UNDEFINED: u32 = 0xFFFF_FFFF;

/// The head of an element, an item or a delimiter.
#[derive(Debug, Clone, Copy)]
pub(super) struct Head {
    pub(super) tag: Tag,
    /// The value representation, if it is explicit and known.
    pub(super) vr: Option<VR>,
    /// `None`: undefined.
    pub(super) length: Option<u32>,
    pub(super) size: usize,
}

impl Head {
    /// Parses a head. Bytes behind a shorter head are ignored.
    pub(super) fn read(bytes: &[u8; LONGEST], syntax: Syntax) -> Self {
        let [t0, t1, t2, t3, l0, l1, l2, l3, rest @ ..] = *bytes;
        let tag = Tag(syntax.u16([t0, t1]), syntax.u16([t2, t3]));
        let (vr, length, size) = match HeadForm::of(tag.group(), [l0, l1, l2, l3], syntax) {
            HeadForm::Plain => (None, syntax.u32([l0, l1, l2, l3]), SHORTEST),
            HeadForm::Short => {
                let length = syntax.u16([l2, l3]).into();
                (value_representation([l0, l1]), length, SHORTEST)
            }
            HeadForm::Long => (value_representation([l0, l1]), syntax.u32(rest), LONGEST),
        };
        Self {
            tag,
            vr,
            length: (length != UNDEFINED).then_some(length),
            size,
        }
    }

    /// Whether it is an item or a delimiter.
    pub(super) fn is_item(&self) -> bool {
        self.tag.group() == ITEM.group()
    }

    /// The length of the head that begins with these bytes.
    pub(super) fn size(bytes: &[u8; LONGEST], syntax: Syntax) -> usize {
        Self::read(bytes, syntax).size
    }
}

/// Buffers the head of an element that arrives in pieces.
#[derive(Debug, Default)]
pub(super) struct PartialHead {
    bytes: [u8; LONGEST],
    filled: usize,
}

impl PartialHead {
    /// Takes bytes up to `size` in total, and returns the rest.
    pub(super) fn fill<'b>(&mut self, bytes: &'b [u8], size: usize) -> &'b [u8] {
        let taken = size.saturating_sub(self.filled).min(bytes.len());
        let (taken, rest) = bytes.split_at(taken);
        self.bytes[self.filled..self.filled + taken.len()].copy_from_slice(taken);
        self.filled += taken.len();
        rest
    }

    pub(super) fn len(&self) -> usize {
        self.filled
    }

    pub(super) fn is_empty(&self) -> bool {
        self.filled == 0
    }

    /// The buffered bytes and padding.
    pub(super) fn padded(&self) -> &[u8; LONGEST] {
        &self.bytes
    }

    pub(super) fn bytes(&self) -> &[u8] {
        &self.bytes[..self.filled]
    }

    pub(super) fn clear(&mut self) {
        self.filled = 0;
    }
}
