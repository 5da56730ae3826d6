//! Deletes files for callers that must not wait for a disk.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::thread;
use std::time::Duration;

use tokio::runtime::Handle;

use super::{Stored, header, name};

/// The length of the queue. Beyond it the pool of blocking threads deletes files.
const QUEUE: usize = 1024;
/// The time in which files gather to be deleted together, so that not each one wakes the thread.
const GATHER: Duration = Duration::from_millis(5);

/// Deletes the files of removed entries.
#[derive(Debug, Clone)]
pub(super) struct Remover {
    folder: Arc<Path>,
    queue: SyncSender<Left>,
    /// Bytes of files to delete.
    waiting: Arc<AtomicU64>,
}

type Left = Vec<Arc<Stored>>;

impl Remover {
    /// Starts its thread, which ends with the last clone of the remover.
    pub(super) fn start(folder: &Arc<Path>) -> std::io::Result<Self> {
        let (queue, files) = sync_channel(QUEUE);
        let remover = Self {
            folder: Arc::clone(folder),
            queue,
            waiting: Arc::default(),
        };
        let (folder, waiting) = (Arc::clone(folder), Arc::clone(&remover.waiting));
        thread::Builder::new()
            .name("cache-remover".into())
            .spawn(move || work(&files, &folder, &waiting))?;
        Ok(remover)
    }

    /// Queues the deletion of files. Does not block.
    pub(super) fn later(&self, left: Left) {
        if left.is_empty() {
            return;
        }
        left.iter().for_each(|stored| self.count(stored));
        let left = match self.queue.try_send(left) {
            Ok(()) => return,
            Err(TrySendError::Full(left) | TrySendError::Disconnected(left)) => left,
        };
        let (folder, waiting) = (Arc::clone(&self.folder), Arc::clone(&self.waiting));
        let work = move || delete(&folder, &left, &waiting);
        match Handle::try_current() {
            Ok(runtime) => drop(runtime.spawn_blocking(work)),
            Err(_no_runtime) => work(),
        }
    }

    /// Deletes files now. Blocks.
    pub(super) fn now(&self, left: &Left) {
        left.iter().for_each(|stored| self.count(stored));
        delete(&self.folder, left, &self.waiting);
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

fn work(files: &Receiver<Left>, folder: &Path, waiting: &AtomicU64) {
    while let Ok(left) = files.recv() {
        thread::sleep(GATHER);
        delete(folder, &left, waiting);
        for left in files.try_iter() {
            delete(folder, &left, waiting);
        }
    }
}

fn delete(folder: &Path, left: &Left, waiting: &AtomicU64) {
    for stored in left {
        // The path includes the generation, so a newer file is not touched. Open readers continue
        // to read.
        name::delete(&stored.name().path(folder));
        waiting.fetch_sub(header::size(stored.length), Ordering::AcqRel);
    }
}
