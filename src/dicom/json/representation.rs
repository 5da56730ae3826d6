//! Value representations and the bytes of their values.

#![expect(
    clippy::wildcard_enum_match_arm,
    reason = "these rules concern a few of the many value representations"
)]

use dicom_core::dictionary::{DataDictionary, DataDictionaryEntry, VirtualVr};
use dicom_core::{Tag, VR};
use dicom_dictionary_std::StandardDataDictionary;

use crate::dicom::dataset::{Element, PIXEL_DATA};

/// The bytes of a binary value in little endian, as PS3.18 8.7.3 requires.
#[must_use]
pub fn little_endian(element: &Element<'_>) -> Vec<u8> {
    let mut bytes = element.bytes().to_vec();
    if element.is_big_endian() {
        let width = width(vr_of(element, false));
        for number in bytes.chunks_exact_mut(width) {
            number.reverse();
        }
    }
    bytes
}

/// The bytes of one number in a binary value.
#[must_use]
pub fn width(vr: VR) -> usize {
    match vr {
        VR::OW | VR::US | VR::SS | VR::AT => 2,
        VR::OF | VR::OL | VR::FL | VR::UL | VR::SL => 4,
        VR::OD | VR::OV | VR::FD | VR::UV | VR::SV => 8,
        _ => 1,
    }
}

/// Whether values are binary rather than texts and numbers.
#[must_use]
pub fn is_binary(vr: VR) -> bool {
    matches!(
        vr,
        VR::OB | VR::OD | VR::OF | VR::OL | VR::OV | VR::OW | VR::UN
    )
}

/// The explicit value representation of an element, else that of the dictionary.
#[must_use]
pub fn vr_of(element: &Element<'_>, is_signed: bool) -> VR {
    let vr = element.vr();
    match vr.unwrap_or_else(|| implicit_vr(element.tag, is_signed)) {
        // What has an odd representation has the length of a text.
        VR::SQ if !element.is_sequence() => VR::UN,
        vr => vr,
    }
}

/// The value representation of the dictionary, or of PS3.5 A.1 if that leaves a choice.
#[must_use]
pub fn implicit_vr(tag: Tag, is_signed: bool) -> VR {
    let Tag(group, element) = tag;
    if group % 2 == 1 {
        // PS3.5 7.8.1: private creators.
        return match element {
            0x0010..=0x00FF => VR::LO,
            _ => VR::UN,
        };
    }
    match StandardDataDictionary.by_tag(tag).map(|entry| entry.vr()) {
        Some(VirtualVr::Exact(vr)) => vr,
        Some(VirtualVr::Xs) if is_signed => VR::SS,
        Some(VirtualVr::Xs) => VR::US,
        Some(VirtualVr::Ox | VirtualVr::Px | VirtualVr::Lt) => VR::OW,
        Some(_) => VR::UN,
        None if tag == PIXEL_DATA => VR::OW,
        None => VR::UN,
    }
}
