//! What has crossed a border once is kept: while it arrives (a [`Flight`]), in memory, and on disk.
//!
//! The unit is one instance as one source gave it. It appears in a tier only once its part of the
//! source's answer ended properly and its own bytes say that it is what it is kept as.

mod derived;
pub mod disk;
mod flight;
mod key;
mod memory;
pub mod pace;
mod settings;
mod validity;

use std::collections::HashMap;
use std::io;
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::Semaphore;
use tokio::task::spawn_blocking;

pub use derived::{Derived, Frames};
pub use disk::Disk;
pub use flight::{Flight, Pilot, Unread};
pub use key::Key;
pub use memory::{Entry, Limits as MemoryLimits, Memory};
pub use settings::{ByteSize, CacheControl, LookAhead, Settings};
pub use validity::Validity;

use crate::dicom::part10::Identity;
use crate::metrics::Metrics;
use disk::Epoch;
use flight::Room;
use pace::Pace;

/// Files that are written at the same time.
const WRITERS: usize = 2;

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
    writers: Arc<Semaphore>,
    /// Bytes that wait to be written.
    unwritten: AtomicU64,
    most_unwritten: u64,
    has_disk_failed: AtomicBool,
    metrics: Metrics,
}

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
        let ours = format!("\"{}\"", hex(&sha256));
        Some(match validity.etag() {
            Some(etag) if etag.trim_start_matches("W/") != ours => format!("{etag}, {ours}"),
            Some(_) | None => ours,
        })
    }

    /// Which instance it is.
    #[must_use]
    pub fn identity(&self) -> &Identity {
        match self {
            Self::Memory(entry) => &entry.identity,
            Self::Flight(flight) => &flight.identity,
            Self::Disk(stored) => &stored.identity,
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
        Ok(Self(Arc::new(Tiers {
            memory: Memory::new(settings.memory_limits(), metrics),
            derived: Derived::new(settings.metadata.0),
            look_ahead: (settings.look_ahead, settings.look_ahead_bytes.0),
            disk,
            board: Mutex::default(),
            room: Arc::new(Room::new(settings.flights.0, settings.spill.0)),
            writers: Arc::new(Semaphore::new(WRITERS)),
            unwritten: AtomicU64::new(0),
            most_unwritten: settings.flights.0,
            has_disk_failed: AtomicBool::new(false),
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
                .find(key)
                .is_some_and(|stored| stored.validity.is_fresh(lifetime)),
            (None, None) => false,
        }
    }

    /// Its source has said that it still has the same.
    pub fn confirm(&self, key: &Key) {
        if let Some(entry) = self.0.memory.peek(key) {
            entry.validity.confirm();
        }
        if let Some(stored) = self.0.disk.as_ref().and_then(|disk| disk.find(key)) {
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
        let pilot = Pilot::new(self, key.clone(), (cargo, validity), pace);
        let flight = Arc::clone(pilot.flight());
        if terms.is_no_store {
            flight.forget();
        } else {
            board.insert(key, flight);
        }
        Ok(pilot)
    }

    /// Reads an instance from disk, looks whether it is undamaged, and takes it to memory if it is
    /// small enough. `None`: it is damaged or gone.
    pub async fn read(&self, stored: &Arc<disk::Stored>) -> Option<Read> {
        let disk = self.0.disk.clone()?;
        let fits = self.0.memory.admits(stored.length);
        let of = Arc::clone(stored);
        let reading = spawn_blocking(move || read(&disk, &of, fits));
        match reading.await.ok()?? {
            Read::Whole(entry) => {
                self.0.memory.keep(stored.key.clone(), Arc::clone(&entry));
                Some(Read::Whole(entry))
            }
            file @ Read::File(_) => Some(file),
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
        let on_disk = self.0.disk.as_ref().map_or(0, |disk| disk.forget(which));
        let in_memory = self.0.memory.forget(which);
        forgotten + on_disk.max(in_memory)
    }

    /// As [`Cache::forget`], of one instance.
    pub fn forget_one(&self, key: &Key) {
        if let Some(flight) = self.board().remove(key) {
            flight.forget();
        }
        if let Some(disk) = &self.0.disk {
            disk.forget_one(key);
        }
        self.0.memory.forget_one(key);
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
        self.0.memory.admits(1) || self.0.disk.is_some()
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
        let since = self.0.disk.as_ref().map(Disk::epoch);
        if flight.is_forgotten() {
            return;
        }
        let key = flight.key.clone();
        if flight.is_awaited() {
            self.0.memory.keep(key, Arc::clone(&entry));
        } else {
            self.0.memory.keep_ahead(key, Arc::clone(&entry));
        }
        // It may have been forgotten just now, before it could be found here.
        if flight.is_forgotten() {
            self.0.memory.forget_one(&flight.key);
            return;
        }
        if let Some((disk, since)) = self.0.disk.clone().zip(since) {
            self.store((disk, since), Arc::clone(flight), entry);
        }
    }

    /// Writes an instance to disk by and by. A disk that is too slow for what comes is not waited
    /// for: what does not fit in the queue stays in memory only.
    fn store(&self, (disk, since): (Disk, Epoch), flight: Arc<Flight>, entry: Arc<Entry>) {
        let bytes = entry.bytes.len() as u64;
        let waiting = self.0.unwritten.fetch_add(bytes, Ordering::AcqRel);
        let unwritten = Unwritten(self.clone(), bytes);
        if waiting + bytes > self.0.most_unwritten {
            let skipped = &self.0.metrics.cache_not_written;
            skipped.inc();
            return;
        }
        let cache = self.clone();
        tokio::spawn(async move {
            let Ok(permit) = Arc::clone(&cache.0.writers).acquire_owned().await else {
                return;
            };
            let written = spawn_blocking(move || {
                let _held = (permit, unwritten);
                write((&disk, since), &flight, &entry)
            });
            match written.await {
                Ok(Ok(())) => cache.disk_works(),
                Ok(Err(error)) => cache.disk_failed(&error),
                Err(panic) => tracing::error!(%panic, "writing to the cache failed"),
            }
        });
    }

    fn landed_on_disk(&self, flight: &Flight) {
        self.disk_works();
        if let (true, Some(disk)) = (flight.is_forgotten(), &self.0.disk) {
            disk.forget_one(&flight.key);
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
        if !self.0.has_disk_failed.swap(true, Ordering::AcqRel) {
            tracing::warn!(kind = ?error.kind(), "the cache on disk takes no instances");
        }
    }
}

/// What was read from disk.
#[derive(Debug)]
pub enum Read {
    /// All of it.
    Whole(Arc<Entry>),
    /// It is too large for that: a file, its bytes from [`disk::BODY_AT`] on.
    File(Arc<std::fs::File>),
}

/// Bytes in the queue to the disk, for as long as it lives.
struct Unwritten(Cache, u64);

impl Drop for Unwritten {
    fn drop(&mut self) {
        self.0.0.unwritten.fetch_sub(self.1, Ordering::AcqRel);
    }
}

fn write((disk, since): (&Disk, Epoch), flight: &Flight, entry: &Entry) -> io::Result<()> {
    if flight.is_forgotten() {
        return Ok(());
    }
    let validity = entry.validity.copied();
    let mut writing = disk.begin(&flight.key, &flight.identity, validity, since)?;
    writing.append(&entry.bytes)?;
    match writing.finish() {
        Ok(stored) => entry.tell_sha256(stored.sha256),
        Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
        Err(error) => return Err(error),
    }
    Ok(())
}

/// As entity tags and headers write a SHA-256.
#[must_use]
pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn read(disk: &Disk, stored: &Arc<disk::Stored>, fits: bool) -> Option<Read> {
    if !stored.verify().unwrap_or(false) {
        disk.discard(stored);
        return None;
    }
    let file = stored.open().ok()?;
    if !fits {
        return Some(Read::File(file));
    }
    let mut bytes = Vec::with_capacity(usize::try_from(stored.length).ok()?);
    while (bytes.len() as u64) < stored.length {
        let at = bytes.len() as u64;
        let chunk = disk::read(&file, at, stored.length - at).ok()?;
        if chunk.is_empty() {
            disk.discard(stored);
            return None;
        }
        bytes.extend_from_slice(&chunk);
    }
    let validity = stored.validity.copied();
    let entry = Entry::new(stored.identity.clone(), Bytes::from(bytes), validity);
    entry.tell_sha256(stored.sha256);
    Some(Read::Whole(Arc::new(entry)))
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
