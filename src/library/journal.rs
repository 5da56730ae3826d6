//! The journal: all records in one file, so that a start need not open 100,000 small ones.
//!
//! It is a cache. The records beside it are authoritative: an entry counts only if the file of its
//! record has the length and the time of change that the entry names, and a record without a valid
//! entry is read from its own file. So nothing depends on the journal being whole, or being there,
//! and it is never flushed to the device. The entry of a deleted manifest stays until the journal
//! is written anew.

use std::fs::{File, Metadata, OpenOptions};
use std::io::{self, BufRead, BufReader, BufWriter, Read, Write};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use twox_hash::xxhash3_128::Hasher;

use super::files;
use super::record::StoredRecord;

/// With fewer records there is no journal: a start reads them one by one.
pub(super) const LEAST: usize = 1000;
/// Bytes of an entry before its record: the length of the rest, and its digest.
const HEAD: usize = 4 + 16;
/// The longest entry.
const LONGEST: usize = 128 << 20;
/// Each version of the format has a seed of its own, so that the entries of others are damaged ones.
const SEED: u64 = 1;

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

/// The journal, as far as there is one.
#[derive(Debug)]
pub(super) struct Journal {
    path: PathBuf,
    file: Option<File>,
    /// The number of entries, also those of deleted manifests.
    entries: usize,
}

/// The entries of a journal.
pub(super) struct Entries {
    reader: Option<BufReader<File>>,
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
            entries: 0,
        }
    }

    /// The entries of the journal on disk; none if there is no file of ours.
    pub(super) fn read(&self) -> Entries {
        let file = files::open(&self.path, OpenOptions::new().read(true));
        Entries {
            reader: file.ok().map(|file| BufReader::with_capacity(1 << 20, file)),
            is_damaged: false,
        }
    }

    /// Continues the journal on disk, which has so many entries and is whole.
    pub(super) fn resume(&mut self, entries: usize) {
        let file = files::open(&self.path, OpenOptions::new().append(true));
        self.file = file.ok();
        self.entries = entries;
    }

    /// Whether it is time to write the journal of `records` records as a whole: it is missing, or
    /// more than half of it is about deleted manifests.
    pub(super) fn is_due(&self, records: usize) -> bool {
        match self.file {
            Some(_) => self.entries > 2 * records + LEAST,
            None => records >= LEAST && self.entries <= records,
        }
    }

    /// Writes the journal as a whole.
    pub(super) fn rewrite(&mut self, entries: impl Iterator<Item = Entry>) -> io::Result<()> {
        self.file = None;
        // Not tried again until the next start, if it fails.
        self.entries = usize::MAX;
        if self.path.symlink_metadata().is_ok_and(|there| !there.is_file()) {
            return Err(io::ErrorKind::AlreadyExists.into());
        }
        let mut out = BufWriter::new(files::aside(self.path.parent().unwrap_or(Path::new(".")))?);
        let mut count = 0;
        for entry in entries {
            out.write_all(&entry.bytes()?)?;
            count += 1;
        }
        let file = out.into_inner().map_err(io::IntoInnerError::into_error)?;
        file.persist(&self.path).map_err(|error| error.error)?;
        self.resume(count);
        Ok(())
    }

    /// Appends an entry. After a failure there is no journal until the next start.
    pub(super) fn append(&mut self, entry: &Entry) {
        let Some(file) = &mut self.file else {
            return;
        };
        match entry.bytes().and_then(|bytes| file.write_all(&bytes)) {
            Ok(()) => self.entries += 1,
            Err(error) => {
                tracing::warn!(%error, "the journal of manifests cannot be continued");
                self.file = None;
                self.entries = usize::MAX;
            }
        }
    }
}

impl Entry {
    fn bytes(&self) -> io::Result<Vec<u8>> {
        let mut bytes = vec![0; HEAD];
        bytes = postcard::to_extend(self, bytes).map_err(io::Error::other)?;
        let (head, body) = bytes.split_at_mut(HEAD);
        let length = u32::try_from(body.len()).map_err(io::Error::other)?;
        let (for_length, for_digest) = head.split_at_mut(4);
        for_length.copy_from_slice(&length.to_le_bytes());
        for_digest.copy_from_slice(&digest(body));
        Ok(bytes)
    }
}

impl Entries {
    /// The next entry; `None` at the end, or where the journal is damaged.
    fn read(&mut self) -> io::Result<Option<Entry>> {
        let Some(reader) = &mut self.reader else {
            return Ok(None);
        };
        if reader.fill_buf()?.is_empty() {
            return Ok(None);
        }
        let (mut for_length, mut for_digest) = ([0; 4], [0; 16]);
        reader.read_exact(&mut for_length)?;
        reader.read_exact(&mut for_digest)?;
        let length = usize::try_from(u32::from_le_bytes(for_length)).unwrap_or(usize::MAX);
        if length > LONGEST {
            return Err(io::ErrorKind::InvalidData.into());
        }
        let mut body = Vec::new();
        reader.take(length as u64).read_to_end(&mut body)?;
        if body.len() < length || digest(&body) != for_digest {
            return Err(io::ErrorKind::InvalidData.into());
        }
        postcard::from_bytes(&body).map(Some).map_err(io::Error::other)
    }
}

impl Iterator for Entries {
    type Item = Entry;

    fn next(&mut self) -> Option<Entry> {
        let read = self.read();
        self.is_damaged |= read.is_err();
        if !matches!(read, Ok(Some(_))) {
            self.reader = None;
        }
        read.ok().flatten()
    }
}

fn digest(body: &[u8]) -> [u8; 16] {
    Hasher::oneshot_with_seed(SEED, body).to_le_bytes()
}
