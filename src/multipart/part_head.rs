//! The header fields of one part.

use super::error::Error;

/// The header fields of a part, in the order of their arrival.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct PartHead {
    fields: Vec<(String, String)>,
}

impl PartHead {
    /// Reads a head: lines that end in CRLF or LF, the last one blank.
    pub(super) fn parse(head: &[u8]) -> Result<Self, Error> {
        let fields = unfold(head).iter().map(|line| field(line)).collect();
        Option::map(fields, |fields| Self { fields }).ok_or(Error::MalformedPartHead)
    }

    /// `Content-Type`: the media type with its parameters (`transfer-syntax`, PS3.18 8.7.3.4).
    #[must_use]
    pub fn content_type(&self) -> Option<&str> {
        self.field("Content-Type")
    }

    /// `Content-Location`, as the sender wrote it.
    #[must_use]
    pub fn content_location(&self) -> Option<&str> {
        self.field("Content-Location")
    }

    /// `Content-Length` in bytes, if it is a number. The boundary alone ends a part; a part of
    /// another length is damaged.
    #[must_use]
    pub fn content_length(&self) -> Option<u64> {
        let digits = self.field("Content-Length")?;
        let is_number = digits.bytes().all(|b| b.is_ascii_digit());
        is_number.then(|| digits.parse().ok()).flatten()
    }

    /// The value of the first field of that name, whatever the case of its letters.
    #[must_use]
    pub fn field(&self, name: &str) -> Option<&str> {
        self.fields()
            .find_map(|(own, value)| own.eq_ignore_ascii_case(name).then_some(value))
    }

    /// All fields: names as the sender wrote them, values without blanks around them.
    ///
    /// A value that is not UTF-8 is decoded as ISO 8859-1, which loses no byte.
    pub fn fields(&self) -> impl Iterator<Item = (&str, &str)> {
        self.fields
            .iter()
            .map(|(name, value)| (name.as_str(), value.as_str()))
    }
}

// RFC 5322 2.2.3: a line that starts with a blank continues the one before it.
fn unfold(head: &[u8]) -> Vec<Vec<u8>> {
    let mut lines: Vec<Vec<u8>> = Vec::new();
    for line in head.split(|&b| b == b'\n').map(without_cr) {
        match (line.first(), lines.last_mut()) {
            (None, _) => {}
            (Some(b' ' | b'\t'), Some(folded)) => folded.extend_from_slice(line),
            (Some(_), _) => lines.push(line.to_vec()),
        }
    }
    lines
}

fn without_cr(line: &[u8]) -> &[u8] {
    line.strip_suffix(b"\r").unwrap_or(line)
}

fn field(line: &[u8]) -> Option<(String, String)> {
    let colon = memchr::memchr(b':', line)?;
    let name = text(line[..colon].trim_ascii_end());
    let value = in_one_line(&text(line[colon + 1..].trim_ascii()));
    is_field_name(&name).then_some((name, value))
}

fn text(bytes: &[u8]) -> String {
    match std::str::from_utf8(bytes) {
        Ok(text) => text.to_owned(),
        Err(_not_utf8) => bytes.iter().map(|&b| char::from(b)).collect(),
    }
}

/// RFC 5322 2.2: printable ASCII without the colon.
pub(super) fn is_field_name(name: &str) -> bool {
    !name.is_empty() && name.bytes().all(|b| b.is_ascii_graphic() && b != b':')
}

/// RFC 9110 5.5: CR, LF and NUL in a value are dangerous and become blanks.
pub(super) fn in_one_line(value: &str) -> String {
    value.replace(['\r', '\n', '\0'], " ")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(head: &[u8]) -> PartHead {
        PartHead::parse(head).expect("a part head")
    }

    #[test]
    fn reads_the_fields_that_a_gateway_needs() {
        let head = parse(
            b"Content-Type: application/dicom; transfer-syntax=1.2.840.10008.1.2.4.70\r\n\
              Content-Location: https://pacs.example/studies/1.2/series/3.4\r\n\
              Content-Length: 5000000000\r\n\r\n",
        );
        assert_eq!(
            head.content_type(),
            Some("application/dicom; transfer-syntax=1.2.840.10008.1.2.4.70")
        );
        assert_eq!(
            head.content_location(),
            Some("https://pacs.example/studies/1.2/series/3.4")
        );
        assert_eq!(head.content_length(), Some(5_000_000_000));
    }

    #[test]
    fn reads_every_spelling_of_a_field() {
        for head in [
            &b"Content-Type: a/b\r\n\r\n"[..],
            b"Content-Type:a/b\r\n\r\n",
            b"content-TYPE:\t a/b \t\r\n\r\n",
            b"Content-Type : a/b\r\n\r\n",
            b"Content-Type:\r\n a/b\r\n\r\n",
            b"Content-Type:\n\ta/b\n\n",
            b"MIME-Version: 1.0\nContent-Type: a/b\nContent-Type: c/d\n\n",
        ] {
            assert_eq!(parse(head).content_type(), Some("a/b"), "{head:?}");
        }
    }

    #[test]
    fn joins_folded_lines() {
        let head = parse(b"Content-Type: a/b;\r\n  c=d;\r\n\te=f\r\nX: y\r\n\r\n");
        let fields: Vec<_> = head.fields().collect();
        assert_eq!(fields, [("Content-Type", "a/b;  c=d;\te=f"), ("X", "y")]);
    }

    #[test]
    fn is_empty_without_fields() {
        for head in [&b"\r\n"[..], b"\n"] {
            assert_eq!(parse(head), PartHead::default());
            assert_eq!(parse(head).content_type(), None);
        }
    }

    #[test]
    fn keeps_bytes_beyond_ascii() {
        assert_eq!(parse("X: ü\n\n".as_bytes()).field("x"), Some("ü"));
        assert_eq!(parse(b"X: \xfc\xff\n\n").field("x"), Some("üÿ"));
    }

    #[test]
    fn keeps_a_value_within_its_line() {
        assert_eq!(parse(b"X: a\rB: c\0d\r\n\r\n").field("x"), Some("a B: c d"));
    }

    #[test]
    fn takes_no_length_that_is_no_number() {
        for value in ["", "-1", "+1", "1 2", "0x10", "99999999999999999999"] {
            let head = parse(format!("Content-Length: {value}\r\n\r\n").as_bytes());
            assert_eq!(head.content_length(), None, "{value:?}");
        }
    }

    #[test]
    fn refuses_lines_that_are_no_fields() {
        for head in [
            &b"Content-Type\r\n\r\n"[..],
            b": a/b\r\n\r\n",
            b" folded: first\r\n\r\n",
            b"Content Type: a/b\r\n\r\n",
            b"\xfc: a\r\n\r\n",
            b"--XYZ\r\n\r\n",
        ] {
            assert_eq!(
                PartHead::parse(head),
                Err(Error::MalformedPartHead),
                "{head:?}"
            );
        }
    }
}
