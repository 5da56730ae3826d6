//! Rewrites the links in a stream of the DICOM JSON Model (PS3.18 Annex F).
//!
//! A link is every string below a member `BulkDataURI`, or below the `Value` of an attribute that is
//! an address (UR), at any level. The representation of an attribute that the dictionary does not
//! know, such as a private one, stands beside its value; if it stands behind it, or nowhere, each
//! value that is the URL of a host counts as a link. All other bytes pass unchanged.
//!
//! Memory: 64 levels, and the current link up to its limit. A longer link cannot lead to the
//! gateway. The output of a chunk exceeds the chunk only by the greater length of the new links.

use bytes::Bytes;
use url::Url;

use super::Links;
use super::error::{DEEPEST, NotJson};
use super::scalar::Scalar;
use super::text::{Text, quoted};
use crate::dicom::{is_address, tag};

/// Rewrites one document. Push the chunks as they arrive and send the output of each; the document
/// is complete only if [`JsonLinks::finish`] succeeds.
///
/// ```
/// use xcwado::rewrite::{JsonLinks, Links};
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let theirs = url::Url::parse("http://inner/rs/")?;
/// let document = theirs.join("studies/1.2/metadata")?;
/// let mut json = JsonLinks::new(Links::new(vec![theirs], document, "https://ours/x"));
/// let mut rewritten = Vec::new();
/// for chunk in [r#"[{"7FE00010": {"vr": "OW", "BulkDa"#, r#"taURI": "http://inner/rs/b/1"}}]"#] {
///     rewritten.extend_from_slice(&json.push(chunk.as_bytes())?);
/// }
/// json.finish()?;
/// let expected = r#"[{"7FE00010": {"vr": "OW", "BulkDataURI": "https://ours/x/b/1"}}]"#;
/// assert_eq!(rewritten, expected.as_bytes());
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct JsonLinks {
    links: Links,
    open: Vec<Container>,
    expected: Expected,
    /// The role of the current member.
    member: Role,
    token: Token,
    failed: Option<NotJson>,
}

#[derive(Debug, Clone, Copy)]
struct Container {
    kind: Kind,
    role: Role,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Array,
    Object,
}

/// The role of a value, by its position.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Role {
    Other,
    /// An attribute that is an address: (0008,1190) and the like.
    Address,
    /// An attribute whose representation, not read yet, tells whether it is an address.
    Unknown,
    /// The representation of such an attribute.
    Representation,
    /// A link, or an array or object of links.
    Link,
    /// A value that is a link if it is a URL, or an array of them.
    PerhapsLink,
}

/// The syntax that may follow.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Expected {
    Value,
    ValueOrEnd,
    Key,
    KeyOrEnd,
    Colon,
    CommaOrEnd,
    Nothing,
}

/// A token that has begun and not ended.
#[derive(Debug, Default)]
enum Token {
    #[default]
    None,
    Key(Text),
    Other(Text),
    Link(Text),
    PerhapsLink(Text),
    Representation(Text),
    Scalar(Scalar),
}

impl Token {
    /// Whether it is written when it is complete, with its quotes.
    fn is_held(&self) -> bool {
        matches!(self, Self::Link(_) | Self::PerhapsLink(_))
    }
}

impl JsonLinks {
    /// A rewriter at the start of a document.
    #[must_use]
    pub fn new(links: Links) -> Self {
        Self {
            links,
            open: Vec::new(),
            expected: Expected::Value,
            member: Role::Other,
            token: Token::None,
            failed: None,
        }
    }

    /// Takes the next chunk and returns the output for it.
    ///
    /// # Errors
    /// Why it is not a JSON document; later calls repeat it.
    pub fn push(&mut self, bytes: &[u8]) -> Result<Bytes, NotJson> {
        if let Some(error) = self.failed {
            return Err(error);
        }
        let mut out = Vec::with_capacity(bytes.len());
        let mut rest = bytes;
        while !rest.is_empty() {
            let taken = self.advance(rest, &mut out);
            rest = taken.inspect_err(|error| self.failed = Some(*error))?;
        }
        Ok(Bytes::from(out))
    }

    /// Ends the document. All of its output has been returned.
    ///
    /// # Errors
    /// [`NotJson::Truncated`] if the document is incomplete, or the error of `push`.
    pub fn finish(self) -> Result<(), NotJson> {
        if let Some(error) = self.failed {
            return Err(error);
        }
        let is_whole = match &self.token {
            Token::None => self.expected == Expected::Nothing,
            // Only the next byte ends a number.
            Token::Scalar(scalar) => self.open.is_empty() && scalar.is_complete(),
            Token::Key(_)
            | Token::Other(_)
            | Token::Link(_)
            | Token::PerhapsLink(_)
            | Token::Representation(_) => false,
        };
        is_whole.then_some(()).ok_or(NotJson::Truncated)
    }

    /// Takes a part of the input, and returns the rest.
    fn advance<'a>(&mut self, input: &'a [u8], out: &mut Vec<u8>) -> Result<&'a [u8], NotJson> {
        let end = match &mut self.token {
            Token::None => return self.between(input, out),
            Token::Key(text)
            | Token::Other(text)
            | Token::Link(text)
            | Token::PerhapsLink(text)
            | Token::Representation(text) => text.take(input)?,
            Token::Scalar(scalar) => scalar.take(input)?,
        };
        let (taken, rest) = input.split_at(end.unwrap_or(input.len()));
        if !self.token.is_held() {
            out.extend_from_slice(taken);
        }
        if end.is_some() {
            self.end_token(out);
        }
        Ok(rest)
    }

    fn end_token(&mut self, out: &mut Vec<u8>) {
        match std::mem::take(&mut self.token) {
            Token::Key(key) => {
                let role = self.open.last().map_or(Role::Other, |object| object.role);
                self.member = role.of_member(key.read());
                self.expected = Expected::Colon;
            }
            Token::Link(link) => {
                let ours = link.read().and_then(|link| self.links.rewrite(link));
                let ours = ours.as_deref().unwrap_or(FOREIGN);
                out.extend_from_slice(quoted(ours).as_bytes());
                self.end_value();
            }
            Token::PerhapsLink(text) => {
                let ours = match text.read() {
                    Some(text) if !is_of_host(text) => Some(text.to_owned()),
                    text => text.and_then(|link| self.links.rewrite(link)),
                };
                let ours = ours.as_deref().unwrap_or(FOREIGN);
                out.extend_from_slice(quoted(ours).as_bytes());
                self.end_value();
            }
            Token::Representation(text) => {
                if let Some(attribute) = self.open.last_mut() {
                    let is_address = text.read() == Some("UR");
                    attribute.role = if is_address {
                        Role::Address
                    } else {
                        Role::Other
                    };
                }
                self.end_value();
            }
            Token::Other(_) | Token::Scalar(_) => self.end_value(),
            Token::None => {}
        }
    }

    fn end_value(&mut self) {
        self.expected = if self.open.is_empty() {
            Expected::Nothing
        } else {
            Expected::CommaOrEnd
        };
    }

    /// Takes one byte outside of tokens, or the first byte of a token.
    fn between<'a>(&mut self, input: &'a [u8], out: &mut Vec<u8>) -> Result<&'a [u8], NotJson> {
        let Some((&byte, rest)) = input.split_first() else {
            return Ok(input);
        };
        if !matches!(byte, b' ' | b'\t' | b'\n' | b'\r') {
            self.structural(byte)?;
        }
        // A link is written with its quotes once it is complete.
        if !self.token.is_held() {
            out.push(byte);
        }
        Ok(rest)
    }

    fn structural(&mut self, byte: u8) -> Result<(), NotJson> {
        match (self.expected, byte) {
            (Expected::ValueOrEnd, b']') | (Expected::KeyOrEnd, b'}') => self.close(),
            (Expected::Value | Expected::ValueOrEnd, _) => return self.begin_value(byte),
            (Expected::Key | Expected::KeyOrEnd, b'"') => {
                self.token = Token::Key(Text::new(LONGEST_KEY));
            }
            (Expected::Colon, b':') => self.expected = Expected::Value,
            (Expected::CommaOrEnd, _) => return self.comma_or_end(byte),
            (Expected::Key | Expected::KeyOrEnd | Expected::Colon | Expected::Nothing, _) => {
                return Err(NotJson::Malformed);
            }
        }
        Ok(())
    }

    fn comma_or_end(&mut self, byte: u8) -> Result<(), NotJson> {
        let kind = self.open.last().map(|container| container.kind);
        match (kind, byte) {
            (Some(Kind::Object), b'}') | (Some(Kind::Array), b']') => self.close(),
            (Some(Kind::Object), b',') => self.expected = Expected::Key,
            (Some(Kind::Array), b',') => self.expected = Expected::Value,
            (Some(_) | None, _) => return Err(NotJson::Malformed),
        }
        Ok(())
    }

    fn begin_value(&mut self, byte: u8) -> Result<(), NotJson> {
        let role = self.role();
        match byte {
            b'{' => return self.open(Kind::Object, role),
            b'[' => return self.open(Kind::Array, role),
            b'"' => self.token = role.of_text(),
            _ => {
                let scalar = Scalar::begin(byte).ok_or(NotJson::Malformed)?;
                self.token = Token::Scalar(scalar);
            }
        }
        Ok(())
    }

    /// The role of the next value.
    fn role(&self) -> Role {
        match self.open.last() {
            Some(Container {
                kind: Kind::Object, ..
            }) => self.member,
            Some(Container {
                kind: Kind::Array,
                role,
            }) => role.of_element(),
            None => Role::Other,
        }
    }

    fn open(&mut self, kind: Kind, role: Role) -> Result<(), NotJson> {
        if self.open.len() == DEEPEST {
            return Err(NotJson::TooDeep);
        }
        self.open.push(Container { kind, role });
        self.expected = match kind {
            Kind::Array => Expected::ValueOrEnd,
            Kind::Object => Expected::KeyOrEnd,
        };
        Ok(())
    }

    fn close(&mut self) {
        self.open.pop();
        self.end_value();
    }

    /// The buffered bytes.
    #[cfg(test)]
    fn held(&self) -> usize {
        match &self.token {
            Token::Key(text)
            | Token::Other(text)
            | Token::Link(text)
            | Token::PerhapsLink(text)
            | Token::Representation(text) => text.held(),
            Token::None | Token::Scalar(_) => 0,
        }
    }
}

impl Role {
    /// The role of a member with this key, in an object with this role.
    fn of_member(self, key: Option<&str>) -> Self {
        match (self, key) {
            (Self::Link, _) | (_, Some("BulkDataURI")) => Self::Link,
            (Self::Address, Some("Value")) => Self::Link,
            (Self::Unknown, Some("Value")) => Self::PerhapsLink,
            (Self::Unknown, Some("vr")) => Self::Representation,
            (_, Some(key)) => match tag(key).map(is_address) {
                Some(Some(true)) => Self::Address,
                Some(None) => Self::Unknown,
                Some(Some(false)) | None => Self::Other,
            },
            (_, None) => Self::Other,
        }
    }

    /// The token of a text with this role.
    fn of_text(self) -> Token {
        match self {
            Self::Link => Token::Link(Text::new(LONGEST_LINK)),
            Self::PerhapsLink => Token::PerhapsLink(Text::new(LONGEST_LINK)),
            Self::Representation => Token::Representation(Text::new(LONGEST_KEY)),
            Self::Other | Self::Address | Self::Unknown => Token::Other(Text::new(0)),
        }
    }

    /// The role of the elements of an array with this role.
    fn of_element(self) -> Self {
        match self {
            Self::Link | Self::PerhapsLink => self,
            Self::Other | Self::Address | Self::Unknown | Self::Representation => Self::Other,
        }
    }
}

/// Whether a text is the URL of something on a host, or of a file.
pub(crate) fn is_of_host(text: &str) -> bool {
    let url = Url::parse(text.trim());
    url.is_ok_and(|url| url.has_host() || url.scheme() == "file")
}

/// Replaces a link that leads elsewhere, since readers require a URL.
const FOREIGN: &str = "about:blank";
/// The longest link that is rewritten, in bytes of UTF-8.
const LONGEST_LINK: usize = 8 << 10;
/// More than the longest key with a role.
const LONGEST_KEY: usize = 16;

#[cfg(test)]
#[path = "json_tests.rs"]
mod tests;
