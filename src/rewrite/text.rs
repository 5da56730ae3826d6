//! Decodes the strings of JSON (RFC 8259 7) while they arrive, up to a limit.

use std::fmt::Write;

use super::error::NotJson;

/// A string whose opening quote was read.
#[derive(Debug)]
pub(super) struct Text {
    decoded: Vec<u8>,
    limit: usize,
    escape: Escape,
    /// A high surrogate, which waits for the low one.
    high: Option<u16>,
    /// The string exceeds the limit, or is not Unicode.
    is_lost: bool,
}

/// The state of an escape.
#[derive(Debug, Clone, Copy)]
enum Escape {
    None,
    Backslash,
    Unicode { digits: u8, unit: u16 },
}

impl Text {
    /// A string that is decoded up to `limit` bytes of UTF-8.
    pub(super) fn new(limit: usize) -> Self {
        Self {
            decoded: Vec::new(),
            limit,
            escape: Escape::None,
            high: None,
            is_lost: false,
        }
    }

    /// The bytes of the input that belong to it, with the closing quote; `None` if all do and more
    /// must follow.
    ///
    /// # Errors
    /// [`NotJson::Malformed`] for control characters and invalid escapes. Bytes that are not
    /// Unicode pass: some servers write names in the character set of the instance.
    pub(super) fn take(&mut self, input: &[u8]) -> Result<Option<usize>, NotJson> {
        let mut rest = input;
        loop {
            if matches!(self.escape, Escape::None) {
                let ordinary = rest.iter().position(is_special).unwrap_or(rest.len());
                self.append(&rest[..ordinary]);
                rest = &rest[ordinary..];
            }
            let Some((&byte, after)) = rest.split_first() else {
                return Ok(None);
            };
            rest = after;
            if self.special(byte)? {
                return Ok(Some(input.len() - rest.len()));
            }
        }
    }

    /// The decoded text, if it is within the limit and Unicode.
    pub(super) fn read(&self) -> Option<&str> {
        if self.is_lost || self.high.is_some() {
            return None;
        }
        std::str::from_utf8(&self.decoded).ok()
    }

    /// Takes a special byte; `true` for the closing quote.
    fn special(&mut self, byte: u8) -> Result<bool, NotJson> {
        match (self.escape, byte) {
            (Escape::None, b'"') => return Ok(true),
            (Escape::None, b'\\') => self.escape = Escape::Backslash,
            (Escape::None, _) => return Err(NotJson::Malformed),
            (Escape::Backslash, b'u') => self.escape = Escape::Unicode { digits: 0, unit: 0 },
            (Escape::Backslash, _) => {
                self.escape = Escape::None;
                self.append(&[escaped(byte).ok_or(NotJson::Malformed)?]);
            }
            (Escape::Unicode { digits, unit }, _) => self.hex_digit(digits, unit, byte)?,
        }
        Ok(false)
    }

    fn hex_digit(&mut self, digits: u8, unit: u16, byte: u8) -> Result<(), NotJson> {
        let value = char::from(byte).to_digit(16).ok_or(NotJson::Malformed)?;
        let value = u16::try_from(value).expect("a hexadecimal digit is less than 16");
        let (digits, unit) = (digits + 1, (unit << 4) | value);
        if digits < 4 {
            self.escape = Escape::Unicode { digits, unit };
        } else {
            self.escape = Escape::None;
            self.append_unit(unit);
        }
        Ok(())
    }

    fn append_unit(&mut self, unit: u16) {
        if self.is_lost {
            return;
        }
        let is_high = (0xD800..0xDC00).contains(&unit);
        if is_high && self.high.is_none() {
            self.high = Some(unit);
            return;
        }
        let units = self.high.take().into_iter().chain([unit]);
        let text: Result<String, _> = char::decode_utf16(units).collect();
        match text {
            Ok(text) => self.append(text.as_bytes()),
            Err(_unpaired) => self.lose(),
        }
    }

    fn append(&mut self, bytes: &[u8]) {
        if bytes.is_empty() || self.is_lost {
            return;
        }
        // An unpaired surrogate is not a character.
        if self.high.is_some() || bytes.len() > self.limit - self.decoded.len() {
            self.lose();
        } else {
            self.decoded.extend_from_slice(bytes);
        }
    }

    fn lose(&mut self) {
        self.is_lost = true;
        self.decoded = Vec::new();
    }

    /// The buffered bytes.
    #[cfg(test)]
    pub(super) fn held(&self) -> usize {
        self.decoded.len()
    }
}

/// A string with its quotes.
pub(super) fn quoted(text: &str) -> String {
    let mut quoted = String::from("\"");
    for c in text.chars() {
        match c {
            '"' | '\\' => quoted.extend(['\\', c]),
            c if c.is_control() => {
                // Writing to a String cannot fail.
                let _ = write!(quoted, "\\u{:04x}", u32::from(c));
            }
            c => quoted.push(c),
        }
    }
    quoted.push('"');
    quoted
}

fn is_special(byte: &u8) -> bool {
    matches!(byte, b'"' | b'\\' | 0..0x20)
}

fn escaped(byte: u8) -> Option<u8> {
    match byte {
        b'"' | b'\\' | b'/' => Some(byte),
        b'b' => Some(0x08),
        b'f' => Some(0x0C),
        b'n' => Some(b'\n'),
        b'r' => Some(b'\r'),
        b't' => Some(b'\t'),
        _ => None,
    }
}
