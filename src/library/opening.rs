//! Scans the directory when the library is opened.

use std::fs;
use std::io;
use std::path::Path;
use std::sync::Arc;

use super::files::{self, DOCUMENT, Name, RECORD};
use super::index::Index;
use super::record::{Record, read_record};
use super::{Error, outlines, random_id};
use crate::manifest::{Id, Registered};

/// Reads all records, and removes the remains of a crash. Foreign files stay; they are counted.
pub(super) fn read_all(directory: &Path) -> io::Result<Index> {
    let mut reading = Scan::default();
    for entry in fs::read_dir(directory)? {
        reading.entry(&entry?);
    }
    let Scan {
        found,
        outdated,
        foreign,
        damaged,
    } = reading;
    if damaged > 0 {
        tracing::error!(damaged, "records of manifests are damaged or unreadable");
    }
    if foreign > 0 {
        tracing::warn!(foreign, "the directory of manifests holds foreign files");
    }
    let entries = Index::of(found);
    for id in outdated {
        if let Some(record) = entries.records.get(&id) {
            let path = directory.join(format!("{id}.{RECORD}"));
            // Where that fails, it is done again at the next start.
            if let Err(error) = record.write(&path) {
                tracing::warn!(%error, "the record of a manifest cannot be brought up to date");
            }
        }
    }
    Ok(entries)
}

#[derive(Default)]
struct Scan {
    found: Vec<(Id, Record)>,
    /// The manifests with records that are to be written anew.
    outdated: Vec<Id>,
    foreign: usize,
    damaged: usize,
}

impl Scan {
    fn entry(&mut self, entry: &fs::DirEntry) {
        let is_file = entry.file_type().is_ok_and(|kind| kind.is_file());
        let name = Name::parse(&entry.file_name()).filter(|_name| is_file);
        let path = entry.path();
        match name {
            None => self.foreign += 1,
            Some(Name::Record(id)) => self.record(id, &path),
            // Half of a registration that a crash cut short.
            Some(Name::Document(_)) => {
                if fs::symlink_metadata(path.with_extension(RECORD)).is_err() {
                    let _ = files::remove(&path);
                }
            }
            Some(Name::Aside) => {
                let _ = files::remove(&path);
            }
        }
    }

    fn record(&mut self, id: Id, path: &Path) {
        let Ok(mut read) = read_record(path) else {
            self.damaged += 1;
            return;
        };
        if !read.is_current
            && let Ok(()) = complete(&mut read.record, &path.with_extension(DOCUMENT))
        {
            self.outdated.push(id);
        }
        self.found.push((id, read.record));
    }
}

/// Rebuilds the outlines of the studies for this version.
fn complete(record: &mut Record, document: &Path) -> Result<(), Error> {
    let document = record.document(document)?.ok_or(Error::Lost)?;
    let manifest = crate::manifest::read(&document)?;
    let registration = record.registration.clone();
    let registered = Registered::new(random_id()?, registration, manifest)?;
    record.studies = outlines(&Arc::new(registered).holding);
    Ok(())
}
