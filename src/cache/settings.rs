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
    /// Bytes of instances that are kept in memory.
    pub memory: ByteSize,
    /// Bytes of metadata that were worked out of instances and are kept in memory.
    pub metadata: ByteSize,
    /// Bytes of instances that are kept on disk; 0: nothing is at rest.
    pub disk: ByteSize,
    /// Days after which an instance on disk is dropped.
    pub disk_days: u64,
    /// Bytes of memory for the index of what is on disk, about 0.5 KiB for each instance. If they are
    /// used up the least recently used instance leaves the disk.
    pub disk_index: ByteSize,
    /// Bytes of instances under way that are held in memory.
    pub flights: ByteSize,
    /// Bytes of instances under way that are on disk because they do not fit in memory. Beyond that an
    /// instance passes by at the pace of its slowest reader, and is not kept.
    pub spill: ByteSize,
    /// What is fetched before it is asked for.
    pub look_ahead: LookAhead,
    /// Bytes of a series that are fetched ahead of those who read it. At most half of `memory` holds
    /// what nobody has asked for yet.
    pub look_ahead_bytes: ByteSize,
    /// `Cache-Control` of answers with instances.
    pub cache_control: CacheControl,
}

/// What is fetched before it is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LookAhead {
    /// The rest of a series, when the first instance of it is asked for.
    FirstRequest,
    /// Everything that a manifest selects, when it is registered.
    Registration,
    /// Nothing.
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
    /// Those who read an instance hold it even when it has been evicted, and those who do not read on
    /// hold up as much of one that is arriving: so it must be small where there is a disk that larger
    /// ones can be read from.
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
