//! Cookies of 256 random bits. The prefix `__Host-` makes browsers accept them from this host and
//! over TLS only, so no other host of the domain can plant one (RFC 6265bis 4.1.3.2).

use std::fmt;

use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use http::HeaderMap;
use http::header::COOKIE;
use zeroize::Zeroizing;

use super::failure::Failure;
use crate::random;

/// The session of a person.
pub(super) const SESSION: &str = "__Host-xcwado";
/// The browser that has begun a login.
pub(super) const LOGIN: &str = "__Host-xcwado-login";

/// 256 random bits as text.
#[derive(Clone)]
pub(super) struct Secret(Zeroizing<String>);

/// BLAKE3 of a secret: the secret itself is not kept.
pub(super) type Digest = [u8; 32];

impl Secret {
    pub(super) fn new() -> Result<Self, Failure> {
        let bytes = random::bytes::<32>().map_err(|_none| Failure::NoRandom)?;
        Ok(Self(Zeroizing::new(BASE64_URL_SAFE_NO_PAD.encode(bytes))))
    }

    /// The cookie of this name, if there is one and it has the form of ours.
    pub(super) fn sent(headers: &HeaderMap, name: &str) -> Option<Self> {
        let fields = headers.get_all(COOKIE).iter();
        let fields = fields.filter_map(|field| field.to_str().ok());
        let pairs = fields.flat_map(|field| field.split(';'));
        let pairs = pairs.filter_map(|pair| pair.trim().split_once('='));
        let mut values = pairs.filter(|(key, _value)| *key == name);
        let (_name, value) = values.next()?;
        let is_ours = values.next().is_none() && value.len() == 43;
        let is_ours = is_ours && BASE64_URL_SAFE_NO_PAD.decode(value).is_ok();
        is_ours.then(|| Self(Zeroizing::new(value.to_owned())))
    }

    pub(super) fn as_str(&self) -> &str {
        &self.0
    }

    pub(super) fn digest(&self) -> Digest {
        digest(&self.0)
    }

    /// The `Set-Cookie` field with it.
    pub(super) fn set(&self, name: &str, seconds: u64) -> String {
        set(name, &self.0, seconds)
    }
}

/// The `Set-Cookie` field that deletes a cookie.
pub(super) fn delete(name: &str) -> String {
    set(name, "", 0)
}

pub(super) fn digest(secret: &str) -> Digest {
    blake3::hash(secret.as_bytes()).into()
}

fn set(name: &str, value: &str, seconds: u64) -> String {
    format!("{name}={value}; Path=/; Secure; HttpOnly; SameSite=Lax; Max-Age={seconds}")
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(…)")
    }
}
