//! The freshness of a cached instance, and the data for its revalidation.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// The last confirmation by the source, and its entity tag.
#[derive(Debug)]
pub struct Validity {
    /// Seconds since 1970.
    confirmed_at: AtomicU64,
    /// The source's entity tag, with quotes.
    etag: Option<Box<str>>,
}

impl Validity {
    /// The validity of an instance that just arrived.
    #[must_use]
    pub fn now(etag: Option<&str>) -> Self {
        Self::since(SystemTime::now(), etag)
    }

    /// The validity of an instance from a time in the past.
    #[must_use]
    pub fn since(time: SystemTime, etag: Option<&str>) -> Self {
        Self {
            confirmed_at: AtomicU64::new(seconds(time)),
            etag: etag.map(Into::into),
        }
    }

    /// Records a confirmation by the source.
    pub fn confirm(&self) {
        let now = seconds(SystemTime::now());
        self.confirmed_at.store(now, Ordering::Release);
    }

    /// Whether it is fresh for `lifetime`. A time in the future requires revalidation: the clock
    /// was wrong then or is wrong now.
    #[must_use]
    pub fn is_fresh(&self, lifetime: Duration) -> bool {
        let now = seconds(SystemTime::now());
        let age = now.checked_sub(self.confirmed_at.load(Ordering::Acquire));
        age.is_some_and(|age| age < lifetime.as_secs())
    }

    /// The source's entity tag, with quotes.
    #[must_use]
    pub fn etag(&self) -> Option<&str> {
        self.etag.as_deref()
    }

    /// A copy for another tier.
    #[must_use]
    pub fn copied(&self) -> Self {
        Self {
            confirmed_at: AtomicU64::new(self.confirmed_at.load(Ordering::Acquire)),
            etag: self.etag.clone(),
        }
    }
}

fn seconds(time: SystemTime) -> u64 {
    time.duration_since(UNIX_EPOCH)
        .map_or(0, |since| since.as_secs())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_fresh_for_its_lifetime_and_again_once_it_is_confirmed() {
        let hour = Duration::from_secs(60 * 60);
        let validity = Validity::since(SystemTime::now() - 2 * hour, Some("\"a\""));
        assert!(validity.is_fresh(3 * hour) && !validity.is_fresh(hour));
        assert!(!validity.copied().is_fresh(hour));
        validity.confirm();
        assert!(validity.is_fresh(hour) && validity.copied().is_fresh(hour));
        assert!(!validity.is_fresh(Duration::ZERO), "0 asks each time");
        assert!(!Validity::since(SystemTime::now() + hour, None).is_fresh(hour));
    }
}
