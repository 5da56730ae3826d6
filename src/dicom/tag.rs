//! Tags in the notation of names and paths.

use dicom_core::Tag;

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
