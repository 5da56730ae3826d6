//! The index of registered manifests, by every lookup key.
//!
//! All of it are trees: a table would move all its entries when it grows, while requests wait.

use std::collections::BTreeMap;
use std::hint::black_box;

use super::postings::Rank;
use super::record::Record;
use super::studies::{Mention, Studies};
use super::view::View;
use crate::manifest::{Id, Outline, PackedOutline};

#[derive(Debug, Default)]
pub(super) struct Index {
    pub(super) records: BTreeMap<Id, Record>,
    pub(super) by_digest: BTreeMap<[u8; 32], Id>,
    /// In the order of their registration.
    by_sequence: BTreeMap<u64, Id>,
    pub(super) studies: Studies,
    pub(super) bytes: u64,
}

impl Index {
    /// An index of the records on disk. Records of the first version have no sequence: they are
    /// numbered by their age, and come before all others.
    pub(super) fn of(mut found: Vec<(Id, Record)>) -> Self {
        found.sort_by_key(|(id, record)| (record.sequence, record.registered_at, *id));
        let (mut entries, mut batch) = (Self::default(), Vec::new());
        for (id, mut record) in found {
            record.sequence = record.sequence.max(entries.next_sequence());
            for (mention, outline) in mentions(id, &record) {
                entries.studies.add_to(&mut batch, mention, &outline);
            }
            entries.note(id, record);
        }
        entries.studies.add_all(batch);
        entries
    }

    /// The number of the next registration.
    pub(super) fn next_sequence(&self) -> u64 {
        let last = self.by_sequence.last_key_value();
        last.map_or(1, |(sequence, _)| sequence + 1)
    }

    pub(super) fn add(&mut self, id: Id, record: Record) {
        for (mention, outline) in mentions(id, &record) {
            self.studies.add(mention, &outline);
        }
        self.note(id, record);
    }

    fn note(&mut self, id: Id, record: Record) {
        self.bytes += record.length;
        self.by_digest.insert(record.digest, id);
        self.by_sequence.insert(record.sequence, id);
        self.records.insert(id, record);
    }

    /// Those that were registered before `sequence`, the newest first.
    pub(super) fn newest_before(&self, sequence: u64) -> impl Iterator<Item = (u64, Id)> {
        let newest_first = self.by_sequence.range(..sequence).rev();
        newest_first.map(|(&sequence, &id)| (sequence, id))
    }

    /// Whether a manifest is registered and visible.
    pub(super) fn shows(&self, view: &View, id: Id) -> bool {
        let found = self.records.get(&id);
        // What does not exist takes as long as what is not visible.
        let is_visible = match found {
            Some(record) => view.shows(id, record),
            None => black_box(self.shows_any(view)),
        };
        found.is_some() && is_visible
    }

    /// Whether some manifest is visible: for the time that it takes.
    pub(super) fn shows_any(&self, view: &View) -> bool {
        let any = self.records.first_key_value();
        any.is_some_and(|(id, record)| view.shows(*id, record))
    }

    /// The outline of a study by one of its manifests.
    pub(super) fn outline(&self, mention: Mention) -> Option<&PackedOutline> {
        outline(&self.records, mention)
    }

    pub(super) fn remove(&mut self, id: Id) -> bool {
        let Some(record) = self.records.get(&id).cloned() else {
            return false;
        };
        for (_, removed) in mentions(id, &record) {
            self.studies.remove(&removed.uid, id, |mention| {
                outline(&self.records, mention).map(PackedOutline::unpack)
            });
        }
        self.records.remove(&id);
        self.bytes -= record.length;
        // A copy of its files may have been put there under another name.
        if self.by_digest.get(&record.digest) == Some(&id) {
            self.by_digest.remove(&record.digest);
        }
        self.by_sequence.remove(&record.sequence);
        true
    }
}

fn mentions(id: Id, record: &Record) -> impl Iterator<Item = (Mention, Outline)> {
    let studies = record.studies.iter().enumerate();
    studies.map(move |(position, outline)| {
        let rank = Rank::new(record.sequence, position);
        (Mention { manifest: id, rank }, outline.unpack())
    })
}

fn outline(records: &BTreeMap<Id, Record>, mention: Mention) -> Option<&PackedOutline> {
    let record = records.get(&mention.manifest)?;
    record.studies.get(mention.rank.position())
}
