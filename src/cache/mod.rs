//! What has crossed a border once is kept: while it arrives (a [`Flight`]), in memory, and on disk.
//!
//! The unit is one instance as one source gave it. It appears in a tier only once its part of the
//! source's answer ended properly and its own bytes say that it is what it is kept as.

mod behind;
mod derived;
pub mod disk;
mod flight;
mod key;
mod memory;
pub mod pace;
mod progress;
mod settings;
mod validity;

use std::collections::HashMap;
use std::io;
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::OnceCell;
use tokio::task::spawn_blocking;

pub use derived::{Derived, Frames};
pub use disk::Disk;
use disk::Pending;
pub use flight::{Flight, Pilot, Unread};
pub use key::Key;
pub use memory::{Entry, Limits as MemoryLimits, Memory};
pub use settings::{CacheControl, LookAhead, Settings};
pub use validity::Validity;

use crate::dicom::TransferSyntax;
use crate::dicom::part10::Identity;
use crate::metrics::Metrics;
use behind::{Behind, Outcome, Task, Writer};
use flight::Room;
use pace::Pace;

/// Seconds for which nothing is hurried to a disk that has failed.
const DISK_RESTS: u64 = 5;

/// What is kept, and what is on its way to be kept.
#[derive(Debug, Clone)]
pub struct Cache(Arc<Tiers>);

#[derive(Debug)]
struct Tiers {
    memory: Memory,
    derived: Derived,
    look_ahead: (LookAhead, u64),
    disk: Option<Disk>,
    board: Mutex<HashMap<Key, Arc<Flight>>>,
    room: Arc<Room>,
    behind: Arc<Behind>,
    /// Whether the disk has room for more than is in memory: what leaves it for want of room is not
    /// brought back then just because it is in memory.
    is_disk_larger: bool,
    /// Instances that are being read from disk into memory, for all who want them.
    loads: Mutex<HashMap<Key, Arc<Load>>>,
    has_disk_failed: AtomicBool,
    /// When it failed last, in seconds since `began`.
    disk_failed_at: AtomicU64,
    began: Instant,
    metrics: Metrics,
}

/// An instance that is being read from disk; `None` if it is damaged.
type Load = OnceCell<Option<Arc<Entry>>>;

/// Where something was found.
#[derive(Debug)]
pub enum Found {
    /// In memory.
    Memory(Arc<Entry>),
    /// It is arriving.
    Flight(Arc<Flight>),
    /// On disk.
    Disk(Arc<disk::Stored>),
}

/// What a flight brings.
#[derive(Debug)]
pub struct Cargo {
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

/// Ends the entity tag of an instance in a `multipart/related`, after its SHA-256, which alone is the tag of
/// the instance as it is stored.
pub const IN_PARTS: &str = "-multipart";

impl Found {
    /// Whether it serves without asking its source, where that is so for `lifetime`.
    #[must_use]
    pub fn is_fresh(&self, lifetime: Duration) -> bool {
        match self {
            Self::Memory(entry) => entry.validity.is_fresh(lifetime),
            Self::Flight(_) => true,
            Self::Disk(stored) => stored.validity.is_fresh(lifetime),
        }
    }

    /// Its entity tags, with which its source is asked whether it has changed: the source's own, and
    /// ours, which is the source's if that is one of our kind.
    #[must_use]
    pub fn tags(&self) -> Option<String> {
        let (validity, sha256) = match self {
            Self::Memory(entry) => (&entry.validity, entry.sha256()?),
            Self::Flight(_) => return None,
            Self::Disk(stored) => (&stored.validity, stored.sha256),
        };
        let sha256 = hex(&sha256);
        // The forms in which it can be asked for; either tells that the instance is the same.
        let ours = format!("\"{sha256}\", W/\"{sha256}{IN_PARTS}\"");
        Some(match validity.etag() {
            Some(etag) if !ours.contains(etag) => format!("{etag}, {ours}"),
            Some(_) | None => ours,
        })
    }

    /// Its transfer syntax.
    #[must_use]
    pub fn transfer_syntax(&self) -> &TransferSyntax {
        match self {
            Self::Memory(entry) => &entry.identity.transfer_syntax,
            Self::Flight(flight) => &flight.identity.transfer_syntax,
            Self::Disk(stored) => &stored.transfer_syntax,
        }
    }

    /// The flight, if it is arriving.
    #[must_use]
    pub fn flight(&self) -> Option<&Arc<Flight>> {
        match self {
            Self::Flight(flight) => Some(flight),
            Self::Memory(_) | Self::Disk(_) => None,
        }
    }
}

/// Somebody is already fetching it, or it is here.
#[derive(Debug)]
pub struct Known(pub Found);

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
            board: Mutex::default(),
            room: Arc::new(Room::new(settings.flights.0, settings.spill.0)),
            behind: Arc::new(Behind::new(settings.flights.0, least / 2)),
            is_disk_larger: settings.disk.0 >= settings.memory.0.saturating_mul(2),
            loads: Mutex::default(),
            has_disk_failed: AtomicBool::new(false),
            disk_failed_at: AtomicU64::new(0),
            began: Instant::now(),
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
    pub fn find(&self, key: &Key) -> Option<Found> {
        if let Some(entry) = self.0.memory.find(key) {
            return Some(Found::Memory(entry));
        }
        let flight = self.board().get(key).cloned();
        if let Some(flight) = flight.filter(|flight| flight.can_be_joined()) {
            return Some(Found::Flight(flight));
        }
        self.0.disk.as_ref()?.find(key).map(Found::Disk)
    }

    /// Whether an instance is arriving, or here and known to be what its source has since `lifetime`.
    #[must_use]
    pub fn holds(&self, key: &Key, lifetime: Duration) -> bool {
        if self.board().get(key).is_some_and(|f| f.can_be_joined()) {
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
    /// [`Known`], with where it is.
    pub fn take_off(
        &self,
        key: Key,
        cargo: Cargo,
        terms: &Terms<'_>,
        pace: &Arc<Pace>,
    ) -> Result<Pilot, Known> {
        let found = self.find(&key);
        if let Some(found) = found.filter(|found| found.is_fresh(terms.lifetime)) {
            return Err(Known(found));
        }
        let validity = Validity::now(terms.etag);
        let mut board = self.board();
        // Somebody else may have been quicker.
        if let Some(flight) = board.get(&key).filter(|flight| flight.can_be_joined()) {
            return Err(Known(Found::Flight(Arc::clone(flight))));
        }
        let has_room = self.has_room_for(cargo.length);
        let pilot = Pilot::new(self, key.clone(), (cargo, validity), pace);
        if terms.is_no_store || !has_room {
            // Another fetch must not find it: it would hold this one up, or miss the start.
            return Ok(pilot.passing());
        }
        board.insert(key, Arc::clone(pilot.flight()));
        Ok(pilot)
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
        if !behind.must_hurry(entry, || disk.find(key).is_some()) || self.is_disk_resting() {
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
            behind.hurry(Arc::clone(entry), pending, Writer(self.clone()));
        }
    }

    /// Forgets what `which` says, also what is still arriving: it is delivered and not kept. Gives
    /// how many instances that were.
    pub fn forget(&self, which: &dyn Fn(&Key) -> bool) -> usize {
        let mut forgotten = 0;
        self.board().retain(|key, flight| {
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
        if let Some(flight) = self.board().remove(key) {
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

    fn room(&self) -> Arc<Room> {
        Arc::clone(&self.0.room)
    }

    fn board(&self) -> MutexGuard<'_, HashMap<Key, Arc<Flight>>> {
        self.0.board.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn take_off_the_board(&self, flight: &Arc<Flight>) {
        let mut board = self.board();
        if board
            .get(&flight.key)
            .is_some_and(|known| Arc::ptr_eq(known, flight))
        {
            board.remove(&flight.key);
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
        let writer = Writer(self.clone());
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
                self.disk_works();
                Outcome::Written
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => Outcome::NotWritten,
            Err(error) => {
                self.disk_failed(&error);
                Outcome::NotWritten
            }
        }
    }

    fn disk_works(&self) {
        if self.0.has_disk_failed.swap(false, Ordering::AcqRel) {
            tracing::info!("the cache on disk takes instances again");
        }
    }

    /// Says once that the disk takes nothing, until it does again.
    fn disk_failed(&self, error: &io::Error) {
        self.0.metrics.cache_not_written.inc();
        let now = self.0.began.elapsed().as_secs() + 1;
        self.0.disk_failed_at.store(now, Ordering::Release);
        if !self.0.has_disk_failed.swap(true, Ordering::AcqRel) {
            tracing::warn!(kind = ?error.kind(), "the cache on disk takes no instances");
        }
    }

    fn is_disk_resting(&self) -> bool {
        let failed_at = self.0.disk_failed_at.load(Ordering::Acquire);
        failed_at > 0 && self.0.began.elapsed().as_secs() < failed_at + DISK_RESTS
    }
}

/// What was read from disk.
#[derive(Debug)]
pub enum Read {
    /// All of it.
    Whole(Arc<Entry>),
    /// It is too large for that: its file, of which each piece is verified when it is read.
    File(Arc<disk::Opened>),
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

/// As entity tags and headers write a SHA-256.
#[must_use]
pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
pub(crate) mod test {
    //! Instances to try the tiers with.

    use super::Key;
    use crate::dicom::part10::Identity;
    use crate::dicom::{
        SeriesInstanceUid, SopClassUid, SopInstanceUid, StudyInstanceUid, TransferSyntax,
    };
    use crate::source::Representation;

    pub(crate) fn identity(at: usize) -> Identity {
        Identity {
            sop_class: SopClassUid::parse("1.2.840.10008.5.1.4.1.1.2").expect("a UID"),
            sop_instance: SopInstanceUid::parse(&format!("1.2.3.{at}")).expect("a UID"),
            study: StudyInstanceUid::parse("1.2").expect("a UID"),
            series: SeriesInstanceUid::parse("1.2.3").expect("a UID"),
            transfer_syntax: TransferSyntax::explicit_vr_little_endian(),
        }
    }

    pub(crate) fn key(at: usize) -> Key {
        let identity = identity(at);
        Key {
            place: "here".into(),
            study: identity.study,
            series: identity.series,
            instance: identity.sop_instance,
            representation: Representation::AsStored,
        }
    }
}
