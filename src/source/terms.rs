//! The terms of use of a source: concurrency and freshness.

use std::time::Duration;

/// The terms of use of a source.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Terms {
    /// Concurrent streams.
    pub connections: usize,
    /// Requests that may wait for a seat.
    pub queue: usize,
    /// The freshness of its instances.
    pub freshness: Freshness,
    /// Whether it decides for each user: then nothing that one user has got answers another.
    pub is_per_user: bool,
}

/// The freshness lifetime (RFC 9111 4.2), from our settings: sources of images seldom state one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Freshness {
    /// Time for which it serves without asking.
    pub lifetime: Duration,
    /// Whether `Cache-Control: no-store` is obeyed.
    pub obeys_no_store: bool,
}

impl Freshness {
    /// As settings write it.
    #[must_use]
    pub fn of_hours(hours: u64, ignore_no_store: bool) -> Self {
        Self {
            lifetime: Duration::from_secs(hours.saturating_mul(60 * 60)),
            obeys_no_store: !ignore_no_store,
        }
    }
}

impl Default for Freshness {
    fn default() -> Self {
        Self::of_hours(DEFAULT_HOURS, false)
    }
}

/// A week: instances do not change in practice, and a withdrawn instance must not be served
/// forever.
pub const DEFAULT_HOURS: u64 = 7 * 24;
/// Requests that may wait for a connection to a source, unless settings say otherwise.
pub const DEFAULT_QUEUE: usize = 256;

impl Default for Terms {
    fn default() -> Self {
        Self {
            connections: 64,
            queue: DEFAULT_QUEUE,
            freshness: Freshness::default(),
            is_per_user: false,
        }
    }
}
