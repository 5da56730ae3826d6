//! The URL of a cross-gateway retrieve (RAD-160), read in every spelling that occurs.
//!
//! ```text
//! homeCommunityId/{oid}/RetrieveLocationUID/{uid}/studies/{study}[/series/{series}[/instances/{instance}]][/{sub-resource}]
//!     [?retrieveURL={DICOMweb base URI}][&{parameters of PS3.18}]
//! ```
//!
//! Each part is decoded once and checked against the grammar; the rest of the code uses the typed
//! value only.

use std::borrow::Cow;

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_decode_str, utf8_percent_encode};

use crate::community::Address;
use crate::dicom::{NotAUid, SeriesInstanceUid, SopInstanceUid, StudyInstanceUid};
use crate::ihe::{HomeCommunityId, Location, RetrieveLocationUid};
use crate::manifest::retrieve_url::base_uri;
use crate::resource::{FrameForm, Level, SubResource, Target};

/// Deviations from the standard that are accepted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Tolerance {
    /// Retrieve Location UIDs that are not OIDs.
    pub opaque_location_ids: bool,
    /// `RetrieveLocationUID/{uid}` may be left out where there is a `retrieveURL`.
    pub retrieve_url_alone: bool,
}

/// A request of one gateway to another.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct XcWado {
    /// The community that is asked.
    pub home_community_id: HomeCommunityId,
    /// Where it has the images; a Retrieve URL is in the normal form of [`Address`].
    pub location: Location,
    /// The target.
    pub target: Target,
    /// The sub-resource; the instances if `None`.
    pub sub_resource: Option<SubResource>,
    /// The rest of the query, decoded, in its order.
    pub parameters: Vec<(String, String)>,
}

/// Which part of a URL is wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// The segments are others, or in another order.
    #[error("the path is not homeCommunityId/…/RetrieveLocationUID/…/studies/…")]
    Path,
    /// Not an OID.
    #[error("the homeCommunityId is not an OID")]
    HomeCommunityId,
    /// Not an OID, nor a name where names are taken.
    #[error("the RetrieveLocationUID is not an OID")]
    RetrieveLocationUid,
    /// A study, a series or an instance is named by something else than a UID.
    #[error("{0} is not a UID")]
    NotAUid(&'static str),
    /// PS3.18 has no such resource below a study, series or instance.
    #[error("what follows the study, series or instance is not a resource that can be retrieved")]
    SubResource,
    /// The query cannot be decoded.
    #[error("the query cannot be read")]
    Query,
    /// More than one `retrieveURL`, in whatever spelling.
    #[error("there is more than one retrieveURL")]
    RepeatedRetrieveUrl,
    /// Neither `RetrieveLocationUID` nor `retrieveURL`.
    #[error("there is neither a RetrieveLocationUID nor a retrieveURL")]
    NoLocation,
    /// Not the base address of a DICOMweb service.
    #[error("the retrieveURL is not the base URI of a DICOMweb service")]
    RetrieveUrl,
    /// `retrieveURL` is the address of another study, series or instance.
    #[error("the retrieveURL names another study, series or instance than the path")]
    ForeignRetrieveUrl,
}

impl XcWado {
    /// Parses the path below the gateway's own, still percent-encoded.
    ///
    /// # Errors
    /// The part that is wrong: 400.
    pub fn parse(path: &str, query: Option<&str>, tolerance: Tolerance) -> Result<Self, Error> {
        let path = path.strip_suffix('/').unwrap_or(path);
        let segments: Vec<&str> = path.split('/').collect();
        let (home_community_id, rest) = community(&segments)?;
        let (retrieve_location_uid, rest) = retrieve_location(rest, tolerance)?;
        let (target, rest) = target(rest)?;
        let sub_resource = sub_resource(rest, &target)?;
        let mut parameters = parameters(query.unwrap_or_default())?;
        let retrieve_url = take_retrieve_url(&mut parameters, &target)?;
        if retrieve_location_uid.is_none() && retrieve_url.is_none() {
            return Err(Error::NoLocation);
        }
        Ok(Self {
            home_community_id,
            location: Location {
                retrieve_location_uid,
                retrieve_url,
                retrieve_ae_title: None,
            },
            target,
            sub_resource,
            parameters,
        })
    }

    /// The query for the server of the sub-resource: the parameters that PS3.18 defines for it,
    /// under the names of the standard, escaped anew. Empty if there are none; instances have none.
    #[must_use]
    pub fn upstream_query(&self) -> String {
        let known = self.sub_resource.as_ref().map_or(&[][..], parameter_names);
        written(
            known,
            self.parameters
                .iter()
                .map(|(name, value)| (&**name, &**value)),
        )
    }
}

/// The query for the server of a sub-resource, written anew from that of a client.
#[must_use]
pub fn query_for(sub_resource: &SubResource, query: Option<&str>) -> String {
    let parameters = parameters(query.unwrap_or_default()).unwrap_or_default();
    let parameters = parameters.iter().map(|(name, value)| (&**name, &**value));
    written(parameter_names(sub_resource), parameters)
}

fn written<'a>(known: &[&str], parameters: impl Iterator<Item = (&'a str, &'a str)>) -> String {
    let pairs = parameters.filter_map(|(name, value)| {
        let name = known
            .iter()
            .find(|known| known.eq_ignore_ascii_case(name))?;
        Some(format!("{name}={}", utf8_percent_encode(value, ESCAPED)))
    });
    pairs.collect::<Vec<_>>().join("&")
}

fn community<'s, 'a>(segments: &'s [&'a str]) -> Result<(HomeCommunityId, &'s [&'a str]), Error> {
    match segments {
        [marker, id, rest @ ..] if is_marker(marker, "homeCommunityId") => {
            let id = identifier(id).ok_or(Error::HomeCommunityId)?;
            let id = HomeCommunityId::parse(id).map_err(|_not_an_oid| Error::HomeCommunityId)?;
            Ok((id, rest))
        }
        _ => Err(Error::Path),
    }
}

fn retrieve_location<'s, 'a>(
    segments: &'s [&'a str],
    tolerance: Tolerance,
) -> Result<(Option<RetrieveLocationUid>, &'s [&'a str]), Error> {
    match segments {
        [marker, uid, rest @ ..] if is_marker(marker, "RetrieveLocationUID") => {
            let uid = retrieve_location_uid(uid).ok_or(Error::RetrieveLocationUid)?;
            if uid.is_opaque() && !tolerance.opaque_location_ids {
                return Err(Error::RetrieveLocationUid);
            }
            Ok((Some(uid), rest))
        }
        _ if tolerance.retrieve_url_alone => Ok((None, segments)),
        _ => Err(Error::Path),
    }
}

fn retrieve_location_uid(segment: &str) -> Option<RetrieveLocationUid> {
    let uid = RetrieveLocationUid::parse(identifier(segment)?).ok()?;
    // It becomes a path segment again: `..` must not.
    let is_dots = uid.as_str().bytes().all(|byte| byte == b'.');
    (!is_dots).then_some(uid)
}

fn target<'s, 'a>(segments: &'s [&'a str]) -> Result<(Target, &'s [&'a str]), Error> {
    let [studies, study, rest @ ..] = segments else {
        return Err(Error::Path);
    };
    // `study` was the word until Rev 1.2 of MADO.
    if !is(studies, "studies") && !is(studies, "study") {
        return Err(Error::Path);
    }
    let study = uid(study, StudyInstanceUid::parse, "the study")?;
    let Some((series, rest)) = named(rest, "series") else {
        return Ok((Target::Study(study), rest));
    };
    let series = uid(series, SeriesInstanceUid::parse, "the series")?;
    let Some((instance, rest)) = named(rest, "instances") else {
        return Ok((Target::Series(study, series), rest));
    };
    let instance = uid(instance, SopInstanceUid::parse, "the instance")?;
    Ok((Target::Instance(study, series, instance), rest))
}

fn named<'s, 'a>(segments: &'s [&'a str], name: &str) -> Option<(&'a str, &'s [&'a str])> {
    match segments {
        [first, uid, rest @ ..] if is(first, name) => Some((*uid, rest)),
        _ => None,
    }
}

fn uid<T>(
    segment: &str,
    parse: fn(&str) -> Result<T, NotAUid>,
    what: &'static str,
) -> Result<T, Error> {
    let text = decode(segment).ok_or(Error::NotAUid(what))?;
    parse(&text).map_err(|_not_a_uid| Error::NotAUid(what))
}

fn sub_resource(segments: &[&str], target: &Target) -> Result<Option<SubResource>, Error> {
    if segments.is_empty() {
        return Ok(None);
    }
    let level = match target {
        Target::Study(..) => Level::Study,
        Target::Series(..) => Level::Series,
        Target::Instance(..) => Level::Instance,
    };
    let sub_resource = SubResource::parse(segments, level);
    sub_resource
        .map(Some)
        .map_err(|_not_one| Error::SubResource)
}

fn parameters(query: &str) -> Result<Vec<(String, String)>, Error> {
    let pairs = query.split('&').filter(|pair| !pair.is_empty());
    let pairs = pairs.map(|pair| {
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        Some((decode(name)?.into_owned(), decode(value)?.into_owned()))
    });
    pairs.collect::<Option<_>>().ok_or(Error::Query)
}

fn take_retrieve_url(
    parameters: &mut Vec<(String, String)>,
    target: &Target,
) -> Result<Option<Box<str>>, Error> {
    let is_retrieve_url =
        |(name, _): &mut (String, String)| name.eq_ignore_ascii_case("retrieveURL");
    let values: Vec<_> = parameters.extract_if(.., is_retrieve_url).collect();
    match values.as_slice() {
        [] => Ok(None),
        [(_, value)] if value.is_empty() => Ok(None),
        [(_, value)] => retrieve_url(value, target).map(Some),
        [_, _, ..] => Err(Error::RepeatedRetrieveUrl),
    }
}

fn retrieve_url(value: &str, target: &Target) -> Result<Box<str>, Error> {
    // A query or a fragment would be cut off with the study, and must not go unnoticed.
    if value.len() > LONGEST || value.contains(['?', '#', '\\']) {
        return Err(Error::RetrieveUrl);
    }
    let base = base_uri(value, target).map_err(|_foreign| Error::ForeignRetrieveUrl)?;
    let address = base.and_then(|base| Address::parse(&base).ok());
    let address = address.ok_or(Error::RetrieveUrl)?.to_string();
    // The next gateway has the same limit.
    if address.len() > LONGEST {
        return Err(Error::RetrieveUrl);
    }
    Ok(address.into())
}

fn parameter_names(sub_resource: &SubResource) -> &'static [&'static str] {
    match sub_resource {
        SubResource::Metadata => METADATA,
        SubResource::Rendered | SubResource::Thumbnail => RENDERING,
        SubResource::Frames(_, FrameForm::Rendered | FrameForm::Thumbnail) => RENDERING,
        SubResource::Frames(_, FrameForm::Pixels) => BULK_DATA,
        SubResource::Pixeldata | SubResource::Bulkdata(_) => BULK_DATA,
    }
}

// Published URLs spell the two markers in several cases.
fn is_marker(segment: &str, marker: &str) -> bool {
    decode(segment).is_some_and(|text| text.eq_ignore_ascii_case(marker))
}

fn is(segment: &str, name: &str) -> bool {
    decode(segment).is_some_and(|text| text == name)
}

// The identifiers of IHE decode and trim on their own; values that must not be trimmed are checked
// here.
fn identifier(segment: &str) -> Option<&str> {
    decode(segment).map(|_readable| segment)
}

/// Decodes once; `None` for bytes that are not text, and for control characters.
fn decode(text: &str) -> Option<Cow<'_, str>> {
    let text = percent_decode_str(text).decode_utf8().ok()?;
    (!text.contains(char::is_control)).then_some(text)
}

/// Longest `retrieveURL`, in bytes.
const LONGEST: usize = 2048;

// PS3.18 8.3.3 to 8.3.5. Servers know `includefield` in both spellings. Which media type of
// metadata is accepted is decided here.
const METADATA: &[&str] = &["charset", "includefield", "includefields"];
const BULK_DATA: &[&str] = &["accept", "charset"];
const RENDERING: &[&str] = &[
    "accept",
    "annotation",
    "charset",
    "iccprofile",
    "quality",
    "viewport",
    "window",
];

/// RFC 3986 2.3, and the characters that separate nothing in a query.
const ESCAPED: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'-')
    .remove(b'.')
    .remove(b'_')
    .remove(b'~')
    .remove(b',')
    .remove(b'*')
    .remove(b'/')
    .remove(b':');

#[cfg(test)]
mod tests;
