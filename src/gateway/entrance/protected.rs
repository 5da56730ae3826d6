//! How clients learn to identify themselves: `WWW-Authenticate` (RFC 6750 3) and the metadata of the
//! protected resource (RFC 9728).

use http::Response;
use http::header::{HeaderValue, WWW_AUTHENTICATE};
use serde_json::json;

use crate::access;
use crate::body::Body;
use crate::gateway::edge::exchange::Exchange;
use crate::gateway::edge::forwarded::PublicUrl;
use crate::gateway::edge::response::json_document;
use crate::gateway::{Error, Gateway};

const METADATA: &str = "/.well-known/oauth-protected-resource";

impl Gateway {
    /// `.well-known/oauth-protected-resource`.
    pub(crate) fn protected_resource(&self, exchange: &Exchange<'_>) -> Response<Body> {
        let document = json!({
            "resource": exchange.public_url.url,
            "authorization_servers": self.access.issuers(),
            "bearer_methods_supported": ["header"],
        });
        json_document(format!("{document:#}\n"))
    }
}

/// Says how to get in.
pub(crate) fn challenge(response: &mut Response<Body>, error: &Error, url: &PublicUrl) {
    let Error::Access(error) = error else { return };
    let code = match error {
        access::Error::Unidentified => None,
        access::Error::InvalidToken(_) => Some("invalid_token"),
        access::Error::NoRight => Some("insufficient_scope"),
        access::Error::NotListed | access::Error::Token | access::Error::Unavailable => return,
    };
    let mut text = format!("Bearer resource_metadata=\"{}{METADATA}\"", url.url);
    if let Some(code) = code {
        text.push_str(&format!(", error=\"{code}\""));
    }
    if let Ok(value) = HeaderValue::try_from(text) {
        response.headers_mut().insert(WWW_AUTHENTICATE, value);
    }
}
