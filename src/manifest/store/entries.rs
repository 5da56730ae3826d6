//! What is registered, by every key that it is looked up with.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fs;
use std::path::Path;

use super::files::{ASIDE, DOCUMENT, RECORD};
use super::record::{Record, read_record};
use crate::dicom::StudyInstanceUid;
use crate::manifest::id::Id;

#[derive(Debug, Default)]
pub(super) struct Entries {
    pub(super) records: BTreeMap<Id, Record>,
    pub(super) by_digest: HashMap<[u8; 32], Id>,
    /// Newest first.
    by_age: BTreeSet<(Reverse<u64>, Id)>,
    /// Those that list a study, newest first.
    pub(super) by_study: HashMap<StudyInstanceUid, Vec<Id>>,
    pub(super) bytes: u64,
}

impl Entries {
    pub(super) fn add_file(&mut self, path: &Path) {
        let stem = path
            .file_stem()
            .and_then(|stem| stem.to_str())
            .unwrap_or_default();
        match (Id::parse(stem), path.extension().and_then(|e| e.to_str())) {
            (Some(id), Some(RECORD)) => match read_record(path) {
                Ok(record) => self.add(id, record),
                Err(error) => tracing::error!(%error, "the record of a manifest is damaged"),
            },
            // Half of a registration that a crash cut short.
            (Some(_), Some(DOCUMENT)) if !path.with_extension(RECORD).exists() => {
                let _ = fs::remove_file(path);
            }
            // What was being written aside when the process was killed.
            _ if stem.starts_with(ASIDE) => {
                let _ = fs::remove_file(path);
            }
            _ => {}
        }
    }

    pub(super) fn add(&mut self, id: Id, record: Record) {
        self.bytes += record.length;
        self.by_digest.insert(record.digest, id);
        self.by_age.insert((Reverse(record.registered_at), id));
        for outline in &record.studies {
            let manifests = self.by_study.entry(outline.uid.clone()).or_default();
            let age = (Reverse(record.registered_at), id);
            let records = &self.records;
            let at = manifests.partition_point(|other| {
                let other_age = records.get(other).map(|other| other.registered_at);
                (Reverse(other_age.unwrap_or(0)), *other) < age
            });
            manifests.insert(at, id);
        }
        self.records.insert(id, record);
    }

    pub(super) fn newest_first(&self) -> impl Iterator<Item = (Id, &Record)> {
        let ids = self.by_age.iter();
        ids.filter_map(|(_, id)| Some((*id, self.records.get(id)?)))
    }

    pub(super) fn remove(&mut self, id: Id) -> bool {
        let Some(record) = self.records.remove(&id) else {
            return false;
        };
        self.bytes -= record.length;
        self.by_digest.remove(&record.digest);
        self.by_age.remove(&(Reverse(record.registered_at), id));
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
