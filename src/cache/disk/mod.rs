//! The disk tier: one file for each instance, written aside, then renamed.
//!
//! A file begins with a page that says what it holds, and ends with a digest for each 64 KiB of its body.
//! The page is written last and has a digest of its own. When a file is opened, page and table are compared
//! with what the index knows; of the body no byte is given before its piece has been verified. What cannot be
//! read, or is not what was written, is discarded; the caller fetches it again.
//!
//! After a kill the files that were being written are deleted. Nothing is flushed to the device: a kill
//! loses nothing that was written, and what a power cut loses is found like any other damage.
//!
//! Everything here blocks, but for what says that it does not.

mod header;
mod index;
mod leaves;
mod name;
mod remover;
mod writing;

use std::fs::{self, DirBuilder};
use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::{Duration, SystemTime};

use super::{Key, Validity};
use crate::dicom::part10::Identity;
use crate::dicom::{SopClassUid, TransferSyntax};
use crate::metrics::Metrics;
pub use header::BODY_AT;
use index::Index;
pub use leaves::{Growing, LEAF, StoredFile};
use name::Name;
use remover::Remover;
pub use writing::Writing;

/// The name of this tier in metrics and in `Cache-Status`.
pub const TIER: &str = "disk";

/// Where files were written in the first format.
const OLD_NEW: &str = "new";
/// Entries that are dropped for their age while others wait for the index.
const EXPIRE_AT_ONCE: usize = 256;

/// Bounds of the tier.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// Bytes of files.
    pub bytes: u64,
    /// Time after which a file is dropped.
    pub age: Duration,
    /// Bytes of memory for the index.
    pub index: u64,
}

impl Limits {
    fn is_over(&self, stored: &Stored, now: SystemTime) -> bool {
        let age = now.duration_since(stored.stored_at);
        age.is_ok_and(|age| age >= self.age)
    }
}

/// Instances on disk.
#[derive(Debug, Clone)]
pub struct Disk {
    folder: Arc<Path>,
    index: Arc<Mutex<Index>>,
    /// Of the next file; never used twice, also not across starts.
    generation: Arc<AtomicU64>,
    remover: Remover,
    metrics: Metrics,
}

/// An instance on disk.
#[derive(Debug)]
pub struct Stored {
    /// What it is kept as.
    pub key: Key,
    /// Its SOP class.
    pub sop_class: SopClassUid,
    /// Its transfer syntax.
    pub transfer_syntax: TransferSyntax,
    /// Bytes of its body.
    pub length: u64,
    /// SHA-256 of its body.
    pub sha256: [u8; 32],
    /// When it was written.
    pub stored_at: SystemTime,
    /// For how long it serves. A confirmation does not outlive the process: after a start the source
    /// is asked again.
    pub validity: Validity,
    generation: u64,
    /// When it was used last, counted in uses.
    used: AtomicU64,
    /// Those who read at the same time share it.
    opened: Mutex<Weak<StoredFile>>,
}

/// Something that is under way for a key, and must not bring it back if it is forgotten meanwhile.
#[derive(Debug)]
pub struct Pending {
    disk: Disk,
    key: Key,
    mark: Arc<AtomicBool>,
}

impl Pending {
    /// The key.
    #[must_use]
    pub fn key(&self) -> &Key {
        &self.key
    }

    /// Whether the key was forgotten since this began.
    #[must_use]
    pub fn is_forgotten(&self) -> bool {
        self.mark.load(Ordering::Acquire)
    }
}

impl Drop for Pending {
    fn drop(&mut self) {
        self.disk.index().end(&self.key, &self.mark);
    }
}

impl Disk {
    /// Opens the folder and finds what is in it, without reading bodies. Takes as long as there are
    /// many files.
    ///
    /// # Errors
    /// If the folder cannot be made or read.
    pub fn open(folder: &Path, limits: Limits, metrics: &Metrics) -> io::Result<Self> {
        let made = DirBuilder::new().recursive(true).mode(0o700).create(folder);
        made?;
        let folder: Arc<Path> = folder.into();
        let disk = Self {
            index: Arc::new(Mutex::new(Index::new(limits))),
            generation: Arc::default(),
            remover: Remover::start(&folder)?,
            folder,
            metrics: metrics.clone(),
        };
        disk.read_folder(limits)?;
        Ok(disk)
    }

    fn read_folder(&self, limits: Limits) -> io::Result<()> {
        let mut found = Vec::new();
        let now = SystemTime::now();
        for folder in fs::read_dir(&self.folder)? {
            let folder = folder?;
            let folder_name = folder.file_name();
            let Some(folder_name) = folder_name.to_str() else {
                continue;
            };
            // That of an entry, which is no link that is followed.
            let is_ours = name::is_folder(folder_name) || folder_name == OLD_NEW;
            if !is_ours || !folder.file_type()?.is_dir() {
                continue;
            }
            for file in fs::read_dir(folder.path())? {
                let file = file?;
                let text = file.file_name();
                let name = text.to_str().and_then(Name::parse);
                let (Some((name, is_new)), true) = (name, file.file_type()?.is_file()) else {
                    continue;
                };
                let next = name.generation.saturating_add(1);
                self.generation.fetch_max(next, Ordering::AcqRel);
                let is_in_place = folder_name == name.folder();
                let is_whole = is_in_place && !is_new;
                let stored = is_whole.then(|| header::read(&file.path(), name)).flatten();
                match stored.filter(|stored| !limits.is_over(stored, now)) {
                    Some(stored) => found.push(self.index().shared(stored)),
                    None if is_in_place || folder_name == OLD_NEW => name::delete(&file.path()),
                    None => {}
                }
            }
        }
        // Of the first format, unless somebody else has put something there.
        let _ = fs::remove_dir(self.folder.join(OLD_NEW));
        // The oldest first: it is the first to leave.
        found.sort_by_key(|stored| stored.stored_at);
        for stored in found {
            self.insert(Arc::new(stored));
        }
        Ok(())
    }

    /// An instance, if it is here. It may still prove damaged. Does not block.
    #[must_use]
    pub fn find(&self, key: &Key) -> Option<Arc<Stored>> {
        self.index().find(key)
    }

    /// As [`Disk::find`], and it counts as no use of it.
    #[must_use]
    pub fn peek(&self, key: &Key) -> Option<Arc<Stored>> {
        self.index().peek(key)
    }

    /// Notes that something is under way for a key. Does not block.
    #[must_use]
    pub fn pending(&self, key: &Key) -> Pending {
        Pending {
            mark: self.index().begin(key),
            disk: self.clone(),
            key: key.clone(),
        }
    }

    /// Opens a file; those who read it at the same time share it.
    ///
    /// # Errors
    /// If it is gone, damaged, or cannot be read.
    pub fn read(&self, stored: &Stored) -> io::Result<Arc<StoredFile>> {
        let known = || stored.opened.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(opened) = known().upgrade() {
            return Ok(opened);
        }
        let opened = Arc::new(header::open(&stored.name().path(&self.folder), stored)?);
        *known() = Arc::downgrade(&opened);
        Ok(opened)
    }

    /// Drops an instance that proved damaged, or cannot be read.
    pub fn discard(&self, stored: &Arc<Stored>) {
        if self.index().remove_this(stored) {
            self.metrics.cache_damaged.inc();
            self.remover.now(vec![Arc::clone(stored)]);
        }
    }

    /// Forgets one instance, if it is here or under way. Does not block: its file is deleted by and by.
    pub fn forget_one(&self, key: &Key) {
        let left = self.index().forget_one(key);
        if let Some(stored) = left {
            self.remover.later(stored);
        }
    }

    /// Forgets what `which` says, also what is under way of it. Its files are deleted on return. Gives
    /// how many instances that were.
    pub fn forget(&self, which: &dyn Fn(&Key) -> bool) -> usize {
        let left = self.index().forget(which);
        let forgotten = left.len();
        self.remover.now(left);
        forgotten
    }

    fn insert(&self, stored: Arc<Stored>) {
        let inserted = self.index().insert(stored);
        self.let_go(inserted);
    }

    fn let_go(&self, inserted: index::Inserted) {
        let evictions = self.metrics.cache_evictions.with_label_values(&[TIER]);
        evictions.inc_by(inserted.evicted);
        self.remover.now(inserted.left);
    }

    /// Drops what is too old, and tells the metrics how much is here.
    pub fn observe(&self) {
        let evictions = self.metrics.cache_evictions.with_label_values(&[TIER]);
        loop {
            let left = self.index().expire(EXPIRE_AT_ONCE);
            if left.is_empty() {
                break;
            }
            evictions.inc_by(left.len() as u64);
            self.remover.now(left);
        }
        let gauge = |value: u64| value.try_into().unwrap_or(i64::MAX);
        let (bytes, memory, entries) = self.index().sizes();
        let (metrics, tier) = (&self.metrics, &[TIER]);
        let bytes = bytes + self.remover.waiting();
        metrics
            .cache_bytes
            .with_label_values(tier)
            .set(gauge(bytes));
        let shown = metrics.cache_entries.with_label_values(tier);
        shown.set(gauge(entries as u64));
        metrics.cache_index_bytes.set(gauge(memory));
    }

    fn index(&self) -> MutexGuard<'_, Index> {
        self.index.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Stored {
    /// Which instance it is.
    #[must_use]
    pub fn identity(&self) -> Identity {
        Identity {
            sop_class: self.sop_class.clone(),
            sop_instance: self.key.instance.clone(),
            study: self.key.study.clone(),
            series: self.key.series.clone(),
            transfer_syntax: self.transfer_syntax.clone(),
        }
    }

    fn name(&self) -> Name {
        Name::new(&self.key, self.generation)
    }
}

#[cfg(test)]
mod tests;
