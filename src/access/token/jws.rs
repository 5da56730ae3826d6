//! A signed JWT in compact form (RFC 7515 7.1), before anything in it is believed.

use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use jsonwebtoken::{Algorithm, DecodingKey, crypto};
use serde_json::Value;

use super::json::{self, Object};
use super::refused::Refused;

/// Header parameters that name a key, an encryption, a compression or a nested token, or that a
/// reader has to know: none of them occurs in an access token.
const NOT_ACCEPTED: [&str; 9] = [
    "jku", "jwk", "x5u", "x5c", "crit", "b64", "cty", "enc", "zip",
];

/// A token whose signature has not been verified.
pub(super) struct Jws<'a> {
    /// Its first two segments, which the signature is about.
    message: &'a str,
    signature: &'a str,
    pub(super) algorithm: Algorithm,
    pub(super) key_id: Option<String>,
    /// `typ`, in lower case and without `application/` (RFC 7515 4.1.9).
    pub(super) kind: Option<String>,
    pub(super) claims: Object,
}

impl<'a> Jws<'a> {
    /// Parses a token.
    ///
    /// # Errors
    /// [`Refused::Malformed`], [`Refused::Header`] or [`Refused::Algorithm`].
    pub(super) fn parse(token: &'a str) -> Result<Self, Refused> {
        let (message, signature) = token.rsplit_once('.').ok_or(Refused::Malformed)?;
        let (header, claims) = message.split_once('.').ok_or(Refused::Malformed)?;
        // Also the other segments are decoded here: what is no Base64 never reaches a key.
        let signed = BASE64_URL_SAFE_NO_PAD.decode(signature).ok();
        let header = decoded(header).ok_or(Refused::Malformed)?;
        let claims = decoded(claims).ok_or(Refused::Malformed)?;
        if signed.is_none_or(|signed| signed.is_empty() || header.is_empty()) {
            return Err(Refused::Malformed);
        }
        if NOT_ACCEPTED.iter().any(|name| header.contains_key(*name)) {
            return Err(Refused::Header);
        }
        let algorithm = text(&header, "alg")?.ok_or(Refused::Algorithm)?;
        let kind = text(&header, "typ")?.map(str::to_ascii_lowercase);
        Ok(Self {
            message,
            signature,
            algorithm: named(algorithm).ok_or(Refused::Algorithm)?,
            key_id: text(&header, "kid")?.map(ToOwned::to_owned),
            kind: kind.map(|kind| kind.trim_start_matches("application/").to_owned()),
            claims,
        })
    }

    /// Whether the holder of this key has signed it.
    pub(super) fn is_signed_with(&self, key: &DecodingKey) -> bool {
        let verified = crypto::verify(self.signature, self.message.as_bytes(), key, self.algorithm);
        verified.unwrap_or(false)
    }
}

fn decoded(segment: &str) -> Option<Object> {
    let bytes = BASE64_URL_SAFE_NO_PAD.decode(segment).ok()?;
    json::object(&bytes)
}

fn text<'a>(header: &'a Object, name: &str) -> Result<Option<&'a str>, Refused> {
    match header.get(name) {
        None => Ok(None),
        Some(Value::String(text)) => Ok(Some(text)),
        Some(_) => Err(Refused::Malformed),
    }
}

/// The algorithm of a name: compared exactly, so that no spelling of `none` is one.
fn named(name: &str) -> Option<Algorithm> {
    match name {
        // RFC 9864 names the curve.
        "Ed25519" => Some(Algorithm::EdDSA),
        name => name.parse().ok(),
    }
}
