//! `[cache]`.

use std::time::Duration;

use http::HeaderValue;
use http::header::InvalidHeaderValue;
use serde::Deserialize;

use super::{disk, memory};
use crate::budget::ByteSize;

/// `[cache]`.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Settings {
    /// Bytes of instances in memory.
    pub memory: ByteSize,
    /// Bytes of derived metadata in memory.
    pub metadata: ByteSize,
    /// Bytes of instances on disk; 0: no disk tier.
    pub disk: ByteSize,
    /// The age limit of an instance on disk in days.
    pub disk_days: u64,
    /// Bytes of memory for the index of the disk tier, about 0.5 KiB for each instance. Beyond that
    /// the least recently used instance is evicted.
    pub disk_index: ByteSize,
    /// Bytes of flights in memory.
    pub flights: ByteSize,
    /// Bytes of flights in spill files. Beyond that a flight passes by at the pace of its slowest
    /// reader, and is not cached.
    pub spill: ByteSize,
    /// The look-ahead.
    pub look_ahead: LookAhead,
    /// Bytes of a series that look-ahead may fetch before the readers. Instances without a request
    /// take at most half of `memory`.
    pub look_ahead_bytes: ByteSize,
    /// `Cache-Control` of answers with instances.
    pub cache_control: CacheControl,
}

/// The look-ahead.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LookAhead {
    /// The rest of a series, at the first request for one of its instances.
    FirstRequest,
    /// The entire selection of a manifest, at its registration.
    Registration,
    /// No look-ahead.
    Off,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            memory: ByteSize(512 << 20),
            metadata: ByteSize(64 << 20),
            disk: ByteSize(20 << 30),
            disk_days: 30,
            disk_index: ByteSize(128 << 20),
            flights: ByteSize(64 << 20),
            spill: ByteSize(8 << 30),
            look_ahead: LookAhead::FirstRequest,
            look_ahead_bytes: ByteSize(256 << 20),
            cache_control: CacheControl(HeaderValue::from_static("private, no-cache")),
        }
    }
}

impl Settings {
    /// Bounds of the disk tier.
    #[must_use]
    pub fn disk_limits(&self) -> disk::Limits {
        disk::Limits {
            bytes: self.disk.0,
            age: Duration::from_secs(self.disk_days.saturating_mul(24 * 60 * 60)),
            index: self.disk_index.0,
        }
    }

    /// Bounds of the memory tier.
    ///
    /// A reader holds an instance in memory even after its eviction, and a stalled reader of a
    /// flight holds as much. The largest instance in memory must therefore be small if a disk
    /// exists for larger ones.
    #[must_use]
    pub fn memory_limits(&self) -> memory::Limits {
        let memory = self.memory.0;
        let ahead = match self.look_ahead {
            LookAhead::Off => 0,
            LookAhead::FirstRequest | LookAhead::Registration => {
                self.look_ahead_bytes.0.min(memory / 2)
            }
        };
        memory::Limits {
            bytes: memory - ahead,
            ahead,
            largest: memory / if self.disk.0 > 0 { 128 } else { 8 },
        }
    }
}

/// The value of a `Cache-Control` field.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub struct CacheControl(pub HeaderValue);

impl TryFrom<String> for CacheControl {
    type Error = InvalidHeaderValue;

    fn try_from(text: String) -> Result<Self, InvalidHeaderValue> {
        HeaderValue::try_from(text).map(Self)
    }
}
