//! One fetch of one instance, and everybody who reads it while it arrives.
//!
//! Readers follow from the start, each at its own pace. What has arrived stays in memory as long as
//! the instance is small enough and the room for all flights together is not used up. Beyond that
//! it goes to a file that the readers follow; without a disk the flight *passes by*: what all its
//! readers have read is let go, the slowest one holds up the source, and nobody can join any more.

use std::collections::{HashMap, VecDeque};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use bytes::Bytes;
use tokio::sync::Notify;
use tokio::task::spawn_blocking;
use tokio::time::{self, timeout};

use super::disk::{self, Growing};
use super::pace::{Interest, Pace, WINDOW};
use super::{Cache, Cargo, Entry, Key, Validity};
use crate::body::{self, Body};
use crate::dicom::part10::Identity;

/// Time for which a slow reader of a passing flight may hold up a faster one, for each [`WINDOW`] that it
/// reads: about 100 KiB/s. Then the flight leaves it behind, and it fetches the rest by itself. Two answers
/// that each wait for the other one's reader get on like that, too.
const MOST_LAG: Duration = Duration::from_secs(10);
/// Bytes that are copied in so little time that no other request of the core notices.
const QUICK: u64 = 1 << 20;

/// An instance that is arriving.
#[derive(Debug)]
pub struct Flight {
    /// What it will be kept as.
    pub key: Key,
    /// Which instance it is, read from its own bytes.
    pub identity: Identity,
    /// Its exact length, where the source is bound to one.
    pub length: Option<u64>,
    /// For how long it will serve.
    validity: Validity,
    /// Where it begins in what the fetch brings.
    base: u64,
    pace: Arc<Pace>,
    room: Arc<Room>,
    state: Mutex<State>,
    moved: Notify,
    /// Whether it was forgotten while it was under way, and must not be kept.
    is_forgotten: AtomicBool,
    /// Whether its file proved damaged: nobody can read it from the start any more.
    is_spoilt: AtomicBool,
    /// Whether a follower of the fetch does without it.
    is_passed_over: AtomicBool,
}

/// Room in memory for what is under way, of all flights together.
#[derive(Debug)]
pub(super) struct Room {
    left: AtomicU64,
    /// On disk.
    spill_left: AtomicU64,
    /// When a file of a flight proved damaged last, in milliseconds since `began`; 0: never.
    spoilt_at: AtomicU64,
    began: Instant,
}

/// Time for which flights pass by after the file of one of them proved damaged. Else each fetch that is to
/// replace it could go the same way.
const DISK_RESTS: Duration = Duration::from_secs(10);

#[derive(Debug)]
struct State {
    form: Form,
    /// What is in memory: each chunk with the offset at which it begins.
    chunks: VecDeque<(u64, Bytes)>,
    /// Bytes at the start that are gone.
    let_go: u64,
    arrived: u64,
    /// Bytes of [`Room`] that it takes.
    room: u64,
    end: Option<Result<(), body::Error>>,
    /// How far each reader is.
    readers: HashMap<u64, u64>,
    next_reader: u64,
}

#[derive(Debug, Clone)]
enum Form {
    /// All of it is in memory.
    Whole,
    /// It is in a file, from this offset on in it.
    Spilled(Arc<Growing>),
    /// What everybody has read is gone.
    Passing,
}

/// What a reader is to do next.
enum Next {
    Chunk(Bytes),
    InFile(Arc<Growing>, u64),
    End,
    Failed(body::Error),
    Wait,
}

/// What a passing flight waits for.
enum Wait {
    /// All of its readers have something to read.
    ForReaders,
    /// A reader waits for slower ones, which have this time left.
    ForLaggards(Duration),
}

/// Nobody reads what passes by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Unread;

impl Room {
    pub(super) fn new(bytes: u64, spill: u64) -> Self {
        Self {
            left: AtomicU64::new(bytes),
            spill_left: AtomicU64::new(spill),
            spoilt_at: AtomicU64::new(0),
            began: Instant::now(),
        }
    }

    fn rest_spill(&self) {
        let now = self.began.elapsed().as_millis().max(1);
        let now = u64::try_from(now).unwrap_or(u64::MAX);
        self.spoilt_at.store(now, Ordering::Release);
    }

    fn rests_from_spill(&self) -> bool {
        let spoilt_at = Duration::from_millis(self.spoilt_at.load(Ordering::Acquire));
        !spoilt_at.is_zero() && self.began.elapsed() < spoilt_at + DISK_RESTS
    }

    /// Takes room on disk.
    fn spill(&self, bytes: u64) -> bool {
        let take = |left: u64| left.checked_sub(bytes);
        let left = &self.spill_left;
        let taken = left.fetch_update(Ordering::AcqRel, Ordering::Acquire, take);
        taken.is_ok()
    }

    fn give_back_spill(&self, bytes: u64) {
        self.spill_left.fetch_add(bytes, Ordering::AcqRel);
    }

    fn take(&self, bytes: u64) -> bool {
        let take = |left: u64| left.checked_sub(bytes);
        let taken = self
            .left
            .fetch_update(Ordering::AcqRel, Ordering::Acquire, take);
        taken.is_ok()
    }

    fn give_back(&self, bytes: u64) {
        self.left.fetch_add(bytes, Ordering::AcqRel);
    }
}

impl Flight {
    /// Where it begins in what the fetch brings.
    #[must_use]
    pub fn base(&self) -> u64 {
        self.base
    }

    /// Where it ends in what the fetch brings, as far as it has arrived.
    #[must_use]
    pub fn reach(&self) -> u64 {
        self.base + self.state().arrived
    }

    /// Whether somebody can still read it from the start.
    #[must_use]
    pub fn can_be_joined(&self) -> bool {
        let state = self.state();
        !matches!(state.end, Some(Err(_)))
            && !matches!(state.form, Form::Passing)
            && !self.is_forgotten()
    }

    /// Whether it is kept, as far as can be told now, if it arrives whole.
    #[must_use]
    pub fn will_be_kept(&self) -> bool {
        !self.is_forgotten() && !matches!(self.state().form, Form::Passing)
    }

    /// The bytes from the start, as they arrive. The fetch goes on at least as long as somebody
    /// reads here. `None` if the start is gone.
    #[must_use]
    pub fn follow(self: &Arc<Self>) -> Option<Body> {
        if self.is_spoilt() {
            return None;
        }
        let reader = {
            let mut state = self.state();
            // A flight that has only begun to pass by holds no chunk yet, and has its start still.
            if state.let_go > 0 {
                return None;
            }
            let reader = state.next_reader;
            state.next_reader += 1;
            state.readers.insert(reader, 0);
            reader
        };
        let reading = Reading {
            flight: Arc::clone(self),
            reader,
            offset: 0,
            _interest: Interest::of(&self.pace),
        };
        Some(Body::generate(self.length, |out| reading.emit(out)))
    }

    /// Whether its bytes count in this pace.
    #[must_use]
    pub fn is_of(&self, pace: &Pace) -> bool {
        std::ptr::eq(&*self.pace, pace)
    }

    /// A follower of the fetch goes on past this flight without reading it. What is still to come of it
    /// does not wait for that follower either.
    pub fn pass_over(&self) {
        self.is_passed_over.store(true, Ordering::Release);
        self.pace.read_to(self.reach());
        self.moved.notify_waiters();
    }

    fn is_passed_over(&self) -> bool {
        self.is_passed_over.load(Ordering::Acquire)
    }

    /// Whether its first reader may still come.
    fn is_expected(&self, state: &State) -> bool {
        // The one that has passed it over does not; another follower may.
        let may_come = !self.is_passed_over() || self.pace.is_shared();
        state.next_reader == 0 && self.pace.is_awaited() && may_come
    }

    /// Lets go what the fastest reader has read; slower ones find it gone.
    fn leave_behind(&self) {
        let mut state = self.state();
        let fastest = state.fastest();
        state.let_go_until(fastest);
        drop(state);
        self.moved.notify_waiters();
    }

    fn next(&self, reader: u64, offset: u64) -> Next {
        let mut state = self.state();
        // What was given before is read by now: the reader has come back for more.
        state.readers.insert(reader, offset);
        if offset < state.arrived {
            return state.at(offset);
        }
        match &state.end {
            Some(Ok(())) => Next::End,
            Some(Err(error)) => Next::Failed(error.clone()),
            None => Next::Wait,
        }
    }

    fn leave(&self, reader: u64) {
        self.state().readers.remove(&reader);
        self.moved.notify_waiters();
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether somebody waits for what the fetch brings.
    pub(super) fn is_awaited(&self) -> bool {
        self.pace.is_awaited()
    }

    /// Keeps it out of the tiers whatever becomes of it.
    pub(super) fn forget(&self) {
        self.is_forgotten.store(true, Ordering::Release);
    }

    /// Its file proved damaged, or cannot be read: it is not kept, and whoever needs it fetches it again.
    /// For a while nothing new goes to the disk as it comes.
    fn spoil(&self) {
        self.is_spoilt.store(true, Ordering::Release);
        self.forget();
        self.room.rest_spill();
    }

    fn is_spoilt(&self) -> bool {
        self.is_spoilt.load(Ordering::Acquire)
    }

    pub(super) fn is_forgotten(&self) -> bool {
        self.is_forgotten.load(Ordering::Acquire)
    }
}

impl Drop for Flight {
    fn drop(&mut self) {
        let taken = self.state().room;
        self.room.give_back(taken);
    }
}

impl State {
    fn at(&self, offset: u64) -> Next {
        if let Form::Spilled(file) = &self.form {
            return Next::InFile(Arc::clone(file), self.arrived);
        }
        let at = self.chunks.partition_point(|(start, _)| *start <= offset);
        match at.checked_sub(1).and_then(|at| self.chunks.get(at)) {
            Some((start, chunk)) if offset - start < chunk.len() as u64 => {
                let skip = usize::try_from(offset - start).unwrap_or(usize::MAX);
                Next::Chunk(chunk.slice(skip..))
            }
            // The flight has left this reader behind.
            Some(_) | None => Next::Failed(body::Error::Abandoned),
        }
    }

    /// Lets go what everybody has read.
    fn let_go(&mut self) {
        let nobody = if self.next_reader == 0 {
            0
        } else {
            self.arrived
        };
        let slowest = self.readers.values().copied().min().unwrap_or(nobody);
        self.let_go_until(slowest);
    }

    fn let_go_until(&mut self, offset: u64) {
        while let Some((start, chunk)) = self.chunks.front()
            && start + chunk.len() as u64 <= offset
        {
            self.let_go = start + chunk.len() as u64;
            self.chunks.pop_front();
        }
    }

    fn held(&self) -> u64 {
        self.arrived - self.let_go
    }

    /// Whether a reader has everything that has arrived, and waits for slower ones.
    fn is_held_up(&self) -> bool {
        self.fastest() == self.arrived
    }

    fn fastest(&self) -> u64 {
        self.readers.values().copied().max().unwrap_or(0)
    }
}

/// How long a passing flight has waited for its slowest reader.
#[derive(Debug, Default)]
struct Lag {
    waited: Duration,
    /// Where that reader was.
    from: u64,
}

impl Lag {
    /// Time for which the slowest reader may still be waited for; `let_go` is where it is now.
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

/// One reader.
struct Reading {
    flight: Arc<Flight>,
    reader: u64,
    offset: u64,
    _interest: Interest,
}

impl Drop for Reading {
    fn drop(&mut self) {
        self.flight.leave(self.reader);
    }
}

impl Reading {
    async fn emit(mut self, out: body::Emitter) -> Result<(), body::Error> {
        loop {
            let moved = self.flight.moved.notified();
            let mut moved = std::pin::pin!(moved);
            moved.as_mut().enable();
            self.flight.pace.read_to(self.flight.base + self.offset);
            let chunk = match self.flight.next(self.reader, self.offset) {
                Next::Chunk(chunk) => chunk,
                Next::InFile(file, arrived) => self.read(file, arrived).await?,
                Next::End => return Ok(()),
                Next::Failed(error) => return Err(error),
                Next::Wait => {
                    moved.await;
                    continue;
                }
            };
            self.offset += chunk.len() as u64;
            // Whoever holds up the source by being the slowest is what the source waits for.
            self.flight.moved.notify_waiters();
            out.emit(chunk).await?;
        }
    }

    async fn read(&self, file: Arc<Growing>, arrived: u64) -> Result<Bytes, body::Error> {
        let (offset, length) = (self.offset, arrived - self.offset);
        let reading = spawn_blocking(move || file.read(offset, length));
        let read = reading.await.map_err(|_panic| body::Error::Abandoned)?;
        read.map_err(|_damaged| {
            self.flight.spoil();
            body::Error::Unreadable
        })
    }
}

/// The writing end of a flight. One that is dropped before it has landed has crashed.
#[derive(Debug)]
pub struct Pilot {
    flight: Arc<Flight>,
    cache: Cache,
    /// The file that it spills to.
    writing: Option<disk::Writing>,
    /// Room on disk that it has taken, and how much of it is used.
    spill: (u64, u64),
    lag: Lag,
    has_ended: bool,
}

impl Pilot {
    pub(super) fn new(
        cache: &Cache,
        key: Key,
        (cargo, validity): (Cargo, Validity),
        pace: &Arc<Pace>,
    ) -> Self {
        let state = State {
            form: Form::Whole,
            chunks: VecDeque::new(),
            let_go: 0,
            arrived: 0,
            room: 0,
            end: None,
            readers: HashMap::new(),
            next_reader: 0,
        };
        let flight = Flight {
            key,
            identity: cargo.identity,
            length: cargo.length,
            validity,
            base: pace.arrived(),
            pace: Arc::clone(pace),
            room: cache.room(),
            state: Mutex::new(state),
            moved: Notify::new(),
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

    /// As it is for an instance that no tier will keep: it passes by from its start.
    pub(super) fn passing(self) -> Self {
        self.flight.forget();
        self.flight.state().form = Form::Passing;
        self
    }

    /// What others follow.
    #[must_use]
    pub fn flight(&self) -> &Arc<Flight> {
        &self.flight
    }

    /// Adds what has arrived. Waits where it passes by and its readers are slow, for `patience` at
    /// most.
    ///
    /// # Errors
    /// [`Unread`] if it passes by and nobody reads it: there is no use in fetching the rest.
    pub async fn push(&mut self, chunk: Bytes, patience: Duration) -> Result<(), Unread> {
        self.flight.pace.count(chunk.len());
        if self.flight.is_spoilt() {
            return Err(Unread);
        }
        let (form, fits) = {
            let mut state = self.flight.state();
            let fits = matches!(state.form, Form::Whole) && self.has_room(&mut state, &chunk);
            (state.form.clone(), fits)
        };
        match form {
            Form::Whole if fits => self.add(chunk),
            Form::Whole if self.spill().await => self.write(chunk).await?,
            Form::Whole => {
                self.flight.state().form = Form::Passing;
                self.pass(chunk, patience).await?;
            }
            Form::Spilled(_) => self.write(chunk).await?,
            Form::Passing => self.pass(chunk, patience).await?,
        }
        if self.flight.is_passed_over() {
            self.flight.pace.read_to(self.flight.reach());
        }
        self.flight.moved.notify_waiters();
        Ok(())
    }

    fn has_room(&self, state: &mut State, chunk: &Bytes) -> bool {
        let bytes = chunk.len() as u64;
        let expected = self.flight.length.unwrap_or(0).max(state.arrived + bytes);
        let has_room = self.cache.memory().admits(expected) && self.flight.room.take(bytes);
        if has_room {
            state.room += bytes;
        }
        has_room
    }

    fn add(&self, chunk: Bytes) {
        let mut state = self.flight.state();
        let start = state.arrived;
        state.arrived += chunk.len() as u64;
        state.chunks.push_back((start, chunk));
    }

    /// Moves what is in memory to a file; `false` if there is no disk, or it is full.
    async fn spill(&mut self) -> bool {
        let Some(disk) = self.cache.disk().cloned() else {
            return false;
        };
        let arrived = self.flight.state().arrived;
        // Nothing of what must not be kept comes to rest.
        let is_forgotten = self.flight.is_forgotten() || self.flight.room.rests_from_spill();
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
                state.form = Form::Spilled(writing.file());
                let in_memory = std::mem::take(&mut state.chunks);
                self.flight.room.give_back(std::mem::take(&mut state.room));
                drop(state);
                // Megabytes are freed without the lock.
                drop(in_memory);
                self.writing = Some(writing);
                true
            }
            Err(error) => {
                self.cache.disk_failed(&error);
                false
            }
        }
    }

    /// Takes room on disk for more bytes: at once for all that is to come, where that is known.
    fn takes_spill(&mut self, bytes: u64) -> bool {
        let (taken, used) = self.spill;
        let needed = (used + bytes).max(self.flight.length.unwrap_or(0));
        let more = needed.saturating_sub(taken);
        let has_room = self.flight.room.spill(more);
        if has_room {
            self.spill = (taken + more, used + bytes);
        }
        has_room
    }

    /// Adds to the file. If that is full what follows is lost to the readers: they fail, and what
    /// they need is fetched again.
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
                self.cache.disk_failed(&error);
                Err(Unread)
            }
        }
    }

    /// Adds to what passes by, once the slowest reader is near enough.
    async fn pass(&mut self, chunk: Bytes, patience: Duration) -> Result<(), Unread> {
        let flight = Arc::clone(&self.flight);
        loop {
            let moved = flight.moved.notified();
            let mut moved = std::pin::pin!(moved);
            moved.as_mut().enable();
            let wait = {
                let mut state = flight.state();
                state.let_go();
                let taken = state.room.saturating_sub(state.held());
                state.room -= taken;
                flight.room.give_back(taken);
                if state.readers.is_empty() && !flight.is_expected(&state) {
                    return Err(Unread);
                }
                if state.held() < WINDOW {
                    break;
                }
                if state.is_held_up() {
                    Wait::ForLaggards(self.lag.left(state.let_go))
                } else {
                    Wait::ForReaders
                }
            };
            match wait {
                Wait::ForReaders => {
                    timeout(patience, moved).await.map_err(|_elapsed| Unread)?;
                }
                Wait::ForLaggards(left) => {
                    let began = time::Instant::now();
                    let has_moved = timeout(left.min(patience), moved).await.is_ok();
                    self.lag.waited += began.elapsed();
                    if !has_moved {
                        flight.leave_behind();
                    }
                }
            }
        }
        self.add(chunk);
        Ok(())
    }

    /// Ends the flight well, and keeps what has arrived.
    ///
    /// # Errors
    /// [`body::Error::Truncated`] if it is shorter than the source is bound to; then it has crashed.
    pub async fn land(mut self) -> Result<(), body::Error> {
        let (arrived, form) = {
            let state = self.flight.state();
            (state.arrived, state.form.clone())
        };
        if self.flight.length.is_some_and(|length| length != arrived) {
            self.crash(body::Error::Truncated);
            return Err(body::Error::Truncated);
        }
        match form {
            Form::Whole => self.keep_in_memory().await,
            Form::Spilled(_) => self.keep_on_disk().await,
            Form::Passing => {}
        }
        self.end(Ok(()));
        self.cache.keep_up().await;
        Ok(())
    }

    /// Ends the flight badly.
    pub fn crash(mut self, error: body::Error) {
        self.end(Err(error));
    }

    async fn keep_in_memory(&self) {
        // Its readers need no copy.
        if self.flight.is_forgotten() {
            return;
        }
        let (chunks, arrived) = {
            let state = self.flight.state();
            (state.chunks.clone(), state.arrived)
        };
        // The copy is made without the lock: nothing more arrives, and readers read the chunks.
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
            self.flight.room.give_back(std::mem::take(&mut state.room));
            std::mem::replace(&mut state.chunks, VecDeque::from([(0, bytes.clone())]))
        };
        drop(chunks);
        let identity = self.flight.identity.clone();
        let entry = Entry::new(identity, bytes, self.flight.validity.copied());
        self.cache.keep(&self.flight, Arc::new(entry));
    }

    async fn keep_on_disk(&mut self) {
        let Some(writing) = self.writing.take() else {
            return;
        };
        if self.flight.is_forgotten() {
            return;
        }
        // If it is forgotten from here on, the file is told.
        let finishing = spawn_blocking(move || writing.finish());
        match finishing
            .await
            .unwrap_or_else(|_panic| Err(std::io::ErrorKind::Other.into()))
        {
            Ok(_stored) => self.cache.disk_works(),
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
            Err(error) => self.cache.disk_failed(&error),
        }
    }

    fn end(&mut self, end: Result<(), body::Error>) {
        if std::mem::replace(&mut self.has_ended, true) {
            return;
        }
        self.flight.room.give_back_spill(self.spill.0);
        self.cache.metrics().flights_open.dec();
        self.cache.take_off_the_board(&self.flight);
        self.flight.state().end = Some(end);
        self.flight.moved.notify_waiters();
    }
}

impl Drop for Pilot {
    fn drop(&mut self) {
        self.end(Err(body::Error::Abandoned));
    }
}

/// All of it in an allocation of its own: a chunk is a slice of what was read from a connection, and
/// a small instance would keep all of that.
fn joined(chunks: &VecDeque<(u64, Bytes)>, length: u64) -> Bytes {
    let mut all = Vec::with_capacity(usize::try_from(length).unwrap_or(0));
    for (_, chunk) in chunks {
        all.extend_from_slice(chunk);
    }
    all.into()
}

#[cfg(test)]
#[path = "flight_tests.rs"]
mod tests;
