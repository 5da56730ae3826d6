//! The verified tokens of the last minutes, by their digests.

use std::sync::Arc;

use moka::sync::Cache;
use tokio::time::Instant;

use super::refused::Refused;
use super::rules::Verified;

/// The bytes of tokens whose claims are remembered.
const MOST_BYTES: u64 = 16 << 20;
/// What an entry costs besides its claims.
const OVERHEAD: usize = 512;

/// Outcomes by the digest of their token.
pub(super) struct Memory(Cache<Digest, Remembered>);

/// BLAKE3 of a token: the token itself is not kept.
pub(super) type Digest = [u8; 32];

/// What is known of a token.
#[derive(Debug, Clone)]
pub(super) struct Remembered {
    pub(super) outcome: Result<Arc<Verified>, Refused>,
    /// The issuer's place among the settings.
    pub(super) issuer: usize,
    /// The number of the key set that verified it; 0 for an introspection.
    pub(super) keys: u64,
    /// The time until which it counts, whatever the token says.
    pub(super) until: Option<Instant>,
    /// The length of the token.
    pub(super) size: usize,
}

impl Memory {
    pub(super) fn new() -> Self {
        let weigh = |_digest: &Digest, remembered: &Remembered| {
            u32::try_from(remembered.size.saturating_add(OVERHEAD)).unwrap_or(u32::MAX)
        };
        Self(
            Cache::builder()
                .weigher(weigh)
                .max_capacity(MOST_BYTES)
                .build(),
        )
    }

    /// What is known of a token at a time in seconds since 1970, unless it is too old.
    pub(super) fn get(&self, token: &Digest, now: i64) -> Option<Remembered> {
        let remembered = self.0.get(token)?;
        let is_due = remembered
            .until
            .is_some_and(|until| until <= Instant::now());
        let has_expired = match &remembered.outcome {
            Ok(verified) => verified.claims.expires <= now,
            Err(_) => false,
        };
        (!is_due && !has_expired).then_some(remembered)
    }

    pub(super) fn insert(&self, token: Digest, remembered: Remembered) {
        self.0.insert(token, remembered);
    }
}

/// The digest of a token.
pub(super) fn digest(token: &str) -> Digest {
    blake3::hash(token.as_bytes()).into()
}
