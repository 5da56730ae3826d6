//! Stores registered manifests on disk, across restarts. Its functions block.
//!
//! A manifest has two files: the document as the client sent it, and a record of its registration.
//! The record is written last and atomically, so a crash leaves either a whole manifest or none.
//! Only the owner can read the files. Parsed manifests are cached in memory up to a bound. A
//! journal of the records makes a start fast; an index keeps the cost of lookups and searches
//! independent of the number of registered manifests.

pub(crate) mod files;
mod index;
mod journal;
mod opening;
mod postings;
mod record;
mod search;
mod studies;
#[cfg(test)]
mod tests;
mod view;
mod visible;

use std::fs;
use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};

use moka::sync::Cache;
use serde::Deserialize;

use crate::dicom::{SeriesInstanceUid, StudyInstanceUid};
use crate::manifest::{
    self, Conflict, Disagreement, Holding, Id, Locate, MAX_MANIFEST, OnConflict, Registered,
    Submission, UnknownSeries,
};
use crate::random;
use files::{Aside, DOCUMENT, RECORD};
use index::Index;
use journal::Journal;
pub use postings::Rank;
pub use record::{Record, now};
use record::{digest, media_type, outlines, packed};
pub use search::{KnownStudy, StudyPage};
pub use view::{Clause, View, Whose};

// The memory of an instance in a parsed manifest, including its index, rounded up.
const BYTES_AN_INSTANCE: usize = 400;
/// A document up to this length is parsed within a millisecond. It enters the cache when it is read
/// for the first time, not when it is registered: a bulk registration would fill the cache.
const QUICKLY_PARSED: usize = 64 << 10;

/// Bounds on registered manifests.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Settings {
    /// Most registered manifests.
    pub most: usize,
    /// Most disk space of their documents, in MiB.
    pub disk_mebibytes: u64,
    /// Approximate memory for parsed manifests, in MiB.
    pub memory_mebibytes: u64,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            most: 100_000,
            disk_mebibytes: 4096,
            memory_mebibytes: 128,
        }
    }
}

/// Why a manifest cannot be registered or read.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The document is not a manifest.
    #[error(transparent)]
    Manifest(#[from] manifest::Error),
    /// The manifest does not list a series to which the client narrows it.
    #[error(transparent)]
    UnknownSeries(#[from] UnknownSeries),
    /// The manifest disagrees with registered ones.
    #[error(transparent)]
    Conflict(#[from] Conflict),
    /// The document is larger than [`MAX_MANIFEST`].
    #[error("the manifest is larger than {} MiB", MAX_MANIFEST >> 20)]
    TooLarge,
    /// The library has reached its bound.
    #[error("no further manifest can be registered until others are deleted")]
    Full,
    /// Its document was deleted, cut or changed on disk.
    #[error("the document of this manifest is lost; registering it again restores it")]
    Lost,
    /// The disk fails.
    #[error("the manifest cannot be stored")]
    Io(#[from] io::Error),
}

/// The registered manifests.
#[derive(Debug)]
pub struct Library {
    directory: PathBuf,
    settings: Settings,
    index: RwLock<Index>,
    /// Serialises registrations.
    writing: Mutex<()>,
    journal: Mutex<Journal>,
    parsed: Cache<Id, Arc<Registered>>,
    /// Studies that several manifests list.
    united: Cache<(StudyInstanceUid, Vec<Id>), Arc<Holding>>,
    /// Manifests as links show them that are narrowed to some series.
    narrowed: Cache<(Id, Vec<SeriesInstanceUid>), Arc<Registered>>,
}

/// A registered manifest in a list.
#[derive(Debug, Clone)]
pub struct ManifestEntry {
    /// Its name.
    pub id: Id,
    /// Its place in the order of registration.
    pub sequence: u64,
    /// Seconds since 1970 when it was registered.
    pub registered_at: u64,
    /// `application/dicom` or `application/fhir+json`.
    pub media_type: &'static str,
}

impl ManifestEntry {
    fn of(id: Id, record: &Record) -> Self {
        Self {
            id,
            sequence: record.sequence,
            registered_at: record.registered_at,
            media_type: record.media_type,
        }
    }
}

/// What a manifest is compared with when it is registered.
pub struct Neighbours<'a> {
    /// The registered manifests that count: those that the client may see.
    pub view: &'a View,
    /// Resolves the locations in a manifest to a place.
    pub locate: &'a Locate<'a>,
}

impl Library {
    /// Opens the library in a directory and creates that if necessary. It reads the records, but
    /// not the documents.
    ///
    /// # Errors
    /// If the directory cannot be created or read. The log counts damaged records and foreign
    /// files, which stay in place.
    pub fn open(directory: &Path, settings: Settings) -> io::Result<Self> {
        fs::DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(directory)?;
        let (index, journal) = opening::read_all(directory)?;
        Ok(Self::new(directory, settings, index, journal))
    }

    /// Opens a library that another process may have open, to look at it: nothing is removed.
    ///
    /// # Errors
    /// If the directory cannot be read. One that does not exist holds no manifests.
    pub fn look(directory: &Path, settings: Settings) -> io::Result<Self> {
        let index = match opening::look(directory) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Index::default(),
            index => index?,
        };
        Ok(Self::new(
            directory,
            settings,
            index,
            Journal::new(directory),
        ))
    }

    fn new(directory: &Path, settings: Settings, index: Index, journal: Journal) -> Self {
        let parsed = Cache::builder()
            .weigher(|_id, manifest: &Arc<Registered>| weight(&manifest.holding))
            .max_capacity(settings.memory_mebibytes << 20)
            .build();
        let united = Cache::builder()
            .weigher(|_ids, holding: &Arc<Holding>| weight(holding))
            .max_capacity(settings.memory_mebibytes << 18)
            .build();
        let narrowed = Cache::builder()
            .weigher(|_key, manifest: &Arc<Registered>| weight(&manifest.holding))
            .max_capacity(settings.memory_mebibytes << 17)
            .build();
        Self {
            directory: directory.to_owned(),
            settings,
            narrowed,
            index: RwLock::new(index),
            writing: Mutex::new(()),
            journal: Mutex::new(journal),
            parsed,
            united,
        }
    }

    /// Registers a manifest. `true`: it is new; `false`: the same bytes were registered before
    /// with the same options.
    ///
    /// # Errors
    /// Why the manifest cannot be registered.
    pub fn register(
        &self,
        document: &[u8],
        submission: Submission,
        now: u64,
        neighbours: &Neighbours<'_>,
    ) -> Result<(Arc<Registered>, bool), Error> {
        let Submission {
            registration,
            on_conflict,
        } = submission;
        if document.len() > MAX_MANIFEST {
            return Err(Error::TooLarge);
        }
        let digest = digest(document, &registration);
        if let Some(known) = self.known(&digest, document)? {
            return Ok((known, false));
        }
        let manifest = manifest::read(document)?;
        let registered = Registered::new(random_id()?, registration.clone(), manifest)?;
        let registered = Arc::new(registered);
        let aside = files::write_aside(&self.directory, document)?;
        let one_at_a_time = lock(&self.writing);
        if let Some(known) = self.known(&digest, document)? {
            return Ok((known, false));
        }
        let disagreements = match on_conflict {
            OnConflict::Refuse => self.disagreements(&registered, neighbours),
            OnConflict::KeepFirst => Vec::new(),
        };
        if !disagreements.is_empty() {
            return Err(Conflict(disagreements).into());
        }
        let record = Record {
            registered_at: now,
            media_type: media_type(registered.format),
            sequence: self.read_index(Index::next_sequence),
            registration,
            studies: packed(&outlines(&registered.holding)),
            digest,
            length: document.len() as u64,
        };
        self.write(&registered, record, aside)?;
        self.note(registered.id);
        drop(one_at_a_time);
        files::sync(&self.directory)?;
        if document.len() > QUICKLY_PARSED {
            self.parsed.insert(registered.id, Arc::clone(&registered));
        }
        Ok((registered, true))
    }

    /// The disagreements of a manifest with those registered before it. It skips lost and damaged
    /// manifests, which must not block others.
    #[must_use]
    pub fn disagreements(
        &self,
        manifest: &Registered,
        neighbours: &Neighbours<'_>,
    ) -> Vec<Disagreement> {
        let Neighbours { view, locate } = neighbours;
        let community = manifest.registration.home_community_id.as_ref();
        let studies = manifest.holding.studies.iter();
        let disagreements = studies.filter_map(|study| {
            let before = self.before(manifest.id, &study.uid, view);
            let united = self.united_before(&study.uid, before, locate)?;
            united.disagreement(study, community, locate)
        });
        disagreements.collect()
    }

    /// Whether a manifest lists a study that a visible one registered before it lists too.
    #[must_use]
    pub fn shares_a_study(&self, manifest: &Registered, view: &View) -> bool {
        let mut studies = manifest.holding.studies.iter();
        studies.any(|study| !self.before(manifest.id, &study.uid, view).is_empty())
    }

    /// The visible manifests that list a study and were registered before this one.
    fn before(&self, id: Id, study: &StudyInstanceUid, view: &View) -> Vec<Id> {
        let mut all = self.of_study(study, view);
        if let Some(at) = all.iter().position(|other| *other == id) {
            all.truncate(at);
        }
        all
    }

    fn united_before(
        &self,
        study: &StudyInstanceUid,
        ids: Vec<Id>,
        locate: &Locate<'_>,
    ) -> Option<Arc<Holding>> {
        if ids.is_empty() {
            return None;
        }
        if let Some(united) = self.united(study, &ids) {
            return Some(united);
        }
        let loaded = ids.iter().filter_map(|id| self.load(*id).ok().flatten());
        let holdings: Vec<_> = loaded.map(|one| Arc::clone(&one.holding)).collect();
        let united = Holding::united(&holdings, study, |locations, community| {
            locate(locations, community).is_some()
        });
        let united = Arc::new(united?);
        if holdings.len() == ids.len() {
            self.keep_united(study, ids, &united);
        }
        Some(united)
    }

    /// A registered manifest; `None` if there is none under this id.
    ///
    /// # Errors
    /// [`Error::Lost`] or another one if it is registered and cannot be read.
    pub fn load(&self, id: Id) -> Result<Option<Arc<Registered>>, Error> {
        // The records are authoritative; the cache only saves parsing.
        let Some(record) = self.record(id) else {
            return Ok(None);
        };
        if let Some(registered) = self.parsed.get(&id) {
            return Ok(Some(registered));
        }
        let document = record.document(&self.path(id, DOCUMENT))?;
        let manifest = manifest::read(&document.ok_or(Error::Lost)?)?;
        let registered = Arc::new(Registered::new(id, record.registration, manifest)?);
        self.parsed.insert(id, Arc::clone(&registered));
        Ok(Some(registered))
    }

    /// The manifest, if it is in memory.
    #[must_use]
    pub fn loaded(&self, id: Id) -> Option<Arc<Registered>> {
        self.is_registered(id).then(|| self.parsed.get(&id))?
    }

    /// Whether a manifest is registered under this id.
    #[must_use]
    pub fn is_registered(&self, id: Id) -> bool {
        self.read_index(|index| index.records.contains_key(&id))
    }

    /// The document of a registered manifest; `None` if there is none under this id.
    ///
    /// # Errors
    /// [`Error::Lost`] or another one if it is registered and cannot be read.
    pub fn document(&self, id: Id) -> Result<Option<Vec<u8>>, Error> {
        let Some(record) = self.record(id) else {
            return Ok(None);
        };
        let document = record.document(&self.path(id, DOCUMENT))?;
        document.ok_or(Error::Lost).map(Some)
    }

    /// The record of a registered manifest.
    #[must_use]
    pub fn record(&self, id: Id) -> Option<Record> {
        self.read_index(|index| index.records.get(&id).cloned())
    }

    /// The cached union of several manifests' selections of a study.
    #[must_use]
    pub fn united(&self, study: &StudyInstanceUid, manifests: &[Id]) -> Option<Arc<Holding>> {
        self.united.get(&(study.clone(), manifests.to_vec()))
    }

    /// Caches the union of several manifests' selections of a study.
    pub fn keep_united(
        &self,
        study: &StudyInstanceUid,
        manifests: Vec<Id>,
        holding: &Arc<Holding>,
    ) {
        let key = (study.clone(), manifests);
        self.united.insert(key, Arc::clone(holding));
    }

    /// The number of registered manifests.
    #[must_use]
    pub fn count(&self) -> usize {
        self.read_index(|index| index.records.len())
    }

    /// Deletes a manifest. `false`: it does not exist.
    ///
    /// # Errors
    /// If its files cannot be removed; the manifest is deleted nevertheless until the next start.
    pub fn forget(&self, id: Id) -> Result<bool, Error> {
        let removed = {
            let mut index = self.index.write().unwrap_or_else(PoisonError::into_inner);
            index.remove(id)
        };
        self.parsed.invalidate(&id);
        if !removed {
            return Ok(false);
        }
        lock(&self.journal).blank(id);
        // The record first: a document without a record does not count as a manifest.
        files::remove(&self.path(id, RECORD))?;
        files::remove(&self.path(id, DOCUMENT))?;
        Ok(true)
    }

    /// The manifest already registered with this digest. Its lost files are written again.
    fn known(&self, digest: &[u8; 32], document: &[u8]) -> Result<Option<Arc<Registered>>, Error> {
        let id = self.read_index(|index| index.by_digest.get(digest).copied());
        let Some((id, record)) = id.and_then(|id| Some((id, self.record(id)?))) else {
            return Ok(None);
        };
        let path = self.path(id, DOCUMENT);
        let is_there = files::length(&path) == Some(record.length);
        let loaded = match self.load(id) {
            Err(Error::Lost) => None,
            loaded => loaded?,
        };
        if let Some(registered) = loaded.filter(|_registered| is_there) {
            return Ok(Some(registered));
        }
        let manifest = manifest::read(document)?;
        let registered = Registered::new(id, record.registration.clone(), manifest)?;
        let registered = Arc::new(registered);
        files::write_whole(&path, document)?;
        if !files::is_file(&self.path(id, RECORD)) {
            record.write(&self.path(id, RECORD))?;
        }
        files::sync(&self.directory)?;
        self.parsed.insert(id, Arc::clone(&registered));
        tracing::warn!("the lost document of a manifest was restored by registering it again");
        Ok(Some(registered))
    }

    /// Makes a document visible, then its record, and indexes them.
    fn write(&self, registered: &Registered, record: Record, document: Aside) -> Result<(), Error> {
        let id = registered.id;
        let is_full = self.read_index(|index| {
            index.records.len() >= self.settings.most
                || index.bytes + record.length > self.settings.disk_mebibytes << 20
        });
        if is_full {
            return Err(Error::Full);
        }
        let persisted = document.persist(self.path(id, DOCUMENT));
        persisted.map_err(|error| error.error)?;
        record.write(&self.path(id, RECORD))?;
        let mut index = self.index.write().unwrap_or_else(PoisonError::into_inner);
        index.add(id, record);
        Ok(())
    }

    /// Notes a new record in the journal.
    fn note(&self, id: Id) {
        let mut journal = lock(&self.journal);
        if let Some(record) = self.record(id) {
            opening::note(&self.directory, &mut journal, id, &record);
        }
        if journal.is_due(self.count()) {
            // Requests wait for the index during one look-up, not during all of them.
            let ids: Vec<Id> = self.read_index(|index| index.records.keys().copied().collect());
            let records = ids
                .into_iter()
                .filter_map(|id| Some((id, self.record(id)?)));
            opening::rewrite(&self.directory, &mut journal, records);
        }
    }

    fn path(&self, id: Id, extension: &str) -> PathBuf {
        self.directory.join(format!("{id}.{extension}"))
    }

    fn read_index<T>(&self, read: impl FnOnce(&Index) -> T) -> T {
        read(&self.index.read().unwrap_or_else(PoisonError::into_inner))
    }
}

fn random_id() -> io::Result<Id> {
    let bits = random::bytes().map_err(io::Error::other)?;
    Ok(Id::from_random(bits))
}

fn weight(holding: &Holding) -> u32 {
    u32::try_from(holding.instances().saturating_mul(BYTES_AN_INSTANCE) + 4096).unwrap_or(u32::MAX)
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
