//! Parses media types by the grammar of RFC 9110 8.3, and tolerates mistakes that are common in
//! DICOMweb.

use std::fmt;

use super::transfer_syntax::TransferSyntax;

/// A media type or media range with its parameters.
///
/// Tolerated: values that hold a slash and are not quoted (`type=application/dicom`), and
/// parameters that slipped inside the quotes of `type`
/// (`type="application/dicom;transfer-syntax=1.2"`).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MediaType {
    essence: String,
    parameters: Vec<(String, String)>,
}

/// `application/dicom`.
pub const APPLICATION_DICOM: &str = "application/dicom";
/// `multipart/related`.
pub const MULTIPART_RELATED: &str = "multipart/related";

impl MediaType {
    /// Parses one media type; `None` if it has no type and subtype.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let mut pieces = split_outside_quotes(text, ';');
        let essence = pieces.next()?.trim().to_ascii_lowercase();
        if !is_essence(&essence) {
            return None;
        }
        let mut media_type = Self {
            essence,
            parameters: Vec::new(),
        };
        for piece in pieces {
            media_type.add(piece);
        }
        Some(media_type)
    }

    /// Parses a list of media types, such as `Accept`. Malformed ones are left out.
    #[must_use]
    pub fn parse_list(text: &str) -> Vec<Self> {
        split_outside_quotes(text, ',')
            .filter_map(Self::parse)
            .collect()
    }

    /// Type and subtype in lower case, without parameters.
    #[must_use]
    pub fn essence(&self) -> &str {
        &self.essence
    }

    /// The value of a parameter, unquoted. Names are compared without case.
    #[must_use]
    pub fn parameter(&self, name: &str) -> Option<&str> {
        let mut parameters = self.parameters.iter();
        parameters
            .find(|(key, _)| key.eq_ignore_ascii_case(name))
            .map(|(_, value)| value.as_str())
    }

    /// The media type of the parts of a `multipart/related`, in lower case (RFC 2387 3.1).
    #[must_use]
    pub fn part_type(&self) -> Option<String> {
        self.parameter("type").map(str::to_ascii_lowercase)
    }

    /// The quality value, in thousandths (RFC 9110 12.4.2); 1000 if it is malformed.
    #[must_use]
    pub fn quality(&self) -> u16 {
        self.parameter("q")
            .map_or(1000, |value| match value.trim().parse::<f32>() {
                // In range: the value is clamped first.
                #[expect(
                    clippy::cast_possible_truncation,
                    clippy::cast_sign_loss,
                    reason = "clamped"
                )]
                Ok(quality) if quality.is_finite() => {
                    (quality.clamp(0.0, 1.0) * 1000.0).round() as u16
                }
                Ok(_) | Err(_) => 1000,
            })
    }

    fn add(&mut self, piece: &str) {
        let Some((name, value)) = piece.split_once('=') else {
            return;
        };
        let value = unquote(value.trim());
        if name.trim().eq_ignore_ascii_case("type")
            && let Some((part_type, slipped)) = value.split_once(';')
        {
            self.push("type", part_type);
            for piece in slipped.split(';') {
                self.add(piece);
            }
            return;
        }
        self.push(name, &value);
    }

    fn push(&mut self, name: &str, value: &str) {
        self.parameters
            .push((name.trim().to_ascii_lowercase(), value.trim().to_owned()));
    }
}

/// The media type of one instance.
pub fn application_dicom(transfer_syntax: &TransferSyntax) -> String {
    format!("{APPLICATION_DICOM}; transfer-syntax={transfer_syntax}")
}

fn is_essence(essence: &str) -> bool {
    essence
        .split_once('/')
        .is_some_and(|(kind, subtype)| is_token(kind) && is_token(subtype))
}

/// RFC 9110 5.6.2.
fn is_token(text: &str) -> bool {
    let is_allowed = |b: u8| b.is_ascii_graphic() && !b"()<>@,;:\\\"/[]?={}".contains(&b);
    !text.is_empty() && text.bytes().all(is_allowed)
}

fn unquote(value: &str) -> String {
    let Some(quoted) = value.strip_prefix('"') else {
        return value.to_owned();
    };
    let mut out = String::new();
    let mut characters = quoted.chars();
    while let Some(c) = characters.next() {
        match c {
            '"' => break,
            '\\' => out.extend(characters.next()),
            c => out.push(c),
        }
    }
    out
}

fn split_outside_quotes(text: &str, separator: char) -> impl Iterator<Item = &str> {
    let mut quoted = false;
    let mut escaped = false;
    text.split(move |c| {
        let is_separator = c == separator && !quoted;
        if escaped {
            escaped = false;
        } else {
            match c {
                '"' => quoted = !quoted,
                '\\' => escaped = quoted,
                _ => {}
            }
        }
        is_separator
    })
}

impl fmt::Display for MediaType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.essence)?;
        for (name, value) in &self.parameters {
            if is_token(value) {
                write!(f, "; {name}={value}")?;
            } else {
                let escaped = value.replace('\\', "\\\\").replace('"', "\\\"");
                write!(f, "; {name}=\"{escaped}\"")?;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> MediaType {
        MediaType::parse(text).expect("a media type")
    }

    #[test]
    fn reads_quoted_and_unquoted_values_alike() {
        for text in [
            r#"multipart/related; type="application/dicom"; transfer-syntax=*"#,
            r#"Multipart/Related;TYPE=application/dicom;transfer-syntax="*""#,
            r#"multipart/related; type="application/dicom; transfer-syntax=*""#,
        ] {
            let media_type = parse(text);
            assert_eq!(media_type.essence(), "multipart/related", "{text}");
            assert_eq!(
                media_type.part_type().as_deref(),
                Some("application/dicom"),
                "{text}"
            );
            assert_eq!(media_type.parameter("Transfer-Syntax"), Some("*"), "{text}");
        }
    }

    #[test]
    fn keeps_separators_and_escapes_inside_quotes() {
        let media_type = parse(r#"multipart/related; boundary="a,b;\"c\\"; type=x/y"#);
        assert_eq!(media_type.parameter("boundary"), Some(r#"a,b;"c\"#));
        assert_eq!(media_type.parameter("type"), Some("x/y"));
    }

    #[test]
    fn reads_lists_and_qualities() {
        let list = MediaType::parse_list(r#"a/b;q=0.5, c/d;x=",", e/f;q=0, g/h;q=nonsense, junk"#);
        let read: Vec<_> = list.iter().map(|m| (m.essence(), m.quality())).collect();
        assert_eq!(
            read,
            [("a/b", 500), ("c/d", 1000), ("e/f", 0), ("g/h", 1000)]
        );
    }

    #[test]
    fn refuses_what_is_no_media_type() {
        for text in [
            "",
            "application",
            "/dicom",
            "application/",
            "a b/c",
            "a/b/c",
            ";q=1",
        ] {
            assert_eq!(MediaType::parse(text), None, "{text}");
        }
    }
}
