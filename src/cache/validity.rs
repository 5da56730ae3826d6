//! For how long an instance serves, and how its source is asked whether it still has the same.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// When an instance was last known to be what its source has, and what it is called there.
#[derive(Debug)]
pub struct Validity {
    /// Seconds since 1970.
    confirmed_at: AtomicU64,
    /// The source's entity tag, quotes and all.
    etag: Option<Box<str>>,
}

impl Validity {
    /// Of what has just come.
    #[must_use]
    pub fn now(etag: Option<&str>) -> Self {
        Self::since(SystemTime::now(), etag)
    }

    /// Of what came at a time in the past.
    #[must_use]
    pub fn since(time: SystemTime, etag: Option<&str>) -> Self {
        Self {
            confirmed_at: AtomicU64::new(seconds(time)),
            etag: etag.map(Into::into),
        }
    }

    /// The source has said that it still has the same.
    pub fn confirm(&self) {
        let now = seconds(SystemTime::now());
        self.confirmed_at.store(now, Ordering::Release);
    }

    /// Whether it serves without asking, where it does so for `lifetime`. What comes from the future is
    /// asked for: the clock was wrong then or is now.
    #[must_use]
    pub fn is_fresh(&self, lifetime: Duration) -> bool {
        let now = seconds(SystemTime::now());
        let age = now.checked_sub(self.confirmed_at.load(Ordering::Acquire));
        age.is_some_and(|age| age < lifetime.as_secs())
    }

    /// The source's entity tag, quotes and all.
    #[must_use]
    pub fn etag(&self) -> Option<&str> {
        self.etag.as_deref()
    }

    /// The same for a copy in another tier.
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
