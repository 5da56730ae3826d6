//! The disk tier: one file for each instance.
//!
//! A file begins with a header page, and ends with a digest for each 64 KiB of its body. The header
//! has its own digest. Opening a file compares its header and table with the index; each leaf of the
//! body is verified before it is served. A damaged or unreadable file is discarded, and the caller
//! fetches the instance again.
//!
//! One call writes the file of an instance that is in memory (`whole`). The file of an instance that
//! is arriving grows under a temporary name, and its header is written last (`writing`).
//!
//! After a kill, incomplete files are deleted. The tier never flushes to the device: a kill loses
//! no written file, and damage by a power failure is detected like any other.
//!
//! All functions block, unless they state otherwise or are told not to ([`Wait::Never`]).

mod header;
mod index;
mod leaves;
mod name;
mod remover;
mod whole;
mod writing;

use std::fs::{self, DirBuilder, File};
use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::{Duration, SystemTime};

use super::{Key, Validity};
use crate::body::Wait;
use crate::dicom::part10::Identity;
use crate::dicom::{PatientIds, SopClassUid, TransferSyntax};
use crate::digest::Blake3;
use crate::metrics::Metrics;
use index::Index;
pub use leaves::{BODY_AT, GrowingFile, LEAF, StoredFile};
use name::Name;
use remover::Remover;
pub use whole::Landed;
pub use writing::FileWriter;

/// The name of this tier in metrics and in `Cache-Status`.
pub const TIER: &str = "disk";

/// The folder of temporary files in the first format.
const OLD_NEW: &str = "new";
/// Entries that expire at once while others wait for the index.
const EXPIRE_AT_ONCE: usize = 256;

/// Bounds of the tier.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// Bytes of files.
    pub bytes: u64,
    /// The age limit of a file.
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
    /// The generation of the next file; never reused, even across restarts.
    generation: Arc<AtomicU64>,
    remover: Remover,
    /// The way to read a file without waiting.
    at_once: Wait,
    /// Whether each of the folders of files has been made, or seen to exist.
    folders: Arc<[AtomicBool; 256]>,
    metrics: Metrics,
}

/// An instance on disk.
#[derive(Debug)]
pub struct Stored {
    /// Its cache key.
    pub key: Key,
    /// Its SOP class.
    pub sop_class: SopClassUid,
    /// Its transfer syntax.
    pub transfer_syntax: TransferSyntax,
    /// The patient that its bytes name.
    pub patient: PatientIds,
    /// Bytes of its body.
    pub length: u64,
    /// The BLAKE3 of its body.
    pub blake3: Blake3,
    /// When it was written.
    pub stored_at: SystemTime,
    /// Its freshness. Confirmations are not stored: after a restart the source is asked again.
    pub validity: Validity,
    generation: u64,
    /// The last use, counted in uses.
    used: AtomicU64,
    /// The open file, shared by concurrent readers.
    opened: Mutex<Weak<StoredFile>>,
}

/// Pending work for a key, which must not restore a purged instance.
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

    /// Whether the key was purged since the work began.
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
    /// Opens the folder and indexes its files by their headers. It takes time for many files.
    ///
    /// # Errors
    /// If the folder cannot be created or read.
    pub fn open(folder: &Path, limits: Limits, metrics: &Metrics) -> io::Result<Self> {
        let made = DirBuilder::new().recursive(true).mode(0o700).create(folder);
        made?;
        let folder: Arc<Path> = folder.into();
        let disk = Self {
            index: Arc::new(Mutex::new(Index::new(limits))),
            generation: Arc::default(),
            remover: Remover::start(&folder)?,
            at_once: Wait::never_below(&folder),
            folders: Arc::new([const { AtomicBool::new(false) }; 256]),
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
            // The type of the entry itself: symbolic links are not followed.
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
        // Empty unless an operator has put files there.
        let _ = fs::remove_dir(self.folder.join(OLD_NEW));
        // Oldest first: the first to be evicted. A kill can leave two generations of one key.
        found.sort_by_key(|stored| (stored.stored_at, stored.generation));
        for stored in found {
            self.insert(Arc::new(stored));
        }
        Ok(())
    }

    /// An entry, if the instance is stored. Its file may be damaged. Does not block.
    #[must_use]
    pub fn find(&self, key: &Key) -> Option<Arc<Stored>> {
        self.index().find(key)
    }

    /// As [`Disk::find`], but does not count as a use.
    #[must_use]
    pub fn peek(&self, key: &Key) -> Option<Arc<Stored>> {
        self.index().peek(key)
    }

    /// Registers pending work for a key. Does not block.
    #[must_use]
    pub fn pending(&self, key: &Key) -> Pending {
        Pending {
            mark: self.index().begin(key),
            disk: self.clone(),
            key: key.clone(),
        }
    }

    /// Opens a file to read its body in parts; concurrent readers share it.
    ///
    /// # Errors
    /// If the file is missing, damaged or unreadable; [`io::ErrorKind::WouldBlock`] if it cannot be
    /// opened without waiting.
    pub fn open_file(&self, stored: &Stored, wait: Wait) -> io::Result<Arc<StoredFile>> {
        let known = || stored.opened.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(opened) = known().upgrade() {
            return Ok(opened);
        }
        let reads = header::Reads {
            now: wait.with(self.at_once),
            at_once: self.at_once,
        };
        let path = stored.name().path(&self.folder);
        let opened = Arc::new(header::open(&path, stored, reads)?);
        *known() = Arc::downgrade(&opened);
        Ok(opened)
    }

    /// Removes a damaged or unreadable instance. Does not block: its file is deleted later.
    pub fn discard(&self, stored: &Arc<Stored>) {
        if self.index().remove_this(stored) {
            self.metrics.cache_damaged.inc();
            self.remover.later(vec![Arc::clone(stored)]);
        }
    }

    /// Purges one instance, stored or pending. Does not block: its file is deleted later.
    pub fn forget_one(&self, key: &Key) {
        let left = self.index().forget_one(key);
        self.remover.later(Vec::from_iter(left));
    }

    /// Purges the selected instances, stored or pending, deletes their files, and returns their
    /// number.
    pub fn forget(&self, which: &dyn Fn(&Key) -> bool) -> usize {
        let left = self.index().forget(which);
        let forgotten = left.len();
        self.remover.now(&left);
        forgotten
    }

    fn create(&self, name: Name, path: &Path) -> io::Result<File> {
        let is_made = &self.folders[usize::from(name.key[0])];
        if is_made.load(Ordering::Acquire) {
            let created = name::create(path);
            // If not, an operator has deleted the folder.
            if !matches!(&created, Err(error) if error.kind() == io::ErrorKind::NotFound) {
                return created;
            }
        }
        name::make_folder(path.parent().unwrap_or(&self.folder))?;
        is_made.store(true, Ordering::Release);
        name::create(path)
    }

    /// Adds a complete file to the index, unless its instance was purged meanwhile.
    fn show(&self, pending: &Pending, stored: Stored) -> io::Result<Arc<Stored>> {
        // Under the lock of purges: a purge either marks `pending` before, or removes the entry
        // after.
        let mut index = self.index();
        if pending.is_forgotten() {
            return Err(io::ErrorKind::Interrupted.into());
        }
        let stored = Arc::new(index.shared(stored));
        let inserted = index.insert(Arc::clone(&stored));
        drop(index);
        self.let_go(inserted);
        Ok(stored)
    }

    fn insert(&self, stored: Arc<Stored>) {
        let inserted = self.index().insert(stored);
        self.let_go(inserted);
    }

    fn let_go(&self, inserted: index::Inserted) {
        let evictions = self.metrics.cache_evictions.with_label_values(&[TIER]);
        evictions.inc_by(inserted.evicted);
        self.remover.later(inserted.left);
    }

    /// Removes expired instances, and updates the metrics.
    pub fn observe(&self) {
        let evictions = self.metrics.cache_evictions.with_label_values(&[TIER]);
        loop {
            let left = self.index().expire(EXPIRE_AT_ONCE);
            if left.is_empty() {
                break;
            }
            evictions.inc_by(left.len() as u64);
            self.remover.now(&left);
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
    /// An entry with an empty body.
    fn new(key: Key, identity: &Identity, validity: Validity, generation: u64) -> Self {
        Self {
            key,
            sop_class: identity.sop_class.clone(),
            transfer_syntax: identity.transfer_syntax.clone(),
            patient: identity.patient.clone(),
            length: 0,
            blake3: [0; 32],
            stored_at: SystemTime::now(),
            validity,
            generation,
            used: AtomicU64::new(0),
            opened: Mutex::default(),
        }
    }

    /// The identity of the instance.
    #[must_use]
    pub fn identity(&self) -> Identity {
        Identity {
            sop_class: self.sop_class.clone(),
            sop_instance: self.key.instance.clone(),
            study: self.key.study.clone(),
            series: self.key.series.clone(),
            transfer_syntax: self.transfer_syntax.clone(),
            patient: self.patient.clone(),
        }
    }

    fn name(&self) -> Name {
        Name::new(&self.key, self.generation)
    }
}

#[cfg(test)]
mod tests;
