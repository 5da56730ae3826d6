//! Links to manifests: `link/{token}` and everything below it, and the requests that make and unlock
//! links.

use serde::Deserialize;

use super::Error;
use crate::dicom::SeriesInstanceUid;

/// The longest lifetime of a link: a year.
const LONGEST: u64 = 366 * 24 * 60 * 60;
/// The lifetime of a link whose request names none: eight hours.
pub const LIFETIME: u64 = 8 * 60 * 60;
/// The longest purpose, in bytes.
const LONGEST_PURPOSE: usize = 128;

/// A path below a link.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LinkPath<'a> {
    /// The token.
    pub token: &'a str,
    /// The rest of the path: empty, or with a slash in front.
    pub rest: &'a str,
}

impl<'a> LinkPath<'a> {
    /// Reads a path below the public URL; `None` if it is not below a link.
    #[must_use]
    pub fn parse(path: &'a str) -> Option<Self> {
        let below = path.strip_prefix("/link/")?;
        let end = below.find('/').unwrap_or(below.len());
        let (token, rest) = below.split_at(end);
        Some(Self { token, rest })
    }

    /// Whether it is where a link is unlocked.
    #[must_use]
    pub fn is_lock(&self) -> bool {
        self.rest == "/unlock"
    }
}

/// A request for a link: `POST manifests/{id}/links`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct LinkRequest {
    /// Seconds until it expires.
    pub expires: Option<u64>,
    /// The series to which it is narrowed; empty: all.
    pub series: Vec<SeriesInstanceUid>,
    /// What it is for.
    pub purpose: Option<String>,
    /// Whether a code has to be entered first.
    pub one_time_code: bool,
    /// The number of clients that may use it.
    pub uses: Option<u32>,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct WrittenRequest {
    expires: Option<u64>,
    series: Vec<String>,
    purpose: Option<String>,
    one_time_code: bool,
    uses: Option<u32>,
}

/// Reads a request for a link: a JSON object, or nothing for a link with defaults.
///
/// # Errors
/// [`Error::Body`] with the member that is wrong.
pub fn link_request(body: &[u8]) -> Result<LinkRequest, Error> {
    if body.iter().all(u8::is_ascii_whitespace) {
        return Ok(LinkRequest::default());
    }
    // A list would count as an object whose members have these places.
    let is_object = body.trim_ascii_start().starts_with(b"{");
    let written: Option<WrittenRequest> = serde_json::from_slice(body).ok();
    let written = written.filter(|_| is_object).ok_or(Error::Body(
        "an object with expires, series, purpose, one_time_code and uses",
    ))?;
    let series = written
        .series
        .iter()
        .map(|uid| SeriesInstanceUid::parse(uid));
    let series = series.collect::<Result<_, _>>();
    let is_purpose = |text: &String| {
        !text.is_empty() && text.len() <= LONGEST_PURPOSE && !text.chars().any(char::is_control)
    };
    if written
        .expires
        .is_some_and(|seconds| seconds == 0 || seconds > LONGEST)
    {
        return Err(Error::Body("expires: seconds from now, a year at most"));
    }
    if written.uses == Some(0) {
        return Err(Error::Body("uses: at least 1"));
    }
    if !written.purpose.iter().all(is_purpose) {
        return Err(Error::Body("purpose: a text of 128 bytes at most"));
    }
    Ok(LinkRequest {
        expires: written.expires,
        series: series.map_err(|_not_a_uid| Error::Body("series: Series Instance UIDs"))?,
        purpose: written.purpose,
        one_time_code: written.one_time_code,
        uses: written.uses,
    })
}

/// The code in a request that unlocks a link: `{"code": "…"}`, or a form with `code`.
#[must_use]
pub fn code(body: &[u8]) -> Option<String> {
    #[derive(Deserialize)]
    struct Entered {
        code: String,
    }
    let entered: Result<Entered, _> = serde_json::from_slice(body);
    entered.map(|entered| entered.code).ok().or_else(|| {
        let mut pairs = url::form_urlencoded::parse(body);
        let code = pairs.find(|(name, _)| name == "code");
        code.map(|(_, code)| code.into_owned())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_below_a_link_has_a_token_and_a_rest() {
        for (path, expected) in [
            ("/link/abc", Some(("abc", ""))),
            ("/link/abc/", Some(("abc", "/"))),
            (
                "/link/abc/dicomweb/studies",
                Some(("abc", "/dicomweb/studies")),
            ),
            ("/link/", Some(("", ""))),
            ("/link", None),
            ("/linked/abc", None),
            ("/manifests/link/abc", None),
        ] {
            let parsed = LinkPath::parse(path).map(|link| (link.token, link.rest));
            assert_eq!(parsed, expected, "{path}");
        }
    }

    #[test]
    fn a_request_for_a_link_is_read_or_refused() {
        assert_eq!(link_request(b" "), Ok(LinkRequest::default()));
        let read = link_request(br#"{"expires": 60, "series": ["1.2"], "uses": 1}"#);
        let read = read.expect("a request");
        assert_eq!(
            (read.expires, read.series.len(), read.uses),
            (Some(60), 1, Some(1))
        );
        for wrong in [
            "[]",
            "{",
            r#"{"expires": 0}"#,
            r#"{"expires": -1}"#,
            r#"{"expires": 99999999999}"#,
            r#"{"uses": 0}"#,
            r#"{"series": ["x"]}"#,
            r#"{"purpose": ""}"#,
            r#"{"purpose": "a\u0007"}"#,
            r#"{"expire": 60}"#,
        ] {
            let read = link_request(wrong.as_bytes());
            assert!(matches!(read, Err(Error::Body(_))), "{wrong}");
        }
    }

    #[test]
    fn a_code_comes_as_json_or_as_a_form() {
        assert_eq!(code(br#"{"code": "123"}"#).as_deref(), Some("123"));
        assert_eq!(code(b"code=12%33").as_deref(), Some("123"));
        assert_eq!(code(b"{}"), None);
    }
}
