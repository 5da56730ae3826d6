//! What was worked out of instances and costs less to keep than to work out again: their metadata,
//! and where their frames are.
//!
//! It is kept by the SHA-256 of the instance, so it is right for as long as it is kept, and nobody
//! gets it who was not given the instance.

use std::sync::Arc;

use bytes::Bytes;
use moka::sync::Cache;

use crate::object::Layout;
use crate::pixels::Geometry;

/// SHA-256 of an instance.
type Digest = [u8; 32];

/// The keeper.
#[derive(Debug, Clone)]
pub struct Derived {
    metadata: Cache<Digest, Bytes>,
    frames: Cache<Digest, Arc<Frames>>,
}

/// The frames of an instance.
#[derive(Debug)]
pub struct Frames {
    /// What its attributes say of them.
    pub geometry: Geometry,
    /// Where they are.
    pub layout: Layout,
}

impl Derived {
    /// Keeps so many bytes of metadata, and a quarter of it beside that of where frames are.
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

    /// The metadata of an instance, as they were kept.
    #[must_use]
    pub fn metadata(&self, digest: &Digest) -> Option<Bytes> {
        self.metadata.get(digest)
    }

    /// Keeps the metadata of an instance.
    pub fn keep_metadata(&self, digest: Digest, json: Bytes) {
        self.metadata.insert(digest, json);
    }

    /// Where the frames of an instance are.
    #[must_use]
    pub fn frames(&self, digest: &Digest) -> Option<Arc<Frames>> {
        self.frames.get(digest)
    }

    /// Keeps where the frames of an instance are.
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

// What an entry takes beside its bytes.
fn weight(bytes: usize) -> u32 {
    u32::try_from(bytes + 128).unwrap_or(u32::MAX)
}
