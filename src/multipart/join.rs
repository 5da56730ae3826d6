//! Writes a `multipart/related` message: the text before, between and after its parts.
//!
//! The caller sends the bodies itself, each after the head of its part.
//!
//! ```
//! use xcwado::multipart::{Boundary, Joiner};
//!
//! let mut joiner = Joiner::new(Boundary::from_random([7; 16]));
//! let mut message = joiner.part(&[("Content-Type", "application/dicom")]).to_vec();
//! message.extend_from_slice(b"DICM");
//! message.extend_from_slice(&joiner.close());
//! ```

use bytes::Bytes;

use super::Boundary;
use super::part_head::{in_one_line, is_field_name};

/// Writes the text around the parts of one message.
///
/// A message without [`Joiner::close`] has no closing boundary, so every reader that follows RFC
/// 2046 detects that it is truncated.
#[derive(Debug)]
pub struct Joiner {
    boundary: Boundary,
    has_parts: bool,
}

impl Joiner {
    /// Starts a message. The boundary must not occur in a body.
    #[must_use]
    pub fn new(boundary: Boundary) -> Self {
        Self {
            boundary,
            has_parts: false,
        }
    }

    /// The Content-Type of the message; `root_type` is the media type of its parts (RFC 2387 3.1).
    #[must_use]
    pub fn content_type(&self, root_type: &str) -> String {
        let root_type = quoted(root_type);
        let boundary = self.boundary.as_str();
        if boundary.bytes().all(is_token_char) {
            format!("multipart/related; type={root_type}; boundary={boundary}")
        } else {
            let boundary = quoted(boundary);
            format!("multipart/related; type={root_type}; boundary={boundary}")
        }
    }

    /// The text before the next body: the end of the previous part, the boundary, the head.
    ///
    /// `Content-Type` should come first, in this spelling, which some viewers rely on. No text in
    /// `headers` can end a head early: a field with an invalid name (RFC 5322 2.2) is left out, and
    /// line ends in a value become blanks.
    #[must_use]
    pub fn part(&mut self, headers: &[(&str, &str)]) -> Bytes {
        // RFC 2046 5.1.1: the line end before a boundary belongs to the boundary, not to the body.
        let line_end = if self.has_parts { "\r\n" } else { "" };
        self.has_parts = true;
        let mut text = format!("{line_end}--{}\r\n", self.boundary.as_str());
        for (name, value) in headers.iter().filter(|(name, _)| is_field_name(name)) {
            text.extend([name, ": ", &in_one_line(value), "\r\n"]);
        }
        text.push_str("\r\n");
        Bytes::from(text)
    }

    /// The text after the last body, or the whole message if it has no parts. Send it only after
    /// all parts were sent completely.
    #[must_use]
    pub fn close(self) -> Bytes {
        Bytes::from(format!("\r\n--{}--\r\n", self.boundary.as_str()))
    }
}

// RFC 9110 5.6.4.
fn quoted(text: &str) -> String {
    let escaped = in_one_line(text).replace('\\', "\\\\").replace('"', "\\\"");
    format!("\"{escaped}\"")
}

// RFC 9110 5.6.2.
fn is_token_char(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn joiner(boundary: &str) -> Joiner {
        Joiner::new(Boundary::parse(boundary).expect("a boundary"))
    }

    #[test]
    fn writes_what_stands_between_the_parts() {
        let mut joiner = joiner("XYZ");
        let headers = [
            ("Content-Type", "application/dicom"),
            ("Content-Length", "4"),
        ];
        assert_eq!(
            joiner.part(&headers),
            "--XYZ\r\nContent-Type: application/dicom\r\nContent-Length: 4\r\n\r\n"
        );
        assert_eq!(joiner.part(&[]), "\r\n--XYZ\r\n\r\n");
        assert_eq!(joiner.close(), "\r\n--XYZ--\r\n");
    }

    #[test]
    fn lets_no_header_forge_a_part() {
        let text = joiner("XYZ").part(&[
            ("A", "b\r\n\r\n--XYZ--\0"),
            ("C\r\n--XYZ--", "d"),
            ("", "e"),
            ("F: g", "h"),
        ]);
        assert_eq!(text, "--XYZ\r\nA: b    --XYZ-- \r\n\r\n");
    }

    #[test]
    fn quotes_what_must_be_quoted_in_the_content_type() {
        for (boundary, expected) in [
            ("XYZ", "boundary=XYZ"),
            ("a b", "boundary=\"a b\""),
            ("a:=/b", "boundary=\"a:=/b\""),
            ("a\"\\b", "boundary=\"a\\\"\\\\b\""),
        ] {
            assert_eq!(
                joiner(boundary).content_type("application/dicom"),
                format!("multipart/related; type=\"application/dicom\"; {expected}")
            );
        }
    }
}
