//! Scans the directory when the library is opened.

use std::collections::{HashMap, HashSet};
use std::fs;
use std::io;
use std::path::Path;

use super::files::{self, DOCUMENT, Name, RECORD};
use super::index::Index;
use super::journal::{Entry, Journal, Stamp};
use super::record::{FoundRecord, Record, outlines, packed, read_record};
use super::{Error, random_id};
use crate::manifest::{Id, Registered};

/// Reads all records, and removes the remains of a crash. Foreign files stay; they are counted.
pub(super) fn read_all(directory: &Path) -> io::Result<(Index, Journal)> {
    let mut journal = Journal::new(directory);
    let mut scan = Scan::new(&journal);
    for entry in fs::read_dir(directory)? {
        scan.entry(&entry?);
    }
    scan.remove_halves(directory);
    scan.report();
    let Scan {
        found,
        outdated,
        unnoted,
        is_damaged,
        noted,
        ..
    } = scan;
    let index = Index::of(found);
    for id in outdated {
        if let Some(record) = index.records.get(&id) {
            let path = directory.join(format!("{id}.{RECORD}"));
            // Where that fails, it is done again at the next start.
            if let Err(error) = record.write(&path) {
                tracing::warn!(%error, "the record of a manifest cannot be brought up to date");
            }
        }
    }
    if !is_damaged && noted > 0 {
        journal.resume(noted);
        for (id, record) in unnoted.iter().filter_map(|id| index.records.get_key_value(id)) {
            note(directory, &mut journal, *id, record);
        }
    }
    if journal.is_due(index.records.len()) {
        let records = index.records.iter();
        rewrite(directory, &mut journal, records.map(|(id, record)| (*id, record.clone())));
    }
    Ok((index, journal))
}

/// The number of records that a start would read from their own files.
#[cfg(test)]
pub(super) fn read_one_by_one(directory: &Path) -> io::Result<usize> {
    let mut scan = Scan::new(&Journal::new(directory));
    for entry in fs::read_dir(directory)? {
        scan.entry(&entry?);
    }
    Ok(scan.unnoted.len() + scan.damaged)
}

/// Appends a record to the journal.
pub(super) fn note(directory: &Path, journal: &mut Journal, id: Id, record: &Record) {
    if let Some(entry) = entry(directory, id, record) {
        journal.append(&entry);
    }
}

/// Writes the journal as a whole.
pub(super) fn rewrite(
    directory: &Path,
    journal: &mut Journal,
    records: impl Iterator<Item = (Id, Record)>,
) {
    let mut entries = records.filter_map(|(id, record)| entry(directory, id, &record));
    if let Err(error) = journal.rewrite(&mut entries) {
        tracing::warn!(%error, "the journal of manifests cannot be written");
    }
}

/// The entry for a record in the journal; `None` if its file is gone.
fn entry(directory: &Path, id: Id, record: &Record) -> Option<Entry> {
    let file = fs::symlink_metadata(directory.join(format!("{id}.{RECORD}")));
    Some(Entry {
        id: id.bits(),
        stamp: Stamp::of(&file.ok()?),
        record: record.into(),
    })
}

#[derive(Default)]
struct Scan {
    /// The entries of the journal that were not needed yet.
    journal: HashMap<Id, (Stamp, Record)>,
    /// The number of entries in the journal.
    noted: usize,
    is_damaged: bool,
    found: Vec<(Id, Record)>,
    /// The manifests with records that are to be written anew.
    outdated: Vec<Id>,
    /// The manifests without an entry in the journal.
    unnoted: Vec<Id>,
    /// The files that have the name of a record, whatever they are.
    records: HashSet<Id>,
    documents: Vec<Id>,
    foreign: usize,
    damaged: usize,
}

impl Scan {
    fn new(journal: &Journal) -> Self {
        let mut scan = Self::default();
        let mut entries = journal.read();
        for Entry { id, stamp, record } in entries.by_ref() {
            scan.noted += 1;
            let read = FoundRecord::try_from(record).ok();
            if let Some(read) = read.filter(|read| read.is_current) {
                // The last entry for a record counts.
                let noted = (stamp, read.record);
                scan.journal.insert(Id::from_random(id), noted);
            }
        }
        scan.is_damaged = entries.is_damaged;
        scan
    }

    fn entry(&mut self, entry: &fs::DirEntry) {
        let is_file = entry.file_type().is_ok_and(|kind| kind.is_file());
        let name = Name::parse(&entry.file_name());
        if let Some(Name::Record(id)) = name {
            self.records.insert(id);
        }
        match name.filter(|_name| is_file) {
            None => self.foreign += 1,
            Some(Name::Record(id)) => self.record(id, entry),
            Some(Name::Document(id)) => self.documents.push(id),
            Some(Name::Journal) => {}
            Some(Name::Aside) => {
                let _ = files::remove(&entry.path());
            }
        }
    }

    fn record(&mut self, id: Id, entry: &fs::DirEntry) {
        if let Some((stamp, record)) = self.journal.remove(&id)
            && entry.metadata().is_ok_and(|file| Stamp::of(&file) == stamp)
        {
            self.found.push((id, record));
            return;
        }
        let path = entry.path();
        let Ok(mut read) = read_record(&path) else {
            self.damaged += 1;
            return;
        };
        if !read.is_current
            && let Ok(()) = complete(&mut read.record, &path.with_extension(DOCUMENT))
        {
            self.outdated.push(id);
        }
        self.unnoted.push(id);
        self.found.push((id, read.record));
    }

    /// Removes documents without records: halves of registrations that a crash cut short.
    fn remove_halves(&self, directory: &Path) {
        let documents = self.documents.iter();
        for id in documents.filter(|id| !self.records.contains(id)) {
            let _ = files::remove(&directory.join(format!("{id}.{DOCUMENT}")));
        }
    }

    fn report(&self) {
        let Self {
            damaged, foreign, ..
        } = *self;
        if damaged > 0 {
            tracing::error!(damaged, "records of manifests are damaged or unreadable");
        }
        if foreign > 0 {
            tracing::warn!(foreign, "the directory of manifests holds foreign files");
        }
    }
}

/// Rebuilds the outlines of the studies for this version.
fn complete(record: &mut Record, document: &Path) -> Result<(), Error> {
    let document = record.document(document)?.ok_or(Error::Lost)?;
    let manifest = crate::manifest::read(&document)?;
    let registration = record.registration.clone();
    let registered = Registered::new(random_id()?, registration, manifest)?;
    record.studies = packed(&outlines(&registered.holding));
    Ok(())
}
