//! Metadata and frame positions of instances, which are cheaper to cache than to derive again.
//!
//! The key is the BLAKE3 of the instance, and the number of its flight while it arrives. An entry
//! therefore never becomes stale, and only clients that may read the instance can reach it.

use std::sync::Arc;

use bytes::Bytes;
use moka::sync::Cache;

use crate::object::Layout;
use crate::pixels::Geometry;

/// The BLAKE3 of an instance, the stamp of a file, or the number of a flight.
type Digest = [u8; 32];

/// The cache of derived data.
#[derive(Debug, Clone)]
pub struct Derived {
    metadata: Cache<Digest, Bytes>,
    frames: Cache<Digest, Arc<Frames>>,
}

/// The frames of an instance.
#[derive(Debug)]
pub struct Frames {
    /// The attributes that describe them.
    pub geometry: Geometry,
    /// Their positions.
    pub layout: Layout,
}

impl Derived {
    /// A cache with this many bytes for metadata, and a quarter of that for frame positions.
    #[must_use]
    pub fn new(bytes: u64) -> Self {
        let metadata = Cache::builder()
            .weigher(|_digest, json: &Bytes| weight(json.len()))
            .max_capacity(bytes);
        let frames = Cache::builder()
            .weigher(|_digest, frames: &Arc<Frames>| weight(frames.bytes()))
            .max_capacity(bytes / 4);
        Self {
            metadata: metadata.build(),
            frames: frames.build(),
        }
    }

    /// The cached metadata of an instance.
    #[must_use]
    pub fn metadata(&self, digest: &Digest) -> Option<Bytes> {
        self.metadata.get(digest)
    }

    /// Caches the metadata of an instance.
    pub fn keep_metadata(&self, digest: Digest, json: Bytes) {
        self.metadata.insert(digest, json);
    }

    /// The frame positions of an instance.
    #[must_use]
    pub fn frames(&self, digest: &Digest) -> Option<Arc<Frames>> {
        self.frames.get(digest)
    }

    /// Caches the frame positions of an instance.
    pub fn keep_frames(&self, digest: Digest, frames: Arc<Frames>) {
        self.frames.insert(digest, frames);
    }
}

impl Frames {
    fn bytes(&self) -> usize {
        match &self.layout {
            Layout::Native(_) => 128,
            Layout::Encapsulated(encapsulated) => 128 + encapsulated.spans.len() * 24,
        }
    }
}

// Bytes of an entry besides its content.
fn weight(bytes: usize) -> u32 {
    u32::try_from(bytes + 128).unwrap_or(u32::MAX)
}
