//! Splits and joins `multipart/related` messages (RFC 2046 5.1, RFC 2387) in constant memory and
//! without I/O.
//!
//! [`Splitter`] takes chunks as they arrive and returns part heads and slices of the same chunks.
//! [`Joiner`] returns the text between the parts of a response.

mod delimiter;
mod error;
mod join;
mod part_head;
#[cfg(test)]
mod properties;
mod split;

use data_encoding::HEXLOWER;

pub use error::Error;
pub use join::Joiner;
pub use part_head::PartHead;
pub use split::{Event, Limits, Splitter};

use crate::body;

/// The boundary between the parts of a message: the `boundary` parameter of its Content-Type.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Boundary(Box<str>);

/// The text is not a boundary.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not a boundary (1 to 256 printable ASCII characters)")]
pub struct NotABoundary;

impl Boundary {
    /// Parses the boundary of a sender, without its quotes.
    ///
    /// RFC 2046 5.1.1 allows 70 characters out of a small set. Senders exceed both limits, and the
    /// splitter needs only a boundary that stays within one line.
    ///
    /// # Errors
    /// [`NotABoundary`] if it is empty, longer than 256 characters or not printable ASCII.
    pub fn parse(text: &str) -> Result<Self, NotABoundary> {
        let is_printable = |b: u8| b == b' ' || b.is_ascii_graphic();
        if (1..=256).contains(&text.len()) && text.bytes().all(is_printable) {
            Ok(Self(text.into()))
        } else {
            Err(NotABoundary)
        }
    }

    /// A boundary of the gateway. It needs no quotes, and as its bytes are random it does not occur
    /// in a body (some clients search for it anywhere, not only at the start of a line).
    #[must_use]
    pub fn from_random(random: [u8; 16]) -> Self {
        Self(format!("xcwado-{}", HEXLOWER.encode(&random)).into())
    }

    /// The boundary as text, without quotes.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl From<Error> for body::Error {
    fn from(error: Error) -> Self {
        match error {
            Error::Truncated => Self::Truncated,
            Error::PreambleTooLarge { .. }
            | Error::PartHeadTooLarge { .. }
            | Error::MalformedPartHead => Self::Malformed("the multipart message is malformed"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn accepts_what_senders_use_as_a_boundary() {
        let longest = "x".repeat(256);
        for text in [
            "x",
            "--",
            "a b",
            "=_'()+,-./:=?",
            "{\"@\"}",
            longest.as_str(),
        ] {
            assert_eq!(
                Boundary::parse(text).as_ref().map(Boundary::as_str),
                Ok(text)
            );
        }
    }

    #[test]
    fn refuses_a_boundary_that_does_not_stay_within_its_line() {
        let too_long = "x".repeat(257);
        for text in [
            "", "a\r\nb", "a\rb", "a\nb", "a\0", "a\tb", "\u{7f}", "ä", &too_long,
        ] {
            assert_eq!(Boundary::parse(text), Err(NotABoundary), "{text:?}");
        }
    }

    #[test]
    fn makes_a_long_boundary_that_needs_no_quotes() {
        let boundary = Boundary::from_random(
            *b"\x00\x01\x02\x03\x04\x05\x06\x07\x08\x09\x0a\x0b\x0c\x0d\x0e\xff",
        );
        assert_eq!(boundary.as_str(), "xcwado-000102030405060708090a0b0c0d0eff");
        assert_eq!(Boundary::parse(boundary.as_str()), Ok(boundary));
    }
}
