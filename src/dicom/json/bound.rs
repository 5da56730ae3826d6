//! An upper bound on the JSON of a data set, to reserve its memory before it is written.

#![expect(
    clippy::wildcard_enum_match_arm,
    reason = "these rules concern a few of the many value representations"
)]

use dicom_core::VR;

use super::MOST_INLINE;
use super::representation::{is_binary, vr_of};
use crate::dicom::dataset::{DataSet, Element, Error};

/// A tag, a value representation, and the syntax around a value.
const ELEMENT: u64 = 48;
/// A sequence and an item number in a link.
const PATH: u64 = 24;

/// The most bytes that [`super::write`] takes for a data set, with links that begin with `link`
/// bytes: its output and the largest decoded text.
///
/// # Errors
/// Why the data set is malformed.
pub fn most_written(set: &DataSet<'_>, link: usize) -> Result<u64, Error> {
    let mut bound = Bound {
        link: link as u64,
        largest_text: 0,
    };
    let written = bound.set(set)?;
    Ok(written + bound.largest_text)
}

struct Bound {
    link: u64,
    largest_text: u64,
}

impl Bound {
    fn set(&mut self, set: &DataSet<'_>) -> Result<u64, Error> {
        let mut all = 3;
        for element in set.elements() {
            all += self.element(&element?)?;
        }
        Ok(all)
    }

    fn element(&mut self, element: &Element<'_>) -> Result<u64, Error> {
        if element.is_sequence() {
            let above = self.link;
            self.link += PATH;
            let mut all = ELEMENT;
            for item in element.items() {
                all += self.set(&item?)?;
            }
            self.link = above;
            return Ok(all);
        }
        let vr = vr_of(element, false);
        let bytes = element.bytes();
        let length = bytes.len() as u64;
        Ok(ELEMENT
            + match vr {
                _ if element.is_encapsulated() || is_binary(vr) => {
                    let is_link = element.is_encapsulated() || bytes.len() > MOST_INLINE;
                    if is_link { self.link } else { length * 2 }
                }
                // Two bytes become `65535,` and eight become a number of 25 digits.
                VR::US | VR::SS | VR::UL | VR::SL | VR::UV | VR::SV | VR::FL | VR::FD | VR::AT => {
                    length * 7
                }
                _ => {
                    let high = bytes.iter().filter(|byte| !byte.is_ascii()).count() as u64;
                    // Such a byte becomes at most three of UTF-8.
                    self.largest_text = self.largest_text.max(length + high * 2);
                    bytes.iter().map(|byte| most_of(*byte, vr)).sum()
                }
            })
    }
}

/// The most bytes that a byte of a text becomes.
fn most_of(byte: u8, vr: VR) -> u64 {
    match byte {
        // `{"Alphabetic":""},` and `,"Ideographic":""`.
        b'\\' | b'=' if vr == VR::PN => 20,
        // `"",` around a value, and the growth of a decimal.
        b'\\' => 24,
        0..=0x1F => 6,
        b'"' => 2,
        0x80..=0xFF => 3,
        _ => 1,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dicom::Encoding;
    use crate::dicom::json;

    fn element(tag: [u8; 4], vr: &[u8; 2], value: &[u8]) -> Vec<u8> {
        let length = u16::try_from(value.len()).expect("short").to_le_bytes();
        [&tag[..], vr, &length, value].concat()
    }

    #[test]
    fn nothing_is_longer_than_its_bound() {
        let name = [0x10, 0, 0x10, 0];
        let number = [0x28, 0, 0x10, 0];
        for set in [
            Vec::new(),
            element(name, b"PN", b"a\\b\\c\\=\\==x\\"),
            element(name, b"PN", b"\xFC\xFC\x01\x02\"\"\\\\\\\\"),
            element(number, b"US", &[0xFF; 200]),
            element(number, b"FD", &f64::MIN_POSITIVE.to_le_bytes().repeat(20)),
            element(number, b"FL", &f32::MIN_POSITIVE.to_le_bytes().repeat(20)),
            element(number, b"SL", &i32::MIN.to_le_bytes().repeat(20)),
            element(number, b"AT", &[0xAB; 80]),
            element(number, b"DS", b".5\\+.5\\1.e300\\\\9\\x"),
            element(number, b"CS", b"\\\\\\\\\\\\"),
            element(number, b"LO", &[0x1B; 100]),
        ] {
            let set = DataSet::new(&set, Encoding::ExplicitLittle);
            let mut out = String::new();
            json::write(&set, json::Beside::default(), "root/", &mut out).expect("a data set");
            let most = most_written(&set, 5).expect("a data set");
            assert!(out.len() as u64 <= most, "{} of {most}: {out}", out.len());
        }
    }
}
