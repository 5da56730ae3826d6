//! The rest of an instance that its last reader has not read: whether it is worth fetching.

use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

/// The time that a crossing waits for the next reader of its instance.
pub const LINGER: Duration = Duration::from_secs(10);

/// A rest of at most this size is little, whatever the length of the instance.
const LITTLE: u64 = 4 << 20;
/// So is this share of an instance.
const LITTLE_SHARE: u64 = 8;

/// The continuation of a crossing without readers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Continuation {
    /// It ends.
    End,
    /// It waits for another reader, at most its window ahead of the last one.
    Linger,
    /// It fetches the rest of its instance.
    Finish,
}

/// What is known of an instance when its last reader leaves.
#[derive(Debug, Clone, Copy)]
struct Progress {
    /// Whether a tier will keep it.
    is_kept: bool,
    /// Whether more than one request has read it.
    has_second_request: bool,
    /// Bytes that have arrived.
    arrived: u64,
    length: Option<u64>,
}

impl Progress {
    /// A reader of one part tends to read a second one. One that does reads on; the first one alone
    /// may have been a mistake, which must not cost the whole instance.
    fn continuation(self) -> Continuation {
        let left = self
            .length
            .map(|length| length.saturating_sub(self.arrived));
        let share = self.length.map_or(0, |length| length / LITTLE_SHARE);
        let is_little = left.is_some_and(|left| left <= share.max(LITTLE));
        match (self.is_kept, is_little || self.has_second_request) {
            (false, _) => Continuation::End,
            (true, false) => Continuation::Linger,
            (true, true) => Continuation::Finish,
        }
    }
}

/// The one instance of a crossing, as far as it matters without readers. A crossing of a series has
/// none.
#[derive(Debug)]
pub(super) struct Rest {
    is_kept: AtomicBool,
    /// [`u64::MAX`]: not known.
    length: AtomicU64,
    /// The request that the crossing began for; 0: not known.
    first_request: AtomicUsize,
    has_second_request: AtomicBool,
}

impl Default for Rest {
    fn default() -> Self {
        Self {
            is_kept: AtomicBool::new(false),
            length: AtomicU64::new(u64::MAX),
            first_request: AtomicUsize::new(0),
            has_second_request: AtomicBool::new(false),
        }
    }
}

impl Rest {
    pub(super) fn keep(&self, length: Option<u64>) {
        self.length
            .store(length.unwrap_or(u64::MAX), Ordering::Release);
        self.is_kept.store(true, Ordering::Release);
    }

    /// Whether it was to be kept until now.
    pub(super) fn drop_it(&self) -> bool {
        self.is_kept.swap(false, Ordering::AcqRel)
    }

    /// Whether nothing is left of it.
    pub(super) fn is_nothing(&self, arrived: u64) -> bool {
        self.is_kept.load(Ordering::Acquire) && arrived >= self.length.load(Ordering::Acquire)
    }

    pub(super) fn read_for(&self, request: usize) {
        let first = &self.first_request;
        let (acquire, free) = (Ordering::Acquire, 0);
        let known = first.compare_exchange(free, request, Ordering::AcqRel, acquire);
        if known.is_err_and(|known| known != request) {
            self.has_second_request.store(true, Ordering::Release);
        }
    }

    pub(super) fn continuation(&self, arrived: u64) -> Continuation {
        let length = self.length.load(Ordering::Acquire);
        Progress {
            is_kept: self.is_kept.load(Ordering::Acquire),
            has_second_request: self.has_second_request.load(Ordering::Acquire),
            arrived,
            length: (length != u64::MAX).then_some(length),
        }
        .continuation()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIB: u64 = 1 << 20;

    #[test]
    fn a_rest_is_fetched_if_it_is_little_or_a_second_request_came() {
        use Continuation::{End, Finish, Linger};
        let none = None;
        for (is_kept, has_second_request, arrived, length, continuation) in [
            // Nothing keeps it.
            (false, true, 199 * MIB, Some(200 * MIB), End),
            (false, false, 0, none, End),
            // One request has read a part.
            (true, false, MIB, Some(200 * MIB), Linger),
            (true, false, 174 * MIB, Some(200 * MIB), Linger),
            (true, false, 199 * MIB, none, Linger),
            // Little is left.
            (true, false, 175 * MIB, Some(200 * MIB), Finish),
            (true, false, 0, Some(4 * MIB), Finish),
            (true, false, 0, Some(4 * MIB + 1), Linger),
            (true, false, 201 * MIB, Some(200 * MIB), Finish),
            // Another request has read a part too.
            (true, true, MIB, Some(200 * MIB), Finish),
            (true, true, 0, none, Finish),
        ] {
            let progress = Progress {
                is_kept,
                has_second_request,
                arrived,
                length,
            };
            assert_eq!(progress.continuation(), continuation, "{progress:?}");
        }
    }

    #[test]
    fn one_request_may_read_more_than_once() {
        let rest = Rest::default();
        assert_eq!(rest.continuation(MIB), Continuation::End);
        rest.keep(None);
        rest.read_for(7);
        rest.read_for(7);
        assert_eq!(rest.continuation(MIB), Continuation::Linger);
        rest.read_for(8);
        assert_eq!(rest.continuation(MIB), Continuation::Finish);
        assert!(rest.drop_it() && !rest.drop_it());
        assert_eq!(rest.continuation(MIB), Continuation::End);
    }
}
