//! Retrieve URLs of manifests: some are the base of a DICOMweb service, others the full address of
//! a study or series below it.

use crate::dicom::{SeriesInstanceUid, StudyInstanceUid};

/// A Retrieve URL addresses another study or series than the one that carries it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the retrieve URL addresses another study or series")]
pub(crate) struct ForeignUrl;

/// The DICOMweb base URI in `url`: the part before `/studies`. `None` if that is empty.
///
/// White space and padding are trimmed; a value without a scheme stays unchanged.
///
/// # Errors
/// [`ForeignUrl`] if the part after `/studies` is not `study`, alone or with `series` (without a
/// `series`, `study` alone).
pub(crate) fn base_uri<'a>(
    url: &str,
    study: &StudyInstanceUid,
    series: impl Into<Option<&'a SeriesInstanceUid>>,
) -> Result<Option<Box<str>>, ForeignUrl> {
    let url = url.trim_matches(|c: char| c.is_whitespace() || c == '\0');
    let Some((base, rest)) = split_at_studies(url) else {
        return Ok(non_empty(url));
    };
    if names(rest, study, series.into()) {
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

fn names(rest: &str, study: &StudyInstanceUid, series: Option<&SeriesInstanceUid>) -> bool {
    let rest = rest.strip_prefix('/').unwrap_or(rest);
    let rest = rest.strip_suffix('/').unwrap_or(rest);
    let mut segments = rest.split('/');
    match (segments.next(), segments.next(), segments.next()) {
        (Some(""), None, None) => true,
        (Some(uid), None | Some("series"), None) => uid == study.as_str(),
        (Some(uid), Some("series"), Some(of_series)) => {
            uid == study.as_str()
                && series.is_some_and(|series| of_series == series.as_str())
                && matches!(
                    (segments.next(), segments.next()),
                    (None | Some("instances"), None)
                )
        }
        _ => false,
    }
}

fn non_empty(text: &str) -> Option<Box<str>> {
    (!text.is_empty()).then(|| text.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn base(url: &str) -> Result<Option<Box<str>>, ForeignUrl> {
        let study = StudyInstanceUid::parse("1.2.3").expect("a UID");
        let series = SeriesInstanceUid::parse("1.2.4").expect("a UID");
        base_uri(url, &study, &series)
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
    fn a_study_is_not_asked_for_at_the_address_of_a_series() {
        let study = StudyInstanceUid::parse("1.2.3").expect("a UID");
        let of_study = "https://h.example/rs/studies/1.2.3";
        let base = base_uri(of_study, &study, None);
        assert_eq!(base, Ok(Some("https://h.example/rs".into())));
        let of_series = "https://h.example/rs/studies/1.2.3/series/1.2.4";
        assert_eq!(base_uri(of_series, &study, None), Err(ForeignUrl));
    }

    #[test]
    fn refuses_what_belongs_to_something_else() {
        for url in [
            "https://h.example/rs/studies/1.2.9",
            "https://h.example/rs/studies/1.2.3/series/1.2.9",
            "https://h.example/rs/studies/1.2.3/1.2.4",
            "https://h.example/rs/studies/1.2.3/series/1.2.4/instances/1.2.5",
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
