//! Each instance crosses a border once: it is cached while it arrives (a [`Flight`]), in memory,
//! and on disk.
//!
//! The unit is one instance from one source. A tier accepts it only after its part of the source's
//! answer ended cleanly and its own bytes confirmed its identity.

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
use disk::{Landed, Pending};
pub use flight::{Flight, Unread, Writer};
pub use hit::{AlreadyCached, Hit, IN_PARTS};
pub use key::Key;
pub use memory::{Entry, Limits as MemoryLimits, Memory};
pub use settings::{CacheControl, LookAhead, Settings};
pub use validity::Validity;

use crate::body::Wait;
use crate::dicom::part10::Identity;
use crate::metrics::Metrics;
use behind::{Behind, DiskWriter, Outcome, Task};
use disk_health::DiskHealth;
use flight::Budget;
use pace::Pace;

/// The tiers of the cache, and the flights into them.
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
    /// Whether the disk holds more than memory. If not, an instance evicted from disk is not
    /// written again just because memory still holds it.
    is_disk_larger: bool,
    /// Loads from disk into memory, shared by all concurrent requests.
    loads: Mutex<HashMap<Key, Arc<Load>>>,
    disk_health: DiskHealth,
    metrics: Metrics,
}

/// A load from disk; `None` if the file is damaged.
type Load = OnceCell<Option<Arc<Entry>>>;

/// The instance of a flight.
#[derive(Debug)]
pub struct Description {
    /// Its identity, parsed from its own bytes.
    pub identity: Identity,
    /// Its exact length, if the source guarantees one.
    pub length: Option<u64>,
}

/// The cache policy of a source's answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Terms<'a> {
    /// The time without revalidation.
    pub lifetime: Duration,
    /// The source's entity tag.
    pub etag: Option<&'a str>,
    /// Whether the source forbids caching.
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
        // Half of each part of the memory tier: the least recently used half can be evicted at any
        // time.
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

    /// The cache of derived data.
    #[must_use]
    pub fn derived(&self) -> &Derived {
        &self.0.derived
    }

    /// A cached or arriving instance. A file on disk can still turn out to be damaged.
    #[must_use]
    pub fn find(&self, key: &Key) -> Option<Hit> {
        if let Some(entry) = self.0.memory.find(key) {
            return Some(Hit::Memory(entry));
        }
        let flight = self.flights().get(key).cloned();
        if let Some(flight) = flight.filter(|flight| flight.can_be_joined()) {
            return Some(Hit::Flight(flight));
        }
        let on_disk = self.0.disk.as_ref().and_then(|disk| disk.find(key));
        on_disk.map(Hit::Disk).or_else(|| {
            // A flight may have landed between the first two looks.
            self.0.memory.find(key).map(Hit::Memory)
        })
    }

    /// Whether an instance is arriving, or cached and fresh for `lifetime`.
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

    /// Records that the source confirmed the instance.
    pub fn confirm(&self, key: &Key) {
        if let Some(entry) = self.0.memory.peek(key) {
            entry.validity.confirm();
        }
        if let Some(stored) = self.0.disk.as_ref().and_then(|disk| disk.peek(key)) {
            stored.validity.confirm();
        }
    }

    /// Starts a flight, unless the instance is arriving, or cached and fresh.
    ///
    /// # Errors
    /// [`AlreadyCached`], with the cached instance.
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
        // A concurrent request may have started the flight.
        if let Some(flight) = flights.get(&key).filter(|flight| flight.can_be_joined()) {
            return Err(AlreadyCached(Hit::Flight(Arc::clone(flight))));
        }
        let has_room = self.has_room_for(description.length);
        let writer = Writer::new(self, key.clone(), description, validity, pace);
        if terms.is_no_store || !has_room {
            // No other request may find this flight: it would slow it down, or miss the start.
            return Ok(writer.passing());
        }
        flights.insert(key, Arc::clone(writer.flight()));
        Ok(writer)
    }

    /// Whether a tier accepts an instance of this length.
    fn has_room_for(&self, length: Option<u64>) -> bool {
        self.0.disk.is_some() || self.0.memory.admits(length.unwrap_or(1).max(1))
    }

    /// Opens an instance on disk, and loads it into memory if it is small enough; a loaded instance
    /// is fully verified. `None`: the file is damaged or missing, and its entry is removed.
    pub async fn read(&self, stored: &Arc<disk::Stored>) -> Option<Content> {
        if self.0.memory.admits(stored.length) {
            // A concurrent request may have loaded it.
            let known = self.0.memory.find(&stored.key);
            let entry = match known {
                Some(known) => known,
                None => self.load(stored).await?,
            };
            return Some(Content::Whole(entry));
        }
        let opened = self.at_once_or_later(stored, Disk::open_file).await?;
        Some(Content::File(opened))
    }

    /// Reads a file here if the page cache has it, else in another thread. `None`: the file is
    /// damaged or missing, and its entry is removed.
    async fn at_once_or_later<T: Send + 'static>(
        &self,
        stored: &Arc<disk::Stored>,
        read: fn(&Disk, &disk::Stored, Wait) -> io::Result<T>,
    ) -> Option<T> {
        let disk = self.0.disk.as_ref()?;
        let outcome = match read(disk, stored, Wait::Never) {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                let (disk, of) = (disk.clone(), Arc::clone(stored));
                let reading = spawn_blocking(move || read(&disk, &of, Wait::ForDevice));
                reading.await.ok()?
            }
            outcome => outcome,
        };
        outcome.inspect_err(|_damaged| disk.discard(stored)).ok()
    }

    /// Loads an instance into memory; concurrent requests share the load.
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
        let pending = self.0.disk.as_ref()?.pending(&stored.key);
        let bytes = self.at_once_or_later(stored, Disk::read_whole).await?;
        let entry = Arc::new(Entry::from_disk(stored, bytes));
        self.0.memory.keep(stored.key.clone(), Arc::clone(&entry));
        // A purge may have run before the entry was visible in memory.
        if pending.is_forgotten() {
            self.0.memory.forget_one(&stored.key);
        }
        Some(entry)
    }

    fn loads(&self) -> MutexGuard<'_, HashMap<Key, Arc<Load>>> {
        self.0.loads.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Removes a damaged instance from disk.
    pub fn discard(&self, stored: &Arc<disk::Stored>) {
        if let Some(disk) = &self.0.disk {
            disk.discard(stored);
        }
    }

    /// Records a hit in memory: within a second the instance is also on disk.
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
        // A purge before `pending` existed has removed the entry from memory.
        let is_here = self
            .0
            .memory
            .peek(key)
            .is_some_and(|known| Arc::ptr_eq(&known, entry));
        if is_here {
            behind.hurry(Arc::clone(entry), pending, DiskWriter(self.clone()));
        }
    }

    /// Purges the selected instances, and returns their number. An arriving instance is still
    /// delivered, but not cached.
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
        // Memory first, so that no write-behind restores an entry; memory again, for loads from
        // disk.
        let in_memory = self.0.memory.forget(which);
        let on_disk = self.0.disk.as_ref().map_or(0, |disk| disk.forget(which));
        self.0.memory.forget(which);
        forgotten + on_disk.max(in_memory)
    }

    /// Purges one instance, as [`Cache::forget`] does.
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

    /// Starts the task that removes expired instances and updates the metrics once a second.
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

    /// Updates the metrics.
    pub fn observe(&self) {
        self.0.memory.observe();
        if let Some(disk) = &self.0.disk {
            disk.observe();
        }
    }

    /// The look-ahead setting and its limit in bytes.
    #[must_use]
    pub fn look_ahead(&self) -> (LookAhead, u64) {
        self.0.look_ahead
    }

    /// Whether any tier caches instances.
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

    /// Caches an instance that arrived in memory.
    fn keep(&self, flight: &Arc<Flight>, entry: Arc<Entry>) {
        let key = &flight.key;
        let pending = self.0.disk.as_ref().map(|disk| disk.pending(key));
        if flight.is_forgotten() {
            return;
        }
        if flight.is_awaited() || flight.has_been_read() {
            self.0.memory.keep(key.clone(), Arc::clone(&entry));
        } else {
            self.0.memory.keep_ahead(key.clone(), Arc::clone(&entry));
        }
        // A purge may have run before the entry was visible.
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

    /// Waits until the write-behind queue is short enough to lose nothing.
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

/// An instance loaded or opened from disk.
#[derive(Debug)]
pub enum Content {
    /// All of it, in memory.
    Whole(Arc<Entry>),
    /// A file too large for memory; each leaf is verified when it is read.
    File(Arc<disk::StoredFile>),
}

fn write(disk: &Disk, Task { entry, pending }: Task) -> io::Result<()> {
    if pending.is_forgotten() {
        return Err(io::ErrorKind::Interrupted.into());
    }
    let landed = Landed {
        identity: &entry.identity,
        validity: entry.validity.copied(),
        bytes: &entry.bytes,
        blake3: entry.blake3.compute(),
    };
    disk.store(&pending, landed).map(drop)
}

#[cfg(test)]
pub(crate) mod test;
