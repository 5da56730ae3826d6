//! What has crossed a border once is kept: while it arrives (a [`Flight`]), in memory, and on disk.
//!
//! The unit is one instance as one source gave it. It appears in a tier only once its part of the
//! source's answer ended properly and its own bytes say that it is what it is kept as.

mod behind;
mod derived;
pub mod disk;
mod disk_health;
mod flight;
mod hit;
mod key;
mod memory;
pub mod pace;
mod progress;
mod settings;
mod validity;

use std::collections::HashMap;
use std::io;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::OnceCell;
use tokio::task::spawn_blocking;

pub use derived::{Derived, Frames};
pub use disk::Disk;
use disk::Pending;
pub use flight::{Flight, Unread, Writer};
pub use hit::{AlreadyCached, Hit, IN_PARTS};
pub use key::Key;
pub use memory::{Entry, Limits as MemoryLimits, Memory};
pub use settings::{CacheControl, LookAhead, Settings};
pub use validity::Validity;

use crate::dicom::part10::Identity;
use crate::metrics::Metrics;
use behind::{Behind, DiskWriter, Outcome, Task};
use disk_health::DiskHealth;
use flight::Budget;
use pace::Pace;

/// What is kept, and what is on its way to be kept.
#[derive(Debug, Clone)]
pub struct Cache(Arc<Tiers>);

#[derive(Debug)]
struct Tiers {
    memory: Memory,
    derived: Derived,
    look_ahead: (LookAhead, u64),
    disk: Option<Disk>,
    flights: Mutex<HashMap<Key, Arc<Flight>>>,
    flight_budget: Arc<Budget>,
    behind: Arc<Behind>,
    /// Whether the disk has room for more than is in memory: what leaves it for want of room is not
    /// brought back then just because it is in memory.
    is_disk_larger: bool,
    /// Instances that are being read from disk into memory, for all who want them.
    loads: Mutex<HashMap<Key, Arc<Load>>>,
    disk_health: DiskHealth,
    metrics: Metrics,
}

/// An instance that is being read from disk; `None` if it is damaged.
type Load = OnceCell<Option<Arc<Entry>>>;

/// What a flight brings.
#[derive(Debug)]
pub struct Description {
    /// Which instance it is, read from its own bytes.
    pub identity: Identity,
    /// Its exact length, where the source is bound to one.
    pub length: Option<u64>,
}

/// How what a source gives may be kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Terms<'a> {
    /// Time for which it serves without asking.
    pub lifetime: Duration,
    /// The source's entity tag.
    pub etag: Option<&'a str>,
    /// Whether it must not be kept at all.
    pub is_no_store: bool,
}

impl Cache {
    /// Opens the tiers; the disk tier is in `folder`.
    ///
    /// # Errors
    /// If the folder cannot be used.
    pub fn open(settings: &Settings, folder: &Path, metrics: &Metrics) -> io::Result<Self> {
        let disk = (settings.disk.0 > 0)
            .then(|| Disk::open(folder, settings.disk_limits(), metrics))
            .transpose()?;
        let memory = settings.memory_limits();
        // Of each part of the memory tier half: the least recent half of it may leave at any time.
        let least = if memory.ahead > 0 {
            memory.bytes.min(memory.ahead)
        } else {
            memory.bytes
        };
        Ok(Self(Arc::new(Tiers {
            memory: Memory::new(memory, metrics),
            derived: Derived::new(settings.metadata.0),
            look_ahead: (settings.look_ahead, settings.look_ahead_bytes.0),
            disk,
            flights: Mutex::default(),
            flight_budget: Arc::new(Budget::new(settings.flights.0, settings.spill.0)),
            behind: Arc::new(Behind::new(settings.flights.0, least / 2)),
            is_disk_larger: settings.disk.0 >= settings.memory.0.saturating_mul(2),
            loads: Mutex::default(),
            disk_health: DiskHealth::new(metrics),
            metrics: metrics.clone(),
        })))
    }

    /// What was worked out of instances.
    #[must_use]
    pub fn derived(&self) -> &Derived {
        &self.0.derived
    }

    /// An instance, if it is here or arriving. On disk it may still prove damaged.
    #[must_use]
    pub fn find(&self, key: &Key) -> Option<Hit> {
        if let Some(entry) = self.0.memory.find(key) {
            return Some(Hit::Memory(entry));
        }
        let flight = self.flights().get(key).cloned();
        if let Some(flight) = flight.filter(|flight| flight.can_be_joined()) {
            return Some(Hit::Flight(flight));
        }
        self.0.disk.as_ref()?.find(key).map(Hit::Disk)
    }

    /// Whether an instance is arriving, or here and known to be what its source has since `lifetime`.
    #[must_use]
    pub fn holds(&self, key: &Key, lifetime: Duration) -> bool {
        if self.flights().get(key).is_some_and(|f| f.can_be_joined()) {
            return true;
        }
        match (self.0.memory.peek(key), &self.0.disk) {
            (Some(entry), _) => entry.validity.is_fresh(lifetime),
            (None, Some(disk)) => disk
                .peek(key)
                .is_some_and(|stored| stored.validity.is_fresh(lifetime)),
            (None, None) => false,
        }
    }

    /// Its source has said that it still has the same.
    pub fn confirm(&self, key: &Key) {
        if let Some(entry) = self.0.memory.peek(key) {
            entry.validity.confirm();
        }
        if let Some(stored) = self.0.disk.as_ref().and_then(|disk| disk.peek(key)) {
            stored.validity.confirm();
        }
    }

    /// Begins a flight, unless what it would bring is arriving, or here and fresh.
    ///
    /// # Errors
    /// [`AlreadyCached`], with where it is.
    pub fn take_off(
        &self,
        key: Key,
        description: Description,
        terms: &Terms<'_>,
        pace: &Arc<Pace>,
    ) -> Result<Writer, AlreadyCached> {
        let found = self.find(&key);
        if let Some(found) = found.filter(|found| found.is_fresh(terms.lifetime)) {
            return Err(AlreadyCached(found));
        }
        let validity = Validity::now(terms.etag);
        let mut flights = self.flights();
        // Somebody else may have been quicker.
        if let Some(flight) = flights.get(&key).filter(|flight| flight.can_be_joined()) {
            return Err(AlreadyCached(Hit::Flight(Arc::clone(flight))));
        }
        let has_room = self.has_room_for(description.length);
        let writer = Writer::new(self, key.clone(), description, validity, pace);
        if terms.is_no_store || !has_room {
            // Another fetch must not find it: it would hold this one up, or miss the start.
            return Ok(writer.passing());
        }
        flights.insert(key, Arc::clone(writer.flight()));
        Ok(writer)
    }

    /// Whether there is a tier for an instance of this length.
    fn has_room_for(&self, length: Option<u64>) -> bool {
        self.0.disk.is_some() || self.0.memory.admits(length.unwrap_or(1).max(1))
    }

    /// Opens an instance on disk, and takes it to memory if it is small enough; all of it has been
    /// verified then. `None`: it is damaged or gone, and not found any more.
    pub async fn read(&self, stored: &Arc<disk::Stored>) -> Option<Read> {
        if self.0.memory.admits(stored.length) {
            return self.load(stored).await.map(Read::Whole);
        }
        let (disk, of) = (self.0.disk.clone()?, Arc::clone(stored));
        let opening = spawn_blocking(move || {
            let opened = disk.read(&of);
            opened.inspect_err(|_damaged| disk.discard(&of)).ok()
        });
        opening.await.ok()?.map(Read::File)
    }

    /// Takes an instance to memory; those who want it at the same time share the work.
    async fn load(&self, stored: &Arc<disk::Stored>) -> Option<Arc<Entry>> {
        let load = Arc::clone(self.loads().entry(stored.key.clone()).or_default());
        let entry = load.get_or_init(|| self.load_now(stored)).await.clone();
        let mut loads = self.loads();
        let is_this = |known: &Arc<Load>| Arc::ptr_eq(known, &load);
        if loads.get(&stored.key).is_some_and(is_this) {
            loads.remove(&stored.key);
        }
        entry
    }

    async fn load_now(&self, stored: &Arc<disk::Stored>) -> Option<Arc<Entry>> {
        let (disk, of) = (self.0.disk.clone()?, Arc::clone(stored));
        let pending = disk.pending(&stored.key);
        let reading = spawn_blocking(move || {
            let read = disk.read(&of).and_then(|opened| opened.read_all());
            read.inspect_err(|_damaged| disk.discard(&of)).ok()
        });
        let bytes = reading.await.ok()??;
        let entry = Arc::new(Entry::from_disk(stored, bytes));
        self.0.memory.keep(stored.key.clone(), Arc::clone(&entry));
        // It may have been forgotten before it could be found in memory.
        if pending.is_forgotten() {
            self.0.memory.forget_one(&stored.key);
        }
        Some(entry)
    }

    fn loads(&self) -> MutexGuard<'_, HashMap<Key, Arc<Load>>> {
        self.0.loads.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Drops an instance on disk that proved damaged.
    pub async fn discard(&self, stored: &Arc<disk::Stored>) {
        let (disk, of) = (self.0.disk.clone(), Arc::clone(stored));
        let discarding = spawn_blocking(move || disk.map(|disk| disk.discard(&of)));
        // It does not panic, and if it did the instance would prove damaged again.
        let _ = discarding.await;
    }

    /// Notes that an instance was given from memory: within a second it is on disk too.
    pub fn given(&self, key: &Key, entry: &Arc<Entry>) {
        let Some(disk) = self.0.disk.as_ref().filter(|_| self.0.is_disk_larger) else {
            return;
        };
        let behind = &self.0.behind;
        if !behind.must_hurry(entry, || disk.find(key).is_some()) || self.disk_health().is_resting()
        {
            return;
        }
        let pending = disk.pending(key);
        // If it was forgotten before that could be noted, memory does not have it any more.
        let is_here = self
            .0
            .memory
            .peek(key)
            .is_some_and(|known| Arc::ptr_eq(&known, entry));
        if is_here {
            behind.hurry(Arc::clone(entry), pending, DiskWriter(self.clone()));
        }
    }

    /// Forgets what `which` says, also what is still arriving: it is delivered and not kept. Gives
    /// how many instances that were.
    pub fn forget(&self, which: &dyn Fn(&Key) -> bool) -> usize {
        let mut forgotten = 0;
        self.flights().retain(|key, flight| {
            let is_meant = which(key);
            if is_meant {
                flight.forget();
                forgotten += 1;
            }
            !is_meant
        });
        // First, so that nothing is brought from there to disk; and last, for what came from there.
        let in_memory = self.0.memory.forget(which);
        let on_disk = self.0.disk.as_ref().map_or(0, |disk| disk.forget(which));
        self.0.memory.forget(which);
        forgotten + on_disk.max(in_memory)
    }

    /// As [`Cache::forget`], of one instance.
    pub fn forget_one(&self, key: &Key) {
        if let Some(flight) = self.flights().remove(key) {
            flight.forget();
        }
        self.0.memory.forget_one(key);
        if let Some(disk) = &self.0.disk {
            disk.forget_one(key);
            self.0.memory.forget_one(key);
        }
    }

    /// From now on drops what is too old, and tells the metrics how much is here, once a second.
    pub fn watch(&self) {
        let tiers = Arc::downgrade(&self.0);
        tokio::spawn(async move {
            let mut seconds = tokio::time::interval(Duration::from_secs(1));
            loop {
                seconds.tick().await;
                let Some(tiers) = tiers.upgrade() else {
                    return;
                };
                // It deletes files.
                if spawn_blocking(move || Self(tiers).observe()).await.is_err() {
                    return;
                }
            }
        });
    }

    /// Tells the metrics how much is here.
    pub fn observe(&self) {
        self.0.memory.observe();
        if let Some(disk) = &self.0.disk {
            disk.observe();
        }
    }

    /// What is fetched before it is asked for, and how many bytes of it.
    #[must_use]
    pub fn look_ahead(&self) -> (LookAhead, u64) {
        self.0.look_ahead
    }

    /// Whether anything is kept at all.
    #[must_use]
    pub fn keeps_something(&self) -> bool {
        self.has_room_for(None)
    }

    /// The memory tier.
    #[must_use]
    pub fn memory(&self) -> &Memory {
        &self.0.memory
    }

    /// The disk tier, if there is one.
    #[must_use]
    pub fn disk(&self) -> Option<&Disk> {
        self.0.disk.as_ref()
    }

    fn metrics(&self) -> &Metrics {
        &self.0.metrics
    }

    fn disk_health(&self) -> &DiskHealth {
        &self.0.disk_health
    }

    fn flight_budget(&self) -> Arc<Budget> {
        Arc::clone(&self.0.flight_budget)
    }

    fn flights(&self) -> MutexGuard<'_, HashMap<Key, Arc<Flight>>> {
        self.0
            .flights
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    fn remove_flight(&self, flight: &Arc<Flight>) {
        let mut flights = self.flights();
        if flights
            .get(&flight.key)
            .is_some_and(|known| Arc::ptr_eq(known, flight))
        {
            flights.remove(&flight.key);
        }
    }

    /// Keeps an instance that has landed in memory.
    fn keep(&self, flight: &Arc<Flight>, entry: Arc<Entry>) {
        let key = &flight.key;
        let pending = self.0.disk.as_ref().map(|disk| disk.pending(key));
        if flight.is_forgotten() {
            return;
        }
        if flight.is_awaited() {
            self.0.memory.keep(key.clone(), Arc::clone(&entry));
        } else {
            self.0.memory.keep_ahead(key.clone(), Arc::clone(&entry));
        }
        // It may have been forgotten just now, before it could be found here.
        if flight.is_forgotten() || pending.as_ref().is_some_and(Pending::is_forgotten) {
            self.0.memory.forget_one(key);
            return;
        }
        let Some(pending) = pending else { return };
        let writer = DiskWriter(self.clone());
        if self.0.behind.add(&entry, pending, writer).is_err() {
            self.0.metrics.cache_not_written.inc();
        }
    }

    /// Waits until the disk has caught up with what has landed, so far that nothing is lost to it.
    async fn keep_up(&self) {
        if self.0.disk.is_some() {
            self.0.behind.keep_up().await;
        }
    }

    fn write(&self, task: Task) -> Outcome {
        let Some(disk) = &self.0.disk else {
            return Outcome::NotWritten;
        };
        match write(disk, task) {
            Ok(()) => {
                self.disk_health().works();
                Outcome::Written
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => Outcome::NotWritten,
            Err(error) => {
                self.disk_health().failed(&error);
                Outcome::NotWritten
            }
        }
    }
}

/// What was read from disk.
#[derive(Debug)]
pub enum Read {
    /// All of it.
    Whole(Arc<Entry>),
    /// It is too large for that: its file, of which each piece is verified when it is read.
    File(Arc<disk::StoredFile>),
}

fn write(disk: &Disk, Task { entry, pending }: Task) -> io::Result<()> {
    if pending.is_forgotten() {
        return Err(io::ErrorKind::Interrupted.into());
    }
    let mut writing = disk.begin(pending, &entry.identity, entry.validity.copied())?;
    writing.append(&entry.bytes)?;
    let stored = writing.finish()?;
    entry.tell_sha256(stored.sha256);
    Ok(())
}

#[cfg(test)]
pub(crate) mod test;
