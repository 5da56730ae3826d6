//! A file that is being written.

use std::fs::{self, DirBuilder};
use std::io;
use std::os::unix::fs::{DirBuilderExt, FileExt};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::SystemTime;

use sha2::{Digest, Sha256};

use super::leaves::{Digesting, table};
use super::name::{self, Name};
use super::{BODY_AT, Disk, Growing, Pending, Stored, Validity, header};
use crate::dicom::part10::Identity;

/// A file that is being written; it is deleted unless it is finished.
#[derive(Debug)]
pub struct Writing {
    pending: Pending,
    name: Name,
    identity: Identity,
    validity: Validity,
    file: Arc<Growing>,
    path: PathBuf,
    length: u64,
    sha256: Sha256,
    digesting: Digesting,
}

impl Disk {
    /// Begins to write an instance. It is not kept if `pending` turns out to be forgotten.
    ///
    /// # Errors
    /// If there is no room, or no right to.
    pub fn begin(
        &self,
        pending: Pending,
        identity: &Identity,
        validity: Validity,
    ) -> io::Result<Writing> {
        let generation = self.generation.fetch_add(1, Ordering::AcqRel);
        let name = Name::new(&pending.key, generation);
        let path = name.path_while_new(&self.folder);
        make_folder(path.parent())?;
        let file = name::create(&path)?;
        Ok(Writing {
            pending,
            name,
            identity: identity.clone(),
            validity,
            file: Arc::new(Growing::new(file, name.seal())),
            path,
            length: 0,
            sha256: Sha256::new(),
            digesting: Digesting::new(name.seal()),
        })
    }
}

/// Makes the folder of a file, unless it is there. A link to a folder is not one.
fn make_folder(folder: Option<&Path>) -> io::Result<()> {
    let Some(folder) = folder else {
        return Ok(());
    };
    match fs::symlink_metadata(folder) {
        Ok(found) if found.is_dir() => Ok(()),
        Ok(_) => Err(io::ErrorKind::NotADirectory.into()),
        Err(_not_there) => match DirBuilder::new().mode(0o700).create(folder) {
            // Another writer was quicker.
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
            made => made,
        },
    }
}

impl Writing {
    /// Adds to the body.
    ///
    /// # Errors
    /// If there is no room.
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

    /// The file, for those who read it while it grows.
    #[must_use]
    pub fn file(&self) -> Arc<Growing> {
        Arc::clone(&self.file)
    }

    /// Makes it found from now on.
    ///
    /// # Errors
    /// If there is no room; [`io::ErrorKind::Interrupted`] if it was forgotten while it was written.
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
        // Under the lock under which keys are forgotten: either this is marked, or found and taken out.
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

impl Drop for Writing {
    fn drop(&mut self) {
        // It is not there any more if it was finished.
        name::delete(&self.path);
    }
}
