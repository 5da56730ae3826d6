//! A data set in the DICOM JSON model (PS3.18 annex F). Text becomes UTF-8; large binary values
//! become links.

#![expect(
    clippy::wildcard_enum_match_arm,
    reason = "what is said here of a few value representations holds for none of the many others"
)]

use std::fmt::Write;

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use dicom_core::dictionary::{DataDictionary, DataDictionaryEntry, VirtualVr};
use dicom_core::{Tag, VR};
use dicom_dictionary_std::StandardDataDictionary;

use super::charset::CharacterSet;
use super::dataset::{DataSet, Element, Error};

/// Binary values longer than this become links.
pub const MOST_INLINE: usize = 1024;

const SPECIFIC_CHARACTER_SET: Tag = Tag(0x0008, 0x0005);
const PIXEL_REPRESENTATION: Tag = Tag(0x0028, 0x0103);
const PIXEL_DATA: Tag = Tag(0x7FE0, 0x0010);

/// An element of the top level whose value was left where it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Linked {
    /// Its tag.
    pub tag: Tag,
    /// The value representation, where one is written.
    pub vr: Option<VR>,
}

/// Writes data sets.
#[derive(Debug)]
struct Writer<'a> {
    out: &'a mut String,
    /// What stands before the path of a large value in its link.
    link: &'a str,
    /// The path of the item that is being written, with a slash at its end; empty at the top.
    path: String,
    /// How numbers of either sign are meant, where the dictionary leaves that open.
    is_signed: bool,
}

/// Writes a data set and the elements of its top level that were left out of it. Links to large
/// values are `link` and a path: the tag, after those of the sequences around it, each with the
/// number of the item, from 1 on.
///
/// # Errors
/// What is wrong with the data set.
pub fn write(
    set: &DataSet<'_>,
    linked: &[Linked],
    link: &str,
    out: &mut String,
) -> Result<(), Error> {
    let mut writer = Writer {
        out,
        link,
        path: String::new(),
        is_signed: false,
    };
    let mut linked = linked.to_vec();
    linked.sort_by_key(|linked| linked.tag);
    writer.set(set, CharacterSet::of(set), &linked)
}

impl Writer<'_> {
    fn set(
        &mut self,
        set: &DataSet<'_>,
        characters: CharacterSet,
        linked: &[Linked],
    ) -> Result<(), Error> {
        self.out.push('{');
        let mut linked = linked.iter().peekable();
        let mut is_first = true;
        for element in set.elements() {
            let element = element?;
            // F.2.2: group lengths are not there.
            if element.tag.element() == 0 {
                continue;
            }
            while let Some(linked) = linked.next_if(|linked| linked.tag < element.tag) {
                self.linked(*linked, &mut is_first);
            }
            if element.tag == PIXEL_REPRESENTATION {
                self.is_signed = element.bytes().contains(&1);
            }
            self.separate(element.tag, &mut is_first);
            self.element(&element, characters)?;
        }
        for linked in linked {
            self.linked(*linked, &mut is_first);
        }
        self.out.push('}');
        Ok(())
    }

    fn separate(&mut self, Tag(group, element): Tag, is_first: &mut bool) {
        if !std::mem::take(is_first) {
            self.out.push(',');
        }
        // Writing into a String cannot fail.
        let _ = write!(self.out, "\"{group:04X}{element:04X}\":");
    }

    fn linked(&mut self, linked: Linked, is_first: &mut bool) {
        self.separate(linked.tag, is_first);
        let vr = linked.vr.unwrap_or_else(|| implicit_vr(linked.tag, false));
        self.link(linked.tag, vr);
    }

    fn link(&mut self, Tag(group, element): Tag, vr: VR) {
        let (link, path) = (self.link, &self.path);
        let vr = vr.to_string();
        let _ = write!(
            self.out,
            "{{\"vr\":\"{vr}\",\"BulkDataURI\":\"{link}{path}{group:04X}{element:04X}\"}}"
        );
    }

    fn element(&mut self, element: &Element<'_>, characters: CharacterSet) -> Result<(), Error> {
        if element.is_sequence() {
            return self.sequence(element, characters);
        }
        let vr = vr_of(element, self.is_signed);
        let bytes = element.bytes();
        let is_binary = is_binary(vr);
        if element.is_encapsulated() || (is_binary && bytes.len() > MOST_INLINE) {
            self.link(element.tag, vr);
            return Ok(());
        }
        let _ = write!(self.out, "{{\"vr\":\"{vr}\"", vr = vr.to_string());
        if element.tag == SPECIFIC_CHARACTER_SET {
            // F.2: it is UTF-8 now.
            self.out.push_str(",\"Value\":[\"ISO_IR 192\"]");
        } else if is_binary {
            if !bytes.is_empty() {
                self.out.push_str(",\"InlineBinary\":\"");
                let bytes = little_endian(element);
                BASE64_STANDARD.encode_string(&bytes, self.out);
                self.out.push('"');
            }
        } else {
            self.values(vr, element, characters);
        }
        self.out.push('}');
        Ok(())
    }

    fn sequence(&mut self, element: &Element<'_>, characters: CharacterSet) -> Result<(), Error> {
        self.out.push_str("{\"vr\":\"SQ\"");
        let above = self.path.len();
        let is_signed = self.is_signed;
        let Tag(group, tag) = element.tag;
        for (index, item) in element.items().enumerate() {
            let item = item?;
            self.out
                .push_str(if index == 0 { ",\"Value\":[" } else { "," });
            let _ = write!(self.path, "{group:04X}{tag:04X}/{}/", index + 1);
            self.set(&item, characters.of_item(&item), &[])?;
            self.path.truncate(above);
            self.is_signed = is_signed;
        }
        if self.out.ends_with('}') {
            self.out.push(']');
        }
        self.out.push('}');
        Ok(())
    }

    fn values(&mut self, vr: VR, element: &Element<'_>, characters: CharacterSet) {
        let mut values = Values::new(self.out);
        let bytes = element.bytes();
        let big = element.is_big_endian();
        match vr {
            VR::US => numbers(bytes, big, |b| values.number(u16::from_ne_bytes(b))),
            VR::SS => numbers(bytes, big, |b| values.number(i16::from_ne_bytes(b))),
            VR::UL => numbers(bytes, big, |b| values.number(u32::from_ne_bytes(b))),
            VR::SL => numbers(bytes, big, |b| values.number(i32::from_ne_bytes(b))),
            VR::UV => numbers(bytes, big, |b| values.wide(u64::from_ne_bytes(b))),
            VR::SV => numbers(bytes, big, |b| values.wide(i64::from_ne_bytes(b))),
            VR::FL => numbers(bytes, big, |b| {
                let value = f32::from_ne_bytes(b);
                values.real(value.is_finite(), f64::from(value), value);
            }),
            VR::FD => numbers(bytes, big, |b| {
                let value = f64::from_ne_bytes(b);
                values.real(value.is_finite(), value, value);
            }),
            VR::AT => attribute_tags(bytes, big, &mut values),
            _ => texts(vr, bytes, characters, &mut values),
        }
        values.end();
    }
}

/// The members of `Value`.
struct Values<'a> {
    out: &'a mut String,
    is_open: bool,
}

impl<'a> Values<'a> {
    fn new(out: &'a mut String) -> Self {
        Self {
            out,
            is_open: false,
        }
    }

    fn next(&mut self) -> &mut String {
        self.out
            .push_str(if self.is_open { "," } else { ",\"Value\":[" });
        self.is_open = true;
        self.out
    }

    fn end(self) {
        if self.is_open {
            self.out.push(']');
        }
    }

    fn number(&mut self, value: impl std::fmt::Display) {
        let _ = write!(self.next(), "{value}");
    }

    // Beyond this, readers of JSON lose digits; F.2.3.1 allows a string.
    fn wide(&mut self, value: impl Into<i128>) {
        let value = value.into();
        let is_exact = value.unsigned_abs() <= 1 << 53;
        let _ = if is_exact {
            write!(self.next(), "{value}")
        } else {
            write!(self.next(), "\"{value}\"")
        };
    }

    // Table F.2.3-1 has no numbers for these. `shortest` is what reads back as the same value.
    fn real(&mut self, is_finite: bool, value: f64, shortest: impl std::fmt::Debug) {
        let out = self.next();
        if is_finite {
            let _ = write!(out, "{shortest:?}");
        } else if value.is_nan() {
            out.push_str("\"NaN\"");
        } else {
            out.push_str(if value > 0.0 { "\"inf\"" } else { "\"-inf\"" });
        }
    }

    fn text(&mut self, text: &str) {
        let out = self.next();
        if text.is_empty() {
            out.push_str("null");
        } else {
            quote(text, out);
        }
    }

    fn person_name(&mut self, name: &str) {
        if name.trim_matches(['=', ' ']).is_empty() {
            return self.text("");
        }
        let out = self.next();
        out.push('{');
        let mut is_first = true;
        for (group, part) in ["Alphabetic", "Ideographic", "Phonetic"]
            .into_iter()
            .zip(name.split('='))
        {
            let part = part.trim_end();
            if part.is_empty() {
                continue;
            }
            if !std::mem::take(&mut is_first) {
                out.push(',');
            }
            let _ = write!(out, "\"{group}\":");
            quote(part, out);
        }
        out.push('}');
    }
}

fn texts(vr: VR, bytes: &[u8], characters: CharacterSet, values: &mut Values<'_>) {
    let is_padding = |c: char| c == ' ' || c == '\0';
    let decoded = match vr {
        VR::LO | VR::LT | VR::PN | VR::SH | VR::ST | VR::UC | VR::UT => characters.text(bytes),
        _ => String::from_utf8_lossy(bytes).into_owned(),
    };
    let text = decoded.trim_end_matches(is_padding);
    if text.is_empty() {
        return;
    }
    // PS3.5 6.2: these have one value, whatever is in it.
    if matches!(vr, VR::LT | VR::ST | VR::UR | VR::UT) {
        return values.text(text);
    }
    for value in text.split('\\') {
        match vr {
            VR::PN => values.person_name(value.trim_end_matches(is_padding)),
            VR::DS | VR::IS => decimal(value.trim_matches(is_padding), values),
            VR::UC => values.text(value.trim_end_matches(is_padding)),
            _ => values.text(value.trim_matches(is_padding)),
        }
    }
}

/// A number if it is one, with its digits as they are; else the text.
fn decimal(text: &str, values: &mut Values<'_>) {
    if is_json_number(text) {
        values.next().push_str(text);
        return;
    }
    let plain = text.strip_prefix('+').unwrap_or(text);
    if let Ok(value) = plain.parse::<i64>() {
        return values.number(value);
    }
    match plain.parse::<f64>() {
        Ok(value) if value.is_finite() && !plain.contains(['i', 'I', 'n', 'N']) => {
            values.real(true, value, value);
        }
        Ok(_) | Err(_) => values.text(text),
    }
}

// RFC 8259 6.
fn is_json_number(text: &str) -> bool {
    let digits = |text: &str| -> usize { text.bytes().take_while(u8::is_ascii_digit).count() };
    let rest = text.strip_prefix('-').unwrap_or(text);
    let whole = digits(rest);
    if whole == 0 || (whole > 1 && rest.starts_with('0')) {
        return false;
    }
    let mut rest = &rest[whole..];
    if let Some(fraction) = rest.strip_prefix('.') {
        let length = digits(fraction);
        if length == 0 {
            return false;
        }
        rest = &fraction[length..];
    }
    if let Some(exponent) = rest.strip_prefix(['e', 'E']) {
        let exponent = exponent.strip_prefix(['+', '-']).unwrap_or(exponent);
        let length = digits(exponent);
        if length == 0 || length > 3 {
            return false;
        }
        rest = &exponent[length..];
    }
    rest.is_empty()
}

/// Calls `each` with the bytes of each number in the order of this machine.
fn numbers<const N: usize>(bytes: &[u8], is_big: bool, mut each: impl FnMut([u8; N])) {
    let (chunks, _rest) = bytes.as_chunks::<N>();
    for chunk in chunks {
        let mut chunk = *chunk;
        if is_big != cfg!(target_endian = "big") {
            chunk.reverse();
        }
        each(chunk);
    }
}

fn attribute_tags(bytes: &[u8], is_big: bool, values: &mut Values<'_>) {
    let mut half = None;
    numbers(bytes, is_big, |b| {
        let number = u16::from_ne_bytes(b);
        match half.take() {
            None => half = Some(number),
            Some(group) => {
                let _ = write!(values.next(), "\"{group:04X}{number:04X}\"");
            }
        }
    });
}

/// The bytes of a binary value, as PS3.18 8.7.3 has them: little endian.
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

/// How many bytes of a binary value belong together.
#[must_use]
pub fn width(vr: VR) -> usize {
    match vr {
        VR::OW | VR::US | VR::SS | VR::AT => 2,
        VR::OF | VR::OL | VR::FL | VR::UL | VR::SL => 4,
        VR::OD | VR::OV | VR::FD | VR::UV | VR::SV => 8,
        _ => 1,
    }
}

/// Whether values are bytes rather than texts and numbers.
#[must_use]
pub fn is_binary(vr: VR) -> bool {
    matches!(
        vr,
        VR::OB | VR::OD | VR::OF | VR::OL | VR::OV | VR::OW | VR::UN
    )
}

/// The value representation of an element: the one that is written, else the dictionary's.
#[must_use]
pub fn vr_of(element: &Element<'_>, is_signed: bool) -> VR {
    element
        .vr()
        .unwrap_or_else(|| implicit_vr(element.tag, is_signed))
}

/// What the dictionary says, and PS3.5 A.1 where it leaves a choice.
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

fn quote(text: &str, out: &mut String) {
    out.push('"');
    let mut plain = 0;
    for (at, c) in text.char_indices() {
        let escape = match c {
            '"' => "\\\"",
            '\\' => "\\\\",
            '\n' => "\\n",
            '\r' => "\\r",
            '\t' => "\\t",
            c if c.is_control() => {
                out.push_str(&text[plain..at]);
                let _ = write!(out, "\\u{:04x}", u32::from(c));
                plain = at + c.len_utf8();
                continue;
            }
            _ => continue,
        };
        out.push_str(&text[plain..at]);
        out.push_str(escape);
        plain = at + c.len_utf8();
    }
    out.push_str(&text[plain..]);
    out.push('"');
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::super::Encoding;
    use super::*;

    fn element(tag: Tag, vr: &[u8; 2], value: &[u8]) -> Vec<u8> {
        let mut bytes = Vec::new();
        bytes.extend(tag.group().to_le_bytes());
        bytes.extend(tag.element().to_le_bytes());
        bytes.extend(vr);
        if [
            b"OB", b"OW", b"SQ", b"UN", b"UT", b"UC", b"OV", b"SV", b"UV",
        ]
        .contains(&vr)
        {
            bytes.extend([0, 0]);
            bytes.extend((value.len() as u32).to_le_bytes());
        } else {
            bytes.extend((value.len() as u16).to_le_bytes());
        }
        bytes.extend(value);
        bytes
    }

    fn written(bytes: &[u8], encoding: Encoding) -> Value {
        let mut out = String::new();
        write(&DataSet::new(bytes, encoding), &[], "root/", &mut out).expect("a data set");
        serde_json::from_str(&out).expect(&out)
    }

    fn value(vr: &[u8; 2], value: &[u8]) -> Value {
        let tag = Tag(0x0011, 0x1010);
        written(&element(tag, vr, value), Encoding::ExplicitLittle)["00111010"].clone()
    }

    #[test]
    fn texts_and_names() {
        assert_eq!(
            value(b"LO", b"a\\ b \\\\c "),
            json!({"vr": "LO", "Value": ["a", "b", null, "c"]})
        );
        assert_eq!(
            value(b"LT", b" a\\b\r\n\x01 "),
            json!({"vr": "LT", "Value": [" a\\b\r\n\u{1}"]})
        );
        assert_eq!(
            value(b"UI", b"1.2.3\0"),
            json!({"vr": "UI", "Value": ["1.2.3"]})
        );
        assert_eq!(value(b"SH", b"  "), json!({"vr": "SH"}));
        assert_eq!(
            value(b"PN", b"A^B=\\C^D==E "),
            json!({"vr": "PN", "Value": [{"Alphabetic": "A^B"}, {"Alphabetic": "C^D", "Phonetic": "E"}]})
        );
    }

    #[test]
    fn numbers_keep_their_digits() {
        let mut out = String::new();
        let bytes = element(
            Tag(0x0011, 0x1010),
            b"DS",
            b"1.2500\\-0\\+7\\.5\\1e3\\007\\x\\\\5. ",
        );
        let set = DataSet::new(&bytes, Encoding::ExplicitLittle);
        write(&set, &[], "", &mut out).expect("a data set");
        assert_eq!(
            out,
            r#"{"00111010":{"vr":"DS","Value":[1.2500,-0,7,0.5,1e3,7,"x",null,5.0]}}"#
        );
        assert_eq!(
            value(b"US", &[1, 0, 255, 255]),
            json!({"vr": "US", "Value": [1, 65535]})
        );
        assert_eq!(
            value(b"AT", &[8, 0, 0x18, 0]),
            json!({"vr": "AT", "Value": ["00080018"]})
        );
        assert_eq!(
            value(b"FL", &f32::NAN.to_le_bytes()),
            json!({"vr": "FL", "Value": ["NaN"]})
        );
        assert_eq!(
            value(b"FL", &0.1f32.to_le_bytes()),
            json!({"vr": "FL", "Value": [0.1]})
        );
        assert_eq!(
            value(b"UV", &u64::MAX.to_le_bytes()),
            json!({"vr": "UV", "Value": ["18446744073709551615"]})
        );
    }

    #[test]
    fn large_values_become_links_also_in_items() {
        let large = element(Tag(0x5400, 0x1010), b"OW", &[7; 2000]);
        let mut item = vec![0xFE, 0xFF, 0, 0xE0];
        item.extend((large.len() as u32).to_le_bytes());
        item.extend(&large);
        let mut bytes = element(Tag(0x5400, 0x0100), b"SQ", &item);
        bytes.extend(element(Tag(0x7000, 0x0010), b"OB", &[1, 2]));
        let set = DataSet::new(&bytes, Encoding::ExplicitLittle);
        let linked = Linked {
            tag: Tag(0x6000, 0x3000),
            vr: Some(VR::OW),
        };
        let mut out = String::new();
        write(&set, &[linked], "root/", &mut out).expect("a data set");
        let read: Value = serde_json::from_str(&out).expect(&out);
        assert_eq!(
            read["54000100"]["Value"][0]["54001010"]["BulkDataURI"],
            "root/54000100/1/54001010"
        );
        assert_eq!(
            read["60003000"],
            json!({"vr": "OW", "BulkDataURI": "root/60003000"})
        );
        assert_eq!(read["70000010"]["InlineBinary"], "AQI=");
    }

    #[test]
    fn implicit_value_representations_come_from_the_dictionary() {
        let mut bytes = vec![0x28, 0, 0x03, 0x01, 2, 0, 0, 0, 1, 0];
        bytes.extend([0x28, 0, 0x06, 0x01, 2, 0, 0, 0, 0xFE, 0xFF]);
        bytes.extend([0x29, 0, 0x10, 0, 2, 0, 0, 0, b'M', b'E']);
        bytes.extend([0x29, 0, 0x01, 0x10, 2, 0, 0, 0, 1, 2]);
        let read = written(&bytes, Encoding::ImplicitLittle);
        assert_eq!(read["00280106"], json!({"vr": "SS", "Value": [-2]}));
        assert_eq!(read["00290010"], json!({"vr": "LO", "Value": ["ME"]}));
        assert_eq!(
            read["00291001"],
            json!({"vr": "UN", "InlineBinary": "AQI="})
        );
    }

    #[test]
    fn big_endian_values_are_turned_round() {
        let mut bytes = vec![0, 0x28, 0x01, 0x06, b'U', b'S', 0, 2, 1, 2];
        bytes.extend([0x70, 0, 0, 0x10, b'O', b'W', 0, 0, 0, 0, 0, 2, 3, 4]);
        let read = written(&bytes, Encoding::ExplicitBig);
        assert_eq!(read["00280106"]["Value"], json!([258]));
        assert_eq!(read["70000010"]["InlineBinary"], "BAM=");
    }
}
