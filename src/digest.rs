//! A digest of passing bytes, which distinguishes two copies of one instance.
//!
//! XXH3-128 costs a few per cent of copying the bytes. It is not cryptographic: each process draws
//! a random seed, so a source cannot prepare two copies with the same digest, and a digest is
//! meaningless outside its process. Entity tags are SHA-256.

use std::fmt;
use std::sync::OnceLock;

use twox_hash::xxhash3_128::Hasher;

/// The digest of all bytes in a [`Rolling`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Digest(u128);

impl Digest {
    /// The digest of these bytes.
    #[must_use]
    pub fn of(bytes: &[u8]) -> Self {
        Self(Hasher::oneshot_with_seed(seed(), bytes))
    }
}

/// Computes a digest while bytes pass. It takes about half a KiB.
pub struct Rolling(Box<Hasher>);

impl Rolling {
    /// A digest of no bytes yet.
    #[must_use]
    pub fn new() -> Self {
        Self(Box::new(Hasher::with_seed(seed())))
    }

    /// Adds bytes.
    pub fn update(&mut self, bytes: &[u8]) {
        self.0.write(bytes);
    }

    /// The digest of all bytes so far.
    #[must_use]
    pub fn digest(&self) -> Digest {
        Digest(self.0.finish_128())
    }
}

impl Default for Rolling {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for Rolling {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Rolling(…)")
    }
}

fn seed() -> u64 {
    static SEED: OnceLock<u64> = OnceLock::new();
    *SEED.get_or_init(|| {
        let mut seed = [0; 8];
        // Without randomness a source could know the seed, but would still need a collision.
        let _ = getrandom::fill(&mut seed);
        u64::from_le_bytes(seed)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(pieces: &[&[u8]]) -> Digest {
        let mut rolling = Rolling::new();
        for piece in pieces {
            rolling.update(piece);
        }
        rolling.digest()
    }

    #[test]
    fn it_is_that_of_the_bytes_however_they_were_cut() {
        let bytes: Vec<u8> = (0..5000_u32).flat_map(u32::to_le_bytes).collect();
        let whole = of(&[&bytes]);
        for at in [0, 1, 7, 255, 1024, bytes.len()] {
            assert_eq!(of(&[&bytes[..at], &bytes[at..]]), whole, "cut at {at}");
        }
        assert_eq!(Digest::of(&bytes), whole);
        let mut other = bytes.clone();
        other[4999] ^= 1;
        assert_ne!(of(&[&other]), whole);
        assert_ne!(of(&[&bytes, b"\0"]), whole);
    }
}
