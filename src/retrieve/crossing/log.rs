//! What a crossing has brought so far, within a bound.
//!
//! Followers read the same log, each at its own place. Entries that all of them have passed stay for
//! those who come later, up to [`FOR_LATE_FOLLOWERS`]; beyond that the oldest are released.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::{Arc, Weak};
use std::time::Instant;

use crate::cache::Flight;
use crate::cache::pace::{Pace, WINDOW};
use crate::dicom::SopInstanceUid;
use crate::dicom::part10::Identity;
use crate::digest::Digest;
use crate::source;

/// Instances of one answer: as many as a manifest may list.
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
    /// The flight that brings it, if that is still to be had.
    pub(in crate::retrieve) fn flight(&self) -> Option<Arc<Flight>> {
        self.flight.upgrade()
    }
}

/// What has come of a question, and who has seen how much of that.
#[derive(Debug, Default)]
pub(super) struct Log {
    pub(super) opened: Option<Instant>,
    /// Whether the source has begun to answer, and if so whether it says that this is only some of it.
    pub(super) is_partial: Option<bool>,
    /// Whether it is for its first follower only: nothing of it is kept.
    pub(super) is_sole: bool,
    /// Whether the source gave one instance twice, with different bytes.
    pub(super) is_contested: bool,
    pub(super) end: Option<Result<(), source::Error>>,
    arrived: VecDeque<ArrivedInstance>,
    /// Entries before the first of `arrived`.
    released: usize,
    /// At which place how many followers are.
    places: BTreeMap<usize, usize>,
    /// Where in the log each instance is, by the digest of its UID: no more than 40 bytes for each.
    seen: HashMap<Digest, usize>,
    /// Flights that nothing else may keep, and their places.
    held: VecDeque<(usize, Arc<Flight>)>,
}

impl Log {
    /// Instances that have arrived.
    pub(super) fn count(&self) -> usize {
        self.released + self.arrived.len()
    }

    /// Whether a follower that comes now sees all of it.
    pub(super) fn is_complete(&self) -> bool {
        self.released == 0
    }

    pub(super) fn is_full(&self) -> bool {
        self.count() >= MOST_INSTANCES
    }

    pub(super) fn has_seen(&self, uid: &SopInstanceUid) -> bool {
        self.place_of(uid).is_some()
    }

    /// Where an instance is, which may have been released.
    pub(super) fn place_of(&self, uid: &SopInstanceUid) -> Option<usize> {
        self.seen.get(&Digest::of(uid.as_str().as_bytes())).copied()
    }

    /// The entry at a place, if it is here.
    pub(super) fn at(&self, place: usize) -> Option<&ArrivedInstance> {
        self.arrived.get(place.checked_sub(self.released)?)
    }

    /// Whether the entry at a place is gone.
    pub(super) fn has_released(&self, place: usize) -> bool {
        place < self.released
    }

    /// Gives a new follower its place.
    pub(super) fn join(&mut self) -> usize {
        *self.places.entry(self.released).or_default() += 1;
        self.released
    }

    /// A follower goes on to another place.
    pub(super) fn go(&mut self, from: usize, to: usize) {
        *self.places.entry(to).or_default() += 1;
        self.leave(from);
    }

    /// A follower has seen enough.
    pub(super) fn leave(&mut self, place: usize) {
        if let Some(count) = self.places.get_mut(&place) {
            *count -= 1;
            if *count == 0 {
                self.places.remove(&place);
            }
        }
        self.release();
    }

    /// An instance arrives, with its flight if it does not come from a tier.
    pub(super) fn add(&mut self, identity: Identity, flight: Option<&Arc<Flight>>, pace: &Pace) {
        self.let_go(pace);
        let place = self.count();
        let uid = Digest::of(identity.sop_instance.as_str().as_bytes());
        self.seen.insert(uid, place);
        // What runs ahead is found where it is kept; a flight of another crossing is held by that one.
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
    }

    /// Nothing more arrives. Followers hold what they need, and what has landed is kept elsewhere.
    pub(super) fn close(&mut self, outcome: Result<(), source::Error>) {
        self.end = Some(outcome);
        self.seen = HashMap::new();
    }

    /// Lets go the flights that the fastest follower has passed. One that is kept nowhere stays for slower
    /// followers, as long as no more than [`WINDOW`] has been read since.
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

    /// The place of the slowest follower.
    fn slowest(&self) -> usize {
        let first = self.places.first_key_value();
        first.map_or(usize::MAX, |(place, _)| *place)
    }
}

#[cfg(test)]
#[path = "log_tests.rs"]
mod tests;
