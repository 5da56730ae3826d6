//! Which resource a path names. Every segment is decoded once, checked against the grammar of
//! what stands there, and used only as the typed value it became.

use std::borrow::Cow;

use percent_encoding::percent_decode_str;

use crate::dicom::{SeriesInstanceUid, SopInstanceUid, StudyInstanceUid};
use crate::ihe::HomeCommunityId;
use crate::instance::Target;
use crate::manifest::{Id, Registration};

/// A resource of the public listener.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Resource {
    /// `manifests`.
    Manifests,
    /// `manifests/{id}`.
    Manifest(Id),
    /// Something to retrieve below a manifest's DICOMweb root.
    Retrieve(Root, Target),
}

/// A DICOMweb root.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Root {
    /// `manifests/{id}/dicomweb`: what one manifest selects.
    Manifest(Id),
}

/// Why a path or a query names nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// There is no such resource.
    #[error("there is nothing here")]
    Unknown,
    /// A segment is no UID where one must stand.
    #[error("{0} is not a UID")]
    NotAUid(&'static str),
    /// A query parameter cannot be read.
    #[error("the query parameter {0} cannot be read")]
    Query(&'static str),
    /// A query parameter is not known here.
    #[error("there is a query parameter that is not known here")]
    UnknownParameter,
}

impl Resource {
    /// Reads the path below the public URL's own.
    ///
    /// # Errors
    /// [`Error::Unknown`] or [`Error::NotAUid`].
    pub fn parse(path: &str) -> Result<Self, Error> {
        let path = path.strip_prefix('/').unwrap_or(path);
        // Published URLs end in a slash or do not.
        let path = path.strip_suffix('/').unwrap_or(path);
        let segments: Vec<&str> = path.split('/').collect();
        match segments.as_slice() {
            ["manifests"] => Ok(Self::Manifests),
            ["manifests", id] => Ok(Self::Manifest(Id::parse(id).ok_or(Error::Unknown)?)),
            ["manifests", id, "dicomweb", rest @ ..] => {
                let id = Id::parse(id).ok_or(Error::Unknown)?;
                Ok(Self::Retrieve(Root::Manifest(id), target(rest)?))
            }
            _ => Err(Error::Unknown),
        }
    }
}

fn target(segments: &[&str]) -> Result<Target, Error> {
    match segments {
        ["studies", study] => Ok(Target::Study(study_uid(study)?)),
        ["studies", study, "series", series] => {
            Ok(Target::Series(study_uid(study)?, series_uid(series)?))
        }
        ["studies", study, "series", series, "instances", instance] => Ok(Target::Instance(
            study_uid(study)?,
            series_uid(series)?,
            instance_uid(instance)?,
        )),
        _ => Err(Error::Unknown),
    }
}

fn study_uid(segment: &str) -> Result<StudyInstanceUid, Error> {
    StudyInstanceUid::parse(&decode(segment)).map_err(|_not_a_uid| Error::NotAUid("the study"))
}

fn series_uid(segment: &str) -> Result<SeriesInstanceUid, Error> {
    SeriesInstanceUid::parse(&decode(segment)).map_err(|_not_a_uid| Error::NotAUid("the series"))
}

fn instance_uid(segment: &str) -> Result<SopInstanceUid, Error> {
    SopInstanceUid::parse(&decode(segment)).map_err(|_not_a_uid| Error::NotAUid("the instance"))
}

fn decode(segment: &str) -> Cow<'_, str> {
    percent_decode_str(segment).decode_utf8_lossy()
}

/// Reads the query of a registration. Names are compared without case; what is not known is
/// refused, for a misspelt restriction must not become none.
///
/// # Errors
/// [`Error::Query`].
pub fn registration(query: Option<&str>) -> Result<Registration, Error> {
    let mut registration = Registration::default();
    for (name, value) in pairs(query.unwrap_or_default()) {
        match name.to_ascii_lowercase().as_str() {
            "homecommunityid" if registration.home_community_id.is_none() => {
                let id = HomeCommunityId::parse(&value)
                    .map_err(|_not_an_oid| Error::Query("homeCommunityId"))?;
                registration.home_community_id = Some(id);
            }
            "homecommunityid" => return Err(Error::Query("homeCommunityId")),
            "series" => registration.series.extend(series_list(&value)?),
            _ => return Err(Error::UnknownParameter),
        }
    }
    registration.series.sort();
    registration.series.dedup();
    Ok(registration)
}

fn series_list(list: &str) -> Result<Vec<SeriesInstanceUid>, Error> {
    let uids = list
        .split(',')
        .map(|uid| SeriesInstanceUid::parse(uid.trim()));
    uids.collect::<Result<_, _>>()
        .map_err(|_not_a_uid| Error::Query("series"))
}

/// The pairs of a query, decoded.
pub(super) fn pairs(query: &str) -> impl Iterator<Item = (Cow<'_, str>, Cow<'_, str>)> {
    query
        .split('&')
        .filter(|pair| !pair.is_empty())
        .map(|pair| {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            (decode(name), decode(value))
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    const ID: &str = "00112233445566778899aabbccddeeff";

    fn under_root(rest: &str) -> Result<Resource, Error> {
        Resource::parse(&format!("/manifests/{ID}/dicomweb/{rest}"))
    }

    #[test]
    fn reads_the_three_levels_of_retrieve() {
        for rest in [
            "studies/1.2",
            "studies/1.2/",
            "studies/1.2/series/1.3",
            "studies/1.2/series/1.3/instances/1.4",
            "studies/1%2E2",
        ] {
            assert!(under_root(rest).is_ok(), "{rest}");
        }
    }

    #[test]
    fn a_segment_that_decodes_to_something_else_than_a_uid_is_refused() {
        for rest in [
            "studies/1.2%2F..%2F..",
            "studies/..%2f..%2fsystem",
            "studies/%2e%2e",
            "studies/1.2%00",
            "studies/1.2%5c",
            "studies/%201.2",
            "studies/1.2/series/1.03",
            "studies/1.2/series/1.3/instances/*",
        ] {
            assert!(matches!(under_root(rest), Err(Error::NotAUid(_))), "{rest}");
        }
    }

    #[test]
    fn what_is_not_served_is_unknown() {
        for rest in [
            "",
            "studies",
            "study/1.2",
            "studies/1.2/metadata",
            "studies/1.2/series",
            "studies//1.2",
        ] {
            assert_eq!(under_root(rest), Err(Error::Unknown), "{rest}");
        }
        for path in [
            "/",
            "",
            "/manifests/xyz",
            "/manifests//",
            "/metrics",
            "//manifests",
        ] {
            assert_eq!(Resource::parse(path), Err(Error::Unknown), "{path}");
        }
    }

    #[test]
    fn a_restriction_that_cannot_be_read_is_refused() {
        let read = registration(Some(
            "HOMECOMMUNITYID=urn%3Aoid%3A1.2.3&series=1.5,1.4&series=1.4",
        ));
        let narrowed = read.expect("a restriction");
        assert_eq!(
            narrowed.home_community_id.map(|id| id.to_string()),
            Some("1.2.3".into())
        );
        assert_eq!(narrowed.series.len(), 2);
        for query in [
            "series=",
            "series=1.2,x",
            "serie=1.2",
            "homeCommunityId=x",
            "homeCommunityId=1.2&homeCommunityId=1.2",
        ] {
            assert!(registration(Some(query)).is_err(), "{query}");
        }
    }
}
