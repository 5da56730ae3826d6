//! The header fields, content coding and boundary of responses.

use http::header::{
    ACCEPT_ENCODING, ALLOW, CACHE_CONTROL, CONTENT_ENCODING, CONTENT_LOCATION,
    CONTENT_SECURITY_POLICY, CONTENT_TYPE, HeaderName, HeaderValue, VARY, WARNING,
};
use http::{HeaderMap, Response, StatusCode};
use sha2::{Digest, Sha256};

use crate::body::Body;
use crate::gateway::Error;
use crate::gateway::edge::exchange::Exchange;
use crate::hop;
use crate::instance::LeftOut;
use crate::multipart::Boundary;
use crate::present::Presented;
use crate::random;
use crate::retrieve::{Missing, PatientCheck};

/// RFC 9211.
pub(crate) const CACHE_STATUS: HeaderName = HeaderName::from_static("cache-status");
pub(crate) const HIT: &str = "xcwado; hit";
pub(crate) const MISS: &str = "xcwado; fwd=miss";

/// WHATWG Fetch.
pub(crate) const RESOURCE_POLICY: HeaderName =
    HeaderName::from_static("cross-origin-resource-policy");

/// Content of a source runs no script here and loads nothing.
pub(crate) const SANDBOX: (HeaderName, HeaderValue) = (
    CONTENT_SECURITY_POLICY,
    HeaderValue::from_static("default-src 'none'; sandbox"),
);

/// Data are no page: nothing in them runs, loads or is framed by another origin. Pictures, video and
/// PDF in the elements of a page are not bound by this.
const DATA: &str = "default-src 'none'; frame-ancestors 'self'; sandbox";

const REFERRER_POLICY: HeaderName = HeaderName::from_static("referrer-policy");
const CONTENT_TYPE_OPTIONS: HeaderName = HeaderName::from_static("x-content-type-options");

/// A response that no cache may store, and that states how many instances are missing.
pub(crate) fn response(
    presented: Presented,
    missing: Missing,
    location: &str,
) -> Result<Response<Body>, Error> {
    let mut response = Response::new(presented.body);
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, value(&presented.content_type)?);
    headers.insert(CONTENT_LOCATION, value(location)?);
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("private, no-store"));
    headers.insert(VARY, HeaderValue::from_static("accept"));
    // PS3.18 10.4.3: a part of the target.
    let warning = match missing {
        Missing::Nothing => return Ok(response),
        Missing::Some { missing, selected } => {
            format!("{missing} of {selected} instances cannot be given")
        }
        Missing::SourceSaysSome => "some instances cannot be given".to_owned(),
    };
    warn(&mut response, &warning)?;
    *response.status_mut() = StatusCode::PARTIAL_CONTENT;
    Ok(response)
}

/// Adds a `Warning` (PS3.18 8.3.4.2; RFC 7234 5.5).
pub(crate) fn warn(response: &mut Response<Body>, text: &str) -> Result<(), Error> {
    let warning = value(&format!("299 xcwado \"{text}\""))?;
    response.headers_mut().append(WARNING, warning);
    Ok(())
}

/// States the instances that are left out because they cannot be read or decoded. Such a response is
/// a part of its target (PS3.18 10.4.3), and no cache may store it.
pub(crate) fn warn_of_left_out(
    response: &mut Response<Body>,
    left_out: &LeftOut,
) -> Result<(), Error> {
    if left_out.count == 0 {
        return Ok(());
    }
    let named: Vec<_> = left_out.first.iter().map(ToString::to_string).collect();
    let more = if left_out.count > named.len() {
        ", and others"
    } else {
        ""
    };
    let (count, named) = (left_out.count, named.join(", "));
    let text = match count {
        1 => format!("1 instance cannot be read or decoded: {named}"),
        _ => format!("{count} instances cannot be read or decoded: {named}{more}"),
    };
    warn(response, &text)?;
    *response.status_mut() = StatusCode::PARTIAL_CONTENT;
    let no_store = HeaderValue::from_static("private, no-store");
    response.headers_mut().insert(CACHE_CONTROL, no_store);
    Ok(())
}

/// Warns of instances that name another patient than their manifest, as far as they are known.
pub(crate) fn warn_of_patient(
    response: &mut Response<Body>,
    patient: &PatientCheck,
) -> Result<(), Error> {
    match patient.mismatches() {
        0 => Ok(()),
        1 => warn(
            response,
            "1 instance names another patient than the manifest",
        ),
        some => {
            let text = format!("{some} instances name another patient than the manifest");
            warn(response, &text)
        }
    }
}

pub(crate) fn value(text: &str) -> Result<HeaderValue, Error> {
    HeaderValue::from_str(text).map_err(|_invalid| Error::Internal)
}

/// A document that is written while the client reads it. A short one is written at once: then its
/// length is known, and a client that leaves costs nothing more.
pub(crate) async fn streamed_document(
    mut body: Body,
    content_type: &'static str,
) -> Result<Response<Body>, Error> {
    let first = body.chunk().await?.unwrap_or_default();
    let body = match body.chunk().await? {
        None => Body::full(first),
        Some(second) => body.after(second).after(first),
    };
    let mut response = json_document(String::new());
    *response.body_mut() = body;
    let content_type = HeaderValue::from_static(content_type);
    response.headers_mut().insert(CONTENT_TYPE, content_type);
    Ok(response)
}

/// A document of the gateway's own, which no cache may store.
pub(crate) fn json_document(text: String) -> Response<Body> {
    let mut response = Response::new(Body::full(text));
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("private, no-store"));
    // Some of these documents have other representations.
    headers.insert(VARY, HeaderValue::from_static("accept"));
    response
}

/// Whether the client accepts gzip (RFC 9110 12.5.3).
pub(crate) fn accepts_gzip(headers: &HeaderMap) -> bool {
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

/// States the content coding of a response (RFC 9110 8.4.1).
pub(crate) fn state_coding(response: &mut Response<Body>, gzip: bool) {
    let headers = response.headers_mut();
    headers.insert(VARY, HeaderValue::from_static("accept, accept-encoding"));
    if gzip {
        headers.insert(CONTENT_ENCODING, HeaderValue::from_static("gzip"));
    }
}

/// A random boundary: the parts cannot contain it but by guessing.
pub(crate) fn boundary() -> Result<Boundary, Error> {
    let random = random::bytes().map_err(|_no_random| Error::Internal)?;
    Ok(Boundary::from_random(random))
}

/// A boundary that is the same each time, so that ranges of several answers fit together. The bytes
/// of an instance cannot contain it by chance, and whoever makes them on purpose harms them alone.
pub(crate) fn lasting_boundary(location: &str, representation: &str) -> Boundary {
    let mut hash = Sha256::new();
    for part in [location, "\0", representation] {
        hash.update(part.as_bytes());
    }
    let hash: [u8; 32] = hash.finalize().into();
    let mut bytes = [0; 16];
    bytes.copy_from_slice(&hash[..16]);
    Boundary::from_random(bytes)
}

/// The fields that keep browsers from guessing and from telling others.
pub(crate) fn harden(headers: &mut HeaderMap, exchange: Option<&Exchange<'_>>) {
    headers.extend(exchange.map(|exchange| (hop::REQUEST_ID, exchange.hop.request_id.value())));
    headers.insert(CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    headers.insert(REFERRER_POLICY, HeaderValue::from_static("no-referrer"));
    // A document that has rules of its own keeps them: a report has styles.
    let rules = headers.entry(CONTENT_SECURITY_POLICY);
    rules.or_insert(HeaderValue::from_static(DATA));
}

/// States the methods of a resource (RFC 9110 10.2.1).
pub(crate) fn allow(response: &mut Response<Body>, methods: &'static str) {
    response
        .headers_mut()
        .insert(ALLOW, HeaderValue::from_static(methods));
}
