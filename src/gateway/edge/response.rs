//! Content codings (RFC 9110 8.4.1): gzip, where a client takes it.

use http::header::{ACCEPT_ENCODING, CONTENT_ENCODING, HeaderValue, VARY};
use http::{HeaderMap, Response};

use crate::body::Body;

/// Whether the answer may be compressed (RFC 9110 12.5.3).
pub(crate) fn takes_gzip(headers: &HeaderMap) -> bool {
    let fields = headers.get_all(ACCEPT_ENCODING).iter();
    let mut codings = fields
        .filter_map(|field| field.to_str().ok())
        .flat_map(|field| field.split(','));
    codings.any(|coding| {
        let mut pieces = coding.split(';').map(str::trim);
        let is_gzip = matches!(pieces.next(), Some("gzip" | "x-gzip" | "*"));
        is_gzip && !pieces.any(|weight| matches!(weight, "q=0" | "q=0.0" | "q=0.00" | "q=0.000"))
    })
}

/// Says which content coding an answer has.
pub(crate) fn encoded(response: &mut Response<Body>, gzip: bool) {
    let headers = response.headers_mut();
    headers.insert(VARY, HeaderValue::from_static("accept, accept-encoding"));
    if gzip {
        headers.insert(CONTENT_ENCODING, HeaderValue::from_static("gzip"));
    }
}
