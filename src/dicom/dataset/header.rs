//! The head of an element: everything before its value (PS3.5 7.1 and 7.5).

use dicom_core::dictionary::{DataDictionary, DataDictionaryEntry, VirtualVr};
use dicom_core::{Tag, VR};
use dicom_dictionary_std::StandardDataDictionary;

use super::form::HeadForm;
use super::syntax::Syntax;
use super::{Error, ITEM, ITEM_END, SEQUENCE_END};
use crate::dicom::transfer_syntax::Encoding;
use crate::dicom::value_representation;

pub(super) const UNDEFINED: u32 = 0xFFFF_FFFF;

/// The head of an element: everything before its value.
#[derive(Clone, Copy, Debug)]
pub struct Head {
    /// Its tag; also that of an item or a delimiter.
    pub tag: Tag,
    /// The value representation, unless it is implicit.
    pub vr: Option<VR>,
    /// The length of its value; `None` if it is undefined.
    pub length: Option<u32>,
    /// The length of the head itself.
    pub size: usize,
}

impl Head {
    /// Parses the head at the start of `bytes`.
    ///
    /// # Errors
    /// [`Error::Truncated`] if they end in the head.
    pub fn read(bytes: &[u8], encoding: Encoding) -> Result<Self, Error> {
        let header = Header::read(bytes, 0, Syntax::of(encoding))?;
        Ok(Self {
            tag: header.tag,
            vr: header.vr,
            length: header.length,
            size: header.value,
        })
    }

    /// Whether it begins an item.
    #[must_use]
    pub fn begins_item(&self) -> bool {
        self.tag == ITEM
    }

    /// Whether it ends a sequence of undefined length, or fragments.
    #[must_use]
    pub fn ends_sequence(&self) -> bool {
        self.tag == SEQUENCE_END
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

pub(super) struct Header {
    pub(super) tag: Tag,
    pub(super) vr: Option<VR>,
    /// `None`: undefined.
    pub(super) length: Option<u32>,
    /// The offset of the value.
    pub(super) value: usize,
}

impl Header {
    // PS3.5 7.1.2 and 7.1.3, 7.5 for items.
    pub(super) fn read(bytes: &[u8], at: usize, syntax: Syntax) -> Result<Self, Error> {
        let head: [u8; 8] = take(bytes, at)?;
        let [t0, t1, t2, t3, l0, l1, l2, l3] = head;
        let tag = Tag(syntax.u16([t0, t1]), syntax.u16([t2, t3]));
        let vr = value_representation([l0, l1]);
        match HeadForm::of(tag.group(), [l0, l1, l2, l3], syntax) {
            HeadForm::Plain => {
                let length = syntax.u32([l0, l1, l2, l3]);
                Ok(Self::new(tag, None, length, at + 8))
            }
            HeadForm::Short => {
                let length = u32::from(syntax.u16([l2, l3]));
                Ok(Self::new(tag, vr, length, at + 8))
            }
            HeadForm::Long => {
                let length = take(bytes, at + 8)?;
                Ok(Self::new(tag, vr, syntax.u32(length), at + 12))
            }
        }
    }

    fn new(tag: Tag, vr: Option<VR>, length: u32, value: usize) -> Self {
        Self {
            tag,
            vr,
            length: (length != UNDEFINED).then_some(length),
            value,
        }
    }

    pub(super) fn is_delimiter(&self) -> bool {
        self.tag == ITEM_END || self.tag == SEQUENCE_END
    }

    pub(super) fn is_sequence(&self, syntax: Syntax) -> bool {
        match self.vr {
            Some(vr) => vr == VR::SQ,
            None if syntax == Syntax::ImplicitLittle => is_sequence_by_dictionary(self.tag),
            None => false,
        }
    }
}

pub(super) fn is_sequence_by_dictionary(tag: Tag) -> bool {
    StandardDataDictionary
        .by_tag(tag)
        .is_some_and(|entry| entry.vr() == VirtualVr::Exact(VR::SQ))
}

fn take<const N: usize>(bytes: &[u8], at: usize) -> Result<[u8; N], Error> {
    bytes
        .get(at..)
        .and_then(|rest| rest.first_chunk::<N>())
        .copied()
        .ok_or(Error::Truncated)
}
