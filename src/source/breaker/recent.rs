//! The memory of single objects at an address: recent outcomes and requested rests. It is bounded.

use std::collections::hash_map::RandomState;
use std::collections::{HashMap, VecDeque};
use std::hash::BuildHasher;
use std::sync::OnceLock;
use std::time::{Duration, Instant};

/// The object of a request: a hash of its path, seeded for each process.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(in crate::source) struct Object(u64);

impl Object {
    /// The object at this path below an address.
    pub(in crate::source) fn at(path: &[&str]) -> Self {
        static SEED: OnceLock<RandomState> = OnceLock::new();
        Self(SEED.get_or_init(RandomState::new).hash_one(path))
    }
}

/// The latest outcomes, one for each object.
#[derive(Debug, Clone, Default)]
pub(super) struct Recent(VecDeque<Entry>);

#[derive(Debug, Clone, Copy)]
struct Entry {
    object: Object,
    is_good: bool,
    at: Instant,
    /// Outcomes that opened a breaker do not open it again.
    counts: bool,
}

impl Recent {
    pub(super) fn note(&mut self, object: Object, is_good: bool, now: Instant) {
        self.0
            .retain(|entry| entry.object != object && is_recent(entry.at, now));
        if self.0.len() == MOST_OUTCOMES {
            self.0.pop_front();
        }
        self.0.push_back(Entry {
            object,
            is_good,
            at: now,
            counts: true,
        });
    }

    /// The excess of failed objects over successful ones.
    pub(super) fn excess_of_failures(&self, now: Instant) -> usize {
        let counted = self.0.iter().filter(|entry| entry.counts);
        let counted = counted.filter(|entry| is_recent(entry.at, now));
        let (good, bad) = counted.fold((0_usize, 0_usize), |(good, bad), entry| {
            match entry.is_good {
                true => (good + 1, bad),
                false => (good, bad + 1),
            }
        });
        bad.saturating_sub(good)
    }

    pub(super) fn has_failed(&self, object: Object, now: Instant) -> bool {
        let is_this = |entry: &Entry| entry.object == object && is_recent(entry.at, now);
        self.0.iter().any(|entry| is_this(entry) && !entry.is_good)
    }

    /// Discounts all outcomes so far.
    pub(super) fn discount(&mut self) {
        self.0.iter_mut().for_each(|entry| entry.counts = false);
    }
}

/// Resting objects, each for the time that the server asked for.
#[derive(Debug, Clone, Default)]
pub(super) struct Rests(HashMap<Object, Instant>);

impl Rests {
    pub(super) fn add(&mut self, object: Object, until: Instant, now: Instant) {
        if self.0.len() >= MOST_RESTS {
            self.0.retain(|_, until| now < *until);
        }
        // Beyond the bound an object is requested too soon, which harms the others less.
        let has_room = self.0.len() < MOST_RESTS;
        match self.0.get_mut(&object) {
            // A shorter rest never shortens a longer one.
            Some(known) => *known = until.max(*known),
            None if has_room => drop(self.0.insert(object, until)),
            None => {}
        }
    }

    pub(super) fn wait(&self, object: Object, now: Instant) -> Option<Duration> {
        let until = self.0.get(&object)?;
        until
            .checked_duration_since(now)
            .filter(|wait| !wait.is_zero())
    }
}

pub(super) fn is_recent(at: Instant, now: Instant) -> bool {
    now.saturating_duration_since(at) < REMEMBERED
}

/// Objects with a remembered outcome.
const MOST_OUTCOMES: usize = 32;
/// The lifetime of an outcome.
pub(super) const REMEMBERED: Duration = Duration::from_secs(60);
/// Resting objects of one address.
const MOST_RESTS: usize = 1024;

#[cfg(test)]
mod tests {
    use super::*;

    fn object(number: usize) -> Object {
        Object::at(&[&number.to_string()])
    }

    #[test]
    fn an_object_counts_once_and_is_forgotten_after_a_minute() {
        let now = Instant::now();
        let mut recent = Recent::default();
        (0..10).for_each(|_| recent.note(object(1), false, now));
        assert_eq!(recent.excess_of_failures(now), 1);
        recent.note(object(2), false, now);
        assert_eq!(recent.excess_of_failures(now), 2);
        recent.note(object(1), true, now);
        assert_eq!(recent.excess_of_failures(now), 0);
        assert!(recent.has_failed(object(2), now) && !recent.has_failed(object(1), now));
        assert!(!recent.has_failed(object(2), now + REMEMBERED));
    }

    #[test]
    fn whatever_is_asked_for_memory_is_bounded() {
        let now = Instant::now();
        let (mut recent, mut rests) = (Recent::default(), Rests::default());
        for number in 0..3 * MOST_RESTS {
            recent.note(object(number), false, now);
            rests.add(object(number), now + REMEMBERED, now);
        }
        assert_eq!(recent.0.len(), MOST_OUTCOMES);
        assert_eq!(rests.0.len(), MOST_RESTS);
        // Expired entries free their place.
        let later = now + REMEMBERED;
        rests.add(object(0), later + REMEMBERED, later);
        assert_eq!(rests.0.len(), 1);
    }

    #[test]
    fn an_object_rests_for_the_longest_time_that_was_asked_for() {
        let now = Instant::now();
        let mut rests = Rests::default();
        let second = Duration::from_secs(1);
        rests.add(object(1), now + 3 * second, now);
        rests.add(object(1), now + second, now);
        assert_eq!(rests.wait(object(1), now), Some(3 * second));
        assert_eq!(rests.wait(object(2), now), None);
        assert_eq!(rests.wait(object(1), now + 3 * second), None);
    }
}
