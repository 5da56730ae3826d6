//! Bodies whose producer can pass over bytes instead of emitting them.

use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::{Buf, Bytes};

use super::{Body, Emitter, Error, within};

/// The bytes that a reader passes over, for the producer of its body.
#[derive(Debug, Clone, Default)]
pub struct Skip(Arc<AtomicU64>);

impl Skip {
    /// Asks the producer to pass over so many more bytes.
    pub fn add(&self, bytes: u64) {
        self.0.fetch_add(bytes, Ordering::AcqRel);
    }

    /// The number of bytes to pass over before the next byte is emitted. A producer asks before it
    /// reads, and again, by [`Skip::cut`], before it emits.
    #[must_use]
    pub fn take(&self) -> u64 {
        self.0.swap(0, Ordering::AcqRel)
    }

    /// Takes bytes to pass over away from a chunk.
    pub fn cut(&self, chunk: &mut Bytes) {
        let skipped = self.take();
        let passed = within(skipped, chunk.len());
        chunk.advance(passed);
        self.add(skipped - passed as u64);
    }
}

impl Body {
    /// As [`Body::generate`], for a producer that can pass over bytes.
    pub fn skippable<F, P>(length: Option<u64>, write: F) -> Self
    where
        F: FnOnce(Emitter, Skip) -> P,
        P: Future<Output = Result<(), Error>> + Send + 'static,
    {
        let skip = Skip::default();
        let for_producer = skip.clone();
        let mut body = Self::generate(length, |out| write(out, for_producer));
        body.skip = Some((skip, 0));
        body
    }
}
