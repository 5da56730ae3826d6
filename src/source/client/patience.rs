//! Time-outs of a response body: the source must be neither silent nor too slow.
//!
//! Only time spent waiting for the source counts. A stalled client costs the source no patience.

use std::time::Duration;

use crate::body;

/// A store of time: waiting drains it, arriving bytes refill it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Patience {
    /// Its capacity.
    most: Duration,
    left: Duration,
    /// The bytes per second that balance the waiting; 0: each byte refills it.
    slowest: u64,
}

impl Patience {
    pub(super) fn new(silence: Duration, slowest_bytes_per_second: u64) -> Self {
        Self {
            most: silence,
            left: silence,
            slowest: slowest_bytes_per_second,
        }
    }

    /// The time-out for the next bytes.
    pub(super) fn left(&self) -> Duration {
        self.left
    }

    /// Records bytes, and the wait for them.
    pub(super) fn received(&mut self, bytes: usize, waited: Duration) {
        // Exact enough for any network.
        let bytes = u32::try_from(bytes).map_or(f64::MAX, f64::from);
        let earned = match self.slowest {
            0 => self.most,
            #[expect(clippy::cast_precision_loss, reason = "it is a rate, not an account")]
            slowest => {
                let seconds = bytes / slowest as f64;
                Duration::try_from_secs_f64(seconds).unwrap_or(self.most)
            }
        };
        let left = self.left.saturating_sub(waited);
        self.left = left.saturating_add(earned).min(self.most);
    }

    /// The error once the store is empty.
    pub(super) fn failure(&self) -> body::Error {
        if self.left == self.most {
            body::Error::Silent
        } else {
            body::Error::TooSlow
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn a_byte_a_second_is_not_waited_for_longer_than_silence() {
        let mut patience = Patience::new(30 * SECOND, 1024);
        assert_eq!(patience.failure(), body::Error::Silent);
        let mut seconds = 0;
        while patience.left() > SECOND {
            patience.received(1, SECOND);
            seconds += 1;
        }
        assert!((28..=30).contains(&seconds), "{seconds}");
        assert_eq!(patience.failure(), body::Error::TooSlow);
    }

    #[test]
    fn a_source_at_the_slowest_rate_is_waited_for_for_ever() {
        let mut patience = Patience::new(30 * SECOND, 1024);
        // Bursts are allowed too, if no gap exceeds the silence limit.
        for (bytes, waited) in [(1024, SECOND), (20 << 10, 20 * SECOND)] {
            for _ in 0..10_000 {
                patience.received(bytes, waited);
            }
            assert!(patience.left() >= 29 * SECOND - waited);
        }
    }

    #[test]
    fn a_burst_does_not_buy_more_than_one_silence() {
        let mut patience = Patience::new(30 * SECOND, 1024);
        patience.received(usize::MAX, Duration::ZERO);
        assert_eq!(patience.left(), 30 * SECOND);
    }

    #[test]
    fn without_a_slowest_rate_each_byte_is_enough() {
        let mut patience = Patience::new(2 * SECOND, 0);
        for _ in 0..100 {
            patience.received(1, SECOND);
            assert_eq!(patience.left(), 2 * SECOND);
        }
        assert_eq!(patience.failure(), body::Error::Silent);
    }
}
