//! A file that grows while its instance arrives.
//!
//! Its first page is written last, then it is renamed.

use std::fs;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::PathBuf;
use std::sync::Arc;

use blake3::Hasher;

use super::leaves::{LeafDigester, table};
use super::name::{self, Name};
use super::{BODY_AT, Disk, GrowingFile, Pending, Stored, Validity, header};
use crate::dicom::part10::Identity;

/// A new file; deleted on drop unless it is finished.
#[derive(Debug)]
pub struct FileWriter {
    pending: Pending,
    name: Name,
    identity: Identity,
    validity: Validity,
    file: Arc<GrowingFile>,
    path: PathBuf,
    is_renamed: bool,
    length: u64,
    blake3: Box<Hasher>,
    digesting: LeafDigester,
}

impl Disk {
    /// Begins the file of an instance. It is discarded if `pending` is marked as purged.
    ///
    /// # Errors
    /// If the disk is full, or the permission is missing.
    pub fn begin(
        &self,
        pending: Pending,
        identity: &Identity,
        validity: Validity,
    ) -> io::Result<FileWriter> {
        let name = self.new_name(&pending.key);
        let path = name.path_while_new(&self.folder);
        let file = self.create(name, &path)?;
        Ok(FileWriter {
            pending,
            name,
            identity: identity.clone(),
            validity,
            file: Arc::new(GrowingFile::new(file, name.seal())),
            path,
            is_renamed: false,
            length: 0,
            blake3: Box::default(),
            digesting: LeafDigester::new(name.seal()),
        })
    }
}

impl FileWriter {
    /// Appends to the body.
    ///
    /// # Errors
    /// If the disk is full.
    pub fn append(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.file
            .file()
            .write_all_at(bytes, BODY_AT + self.length)?;
        self.blake3.update(bytes);
        self.length += bytes.len() as u64;
        let complete = self.digesting.update(bytes);
        let tail = self.digesting.tail();
        self.file.grow(bytes.len() as u64, complete, tail);
        Ok(())
    }

    /// The file, for readers while it grows.
    #[must_use]
    pub fn file(&self) -> Arc<GrowingFile> {
        Arc::clone(&self.file)
    }

    /// Completes the file, and adds it to the index.
    ///
    /// # Errors
    /// If the disk is full; [`io::ErrorKind::Interrupted`] if the instance was purged meanwhile.
    pub fn finish(mut self) -> io::Result<Arc<Stored>> {
        let disk = &self.pending.disk;
        let (length, digests) = self.file.digests();
        let (key, validity) = (self.pending.key.clone(), self.validity.copied());
        let stored = Stored {
            length,
            blake3: self.blake3.finalize().into(),
            ..Stored::new(key, &self.identity, validity, self.name.generation)
        };
        let table = table(&digests);
        let file = self.file.file();
        file.write_all_at(&table, BODY_AT + length)?;
        file.write_all_at(&header::page(&stored, self.name, &table)?, 0)?;
        let path = self.name.path(&disk.folder);
        if self.pending.is_forgotten() {
            return Err(io::ErrorKind::Interrupted.into());
        }
        fs::rename(&self.path, &path)?;
        self.is_renamed = true;
        let shown = self.pending.disk.show(&self.pending, stored);
        shown.inspect_err(|_not_shown| name::delete(&path))
    }
}

impl Drop for FileWriter {
    fn drop(&mut self) {
        if !self.is_renamed {
            name::delete(&self.path);
        }
    }
}
