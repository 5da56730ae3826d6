//! Keeps registered manifests on disk, across restarts. Blocking: call it where that is allowed.
//!
//! A manifest is two files: the document as it came, and a record of its registration. The record
//! is written last, aside and renamed, so what a crash leaves behind is a manifest or none. Files
//! are readable by their owner only. Parsed manifests are kept in memory up to a bound and read
//! again when asked for.

mod entries;
mod files;
mod record;
#[cfg(test)]
mod tests;

use std::fs;
use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};

use moka::sync::Cache;
use serde::Deserialize;
use sha2::{Digest, Sha256};

use super::holding::Holding;
use super::id::Id;
use super::outline::Outline;
use super::registered::{Registered, Registration, UnknownSeries};
use super::{Format, MAX_MANIFEST};
use crate::dicom::StudyInstanceUid;
use crate::ihe::HomeCommunityId;
use entries::Entries;
use files::{DOCUMENT, RECORD, write_whole};
pub use record::Record;
use record::StoredRecord;

// What an instance of a parsed manifest takes, index included, rounded up.
const BYTES_AN_INSTANCE: usize = 400;

/// Bounds on registered manifests.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Settings {
    /// How many may be registered.
    pub most: usize,
    /// How much disk they may take, in MiB.
    pub disk_mebibytes: u64,
    /// How much memory parsed ones may take, in MiB, about.
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

/// Why a manifest is not registered, or cannot be given back.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// It is no manifest.
    #[error(transparent)]
    Manifest(#[from] super::Error),
    /// It is to be narrowed to what it does not have.
    #[error(transparent)]
    UnknownSeries(#[from] UnknownSeries),
    /// It is larger than [`MAX_MANIFEST`].
    #[error("the manifest is larger than {} MiB", MAX_MANIFEST >> 20)]
    TooLarge,
    /// There is no room for another one.
    #[error("no further manifest can be registered until others are deleted")]
    Full,
    /// The disk fails.
    #[error("the manifest cannot be stored")]
    Io(#[from] io::Error),
}

/// The registered manifests.
#[derive(Debug)]
pub struct Store {
    directory: PathBuf,
    settings: Settings,
    entries: RwLock<Entries>,
    /// One registration is written at a time.
    writing: Mutex<()>,
    parsed: Cache<Id, Arc<Registered>>,
    /// Studies that several manifests list.
    united: Cache<(StudyInstanceUid, Vec<Id>), Arc<Holding>>,
}

/// A registered study.
#[derive(Debug, Clone)]
pub struct Known {
    /// What the newest of the manifests says of it, without reading that.
    pub outline: Arc<Outline>,
    /// The manifests that list it, newest first.
    pub manifests: Vec<Id>,
}

impl Store {
    /// Opens the store in a directory, which is made if need be. Records are read, documents are
    /// not.
    ///
    /// # Errors
    /// If the directory cannot be made or read. A single damaged record is reported in the log and
    /// left where it is.
    pub fn open(directory: &Path, settings: Settings) -> io::Result<Self> {
        fs::DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(directory)?;
        let mut entries = Entries::default();
        for file in fs::read_dir(directory)? {
            entries.add_file(&file?.path());
        }
        let parsed = Cache::builder()
            .weigher(|_id, manifest: &Arc<Registered>| weight(&manifest.holding))
            .max_capacity(settings.memory_mebibytes << 20)
            .build();
        let united = Cache::builder()
            .weigher(|_ids, holding: &Arc<Holding>| weight(holding))
            .max_capacity(settings.memory_mebibytes << 18)
            .build();
        Ok(Self {
            directory: directory.to_owned(),
            settings,
            entries: RwLock::new(entries),
            writing: Mutex::new(()),
            parsed,
            united,
        })
    }

    /// Registers a manifest. `true`: it is new; `false`: the same bytes were registered before
    /// with the same options.
    ///
    /// # Errors
    /// Why it is not registered.
    pub fn register(
        &self,
        document: &[u8],
        registration: Registration,
        now: u64,
    ) -> Result<(Arc<Registered>, bool), Error> {
        if document.len() > MAX_MANIFEST {
            return Err(Error::TooLarge);
        }
        let digest = digest(document, &registration);
        if let Some(known) = self.find(&digest)? {
            return Ok((known, false));
        }
        let manifest = super::read(document)?;
        let registered = Registered::new(random_id()?, registration.clone(), manifest)?;
        let registered = Arc::new(registered);
        let record = Record {
            registered_at: now,
            media_type: media_type(registered.format).to_owned(),
            registration,
            studies: outlines(&registered.holding),
            digest,
            length: document.len() as u64,
        };
        let _one_at_a_time = lock(&self.writing);
        if let Some(known) = self.find(&digest)? {
            return Ok((known, false));
        }
        self.write(&registered, record, document)?;
        Ok((registered, true))
    }

    /// A registered manifest; `None` if there is none under this id.
    ///
    /// # Errors
    /// If it is there and cannot be read.
    pub fn load(&self, id: Id) -> Result<Option<Arc<Registered>>, Error> {
        // The records decide what is registered, the cache only spares parsing.
        let Some(record) = self.record(id) else {
            return Ok(None);
        };
        if let Some(registered) = self.parsed.get(&id) {
            return Ok(Some(registered));
        }
        let document = fs::read(self.path(id, DOCUMENT))?;
        let manifest = super::read(&document)?;
        let registered = Arc::new(Registered::new(id, record.registration, manifest)?);
        self.parsed.insert(id, Arc::clone(&registered));
        Ok(Some(registered))
    }

    /// As [`Store::load`], if that takes no reading.
    #[must_use]
    pub fn loaded(&self, id: Id) -> Option<Arc<Registered>> {
        self.record(id)?;
        self.parsed.get(&id)
    }

    /// A registered manifest as it came; `None` if there is none under this id.
    ///
    /// # Errors
    /// If it is there and cannot be read.
    pub fn document(&self, id: Id) -> Result<Option<Vec<u8>>, Error> {
        match self.record(id) {
            Some(_) => Ok(Some(fs::read(self.path(id, DOCUMENT))?)),
            None => Ok(None),
        }
    }

    /// What is known of a registered manifest without reading it.
    #[must_use]
    pub fn record(&self, id: Id) -> Option<Record> {
        self.read_entries(|entries| entries.records.get(&id).cloned())
    }

    /// All registered manifests, newest first.
    #[must_use]
    pub fn list(&self) -> Vec<(Id, Record)> {
        self.read_entries(|entries| {
            let newest_first = entries.newest_first();
            let all = newest_first.map(|(id, record)| (id, record.clone()));
            all.collect()
        })
    }

    /// The manifests that list a study, newest first.
    #[must_use]
    pub fn of_study(&self, study: &StudyInstanceUid) -> Vec<Id> {
        self.read_entries(|entries| entries.by_study.get(study).cloned().unwrap_or_default())
    }

    /// All registered studies, that of the newest manifest first.
    #[must_use]
    pub fn studies(&self) -> Vec<Known> {
        self.read_entries(|entries| {
            let newest_first = entries.newest_first();
            let known = newest_first.flat_map(|(id, record)| {
                let studies = record.studies.iter();
                studies.filter_map(move |outline| {
                    let manifests = entries.by_study.get(&outline.uid)?;
                    (manifests.first() == Some(&id)).then(|| Known {
                        outline: Arc::clone(outline),
                        manifests: manifests.clone(),
                    })
                })
            });
            known.collect()
        })
    }

    /// A study as several manifests have it together, if that is kept.
    #[must_use]
    pub fn united(&self, study: &StudyInstanceUid, manifests: &[Id]) -> Option<Arc<Holding>> {
        self.united.get(&(study.clone(), manifests.to_vec()))
    }

    /// Keeps a study as several manifests have it together, within the bound on parsed ones.
    pub fn keep_united(
        &self,
        study: &StudyInstanceUid,
        manifests: Vec<Id>,
        holding: &Arc<Holding>,
    ) {
        let key = (study.clone(), manifests);
        self.united.insert(key, Arc::clone(holding));
    }

    /// How many are registered.
    #[must_use]
    pub fn count(&self) -> usize {
        self.read_entries(|entries| entries.records.len())
    }

    /// Forgets a manifest. `false`: there was none.
    ///
    /// # Errors
    /// If its files cannot be removed; it is forgotten all the same until the next start.
    pub fn forget(&self, id: Id) -> Result<bool, Error> {
        let removed = {
            let mut entries = self.entries.write().unwrap_or_else(PoisonError::into_inner);
            entries.remove(id)
        };
        self.parsed.invalidate(&id);
        if !removed {
            return Ok(false);
        }
        // The record first: what is left without one is no manifest.
        fs::remove_file(self.path(id, RECORD))?;
        fs::remove_file(self.path(id, DOCUMENT))?;
        Ok(true)
    }

    fn find(&self, digest: &[u8; 32]) -> Result<Option<Arc<Registered>>, Error> {
        match self.read_entries(|entries| entries.by_digest.get(digest).copied()) {
            Some(id) => self.load(id),
            None => Ok(None),
        }
    }

    fn write(
        &self,
        registered: &Arc<Registered>,
        record: Record,
        document: &[u8],
    ) -> Result<(), Error> {
        let id = registered.id;
        let is_full = self.read_entries(|entries| {
            entries.records.len() >= self.settings.most
                || entries.bytes + record.length > self.settings.disk_mebibytes << 20
        });
        if is_full {
            return Err(Error::Full);
        }
        let stored = serde_json::to_vec(&StoredRecord::from(&record)).map_err(io::Error::from)?;
        write_whole(&self.path(id, DOCUMENT), document)?;
        write_whole(&self.path(id, RECORD), &stored)?;
        fs::File::open(&self.directory)?.sync_all()?;
        self.parsed.insert(id, Arc::clone(registered));
        let mut entries = self.entries.write().unwrap_or_else(PoisonError::into_inner);
        entries.add(id, record);
        Ok(())
    }

    fn path(&self, id: Id, extension: &str) -> PathBuf {
        self.directory.join(format!("{id}.{extension}"))
    }

    fn read_entries<T>(&self, read: impl FnOnce(&Entries) -> T) -> T {
        read(&self.entries.read().unwrap_or_else(PoisonError::into_inner))
    }
}

fn digest(document: &[u8], registration: &Registration) -> [u8; 32] {
    let mut hash = Sha256::new();
    // Neither an OID nor a UID holds a line break: the options have one spelling.
    let home = registration
        .home_community_id
        .as_ref()
        .map_or("", HomeCommunityId::as_str);
    hash.update(format!("{home}\n"));
    for series in &registration.series {
        hash.update(format!("{series}\n"));
    }
    hash.update("\n");
    hash.update(document);
    hash.finalize().into()
}

fn media_type(format: Format) -> &'static str {
    match format {
        Format::Kos(_) => "application/dicom",
        Format::FhirR4 | Format::FhirR5 => "application/fhir+json",
    }
}

fn outlines(holding: &Holding) -> Vec<Arc<Outline>> {
    let studies = holding.studies.iter();
    let outlines = studies.map(|study| Arc::new(Outline::of(study)));
    outlines.collect()
}

fn random_id() -> io::Result<Id> {
    let mut bits = [0; 16];
    getrandom::fill(&mut bits).map_err(io::Error::other)?;
    Ok(Id::from_random(bits))
}

fn weight(holding: &Holding) -> u32 {
    u32::try_from(holding.instances().saturating_mul(BYTES_AN_INSTANCE) + 4096).unwrap_or(u32::MAX)
}

fn lock(mutex: &Mutex<()>) -> MutexGuard<'_, ()> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
