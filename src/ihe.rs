//! IHE identifiers: communities and the locations of their images.

use std::fmt;

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_decode_str, utf8_percent_encode};

use crate::dicom::Uid;

/// An OID that names a community (XCA homeCommunityId), without a prefix.
#[derive(Clone, PartialEq, Eq, Hash, Debug, serde::Deserialize)]
#[serde(try_from = "String")]
pub struct HomeCommunityId(Uid);

/// Names the system that holds the instances of a series (0040,E011).
///
/// The standard requires an OID. Published examples also contain short names such as `ACME`; they
/// are kept as [`RetrieveLocationUid::Opaque`] and are valid only where the settings allow them.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub enum RetrieveLocationUid {
    /// An OID, as the standard requires.
    Oid(Uid),
    /// A short name: at most 64 letters, digits, dots, underscores and hyphens.
    Opaque(Box<str>),
}

/// The location of a series, as a manifest or a request states it. Untrusted: it only selects a
/// configured source.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Location {
    /// Retrieve Location UID (0040,E011).
    pub retrieve_location_uid: Option<RetrieveLocationUid>,
    /// Retrieve URL (0008,1190), a DICOMweb base URI: the part before `/studies`.
    pub retrieve_url: Option<Box<str>>,
    /// Retrieve AE Title (0008,0054) of classic manifests.
    pub retrieve_ae_title: Option<Box<str>>,
}

/// The text is not an identifier of the expected kind.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not an OID")]
pub struct NotAnOid;

impl HomeCommunityId {
    /// Parses the identifier: bare, or with the prefix `urn:oid:` or `oid:`, percent-encoded or
    /// not.
    ///
    /// # Errors
    /// [`NotAnOid`] if the rest is not an OID.
    pub fn parse(text: &str) -> Result<Self, NotAnOid> {
        oid(&normal_form(text)).map(Self)
    }

    /// The bare OID.
    #[must_use]
    pub fn as_str(&self) -> &str {
        self.0.as_str()
    }
}

impl Location {
    /// The path before `studies` in a RAD-160 request to a community's gateway: the canonical form
    /// of XC-WADO Rev 1.2.
    #[must_use]
    pub fn xc_wado_path(&self, community: &HomeCommunityId) -> String {
        match &self.retrieve_location_uid {
            Some(uid) => format!("homeCommunityId/{community}/RetrieveLocationUID/{uid}"),
            None => format!("homeCommunityId/{community}"),
        }
    }

    /// The `retrieveURL` parameter of such a request, if a Retrieve URL is present.
    #[must_use]
    pub fn xc_wado_query(&self) -> Option<String> {
        let url = self.retrieve_url.as_deref()?;
        Some(format!("retrieveURL={}", utf8_percent_encode(url, QUERY)))
    }
}

/// An OID. Devices write leading zeros into UIDs; the settings of communities have none.
fn oid(text: &str) -> Result<Uid, NotAnOid> {
    match Uid::parse(text) {
        Ok(uid) if !uid.has_leading_zero() => Ok(uid),
        Ok(_) | Err(_) => Err(NotAnOid),
    }
}

/// The unreserved characters of a query: RFC 3986 2.3.
const QUERY: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'-')
    .remove(b'.')
    .remove(b'_')
    .remove(b'~');

impl TryFrom<String> for HomeCommunityId {
    type Error = NotAnOid;

    fn try_from(text: String) -> Result<Self, NotAnOid> {
        Self::parse(&text)
    }
}

impl RetrieveLocationUid {
    /// Parses the identifier in any spelling of manifests, URLs and settings.
    ///
    /// # Errors
    /// [`NotAnOid`] if it is neither an OID nor a short name.
    pub fn parse(text: &str) -> Result<Self, NotAnOid> {
        let text = normal_form(text);
        match oid(&text) {
            Ok(oid) => Ok(Self::Oid(oid)),
            Err(NotAnOid) if is_opaque(&text) => Ok(Self::Opaque(text.into())),
            Err(NotAnOid) => Err(NotAnOid),
        }
    }

    /// The identifier as text, without a prefix.
    #[must_use]
    pub fn as_str(&self) -> &str {
        match self {
            Self::Oid(uid) => uid.as_str(),
            Self::Opaque(text) => text,
        }
    }

    /// Whether it is a short name.
    #[must_use]
    pub fn is_opaque(&self) -> bool {
        match self {
            Self::Oid(_) => false,
            Self::Opaque(_) => true,
        }
    }
}

fn normal_form(text: &str) -> String {
    let decoded = percent_decode_str(text).decode_utf8_lossy();
    let trimmed = decoded.trim_matches(|c: char| c.is_whitespace() || c == '\0');
    strip_prefix_ignoring_case(trimmed, "urn:oid:")
        .or_else(|| strip_prefix_ignoring_case(trimmed, "oid:"))
        .unwrap_or(trimmed)
        .to_owned()
}

fn strip_prefix_ignoring_case<'a>(text: &'a str, prefix: &str) -> Option<&'a str> {
    let head = text.get(..prefix.len())?;
    head.eq_ignore_ascii_case(prefix)
        .then(|| &text[prefix.len()..])
}

fn is_opaque(text: &str) -> bool {
    (1..=64).contains(&text.len())
        // It becomes a path segment.
        && text.bytes().any(|b| b != b'.')
        && text
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'-'))
}

impl fmt::Display for HomeCommunityId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

impl fmt::Display for RetrieveLocationUid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_every_spelling_of_an_oid() {
        for text in [
            "5.6.7.8",
            "urn:oid:5.6.7.8",
            "URN:OID:5.6.7.8",
            "oid:5.6.7.8",
            "urn%3Aoid%3A5.6.7.8",
            " 5.6.7.8\0",
        ] {
            assert_eq!(
                HomeCommunityId::parse(text).map(|id| id.to_string()),
                Ok("5.6.7.8".into()),
                "{text}"
            );
        }
    }

    #[test]
    fn refuses_what_is_no_oid() {
        for text in ["", "ACME", "5.06.7", "urn:oid:", "urn:uuid:5.6.7"] {
            assert_eq!(HomeCommunityId::parse(text), Err(NotAnOid), "{text}");
        }
    }

    #[test]
    fn keeps_a_short_name_apart_from_an_oid() {
        let name = RetrieveLocationUid::parse("ACME").expect("a short name");
        assert!(name.is_opaque());
        assert_eq!(name.as_str(), "ACME");
        for text in ["AC ME", "a/b", "", ".", "..", "..%2f", &"x".repeat(65)] {
            assert_eq!(RetrieveLocationUid::parse(text), Err(NotAnOid), "{text}");
        }
    }
}
