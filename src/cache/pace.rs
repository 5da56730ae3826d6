//! The pace of a crossing: the distance between the source and its readers.

use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::timeout;

/// Bytes that a source may be ahead of the fastest reader: enough to hide scheduling delays on both
/// sides, and the entire cost of a stalled client.
pub const WINDOW: u64 = 1 << 20;

/// The pace of one crossing, set by its fastest reader. The others read from the cache.
#[derive(Debug)]
pub struct Pace {
    /// Bytes that have arrived.
    arrived: AtomicU64,
    /// The position of the fastest reader.
    read: AtomicU64,
    /// Bytes that the source may be ahead.
    window: AtomicU64,
    /// Followers and readers of the crossing.
    interested: AtomicUsize,
    /// Whether the crossing continues without readers.
    is_ahead: AtomicBool,
    moved: Notify,
}

/// Why a crossing stops.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Halt {
    /// No reader is left.
    Unwanted,
    /// All readers have stalled for too long.
    Stalled,
}

impl Pace {
    /// A pace at position zero without readers.
    #[must_use]
    pub fn new() -> Self {
        Self {
            arrived: AtomicU64::new(0),
            read: AtomicU64::new(0),
            window: AtomicU64::new(WINDOW),
            interested: AtomicUsize::new(0),
            is_ahead: AtomicBool::new(false),
            moved: Notify::new(),
        }
    }

    /// Bytes that have arrived.
    #[must_use]
    pub fn arrived(&self) -> u64 {
        self.arrived.load(Ordering::Acquire)
    }

    /// The position of the fastest reader.
    #[must_use]
    pub fn read(&self) -> u64 {
        self.read.load(Ordering::Acquire)
    }

    /// Lets the crossing run this many bytes ahead, and continue without readers.
    pub fn run_ahead(&self, bytes: u64) {
        self.window.fetch_max(bytes, Ordering::AcqRel);
        self.is_ahead.store(true, Ordering::Release);
        self.moved.notify_waiters();
    }

    /// Lets the crossing end with its last reader.
    pub fn run_no_more_ahead(&self) {
        self.is_ahead.store(false, Ordering::Release);
        self.moved.notify_waiters();
    }

    /// Whether more than one follower or reader remains.
    #[must_use]
    pub fn is_shared(&self) -> bool {
        self.interested.load(Ordering::Acquire) > 1
    }

    /// Whether a follower or reader remains.
    #[must_use]
    pub fn is_wanted(&self) -> bool {
        self.is_awaited() || self.is_ahead()
    }

    /// Whether it continues without readers.
    #[must_use]
    pub fn is_ahead(&self) -> bool {
        self.is_ahead.load(Ordering::Acquire)
    }

    /// Whether a reader waits.
    #[must_use]
    pub fn is_awaited(&self) -> bool {
        self.interested.load(Ordering::Acquire) > 0
    }

    /// Records that a reader read, or skipped, up to this position.
    pub fn read_to(&self, offset: u64) {
        if self.read.fetch_max(offset, Ordering::AcqRel) < offset {
            self.moved.notify_waiters();
        }
    }

    /// Counts arrived bytes.
    pub(super) fn count(&self, bytes: usize) {
        self.arrived.fetch_add(bytes as u64, Ordering::AcqRel);
    }

    /// Waits until the crossing may read more, or until no reader is left.
    ///
    /// # Errors
    /// Why the crossing stops.
    pub async fn go_on(&self, patience: Duration) -> Result<(), Halt> {
        loop {
            let moved = self.moved.notified();
            let mut moved = std::pin::pin!(moved);
            moved.as_mut().enable();
            if !self.is_wanted() {
                return Err(Halt::Unwanted);
            }
            let ahead = self.arrived().saturating_sub(self.read());
            if ahead < self.window.load(Ordering::Acquire) {
                return Ok(());
            }
            if timeout(patience, moved).await.is_err() {
                return Err(Halt::Stalled);
            }
        }
    }

    /// Waits until no reader is left.
    pub async fn unwanted(&self) {
        loop {
            let moved = self.moved.notified();
            let mut moved = std::pin::pin!(moved);
            moved.as_mut().enable();
            if !self.is_wanted() {
                return;
            }
            moved.await;
        }
    }

    fn join(&self) {
        self.interested.fetch_add(1, Ordering::AcqRel);
    }

    fn leave(&self) {
        if self.interested.fetch_sub(1, Ordering::AcqRel) == 1 {
            self.moved.notify_waiters();
        }
    }
}

impl Default for Pace {
    fn default() -> Self {
        Self::new()
    }
}

/// A reader's interest in a crossing; the crossing continues while one lives.
#[derive(Debug)]
pub struct Interest(std::sync::Arc<Pace>);

impl Interest {
    /// An interest in this crossing.
    #[must_use]
    pub fn of(pace: &std::sync::Arc<Pace>) -> Self {
        pace.join();
        Self(std::sync::Arc::clone(pace))
    }

    /// The pace of its crossing.
    #[must_use]
    pub fn pace(&self) -> &Pace {
        &self.0
    }
}

impl Clone for Interest {
    fn clone(&self) -> Self {
        Self::of(&self.0)
    }
}

impl Drop for Interest {
    fn drop(&mut self) {
        self.0.leave();
    }
}
