//! A folder of Part 10 files as a source, without a server.
//!
//! The content of a file identifies it, not its name. The folder is indexed at the start. A request
//! indexes it again if files have been added or removed, or if the requested instances are missing;
//! only new and changed files are opened then. Add files atomically: write to a temporary name,
//! then rename.

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
use crate::instance::{Instance, Way};
use crate::resource::Target;
use index::{Entry, Index};
use whole::WholeFiles;

// Reads of 4 KiB would take fifteen times the CPU time.
const CHUNK: usize = 256 << 10;
/// The shortest interval between two checks of the folder.
const LOOK: Duration = Duration::from_secs(1);
/// A file modified more recently than this may still be incomplete.
const SETTLE: Duration = Duration::from_secs(1);

/// A folder of Part 10 files.
#[derive(Debug)]
pub struct Folder {
    root: PathBuf,
    index: RwLock<Arc<Index>>,
    /// The time of the last check; locked while the folder is being indexed.
    looked_at: Mutex<Instant>,
    whole: Arc<WholeFiles>,
}

impl Folder {
    /// Indexes the folder.
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

    /// Its path.
    #[must_use]
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// The number of its instances.
    #[must_use]
    pub fn instances(&self) -> usize {
        self.index().instances()
    }

    /// The transfer syntax of an instance, as its file said when it was indexed.
    pub(super) fn known_syntax(&self, target: &Target) -> Option<TransferSyntax> {
        Some(self.index().entries(target).pop()?.transfer_syntax)
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

    /// The file of an instance, if it is whole.
    pub(super) async fn instance(&self, target: &Target) -> Option<Instance> {
        self.look(false).await;
        let path = self.index().entries(target).pop()?.path;
        let whole = Arc::clone(&self.whole);
        let opening = spawn_blocking(move || open(&path, &whole));
        let instance = opening.await.ok()??;
        // The file may have been overwritten since it was indexed.
        (instance.identity.target() == *target).then_some(instance)
    }

    /// Whether it can be read; for operators.
    ///
    /// # Errors
    /// The error of reading it.
    pub async fn probe(&self) -> Result<(), Error> {
        tokio::fs::read_dir(&self.root)
            .await
            .map(|_entries| ())
            .map_err(|_io| Error::Unreachable)
    }

    /// Indexes changes, if there seem to be any or if it `must`, but not right after another check.
    /// Concurrent requests wait for it.
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
            Ok(Err(error)) => tracing::warn!(%error, "a folder cannot be indexed"),
            Err(error) => tracing::error!(%error, "indexing a folder failed"),
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
    // Its head has to be put before it.
    if index::is_bare(&file) {
        return None;
    }
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
        blake3: None,
        stamp: Some(stamp),
        flight: None,
    })
}

/// The files for a request, one after the other.
#[derive(Debug)]
pub(super) struct FileSequence {
    /// In reverse order.
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
                // Removed since the folder was indexed: the instance is missing then.
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

    /// Reads exactly up to the length at opening.
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
