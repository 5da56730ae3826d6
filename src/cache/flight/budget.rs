//! Memory and disk space for the flights of all sources together.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// Flights do not spill for this time after a damaged spill file. Otherwise each refetch could fail
/// in the same way.
const DISK_RESTS: Duration = Duration::from_secs(10);

/// The memory and disk budget of all flights together.
#[derive(Debug)]
pub(in crate::cache) struct Budget {
    pub(super) left: AtomicU64,
    /// Bytes left for spill files.
    pub(super) spill_left: AtomicU64,
    /// The last damaged spill file, in milliseconds since `began`; 0: none.
    spoilt_at: AtomicU64,
    began: Instant,
}

impl Budget {
    pub(in crate::cache) fn new(bytes: u64, spill: u64) -> Self {
        Self {
            left: AtomicU64::new(bytes),
            spill_left: AtomicU64::new(spill),
            spoilt_at: AtomicU64::new(0),
            began: Instant::now(),
        }
    }

    pub(super) fn rest_spill(&self) {
        let now = self.began.elapsed().as_millis().max(1);
        let now = u64::try_from(now).unwrap_or(u64::MAX);
        self.spoilt_at.store(now, Ordering::Release);
    }

    pub(super) fn rests_from_spill(&self) -> bool {
        let spoilt_at = Duration::from_millis(self.spoilt_at.load(Ordering::Acquire));
        !spoilt_at.is_zero() && self.began.elapsed() < spoilt_at + DISK_RESTS
    }

    /// Reserves disk space.
    pub(super) fn spill(&self, bytes: u64) -> bool {
        let take = |left: u64| left.checked_sub(bytes);
        let left = &self.spill_left;
        let taken = left.fetch_update(Ordering::AcqRel, Ordering::Acquire, take);
        taken.is_ok()
    }

    pub(super) fn give_back_spill(&self, bytes: u64) {
        self.spill_left.fetch_add(bytes, Ordering::AcqRel);
    }

    pub(super) fn take(&self, bytes: u64) -> bool {
        let take = |left: u64| left.checked_sub(bytes);
        let taken = self
            .left
            .fetch_update(Ordering::AcqRel, Ordering::Acquire, take);
        taken.is_ok()
    }

    pub(super) fn give_back(&self, bytes: u64) {
        self.left.fetch_add(bytes, Ordering::AcqRel);
    }
}
