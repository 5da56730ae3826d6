//! The journal: all records in one file, so that a start need not open 100,000 small ones.
//!
//! It is a cache. The records beside it are authoritative: an entry counts only if the file of its
//! record has the length and the time of change that the entry names, and a record without a valid
//! entry is read from its own file. So nothing depends on the journal being whole, or being there,
//! and it is never flushed to the device. The entry of a deleted manifest is overwritten with
//! zeros.

use std::collections::BTreeMap;
use std::fs::{File, Metadata, OpenOptions};
use std::io::{self, BufRead, BufReader, BufWriter, Read, Write};
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use twox_hash::xxhash3_128::Hasher;

use super::files;
use super::record::StoredRecord;
use crate::manifest::Id;

/// With fewer records there is no journal: a start reads them one by one.
pub(super) const LEAST: usize = 1000;
/// Bytes of an entry before its record: the length of that, and its digest.
const LENGTH: usize = 4;
const DIGEST: usize = 16;
/// In place of the digest of an entry that counts no more.
const BLANK: [u8; DIGEST] = [0; DIGEST];
/// Each version of the format has a seed of its own, so the entries of other versions are damaged.
const SEED: u64 = 3;

/// The state of the file of a record.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Stamp {
    length: u64,
    seconds: i64,
    nanoseconds: i64,
}

/// A record, and the state of its file when it was read or written.
#[derive(Serialize, Deserialize)]
pub(super) struct Entry {
    pub(super) id: [u8; 16],
    pub(super) stamp: Stamp,
    pub(super) record: StoredRecord,
}

/// Where an entry is.
#[derive(Debug, Clone, Copy)]
pub(super) struct Place {
    offset: u64,
    /// Its length behind the digest.
    length: u32,
}

/// The journal, as far as there is one.
#[derive(Debug)]
pub(super) struct Journal {
    path: PathBuf,
    file: Option<File>,
    end: u64,
    /// The number of entries, also blank ones.
    entries: usize,
    places: BTreeMap<Id, Place>,
}

/// The entries of a journal, one after the other.
pub(super) struct Entries {
    reader: Option<BufReader<File>>,
    /// The end of the last valid entry.
    end: u64,
    count: usize,
    /// Whether it ends within an entry, or in a damaged one.
    pub(super) is_damaged: bool,
}

impl Stamp {
    pub(super) fn of(metadata: &Metadata) -> Self {
        Self {
            length: metadata.len(),
            // The time of change cannot be set, unlike that of modification.
            seconds: metadata.ctime(),
            nanoseconds: metadata.ctime_nsec(),
        }
    }
}

impl Journal {
    pub(super) fn new(directory: &Path) -> Self {
        Self {
            path: directory.join(files::JOURNAL),
            file: None,
            end: 0,
            entries: 0,
            places: BTreeMap::new(),
        }
    }

    /// The entries of the journal on disk; none if there is no file of ours.
    pub(super) fn read(&self) -> Entries {
        let file = files::open(&self.path, OpenOptions::new().read(true));
        Entries {
            reader: file
                .ok()
                .map(|file| BufReader::with_capacity(1 << 20, file)),
            end: 0,
            count: 0,
            is_damaged: false,
        }
    }

    /// Continues the journal on disk behind these entries, whose valid ones are at `places`.
    pub(super) fn resume(&mut self, read: &Entries, places: BTreeMap<Id, Place>) {
        let file = files::open(&self.path, OpenOptions::new().write(true));
        self.file = file.ok().filter(|_file| read.count > 0);
        (self.end, self.entries, self.places) = (read.end, read.count, places);
    }

    /// Whether it is time to write the journal of `records` records as a whole: it is missing, or
    /// more than half of it is blank.
    pub(super) fn is_due(&self, records: usize) -> bool {
        match self.file {
            Some(_) => self.entries > 2 * records + LEAST,
            None => records >= LEAST && self.entries != usize::MAX,
        }
    }

    /// Writes the journal as a whole.
    pub(super) fn rewrite(&mut self, entries: impl Iterator<Item = Entry>) -> io::Result<()> {
        let path = std::mem::take(&mut self.path);
        // Not tried again until the next start, if it fails.
        *self = Self {
            entries: usize::MAX,
            path,
            ..Self::new(Path::new(""))
        };
        if self
            .path
            .symlink_metadata()
            .is_ok_and(|there| !there.is_file())
        {
            return Err(io::ErrorKind::AlreadyExists.into());
        }
        let mut out = BufWriter::new(files::aside(self.path.parent().unwrap_or(Path::new(".")))?);
        let mut count = 0;
        for entry in entries {
            out.write_all(&self.place(&entry)?)?;
            count += 1;
        }
        let file = out.into_inner().map_err(io::IntoInnerError::into_error)?;
        self.file = Some(file.persist(&self.path).map_err(|error| error.error)?);
        self.entries = count;
        Ok(())
    }

    /// Appends an entry. After a failure there is no journal until the next start.
    pub(super) fn append(&mut self, entry: &Entry) {
        let end = self.end;
        let Some(file) = self.file.take() else {
            return;
        };
        let written = self
            .place(entry)
            .and_then(|bytes| file.write_all_at(&bytes, end));
        self.continue_with(file, written);
        self.entries = self.entries.saturating_add(1);
    }

    /// Overwrites the entry of a deleted manifest: it contains patient data.
    pub(super) fn blank(&mut self, id: Id) {
        if let Some(place) = self.places.remove(&id) {
            self.blank_at(place);
        }
    }

    /// The same at a place where an entry was read.
    pub(super) fn blank_at(&mut self, place: Place) {
        if let Some(file) = self.file.take() {
            let zeros = vec![0; DIGEST + place.length as usize];
            let written = file.write_all_at(&zeros, place.offset + LENGTH as u64);
            self.continue_with(file, written);
        }
    }

    fn continue_with(&mut self, file: File, written: io::Result<()>) {
        match written {
            Ok(()) => self.file = Some(file),
            Err(error) => {
                tracing::warn!(%error, "the journal of manifests cannot be continued");
                self.entries = usize::MAX;
            }
        }
    }

    /// The bytes of an entry, which has its place at the end.
    fn place(&mut self, entry: &Entry) -> io::Result<Vec<u8>> {
        let mut bytes = vec![0; LENGTH + DIGEST];
        bytes = postcard::to_extend(entry, bytes).map_err(io::Error::other)?;
        let (head, body) = bytes.split_at_mut(LENGTH + DIGEST);
        let length = u32::try_from(body.len()).map_err(io::Error::other)?;
        let (for_length, for_digest) = head.split_at_mut(LENGTH);
        for_length.copy_from_slice(&length.to_le_bytes());
        for_digest.copy_from_slice(&digest(body));
        let offset = self.end;
        self.places
            .insert(Id::from_random(entry.id), Place { offset, length });
        self.end += bytes.len() as u64;
        Ok(bytes)
    }
}

impl Entries {
    /// The next entry, or a blank one; an error where the journal is damaged.
    fn read(&mut self) -> io::Result<Option<(Place, Option<Entry>)>> {
        let Some(reader) = &mut self.reader else {
            return Ok(None);
        };
        if reader.fill_buf()?.is_empty() {
            return Ok(None);
        }
        let (mut for_length, mut for_digest) = ([0; LENGTH], [0; DIGEST]);
        reader.read_exact(&mut for_length)?;
        reader.read_exact(&mut for_digest)?;
        let length = u32::from_le_bytes(for_length);
        let mut body = Vec::new();
        reader.take(length.into()).read_to_end(&mut body)?;
        if body.len() as u64 != u64::from(length) {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        let offset = self.end;
        self.end += (LENGTH + DIGEST + body.len()) as u64;
        self.count += 1;
        let place = Place { offset, length };
        if for_digest == BLANK {
            return Ok(Some((place, None)));
        }
        if digest(&body) != for_digest {
            return Err(io::ErrorKind::InvalidData.into());
        }
        let entry = postcard::from_bytes(&body).map_err(io::Error::other)?;
        Ok(Some((place, Some(entry))))
    }
}

impl Iterator for Entries {
    type Item = (Place, Entry);

    fn next(&mut self) -> Option<(Place, Entry)> {
        loop {
            match self.read() {
                Ok(Some((place, Some(entry)))) => return Some((place, entry)),
                Ok(Some((_, None))) => {}
                ended => {
                    self.is_damaged |= ended.is_err();
                    self.reader = None;
                    return None;
                }
            }
        }
    }
}

fn digest(body: &[u8]) -> [u8; DIGEST] {
    Hasher::oneshot_with_seed(SEED, body).to_le_bytes()
}
