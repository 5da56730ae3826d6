//! Retrieve URLs of manifests and requests: some are the base of a DICOMweb service, others the full
//! address of a study, series or instance below it.

use crate::dicom::Uid;
use crate::resource::Target;

/// A Retrieve URL addresses something else than the study, series or instance that carries it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the retrieve URL addresses another study or series")]
pub(crate) struct ForeignUrl;

/// The DICOMweb base URI in a `url` that leads to `target`, to something above it, or to a part of
/// it, all of which are below one base: the part before `/studies`. `None` if that is empty.
///
/// White space and padding are trimmed; a value without a scheme stays unchanged.
///
/// # Errors
/// [`ForeignUrl`] if the part after `/studies` names something else.
pub(crate) fn base_uri(url: &str, target: &Target) -> Result<Option<Box<str>>, ForeignUrl> {
    let url = url.trim_matches(|c: char| c.is_whitespace() || c == '\0');
    let Some((base, rest)) = split_at_studies(url) else {
        return Ok(non_empty(url));
    };
    let rest = rest.strip_prefix('/').unwrap_or(rest);
    let rest = rest.strip_suffix('/').unwrap_or(rest);
    if rest.is_empty() || Named::parse(rest).is_some_and(|named| named.agrees_with(target)) {
        Ok(non_empty(base))
    } else {
        Err(ForeignUrl)
    }
}

// The host name may be `studies` too, so only the path counts.
fn split_at_studies(url: &str) -> Option<(&str, &str)> {
    let path_start = path_start(url);
    let path_end = url[path_start..]
        .find(['?', '#'])
        .map_or(url.len(), |end| path_start + end);
    let path = &url[path_start..path_end];
    let (at, _) = path.match_indices("/studies").find(|(at, found)| {
        let after = &path[at + found.len()..];
        after.is_empty() || after.starts_with('/')
    })?;
    Some((&url[..path_start + at], &path[at + "/studies".len()..]))
}

fn path_start(url: &str) -> usize {
    let authority = match url.find("://") {
        Some(at) if is_scheme(&url[..at]) => at + "://".len(),
        Some(_) | None if url.starts_with("//") => 2,
        Some(_) | None => 0,
    };
    url[authority..]
        .find(['/', '?', '#'])
        .map_or(url.len(), |at| authority + at)
}

// RFC 3986 3.1. After any other character, `://` is in the path of a value without a scheme.
fn is_scheme(text: &str) -> bool {
    text.bytes()
        .all(|byte| byte.is_ascii_alphanumeric() || b"+.-".contains(&byte))
}

/// What the part of a URL after `/studies/` names.
struct Named<'a> {
    study: &'a str,
    series: Option<&'a str>,
    instance: Option<&'a str>,
}

impl<'a> Named<'a> {
    fn parse(path: &'a str) -> Option<Self> {
        let segments: Vec<_> = path.split('/').collect();
        let (study, series, instance) = match *segments.as_slice() {
            [study] | [study, "series"] => (study, None, None),
            [study, "series", series] | [study, "series", series, "instances"] => {
                (study, Some(series), None)
            }
            [study, "series", series, "instances", instance] => {
                (study, Some(series), Some(instance))
            }
            _ => return None,
        };
        let is_uid = |text: &str| Uid::parse(text).is_ok();
        let are_uids = series.is_none_or(is_uid) && instance.is_none_or(is_uid);
        are_uids.then_some(Self {
            study,
            series,
            instance,
        })
    }

    /// Whether both name the same, as far as both name something.
    fn agrees_with(&self, target: &Target) -> bool {
        let (series, instance) = match target {
            Target::Study(_) => (None, None),
            Target::Series(_, series) => (Some(series.as_str()), None),
            Target::Instance(_, series, instance) => {
                (Some(series.as_str()), Some(instance.as_str()))
            }
        };
        let agree = |one: Option<&str>, other: Option<&str>| {
            one.is_none() || other.is_none() || one == other
        };
        self.study == target.study().as_str()
            && agree(self.series, series)
            && agree(self.instance, instance)
    }
}

fn non_empty(text: &str) -> Option<Box<str>> {
    (!text.is_empty()).then(|| text.into())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dicom::{SeriesInstanceUid, StudyInstanceUid};

    fn base(url: &str) -> Result<Option<Box<str>>, ForeignUrl> {
        let study = StudyInstanceUid::parse("1.2.3").expect("a UID");
        let series = SeriesInstanceUid::parse("1.2.4").expect("a UID");
        base_uri(url, &Target::Series(study, series))
    }

    #[test]
    fn keeps_a_base_uri_as_it_is() {
        for url in [
            "https://h.example/rs/",
            "https://h.example/rs",
            "hostname/DICOMweb-RS/",
            "h.example:8443/rs",
            "https://studies/rs",
            "https://studies",
            "//studies/rs",
            "studies/1.2.9",
            "https://h.example/studiesX/rs",
            "https://h.example/rs?from=/studies/1.2.9",
        ] {
            assert_eq!(base(url), Ok(Some(url.into())), "{url}");
        }
    }

    #[test]
    fn trims_and_knows_that_nothing_is_no_url() {
        assert_eq!(
            base(" https://h.example/rs/ \0"),
            Ok(Some("https://h.example/rs/".into()))
        );
        for url in ["", "  \0", "/studies/1.2.3", "/studies"] {
            assert_eq!(base(url), Ok(None), "{url:?}");
        }
    }

    #[test]
    fn cuts_before_the_study_it_stands_at() {
        for url in [
            "https://h.example/rs/studies",
            "https://h.example/rs/studies/",
            "https://h.example/rs/studies/1.2.3",
            "https://h.example/rs/studies/1.2.3/",
            "https://h.example/rs/studies/1.2.3?accept=x#y",
            "https://h.example/rs/studies/1.2.3/series",
            "https://h.example/rs/studies/1.2.3/series/1.2.4",
            "https://h.example/rs/studies/1.2.3/series/1.2.4/",
            "https://h.example/rs/studies/1.2.3/series/1.2.4/instances",
            "https://h.example/rs/studies/1.2.3/series/1.2.4/instances/1.2.5",
        ] {
            assert_eq!(base(url), Ok(Some("https://h.example/rs".into())), "{url}");
        }
        assert_eq!(
            base("https://studies/studies/1.2.3"),
            Ok(Some("https://studies".into()))
        );
        assert_eq!(base("h:80/rs/studies/1.2.3"), Ok(Some("h:80/rs".into())));
    }

    #[test]
    fn the_address_of_a_part_holds_for_the_whole() {
        let study = StudyInstanceUid::parse("1.2.3").expect("a UID");
        let target = Target::Study(study);
        for url in [
            "https://h.example/rs",
            "https://h.example/rs/studies/1.2.3",
            "https://h.example/rs/studies/1.2.3/series/1.2.9",
            "https://h.example/rs/studies/1.2.3/series/1.2.9/instances/1.2.5",
        ] {
            let base = base_uri(url, &target);
            assert_eq!(base, Ok(Some("https://h.example/rs".into())), "{url}");
        }
        for url in [
            "https://h.example/rs/studies/1.2.9",
            "https://h.example/rs/studies/1.2.9/series/1.2.3",
            "https://h.example/rs/studies/1.2.3/series/..",
            "https://h.example/rs/studies/1.2.3/metadata",
        ] {
            assert_eq!(base_uri(url, &target), Err(ForeignUrl), "{url}");
        }
    }

    #[test]
    fn refuses_what_belongs_to_something_else() {
        for url in [
            "https://h.example/rs/studies/1.2.9",
            "https://h.example/rs/studies/1.2.3/series/1.2.9",
            "https://h.example/rs/studies/1.2.3/1.2.4",
            "https://h.example/rs/studies/1.2.3/series/1.2.4/instances/1.2.5/frames/1",
            "https://h.example/rs/studies/1.2.9/studies/1.2.3",
            "https://h.example/studies/rs",
            "https://h.example/rs/studies//1.2.3",
            "https://h.example/rs/studies/1.2.3%2F..",
            "h.example/rs/studies/1.2.9://h.example/rs/",
        ] {
            assert_eq!(base(url), Err(ForeignUrl), "{url}");
        }
    }
}
