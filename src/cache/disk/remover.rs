//! Deletes files for those who must not wait for a disk.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{SyncSender, TrySendError, sync_channel};

use tokio::runtime::Handle;

use super::{Stored, header, name};

/// Files that wait to be deleted. Beyond that the pool of blocking threads deletes them.
const QUEUE: usize = 1024;

/// Deletes the files of entries that have left the index.
#[derive(Debug, Clone)]
pub(super) struct Remover {
    folder: Arc<Path>,
    queue: SyncSender<Arc<Stored>>,
    /// Bytes of files that are not deleted yet.
    waiting: Arc<AtomicU64>,
}

impl Remover {
    /// With a thread of its own, which ends when nobody can give it anything any more.
    pub(super) fn start(folder: &Arc<Path>) -> std::io::Result<Self> {
        let (queue, files) = sync_channel::<Arc<Stored>>(QUEUE);
        let remover = Self {
            folder: Arc::clone(folder),
            queue,
            waiting: Arc::default(),
        };
        let (folder, waiting) = (Arc::clone(folder), Arc::clone(&remover.waiting));
        let work = move || {
            for stored in files {
                delete(&folder, &stored, &waiting);
            }
        };
        std::thread::Builder::new()
            .name("cache-remover".into())
            .spawn(work)?;
        Ok(remover)
    }

    /// Deletes a file by and by, without waiting.
    pub(super) fn later(&self, stored: Arc<Stored>) {
        self.count(&stored);
        let stored = match self.queue.try_send(stored) {
            Ok(()) => return,
            Err(TrySendError::Full(stored) | TrySendError::Disconnected(stored)) => stored,
        };
        let (folder, waiting) = (Arc::clone(&self.folder), Arc::clone(&self.waiting));
        let work = move || delete(&folder, &stored, &waiting);
        match Handle::try_current() {
            Ok(runtime) => drop(runtime.spawn_blocking(work)),
            Err(_no_runtime) => work(),
        }
    }

    /// Deletes files now. Blocks.
    pub(super) fn now(&self, left: Vec<Arc<Stored>>) {
        left.iter().for_each(|stored| self.count(stored));
        for stored in left {
            delete(&self.folder, &stored, &self.waiting);
        }
    }

    fn count(&self, stored: &Stored) {
        let bytes = header::size(stored.length);
        self.waiting.fetch_add(bytes, Ordering::AcqRel);
    }

    /// Bytes of files that have left the index and are still there.
    pub(super) fn waiting(&self) -> u64 {
        self.waiting.load(Ordering::Acquire)
    }
}

fn delete(folder: &Path, stored: &Stored, waiting: &AtomicU64) {
    // Its own path: the file of a newer generation is not touched. Those who read it read on.
    name::delete(&stored.name().path(folder));
    waiting.fetch_sub(header::size(stored.length), Ordering::AcqRel);
}
