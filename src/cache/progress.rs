//! The progress of an instance from memory to disk.

use std::sync::atomic::{AtomicU8, AtomicU64, Ordering};

/// The progress of an instance from memory to disk.
#[derive(Debug, Default)]
pub(super) struct Progress {
    stage: AtomicU8,
    /// The last check that it is on disk, in seconds of the queue.
    looked_at: AtomicU64,
}

/// No write is queued.
pub(super) const IDLE: u8 = 0;
pub(super) const QUEUED: u8 = 1;
/// It is at the front of the queue.
pub(super) const URGENT: u8 = 2;
pub(super) const BEING_WRITTEN: u8 = 3;
pub(super) const WRITTEN: u8 = 4;

impl Progress {
    /// The progress of an instance loaded from disk.
    pub(super) fn written() -> Self {
        let progress = Self::default();
        progress.stage.store(WRITTEN, Ordering::Relaxed);
        progress
    }

    /// The current stage.
    pub(super) fn stage(&self) -> u8 {
        self.stage.load(Ordering::Acquire)
    }

    /// Moves to a stage from one of these stages; returns whether it did.
    pub(super) fn go(&self, from: &[u8], to: u8) -> bool {
        from.iter().any(|&from| {
            let gone = self
                .stage
                .compare_exchange(from, to, Ordering::AcqRel, Ordering::Acquire);
            gone.is_ok()
        })
    }

    /// Whether the next check is due: once a second.
    pub(super) fn is_due(&self, second: u64) -> bool {
        self.looked_at.swap(second, Ordering::Relaxed) != second
    }
}
