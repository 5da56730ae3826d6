//! The writer of a flight.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use tokio::task::spawn_blocking;
use tokio::time::{self, timeout};

use super::{Cache, Description, Entry, Flight, Key, State, Storage, Validity};
use crate::body;
use crate::cache::disk;
use crate::cache::pace::{Pace, WINDOW};
use crate::digest::Digest;

/// The time that a slow reader may delay a faster one for each [`WINDOW`] of a passing flight:
/// about 100 KiB/s. Then the flight drops its bytes and the reader fetches the rest again. This
/// also resolves a deadlock of two answers that wait for each other's reader.
const MOST_LAG: Duration = Duration::from_secs(10);
/// An instance of at most this size is copied without delay to other requests.
const QUICK: u64 = 1 << 20;

/// The number of flights so far.
static FLIGHTS: AtomicU64 = AtomicU64::new(0);

/// The writer of a flight. A flight crashes if its writer is dropped before landing.
#[derive(Debug)]
pub struct Writer {
    flight: Arc<Flight>,
    cache: Cache,
    /// The spill file.
    writing: Option<disk::FileWriter>,
    /// Reserved disk space, and the used part of it.
    spill: (u64, u64),
    lag: Lag,
    has_ended: bool,
}

impl Writer {
    pub(in crate::cache) fn new(
        cache: &Cache,
        key: Key,
        description: Description,
        validity: Validity,
        pace: &Arc<Pace>,
    ) -> Self {
        let flight = Flight {
            number: FLIGHTS.fetch_add(1, Ordering::Relaxed),
            key,
            identity: description.identity,
            length: description.length,
            validity,
            base: pace.arrived(),
            pace: Arc::clone(pace),
            budget: cache.flight_budget(),
            state: Mutex::new(State::new()),
            is_forgotten: AtomicBool::new(false),
            is_spoilt: AtomicBool::new(false),
            is_passed_over: AtomicBool::new(false),
        };
        cache.metrics().flights_open.inc();
        Self {
            flight: Arc::new(flight),
            cache: cache.clone(),
            writing: None,
            spill: (0, 0),
            lag: Lag::default(),
            has_ended: false,
        }
    }

    /// Makes the flight pass by from the start, as no tier accepts the instance.
    pub(in crate::cache) fn passing(self) -> Self {
        self.flight.forget();
        self.flight.state().storage = Storage::Passing;
        self
    }

    /// The flight.
    #[must_use]
    pub fn flight(&self) -> &Arc<Flight> {
        &self.flight
    }

    /// Appends a chunk. A passing flight waits for slow readers, for `patience` at most.
    ///
    /// # Errors
    /// [`Unread`] if the flight passes by without readers: the rest is useless.
    pub async fn push(&mut self, chunk: Bytes, patience: Duration) -> Result<(), Unread> {
        self.flight.pace.count(chunk.len());
        if self.flight.is_spoilt() {
            return Err(Unread);
        }
        let (storage, fits) = {
            let mut state = self.flight.state();
            let fits = matches!(state.storage, Storage::Whole) && self.has_room(&mut state, &chunk);
            (state.storage.clone(), fits)
        };
        match storage {
            Storage::Whole if fits => self.add(chunk),
            Storage::Whole if self.spill().await => self.write(chunk).await?,
            Storage::Whole => {
                self.flight.state().storage = Storage::Passing;
                self.flight.pace.drop_rest();
                self.pass(chunk, patience).await?;
            }
            Storage::Spilled(_) => self.write(chunk).await?,
            Storage::Passing => self.pass(chunk, patience).await?,
        }
        if self.flight.is_passed_over() {
            self.flight.pace.read_to(self.flight.reach());
        }
        self.flight.state().wake_readers();
        Ok(())
    }

    /// Records the digest of all bytes that have been pushed.
    pub fn mark(&self, digest: Digest) {
        let mut state = self.flight.state();
        let arrived = state.arrived;
        state.mark(arrived, digest);
    }

    fn has_room(&self, state: &mut State, chunk: &Bytes) -> bool {
        let bytes = chunk.len() as u64;
        let expected = self.flight.length.unwrap_or(0).max(state.arrived + bytes);
        let has_room = self.cache.memory().admits(expected) && self.flight.budget.take(bytes);
        if has_room {
            state.reserved += bytes;
        }
        has_room
    }

    fn add(&self, chunk: Bytes) {
        let mut state = self.flight.state();
        let start = state.arrived;
        state.arrived += chunk.len() as u64;
        state.chunks.push_back((start, chunk));
    }

    /// Spills to a file; `false` if no disk exists, or it is full.
    async fn spill(&mut self) -> bool {
        let Some(disk) = self.cache.disk().cloned() else {
            return false;
        };
        let arrived = self.flight.state().arrived;
        // A purged instance is never written to disk.
        let is_forgotten = self.flight.is_forgotten() || self.flight.budget.rests_from_spill();
        if is_forgotten || !self.takes_spill(arrived) {
            return false;
        }
        let pending = disk.pending(&self.flight.key);
        let (identity, validity) = (self.flight.identity.clone(), self.flight.validity.copied());
        let chunks: Vec<Bytes> = {
            let state = self.flight.state();
            state
                .chunks
                .iter()
                .map(|(_, chunk)| chunk.clone())
                .collect()
        };
        let writing = spawn_blocking(move || {
            let mut writing = disk.begin(pending, &identity, validity)?;
            for chunk in &chunks {
                writing.append(chunk)?;
            }
            Ok(writing)
        });
        match writing
            .await
            .unwrap_or_else(|_panic| Err(std::io::ErrorKind::Other.into()))
        {
            Ok(writing) => {
                let mut state = self.flight.state();
                state.storage = Storage::Spilled(writing.file());
                let in_memory = std::mem::take(&mut state.chunks);
                self.flight
                    .budget
                    .give_back(std::mem::take(&mut state.reserved));
                drop(state);
                // Megabytes are freed outside the lock.
                drop(in_memory);
                self.writing = Some(writing);
                true
            }
            Err(error) => {
                self.cache.disk_health().failed(&error);
                false
            }
        }
    }

    /// Reserves disk space, for the entire instance if its length is known.
    fn takes_spill(&mut self, bytes: u64) -> bool {
        let (taken, used) = self.spill;
        let needed = (used + bytes).max(self.flight.length.unwrap_or(0));
        let more = needed.saturating_sub(taken);
        let has_room = self.flight.budget.spill(more);
        if has_room {
            self.spill = (taken + more, used + bytes);
        }
        has_room
    }

    /// Appends to the spill file. If the disk is full, the readers fail and fetch the rest again.
    async fn write(&mut self, chunk: Bytes) -> Result<(), Unread> {
        let Some(mut writing) = self.writing.take() else {
            return Err(Unread);
        };
        let length = chunk.len() as u64;
        if !self.takes_spill(length) {
            return Err(Unread);
        }
        let appending = spawn_blocking(move || writing.append(&chunk).map(|()| writing));
        match appending
            .await
            .unwrap_or_else(|_panic| Err(std::io::ErrorKind::Other.into()))
        {
            Ok(writing) => {
                self.writing = Some(writing);
                self.flight.state().arrived += length;
                Ok(())
            }
            Err(error) => {
                self.cache.disk_health().failed(&error);
                Err(Unread)
            }
        }
    }

    /// Appends to a passing flight, once the slowest reader is near enough.
    async fn pass(&mut self, chunk: Bytes, patience: Duration) -> Result<(), Unread> {
        while let Some((wait, moves)) = self.room()? {
            let moved = self.flight.moved(moves);
            match wait {
                Wait::ForReaders => timeout(patience, moved).await.map_err(|_elapsed| Unread)?,
                Wait::ForLaggards(left) => {
                    let began = time::Instant::now();
                    let has_moved = timeout(left.min(patience), moved).await.is_ok();
                    self.lag.waited += began.elapsed();
                    if !has_moved {
                        self.flight.leave_behind();
                    }
                }
            }
        }
        self.add(chunk);
        Ok(())
    }

    /// What the next chunk of a passing flight waits for, and the moves of the readers so far.
    fn room(&mut self) -> Result<Option<(Wait, u64)>, Unread> {
        let mut state = self.flight.state();
        state.let_go();
        let taken = state.reserved.saturating_sub(state.held());
        state.reserved -= taken;
        self.flight.budget.give_back(taken);
        if state.readers.is_empty() && !self.flight.is_expected(&state) {
            return Err(Unread);
        }
        if state.held() < WINDOW {
            return Ok(None);
        }
        let wait = if state.is_held_up() {
            Wait::ForLaggards(self.lag.left(state.let_go))
        } else {
            Wait::ForReaders
        };
        Ok(Some((wait, state.moves)))
    }

    /// Ends the flight, and caches the instance.
    ///
    /// # Errors
    /// [`body::Error::Truncated`] if it is shorter than the source guaranteed; the flight has
    /// crashed then.
    pub async fn land(mut self) -> Result<(), body::Error> {
        let (arrived, storage) = {
            let state = self.flight.state();
            (state.arrived, state.storage.clone())
        };
        if self.flight.length.is_some_and(|length| length != arrived) {
            self.crash(body::Error::Truncated);
            return Err(body::Error::Truncated);
        }
        match storage {
            Storage::Whole => self.keep_in_memory().await,
            Storage::Spilled(_) => self.keep_on_disk().await,
            Storage::Passing => {}
        }
        self.end(Ok(()));
        self.cache.keep_up().await;
        Ok(())
    }

    /// Aborts the flight.
    pub fn crash(mut self, error: body::Error) {
        self.end(Err(error));
    }

    async fn keep_in_memory(&self) {
        // Current readers read the chunks and need no copy.
        if self.flight.is_forgotten() {
            return;
        }
        let (chunks, arrived) = {
            let state = self.flight.state();
            (state.chunks.clone(), state.arrived)
        };
        // The copy is made outside the lock: no more bytes arrive, and readers read the chunks.
        let bytes = if arrived <= QUICK {
            joined(&chunks, arrived)
        } else {
            let joining = spawn_blocking(move || joined(&chunks, arrived));
            let Ok(bytes) = joining.await else {
                return;
            };
            bytes
        };
        let chunks = {
            let mut state = self.flight.state();
            self.flight
                .budget
                .give_back(std::mem::take(&mut state.reserved));
            std::mem::replace(&mut state.chunks, VecDeque::from([(0, bytes.clone())]))
        };
        drop(chunks);
        let identity = self.flight.identity.clone();
        let mut entry = Entry::new(identity, bytes, self.flight.validity.copied());
        let mut state = self.flight.state();
        if state.next_reader == 0 {
            entry = entry.early();
            state.unread = Some(entry.blake3.clone());
        }
        drop(state);
        self.cache.keep(&self.flight, Arc::new(entry));
    }

    async fn keep_on_disk(&mut self) {
        let Some(writing) = self.writing.take() else {
            return;
        };
        if self.flight.is_forgotten() {
            return;
        }
        // A later purge also reaches the file, through `pending`.
        let finishing = spawn_blocking(move || writing.finish());
        match finishing
            .await
            .unwrap_or_else(|_panic| Err(std::io::ErrorKind::Other.into()))
        {
            Ok(_stored) => self.cache.disk_health().works(),
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
            Err(error) => self.cache.disk_health().failed(&error),
        }
    }

    fn end(&mut self, end: Result<(), body::Error>) {
        if std::mem::replace(&mut self.has_ended, true) {
            return;
        }
        self.flight.budget.give_back_spill(self.spill.0);
        self.cache.metrics().flights_open.dec();
        self.cache.remove_flight(&self.flight);
        let mut state = self.flight.state();
        state.end = Some(end);
        state.wake_readers();
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        self.end(Err(body::Error::Abandoned));
    }
}

/// The reader that a passing flight waits for.
enum Wait {
    /// Each reader has bytes left to read.
    ForReaders,
    /// A reader waits for slower ones, for this time at most.
    ForLaggards(Duration),
}

/// A passing flight has no readers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Unread;

/// The time that a passing flight has waited for its slowest reader.
#[derive(Debug, Default)]
struct Lag {
    waited: Duration,
    /// The slowest reader's offset at the start of the wait.
    from: u64,
}

impl Lag {
    /// The remaining wait for the slowest reader at offset `let_go`.
    fn left(&mut self, let_go: u64) -> Duration {
        if let_go >= self.from + WINDOW {
            *self = Self {
                waited: Duration::ZERO,
                from: let_go,
            };
        }
        MOST_LAG.saturating_sub(self.waited)
    }
}

/// Joins the chunks in one allocation: a chunk is a slice of a connection's read buffer, and a
/// small instance would keep the entire buffer alive.
fn joined(chunks: &VecDeque<(u64, Bytes)>, length: u64) -> Bytes {
    let mut all = Vec::with_capacity(usize::try_from(length).unwrap_or(0));
    for (_, chunk) in chunks {
        all.extend_from_slice(chunk);
    }
    all.into()
}
