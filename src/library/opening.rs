//! Scans the directory when the library is opened.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::thread;

use super::files::{self, DOCUMENT, Name, RECORD};
use super::index::Index;
use super::journal::{Entries, Entry, Journal, Place, Stamp};
use super::record::{FoundRecord, Record, outlines, packed, read_record};
use super::{Error, random_id};
use crate::manifest::{Id, Registered};

/// Reads all records, removes the remains of a crash, and brings the journal up to date. Foreign
/// files stay; they are counted.
pub(super) fn read_all(directory: &Path) -> io::Result<(Index, Journal)> {
    let mut scan = Scan::of(directory)?;
    scan.remove_remains(directory);
    scan.report();
    let index = Index::of(std::mem::take(&mut scan.found));
    for id in &scan.outdated {
        if let Some(record) = index.records.get(id) {
            let path = directory.join(format!("{id}.{RECORD}"));
            // Where that fails, it is done again at the next start.
            if let Err(error) = record.write(&path) {
                tracing::warn!(%error, "the record of a manifest cannot be brought up to date");
            }
        }
    }
    let journal = scan.into_journal(directory, &index);
    Ok((index, journal))
}

/// Reads all records of a directory that another process may own, and changes nothing.
pub(super) fn look(directory: &Path) -> io::Result<Index> {
    let scan = Scan::of(directory)?;
    scan.report();
    Ok(Index::of(scan.found))
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
    let entries = records.filter_map(|(id, record)| entry(directory, id, &record));
    if let Err(error) = journal.rewrite(entries) {
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

/// The number of records that a start would read from their own files.
#[cfg(test)]
pub(super) fn read_one_by_one(directory: &Path) -> io::Result<usize> {
    let scan = Scan::of(directory)?;
    Ok(scan.unlisted.len() + scan.damaged)
}

/// A file in the directory.
enum ListedFile {
    Record(Id, Option<Stamp>),
    /// A folder, link or pipe with the name of a record.
    NoRecord(Id),
    Document(Id),
    Aside(PathBuf),
    Journal,
    Foreign,
}

fn list(directory: &Path) -> io::Result<Vec<ListedFile>> {
    fs::read_dir(directory)?
        .map(|entry| Ok(listed(&entry?)))
        .collect()
}

fn listed(entry: &fs::DirEntry) -> ListedFile {
    let is_file = entry.file_type().is_ok_and(|kind| kind.is_file());
    match Name::parse(&entry.file_name()) {
        Some(Name::Record(id)) if !is_file => ListedFile::NoRecord(id),
        Some(_) if !is_file => ListedFile::Foreign,
        Some(Name::Record(id)) => {
            let metadata = entry.metadata().ok();
            ListedFile::Record(id, metadata.as_ref().map(Stamp::of))
        }
        Some(Name::Document(id)) => ListedFile::Document(id),
        Some(Name::Aside) => ListedFile::Aside(entry.path()),
        Some(Name::Journal) => ListedFile::Journal,
        None => ListedFile::Foreign,
    }
}

/// A record in the journal.
struct JournalRecord {
    stamp: Stamp,
    record: Record,
    place: Place,
}

struct Scan {
    entries: Entries,
    /// The records of the journal whose files were not found yet.
    journal: HashMap<Id, JournalRecord>,
    /// The entries that are those of files.
    places: BTreeMap<Id, Place>,
    /// Entries that count no more.
    stale: Vec<Place>,
    found: Vec<(Id, Record)>,
    /// The manifests with records that are to be written anew.
    outdated: Vec<Id>,
    /// The manifests without an entry in the journal.
    unlisted: Vec<Id>,
    /// The files that have the name of a record, whatever they are.
    records: HashSet<Id>,
    documents: Vec<Id>,
    asides: Vec<PathBuf>,
    foreign: usize,
    damaged: usize,
}

impl Scan {
    /// Reads the journal and lists the directory at the same time.
    fn of(directory: &Path) -> io::Result<Self> {
        let (scan, listed) = thread::scope(|scope| {
            let journal = scope.spawn(|| Self::of_journal(directory));
            let listed = list(directory);
            (journal.join(), listed)
        });
        let mut scan = scan.map_err(|_panic| io::Error::other("the journal cannot be read"))?;
        for file in listed? {
            scan.file(directory, file);
        }
        Ok(scan)
    }

    fn of_journal(directory: &Path) -> Self {
        let mut scan = Self {
            entries: Journal::new(directory).read(),
            journal: HashMap::new(),
            places: BTreeMap::new(),
            stale: Vec::new(),
            found: Vec::new(),
            outdated: Vec::new(),
            unlisted: Vec::new(),
            records: HashSet::new(),
            documents: Vec::new(),
            asides: Vec::new(),
            foreign: 0,
            damaged: 0,
        };
        while let Some((place, entry)) = scan.entries.next() {
            scan.journal_record(place, entry);
        }
        scan
    }

    fn journal_record(&mut self, place: Place, entry: Entry) {
        let Entry { id, stamp, record } = entry;
        let read = FoundRecord::try_from(record).ok();
        let Some(FoundRecord { record, .. }) = read.filter(|read| read.is_current) else {
            self.stale.push(place);
            return;
        };
        let noted = JournalRecord {
            stamp,
            record,
            place,
        };
        // The last entry for a record counts.
        let earlier = self.journal.insert(Id::from_random(id), noted);
        self.stale.extend(earlier.map(|earlier| earlier.place));
    }

    /// The journal, brought up to date.
    fn into_journal(mut self, directory: &Path, index: &Index) -> Journal {
        let mut journal = Journal::new(directory);
        if !self.entries.is_damaged {
            journal.resume(&self.entries, self.places);
            self.stale
                .extend(self.journal.values().map(|noted| noted.place));
            self.stale
                .into_iter()
                .for_each(|place| journal.blank_at(place));
            for (id, record) in self
                .unlisted
                .iter()
                .filter_map(|id| index.records.get_key_value(id))
            {
                note(directory, &mut journal, *id, record);
            }
        }
        if journal.is_due(index.records.len()) {
            let records = index.records.iter();
            rewrite(
                directory,
                &mut journal,
                records.map(|(id, record)| (*id, record.clone())),
            );
        }
        journal
    }

    fn file(&mut self, directory: &Path, file: ListedFile) {
        match file {
            ListedFile::Record(id, stamp) => {
                self.records.insert(id);
                self.record(id, stamp, &directory.join(format!("{id}.{RECORD}")));
            }
            ListedFile::Document(id) => self.documents.push(id),
            ListedFile::Aside(path) => self.asides.push(path),
            ListedFile::NoRecord(id) => {
                self.records.insert(id);
                self.foreign += 1;
            }
            ListedFile::Foreign => self.foreign += 1,
            ListedFile::Journal => {}
        }
    }

    fn record(&mut self, id: Id, stamp: Option<Stamp>, path: &Path) {
        if let Some(noted) = self.journal.remove(&id) {
            if stamp == Some(noted.stamp) {
                self.places.insert(id, noted.place);
                self.found.push((id, noted.record));
                return;
            }
            self.stale.push(noted.place);
        }
        let Ok(mut read) = read_record(path) else {
            self.damaged += 1;
            return;
        };
        if !read.is_current
            && let Ok(()) = complete(&mut read.record, &path.with_extension(DOCUMENT))
        {
            self.outdated.push(id);
        }
        self.unlisted.push(id);
        self.found.push((id, read.record));
    }

    /// Removes halves of registrations that a crash cut short: documents without records, and files
    /// that were being written.
    fn remove_remains(&self, directory: &Path) {
        let documents = self.documents.iter();
        let halves = documents.filter(|id| !self.records.contains(id));
        let halves = halves.map(|id| directory.join(format!("{id}.{DOCUMENT}")));
        for path in halves.chain(self.asides.iter().cloned()) {
            let _ = files::remove(&path);
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
