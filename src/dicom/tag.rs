//! Tags in the notation of names and paths.

use dicom_core::dictionary::{DataDictionary, DataDictionaryEntry, VirtualVr};
use dicom_core::{Tag, VR};
use dicom_dictionary_std::StandardDataDictionary;

/// Parses a tag of eight hexadecimal digits, `7FE00010` (PS3.18 F.2.2).
#[must_use]
pub fn tag(text: &str) -> Option<Tag> {
    if text.len() != 8 || !text.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return None;
    }
    let number = u32::from_str_radix(text, 16).ok()?;
    Some(Tag((number >> 16) as u16, (number & 0xFFFF) as u16))
}

/// A tag in the notation that [`tag`] parses.
#[must_use]
pub fn digits(Tag(group, element): Tag) -> String {
    format!("{group:04X}{element:04X}")
}

/// Whether an attribute is an address: of the representation UR, except that of a coding scheme,
/// which is public. `None`: the dictionary does not know the attribute, so its representation tells.
#[must_use]
pub fn is_address(tag: Tag) -> Option<bool> {
    const CODING_SCHEME_URL: Tag = Tag(0x0008, 0x010E);
    let is_private = tag.group() % 2 == 1;
    let entry = StandardDataDictionary.by_tag(tag);
    let entry = entry.filter(|_| !is_private)?;
    Some(tag != CODING_SCHEME_URL && entry.vr() == VirtualVr::Exact(VR::UR))
}
