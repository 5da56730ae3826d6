//! A folder of Part 10 files as a source: the one that needs no server.
//!
//! Files are found by what is in them, not by their names. The folder is read at the start,
//! and again when something is asked for that is not there; then only what changed is opened. Put files there whole: write aside, then rename.

use std::collections::HashMap;
use std::fs::File as StdFile;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::sync::{Arc, RwLock};
use std::time::{Duration, Instant, SystemTime};

use bytes::{Bytes, BytesMut};
use tokio::fs::File;
use tokio::io::AsyncReadExt;
use tokio::sync::Mutex;
use tokio::task::spawn_blocking;

use super::{Error, Representation};
use crate::body;
use crate::dicom::part10::{self, Identity};
use crate::dicom::{SeriesInstanceUid, SopInstanceUid, StudyInstanceUid, TransferSyntax};
use crate::instance::Target;

// 4 KiB reads cost fifteen times the processor time of these.
const CHUNK: usize = 256 << 10;
const FIRST_READ: usize = 8 << 10;
/// How often a request for something unknown may make the folder be read again.
const REREAD: Duration = Duration::from_secs(2);
/// A file that changed less than this ago may still be being written.
const SETTLE: Duration = Duration::from_secs(1);
const MAX_DEPTH: usize = 16;

/// A folder of Part 10 files.
#[derive(Debug)]
pub struct Folder {
    root: PathBuf,
    index: RwLock<Arc<Index>>,
    /// When the folder was last read; held while it is being read.
    read_at: Mutex<Instant>,
}

#[derive(Debug, Default)]
struct Index {
    files: HashMap<PathBuf, Known>,
    series: BySeries,
}

/// What is known of a file; `entry` is `None` for what is no DICOM instance.
#[derive(Debug, Clone)]
struct Known {
    modified: SystemTime,
    length: u64,
    identity: Option<Identity>,
}

#[derive(Debug, Clone)]
struct Entry {
    path: PathBuf,
    transfer_syntax: TransferSyntax,
}

impl Folder {
    /// Reads the folder.
    ///
    /// # Errors
    /// If it cannot be read.
    pub fn open(root: &Path) -> io::Result<Self> {
        let index = Index::read(root, &Index::default(), Duration::ZERO)?;
        Ok(Self {
            root: root.to_owned(),
            index: RwLock::new(Arc::new(index)),
            read_at: Mutex::new(Instant::now()),
        })
    }

    /// Where it is.
    #[must_use]
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// How many instances it offers.
    #[must_use]
    pub fn instances(&self) -> usize {
        self.index().series.values().map(HashMap::len).sum()
    }

    pub(super) async fn fetch(
        &self,
        target: &Target,
        representation: Representation,
    ) -> Result<Parts, Error> {
        let mut entries = self.index().entries(target);
        if entries.is_empty() {
            self.reread().await;
            entries = self.index().entries(target);
        }
        if entries.is_empty() {
            return Err(Error::NotFound);
        }
        if representation == Representation::ExplicitVrLittleEndian {
            entries.retain(|entry| {
                entry.transfer_syntax.as_str() == TransferSyntax::EXPLICIT_VR_LITTLE_ENDIAN
            });
            if entries.is_empty() {
                return Err(Error::NotAcceptable);
            }
        }
        entries.sort_by(|a, b| b.path.cmp(&a.path));
        Ok(Parts {
            left: entries,
            current: None,
        })
    }

    pub(super) async fn probe(&self) -> Result<(), Error> {
        tokio::fs::read_dir(&self.root)
            .await
            .map(|_entries| ())
            .map_err(|_io| Error::Unreachable)
    }

    /// Reads again what changed, unless that was done a moment ago. Those who ask meanwhile wait
    /// for it.
    async fn reread(&self) {
        let mut read_at = self.read_at.lock().await;
        if read_at.elapsed() < REREAD {
            return;
        }
        let (root, old) = (self.root.clone(), self.index());
        let read = spawn_blocking(move || Index::read(&root, &old, SETTLE)).await;
        match read {
            Ok(Ok(index)) => {
                *self
                    .index
                    .write()
                    .unwrap_or_else(std::sync::PoisonError::into_inner) = Arc::new(index);
            }
            Ok(Err(error)) => tracing::warn!(%error, "a folder cannot be read again"),
            Err(error) => tracing::error!(%error, "reading a folder failed"),
        }
        *read_at = Instant::now();
    }

    fn index(&self) -> Arc<Index> {
        Arc::clone(
            &self
                .index
                .read()
                .unwrap_or_else(std::sync::PoisonError::into_inner),
        )
    }
}

impl Index {
    /// Reads everything below `root` that `old` does not know yet or that changed since.
    fn read(root: &Path, old: &Self, settle: Duration) -> io::Result<Self> {
        let mut files = HashMap::new();
        let mut folders = vec![(root.to_owned(), 0)];
        while let Some((folder, depth)) = folders.pop() {
            let entries = match std::fs::read_dir(&folder) {
                Ok(entries) => entries,
                Err(error) if depth == 0 => return Err(error),
                Err(_gone) => continue,
            };
            for entry in entries.flatten() {
                let Ok(kind) = entry.file_type() else {
                    continue;
                };
                if kind.is_dir() && depth < MAX_DEPTH {
                    folders.push((entry.path(), depth + 1));
                } else if kind.is_file()
                    && let Some(known) = old.known(&entry, settle)
                {
                    files.insert(entry.path(), known);
                }
            }
        }
        Ok(Self {
            series: by_series(&files),
            files,
        })
    }

    fn known(&self, entry: &std::fs::DirEntry, settle: Duration) -> Option<Known> {
        let metadata = entry.metadata().ok()?;
        let (modified, length) = (metadata.modified().ok()?, metadata.len());
        let path = entry.path();
        if let Some(known) = self.files.get(&path)
            && known.modified == modified
            && known.length == length
        {
            return Some(known.clone());
        }
        // A clock that runs behind must not hide a file for ever.
        let is_fresh = modified.elapsed().is_ok_and(|age| age < settle);
        if is_fresh {
            return None;
        }
        let identity = identify(&path).ok().flatten();
        Some(Known {
            modified,
            length,
            identity,
        })
    }

    fn entries(&self, target: &Target) -> Vec<Entry> {
        let all = |instances: &HashMap<_, Entry>| instances.values().cloned().collect::<Vec<_>>();
        let series = |study: &StudyInstanceUid, series: &SeriesInstanceUid| {
            self.series.get(&(study.clone(), series.clone()))
        };
        match target {
            Target::Study(study) => {
                let of_study = self.series.iter().filter(|((of, _), _)| of == study);
                of_study.flat_map(|(_, instances)| all(instances)).collect()
            }
            Target::Series(study, uid) => series(study, uid).map(all).unwrap_or_default(),
            Target::Instance(study, uid, instance) => {
                let found = series(study, uid).and_then(|instances| instances.get(instance));
                found.cloned().into_iter().collect()
            }
        }
    }
}

type BySeries = HashMap<(StudyInstanceUid, SeriesInstanceUid), HashMap<SopInstanceUid, Entry>>;

fn by_series(files: &HashMap<PathBuf, Known>) -> BySeries {
    let mut series = BySeries::new();
    for (path, known) in files {
        let Some(identity) = &known.identity else {
            continue;
        };
        let key = (identity.study.clone(), identity.series.clone());
        let entry = Entry {
            path: path.clone(),
            transfer_syntax: identity.transfer_syntax.clone(),
        };
        let instances = series.entry(key).or_default();
        // Of two files with the same instance the first by name is offered, always the same one.
        match instances.get(&identity.sop_instance) {
            Some(other) if other.path <= *path => {}
            Some(_) | None => {
                instances.insert(identity.sop_instance.clone(), entry);
            }
        }
    }
    series
}

fn identify(path: &Path) -> io::Result<Option<Identity>> {
    let file = StdFile::open(path)?;
    let mut prefix = Vec::new();
    let mut want = FIRST_READ;
    loop {
        let before = prefix.len();
        (&file)
            .take((want - before) as u64)
            .read_to_end(&mut prefix)?;
        match Identity::read(&prefix) {
            Ok(Some(identity)) => return Ok(Some(identity)),
            Err(_no_instance) => return Ok(None),
            Ok(None) if prefix.len() == before => return Ok(None),
            Ok(None) => want = (want * 4).min(part10::MAX_HEAD + 1),
        }
    }
}

/// The files that answer a request, one after the other.
#[derive(Debug)]
pub(super) struct Parts {
    /// The next one last.
    left: Vec<Entry>,
    current: Option<Reading>,
}

#[derive(Debug)]
struct Reading {
    file: File,
    length: u64,
    read: u64,
}

impl Parts {
    pub(super) async fn next(&mut self) -> Result<bool, body::Error> {
        self.current = None;
        while let Some(entry) = self.left.pop() {
            match Reading::open(&entry.path).await {
                Ok(reading) => {
                    self.current = Some(reading);
                    return Ok(true);
                }
                // Taken away since the folder was read: then it is not there.
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(_unreadable) => return Err(body::Error::Unreadable),
            }
        }
        Ok(false)
    }

    pub(super) async fn chunk(&mut self) -> Result<Option<Bytes>, body::Error> {
        match &mut self.current {
            Some(reading) => reading.chunk().await,
            None => Ok(None),
        }
    }

    pub(super) fn length(&self) -> Option<u64> {
        self.current.as_ref().map(|reading| reading.length)
    }
}

impl Reading {
    async fn open(path: &Path) -> io::Result<Self> {
        let mut file = File::open(path).await?;
        file.set_max_buf_size(CHUNK);
        let length = file.metadata().await?.len();
        Ok(Self {
            file,
            length,
            read: 0,
        })
    }

    /// Reads up to the length that the file had when it was opened, no more and no less.
    async fn chunk(&mut self) -> Result<Option<Bytes>, body::Error> {
        let left = self.length - self.read;
        if left == 0 {
            return Ok(None);
        }
        let want = usize::try_from(left).unwrap_or(CHUNK).min(CHUNK);
        let mut chunk = BytesMut::with_capacity(want);
        let read = (&mut self.file)
            .take(want as u64)
            .read_buf(&mut chunk)
            .await
            .map_err(|_io| body::Error::Unreadable)?;
        if read == 0 {
            return Err(body::Error::Truncated);
        }
        self.read += read as u64;
        Ok(Some(chunk.freeze()))
    }
}
