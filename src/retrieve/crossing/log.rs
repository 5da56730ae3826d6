//! The bounded log of the instances that a crossing has brought.
//!
//! Followers read the same log, each at its own position. Entries that all of them have passed stay
//! for later followers, up to [`FOR_LATE_FOLLOWERS`]; beyond that the oldest are released.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::{Arc, Weak};
use std::task::Waker;
use std::time::Instant;

use crate::cache::Flight;
use crate::cache::pace::{Pace, WINDOW};
use crate::dicom::part10::Identity;
use crate::dicom::{SeriesInstanceUid, SopInstanceUid};
use crate::digest::Digest;
use crate::source;

/// The most instances of one answer, equal to the most that a manifest may list.
pub(in crate::retrieve) const MOST_INSTANCES: usize = 200_000;
/// Entries that stay although all followers have passed them.
const FOR_LATE_FOLLOWERS: usize = 4096;

/// An instance that arrived.
#[derive(Debug, Clone)]
pub(in crate::retrieve) struct ArrivedInstance {
    pub(in crate::retrieve) identity: Identity,
    flight: Weak<Flight>,
}

impl ArrivedInstance {
    /// The flight that brings it, if it still exists.
    pub(in crate::retrieve) fn flight(&self) -> Option<Arc<Flight>> {
        self.flight.upgrade()
    }
}

/// The instances that have arrived, and the positions of the followers.
#[derive(Debug, Default)]
pub(super) struct Log {
    pub(super) opened: Option<Instant>,
    /// Whether the source has begun to answer, and if so, whether it declares its answer partial.
    pub(super) is_partial: Option<bool>,
    /// Whether the crossing serves its first follower only, because the cache stores nothing of it.
    pub(super) is_sole: bool,
    /// Whether the source sent one instance twice, with different bytes.
    pub(super) is_contested: bool,
    pub(super) end: Option<Result<(), source::Error>>,
    arrived: VecDeque<ArrivedInstance>,
    /// Entries before the first of `arrived`.
    released: usize,
    /// The number of followers at each position.
    places: BTreeMap<usize, usize>,
    /// The position of each instance by its mark, at most 40 bytes per instance.
    seen: HashMap<Digest, usize>,
    /// Flights that may have no other owner, and their positions.
    held: VecDeque<(usize, Arc<Flight>)>,
    /// The number of the next follower.
    next_follower: u64,
    /// Each with what wakes it.
    waiting: Vec<Waiting>,
}

/// The event for which a follower waits. It is woken by this event, not by each instance.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Awaited {
    /// The source begins to answer.
    Opening,
    /// The log has an entry at this position.
    Place(usize),
    /// An instance arrives, by its mark.
    Instance(Digest),
    /// The log is closed.
    End,
}

#[derive(Debug)]
struct Waiting {
    follower: u64,
    event: Awaited,
    waker: Waker,
}

impl Log {
    /// The number of instances that have arrived.
    pub(super) fn count(&self) -> usize {
        self.released + self.arrived.len()
    }

    /// Whether a follower that joins now sees the whole log.
    pub(super) fn is_complete(&self) -> bool {
        self.released == 0
    }

    pub(super) fn is_full(&self) -> bool {
        self.count() >= MOST_INSTANCES
    }

    pub(super) fn has_seen(&self, identity: &Identity) -> bool {
        self.place_of(mark_of(identity)).is_some()
    }

    /// The position of an instance, which may have been released.
    pub(super) fn place_of(&self, mark: Digest) -> Option<usize> {
        self.seen.get(&mark).copied()
    }

    /// The number of a new follower.
    pub(super) fn number(&mut self) -> u64 {
        self.next_follower += 1;
        self.next_follower
    }

    /// Lets a follower that waits for nothing be woken by an event.
    pub(super) fn wait(&mut self, follower: u64, event: Awaited, waker: &Waker) {
        self.waiting.push(Waiting {
            follower,
            event,
            waker: waker.clone(),
        });
    }

    /// Lets a follower wait for nothing.
    pub(super) fn wait_no_more(&mut self, follower: u64) {
        self.waiting.retain(|known| known.follower != follower);
    }

    /// Wakes the followers that wait for such an event.
    fn wake(&mut self, is_event: impl Fn(Awaited) -> bool) {
        let woken = self
            .waiting
            .extract_if(.., |waiting| is_event(waiting.event));
        woken.for_each(|waiting| waiting.waker.wake());
    }

    /// Wakes all followers, for a change that concerns all of them.
    pub(super) fn wake_all(&mut self) {
        self.wake(|_event| true);
    }

    /// The first entry from a position on that is this instance, and its position.
    pub(super) fn find_from(
        &self,
        place: usize,
        uid: &SopInstanceUid,
    ) -> Option<(usize, ArrivedInstance)> {
        let skipped = place.saturating_sub(self.released);
        let entries = self.arrived.iter().enumerate().skip(skipped);
        let mut found = entries.filter(|(_, entry)| entry.identity.sop_instance == *uid);
        found
            .next()
            .map(|(at, entry)| (self.released + at, entry.clone()))
    }

    /// The entry at a position, unless released.
    pub(super) fn at(&self, place: usize) -> Option<&ArrivedInstance> {
        self.arrived.get(place.checked_sub(self.released)?)
    }

    /// Whether the entry at a position has been released.
    pub(super) fn has_released(&self, place: usize) -> bool {
        place < self.released
    }

    /// Adds a follower and returns its position.
    pub(super) fn join(&mut self) -> usize {
        *self.places.entry(self.released).or_default() += 1;
        self.released
    }

    /// Moves a follower to another position.
    pub(super) fn go(&mut self, from: usize, to: usize) {
        *self.places.entry(to).or_default() += 1;
        self.leave(from);
    }

    /// Removes a follower.
    pub(super) fn leave(&mut self, place: usize) {
        if let Some(count) = self.places.get_mut(&place) {
            *count -= 1;
            if *count == 0 {
                self.places.remove(&place);
            }
        }
        self.release();
    }

    /// Adds an instance, with its flight if it does not come from a tier. Returns whether a
    /// follower has waited for it.
    pub(super) fn add(
        &mut self,
        identity: Identity,
        flight: Option<&Arc<Flight>>,
        pace: &Pace,
    ) -> bool {
        self.let_go(pace);
        let place = self.count();
        let mark = mark_of(&identity);
        self.seen.insert(mark, place);
        // Readers find a look-ahead flight in the cache; a flight of another crossing is held by
        // that crossing.
        if let Some(flight) = flight
            && flight.is_of(pace)
            && (!pace.is_ahead() || !flight.will_be_kept())
        {
            self.held.push_back((place, Arc::clone(flight)));
        }
        self.arrived.push_back(ArrivedInstance {
            identity,
            flight: flight.map_or_else(Weak::new, Arc::downgrade),
        });
        self.release();
        let waiting = self.waiting.len();
        self.wake(|event| match event {
            Awaited::Place(awaited) => awaited <= place,
            Awaited::Instance(awaited) => awaited == mark,
            Awaited::Opening => place == 0,
            Awaited::End => false,
        });
        self.waiting.len() < waiting
    }

    /// Closes the log. Followers hold the flights that they need, and landed flights are in the
    /// cache.
    pub(super) fn close(&mut self, outcome: Result<(), source::Error>) {
        self.end = Some(outcome);
        self.seen = HashMap::new();
        self.wake_all();
    }

    /// Drops the flights that the fastest follower has passed. A flight without a place in the
    /// cache stays for slower followers until [`WINDOW`] has been read since.
    fn let_go(&mut self, pace: &Pace) {
        let read = pace.read();
        let slowest = self.slowest();
        while let Some((place, flight)) = self.held.front() {
            let is_passed = flight.reach() <= read;
            let is_wanted = *place >= slowest && !flight.will_be_kept();
            let is_near = read.saturating_sub(flight.base()) <= WINDOW;
            if !is_passed || (is_wanted && is_near) {
                return;
            }
            self.held.pop_front();
        }
    }

    fn release(&mut self) {
        let slowest = self.slowest();
        while self.arrived.len() > FOR_LATE_FOLLOWERS && self.released < slowest {
            self.arrived.pop_front();
            self.released += 1;
        }
    }

    /// The position of the slowest follower.
    fn slowest(&self) -> usize {
        let first = self.places.first_key_value();
        first.map_or(usize::MAX, |(place, _)| *place)
    }
}

/// Tells the instances of an answer apart. One SOP Instance UID may stand in two series, although
/// DICOM forbids it.
pub(super) fn mark(series: &SeriesInstanceUid, uid: &SopInstanceUid) -> Digest {
    Digest::of(format!("{series} {uid}").as_bytes())
}

pub(super) fn mark_of(identity: &Identity) -> Digest {
    mark(&identity.series, &identity.sop_instance)
}

#[cfg(test)]
#[path = "log_tests.rs"]
mod tests;
