//! Client assertions: signed proofs of who we are for an authorization server (RFC 7523 2.2, as
//! SMART Backend Services profiles it), also as the actor of a token exchange (RFC 8693 2.1).

use std::fmt;
use std::path::Path;

use data_encoding::HEXLOWER;
use jsonwebtoken::{Algorithm, EncodingKey, Header, encode};
use serde::Serialize;
use serde_json::Value;

use super::files::{Error, read};
use super::now;
use crate::random;

/// SMART Backend Services allows five minutes; clocks differ.
const LIFETIME_SECONDS: i64 = 240;

/// A private key that signs client assertions.
pub struct SigningKey {
    key: EncodingKey,
    algorithm: Algorithm,
    key_id: Option<String>,
}

#[derive(Serialize)]
struct Claims<'a> {
    iss: &'a str,
    sub: &'a str,
    aud: &'a str,
    jti: String,
    iat: i64,
    exp: i64,
    #[serde(skip_serializing_if = "Option::is_none")]
    extensions: Option<&'a Value>,
}

impl SigningKey {
    /// Reads a key in PEM: an EC key on P-384 (PKCS #8) for ES384, or an RSA key for RS384.
    ///
    /// # Errors
    /// If it cannot be read, or cannot sign.
    pub fn load(path: &Path, key_id: Option<&str>) -> Result<Self, Error> {
        let pem = read(path)?;
        let keys = [
            (Algorithm::ES384, EncodingKey::from_ec_pem(&pem)),
            (Algorithm::RS384, EncodingKey::from_rsa_pem(&pem)),
        ];
        let keys = keys.into_iter().filter_map(|(algorithm, key)| {
            let key_id = key_id.map(ToOwned::to_owned);
            let key = key.ok()?;
            Some(Self {
                key,
                algorithm,
                key_id,
            })
        });
        // A key on another curve is found out by signing only.
        let mut usable = keys.filter(|key| key.assertion("", "").is_ok());
        let usable = usable.next();
        usable.ok_or_else(|| Error::NotASigningKey(path.to_owned()))
    }

    /// An assertion of the client, for the authorization server with this token URL.
    ///
    /// # Errors
    /// [`Error::NoSignature`].
    pub fn assertion(&self, client_id: &str, token_url: &str) -> Result<String, Error> {
        self.sign(client_id, token_url, None)
    }

    /// An assertion that the client acts for somebody, with these `extensions`.
    ///
    /// # Errors
    /// [`Error::NoSignature`].
    pub fn actor(
        &self,
        client_id: &str,
        token_url: &str,
        extensions: &Value,
    ) -> Result<String, Error> {
        self.sign(client_id, token_url, Some(extensions))
    }

    fn sign(
        &self,
        client_id: &str,
        token_url: &str,
        extensions: Option<&Value>,
    ) -> Result<String, Error> {
        let id = random::bytes::<16>().map_err(|_none| Error::NoSignature)?;
        let now = now();
        let claims = Claims {
            iss: client_id,
            sub: client_id,
            aud: token_url,
            jti: HEXLOWER.encode(&id),
            iat: now,
            exp: now + LIFETIME_SECONDS,
            extensions,
        };
        let mut header = Header::new(self.algorithm);
        header.kid.clone_from(&self.key_id);
        encode(&header, &claims, &self.key).map_err(|_failed| Error::NoSignature)
    }
}

impl fmt::Debug for SigningKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SigningKey(…)")
    }
}

#[cfg(test)]
mod tests {
    use rcgen::{KeyPair, PKCS_ECDSA_P256_SHA256, PKCS_ECDSA_P384_SHA384, PKCS_ED25519};

    use super::*;

    fn load(pem: &str) -> Result<SigningKey, Error> {
        let directory = tempfile::tempdir().expect("a directory");
        let file = directory.path().join("key.pem");
        std::fs::write(&file, pem).expect("written");
        SigningKey::load(&file, Some("key-1"))
    }

    #[test]
    fn a_p_384_key_signs_and_shows_nothing() {
        let pair = KeyPair::generate_for(&PKCS_ECDSA_P384_SHA384).expect("a key");
        let key = load(&pair.serialize_pem()).expect("a key");
        let one = key.assertion("us", "https://a/token").expect("signed");
        let other = key.assertion("us", "https://a/token").expect("signed");
        assert_ne!(one, other);
        assert_eq!(format!("{key:?}"), "SigningKey(…)");
    }

    #[test]
    fn other_keys_are_refused() {
        for algorithm in [&PKCS_ECDSA_P256_SHA256, &PKCS_ED25519] {
            let pair = KeyPair::generate_for(algorithm).expect("a key");
            let loaded = load(&pair.serialize_pem());
            assert!(matches!(loaded, Err(Error::NotASigningKey(_))));
        }
        assert!(matches!(load("rubbish"), Err(Error::NotASigningKey(_))));
    }
}
