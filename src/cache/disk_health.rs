//! Whether the disk tier accepts writes.

use std::io;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Instant;

use crate::metrics::Metrics;

/// Seconds without urgent writes after a disk failure.
const DISK_RESTS: u64 = 5;

/// The last write failure of the disk tier.
#[derive(Debug)]
pub(super) struct DiskHealth {
    has_failed: AtomicBool,
    /// Seconds from `began` to the last failure, plus 1; 0: no failure yet.
    failed_at: AtomicU64,
    began: Instant,
    metrics: Metrics,
}

impl DiskHealth {
    pub(super) fn new(metrics: &Metrics) -> Self {
        Self {
            has_failed: AtomicBool::new(false),
            failed_at: AtomicU64::new(0),
            began: Instant::now(),
            metrics: metrics.clone(),
        }
    }

    /// Records a successful write, and logs the first one after a failure.
    pub(super) fn works(&self) {
        if self.has_failed.swap(false, Ordering::AcqRel) {
            tracing::info!("the disk cache accepts writes again");
        }
    }

    /// Records a failed write, and logs the first one of a row.
    pub(super) fn failed(&self, error: &io::Error) {
        self.metrics.cache_not_written.inc();
        let now = self.began.elapsed().as_secs() + 1;
        self.failed_at.store(now, Ordering::Release);
        if !self.has_failed.swap(true, Ordering::AcqRel) {
            tracing::warn!(kind = ?error.kind(), "the disk cache cannot write instances");
        }
    }

    /// Whether the last failure is too recent for urgent writes.
    pub(super) fn is_resting(&self) -> bool {
        let failed_at = self.failed_at.load(Ordering::Acquire);
        failed_at > 0 && self.began.elapsed().as_secs() < failed_at + DISK_RESTS
    }
}
