//! The keys that verify the signatures of an issuer: a JWK set (RFC 7517 5), or one shared secret.

use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};

use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use jsonwebtoken::jwk::{
    AlgorithmParameters, EllipticCurve, Jwk, KeyAlgorithm, KeyOperations, PublicKeyUse,
};
use jsonwebtoken::{Algorithm, DecodingKey};
use serde::Deserialize;
use serde_json::Value;

use super::super::jws::Jws;
use super::super::refused::Refused;

/// The most keys of a set that are looked at.
const MOST_KEYS: usize = 100;
/// RFC 7518 3.3.
const SMALLEST_MODULUS: usize = 2048 / 8;
/// RFC 7518 3.2, for HMAC with SHA-256.
const SMALLEST_SECRET: usize = 32;

/// The keys of an issuer.
pub(in crate::access) struct KeySet {
    /// No two sets of this process have the same number; it is never 0.
    pub(in crate::access) number: u64,
    keys: Vec<Key>,
    /// Whether any key identifier stands for the only key.
    is_secret: bool,
}

struct Key {
    id: Option<Box<str>>,
    /// The accepted algorithms that it may be used with.
    algorithms: Vec<Algorithm>,
    key: DecodingKey,
}

#[derive(Deserialize)]
struct Document {
    keys: Vec<Value>,
}

impl KeySet {
    /// The keys of a JWK set that verify signatures by one of these algorithms. Other keys are
    /// ignored (RFC 7517 5). `None` if the document is no JWK set.
    pub(in crate::access) fn parse(document: &[u8], algorithms: &[Algorithm]) -> Option<Self> {
        let document: Document = serde_json::from_slice(document).ok()?;
        let keys = document.keys.into_iter().take(MOST_KEYS);
        let keys = keys.filter_map(|key| Key::read(key, algorithms)).collect();
        Some(Self::new(keys, false))
    }

    /// A shared secret for HMAC with SHA-256; `None` if it is too short.
    pub(in crate::access) fn secret(secret: &[u8]) -> Option<Self> {
        let key = Key {
            id: None,
            algorithms: vec![Algorithm::HS256],
            key: DecodingKey::from_secret(secret),
        };
        (secret.len() >= SMALLEST_SECRET).then(|| Self::new(vec![key], true))
    }

    fn new(keys: Vec<Key>, is_secret: bool) -> Self {
        static SETS: AtomicU64 = AtomicU64::new(1);
        Self {
            number: SETS.fetch_add(1, Ordering::Relaxed),
            keys,
            is_secret,
        }
    }

    /// The number of its keys.
    pub(in crate::access) fn len(&self) -> usize {
        self.keys.len()
    }

    /// Verifies a signature.
    ///
    /// # Errors
    /// [`Refused::Key`] if no key is meant, [`Refused::Signature`] if none of them has signed.
    pub(in crate::access) fn verify(&self, jws: &Jws<'_>) -> Result<(), Refused> {
        let meant: Vec<&Key> = self
            .keys
            .iter()
            .filter(|key| self.is_meant(key, jws))
            .collect();
        match meant.as_slice() {
            [] => Err(Refused::Key),
            // Without an identifier only one key can be meant.
            [_, _, ..] if jws.key_id.is_none() => Err(Refused::Key),
            meant => {
                let is_signed = meant.iter().any(|key| jws.is_signed_with(&key.key));
                is_signed.then_some(()).ok_or(Refused::Signature)
            }
        }
    }

    fn is_meant(&self, key: &Key, jws: &Jws<'_>) -> bool {
        let is_named = match &jws.key_id {
            None => true,
            Some(id) => self.is_secret || key.id.as_deref() == Some(id),
        };
        is_named && key.algorithms.contains(&jws.algorithm)
    }
}

impl Key {
    fn read(key: Value, accepted: &[Algorithm]) -> Option<Self> {
        let key: Jwk = serde_json::from_value(key).ok()?;
        let common = &key.common;
        let is_for_signatures = match (&common.public_key_use, &common.key_operations) {
            (None | Some(PublicKeyUse::Signature), None) => true,
            (None | Some(PublicKeyUse::Signature), Some(operations)) => {
                operations.contains(&KeyOperations::Verify)
            }
            (Some(PublicKeyUse::Encryption | PublicKeyUse::Other(_)), _) => false,
        };
        let is_stated = |algorithm: &Algorithm| match common.key_algorithm {
            None => true,
            Some(stated) => stated == KeyAlgorithm::from(*algorithm),
        };
        let possible = possible(&key.algorithm).iter().copied();
        let usable = possible.filter(|algorithm| accepted.contains(algorithm));
        let algorithms: Vec<_> = usable.filter(is_stated).collect();
        let is_usable = is_for_signatures && !algorithms.is_empty();
        Some(Self {
            key: is_usable.then(|| DecodingKey::from_jwk(&key).ok())??,
            id: key.common.key_id.map(Into::into),
            algorithms,
        })
    }
}

/// The algorithms for a kind of key. A shared secret in a public document is none.
#[expect(
    clippy::wildcard_enum_match_arm,
    reason = "the library may learn kinds of keys that we do not know"
)]
fn possible(key: &AlgorithmParameters) -> &'static [Algorithm] {
    use Algorithm::{ES256, ES384, EdDSA, PS256, PS384, PS512, RS256, RS384, RS512};
    match key {
        AlgorithmParameters::RSA(rsa) if has_length(&rsa.n, SMALLEST_MODULUS) => {
            &[RS256, RS384, RS512, PS256, PS384, PS512]
        }
        AlgorithmParameters::EllipticCurve(key) => match key.curve {
            EllipticCurve::P256 => &[ES256],
            EllipticCurve::P384 => &[ES384],
            _ => &[],
        },
        AlgorithmParameters::OctetKeyPair(key) => match key.curve {
            EllipticCurve::Ed25519 => &[EdDSA],
            _ => &[],
        },
        _ => &[],
    }
}

fn has_length(number: &str, smallest: usize) -> bool {
    let number = BASE64_URL_SAFE_NO_PAD.decode(number).unwrap_or_default();
    let significant = number.iter().skip_while(|byte| **byte == 0);
    significant.count() >= smallest
}

impl fmt::Debug for KeySet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("KeySet")
            .field("keys", &self.keys.len())
            .finish_non_exhaustive()
    }
}
