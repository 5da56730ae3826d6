//! Keeps registered manifests on disk, across restarts. Blocking: call it where that is allowed.
//!
//! A manifest is two files: the document as it came, and a record of its registration. The record
//! is written last, aside and renamed, so what a crash leaves behind is a manifest or none. Files
//! are readable by their owner only. Parsed manifests are kept in memory up to a bound and read
//! again when asked for.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fs;
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};

use moka::sync::Cache;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::holding::Holding;
use super::id::Id;
use super::outline::Outline;
use super::registered::{Registered, Registration, UnknownSeries};
use super::{Format, MAX_MANIFEST};
use crate::dicom::{SeriesInstanceUid, StudyInstanceUid};
use crate::ihe::HomeCommunityId;

const RECORD: &str = "json";
const DOCUMENT: &str = "manifest";
const ASIDE: &str = ".aside-";
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

#[derive(Debug, Default)]
struct Entries {
    records: BTreeMap<Id, Record>,
    by_digest: HashMap<[u8; 32], Id>,
    /// Newest first.
    by_age: BTreeSet<(Reverse<u64>, Id)>,
    /// Those that list a study, newest first.
    by_study: HashMap<StudyInstanceUid, Vec<Id>>,
    bytes: u64,
}

/// What is known of a registered manifest without reading it.
#[derive(Debug, Clone)]
pub struct Record {
    /// Seconds since 1970 when it was registered.
    pub registered_at: u64,
    /// `application/dicom` or `application/fhir+json`.
    pub media_type: String,
    registration: Registration,
    studies: Vec<Arc<Outline>>,
    digest: [u8; 32],
    length: u64,
}

/// A registered study.
#[derive(Debug, Clone)]
pub struct Known {
    /// What the newest of the manifests says of it, without reading that.
    pub outline: Arc<Outline>,
    /// The manifests that list it, newest first.
    pub manifests: Vec<Id>,
}

/// A record as it is on disk.
#[derive(Serialize, Deserialize)]
struct StoredRecord {
    registered_at: u64,
    media_type: String,
    home_community_id: Option<String>,
    series: Vec<String>,
    /// The first records did not have it.
    #[serde(default)]
    studies: Option<Vec<Arc<Outline>>>,
    /// SHA-256 of document and options, in hexadecimal.
    digest: String,
    length: u64,
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

impl Entries {
    fn add_file(&mut self, path: &Path) {
        let stem = path
            .file_stem()
            .and_then(|stem| stem.to_str())
            .unwrap_or_default();
        match (Id::parse(stem), path.extension().and_then(|e| e.to_str())) {
            (Some(id), Some(RECORD)) => match read_record(path) {
                Ok(record) => self.add(id, record),
                Err(error) => tracing::error!(%error, "the record of a manifest is damaged"),
            },
            // Half of a registration that a crash cut short.
            (Some(_), Some(DOCUMENT)) if !path.with_extension(RECORD).exists() => {
                let _ = fs::remove_file(path);
            }
            // What was being written aside when the process was killed.
            _ if stem.starts_with(ASIDE) => {
                let _ = fs::remove_file(path);
            }
            _ => {}
        }
    }

    fn add(&mut self, id: Id, record: Record) {
        self.bytes += record.length;
        self.by_digest.insert(record.digest, id);
        self.by_age.insert((Reverse(record.registered_at), id));
        for outline in &record.studies {
            let manifests = self.by_study.entry(outline.uid.clone()).or_default();
            let age = (Reverse(record.registered_at), id);
            let records = &self.records;
            let at = manifests.partition_point(|other| {
                let other_age = records.get(other).map(|other| other.registered_at);
                (Reverse(other_age.unwrap_or(0)), *other) < age
            });
            manifests.insert(at, id);
        }
        self.records.insert(id, record);
    }

    fn newest_first(&self) -> impl Iterator<Item = (Id, &Record)> {
        let ids = self.by_age.iter();
        ids.filter_map(|(_, id)| Some((*id, self.records.get(id)?)))
    }

    fn remove(&mut self, id: Id) -> bool {
        let Some(record) = self.records.remove(&id) else {
            return false;
        };
        self.bytes -= record.length;
        self.by_digest.remove(&record.digest);
        self.by_age.remove(&(Reverse(record.registered_at), id));
        for outline in &record.studies {
            let Some(manifests) = self.by_study.get_mut(&outline.uid) else {
                continue;
            };
            manifests.retain(|other| *other != id);
            if manifests.is_empty() {
                self.by_study.remove(&outline.uid);
            }
        }
        true
    }
}

fn read_record(path: &Path) -> io::Result<Record> {
    let stored: StoredRecord = serde_json::from_slice(&fs::read(path)?)?;
    let damaged = || io::Error::from(io::ErrorKind::InvalidData);
    if !path.with_extension(DOCUMENT).exists() {
        return Err(io::ErrorKind::NotFound.into());
    }
    let is_complete = stored.studies.is_some();
    let mut record = Record::try_from(stored).map_err(|_damaged| damaged())?;
    if !is_complete {
        let document = fs::read(path.with_extension(DOCUMENT))?;
        let manifest = super::read(&document).map_err(io::Error::other)?;
        let registration = record.registration.clone();
        let registered = Registered::new(random_id()?, registration, manifest);
        record.studies = outlines(&registered.map_err(io::Error::other)?.holding);
        write_whole(path, &serde_json::to_vec(&StoredRecord::from(&record))?)?;
    }
    Ok(record)
}

impl From<&Record> for StoredRecord {
    fn from(record: &Record) -> Self {
        let registration = &record.registration;
        Self {
            registered_at: record.registered_at,
            media_type: record.media_type.clone(),
            home_community_id: registration
                .home_community_id
                .as_ref()
                .map(ToString::to_string),
            series: registration
                .series
                .iter()
                .map(ToString::to_string)
                .collect(),
            studies: Some(record.studies.clone()),
            digest: record
                .digest
                .iter()
                .map(|byte| format!("{byte:02x}"))
                .collect(),
            length: record.length,
        }
    }
}

struct Damaged;

impl TryFrom<StoredRecord> for Record {
    type Error = Damaged;

    fn try_from(stored: StoredRecord) -> Result<Self, Damaged> {
        let home = stored
            .home_community_id
            .as_deref()
            .map(HomeCommunityId::parse)
            .transpose();
        let series = stored
            .series
            .iter()
            .map(|uid| SeriesInstanceUid::parse(uid));
        Ok(Self {
            registered_at: stored.registered_at,
            media_type: stored.media_type,
            registration: Registration {
                home_community_id: home.map_err(|_not_an_oid| Damaged)?,
                series: series
                    .collect::<Result<_, _>>()
                    .map_err(|_not_a_uid| Damaged)?,
            },
            studies: stored.studies.unwrap_or_default(),
            digest: parse_digest(&stored.digest).ok_or(Damaged)?,
            length: stored.length,
        })
    }
}

fn parse_digest(text: &str) -> Option<[u8; 32]> {
    let mut digest = [0; 32];
    if text.len() != 64 {
        return None;
    }
    for (byte, at) in digest.iter_mut().zip((0..64).step_by(2)) {
        *byte = u8::from_str_radix(text.get(at..at + 2)?, 16).ok()?;
    }
    Some(digest)
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

/// Writes a file that is there whole or not at all.
fn write_whole(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let directory = path.parent().unwrap_or(Path::new("."));
    let mut file = tempfile::Builder::new()
        .prefix(ASIDE)
        .permissions(fs::Permissions::from_mode(0o600))
        .tempfile_in(directory)?;
    file.write_all(bytes)?;
    file.as_file().sync_all()?;
    file.persist(path).map_err(|error| error.error)?;
    Ok(())
}

fn lock(mutex: &Mutex<()>) -> MutexGuard<'_, ()> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::instance::Target;

    const BUNDLE: &str = r#"{
  "resourceType": "Bundle", "type": "collection",
  "entry": [
    {"fullUrl": "urn:uuid:1", "resource": {"resourceType": "ImagingStudy", "status": "available",
      "identifier": [{"system": "urn:dicom:uid", "value": "urn:oid:1.2.1"}],
      "series": [
        {"uid": "1.2.2", "endpoint": [{"reference": "urn:uuid:2"}],
         "instance": [{"uid": "1.2.2.1", "sopClass": {"code": "urn:oid:1.2.840.10008.5.1.4.1.1.2"}}]},
        {"uid": "1.2.3", "endpoint": [{"reference": "urn:uuid:2"}],
         "instance": [{"uid": "1.2.3.1", "sopClass": {"code": "urn:oid:1.2.840.10008.5.1.4.1.1.2"}}]}
      ]}},
    {"fullUrl": "urn:uuid:2", "resource": {"resourceType": "Endpoint", "status": "active",
      "connectionType": {"code": "dicom-wado-rs"}, "address": "http://127.0.0.1:1/rs/",
      "extension": [{"url": "https://profiles.ihe.net/RAD/MADO/StructureDefinition/MadoRetrieveLocationUIDExtension", "valueString": "1.2.9"}]}}
  ]
}"#;

    fn store(directory: &Path) -> Store {
        Store::open(directory, Settings::default()).expect("a store")
    }

    fn register(store: &Store) -> (Arc<Registered>, bool) {
        store
            .register(BUNDLE.as_bytes(), Registration::default(), 7)
            .expect("registered")
    }

    fn narrowed(series: &str) -> Registration {
        let series = vec![SeriesInstanceUid::parse(series).expect("a uid")];
        Registration {
            home_community_id: None,
            series,
        }
    }

    fn selects(manifest: &Registered, path: [&str; 2]) -> bool {
        let [study, series] = path;
        let study = StudyInstanceUid::parse(study).expect("a uid");
        let series = SeriesInstanceUid::parse(series).expect("a uid");
        manifest
            .holding
            .select(&Target::Series(study, series))
            .is_some()
    }

    #[test]
    fn the_same_bytes_and_options_are_the_same_manifest() {
        let directory = tempfile::tempdir().expect("a directory");
        let store = store(directory.path());
        let (first, is_new) = register(&store);
        assert!(is_new);
        let (again, is_new) = register(&store);
        assert!(!is_new && again.id == first.id);
        let (other, is_new) = store
            .register(BUNDLE.as_bytes(), narrowed("1.2.2"), 8)
            .expect("registered");
        assert!(is_new && other.id != first.id);
        assert_eq!(store.count(), 2);
    }

    #[test]
    fn narrowing_hides_the_other_series() {
        let directory = tempfile::tempdir().expect("a directory");
        let store = store(directory.path());
        let (manifest, _) = store
            .register(BUNDLE.as_bytes(), narrowed("1.2.2"), 8)
            .expect("registered");
        assert!(selects(&manifest, ["1.2.1", "1.2.2"]));
        assert!(!selects(&manifest, ["1.2.1", "1.2.3"]));
        let refused = store.register(BUNDLE.as_bytes(), narrowed("1.2.9"), 8);
        assert!(matches!(refused, Err(Error::UnknownSeries(_))));
    }

    #[test]
    fn manifests_survive_a_restart_and_deletion_is_for_good() {
        let directory = tempfile::tempdir().expect("a directory");
        let id = register(&store(directory.path())).0.id;
        let again = store(directory.path());
        assert!(again.loaded(id).is_none(), "nothing is parsed at the start");
        let manifest = again.load(id).expect("readable").expect("registered");
        assert!(selects(&manifest, ["1.2.1", "1.2.2"]) && selects(&manifest, ["1.2.1", "1.2.3"]));
        assert!(!register(&again).1, "it is still the same manifest");
        assert!(again.forget(id).expect("forgotten"));
        assert!(!again.forget(id).expect("nothing to forget"));
        assert!(again.load(id).expect("no error").is_none());
        assert!(
            store(directory.path())
                .load(id)
                .expect("no error")
                .is_none()
        );
    }

    fn study() -> StudyInstanceUid {
        StudyInstanceUid::parse("1.2.1").expect("a uid")
    }

    #[test]
    fn a_study_has_the_manifests_that_list_it_newest_first() {
        let directory = tempfile::tempdir().expect("a directory");
        let bytes = BUNDLE.as_bytes();
        let ids = {
            let store = store(directory.path());
            let register = |registration, now| store.register(bytes, registration, now);
            let all = [
                register(narrowed("1.2.2"), 8),
                register(Registration::default(), 7),
                register(narrowed("1.2.3"), 9),
            ];
            all.map(|one| one.expect("registered").0.id)
        };
        let store = store(directory.path());
        assert_eq!(store.of_study(&study()), [ids[2], ids[0], ids[1]]);
        let [known] = &store.studies()[..] else {
            panic!("one study");
        };
        assert_eq!((known.outline.series, known.outline.instances), (1, 1));
        assert_eq!(known.manifests.len(), 3);
        for id in ids {
            store.forget(id).expect("forgotten");
        }
        assert!(store.of_study(&study()).is_empty() && store.studies().is_empty());
    }

    #[test]
    fn a_record_of_an_earlier_version_is_completed() {
        let directory = tempfile::tempdir().expect("a directory");
        let id = register(&store(directory.path())).0.id;
        let path = directory.path().join(format!("{id}.json"));
        let text = fs::read_to_string(&path).expect("a record");
        let mut record: serde_json::Value = serde_json::from_str(&text).expect("JSON");
        record["studies"].take();
        fs::write(&path, record.to_string()).expect("written");
        for _ in 0..2 {
            let store = store(directory.path());
            assert_eq!(store.of_study(&study()), [id]);
        }
        assert_eq!(fs::read_to_string(&path).expect("a record"), text);
    }

    #[test]
    fn files_are_for_their_owner_only() {
        let directory = tempfile::tempdir().expect("a directory");
        let inside = directory.path().join("manifests");
        register(&store(&inside));
        let mode = |path: &Path| fs::metadata(path).expect("metadata").permissions().mode() & 0o777;
        assert_eq!(mode(&inside), 0o700);
        let files: Vec<_> = fs::read_dir(&inside).expect("files").flatten().collect();
        assert_eq!(files.len(), 2);
        assert!(files.iter().all(|file| mode(&file.path()) == 0o600));
    }

    #[test]
    fn a_damaged_record_does_not_hide_the_others() {
        let directory = tempfile::tempdir().expect("a directory");
        let id = register(&store(directory.path())).0.id;
        let other = Id::from_random([7; 16]);
        fs::write(directory.path().join(format!("{other}.json")), "{").expect("written");
        fs::write(directory.path().join(format!("{other}.manifest")), "{").expect("written");
        let store = store(directory.path());
        assert_eq!(store.count(), 1);
        assert!(store.load(id).expect("readable").is_some());
    }

    #[test]
    fn what_a_crash_leaves_behind_is_cleared_away() {
        let directory = tempfile::tempdir().expect("a directory");
        let half = Id::from_random([7; 16]);
        for name in [format!("{half}.manifest"), ".aside-abc".into()] {
            fs::write(directory.path().join(name), "{").expect("written");
        }
        assert_eq!(store(directory.path()).count(), 0);
        assert_eq!(fs::read_dir(directory.path()).expect("files").count(), 0);
    }

    #[test]
    fn a_full_store_refuses() {
        let directory = tempfile::tempdir().expect("a directory");
        let settings = Settings {
            most: 0,
            ..Settings::default()
        };
        let store = Store::open(directory.path(), settings).expect("a store");
        let refused = store.register(BUNDLE.as_bytes(), Registration::default(), 7);
        assert!(matches!(refused, Err(Error::Full)));
        assert_eq!(fs::read_dir(directory.path()).expect("files").count(), 0);
    }
}
