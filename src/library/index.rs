//! The index of registered manifests, by every lookup key.

use std::collections::{BTreeMap, HashMap};

use super::record::Record;
use crate::dicom::StudyInstanceUid;
use crate::manifest::Id;

#[derive(Debug, Default)]
pub(super) struct Index {
    pub(super) records: BTreeMap<Id, Record>,
    pub(super) by_digest: HashMap<[u8; 32], Id>,
    /// In the order of their registration.
    by_sequence: BTreeMap<u64, Id>,
    /// Those that list a study, in the order of their registration.
    pub(super) by_study: HashMap<StudyInstanceUid, Vec<Id>>,
    pub(super) bytes: u64,
}

impl Index {
    /// An index of the records on disk. Records of the first version have no sequence: they are
    /// numbered by their age, and come before all others.
    pub(super) fn of(mut found: Vec<(Id, Record)>) -> Self {
        found.sort_by_key(|(id, record)| (record.sequence, record.registered_at, *id));
        let mut entries = Self::default();
        for (id, mut record) in found {
            record.sequence = record.sequence.max(entries.next_sequence());
            entries.add(id, record);
        }
        entries
    }

    /// The number of the next registration.
    pub(super) fn next_sequence(&self) -> u64 {
        let last = self.by_sequence.last_key_value();
        last.map_or(1, |(sequence, _)| sequence + 1)
    }

    pub(super) fn add(&mut self, id: Id, record: Record) {
        self.bytes += record.length;
        self.by_digest.insert(record.digest, id);
        self.by_sequence.insert(record.sequence, id);
        for outline in &record.studies {
            let manifests = self.by_study.entry(outline.uid.clone()).or_default();
            // A manifest lists a study once, and comes after all that are here.
            manifests.push(id);
        }
        self.records.insert(id, record);
    }

    /// Those that were registered before `sequence`, the newest first.
    pub(super) fn newest_before(&self, sequence: u64) -> impl Iterator<Item = (Id, &Record)> {
        let ids = self.by_sequence.range(..sequence).rev();
        ids.filter_map(|(_, id)| Some((*id, self.records.get(id)?)))
    }

    pub(super) fn remove(&mut self, id: Id) -> bool {
        let Some(record) = self.records.remove(&id) else {
            return false;
        };
        self.bytes -= record.length;
        // A copy of its files may have been put there under another name.
        if self.by_digest.get(&record.digest) == Some(&id) {
            self.by_digest.remove(&record.digest);
        }
        self.by_sequence.remove(&record.sequence);
        for outline in &record.studies {
            let Some(manifests) = self.by_study.get_mut(&outline.uid) else {
                continue;
            };
            manifests.retain(|other| *other != id);
            if manifests.is_empty() {
                self.by_study.remove(&outline.uid);
            }
        }
        true
    }
}
