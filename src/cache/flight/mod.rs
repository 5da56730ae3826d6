//! One fetch of one instance, and everybody who reads it while it arrives.
//!
//! Readers follow from the start, each at its own pace. What has arrived stays in memory as long as
//! the instance is small enough and the room for all flights together is not used up. Beyond that
//! it goes to a file that the readers follow; without a disk the flight *passes by*: what all its
//! readers have read is let go, the slowest one holds up the source, and nobody can join any more.

mod budget;
mod reader;
mod state;
mod writer;

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;

use super::pace::{Interest, Pace};
use super::{Cache, Description, Entry, Key, Validity};
use crate::body::Body;
use crate::dicom::part10::Identity;
pub(super) use budget::Budget;
use reader::Reader;
use state::{Next, State, Storage};
pub use writer::{Unread, Writer};

/// An instance that is arriving.
#[derive(Debug)]
pub struct Flight {
    /// What it will be kept as.
    pub key: Key,
    /// Which instance it is, read from its own bytes.
    pub identity: Identity,
    /// Its exact length, where the source is bound to one.
    pub length: Option<u64>,
    /// For how long it will serve.
    validity: Validity,
    /// Where it begins in what the fetch brings.
    base: u64,
    pace: Arc<Pace>,
    budget: Arc<Budget>,
    state: Mutex<State>,
    moved: Notify,
    /// Whether it was forgotten while it was under way, and must not be kept.
    is_forgotten: AtomicBool,
    /// Whether its file proved damaged: nobody can read it from the start any more.
    is_spoilt: AtomicBool,
    /// Whether a follower of the fetch does without it.
    is_passed_over: AtomicBool,
}

impl Flight {
    /// Where it begins in what the fetch brings.
    #[must_use]
    pub fn base(&self) -> u64 {
        self.base
    }

    /// Where it ends in what the fetch brings, as far as it has arrived.
    #[must_use]
    pub fn reach(&self) -> u64 {
        self.base + self.state().arrived
    }

    /// Whether somebody can still read it from the start.
    #[must_use]
    pub fn can_be_joined(&self) -> bool {
        let state = self.state();
        !matches!(state.end, Some(Err(_)))
            && !matches!(state.storage, Storage::Passing)
            && !self.is_forgotten()
    }

    /// Whether it is kept, as far as can be told now, if it arrives whole.
    #[must_use]
    pub fn will_be_kept(&self) -> bool {
        !self.is_forgotten() && !matches!(self.state().storage, Storage::Passing)
    }

    /// The bytes from the start, as they arrive. The fetch goes on at least as long as somebody
    /// reads here. `None` if the start is gone.
    #[must_use]
    pub fn follow(self: &Arc<Self>) -> Option<Body> {
        if self.is_spoilt() {
            return None;
        }
        let reader = {
            let mut state = self.state();
            // A flight that has only begun to pass by holds no chunk yet, and has its start still.
            if state.let_go > 0 {
                return None;
            }
            let reader = state.next_reader;
            state.next_reader += 1;
            state.readers.insert(reader, 0);
            reader
        };
        let reading = Reader {
            flight: Arc::clone(self),
            reader,
            offset: 0,
            _interest: Interest::of(&self.pace),
        };
        Some(Body::generate(self.length, |out| reading.emit(out)))
    }

    /// Whether its bytes count in this pace.
    #[must_use]
    pub fn is_of(&self, pace: &Pace) -> bool {
        std::ptr::eq(&*self.pace, pace)
    }

    /// A follower of the fetch goes on past this flight without reading it. What is still to come of it
    /// does not wait for that follower either.
    pub fn pass_over(&self) {
        self.is_passed_over.store(true, Ordering::Release);
        self.pace.read_to(self.reach());
        self.moved.notify_waiters();
    }

    fn is_passed_over(&self) -> bool {
        self.is_passed_over.load(Ordering::Acquire)
    }

    /// Whether its first reader may still come.
    fn is_expected(&self, state: &State) -> bool {
        // The one that has passed it over does not; another follower may.
        let may_come = !self.is_passed_over() || self.pace.is_shared();
        state.next_reader == 0 && self.pace.is_awaited() && may_come
    }

    /// Lets go what the fastest reader has read; slower ones find it gone.
    fn leave_behind(&self) {
        let mut state = self.state();
        let fastest = state.fastest();
        state.let_go_until(fastest);
        drop(state);
        self.moved.notify_waiters();
    }

    fn next(&self, reader: u64, offset: u64) -> Next {
        let mut state = self.state();
        // What was given before is read by now: the reader has come back for more.
        state.readers.insert(reader, offset);
        if offset < state.arrived {
            return state.at(offset);
        }
        match &state.end {
            Some(Ok(())) => Next::End,
            Some(Err(error)) => Next::Failed(error.clone()),
            None => Next::Wait,
        }
    }

    fn leave(&self, reader: u64) {
        self.state().readers.remove(&reader);
        self.moved.notify_waiters();
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether somebody waits for what the fetch brings.
    pub(super) fn is_awaited(&self) -> bool {
        self.pace.is_awaited()
    }

    /// Keeps it out of the tiers whatever becomes of it.
    pub(super) fn forget(&self) {
        self.is_forgotten.store(true, Ordering::Release);
    }

    /// Its file proved damaged, or cannot be read: it is not kept, and whoever needs it fetches it again.
    /// For a while nothing new goes to the disk as it comes.
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
