//! Write-behind: instances that arrived in memory are written to disk after their clients have been
//! served.
//!
//! The queue holds `cache.flights` bytes of instances. Beyond that it keeps references only, and
//! the memory tier holds the instances. When the memory tier could evict unwritten instances, new
//! flights slow down to the speed of the disk. A stalled disk never slows flights. An instance
//! served from memory moves to the front of the queue, so that a client that saw a cache hit can
//! rely on it after a kill.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::{Duration, Instant};

use tokio::sync::Notify;
use tokio::task::spawn_blocking;
use tokio::time::timeout;

use super::Entry;
use super::disk::Pending;
use super::memory::cost;
use super::progress::{BEING_WRITTEN, IDLE, QUEUED, URGENT, WRITTEN};

/// Concurrent writers.
const WRITERS: usize = 2;
/// Bytes in the queue for which a second writer starts.
const BACKLOG: u64 = 8 << 20;
/// The time in which instances gather to be written together: waking a thread for each one costs as
/// much as writing it.
const GATHER: Duration = Duration::from_millis(5);
/// Instances in the queue.
const MOST: usize = 1 << 16;
/// A disk without progress for this time is stalled.
const PATIENCE: Duration = Duration::from_secs(1);

/// The queue of unwritten instances.
#[derive(Debug)]
pub(super) struct Behind {
    queue: Mutex<Queue>,
    /// Bytes of instances that the queue may hold.
    most_held: u64,
    /// Bytes of instances that only the memory tier may hold before flights slow down.
    most_left: u64,
    /// Instances that left the queue.
    taken: AtomicU64,
    moved: Notify,
    began: Instant,
}

#[derive(Debug, Default)]
struct Queue {
    urgent: VecDeque<Item>,
    others: VecDeque<Item>,
    held: u64,
    left: u64,
    writers: usize,
}

#[derive(Debug)]
struct Item {
    instance: Instance,
    /// Bytes, as the memory tier counts them.
    bytes: u64,
    pending: Pending,
}

#[derive(Debug)]
enum Instance {
    Held(Arc<Entry>),
    /// Only the memory tier holds it.
    Left(Weak<Entry>),
}

/// A write to disk.
pub(super) struct Task {
    pub(super) entry: Arc<Entry>,
    pub(super) pending: Pending,
}

/// The result of a task.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Outcome {
    Written,
    /// The instance was purged, or the disk accepts no writes.
    NotWritten,
}

/// The queue is full, or the memory tier evicted an instance of the queue.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Lost;

impl Behind {
    pub(super) fn new(most_held: u64, most_left: u64) -> Self {
        Self {
            queue: Mutex::default(),
            most_held,
            most_left,
            taken: AtomicU64::new(0),
            moved: Notify::new(),
            began: Instant::now(),
        }
    }

    /// Queues an instance, and starts a writer if too few are running.
    pub(super) fn add(
        self: &Arc<Self>,
        entry: &Arc<Entry>,
        pending: Pending,
        writer: DiskWriter,
    ) -> Result<(), Lost> {
        if !entry.progress.go(&[IDLE], QUEUED) {
            return Ok(());
        }
        let bytes = cost(pending.key(), entry);
        let mut queue = self.queue();
        if queue.len() >= MOST {
            entry.progress.go(&[QUEUED], IDLE);
            return Err(Lost);
        }
        let instance = if queue.held + bytes <= self.most_held {
            queue.held += bytes;
            Instance::Held(Arc::clone(entry))
        } else {
            queue.left += bytes;
            Instance::Left(Arc::downgrade(entry))
        };
        queue.others.push_back(Item {
            instance,
            bytes,
            pending,
        });
        self.start(queue, writer);
        Ok(())
    }

    /// Whether an instance served from memory must be written to disk now. `is_on_disk` is called
    /// at most once a second.
    pub(super) fn must_hurry(&self, entry: &Entry, is_on_disk: impl FnOnce() -> bool) -> bool {
        let second = self.began.elapsed().as_secs() + 1;
        match entry.progress.stage() {
            URGENT | BEING_WRITTEN => false,
            QUEUED => true,
            WRITTEN => {
                let has_left = entry.progress.is_due(second) && !is_on_disk();
                has_left && entry.progress.go(&[WRITTEN], IDLE)
            }
            _ => entry.progress.is_due(second),
        }
    }

    /// Moves an instance to the front of the queue.
    pub(super) fn hurry(self: &Arc<Self>, entry: Arc<Entry>, pending: Pending, writer: DiskWriter) {
        let bytes = cost(pending.key(), &entry);
        let mut queue = self.queue();
        if queue.len() >= MOST || !entry.progress.go(&[IDLE, QUEUED], URGENT) {
            return;
        }
        queue.held += bytes;
        queue.urgent.push_back(Item {
            instance: Instance::Held(entry),
            bytes,
            pending,
        });
        self.start(queue, writer);
    }

    fn start(self: &Arc<Self>, mut queue: MutexGuard<'_, Queue>, writer: DiskWriter) {
        let is_long = queue.held + queue.left > BACKLOG;
        let wanted = if is_long { WRITERS } else { 1 };
        if queue.writers >= wanted {
            return;
        }
        queue.writers += 1;
        drop(queue);
        let behind = Arc::clone(self);
        drop(spawn_blocking(move || behind.work(&writer)));
    }

    /// Writes until the queue is empty.
    fn work(&self, writer: &DiskWriter) {
        std::thread::sleep(GATHER);
        while let Some(next) = self.next() {
            let Some(task) = next else {
                writer.lost();
                continue;
            };
            let progress = Arc::clone(&task.entry);
            // A panic must not reduce the number of writers.
            let outcome =
                std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| writer.write(task)));
            let outcome = outcome.unwrap_or(Outcome::NotWritten);
            let to = match outcome {
                Outcome::Written => WRITTEN,
                Outcome::NotWritten => IDLE,
            };
            progress.progress.go(&[BEING_WRITTEN], to);
        }
    }

    /// The next task; `Some(None)` if it is lost, `None` if the queue is empty.
    fn next(&self) -> Option<Option<Task>> {
        let mut queue = self.queue();
        loop {
            let first = queue.urgent.pop_front();
            let Some(item) = first.or_else(|| queue.others.pop_front()) else {
                queue.writers -= 1;
                return None;
            };
            let entry = match item.instance {
                Instance::Held(entry) => {
                    queue.held -= item.bytes;
                    Some(entry)
                }
                Instance::Left(entry) => {
                    queue.left -= item.bytes;
                    entry.upgrade()
                }
            };
            self.taken.fetch_add(1, Ordering::AcqRel);
            self.moved.notify_waiters();
            let Some(entry) = entry else {
                if item.pending.is_forgotten() {
                    continue;
                }
                return Some(None);
            };
            // The queue can contain the same instance twice.
            if entry.progress.go(&[URGENT, QUEUED], BEING_WRITTEN) {
                let pending = item.pending;
                return Some(Some(Task { entry, pending }));
            }
        }
    }

    /// Waits while the memory tier could evict unwritten instances, unless the disk is stalled.
    pub(super) async fn keep_up(&self) {
        loop {
            let moved = self.moved.notified();
            let mut moved = std::pin::pin!(moved);
            moved.as_mut().enable();
            let is_full = {
                let queue = self.queue();
                queue.left > self.most_left || queue.len() >= MOST
            };
            if !is_full {
                return;
            }
            let taken = self.taken.load(Ordering::Acquire);
            let waited = timeout(PATIENCE, moved).await;
            if waited.is_err() && self.taken.load(Ordering::Acquire) == taken {
                return;
            }
        }
    }

    fn queue(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Queue {
    fn len(&self) -> usize {
        self.urgent.len() + self.others.len()
    }
}

/// Writes instances to the disk tier.
#[derive(Debug, Clone)]
pub(super) struct DiskWriter(pub(super) super::Cache);

impl DiskWriter {
    fn write(&self, task: Task) -> Outcome {
        self.0.write(task)
    }

    fn lost(&self) {
        self.0.metrics().cache_not_written.inc();
    }
}

#[cfg(test)]
mod tests;
