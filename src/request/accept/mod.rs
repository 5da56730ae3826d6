//! The representations that a client accepts: PS3.18 8.7.4 to 8.7.8 for *Retrieve Instances*.
//!
//! The `accept` query parameter takes precedence over the `Accept` header field. Neither changes
//! the request to a source.

pub mod bulk;

use http::HeaderValue;

use super::query::pairs;
use crate::dicom::media_type::{APPLICATION_DICOM, MULTIPART_RELATED};
use crate::dicom::{MediaType, TransferSyntax, TransferSyntaxes};

const MOST_RANGES: usize = 16;

/// How instances are wrapped.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Payload {
    /// `multipart/related; type="application/dicom"`, the default.
    Multipart,
    /// `application/dicom`, which can hold one instance only.
    Single,
}

/// The payload and the transfer syntaxes that a client accepts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Acceptable {
    /// How instances are wrapped.
    pub payload: Payload,
    /// In which transfer syntaxes.
    pub syntaxes: TransferSyntaxes,
}

/// Nothing that could be given is acceptable.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("none of the acceptable media types can be given")]
pub struct NotAcceptable;

impl Acceptable {
    /// Parses the query and the `Accept` header field, for a resource that is a single instance or
    /// not.
    ///
    /// # Errors
    /// [`NotAcceptable`]: 406.
    pub fn parse(
        query: Option<&str>,
        accept: &[&str],
        is_instance: bool,
    ) -> Result<Self, NotAcceptable> {
        let from_query = query.map(accept_parameter).unwrap_or_default();
        if let Some(acceptable) = Self::choose(&from_query, is_instance) {
            return Ok(acceptable);
        }
        let mut from_header: Vec<_> = accept
            .iter()
            .flat_map(|v| MediaType::parse_list(v))
            .collect();
        // RFC 9110 12.5.1: no preference.
        if accept.iter().all(|value| value.trim().is_empty()) {
            if !from_query.is_empty() {
                return Err(NotAcceptable);
            }
            from_header.extend(MediaType::parse("*/*"));
        }
        Self::choose(&from_header, is_instance).ok_or(NotAcceptable)
    }

    /// The best payload, and every transfer syntax that is acceptable in it.
    fn choose(ranges: &[MediaType], is_instance: bool) -> Option<Self> {
        let best = ranges
            .iter()
            .filter_map(|range| Offer::of(range, is_instance))
            .filter(|offer| offer.quality > 0)
            // The first of equals: clients list their favourite first.
            .reduce(|best, other| {
                if other.rank() > best.rank() {
                    other
                } else {
                    best
                }
            })?;
        let excluded: Vec<&str> = ranges
            .iter()
            .filter(|range| range.quality() == 0)
            .filter_map(|range| range.parameter("transfer-syntax"))
            .collect();
        let names_one = |range: &MediaType| range.parameter("transfer-syntax").is_some();
        if !ranges.iter().any(names_one) {
            return Some(Self {
                payload: best.payload,
                syntaxes: TransferSyntaxes::Default,
            });
        }
        let mut syntaxes = Vec::new();
        for range in ranges.iter().filter(|range| range.quality() > 0) {
            match Offer::of(range, is_instance) {
                Some(offer) if offer.payload == best.payload => {
                    if offer.syntax == "*" && excluded.is_empty() {
                        return Some(Self {
                            payload: best.payload,
                            syntaxes: TransferSyntaxes::AsStored,
                        });
                    }
                    if !excluded.contains(&offer.syntax.as_str()) {
                        syntaxes.push(offer.syntax);
                    }
                }
                Some(_) | None => {}
            }
        }
        Some(Self {
            payload: best.payload,
            syntaxes: TransferSyntaxes::OneOf(syntaxes),
        })
    }
}

/// In which form a manifest is wanted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ManifestForm {
    /// A summary, as `application/json`.
    Summary,
    /// The Key Object Selection document, as `application/dicom`.
    Kos,
    /// The Bundle, as `application/fhir+json`.
    Fhir,
}

/// In which form a manifest is given, by the `Accept` header fields; a summary if they do not care.
///
/// # Errors
/// [`NotAcceptable`]: 406.
pub fn manifest(accept: &[&str]) -> Result<ManifestForm, NotAcceptable> {
    let form = |range: &MediaType| match range.essence() {
        "*/*" | "application/*" | "application/json" => Some(ManifestForm::Summary),
        APPLICATION_DICOM => Some(ManifestForm::Kos),
        "application/fhir+json" => Some(ManifestForm::Fhir),
        _ => None,
    };
    preferred(None, accept)
        .iter()
        .find_map(form)
        .ok_or(NotAcceptable)
}

/// Whether JSON may be given, by the `Accept` header fields.
///
/// # Errors
/// [`NotAcceptable`]: 406.
pub fn json(accept: &[&str]) -> Result<(), NotAcceptable> {
    let mut ranges = accept
        .iter()
        .flat_map(|field| MediaType::parse_list(field))
        .peekable();
    let is_json = |essence: &str| matches!(essence, "*/*" | "application/*" | "application/json");
    let says_nothing = ranges.peek().is_none();
    if says_nothing || ranges.any(|range| is_json(range.essence()) && range.quality() > 0) {
        Ok(())
    } else {
        Err(NotAcceptable)
    }
}

/// Whether JSON is liked better than anything else.
#[must_use]
pub fn prefers_json(accept: &[&str]) -> bool {
    let mut ranges = ranges(None, accept);
    ranges.sort_by_key(|range| std::cmp::Reverse(range.quality()));
    let best = ranges.first().map(MediaType::essence);
    matches!(best, Some("application/json" | "application/dicom+json"))
}

/// Whether DICOM JSON may be given, by the query parameter or the `Accept` header fields.
///
/// # Errors
/// [`NotAcceptable`]: 406.
pub fn dicom_json(query: Option<&str>, accept: &[&str]) -> Result<(), NotAcceptable> {
    let is_json = |range: &MediaType| {
        let essence = range.essence();
        matches!(
            essence,
            "*/*" | "application/*" | "application/dicom+json" | "application/json"
        ) && range.quality() > 0
    };
    let from_query = query.map(accept_parameter).unwrap_or_default();
    let from_header = accept.iter().flat_map(|field| MediaType::parse_list(field));
    let mut ranges = from_query.into_iter().chain(from_header).peekable();
    if ranges.peek().is_none() || ranges.any(|range| is_json(&range)) {
        Ok(())
    } else {
        Err(NotAcceptable)
    }
}

/// How attributes are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MetadataForm {
    /// `application/dicom+json`.
    Json,
    /// `multipart/related; type="application/dicom+xml"`.
    Xml,
}

/// The format of attributes: of metadata and of search results.
///
/// # Errors
/// [`NotAcceptable`]: 406.
pub fn metadata(query: Option<&str>, accept: &[&str]) -> Result<MetadataForm, NotAcceptable> {
    let form = |range: &MediaType| match range.essence() {
        "*/*" | "application/*" | "application/dicom+json" | "application/json" => {
            Some(MetadataForm::Json)
        }
        MULTIPART_RELATED => match range.part_type().as_deref() {
            Some("application/dicom+xml") => Some(MetadataForm::Xml),
            Some(_) | None => None,
        },
        // Some clients name the media type of the parts instead of `multipart/related`.
        "application/dicom+xml" => Some(MetadataForm::Xml),
        _ => None,
    };
    preferred(query, accept)
        .iter()
        .find_map(form)
        .ok_or(NotAcceptable)
}

/// The acceptable media types by quality; equals in the order of the client.
pub(super) fn preferred(query: Option<&str>, accept: &[&str]) -> Vec<MediaType> {
    let mut ranges = ranges(query, accept);
    ranges.retain(|range| range.quality() > 0);
    ranges.sort_by_key(|range| std::cmp::Reverse(range.quality()));
    ranges
}

/// The media ranges of the query parameter, then those of the header field; any if there are none.
pub(super) fn ranges(query: Option<&str>, accept: &[&str]) -> Vec<MediaType> {
    let mut ranges = query.map(accept_parameter).unwrap_or_default();
    if ranges.is_empty() {
        let fields = accept.iter();
        ranges.extend(fields.flat_map(|field| MediaType::parse_list(field)));
    }
    if ranges.is_empty() && accept.iter().all(|value| value.trim().is_empty()) {
        ranges.extend(MediaType::parse("*/*"));
    }
    ranges
}

/// `Accept` for a source, written anew from the ranges that a client accepts; `*/*` if it names
/// none.
#[must_use]
pub fn anew(accept: &[&str]) -> HeaderValue {
    let ranges = accept.iter().flat_map(|field| MediaType::parse_list(field));
    let ranges: Vec<String> = ranges
        .take(MOST_RANGES)
        .map(|range| range.to_string())
        .collect();
    let written = HeaderValue::try_from(ranges.join(", ")).ok();
    written
        .filter(|value| !value.is_empty())
        .unwrap_or(HeaderValue::from_static("*/*"))
}

/// The payload of one media range, if the gateway offers it.
struct Offer {
    payload: Payload,
    /// A UID or `*`.
    syntax: String,
    /// A range that names a type is meant more than `*/*` (RFC 9110 12.5.1).
    is_specific: bool,
    quality: u16,
}

impl Offer {
    fn rank(&self) -> (u16, bool) {
        (self.quality, self.is_specific)
    }

    fn of(range: &MediaType, is_instance: bool) -> Option<Self> {
        let payload = match range.essence() {
            MULTIPART_RELATED => match range.part_type().as_deref() {
                Some(APPLICATION_DICOM | "*/*" | "application/*") | None => Payload::Multipart,
                Some(_) => return None,
            },
            "*/*" | "multipart/*" => Payload::Multipart,
            APPLICATION_DICOM | "application/*" if is_instance => Payload::Single,
            _ => return None,
        };
        // PS3.18 8.7.3.1: without the parameter, Explicit VR Little Endian is meant.
        let syntax = range.parameter("transfer-syntax").map(str::trim);
        let syntax = syntax
            .unwrap_or(TransferSyntax::EXPLICIT_VR_LITTLE_ENDIAN)
            .to_owned();
        let is_specific = !range.essence().contains('*');
        Some(Self {
            payload,
            syntax,
            is_specific,
            quality: range.quality(),
        })
    }
}

/// The media types of the `accept` query parameter (PS3.18 8.3.3.1). A `+` that was meant as
/// itself and decoded to a blank is mended.
fn accept_parameter(query: &str) -> Vec<MediaType> {
    pairs(query)
        .filter(|(name, _)| name.eq_ignore_ascii_case("accept"))
        .flat_map(|(_, value)| MediaType::parse_list(&value.replace("dicom json", "dicom+json")))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const LOSSLESS: &str = "1.2.840.10008.1.2.4.70";
    const EXPLICIT: &str = TransferSyntax::EXPLICIT_VR_LITTLE_ENDIAN;

    fn parse(query: Option<&str>, accept: &str, is_instance: bool) -> Option<Acceptable> {
        Acceptable::parse(query, &[accept], is_instance).ok()
    }

    fn permits(acceptable: &Acceptable, syntax: &str) -> bool {
        acceptable
            .syntaxes
            .permit(&TransferSyntax::parse(syntax).expect("a uid"))
    }

    #[test]
    fn nothing_said_means_multipart_and_explicit_little_endian() {
        for accept in [
            "",
            "*/*",
            "multipart/related",
            "multipart/related; type=\"application/dicom\"",
        ] {
            let read = parse(None, accept, true).expect("acceptable");
            assert_eq!(read.payload, Payload::Multipart, "{accept}");
            assert!(
                permits(&read, EXPLICIT) && !permits(&read, LOSSLESS),
                "{accept}"
            );
        }
    }

    #[test]
    fn a_star_means_as_stored_however_it_is_spelt() {
        for accept in [
            "multipart/related; type=\"application/dicom\"; transfer-syntax=*",
            "multipart/related; type=application/dicom; transfer-syntax=\"*\"",
            "multipart/related; type=\"application/dicom; transfer-syntax=*\"",
            "image/png, multipart/related; type=\"application/dicom\"; transfer-syntax=*;q=0.2",
        ] {
            assert!(
                parse(None, accept, false).expect("acceptable").syntaxes
                    == TransferSyntaxes::AsStored,
                "{accept}"
            );
        }
    }

    #[test]
    fn several_syntaxes_are_all_acceptable() {
        let accept = "multipart/related;type=application/dicom;transfer-syntax=\"1.2.840.10008.1.2.4.70\";q=0.9, */*;q=0.1";
        let read = parse(None, accept, false).expect("acceptable");
        assert!(permits(&read, LOSSLESS) && permits(&read, EXPLICIT));
        assert!(!permits(&read, "1.2.840.10008.1.2.4.90"));
    }

    #[test]
    fn one_instance_may_come_alone() {
        let read = parse(None, "application/dicom; transfer-syntax=*", true).expect("acceptable");
        assert_eq!(read.payload, Payload::Single);
        assert_eq!(parse(None, "application/dicom", false), None);
    }

    #[test]
    fn the_query_parameter_is_tried_first() {
        let query = "accept=multipart%2Frelated%3B%20type%3D%22application%2Fdicom%22%3B%20transfer-syntax%3D*";
        let read = parse(Some(query), "image/png", false).expect("acceptable");
        assert_eq!(read.syntaxes, TransferSyntaxes::AsStored);
        let read = parse(Some("accept=image/png"), "*/*", false).expect("the header is tried next");
        assert_ne!(read.syntaxes, TransferSyntaxes::AsStored);
        assert_eq!(parse(Some("accept=image/png"), "", false), None);
    }

    #[test]
    fn what_cannot_be_given_is_not_acceptable() {
        for accept in [
            "image/png",
            "application/dicom+json",
            "multipart/related; type=\"image/jpeg\"",
            "*/*;q=0",
            "text/html, application/xml",
        ] {
            assert_eq!(parse(None, accept, false), None, "{accept}");
        }
    }

    #[test]
    fn json_is_given_unless_it_is_excluded() {
        for accept in [
            "",
            "*/*",
            "application/json",
            "text/html, application/*;q=0.1",
        ] {
            assert_eq!(json(&[accept]), Ok(()), "{accept}");
        }
        for accept in ["application/dicom", "application/json;q=0", "text/html"] {
            assert_eq!(json(&[accept]), Err(NotAcceptable), "{accept}");
        }
    }

    #[test]
    fn the_better_liked_payload_is_chosen() {
        let accept = "multipart/related; type=\"application/dicom\";q=0.5, application/dicom";
        assert_eq!(
            parse(None, accept, true).map(|a| a.payload),
            Some(Payload::Single)
        );
        let accept = "*/*, application/dicom;q=0.9";
        assert_eq!(
            parse(None, accept, true).map(|a| a.payload),
            Some(Payload::Multipart)
        );
    }
}
