//! What is agreed with a source: how much is asked of it at the same time, and for how long what it
//! gave serves without asking again.

use std::time::Duration;

/// How a source is used.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Terms {
    /// Streams at the same time.
    pub connections: usize,
    /// Requests that may wait for one of them.
    pub queue: usize,
    /// What becomes of what it gave.
    pub freshness: Freshness,
}

/// For how long what a source gave serves (RFC 9111 4.2, with our own lifetime: sources of images
/// seldom state one).
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

/// A week: instances do not change in practice, and what was withdrawn must not live on for ever.
pub const DEFAULT_HOURS: u64 = 7 * 24;
/// Requests that may wait for a connection to a source, unless settings say otherwise.
pub const DEFAULT_QUEUE: usize = 256;

impl Default for Terms {
    fn default() -> Self {
        Self {
            connections: 64,
            queue: DEFAULT_QUEUE,
            freshness: Freshness::default(),
        }
    }
}
