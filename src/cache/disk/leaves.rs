//! Digests that detect damage to a file, leaf by leaf.
//!
//! A body consists of leaves of 64 KiB, and the file contains a digest of 128 bits (XXH3) for each.
//! The seed of a digest covers the key and generation of the file and the number of the leaf: a
//! leaf at another place, or in another file, does not match. This detects bit rot, torn writes and
//! misplaced copies. It does not stop an attacker with write access to the folder, who could
//! replace entire files with their digests.

use std::fs::File;
use std::io::{self, IoSliceMut};
use std::sync::{Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use twox_hash::xxhash3_128::Hasher;

use crate::body::Wait;

/// The offset of the body in a file, behind the header page.
pub const BODY_AT: u64 = 4096;
/// Bytes of a leaf, the unit of verified reads.
pub const LEAF: u64 = 64 << 10;
/// Reads of 4 KiB would take fifteen times the CPU time.
const CHUNK: u64 = 256 << 10;
/// Bytes of a digest in a file.
pub(super) const DIGEST: u64 = 16;

/// The part of every seed that identifies this format.
const SEED: u64 = u64::from_le_bytes(*b"XCWADO\x00\x03");
const PAGE: u64 = u64::MAX;
const TABLE: u64 = u64::MAX - 1;

/// The digests of the leaves of a body, in order.
pub(super) type Digests = Vec<u128>;

/// The identity of the file of a digest.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Seal([u8; 24]);

impl Seal {
    /// The seal of a file with this key and generation.
    pub(super) fn new(key: [u8; 16], generation: u64) -> Self {
        let mut seal = [0; 24];
        seal[..16].copy_from_slice(&key);
        seal[16..].copy_from_slice(&generation.to_le_bytes());
        Self(seal)
    }

    fn seed(&self, number: u64) -> u64 {
        let mut place = [0; 32];
        place[..24].copy_from_slice(&self.0);
        place[24..].copy_from_slice(&number.to_le_bytes());
        let [low, high] = halves(Hasher::oneshot_with_seed(SEED, &place));
        low ^ high
    }

    fn leaf(&self, number: u64, bytes: &[u8]) -> u128 {
        Hasher::oneshot_with_seed(self.seed(number), bytes)
    }

    /// The digests of the leaves of a body.
    pub(super) fn leaves(&self, body: &[u8]) -> Digests {
        let leaves = (0..).zip(body.chunks(LEAF as usize));
        leaves.map(|(at, leaf)| self.leaf(at, leaf)).collect()
    }

    /// The digest of the first page.
    pub(super) fn page(&self, bytes: &[u8]) -> u128 {
        self.leaf(PAGE, bytes)
    }

    /// The digest of the table of digests.
    pub(super) fn table(&self, bytes: &[u8]) -> u128 {
        self.leaf(TABLE, bytes)
    }

    /// Reads at least one and up to `most` bytes of a body from `at` on, bounded by the size of one
    /// read.
    ///
    /// # Errors
    /// [`io::ErrorKind::InvalidData`] if a digest does not match; any error of the read.
    fn read(
        &self,
        ReadFrom { file, wait }: ReadFrom<'_>,
        body: &BodyDigests,
        at: u64,
        most: u64,
    ) -> io::Result<Bytes> {
        let length = body.length;
        let end = at.saturating_add(most).min(length);
        let first = at / LEAF;
        // Up to the end of a leaf, or of the body.
        let end = end.min(first * LEAF + CHUNK);
        let read_end = end.div_ceil(LEAF).saturating_mul(LEAF).min(length);
        if at >= end {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        let size = usize::try_from(read_end - first * LEAF).map_err(io::Error::other)?;
        let mut bytes = vec![0; size];
        let buffers = &mut [IoSliceMut::new(&mut bytes)];
        wait.read_exact_at(file, buffers, BODY_AT + first * LEAF)?;
        for (number, leaf) in (first..).zip(bytes.chunks(LEAF as usize)) {
            if body.get(number) != Some(self.leaf(number, leaf)) {
                return Err(io::ErrorKind::InvalidData.into());
            }
        }
        let start = usize::try_from(at - first * LEAF).map_err(io::Error::other)?;
        let length = usize::try_from(end - at).map_err(io::Error::other)?;
        Ok(Bytes::from(bytes).slice(start..start + length))
    }
}

/// A file, and whether a read may wait for it.
struct ReadFrom<'a> {
    file: &'a File,
    wait: Wait,
}

/// The length of a body, and the digests of its leaves from `first` on.
#[derive(Debug)]
pub(super) struct BodyDigests {
    /// Bytes of the body.
    length: u64,
    first: u64,
    digests: Digests,
}

impl BodyDigests {
    /// The digests of an entire body.
    pub(super) fn new(length: u64, digests: Digests) -> Self {
        Self {
            length,
            first: 0,
            digests,
        }
    }

    fn get(&self, number: u64) -> Option<u128> {
        let at = usize::try_from(number.checked_sub(self.first)?).ok()?;
        self.digests.get(at).copied()
    }
}

fn halves(digest: u128) -> [u64; 2] {
    [digest as u64, (digest >> 64) as u64]
}

/// Computes the digests of a body while it is written.
pub(super) struct LeafDigester {
    seal: Seal,
    leaf: Hasher,
    number: u64,
    /// Bytes in the current leaf.
    filled: u64,
}

impl LeafDigester {
    pub(super) fn new(seal: Seal) -> Self {
        Self {
            seal,
            leaf: Hasher::with_seed(seal.seed(0)),
            number: 0,
            filled: 0,
        }
    }

    /// Adds bytes, and returns the digests of the completed leaves.
    pub(super) fn update(&mut self, mut bytes: &[u8]) -> Digests {
        let mut complete = Digests::new();
        while !bytes.is_empty() {
            let room = usize::try_from(LEAF - self.filled).unwrap_or(usize::MAX);
            let (now, rest) = bytes.split_at(room.min(bytes.len()));
            self.leaf.write(now);
            self.filled += now.len() as u64;
            bytes = rest;
            if self.filled == LEAF {
                complete.push(self.leaf.finish_128());
                self.number += 1;
                self.filled = 0;
                self.leaf = Hasher::with_seed(self.seal.seed(self.number));
            }
        }
        complete
    }

    /// The digest of the incomplete last leaf, if there is one.
    pub(super) fn tail(&self) -> Option<u128> {
        (self.filled > 0).then(|| self.leaf.finish_128())
    }
}

impl std::fmt::Debug for LeafDigester {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("LeafDigester").finish_non_exhaustive()
    }
}

/// A file that is readable while it is written.
#[derive(Debug)]
pub struct GrowingFile {
    file: File,
    seal: Seal,
    written: Mutex<Extent>,
}

#[derive(Debug, Default)]
struct Extent {
    length: u64,
    complete: Digests,
    tail: Option<u128>,
}

impl GrowingFile {
    pub(super) fn new(file: File, seal: Seal) -> Self {
        Self {
            file,
            seal,
            written: Mutex::default(),
        }
    }

    pub(super) fn file(&self) -> &File {
        &self.file
    }

    /// Records `bytes` more in the file.
    pub(super) fn grow(&self, bytes: u64, complete: Digests, tail: Option<u128>) {
        let mut written = self.written();
        written.length += bytes;
        written.complete.extend(complete);
        written.tail = tail;
    }

    /// The length of the body, and the digests of all leaves.
    pub(super) fn digests(&self) -> (u64, Digests) {
        let written = self.written();
        let mut digests = written.complete.clone();
        digests.extend(written.tail);
        (written.length, digests)
    }

    /// Up to `most` bytes of the body from `at` on, verified.
    ///
    /// # Errors
    /// If none have been written yet, if a digest does not match, or if the read fails.
    pub fn read(&self, at: u64, most: u64) -> io::Result<Bytes> {
        let body = {
            let written = self.written();
            let first = at / LEAF;
            let from = usize::try_from(first).map_err(io::Error::other)?;
            let complete = written.complete.iter().skip(from).copied();
            let wanted = usize::try_from(CHUNK / LEAF).map_err(io::Error::other)?;
            let mut digests: Digests = complete.take(wanted).collect();
            if digests.len() < wanted {
                digests.extend(written.tail);
            }
            BodyDigests {
                length: written.length,
                first,
                digests,
            }
        };
        let from = ReadFrom {
            file: &self.file,
            wait: Wait::ForDevice,
        };
        self.seal.read(from, &body, at, most)
    }

    fn written(&self) -> MutexGuard<'_, Extent> {
        self.written.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A complete file, opened for reading.
#[derive(Debug)]
pub struct StoredFile {
    file: File,
    seal: Seal,
    body: BodyDigests,
    /// How to read it without waiting.
    at_once: Wait,
}

impl StoredFile {
    /// A file that `at_once` reads without waiting.
    pub(super) fn new(file: File, seal: Seal, body: BodyDigests, at_once: Wait) -> Self {
        Self {
            file,
            seal,
            body,
            at_once,
        }
    }

    /// Up to `most` bytes of the body from `at` on, verified.
    ///
    /// # Errors
    /// If a digest does not match, or if the read fails; [`io::ErrorKind::WouldBlock`] if it cannot
    /// be read without waiting.
    pub fn read(&self, at: u64, most: u64, wait: Wait) -> io::Result<Bytes> {
        let from = ReadFrom {
            file: &self.file,
            wait: wait.with(self.at_once),
        };
        self.seal.read(from, &self.body, at, most)
    }

    /// Bytes of the body.
    #[must_use]
    pub fn length(&self) -> u64 {
        self.body.length
    }

    /// Bytes of one leaf of the body, counted from 0.
    #[must_use]
    pub fn leaf_size(&self, number: u64) -> u64 {
        self.body
            .length
            .saturating_sub(number.saturating_mul(LEAF))
            .min(LEAF)
    }

    /// Whether these bytes, from any origin, are the leaf.
    #[must_use]
    pub fn is_leaf(&self, number: u64, bytes: &[u8]) -> bool {
        self.body.get(number) == Some(self.seal.leaf(number, bytes))
    }
}

/// The table of digests as bytes.
pub(super) fn table(digests: &[u128]) -> Vec<u8> {
    digests
        .iter()
        .flat_map(|digest| digest.to_le_bytes())
        .collect()
}

/// The number of leaves of a body.
pub(super) fn count(length: u64) -> u64 {
    length.div_ceil(LEAF)
}

/// Parses a table from [`table`].
pub(super) fn digests(table: &[u8]) -> Digests {
    let digests = table.as_chunks::<16>().0.iter();
    digests.map(|digest| u128::from_le_bytes(*digest)).collect()
}
