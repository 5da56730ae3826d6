//! How far a fetch may run ahead of those who read it.

use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::timeout;

/// Bytes that a source may be ahead of the fastest reader: enough that neither waits for the
/// other's scheduling, and all that a client costs that stops reading.
pub const WINDOW: u64 = 1 << 20;

/// The pace of one fetch: it is that of its fastest reader. The others follow what was kept.
#[derive(Debug)]
pub struct Pace {
    /// Bytes that have arrived.
    arrived: AtomicU64,
    /// How far the fastest reader is.
    read: AtomicU64,
    /// Bytes by which it may be ahead.
    window: AtomicU64,
    /// Those who want it to go on.
    interested: AtomicUsize,
    /// Whether it goes on although nobody waits for it.
    is_ahead: AtomicBool,
    moved: Notify,
}

/// Why a fetch does not go on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Halt {
    /// Nobody wants it any more.
    Unwanted,
    /// Those who want it read nothing for too long.
    Stalled,
}

impl Pace {
    /// Nothing has arrived, and nobody is interested yet.
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

    /// Bytes that have arrived so far.
    #[must_use]
    pub fn arrived(&self) -> u64 {
        self.arrived.load(Ordering::Acquire)
    }

    /// How far the fastest reader is.
    #[must_use]
    pub fn read(&self) -> u64 {
        self.read.load(Ordering::Acquire)
    }

    /// Lets it run ahead by so many bytes, and go on although nobody waits for it.
    pub fn run_ahead(&self, bytes: u64) {
        self.window.fetch_max(bytes, Ordering::AcqRel);
        self.is_ahead.store(true, Ordering::Release);
        self.moved.notify_waiters();
    }

    /// Lets it end as soon as nobody waits for it.
    pub fn run_no_more_ahead(&self) {
        self.is_ahead.store(false, Ordering::Release);
        self.moved.notify_waiters();
    }

    /// Whether more than one follower or reader wants it.
    #[must_use]
    pub fn is_shared(&self) -> bool {
        self.interested.load(Ordering::Acquire) > 1
    }

    /// Whether somebody wants it.
    #[must_use]
    pub fn is_wanted(&self) -> bool {
        self.is_awaited() || self.is_ahead()
    }

    /// Whether it goes on although nobody waits for it.
    #[must_use]
    pub fn is_ahead(&self) -> bool {
        self.is_ahead.load(Ordering::Acquire)
    }

    /// Whether somebody waits for it.
    #[must_use]
    pub fn is_awaited(&self) -> bool {
        self.interested.load(Ordering::Acquire) > 0
    }

    /// Somebody has read as far as this, or passed over it.
    pub fn read_to(&self, offset: u64) {
        if self.read.fetch_max(offset, Ordering::AcqRel) < offset {
            self.moved.notify_waiters();
        }
    }

    /// Counts bytes that have arrived.
    pub(super) fn count(&self, bytes: usize) {
        self.arrived.fetch_add(bytes as u64, Ordering::AcqRel);
    }

    /// Waits until more may be fetched, or until nobody wants it.
    ///
    /// # Errors
    /// Why there is no use in going on.
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

    /// Waits until nobody wants it any more.
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

/// Somebody's wish that a fetch goes on, for as long as it lives.
#[derive(Debug)]
pub struct Interest(std::sync::Arc<Pace>);

impl Interest {
    /// In this fetch.
    #[must_use]
    pub fn of(pace: &std::sync::Arc<Pace>) -> Self {
        pace.join();
        Self(std::sync::Arc::clone(pace))
    }

    /// The pace of what it is about.
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
