//! The memory tier: whole instances, weighed in bytes, evicted least recently used first.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;
use moka::notification::RemovalCause;
use moka::policy::EvictionPolicy;
use moka::sync::Cache;

use super::disk::Stored;
use super::progress::Progress;
use super::{Key, Validity};
use crate::dicom::part10::Identity;
use crate::digest::LazyBlake3;
use crate::metrics::Metrics;

/// The name of this tier in metrics and in `Cache-Status`.
pub(super) const TIER: &str = "memory";

// Weights are 32 bits wide. Counted in KiB, they are correct for entries of more than 4 GiB.
const UNIT: u64 = 1 << 10;
/// Bytes of an entry besides its instance and its key.
const OVERHEAD: usize = 512;

/// An instance in memory.
#[derive(Debug)]
pub struct Entry {
    /// The identity of the instance.
    pub identity: Identity,
    /// The Part 10 file, in an allocation of its own.
    pub bytes: Bytes,
    /// Its freshness.
    pub validity: Validity,
    /// The BLAKE3 of its bytes.
    pub blake3: LazyBlake3,
    /// Its progress to disk.
    pub(super) progress: Progress,
}

impl Entry {
    /// An instance in memory.
    #[must_use]
    pub fn new(identity: Identity, bytes: Bytes, validity: Validity) -> Self {
        Self {
            identity,
            blake3: LazyBlake3::of(bytes.clone()),
            bytes,
            validity,
            progress: Progress::default(),
        }
    }

    /// The same, if nobody has read the instance while it arrived.
    #[must_use]
    pub fn early(mut self) -> Self {
        self.blake3 = LazyBlake3::early(self.bytes.clone());
        self
    }

    /// An instance loaded from disk.
    pub(super) fn from_disk(stored: &Stored, bytes: Bytes) -> Self {
        Self {
            blake3: LazyBlake3::known(stored.blake3),
            progress: Progress::written(),
            ..Self::new(stored.identity(), bytes, stored.validity.copied())
        }
    }
}

/// Bounds of the tier.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Bytes of requested instances.
    pub bytes: u64,
    /// Bytes of look-ahead instances without a request yet.
    pub ahead: u64,
    /// Bytes of one instance.
    pub largest: u64,
}

/// Instances in memory. Look-ahead instances have their own share until a client requests them, so
/// that look-ahead never evicts instances in use.
#[derive(Debug, Clone)]
pub struct Memory {
    entries: Cache<Key, Arc<Entry>>,
    ahead: Cache<Key, Arc<Entry>>,
    largest: u64,
    /// The number of purges.
    forgettings: Arc<AtomicU64>,
    metrics: Metrics,
}

impl Memory {
    /// An empty tier.
    #[must_use]
    pub fn new(limits: Limits, metrics: &Metrics) -> Self {
        Self {
            entries: cache(limits.bytes, metrics),
            ahead: cache(limits.ahead, metrics),
            largest: limits.largest,
            forgettings: Arc::default(),
            metrics: metrics.clone(),
        }
    }

    /// Whether the tier accepts an instance of this length.
    #[must_use]
    pub fn admits(&self, bytes: u64) -> bool {
        bytes <= self.largest
    }

    /// A cached instance; counts as a use.
    #[must_use]
    pub fn find(&self, key: &Key) -> Option<Arc<Entry>> {
        self.entries.get(key).or_else(|| self.come_for(key))
    }

    /// The first request moves a look-ahead instance to the others.
    fn come_for(&self, key: &Key) -> Option<Arc<Entry>> {
        if self.ahead.policy().max_capacity() == Some(0) {
            return None;
        }
        let before = self.forgettings.load(Ordering::Acquire);
        let entry = self.ahead.get(key)?;
        self.entries.insert(key.clone(), Arc::clone(&entry));
        self.ahead.invalidate(key);
        // A concurrent purge may have missed the instance during the move.
        if self.forgettings.load(Ordering::Acquire) != before {
            self.entries.invalidate(key);
        }
        Some(entry)
    }

    /// A cached instance; does not count as a use.
    #[must_use]
    pub fn peek(&self, key: &Key) -> Option<Arc<Entry>> {
        self.entries.get(key).or_else(|| self.ahead.get(key))
    }

    /// Caches an instance, if it is not too large.
    pub fn keep(&self, key: Key, entry: Arc<Entry>) {
        if self.admits(entry.bytes.len() as u64) {
            self.entries.insert(key, entry);
        }
    }

    /// Caches a look-ahead instance, if it is not too large.
    pub fn keep_ahead(&self, key: Key, entry: Arc<Entry>) {
        if self.admits(entry.bytes.len() as u64) {
            self.ahead.insert(key, entry);
        }
    }

    /// Purges one instance.
    pub fn forget_one(&self, key: &Key) {
        self.forgettings.fetch_add(1, Ordering::AcqRel);
        self.ahead.invalidate(key);
        self.entries.invalidate(key);
    }

    /// Purges the selected instances, and returns their number.
    pub fn forget(&self, which: &dyn Fn(&Key) -> bool) -> usize {
        self.forgettings.fetch_add(1, Ordering::AcqRel);
        let mut forgotten = 0;
        for entries in [&self.ahead, &self.entries] {
            let keys = entries.iter().map(|(key, _)| key);
            let keys: Vec<_> = keys.filter(|key| which(key)).collect();
            for key in &keys {
                entries.invalidate(&**key);
            }
            forgotten += keys.len();
        }
        forgotten
    }

    /// Updates the metrics.
    pub fn observe(&self) {
        let gauge = |value: u64| value.try_into().unwrap_or(i64::MAX);
        let (mut bytes, mut entries) = (0, 0);
        for part in [&self.entries, &self.ahead] {
            part.run_pending_tasks();
            bytes += part.weighted_size() * UNIT;
            entries += part.entry_count();
        }
        let metrics = &self.metrics;
        metrics
            .cache_bytes
            .with_label_values(&[TIER])
            .set(gauge(bytes));
        metrics
            .cache_entries
            .with_label_values(&[TIER])
            .set(gauge(entries));
    }
}

fn cache(bytes: u64, metrics: &Metrics) -> Cache<Key, Arc<Entry>> {
    let evictions = metrics.cache_evictions.with_label_values(&[TIER]);
    Cache::builder()
        .max_capacity(bytes / UNIT)
        .weigher(weight)
        // LRU: a recent instance is likely to be read again. The other policies reject a new series
        // until its second request.
        .eviction_policy(EvictionPolicy::lru())
        .eviction_listener(move |_key, _entry, cause| {
            if cause == RemovalCause::Size {
                evictions.inc();
            }
        })
        .build()
}

/// Bytes of an entry, as this tier counts them.
pub(super) fn cost(key: &Key, entry: &Arc<Entry>) -> u64 {
    u64::from(weight(key, entry)) * UNIT
}

fn weight(key: &Key, entry: &Arc<Entry>) -> u32 {
    let bytes = entry.bytes.len() + key.size() + OVERHEAD;
    u32::try_from((bytes as u64).div_ceil(UNIT)).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cache::test::{identity, key};

    fn memory(bytes: u64, largest: u64) -> Memory {
        let limits = Limits {
            bytes,
            ahead: bytes,
            largest,
        };
        Memory::new(limits, &Metrics::new())
    }

    fn entry(at: usize, size: usize) -> Arc<Entry> {
        Arc::new(Entry::new(
            identity(at),
            vec![0; size].into(),
            Validity::now(None),
        ))
    }

    #[test]
    fn keeps_what_was_read_last_within_its_bytes() {
        let memory = memory(100 << 10, 50 << 10);
        for at in 0..20 {
            memory.keep(key(at), entry(at, 20 << 10));
            memory.observe();
            assert!(memory.find(&key(0)).is_some(), "it was read at {at}");
        }
        assert!(memory.entries.weighted_size() <= 100);
        assert!(memory.find(&key(19)).is_some());
        assert!(memory.find(&key(5)).is_none());
    }

    // An entry that is larger than the whole cache would be seen until the next clean-up.
    #[test]
    fn never_shows_what_is_too_large_for_it() {
        let memory = memory(100 << 10, 50 << 10);
        memory.keep(key(1), entry(1, 51 << 10));
        assert!(memory.peek(&key(1)).is_none());
        memory.keep(key(1), entry(1, 50 << 10));
        assert!(memory.peek(&key(1)).is_some());
    }

    #[test]
    fn what_nobody_has_come_for_drives_out_nothing_else() {
        let memory = memory(100 << 10, 50 << 10);
        for at in 0..4 {
            memory.keep(key(at), entry(at, 20 << 10));
        }
        for at in 10..40 {
            memory.keep_ahead(key(at), entry(at, 20 << 10));
            memory.observe();
        }
        assert!((0..4).all(|at| memory.peek(&key(at)).is_some()));
        assert!(memory.peek(&key(39)).is_some() && memory.peek(&key(10)).is_none());
        // Somebody comes for it, and it is one of the others.
        assert!(memory.find(&key(39)).is_some() && !memory.ahead.contains_key(&key(39)));
        assert!(memory.find(&key(39)).is_some());
        assert_eq!(memory.forget(&|of| *of == key(39) || *of == key(38)), 2);
        assert!(memory.peek(&key(39)).is_none() && memory.peek(&key(38)).is_none());
    }

    #[test]
    fn forgets_what_it_is_told_to() {
        let memory = memory(1 << 20, 1 << 20);
        for at in 0..10 {
            memory.keep(key(at), entry(at, 10));
        }
        let forgotten = memory.forget(&|of| *of == key(3) || *of == key(4));
        assert_eq!(forgotten, 2);
        assert!(memory.find(&key(3)).is_none() && memory.find(&key(5)).is_some());
    }
}
