//! Access for pages of other origins (WHATWG Fetch, "CORS protocol"): without it, a browser does
//! not hand a response to a viewer.

use http::header::{
    ACCESS_CONTROL_ALLOW_CREDENTIALS, ACCESS_CONTROL_ALLOW_HEADERS, ACCESS_CONTROL_ALLOW_METHODS,
    ACCESS_CONTROL_ALLOW_ORIGIN, ACCESS_CONTROL_EXPOSE_HEADERS, ACCESS_CONTROL_MAX_AGE,
    ACCESS_CONTROL_REQUEST_METHOD, ORIGIN, VARY,
};
use http::{HeaderMap, HeaderValue, Method, Response, StatusCode};
use serde::Deserialize;
use url::Url;

use crate::body::Body;

/// `[cors]`.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(try_from = "RawSettings")]
pub struct Settings {
    origins: Vec<String>,
    credentials: bool,
}

/// The settings before validation.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct RawSettings {
    /// Origins whose pages may read responses; `*` for all.
    origins: Vec<String>,
    /// Whether browsers may send cookies and certificates.
    credentials: bool,
}

/// Why the settings are invalid.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InvalidSettings {
    /// A text is not an origin.
    #[error("{0} is not an origin: a scheme, a host and perhaps a port, without a path")]
    NotAnOrigin(String),
    /// Fetch forbids credentials with `*`.
    #[error("credentials need named origins instead of *")]
    CredentialsForAll,
}

const ALL: &str = "*";
const METHODS: &str = "GET, HEAD, OPTIONS";
/// The request fields of known viewers, and a few more.
const REQUEST_FIELDS: &str = "accept, authorization, content-type, if-none-match, if-range, range, traceparent, x-request-id, x-requested-with";
/// The response fields that viewers need.
const EXPOSED: &str = "accept-ranges, cache-status, content-encoding, content-length, content-location, content-range, content-type, etag, link, location, retry-after, warning, x-request-id";
/// Seconds for which a browser may cache a preflight; browsers apply their own limit.
const MAX_AGE: HeaderValue = HeaderValue::from_static("86400");

impl TryFrom<RawSettings> for Settings {
    type Error = InvalidSettings;

    fn try_from(written: RawSettings) -> Result<Self, InvalidSettings> {
        if written.credentials && written.origins.iter().any(|origin| origin == ALL) {
            return Err(InvalidSettings::CredentialsForAll);
        }
        let origins = written.origins.into_iter().map(normal);
        Ok(Self {
            origins: origins.collect::<Result<_, _>>()?,
            credentials: written.credentials,
        })
    }
}

/// An origin as browsers serialise it.
fn normal(text: String) -> Result<String, InvalidSettings> {
    if text == ALL {
        return Ok(text);
    }
    let url = Url::parse(&text).map_err(|_no_url| InvalidSettings::NotAnOrigin(text.clone()))?;
    let is_bare =
        matches!(url.path(), "" | "/") && url.query().is_none() && url.fragment().is_none();
    if !is_bare || !url.origin().is_tuple() || !url.username().is_empty() {
        return Err(InvalidSettings::NotAnOrigin(text));
    }
    Ok(url.origin().ascii_serialization())
}

impl Settings {
    /// Whether the settings name an origin.
    pub(crate) fn names(&self, origin: &str) -> bool {
        origin != ALL && self.origins.iter().any(|named| named == origin)
    }

    /// The value of `Access-Control-Allow-Origin`, if the origin may read the response.
    fn allowed(&self, headers: &HeaderMap) -> Option<HeaderValue> {
        let origin = headers.get(ORIGIN)?;
        if self.origins.iter().any(|allowed| allowed == ALL) {
            return Some(HeaderValue::from_static(ALL));
        }
        let text = origin.to_str().ok()?;
        let is_named = self.origins.iter().any(|allowed| allowed == text);
        is_named.then(|| origin.clone())
    }

    /// The value of `Cross-Origin-Resource-Policy` (WHATWG Fetch): viewers of other origins show
    /// pictures and video by elements that send no `Origin`, so it is strict only where the settings
    /// name no origin.
    pub(crate) fn resource_policy(&self) -> HeaderValue {
        HeaderValue::from_static(match self.origins[..] {
            [] => "same-origin",
            _ => "cross-origin",
        })
    }

    /// The response to a preflight request; `None` if the request is not one.
    pub(crate) fn preflight(&self, method: &Method, headers: &HeaderMap) -> Option<Response<Body>> {
        let is_one = *method == Method::OPTIONS
            && headers.contains_key(ORIGIN)
            && headers.contains_key(ACCESS_CONTROL_REQUEST_METHOD);
        if !is_one {
            return None;
        }
        let mut response = Response::new(Body::empty());
        *response.status_mut() = StatusCode::NO_CONTENT;
        if self.allowed(headers).is_some() {
            let fields = response.headers_mut();
            fields.insert(
                ACCESS_CONTROL_ALLOW_METHODS,
                HeaderValue::from_static(METHODS),
            );
            let names = HeaderValue::from_static(REQUEST_FIELDS);
            fields.insert(ACCESS_CONTROL_ALLOW_HEADERS, names);
            fields.insert(ACCESS_CONTROL_MAX_AGE, MAX_AGE);
        }
        Some(response)
    }

    /// Adds the fields that permit the origin of a request to read the response.
    pub(crate) fn mark(&self, asked: &HeaderMap, response: &mut HeaderMap) {
        if self.origins.is_empty() {
            return;
        }
        // Responses to different origins differ.
        response.append(VARY, HeaderValue::from_static("origin"));
        let Some(allowed) = self.allowed(asked) else {
            return;
        };
        response.insert(ACCESS_CONTROL_ALLOW_ORIGIN, allowed);
        let exposed = HeaderValue::from_static(EXPOSED);
        response.insert(ACCESS_CONTROL_EXPOSE_HEADERS, exposed);
        if self.credentials {
            let yes = HeaderValue::from_static("true");
            response.insert(ACCESS_CONTROL_ALLOW_CREDENTIALS, yes);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings(text: &str) -> Result<Settings, String> {
        toml::from_str(text).map_err(|error| error.to_string())
    }

    fn told(settings: &Settings, origin: &'static str) -> Option<String> {
        let mut asked = HeaderMap::new();
        asked.insert(ORIGIN, HeaderValue::from_static(origin));
        let mut response = HeaderMap::new();
        settings.mark(&asked, &mut response);
        let allowed = response.get(ACCESS_CONTROL_ALLOW_ORIGIN)?;
        Some(allowed.to_str().expect("text").to_owned())
    }

    #[test]
    fn only_named_origins_are_let_in() {
        let named =
            settings("origins = [\"https://Viewer.example:443/\", \"http://localhost:3000\"]")
                .expect("settings");
        assert_eq!(
            told(&named, "https://viewer.example").as_deref(),
            Some("https://viewer.example")
        );
        assert_eq!(
            told(&named, "http://localhost:3000").as_deref(),
            Some("http://localhost:3000")
        );
        for other in [
            "https://viewer.example.evil",
            "http://viewer.example",
            "null",
            "http://localhost",
        ] {
            assert_eq!(told(&named, other), None, "{other}");
        }
        assert_eq!(told(&settings("").expect("none"), "http://a"), None);
        assert_eq!(
            told(&settings("origins = [\"*\"]").expect("all"), "http://a").as_deref(),
            Some("*")
        );
    }

    #[test]
    fn what_makes_no_sense_is_refused() {
        for text in [
            "origins = [\"viewer.example\"]",
            "origins = [\"https://viewer.example/path\"]",
            "origins = [\"file:///x\"]",
            "origins = [\"*\"]\ncredentials = true",
            "origin = []",
        ] {
            assert!(settings(text).is_err(), "{text}");
        }
    }
}
