//! Digests of instances: a quick one that distinguishes two copies, and one that names the bytes.
//!
//! [`Digest`] is XXH3-128, at a few per cent of the cost of copying the bytes. It is not
//! cryptographic: each process draws a random seed, so a source cannot prepare two copies with the
//! same digest, and a digest is meaningless outside its process.
//!
//! [`Blake3`] is the same everywhere, and no source can prepare two instances with the same one. It
//! is the entity tag of an instance, and the key of all data that is derived from it.

use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};

use bytes::Bytes;
use tokio::task::spawn_blocking;
use twox_hash::xxhash3_128::Hasher;

use crate::random;

/// The BLAKE3 of a Part 10 file.
pub type Blake3 = [u8; 32];

/// Bytes of this size take about a millisecond: other requests can wait for that.
const QUICK: usize = 4 << 20;

/// The BLAKE3 of bytes in memory, computed when it is first asked for. Its clones share it.
#[derive(Clone)]
pub struct LazyBlake3 {
    known: Arc<OnceLock<Blake3>>,
    bytes: Bytes,
    /// Whether nobody has asked for it as a tag yet, although the bytes have not been given to
    /// anybody either.
    is_early: Arc<AtomicBool>,
}

impl LazyBlake3 {
    /// That of these bytes.
    #[must_use]
    pub fn of(bytes: Bytes) -> Self {
        Self {
            known: Arc::default(),
            bytes,
            is_early: Arc::default(),
        }
    }

    /// That of bytes that came before anybody asked for them: their first response does without a
    /// tag, as do the responses of bytes that are still arriving. Most viewers ask once.
    #[must_use]
    pub fn early(bytes: Bytes) -> Self {
        let lazy = Self::of(bytes);
        lazy.is_early.store(true, Ordering::Relaxed);
        lazy
    }

    /// Records that the bytes have been given to somebody.
    pub fn given(&self) {
        self.is_early.store(false, Ordering::Relaxed);
    }

    /// The BLAKE3 as a tag: `None` if it is not worth its cost yet, or slow to compute.
    #[must_use]
    pub fn tag(&self) -> Option<Blake3> {
        let is_first = self.is_early.swap(false, Ordering::Relaxed);
        match self.known.get() {
            Some(known) => Some(*known),
            None if is_first => None,
            None => self.get(),
        }
    }

    /// One that is known.
    #[must_use]
    pub fn known(blake3: Blake3) -> Self {
        Self {
            known: Arc::new(OnceLock::from(blake3)),
            bytes: Bytes::new(),
            is_early: Arc::default(),
        }
    }

    /// The BLAKE3. `None` if it is slow to compute; it is being computed then.
    #[must_use]
    pub fn get(&self) -> Option<Blake3> {
        if let Some(known) = self.known.get() {
            return Some(*known);
        }
        if self.bytes.len() <= QUICK {
            return Some(self.compute());
        }
        let of = self.clone();
        drop(spawn_blocking(move || of.compute()));
        None
    }

    /// The BLAKE3. It takes a millisecond for 4 MiB.
    #[must_use]
    pub fn compute(&self) -> Blake3 {
        let compute = || blake3::hash(&self.bytes).into();
        *self.known.get_or_init(compute)
    }
}

impl fmt::Debug for LazyBlake3 {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("LazyBlake3(…)")
    }
}

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
    // Without randomness a source could know the seed, but would still need a collision.
    *SEED.get_or_init(|| u64::from_le_bytes(random::bytes().unwrap_or_default()))
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
    fn a_blake3_is_computed_once_for_all_clones() {
        let (lazy, large) = (
            LazyBlake3::of(Bytes::from_static(b"abc")),
            LazyBlake3::of(vec![0; QUICK + 1].into()),
        );
        let clone = lazy.clone();
        let expected = blake3::hash(b"abc").into();
        assert!(clone.known.get().is_none());
        assert_eq!(lazy.get(), Some(expected));
        assert_eq!(clone.known.get(), Some(&expected));
        assert_eq!(LazyBlake3::known(expected).get(), Some(expected));
        assert_eq!(LazyBlake3::known(expected).tag(), Some(expected));
        let runtime = tokio::runtime::Builder::new_current_thread().build();
        runtime.expect("a runtime").block_on(async {
            assert_eq!(large.get(), None, "it does not delay others");
        });
        // The end of a runtime waits for its blocking threads.
        assert_eq!(large.get(), Some(large.compute()));
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

    #[test]
    fn the_first_response_of_early_bytes_has_no_tag_unless_it_is_known() {
        let bytes = Bytes::from_static(b"abc");
        let expected = Some(blake3::hash(b"abc").into());
        let early = LazyBlake3::early(bytes.clone());
        assert_eq!(early.clone().tag(), None);
        assert_eq!(early.tag(), expected);
        let given = LazyBlake3::early(bytes.clone());
        given.given();
        assert_eq!(given.tag(), expected);
        let known = LazyBlake3::early(bytes.clone());
        assert_eq!(known.get(), expected);
        assert_eq!(known.tag(), expected);
        assert_eq!(LazyBlake3::of(bytes).tag(), expected);
    }
}
