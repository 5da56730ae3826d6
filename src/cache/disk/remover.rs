//! Deletes files for callers that must not wait for a disk.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{SyncSender, TrySendError, sync_channel};

use tokio::runtime::Handle;

use super::{Stored, header, name};

/// The length of the queue. Beyond it the pool of blocking threads deletes files.
const QUEUE: usize = 1024;

/// Deletes the files of removed entries.
#[derive(Debug, Clone)]
pub(super) struct Remover {
    folder: Arc<Path>,
    queue: SyncSender<Arc<Stored>>,
    /// Bytes of files to delete.
    waiting: Arc<AtomicU64>,
}

impl Remover {
    /// Starts its thread, which ends with the last clone of the remover.
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

    /// Queues the deletion of a file. Does not block.
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

    /// Bytes of files that have left the index but still exist.
    pub(super) fn waiting(&self) -> u64 {
        self.waiting.load(Ordering::Acquire)
    }
}

fn delete(folder: &Path, stored: &Stored, waiting: &AtomicU64) {
    // The path includes the generation, so a newer file is not touched. Open readers continue to
    // read.
    name::delete(&stored.name().path(folder));
    waiting.fetch_sub(header::size(stored.length), Ordering::AcqRel);
}
