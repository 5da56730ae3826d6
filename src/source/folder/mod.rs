//! A folder of Part 10 files as a source: the one that needs no server.
//!
//! Files are found by what is in them, not by their names. The folder is read at the start. When
//! something is asked for, it is read again if files have come or gone since, or if what is asked
//! for is not there; then only new and changed files are opened. Put files there whole: write
//! aside, then rename.

mod index;
mod whole;

use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::{Duration, Instant};

use bytes::{Bytes, BytesMut};
use sha2::{Digest, Sha256};
use tokio::fs::File;
use tokio::io::AsyncReadExt;
use tokio::sync::Mutex;
use tokio::task::spawn_blocking;

use super::{Error, Representation};
use crate::body::{self, Body};
use crate::dicom::TransferSyntax;
use crate::instance::{Instance, Target, Way};
use index::{Entry, Index};
use whole::WholeFiles;

// 4 KiB reads cost fifteen times the processor time of these.
const CHUNK: usize = 256 << 10;
/// How often the folder is looked at at most.
const LOOK: Duration = Duration::from_secs(1);
/// A file that changed less than this ago may still be being written.
const SETTLE: Duration = Duration::from_secs(1);

/// A folder of Part 10 files.
#[derive(Debug)]
pub struct Folder {
    root: PathBuf,
    index: RwLock<Arc<Index>>,
    /// When the folder was last looked at; held while it is being read.
    looked_at: Mutex<Instant>,
    whole: Arc<WholeFiles>,
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
            looked_at: Mutex::new(Instant::now()),
            whole: Arc::default(),
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
        self.index().instances()
    }

    pub(super) async fn fetch(
        &self,
        target: &Target,
        representation: Representation,
    ) -> Result<FileSequence, Error> {
        self.look(false).await;
        let mut entries = self.index().entries(target);
        if entries.is_empty() {
            self.look(true).await;
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
        Ok(FileSequence {
            left: entries,
            current: None,
        })
    }

    /// One instance, as its file, if that is whole.
    pub(super) async fn instance(&self, target: &Target) -> Option<Instance> {
        self.look(false).await;
        let path = self.index().entries(target).pop()?.path;
        let whole = Arc::clone(&self.whole);
        let opening = spawn_blocking(move || open(&path, &whole));
        let instance = opening.await.ok()??;
        // It may have been written over since the folder was read.
        (instance.identity.target() == *target).then_some(instance)
    }

    /// Whether it can be read; for operators.
    ///
    /// # Errors
    /// What keeps it from being read.
    pub async fn probe(&self) -> Result<(), Error> {
        tokio::fs::read_dir(&self.root)
            .await
            .map(|_entries| ())
            .map_err(|_io| Error::Unreachable)
    }

    /// Reads again what changed, if anything seems to have, or if it `must`; but not if the folder
    /// was looked at a moment ago. Those who ask meanwhile wait for it.
    async fn look(&self, must: bool) {
        let mut looked_at = self.looked_at.lock().await;
        if looked_at.elapsed() < LOOK {
            return;
        }
        let (root, old) = (self.root.clone(), self.index());
        let looked = spawn_blocking(move || {
            let is_due = must || old.is_stale();
            is_due.then(|| Index::read(&root, &old, SETTLE)).transpose()
        });
        match looked.await {
            Ok(Ok(Some(index))) => {
                *self.index.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(index);
            }
            Ok(Ok(None)) => {}
            Ok(Err(error)) => tracing::warn!(%error, "a folder cannot be read again"),
            Err(error) => tracing::error!(%error, "reader a folder failed"),
        }
        *looked_at = Instant::now();
    }

    fn index(&self) -> Arc<Index> {
        Arc::clone(&self.index.read().unwrap_or_else(PoisonError::into_inner))
    }
}

fn open(path: &Path, whole: &WholeFiles) -> Option<Instance> {
    let file = std::fs::File::open(path).ok()?;
    let metadata = file.metadata().ok()?;
    let identity = index::identify(&file).ok()??;
    let mut stamp = Sha256::new();
    stamp.update(path.as_os_str().as_encoded_bytes());
    for number in [metadata.dev(), metadata.ino(), metadata.len()] {
        stamp.update(number.to_le_bytes());
    }
    stamp.update(metadata.mtime().to_le_bytes());
    stamp.update(metadata.mtime_nsec().to_le_bytes());
    let stamp = stamp.finalize().into();
    if !whole.include(stamp, &file, metadata.len()).ok()? {
        return None;
    }
    Some(Instance {
        identity,
        body: Body::file(Arc::new(file), 0, metadata.len()),
        way: Way::PassedOn,
        sha256: None,
        stamp: Some(stamp),
    })
}

/// The files that answer a request, one after the other.
#[derive(Debug)]
pub(super) struct FileSequence {
    /// The next one last.
    left: Vec<Entry>,
    current: Option<FileReader>,
}

#[derive(Debug)]
struct FileReader {
    file: File,
    length: u64,
    read: u64,
}

impl FileSequence {
    pub(super) async fn next(&mut self) -> Result<bool, body::Error> {
        self.current = None;
        while let Some(entry) = self.left.pop() {
            match FileReader::open(&entry.path).await {
                Ok(reader) => {
                    self.current = Some(reader);
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
            Some(reader) => reader.chunk().await,
            None => Ok(None),
        }
    }

    pub(super) fn length(&self) -> Option<u64> {
        self.current.as_ref().map(|reader| reader.length)
    }
}

impl FileReader {
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
