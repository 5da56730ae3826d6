//! The pace of a crossing: the distance between the source and its readers.

mod rest;
mod transfer;

use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use futures_util::task::AtomicWaker;
use tokio::time::{Sleep, sleep};

use rest::Rest;
pub use rest::{Continuation, LINGER};
use transfer::Transfer;

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
    /// Those of them that wait for an instance, and read nothing before it.
    seekers: AtomicUsize,
    /// Whether the crossing continues without readers.
    is_ahead: AtomicBool,
    /// The rest of its one instance.
    rest: Rest,
    /// Whether it waits for another reader of that instance.
    is_lingering: AtomicBool,
    /// Whether it fetches all of that instance, whatever its readers do.
    is_finishing: AtomicBool,
    /// The number of readers so far.
    joined: AtomicUsize,
    /// The transfer, while it waits for a reader.
    waiting: AtomicWaker,
    transfer: Transfer,
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
            seekers: AtomicUsize::new(0),
            is_ahead: AtomicBool::new(false),
            rest: Rest::default(),
            is_lingering: AtomicBool::new(false),
            is_finishing: AtomicBool::new(false),
            joined: AtomicUsize::new(0),
            waiting: AtomicWaker::new(),
            transfer: Transfer::default(),
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
    pub fn run_ahead(self: &Arc<Self>, bytes: u64) {
        self.window.fetch_max(bytes, Ordering::AcqRel);
        self.is_ahead.store(true, Ordering::Release);
        self.release();
        self.waiting.wake();
    }

    /// Lets the crossing end with its last reader.
    pub fn run_no_more_ahead(&self) {
        self.is_ahead.store(false, Ordering::Release);
        if !self.is_awaited() {
            self.abandon();
        }
    }

    /// Lets the crossing outlive its readers if the rest of its one instance is worth it.
    pub fn keep_rest(&self, length: Option<u64>) {
        self.rest.keep(length);
    }

    /// The instance will not be kept: the crossing ends with its last reader again.
    pub fn drop_rest(&self) {
        if !self.rest.drop_it() {
            return;
        }
        self.is_lingering.store(false, Ordering::Release);
        self.is_finishing.store(false, Ordering::Release);
        if !self.is_wanted() {
            self.abandon();
        }
        self.waiting.wake();
    }

    /// Counts a request that reads the instance, by a number of its own.
    pub fn read_for(&self, request: usize) {
        self.rest.read_for(request);
    }

    /// The number of followers and readers so far.
    #[must_use]
    pub fn joined(&self) -> usize {
        self.joined.load(Ordering::Acquire)
    }

    /// Whether its one instance has arrived whole, as far as known.
    #[must_use]
    pub fn has_all(&self) -> bool {
        self.rest.is_nothing(self.arrived())
    }

    /// Whether it fetches the rest of its instance, whatever its readers do.
    #[must_use]
    pub fn is_finishing(&self) -> bool {
        self.is_finishing.load(Ordering::Acquire)
    }

    /// Whether more than one follower or reader remains.
    #[must_use]
    pub fn is_shared(&self) -> bool {
        self.interested.load(Ordering::Acquire) > 1
    }

    /// Whether a follower or reader remains, or the crossing continues without.
    #[must_use]
    pub fn is_wanted(&self) -> bool {
        let is_lingering = || self.is_lingering.load(Ordering::Acquire);
        self.is_awaited() || self.is_ahead() || self.is_finishing() || is_lingering()
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
        if self.read.fetch_max(offset, Ordering::AcqRel) < offset && self.is_near() {
            self.waiting.wake();
        }
    }

    /// Whether a follower or reader remains that reads what arrives next, whatever it is.
    #[must_use]
    pub fn is_read(&self) -> bool {
        self.interested.load(Ordering::Acquire) > self.seekers.load(Ordering::Acquire)
    }

    /// Counts a follower that waits for an instance: the crossing need not wait for it.
    pub fn seek(self: &Arc<Self>) -> Seeker {
        self.seekers.fetch_add(1, Ordering::AcqRel);
        self.waiting.wake();
        Seeker(Arc::clone(self))
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
        let mut stall = Stall {
            patience,
            since: self.read(),
            timer: None,
        };
        poll_fn(|context| {
            if let Some(outcome) = self.outcome() {
                return Poll::Ready(outcome);
            }
            self.waiting.register(context.waker());
            match self.outcome() {
                Some(outcome) => Poll::Ready(outcome),
                None => stall.poll(self, context).map(Err),
            }
        })
        .await
    }

    /// Whether the crossing may read more; `None` if it has to wait.
    fn outcome(&self) -> Option<Result<(), Halt>> {
        if !self.is_wanted() {
            return Some(Err(Halt::Unwanted));
        }
        if self.seekers.load(Ordering::Acquire) > 0 {
            self.read.fetch_max(self.arrived(), Ordering::AcqRel);
        }
        self.is_near().then_some(Ok(()))
    }

    /// Whether the source is less than the window ahead.
    fn is_near(&self) -> bool {
        let ahead = self.arrived().saturating_sub(self.read());
        self.is_finishing() || ahead < self.window.load(Ordering::Acquire)
    }

    fn join(&self) {
        self.joined.fetch_add(1, Ordering::AcqRel);
        self.interested.fetch_add(1, Ordering::AcqRel);
    }

    fn leave(self: &Arc<Self>) {
        if self.interested.fetch_sub(1, Ordering::AcqRel) == 1 && !self.is_ahead() {
            self.go_on_without_readers();
        }
        self.waiting.wake();
    }

    fn go_on_without_readers(self: &Arc<Self>) {
        match self.rest.continuation(self.arrived()) {
            Continuation::End => {}
            Continuation::Linger => self.is_lingering.store(true, Ordering::Release),
            Continuation::Finish => self.is_finishing.store(true, Ordering::Release),
        }
        if !self.is_wanted() || !self.outlive() {
            self.abandon();
        }
    }
}

/// The wait of a crossing for its readers.
struct Stall {
    patience: Duration,
    /// The position of the fastest reader when the timer was set.
    since: u64,
    timer: Option<Pin<Box<Sleep>>>,
}

impl Stall {
    /// Ready once no reader has moved for too long.
    fn poll(&mut self, pace: &Pace, context: &mut Context<'_>) -> Poll<Halt> {
        loop {
            let patience = self.patience;
            let timer = self.timer.get_or_insert_with(|| Box::pin(sleep(patience)));
            if timer.as_mut().poll(context).is_pending() {
                return Poll::Pending;
            }
            let read = pace.read();
            if std::mem::replace(&mut self.since, read) == read {
                return Poll::Ready(Halt::Stalled);
            }
            self.timer = None;
        }
    }
}

/// A follower that waits for an instance, until it is dropped.
#[derive(Debug)]
pub struct Seeker(Arc<Pace>);

impl Drop for Seeker {
    fn drop(&mut self) {
        self.0.seekers.fetch_sub(1, Ordering::AcqRel);
    }
}

impl Default for Pace {
    fn default() -> Self {
        Self::new()
    }
}

/// A reader's interest in a crossing; the crossing continues while one lives.
#[derive(Debug)]
pub struct Interest(Arc<Pace>);

impl Interest {
    /// An interest in this crossing.
    #[must_use]
    pub fn of(pace: &Arc<Pace>) -> Self {
        pace.join();
        Self(Arc::clone(pace))
    }

    /// The pace of its crossing.
    #[must_use]
    pub fn pace(&self) -> &Arc<Pace> {
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
