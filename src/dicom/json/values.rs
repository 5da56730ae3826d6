//! The member `Value` of an attribute: numbers, texts and names (PS3.18 F.2.2 and F.2.3).

#![expect(
    clippy::wildcard_enum_match_arm,
    reason = "these rules concern a few of the many value representations"
)]

use std::fmt::Write;

use dicom_core::VR;

use crate::dicom::charset::CharacterSet;
use crate::dicom::dataset::Element;

/// Writes the member `Value` of an element, if it has values.
pub(super) fn write(out: &mut String, vr: VR, element: &Element<'_>, characters: CharacterSet) {
    let mut values = Values::new(out);
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

    // Many JSON parsers lose digits of larger numbers; F.2.3.1 allows a string.
    fn wide(&mut self, value: impl Into<i128>) {
        let value = value.into();
        let is_exact = value.unsigned_abs() <= 1 << 53;
        let _ = if is_exact {
            write!(self.next(), "{value}")
        } else {
            write!(self.next(), "\"{value}\"")
        };
    }

    // Table F.2.3-1 has no numbers for NaN and infinities. `shortest` parses back to the same
    // value.
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
    // PS3.5 6.2: these have a single value, which may contain backslashes.
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

/// A number with its digits unchanged; a text if it is not a number, or one that a double cannot
/// hold.
fn decimal(text: &str, values: &mut Values<'_>) {
    let plain = text.strip_prefix('+').unwrap_or(text);
    let is_plain = plain
        .bytes()
        .all(|byte| byte.is_ascii_digit() || b"+-.eE".contains(&byte));
    match (plain.parse::<i64>(), plain.parse::<f64>()) {
        (Ok(_), _) if is_json_number(text) => values.next().push_str(text),
        (Ok(value), _) => values.number(value),
        (Err(_), Ok(value)) if is_plain && is_held(plain, value) => {
            if is_json_number(text) {
                values.next().push_str(text);
            } else {
                values.real(true, value, value);
            }
        }
        (Err(_), _) => values.text(text),
    }
}

/// Whether a double is the number of `text`, as far as doubles go: neither infinite, nor zero for
/// one that is not, nor an integer that has lost digits.
fn is_held(text: &str, value: f64) -> bool {
    let mantissa = text.split(['e', 'E']).next().unwrap_or_default();
    let is_zero = !mantissa.bytes().any(|byte| (b'1'..=b'9').contains(&byte));
    let is_integer = mantissa.len() == text.len() && !text.contains('.');
    value.is_finite() && (value != 0.0 || is_zero) && !is_integer
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

/// Calls `each` with the bytes of each number, in native order.
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
