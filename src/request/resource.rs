//! The resource that a path names. Each segment is decoded once and checked against the grammar;
//! the rest of the code uses the typed value only.

use std::fmt;

use serde::Deserialize;

use super::Error;
use super::query::decode;
use super::search::Scope;
use super::wado_uri::is_wado_uri;
use super::xc_wado::{Tolerance, XcWado};
use crate::dicom::{SeriesInstanceUid, SopInstanceUid, StudyInstanceUid};
use crate::manifest::Id;
use crate::resource::{Level, SubResource, Target};

/// A resource of the public listener.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Resource {
    /// `manifests`.
    Manifests,
    /// `manifests/{id}`.
    Manifest(Id),
    /// `manifests/{id}/viewers`: where documents for viewers are.
    Viewers(Id),
    /// One of these documents.
    Viewer(Id, Viewer),
    /// `manifests/{id}/links`: where links to it are made and listed.
    Links(Id),
    /// One of these links, by its name.
    Link(Id, Box<str>),
    /// `link/{token}/unlock`: where the one-time code of a link is entered.
    Unlock(Box<str>),
    /// The page at which a person in a browser arrives after a login without an address, and after a
    /// log-out.
    FirstPage,
    /// `login`: where a person in a browser logs in.
    Login,
    /// `login/callback`: where the browser comes back to.
    LoggedIn,
    /// `logout`.
    Logout,
    /// `.well-known/oauth-protected-resource` (RFC 9728).
    ProtectedResource,
    /// A DICOMweb root itself.
    Root(Root),
    /// Something to search for below a DICOMweb root.
    Search(Root, Scope),
    /// WADO-URI over a DICOMweb root (PS3.18 9): `wado` beside or below it, or the root itself.
    Wado(Root),
    /// Instances to retrieve below a DICOMweb root.
    Retrieve(Root, Target),
    /// Something that is made of instances, below a DICOMweb root.
    Derive(Root, Target, Box<SubResource>),
    /// Something to retrieve from a community (RAD-160).
    XcWado(Box<XcWado>),
}

/// The settings of the grammar.
#[derive(Debug, Clone)]
pub struct Grammar {
    /// Where RAD-160 is.
    pub xc_wado_path: XcWadoPath,
    /// Deviations that RAD-160 tolerates.
    pub tolerance: Tolerance,
}

/// The path between the public URL and `homeCommunityId`: one or more segments that need no
/// escaping, without slashes around them.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub struct XcWadoPath(Box<str>);

/// A text cannot stand before `homeCommunityId`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not a path of plain segments, or one that something else has")]
pub struct NotAPath;

/// A DICOMweb root.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Root {
    /// `manifests/{id}/dicomweb`: the selection of one manifest.
    Manifest(Id),
    /// `dicomweb`: the selections of all registered manifests.
    All,
}

/// A document that opens a manifest in a viewer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Viewer {
    /// For OHIF's `dicomwebproxy` data source.
    OhifProxy,
    /// For OHIF's `dicomjson` data source.
    OhifJson,
    /// For Weasis.
    Weasis,
}

impl Grammar {
    /// Reads the path below the public URL's own, and the query where it is part of the address.
    ///
    /// # Errors
    /// [`Error::Unknown`], [`Error::NotAUid`] or [`Error::XcWado`].
    pub fn resource(&self, path: &str, query: Option<&str>) -> Result<Resource, Error> {
        match self.xc_wado_path.below(path) {
            Some(path) => {
                let request = XcWado::parse(path, query, self.tolerance)?;
                Ok(Resource::XcWado(Box::new(request)))
            }
            None => {
                let resource = Resource::parse(path)?;
                // Weasis and others append the query to the address that they have of a server.
                if let Resource::Root(root) = resource
                    && is_wado_uri(query)
                {
                    return Ok(Resource::Wado(root));
                }
                Ok(resource)
            }
        }
    }
}

impl XcWadoPath {
    /// The part of a path below it. Clients that put a slash behind an address which ends with one
    /// double it.
    fn below<'a>(&self, path: &'a str) -> Option<&'a str> {
        let below = path
            .strip_prefix('/')?
            .strip_prefix(&*self.0)?
            .strip_prefix('/')?;
        Some(below.strip_prefix('/').unwrap_or(below))
    }
}

impl TryFrom<String> for XcWadoPath {
    type Error = NotAPath;

    fn try_from(text: String) -> Result<Self, NotAPath> {
        let path = text.trim_matches('/');
        let is_plain = |segment: &str| {
            !matches!(segment, "" | "." | "..")
                && segment
                    .bytes()
                    .all(|b| b.is_ascii_alphanumeric() || b"-._~".contains(&b))
        };
        let first = path.split('/').next().unwrap_or_default();
        let is_taken = matches!(
            first,
            "manifests" | "dicomweb" | "link" | "login" | "logout" | ".well-known"
        );
        if is_taken || !path.split('/').all(is_plain) {
            return Err(NotAPath);
        }
        Ok(Self(path.into()))
    }
}

impl Default for XcWadoPath {
    fn default() -> Self {
        Self("wado-rs".into())
    }
}

impl fmt::Display for XcWadoPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl Resource {
    fn parse(path: &str) -> Result<Self, Error> {
        if path == "/" {
            return Ok(Self::FirstPage);
        }
        let path = path.strip_prefix('/').unwrap_or(path);
        // Published URLs end in a slash or do not.
        let path = path.strip_suffix('/').unwrap_or(path);
        let segments: Vec<&str> = path.split('/').collect();
        match segments.as_slice() {
            ["manifests"] => Ok(Self::Manifests),
            ["login"] => Ok(Self::Login),
            ["login", "callback"] => Ok(Self::LoggedIn),
            ["logout"] => Ok(Self::Logout),
            [".well-known", "oauth-protected-resource"] => Ok(Self::ProtectedResource),
            ["dicomweb", rest @ ..] => below_root(Root::All, rest),
            ["manifests", id] => Ok(Self::Manifest(Id::parse(id).ok_or(Error::Unknown)?)),
            ["manifests", id, below @ ..] => {
                let id = Id::parse(id).ok_or(Error::Unknown)?;
                match below {
                    ["dicomweb", rest @ ..] => below_root(Root::Manifest(id), rest),
                    ["wado"] => Ok(Self::Wado(Root::Manifest(id))),
                    ["links"] => Ok(Self::Links(id)),
                    ["links", link] => Ok(Self::Link(id, (*link).into())),
                    ["viewers"] => Ok(Self::Viewers(id)),
                    ["viewers", name] => Ok(Self::Viewer(id, Viewer::parse(name)?)),
                    _ => Err(Error::Unknown),
                }
            }
            _ => Err(Error::Unknown),
        }
    }
}

impl Viewer {
    /// Its name in a path.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::OhifProxy => "ohif-dicomwebproxy.json",
            Self::OhifJson => "ohif-dicomjson.json",
            Self::Weasis => "weasis.xml",
        }
    }

    fn parse(name: &str) -> Result<Self, Error> {
        let all = [Self::OhifProxy, Self::OhifJson, Self::Weasis];
        let mut all = all.into_iter();
        all.find(|viewer| viewer.name() == name)
            .ok_or(Error::Unknown)
    }
}

fn below_root(root: Root, segments: &[&str]) -> Result<Resource, Error> {
    if let Some(scope) = scope(segments)? {
        return Ok(Resource::Search(root, scope));
    }
    match segments {
        [] => Ok(Resource::Root(root)),
        ["wado"] => Ok(Resource::Wado(root)),
        [
            "studies",
            study,
            "series",
            series,
            "instances",
            instance,
            rest @ ..,
        ] => {
            let (study, series) = (study_uid(study)?, series_uid(series)?);
            let target = Target::Instance(study, series, instance_uid(instance)?);
            below_target(root, target, rest, Level::Instance)
        }
        ["studies", study, "series", series, rest @ ..] => {
            let target = Target::Series(study_uid(study)?, series_uid(series)?);
            below_target(root, target, rest, Level::Series)
        }
        ["studies", study, rest @ ..] => {
            below_target(root, Target::Study(study_uid(study)?), rest, Level::Study)
        }
        _ => Err(Error::Unknown),
    }
}

fn below_target(
    root: Root,
    target: Target,
    segments: &[&str],
    level: Level,
) -> Result<Resource, Error> {
    if segments.is_empty() {
        return Ok(Resource::Retrieve(root, target));
    }
    match SubResource::parse(segments, level) {
        Ok(resource) => Ok(Resource::Derive(root, target, Box::new(resource))),
        Err(_none) if segments.first() == Some(&"frames") && level == Level::Instance => {
            Err(Error::Frames)
        }
        Err(_none) => Err(Error::Unknown),
    }
}

// PS3.18 table 10.6.1-1.
fn scope(segments: &[&str]) -> Result<Option<Scope>, Error> {
    let (level, study, series) = match segments {
        ["studies"] => (Level::Study, None, None),
        ["series"] => (Level::Series, None, None),
        ["instances"] => (Level::Instance, None, None),
        ["studies", study, "series"] => (Level::Series, Some(study), None),
        ["studies", study, "instances"] => (Level::Instance, Some(study), None),
        ["studies", study, "series", series, "instances"] => {
            (Level::Instance, Some(study), Some(series))
        }
        _ => return Ok(None),
    };
    Ok(Some(Scope {
        level,
        study: study.map(|study| study_uid(study)).transpose()?,
        series: series.map(|series| series_uid(series)).transpose()?,
    }))
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

#[cfg(test)]
mod tests {
    use super::*;

    const ID: &str = "00112233445566778899aabbccddeeff";

    #[test]
    fn a_path_of_its_own_leads_to_other_communities() {
        let path = |text: &str| XcWadoPath::try_from(text.to_owned());
        let deep = path("/gateway/wado/").expect("a path");
        assert_eq!(deep.below("/gateway/wado/x/y"), Some("x/y"));
        assert_eq!(deep.below("/gateway/wado//x/y"), Some("x/y"));
        assert_eq!(deep.below("/gateway/wado///x/y"), Some("/x/y"));
        for other in [
            "/gateway/wado",
            "/gateway/wadox/y",
            "/gateway/x/y",
            "gateway/wado/x",
        ] {
            assert_eq!(deep.below(other), None, "{other}");
        }
        for text in [
            "",
            "/",
            "a//b",
            "a/../b",
            "a b",
            "a%2fb",
            "manifests",
            "dicomweb/x",
        ] {
            assert_eq!(path(text), Err(NotAPath), "{text}");
        }
    }

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
    fn the_root_of_everything_has_no_id() {
        let parse = Resource::parse;
        assert_eq!(parse("/dicomweb/"), Ok(Resource::Root(Root::All)));
        let read = parse("/dicomweb/studies/1.2/series/1.3/metadata");
        assert!(matches!(read, Ok(Resource::Derive(Root::All, ..))));
        let read = parse("/dicomweb/studies");
        assert!(matches!(read, Ok(Resource::Search(Root::All, _))));
        assert_eq!(parse("/dicomweb/manifests"), Err(Error::Unknown));
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
            "studies/1.2/series/1..3",
            "studies/1.2/series/1.3/instances/*",
        ] {
            assert!(matches!(under_root(rest), Err(Error::NotAUid(_))), "{rest}");
        }
    }

    #[test]
    fn searches_and_what_is_made_of_instances_are_read() {
        for (rest, level) in [
            ("studies", Level::Study),
            ("series", Level::Series),
            ("instances", Level::Instance),
            ("studies/1.2/series", Level::Series),
            ("studies/1.2/instances", Level::Instance),
            ("studies/1.2/series/1.3/instances", Level::Instance),
        ] {
            let read = under_root(rest);
            assert!(
                matches!(&read, Ok(Resource::Search(_, scope)) if scope.level == level),
                "{rest}: {read:?}"
            );
        }
        for (rest, path) in [
            ("studies/1.2/metadata", "metadata"),
            ("studies/1.2/series/1.3/rendered", "rendered"),
            (
                "studies/1.2/series/1.3/instances/1.4/frames/1,2",
                "frames/1,2",
            ),
            (
                "studies/1.2/series/1.3/instances/1.4/bulkdata/7FE00010",
                "bulkdata/7FE00010",
            ),
        ] {
            let read = under_root(rest);
            assert!(
                matches!(&read, Ok(Resource::Derive(_, _, resource)) if resource.path() == path),
                "{rest}: {read:?}"
            );
        }
        assert_eq!(
            under_root("studies/1.2/series/1.3/instances/1.4/frames/0"),
            Err(Error::Frames)
        );
    }

    #[test]
    fn the_first_page_is_a_slash_and_nothing_else() {
        assert_eq!(Resource::parse("/"), Ok(Resource::FirstPage));
    }

    #[test]
    fn what_is_not_served_is_unknown() {
        for rest in [
            "study/1.2",
            "studies/1.2/frames/1",
            "studies/1.2/series/1.3/series",
        ] {
            assert_eq!(under_root(rest), Err(Error::Unknown), "{rest}");
        }
        for path in [
            "//",
            "",
            "/manifests/xyz",
            "/manifests//",
            "/metrics",
            "//manifests",
        ] {
            assert_eq!(Resource::parse(path), Err(Error::Unknown), "{path}");
        }
    }
}
