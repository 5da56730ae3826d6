//! Scans the numbers and words of JSON (RFC 8259 3 and 6), byte by byte.

use super::error::NotJson;

/// A number, or one of the three words, that has begun.
#[derive(Debug)]
pub(super) enum Scalar {
    /// The rest of `true`, `false` or `null`.
    Word(&'static [u8]),
    Number(Number),
}

/// The last part of a number that was read.
#[derive(Debug, Clone, Copy)]
pub(super) enum Number {
    Minus,
    /// A leading zero, which ends the integer.
    Zero,
    Integer,
    Point,
    Fraction,
    E,
    Sign,
    Exponent,
}

impl Scalar {
    /// The scalar that begins with this byte.
    pub(super) fn begin(byte: u8) -> Option<Self> {
        match byte {
            b't' => Some(Self::Word(b"rue")),
            b'f' => Some(Self::Word(b"alse")),
            b'n' => Some(Self::Word(b"ull")),
            b'-' => Some(Self::Number(Number::Minus)),
            b'0' => Some(Self::Number(Number::Zero)),
            b'1'..=b'9' => Some(Self::Number(Number::Integer)),
            _ => None,
        }
    }

    /// The bytes of the input that belong to it; `None` if all do and more may follow.
    ///
    /// # Errors
    /// [`NotJson::Malformed`] if it cannot end there.
    pub(super) fn take(&mut self, input: &[u8]) -> Result<Option<usize>, NotJson> {
        for (length, &byte) in input.iter().enumerate() {
            match self.after(byte) {
                Some(after) => *self = after,
                None if self.is_complete() => return Ok(Some(length)),
                None => return Err(NotJson::Malformed),
            }
        }
        Ok(None)
    }

    /// Whether it may end here.
    pub(super) fn is_complete(&self) -> bool {
        match self {
            Self::Word(rest) => rest.is_empty(),
            Self::Number(number) => number.is_complete(),
        }
    }

    fn after(&self, byte: u8) -> Option<Self> {
        match self {
            Self::Word(rest) => match rest.split_first() {
                Some((&first, rest)) if first == byte => Some(Self::Word(rest)),
                Some(_) | None => None,
            },
            Self::Number(number) => number.after(byte).map(Self::Number),
        }
    }
}

impl Number {
    fn after(self, byte: u8) -> Option<Self> {
        match (self, byte) {
            (Self::Minus, b'0') => Some(Self::Zero),
            (Self::Minus, b'1'..=b'9') | (Self::Integer, b'0'..=b'9') => Some(Self::Integer),
            (Self::Zero | Self::Integer, b'.') => Some(Self::Point),
            (Self::Point | Self::Fraction, b'0'..=b'9') => Some(Self::Fraction),
            (Self::Zero | Self::Integer | Self::Fraction, b'e' | b'E') => Some(Self::E),
            (Self::E, b'+' | b'-') => Some(Self::Sign),
            (Self::E | Self::Sign | Self::Exponent, b'0'..=b'9') => Some(Self::Exponent),
            (_, _) => None,
        }
    }

    fn is_complete(self) -> bool {
        match self {
            Self::Zero | Self::Integer | Self::Fraction | Self::Exponent => true,
            Self::Minus | Self::Point | Self::E | Self::Sign => false,
        }
    }
}
