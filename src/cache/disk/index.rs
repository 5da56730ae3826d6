//! The index of the disk tier, in memory: bounded by file bytes, memory bytes and age.
//!
//! The table is our own, because the thread that evicts an entry must delete its file outside the
//! lock, and because an entry takes a quarter of the memory of a general cache's entry. Every call
//! except [`Index::forget`] takes logarithmic time.

use std::borrow::Borrow;
use std::collections::{BTreeMap, HashMap, HashSet};
use std::hash::{Hash, Hasher};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

use super::{Key, Limits, Stored, header};
use crate::dicom::{PatientIds, SeriesInstanceUid, SopClassUid, StudyInstanceUid, TransferSyntax};

/// Bytes of an entry besides [`Stored`] and the UID of its instance: its slot in the table, its
/// places in two trees that are two thirds full, and the overhead of two allocations.
const OVERHEAD: u64 = 16 + 40 + 40 + 64;
/// Distinct values of each kind that entries share; beyond that the set starts again.
const MOST_WORDS: usize = 4096;

/// The index of the disk tier.
#[derive(Debug)]
pub(super) struct Index {
    limits: Limits,
    by_key: HashSet<ByKey>,
    /// By last use, oldest first.
    by_use: BTreeMap<u64, Arc<Stored>>,
    /// By the second of storage, and by generation.
    by_time: BTreeMap<(u64, u64), Arc<Stored>>,
    uses: u64,
    bytes: u64,
    memory: u64,
    /// Pending reads and writes, which must not restore a purged instance.
    pending: HashMap<Key, Vec<Arc<AtomicBool>>>,
    words: Words,
}

/// An entry, hashed by its key.
#[derive(Debug)]
struct ByKey(Arc<Stored>);

impl Borrow<Key> for ByKey {
    fn borrow(&self) -> &Key {
        &self.0.key
    }
}

impl Hash for ByKey {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.0.key.hash(state);
    }
}

impl PartialEq for ByKey {
    fn eq(&self, other: &Self) -> bool {
        self.0.key == other.0.key
    }
}

impl Eq for ByKey {}

/// Removed entries, whose files must be deleted.
pub(super) type Left = Vec<Arc<Stored>>;

/// The result of an insertion.
pub(super) struct Inserted {
    /// The removed entries, including the old generation of the key.
    pub(super) left: Left,
    /// The number of evictions among them.
    pub(super) evicted: u64,
}

impl Index {
    pub(super) fn new(limits: Limits) -> Self {
        Self {
            limits,
            by_key: HashSet::new(),
            by_use: BTreeMap::new(),
            by_time: BTreeMap::new(),
            uses: 0,
            bytes: 0,
            memory: 0,
            pending: HashMap::new(),
            words: Words::default(),
        }
    }

    /// An entry; counts as a use.
    pub(super) fn find(&mut self, key: &Key) -> Option<Arc<Stored>> {
        let stored = Arc::clone(&self.by_key.get(key)?.0);
        if self.limits.is_over(&stored, SystemTime::now()) {
            return None;
        }
        self.uses += 1;
        let before = stored.used.swap(self.uses, Ordering::Relaxed);
        self.by_use.remove(&before);
        self.by_use.insert(self.uses, Arc::clone(&stored));
        Some(stored)
    }

    /// An entry; does not count as a use.
    pub(super) fn peek(&self, key: &Key) -> Option<Arc<Stored>> {
        let stored = Arc::clone(&self.by_key.get(key)?.0);
        (!self.limits.is_over(&stored, SystemTime::now())).then_some(stored)
    }

    /// Adds an entry.
    pub(super) fn insert(&mut self, stored: Arc<Stored>) -> Inserted {
        let mut left = Left::from_iter(self.remove(&stored.key));
        if header::size(stored.length) > self.limits.bytes || cost(&stored) > self.limits.index {
            left.push(stored);
            return Inserted { left, evicted: 1 };
        }
        self.uses += 1;
        stored.used.store(self.uses, Ordering::Relaxed);
        self.bytes += header::size(stored.length);
        self.memory += cost(&stored);
        self.by_use.insert(self.uses, Arc::clone(&stored));
        self.by_time.insert(by_time(&stored), Arc::clone(&stored));
        self.by_key.insert(ByKey(stored));
        let mut evicted = 0;
        while (self.bytes > self.limits.bytes || self.memory > self.limits.index)
            && let Some(oldest) = self.by_use.first_key_value().map(|(_, of)| Arc::clone(of))
        {
            evicted += 1;
            left.extend(self.remove(&oldest.key));
        }
        Inserted { left, evicted }
    }

    /// Removes an entry.
    pub(super) fn remove(&mut self, key: &Key) -> Option<Arc<Stored>> {
        let stored = self.by_key.take(key)?.0;
        self.by_use.remove(&stored.used.load(Ordering::Relaxed));
        self.by_time.remove(&by_time(&stored));
        self.bytes -= header::size(stored.length);
        self.memory -= cost(&stored);
        Some(stored)
    }

    /// Removes an entry, unless a newer generation has replaced it.
    pub(super) fn remove_this(&mut self, stored: &Arc<Stored>) -> bool {
        let is_this = |found: &ByKey| Arc::ptr_eq(&found.0, stored);
        let is_here = self.by_key.get(&stored.key).is_some_and(is_this);
        is_here && self.remove(&stored.key).is_some()
    }

    /// Removes expired entries, at most this many.
    pub(super) fn expire(&mut self, most: usize) -> Left {
        let now = SystemTime::now();
        let mut left = Left::new();
        while left.len() < most
            && let Some((_, oldest)) = self.by_time.first_key_value()
            && self.limits.is_over(oldest, now)
        {
            let key = oldest.key.clone();
            left.extend(self.remove(&key));
        }
        left
    }

    /// Removes one entry, and marks the pending work for its key.
    pub(super) fn forget_one(&mut self, key: &Key) -> Option<Arc<Stored>> {
        for mark in self.pending.get(key).into_iter().flatten() {
            mark.store(true, Ordering::Release);
        }
        self.remove(key)
    }

    /// Removes the selected entries, and marks their pending work.
    pub(super) fn forget(&mut self, which: &dyn Fn(&Key) -> bool) -> Left {
        for (key, marks) in &self.pending {
            if which(key) {
                marks
                    .iter()
                    .for_each(|mark| mark.store(true, Ordering::Release));
            }
        }
        let keys = self.by_key.iter().map(|entry| &entry.0.key);
        let keys: Vec<Key> = keys.filter(|key| which(key)).cloned().collect();
        keys.iter().filter_map(|key| self.remove(key)).collect()
    }

    /// Registers pending work for a key. A purge of the key sets the mark.
    pub(super) fn begin(&mut self, key: &Key) -> Arc<AtomicBool> {
        let mark = Arc::new(AtomicBool::new(false));
        let marks = self.pending.entry(key.clone()).or_default();
        marks.push(Arc::clone(&mark));
        mark
    }

    /// Removes pending work.
    pub(super) fn end(&mut self, key: &Key, mark: &Arc<AtomicBool>) {
        if let Some(marks) = self.pending.get_mut(key) {
            marks.retain(|other| !Arc::ptr_eq(other, mark));
            if marks.is_empty() {
                self.pending.remove(key);
            }
        }
    }

    /// The same entry, with its repeated values shared with other entries.
    pub(super) fn shared(&mut self, mut stored: Stored) -> Stored {
        let words = &mut self.words;
        let key = &mut stored.key;
        key.place = word(&mut words.places, &key.place);
        key.study = word(&mut words.studies, &key.study);
        key.series = word(&mut words.series, &key.series);
        stored.sop_class = word(&mut words.classes, &stored.sop_class);
        stored.patient = word(&mut words.patients, &stored.patient);
        stored.transfer_syntax = word(&mut words.syntaxes, &stored.transfer_syntax);
        stored
    }

    /// Whether no work is pending.
    #[cfg(test)]
    pub(super) fn is_idle(&self) -> bool {
        self.pending.is_empty()
    }

    /// Bytes of files, bytes of memory, and entries.
    pub(super) fn sizes(&self) -> (u64, u64, usize) {
        (self.bytes, self.memory, self.by_key.len())
    }
}

/// Values that many entries have in common.
#[derive(Debug, Default)]
struct Words {
    places: HashSet<Arc<str>>,
    studies: HashSet<StudyInstanceUid>,
    series: HashSet<SeriesInstanceUid>,
    classes: HashSet<SopClassUid>,
    syntaxes: HashSet<TransferSyntax>,
    patients: HashSet<PatientIds>,
}

fn word<T: Clone + Eq + Hash>(known: &mut HashSet<T>, value: &T) -> T {
    if let Some(word) = known.get(value) {
        return word.clone();
    }
    if known.len() >= MOST_WORDS {
        known.clear();
    }
    known.insert(value.clone());
    value.clone()
}

fn by_time(stored: &Stored) -> (u64, u64) {
    let since = stored.stored_at.duration_since(UNIX_EPOCH);
    let second = since.map_or(0, |since| since.as_secs());
    (second, stored.generation)
}

/// Approximate bytes of an entry in memory.
fn cost(stored: &Stored) -> u64 {
    let etag = stored.validity.etag().map_or(0, str::len);
    let texts = stored.key.instance.as_str().len() + etag;
    (size_of::<Stored>() + texts) as u64 + OVERHEAD
}
