//! Files of instances that are all in memory: one call writes a file, another one reads it.
//!
//! A file is created under its final name, because a new name costs more than a check: after a kill
//! it is shorter than its own first page says, and the next start deletes it.

use std::fs::File;
use std::io::{self, IoSlice, IoSliceMut, Write};
use std::sync::Arc;
use std::sync::atomic::Ordering;

use bytes::Bytes;

use super::leaves::{BODY_AT, DIGEST, count, table};
use super::name::{self, Name};
use super::{Disk, Key, Pending, Stored, Validity, header};
use crate::body::Wait;
use crate::dicom::part10::Identity;
use crate::digest::Blake3;

/// Bytes of this size are read and verified in less than a millisecond.
const QUICK: u64 = 1 << 20;

/// An instance in memory.
#[derive(Debug)]
pub struct Landed<'a> {
    /// Its identity, parsed from its own bytes.
    pub identity: &'a Identity,
    /// Its freshness.
    pub validity: Validity,
    /// The Part 10 file.
    pub bytes: &'a [u8],
    /// The BLAKE3 of the bytes.
    pub blake3: Blake3,
}

impl Disk {
    /// Writes an instance to a file, and adds it to the index.
    ///
    /// # Errors
    /// If the disk is full; [`io::ErrorKind::Interrupted`] if the instance was purged meanwhile.
    pub fn store(
        &self,
        pending: &Pending,
        Landed {
            identity,
            validity,
            bytes,
            blake3,
        }: Landed<'_>,
    ) -> io::Result<Arc<Stored>> {
        let name = self.new_name(&pending.key);
        let stored = Stored::new(pending.key.clone(), identity, validity, name.generation);
        let stored = Stored {
            length: bytes.len() as u64,
            blake3,
            ..stored
        };
        let table = table(&name.seal().leaves(bytes));
        let page = header::page(&stored, name, &table)?;
        let path = name.path(&self.folder);
        let file = self.create(name, &path)?;
        let written = write_all(&file, [&page, bytes, &table]);
        let shown = written.and_then(|()| self.show(pending, stored));
        shown.inspect_err(|_not_shown| name::delete(&path))
    }

    /// All bytes of an instance, verified. With [`Wait::Never`] only of a small one.
    ///
    /// # Errors
    /// If the file is missing, damaged or unreadable; [`io::ErrorKind::WouldBlock`] if it cannot be
    /// read without waiting.
    pub fn read_whole(&self, stored: &Stored, wait: Wait) -> io::Result<Bytes> {
        if wait == Wait::Never && stored.length > QUICK {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        let (name, wait) = (stored.name(), wait.with(self.at_once));
        let file = header::open_file(&name.path(&self.folder), stored.length, wait)?;
        let mut page = vec![0; buffer(BODY_AT)?];
        let mut bytes = vec![0; buffer(stored.length)?];
        let mut table = vec![0; buffer(count(stored.length) * DIGEST)?];
        let mut buffers = [&mut page, &mut bytes, &mut table].map(|part| IoSliceMut::new(part));
        wait.read_exact_at(&file, &mut buffers, 0)?;
        let digests = header::verified(stored, name, &page, &table)?;
        if name.seal().leaves(&bytes) != digests {
            return Err(io::ErrorKind::InvalidData.into());
        }
        Ok(bytes.into())
    }

    /// A name that no file has had.
    pub(super) fn new_name(&self, key: &Key) -> Name {
        let generation = self.generation.fetch_add(1, Ordering::AcqRel);
        Name::new(key, generation)
    }
}

fn buffer(length: u64) -> io::Result<usize> {
    usize::try_from(length).map_err(io::Error::other)
}

/// One call, unless the disk fills up meanwhile.
fn write_all(mut file: &File, parts: [&[u8]; 3]) -> io::Result<()> {
    let mut slices = parts.map(IoSlice::new);
    let mut left = &mut slices[..];
    IoSlice::advance_slices(&mut left, 0);
    while !left.is_empty() {
        match file.write_vectored(left) {
            Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
            Ok(written) => IoSlice::advance_slices(&mut left, written),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}
