//! An authorization server's keys, and tokens of every kind.

use std::fmt::Write as _;
use std::path::PathBuf;
use std::sync::OnceLock;

use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use jsonwebtoken::jwk::Jwk;
use jsonwebtoken::{Algorithm, EncodingKey, crypto};
use rcgen::{
    KeyPair, PKCS_ECDSA_P256_SHA256, PKCS_ECDSA_P384_SHA384, PKCS_ED25519, PKCS_RSA_SHA256,
    RsaKeySize,
};
use serde_json::{Value, json};
use tempfile::TempDir;

use super::super::{IssuerSettings, Refused, Tokens};
use crate::access::claims::Claims;
use crate::credentials::{Certificate, Fingerprint, now};

pub(super) const ISSUER: &str = "https://as.example";
pub(super) const AUDIENCE: &str = "https://gateway.example";

/// A private key with its public one.
pub(super) struct Key {
    pub(super) id: &'static str,
    pub(super) algorithm: Algorithm,
    pub(super) private: EncodingKey,
    pub(super) public_pem: String,
    pub(super) public_der: Vec<u8>,
}

impl Key {
    fn new(id: &'static str, algorithm: Algorithm, pair: &KeyPair) -> Self {
        let pem = pair.serialize_pem();
        let pem = pem.as_bytes();
        let private = if matches!(algorithm, Algorithm::ES256 | Algorithm::ES384) {
            EncodingKey::from_ec_pem(pem)
        } else if algorithm == Algorithm::EdDSA {
            EncodingKey::from_ed_pem(pem)
        } else {
            EncodingKey::from_rsa_pem(pem)
        };
        Self {
            id,
            algorithm,
            private: private.expect("a key"),
            public_pem: pair.public_key_pem(),
            public_der: pair.public_key_raw().to_vec(),
        }
    }

    pub(super) fn ec(id: &'static str) -> Self {
        let pair = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).expect("a key");
        Self::new(id, Algorithm::ES256, &pair)
    }

    /// The public key, as a member of a set.
    pub(super) fn jwk(&self) -> Value {
        // The library does not read such a private key in the newer form (RFC 5958).
        let mut jwk = if self.algorithm == Algorithm::EdDSA {
            json!({"kty": "OKP", "crv": "Ed25519", "x": encoded(&self.public_der)})
        } else {
            let jwk = Jwk::from_encoding_key(&self.private, self.algorithm);
            serde_json::to_value(jwk.expect("a public key")).expect("JSON")
        };
        jwk["kid"] = self.id.into();
        jwk["use"] = "sig".into();
        jwk
    }

    pub(super) fn header(&self) -> Value {
        json!({"alg": format!("{:?}", self.algorithm), "typ": "at+jwt", "kid": self.id})
    }

    /// An honest token with these claims.
    pub(super) fn token(&self, claims: &Value) -> String {
        self.sign(&self.header().to_string(), &claims.to_string())
    }

    /// A signed token with any header and claims.
    pub(super) fn sign(&self, header: &str, claims: &str) -> String {
        self.sign_as(self.algorithm, header, claims)
    }

    pub(super) fn sign_as(&self, algorithm: Algorithm, header: &str, claims: &str) -> String {
        sign(&self.private, algorithm, header, claims)
    }
}

/// A token signed with any key.
pub(super) fn sign(key: &EncodingKey, algorithm: Algorithm, header: &str, claims: &str) -> String {
    let mut token = format!("{}.{}", encoded(header), encoded(claims));
    let signature = crypto::sign(token.as_bytes(), key, algorithm).expect("signed");
    write!(token, ".{signature}").expect("written");
    token
}

pub(super) fn encoded(bytes: impl AsRef<[u8]>) -> String {
    BASE64_URL_SAFE_NO_PAD.encode(bytes)
}

/// One key of each kind.
pub(super) struct Keys {
    pub(super) es256: Key,
    pub(super) es384: Key,
    pub(super) ed25519: Key,
    pub(super) rsa: Key,
    /// A key that the issuer does not publish.
    pub(super) other: Key,
}

impl Keys {
    pub(super) fn all() -> &'static Self {
        static KEYS: OnceLock<Keys> = OnceLock::new();
        KEYS.get_or_init(|| {
            let p384 = KeyPair::generate_for(&PKCS_ECDSA_P384_SHA384).expect("a key");
            let ed25519 = KeyPair::generate_for(&PKCS_ED25519).expect("a key");
            let rsa = KeyPair::generate_rsa_for(&PKCS_RSA_SHA256, RsaKeySize::_2048);
            Self {
                es256: Key::ec("es256"),
                es384: Key::new("es384", Algorithm::ES384, &p384),
                ed25519: Key::new("ed25519", Algorithm::EdDSA, &ed25519),
                rsa: Key::new("rsa", Algorithm::RS256, &rsa.expect("a key")),
                other: Key::ec("other"),
            }
        })
    }

    pub(super) fn published(&self) -> [&Key; 4] {
        [&self.es256, &self.es384, &self.ed25519, &self.rsa]
    }
}

/// The claims of an honest token.
pub(super) fn claims() -> Value {
    let now = now();
    json!({
        "iss": ISSUER, "sub": "dr-a", "aud": AUDIENCE, "client_id": "viewer",
        "exp": now + 300, "iat": now, "jti": "1", "scope": "RAD-107 openid",
    })
}

/// The claims of an honest token with some of them replaced, and those that are null left out.
pub(super) fn claims_with(changed: &Value) -> Value {
    let mut all = claims();
    for (name, value) in changed.as_object().expect("an object") {
        all[name] = value.clone();
    }
    let all = all.as_object().expect("an object").clone().into_iter();
    all.filter(|(_name, value)| !value.is_null()).collect()
}

/// The settings of an issuer without keys.
pub(super) fn settings() -> IssuerSettings {
    let text = format!("name = \"as\"\nissuer = {ISSUER:?}\naudience = {AUDIENCE:?}\n");
    toml::from_str(&text).expect("settings")
}

/// A folder with a JWK set.
pub(super) fn set_of(keys: &[Value]) -> (TempDir, PathBuf) {
    let directory = tempfile::tempdir().expect("a directory");
    let file = directory.path().join("jwks.json");
    let set = json!({ "keys": keys }).to_string();
    std::fs::write(&file, set).expect("written");
    (directory, file)
}

/// An issuer with all keys.
pub(super) fn tokens(change: impl FnOnce(&mut IssuerSettings)) -> Tokens {
    let keys: Vec<_> = Keys::all().published().map(Key::jwk).into();
    tokens_of(&keys, change)
}

pub(super) fn tokens_of(keys: &[Value], change: impl FnOnce(&mut IssuerSettings)) -> Tokens {
    let (_directory, file) = set_of(keys);
    let mut settings = settings();
    settings.jwks_file = Some(file);
    change(&mut settings);
    Tokens::open(&[settings]).expect("issuers")
}

pub(super) fn certificate(octet: u8) -> Certificate {
    Certificate {
        fingerprint: Fingerprint::from_octets([octet; 32]),
        names: Vec::new(),
        not_before: 0,
        not_after: i64::MAX,
    }
}

/// What is known of a token without a certificate.
pub(super) fn checked(tokens: &Tokens, token: &str) -> Result<std::sync::Arc<Claims>, Refused> {
    tokens.known(token, None).expect("no network is needed")
}
