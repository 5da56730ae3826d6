//! What an ID token must say (OpenID Connect Core 3.1.3.7).

use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use jsonwebtoken::Algorithm;
use serde_json::Value;
use sha2::{Digest, Sha256, Sha384, Sha512};

use super::super::json::Object;
use super::super::refused::Refused;
use super::{Rules, is_for, text, times};
use crate::access::claims::Claims;

/// What is known of a login before its ID token arrives.
#[derive(Clone, Copy)]
pub(in crate::access) struct Login<'a> {
    pub(in crate::access) nonce: &'a str,
    /// The access token that was issued with it; empty if there is none.
    pub(in crate::access) access_token: &'a str,
}

impl Rules {
    /// Checks the claims of an ID token whose audience is our client id, at a time in seconds since
    /// 1970.
    pub(in crate::access::token) fn check_identity(
        &self,
        claims: &Object,
        algorithm: Algorithm,
        login: Login<'_>,
        now: i64,
    ) -> Result<Claims, Refused> {
        if text(claims, "iss")? != Some(&self.issuer) {
            return Err(Refused::Issuer);
        }
        if !is_for(claims, &self.audience)? {
            return Err(Refused::Audience);
        }
        self.check_party(claims)?;
        let expires = times(claims, now, self.skew)?.ok_or(Refused::Claim)?;
        if !claims.contains_key("iat") || text(claims, "nonce")? != Some(login.nonce) {
            return Err(Refused::Claim);
        }
        let token = login.access_token;
        match text(claims, "at_hash")? {
            Some(hash) if !token.is_empty() && hash != half_hash(algorithm, token) => {
                Err(Refused::Binding)
            }
            Some(_) | None => self.read(claims, Some(&self.audience), expires),
        }
    }

    /// A token for several clients has to name us as the one it was issued to.
    fn check_party(&self, claims: &Object) -> Result<(), Refused> {
        let is_for_many = claims["aud"].as_array().is_some_and(|all| all.len() > 1);
        match claims.get("azp").map(Value::as_str) {
            None if !is_for_many => Ok(()),
            Some(Some(party)) if party == self.audience => Ok(()),
            _ => Err(Refused::Party),
        }
    }
}

/// The left half of the hash of an access token, by the hash of the ID token's algorithm. That of
/// Ed25519 is SHA-512.
fn half_hash(algorithm: Algorithm, token: &str) -> String {
    use Algorithm::{ES256, ES384, PS256, PS384, RS256, RS384};
    let hash = if matches!(algorithm, RS256 | PS256 | ES256) {
        Sha256::digest(token).to_vec()
    } else if matches!(algorithm, RS384 | PS384 | ES384) {
        Sha384::digest(token).to_vec()
    } else {
        Sha512::digest(token).to_vec()
    };
    BASE64_URL_SAFE_NO_PAD.encode(&hash[..hash.len() / 2])
}
