//! A flight: one instance on its way into the cache, readable while it arrives.
//!
//! Each reader starts at the first byte and reads at its own pace. Small instances stay in memory
//! while the budget of all flights allows. Larger ones spill to a file, and the readers follow it.
//! Without a disk the flight *passes by*: bytes read by all readers are dropped, the slowest reader
//! slows the source, and no new reader can join.

mod budget;
mod reader;
mod state;
mod writer;

use std::future::poll_fn;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};

use super::pace::{Interest, Pace};
use super::{Cache, Description, Entry, Key, Validity};
use crate::body::Body;
use crate::dicom::part10::Identity;
use crate::digest::Digest;
pub(super) use budget::Budget;
use reader::Reader;
use state::{Next, State, Storage};
pub use writer::{Unread, Writer};

/// An arriving instance.
#[derive(Debug)]
pub struct Flight {
    /// No other flight has this number.
    pub number: u64,
    /// Its cache key.
    pub key: Key,
    /// Its identity, parsed from its own bytes.
    pub identity: Identity,
    /// Its exact length, if the source guarantees one.
    pub length: Option<u64>,
    /// Its freshness.
    validity: Validity,
    /// Its position in the crossing.
    base: u64,
    pace: Arc<Pace>,
    budget: Arc<Budget>,
    state: Mutex<State>,
    /// Whether a purge forbids caching it.
    is_forgotten: AtomicBool,
    /// Whether its spill file is damaged; new readers cannot start then.
    is_spoilt: AtomicBool,
    /// Whether a follower of the crossing skips it.
    is_passed_over: AtomicBool,
}

impl Flight {
    /// Its first byte's position in the crossing.
    #[must_use]
    pub fn base(&self) -> u64 {
        self.base
    }

    /// The end of its arrived bytes, as a position in the crossing.
    #[must_use]
    pub fn reach(&self) -> u64 {
        self.base + self.state().arrived
    }

    /// Whether a new reader can start at the first byte.
    #[must_use]
    pub fn can_be_joined(&self) -> bool {
        let state = self.state();
        !matches!(state.end, Some(Err(_)))
            && !matches!(state.storage, Storage::Passing)
            && !self.is_forgotten()
    }

    /// Whether the cache will accept it once complete, as far as known now.
    #[must_use]
    pub fn will_be_kept(&self) -> bool {
        !self.is_forgotten() && !matches!(self.state().storage, Storage::Passing)
    }

    /// The bytes from the start, as they arrive. The crossing continues at least while this body is
    /// read. `None` if the start has been dropped.
    #[must_use]
    pub fn follow(self: &Arc<Self>) -> Option<Body> {
        if self.is_spoilt() {
            return None;
        }
        let reader = {
            let mut state = self.state();
            // A flight that just began to pass by still has its start.
            if state.let_go > 0 {
                return None;
            }
            state.join()
        };
        let reading = Reader {
            flight: Arc::clone(self),
            reader,
            offset: 0,
            _interest: Interest::of(&self.pace),
        };
        Some(Body::skippable(self.length, |out, skip| {
            reading.emit(out, skip)
        }))
    }

    /// The last offset at or before this one up to which the digest of all bytes is known, and that
    /// digest.
    #[must_use]
    pub fn mark_before(&self, offset: u64) -> Option<(u64, Digest)> {
        self.state().mark_before(offset)
    }

    /// Whether its bytes count in this pace.
    #[must_use]
    pub fn is_of(&self, pace: &Pace) -> bool {
        std::ptr::eq(&*self.pace, pace)
    }

    /// Records that a follower of the crossing skips this flight. Its remaining bytes do not wait
    /// for that follower either.
    pub fn pass_over(&self) {
        self.is_passed_over.store(true, Ordering::Release);
        self.pace.read_to(self.reach());
        self.state().wake_writer();
    }

    fn is_passed_over(&self) -> bool {
        self.is_passed_over.load(Ordering::Acquire)
    }

    /// Whether its first reader may still come.
    fn is_expected(&self, state: &State) -> bool {
        // The skipping follower does not come; another follower may.
        let may_come = !self.is_passed_over() || self.pace.is_shared();
        state.next_reader == 0 && self.pace.is_awaited() && may_come
    }

    /// Drops the bytes read by the fastest reader; slower readers fail.
    fn leave_behind(&self) {
        let mut state = self.state();
        let fastest = state.fastest();
        state.let_go_until(fastest);
        state.wake_readers();
    }

    /// The next step of a reader that has consumed all bytes before `offset`.
    fn poll_next(&self, reader: u64, offset: u64, context: &mut Context<'_>) -> Poll<Next> {
        self.pace.read_to(self.base + offset);
        loop {
            let next = {
                let mut state = self.state();
                state.go(reader, offset);
                state.next(offset)
            };
            if let Some(next) = next {
                return Poll::Ready(next);
            }
            if !self.pace.drive(context) {
                break;
            }
        }
        let mut state = self.state();
        if let Some(next) = state.next(offset) {
            return Poll::Ready(next);
        }
        state.wait(reader, context.waker());
        Poll::Pending
    }

    /// Waits until a reader moves or leaves, after so many moves.
    async fn moved(&self, moves: u64) {
        poll_fn(|context| {
            let mut state = self.state();
            if state.moves != moves {
                return Poll::Ready(());
            }
            state.writer = Some(context.waker().clone());
            Poll::Pending
        })
        .await;
    }

    fn leave(&self, reader: u64) {
        self.state().leave(reader);
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether a reader waits for the crossing.
    pub(super) fn is_awaited(&self) -> bool {
        self.pace.is_awaited()
    }

    /// Counts a request that reads it, by a number of its own.
    pub fn read_for(&self, request: usize) {
        self.pace.read_for(request);
    }

    /// Whether it has, or had, a reader.
    pub(super) fn has_been_read(&self) -> bool {
        self.state().next_reader > 0
    }

    /// Keeps it out of the tiers.
    pub(super) fn forget(&self) {
        self.is_forgotten.store(true, Ordering::Release);
        self.pace.drop_rest();
    }

    /// Marks its spill file as damaged: it is not cached, its readers fetch it again, and flights
    /// do not spill for a while.
    fn spoil(&self) {
        self.is_spoilt.store(true, Ordering::Release);
        self.forget();
        self.budget.rest_spill();
    }

    fn is_spoilt(&self) -> bool {
        self.is_spoilt.load(Ordering::Acquire)
    }

    pub(super) fn is_forgotten(&self) -> bool {
        self.is_forgotten.load(Ordering::Acquire)
    }
}

impl Drop for Flight {
    fn drop(&mut self) {
        let taken = self.state().reserved;
        self.budget.give_back(taken);
    }
}

#[cfg(test)]
mod tests;
