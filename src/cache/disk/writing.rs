//! A new file of the disk tier.

use std::fs::{self, DirBuilder};
use std::io;
use std::os::unix::fs::{DirBuilderExt, FileExt};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::SystemTime;

use sha2::{Digest, Sha256};

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
    length: u64,
    sha256: Sha256,
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
        let generation = self.generation.fetch_add(1, Ordering::AcqRel);
        let name = Name::new(&pending.key, generation);
        let path = name.path_while_new(&self.folder);
        make_folder(path.parent())?;
        let file = name::create(&path)?;
        Ok(FileWriter {
            pending,
            name,
            identity: identity.clone(),
            validity,
            file: Arc::new(GrowingFile::new(file, name.seal())),
            path,
            length: 0,
            sha256: Sha256::new(),
            digesting: LeafDigester::new(name.seal()),
        })
    }
}

/// Creates the folder of a file, unless it exists. A symbolic link does not count.
fn make_folder(folder: Option<&Path>) -> io::Result<()> {
    let Some(folder) = folder else {
        return Ok(());
    };
    match fs::symlink_metadata(folder) {
        Ok(found) if found.is_dir() => Ok(()),
        Ok(_) => Err(io::ErrorKind::NotADirectory.into()),
        Err(_not_there) => match DirBuilder::new().mode(0o700).create(folder) {
            // Another writer has created it.
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
            made => made,
        },
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
        self.sha256.update(bytes);
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
        let sha256 = std::mem::take(&mut self.sha256).finalize().into();
        let disk = &self.pending.disk;
        let (length, digests) = self.file.digests();
        let stored = Stored {
            key: self.pending.key.clone(),
            sop_class: self.identity.sop_class.clone(),
            transfer_syntax: self.identity.transfer_syntax.clone(),
            length,
            sha256,
            stored_at: SystemTime::now(),
            validity: self.validity.copied(),
            generation: self.name.generation,
            used: AtomicU64::new(0),
            opened: Mutex::default(),
        };
        let stored = disk.index().shared(stored);
        let table = table(&digests);
        let file = self.file.file();
        file.write_all_at(&table, BODY_AT + length)?;
        file.write_all_at(&header::page(&stored, &table)?, 0)?;
        let path = self.name.path(&disk.folder);
        if self.pending.is_forgotten() {
            return Err(io::ErrorKind::Interrupted.into());
        }
        fs::rename(&self.path, &path)?;
        let stored = Arc::new(stored);
        // Under the lock of purges: a purge either marks `pending` before, or removes the entry
        // after.
        let mut index = disk.index();
        if self.pending.is_forgotten() {
            drop(index);
            name::delete(&path);
            return Err(io::ErrorKind::Interrupted.into());
        }
        let inserted = index.insert(Arc::clone(&stored));
        drop(index);
        disk.let_go(inserted);
        Ok(stored)
    }
}

impl Drop for FileWriter {
    fn drop(&mut self) {
        // A finished file has been renamed.
        name::delete(&self.path);
    }
}
