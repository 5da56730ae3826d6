//! `bulkdata/…`: a path that is the server's own choice, made safe to write into a URL again.

use std::fmt;

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};

use super::NotOne;

/// The path of bulk data below its study, series or instance: decoded segments, the first of which
/// is `bulkdata` (or `bulk`, which Orthanc writes into its metadata).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BulkdataPath(Vec<String>);

/// RFC 3986 2.3, and the comma of `(gggg,eeee)`.
const ESCAPED: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'-')
    .remove(b'.')
    .remove(b'_')
    .remove(b'~')
    .remove(b',');

impl BulkdataPath {
    /// Whether it names no value, but all of them.
    #[must_use]
    pub fn is_all(&self) -> bool {
        self.0.len() == 1
    }

    /// Takes segments that were decoded once.
    pub(super) fn parse(segments: Vec<String>) -> Result<Self, NotOne> {
        if segments.iter().all(|segment| is_plain(segment)) {
            Ok(Self(segments))
        } else {
            Err(NotOne)
        }
    }
}

// One name on every server: nothing that some of them resolve, split or decode once more.
fn is_plain(segment: &str) -> bool {
    let is_separator = |c: char| c.is_control() || matches!(c, '/' | '\\' | '%');
    // Java servers remove the part behind a semicolon before they look for `..`.
    let name = segment.split(';').next().unwrap_or_default().trim();
    !segment.is_empty() && !segment.contains(is_separator) && !matches!(name, "" | "." | "..")
}

impl fmt::Display for BulkdataPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, segment) in self.0.iter().enumerate() {
            let slash = if index == 0 { "" } else { "/" };
            write!(f, "{slash}{}", utf8_percent_encode(segment, ESCAPED))?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Level, SubResource};
    use super::*;

    fn written(path: &str) -> Result<String, NotOne> {
        let path = format!("bulkdata/{path}");
        let segments: Vec<&str> = path.split('/').collect();
        SubResource::parse(&segments, Level::Instance).map(|read| read.path())
    }

    #[test]
    fn is_escaped_anew() {
        for (path, expected) in [
            ("a", "a"),
            ("%41", "A"),
            ("a?b", "a%3Fb"),
            ("a%23b", "a%23b"),
            ("a%26b=c+d", "a%26b%3Dc%2Bd"),
            ("...", "..."),
            ("a;b", "a%3Bb"),
            ("%C3%A4", "%C3%A4"),
            ("ä", "%C3%A4"),
            ("a%20b", "a%20b"),
        ] {
            assert_eq!(written(path), Ok(format!("bulkdata/{expected}")), "{path}");
        }
    }

    #[test]
    fn what_servers_read_differently_is_refused() {
        for path in [
            ".",
            "..",
            "%2e%2e",
            ".%2E",
            "a/../b",
            "a//b",
            "",
            "a%2Fb",
            "..%2f..",
            "a%5Cb",
            "a\\b",
            "%252e%252e",
            "a%25b",
            "100%",
            "a%zz",
            "a%00",
            "a%0d%0aHost:x",
            "a%7f",
            "%C2%85",
            "%ff",
            "..;",
            "..;x=1",
            ";",
            "%20..%20",
            "%20",
        ] {
            assert_eq!(written(path), Err(NotOne), "{path}");
        }
    }
}
