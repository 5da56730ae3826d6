//! The disk tier: one file for each instance, written aside, then renamed.
//!
//! A file begins with a page that says what it holds, with the length and the SHA-256 of its body;
//! the page is written last. The name of a file is a hash and a number that is used once: a new
//! generation never has the path of an older one, so that whoever deletes the old one cannot hit
//! the new one. What is not whole is not found: after a kill the folder of what is being written is
//! emptied, and a body is checked against its SHA-256 when it is first read after a start. Nothing
//! is flushed to the device: a kill loses nothing that was written, and what a power cut loses fails
//! that check.
//!
//! Everything here blocks.

mod header;

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io;
use std::os::unix::fs::{DirBuilderExt, FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::{Duration, Instant, SystemTime};

use bytes::Bytes;
use moka::Expiry;
use moka::notification::RemovalCause;
use moka::policy::EvictionPolicy;
use moka::sync::Cache;
use sha2::{Digest, Sha256};

use super::{Key, Validity};
use crate::dicom::part10::Identity;
use crate::metrics::Metrics;
pub use header::BODY_AT;

/// The name of this tier in metrics and in `Cache-Status`.
pub const TIER: &str = "disk";

const UNIT: u64 = 1 << 10;
/// Reads of 4 KiB cost fifteen times the processor time of these.
const CHUNK: u64 = 256 << 10;
const NEW: &str = "new";

/// Bounds of the tier.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// Bytes of files.
    pub bytes: u64,
    /// Time after which a file is dropped.
    pub age: Duration,
}

/// Instances on disk.
#[derive(Debug, Clone)]
pub struct Disk {
    folder: Arc<Path>,
    index: Cache<Key, Arc<Stored>>,
    /// Of the next file; never used twice, also not across starts.
    generation: Arc<AtomicU64>,
    /// How often something was forgotten.
    forgettings: Arc<AtomicU64>,
    metrics: Metrics,
}

/// An instance on disk.
#[derive(Debug)]
pub struct Stored {
    /// What it is kept as.
    pub key: Key,
    /// Which instance it is.
    pub identity: Identity,
    /// Bytes of its body.
    pub length: u64,
    /// SHA-256 of its body.
    pub sha256: [u8; 32],
    /// When it was written.
    pub stored_at: SystemTime,
    /// For how long it serves. A confirmation does not outlive the process: after a start the source
    /// is asked again.
    pub validity: Validity,
    path: PathBuf,
    is_verified: AtomicBool,
    file: Mutex<Weak<File>>,
}

/// A file that is being written; it is deleted unless it is finished.
#[derive(Debug)]
pub struct Writing {
    disk: Disk,
    key: Key,
    identity: Identity,
    validity: Validity,
    file: Arc<File>,
    path: PathBuf,
    name: String,
    length: u64,
    sha256: Sha256,
    since: Epoch,
}

/// A moment between two forgettings.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Epoch(u64);

impl Disk {
    /// Opens the folder and finds what is in it, without reading bodies. Takes as long as there are
    /// many files.
    ///
    /// # Errors
    /// If the folder cannot be made or read.
    pub fn open(folder: &Path, limits: Limits, metrics: &Metrics) -> io::Result<Self> {
        let new = folder.join(NEW);
        let made = DirBuilder::new().recursive(true).mode(0o700).create(&new);
        made?;
        for half in fs::read_dir(&new)? {
            fs::remove_file(half?.path())?;
        }
        let disk = Self {
            folder: folder.into(),
            index: index(limits, metrics),
            generation: Arc::default(),
            forgettings: Arc::default(),
            metrics: metrics.clone(),
        };
        disk.read_folder(limits.age)?;
        Ok(disk)
    }

    fn read_folder(&self, age: Duration) -> io::Result<()> {
        let mut found = Vec::new();
        for folder in fs::read_dir(&self.folder)? {
            let folder = folder?;
            if folder.file_name() == NEW || !folder.file_type()?.is_dir() {
                continue;
            }
            for file in fs::read_dir(folder.path())? {
                let path = file?.path();
                self.pass_generation(&path);
                match header::read(&path) {
                    Some(stored) if !is_older(stored.stored_at, age) => found.push(stored),
                    Some(_) | None => {
                        let _ = fs::remove_file(&path);
                    }
                }
            }
        }
        // The oldest first: it is the first to leave.
        found.sort_by_key(|stored| stored.stored_at);
        for stored in found {
            self.index.insert(stored.key.clone(), Arc::new(stored));
        }
        self.index.run_pending_tasks();
        Ok(())
    }

    /// Numbers from here on are greater than that of a file.
    fn pass_generation(&self, path: &Path) {
        let number = path.extension().and_then(|text| text.to_str());
        if let Some(number) = number.and_then(|text| u64::from_str_radix(text, 16).ok()) {
            let next = number.saturating_add(1);
            self.generation.fetch_max(next, Ordering::AcqRel);
        }
    }

    /// An instance, if it is here. It may still prove damaged.
    #[must_use]
    pub fn find(&self, key: &Key) -> Option<Arc<Stored>> {
        self.index.get(key)
    }

    /// The present moment.
    #[must_use]
    pub fn epoch(&self) -> Epoch {
        Epoch(self.forgettings.load(Ordering::Acquire))
    }

    /// Begins to write an instance that is not kept if something has been forgotten since the epoch.
    ///
    /// # Errors
    /// If there is no room, or no right to.
    pub fn begin(
        &self,
        key: &Key,
        identity: &Identity,
        validity: Validity,
        since: Epoch,
    ) -> io::Result<Writing> {
        let generation = self.generation.fetch_add(1, Ordering::AcqRel);
        let name = format!("{}.{generation:x}", header::hash(key));
        let path = self.folder.join(NEW).join(&name);
        let mut options = OpenOptions::new();
        options.read(true).write(true).create_new(true).mode(0o600);
        let file = Arc::new(options.open(&path)?);
        Ok(Writing {
            disk: self.clone(),
            key: key.clone(),
            identity: identity.clone(),
            validity,
            file,
            path,
            name,
            length: 0,
            sha256: Sha256::new(),
            since,
        })
    }

    /// Drops an instance that proved damaged.
    pub fn discard(&self, stored: &Arc<Stored>) {
        self.metrics.cache_damaged.inc();
        let is_this = |found: Arc<Stored>| Arc::ptr_eq(&found, stored);
        if self.index.get(&stored.key).is_some_and(is_this) {
            self.index.invalidate(&stored.key);
        }
    }

    /// Forgets one instance, if it is here, and everything that is being written now.
    pub fn forget_one(&self, key: &Key) {
        if self.index.contains_key(key) {
            self.forgettings.fetch_add(1, Ordering::AcqRel);
            self.index.invalidate(key);
        }
    }

    /// Forgets what `which` says, and everything that is being written now. Gives how many instances
    /// that were.
    pub fn forget(&self, which: &dyn Fn(&Key) -> bool) -> usize {
        self.forgettings.fetch_add(1, Ordering::AcqRel);
        let keys = self.index.iter().map(|(key, _)| key);
        let keys: Vec<_> = keys.filter(|key| which(key)).collect();
        for key in &keys {
            self.index.invalidate(&**key);
        }
        self.index.run_pending_tasks();
        keys.len()
    }

    /// Tells the metrics how much is here.
    pub fn observe(&self) {
        self.index.run_pending_tasks();
        let gauge = |value: u64| value.try_into().unwrap_or(i64::MAX);
        let (bytes, entries) = (self.index.weighted_size() * UNIT, self.index.entry_count());
        let metrics = &self.metrics;
        let tier = &[TIER];
        metrics
            .cache_bytes
            .with_label_values(tier)
            .set(gauge(bytes));
        metrics
            .cache_entries
            .with_label_values(tier)
            .set(gauge(entries));
    }
}

fn index(limits: Limits, metrics: &Metrics) -> Cache<Key, Arc<Stored>> {
    let evictions = metrics.cache_evictions.with_label_values(&[TIER]);
    Cache::builder()
        .max_capacity(limits.bytes / UNIT)
        .weigher(|_key, stored: &Arc<Stored>| {
            let units = (stored.length + BODY_AT).div_ceil(UNIT);
            u32::try_from(units).unwrap_or(u32::MAX)
        })
        .eviction_policy(EvictionPolicy::lru())
        .expire_after(Age(limits.age))
        .eviction_listener(move |_key, stored: Arc<Stored>, cause| {
            if matches!(cause, RemovalCause::Size | RemovalCause::Expired) {
                evictions.inc();
            }
            // Its own path: the file of a newer generation is not touched. Who reads it reads on.
            let _ = fs::remove_file(&stored.path);
        })
        .build()
}

/// How long files are kept, counted from when they were written.
struct Age(Duration);

impl Expiry<Key, Arc<Stored>> for Age {
    fn expire_after_create(&self, _: &Key, stored: &Arc<Stored>, _: Instant) -> Option<Duration> {
        let age = stored.stored_at.elapsed().unwrap_or_default();
        Some(self.0.saturating_sub(age))
    }

    fn expire_after_update(
        &self,
        key: &Key,
        stored: &Arc<Stored>,
        now: Instant,
        _: Option<Duration>,
    ) -> Option<Duration> {
        self.expire_after_create(key, stored, now)
    }
}

fn is_older(stored_at: SystemTime, age: Duration) -> bool {
    stored_at.elapsed().is_ok_and(|elapsed| elapsed >= age)
}

impl Stored {
    /// The file; those who read at the same time share it.
    ///
    /// # Errors
    /// If it is gone.
    pub fn open(&self) -> io::Result<Arc<File>> {
        let mut known = self.file.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(file) = known.upgrade() {
            return Ok(file);
        }
        let file = Arc::new(File::open(&self.path)?);
        *known = Arc::downgrade(&file);
        Ok(file)
    }

    /// Whether the body is what was written. Looked at once: what was written since the start of the
    /// process is known to be.
    ///
    /// # Errors
    /// If it cannot be read.
    pub fn verify(&self) -> io::Result<bool> {
        if self.is_verified.load(Ordering::Acquire) {
            return Ok(true);
        }
        let file = self.open()?;
        let mut sha256 = Sha256::new();
        let mut at = 0;
        while at < self.length {
            let chunk = read(&file, at, self.length - at)?;
            if chunk.is_empty() {
                return Ok(false);
            }
            sha256.update(&chunk);
            at += chunk.len() as u64;
        }
        let is_whole = <[u8; 32]>::from(sha256.finalize()) == self.sha256;
        self.is_verified.store(is_whole, Ordering::Release);
        Ok(is_whole)
    }
}

impl Writing {
    /// Adds to the body.
    ///
    /// # Errors
    /// If there is no room.
    pub fn append(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.file.write_all_at(bytes, BODY_AT + self.length)?;
        self.sha256.update(bytes);
        self.length += bytes.len() as u64;
        Ok(())
    }

    /// The file, for those who read it while it grows: see [`read`].
    #[must_use]
    pub fn file(&self) -> Arc<File> {
        Arc::clone(&self.file)
    }

    /// Makes it found from now on.
    ///
    /// # Errors
    /// If there is no room; [`io::ErrorKind::Interrupted`] if something was forgotten since its epoch:
    /// it might have been this.
    pub fn finish(mut self) -> io::Result<Arc<Stored>> {
        let sha256 = std::mem::take(&mut self.sha256).finalize().into();
        let path = self.disk.folder.join(&self.name[..2]).join(&self.name);
        let stored = Stored {
            key: self.key.clone(),
            identity: self.identity.clone(),
            length: self.length,
            sha256,
            stored_at: SystemTime::now(),
            validity: self.validity.copied(),
            path,
            is_verified: AtomicBool::new(true),
            file: Mutex::new(Weak::new()),
        };
        self.file.write_all_at(&header::page(&stored)?, 0)?;
        if let Some(folder) = stored.path.parent() {
            DirBuilder::new()
                .recursive(true)
                .mode(0o700)
                .create(folder)?;
        }
        fs::rename(&self.path, &stored.path)?;
        let stored = Arc::new(stored);
        let index = &self.disk.index;
        index.insert(stored.key.clone(), Arc::clone(&stored));
        if self.disk.epoch() != self.since {
            index.invalidate(&stored.key);
            return Err(io::ErrorKind::Interrupted.into());
        }
        Ok(stored)
    }
}

impl Drop for Writing {
    fn drop(&mut self) {
        // It is not there any more if it was finished.
        let _ = fs::remove_file(&self.path);
    }
}

/// Up to `length` bytes of a body from `offset` on, as many as one read may be.
///
/// # Errors
/// If they cannot be read.
pub fn read(file: &File, offset: u64, length: u64) -> io::Result<Bytes> {
    let length = usize::try_from(length.min(CHUNK)).map_err(io::Error::other)?;
    let mut chunk = vec![0; length];
    file.read_exact_at(&mut chunk, BODY_AT + offset)?;
    Ok(chunk.into())
}

#[cfg(test)]
mod tests;
