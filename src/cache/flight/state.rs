//! The bytes of a flight that have arrived, and the position of each reader.

use std::collections::VecDeque;
use std::sync::Arc;
use std::task::Waker;

use bytes::Bytes;

use crate::body;
use crate::cache::disk::GrowingFile;
use crate::digest::{Digest, LazyBlake3};

#[derive(Debug)]
pub(super) struct State {
    pub(super) storage: Storage,
    /// Chunks in memory, each with its offset.
    pub(super) chunks: VecDeque<(u64, Bytes)>,
    /// Bytes dropped at the start.
    pub(super) let_go: u64,
    pub(super) arrived: u64,
    /// The digests of all bytes up to some offsets, mostly the ends of chunks.
    marks: Vec<(u64, Digest)>,
    /// Bytes reserved from [`Budget`].
    pub(super) reserved: u64,
    pub(super) end: Option<Result<(), body::Error>>,
    /// Mostly one.
    pub(super) readers: Vec<ReaderPlace>,
    pub(super) next_reader: u64,
    /// The BLAKE3 of a landed instance that nobody has read yet.
    pub(super) unread: Option<LazyBlake3>,
    /// How often a reader has moved or left.
    pub(super) moves: u64,
    /// The writer, while it waits for a reader to move.
    pub(super) writer: Option<Waker>,
}

/// The place of a reader.
#[derive(Debug)]
pub(super) struct ReaderPlace {
    pub(super) reader: u64,
    pub(super) offset: u64,
    /// The reader, while it waits for bytes.
    waiting: Option<Waker>,
}

#[derive(Debug, Clone)]
pub(super) enum Storage {
    /// All bytes are in memory.
    Whole,
    /// The bytes are in a spill file.
    Spilled(Arc<GrowingFile>),
    /// Bytes read by all readers are dropped.
    Passing,
}

/// The next step of a reader.
pub(super) enum Next {
    Chunk(Bytes),
    InFile(Arc<GrowingFile>, u64),
    End,
    Failed(body::Error),
}

impl State {
    /// A flight without bytes.
    pub(super) fn new() -> Self {
        Self {
            storage: Storage::Whole,
            chunks: VecDeque::new(),
            let_go: 0,
            arrived: 0,
            marks: Vec::new(),
            reserved: 0,
            end: None,
            readers: Vec::new(),
            next_reader: 0,
            unread: None,
            moves: 0,
            writer: None,
        }
    }

    /// Records the digest of all bytes up to an offset, which is behind all earlier ones.
    pub(super) fn mark(&mut self, offset: u64, digest: Digest) {
        self.marks.push((offset, digest));
    }

    /// The last mark at or before an offset.
    pub(super) fn mark_before(&self, offset: u64) -> Option<(u64, Digest)> {
        let behind = self.marks.partition_point(|(at, _)| *at <= offset);
        behind
            .checked_sub(1)
            .and_then(|at| self.marks.get(at))
            .copied()
    }

    /// Adds a reader at the start, and returns its number.
    pub(super) fn join(&mut self) -> u64 {
        let reader = self.next_reader;
        self.next_reader += 1;
        if let Some(unread) = self.unread.take() {
            unread.given();
        }
        self.readers.push(ReaderPlace {
            reader,
            offset: 0,
            waiting: None,
        });
        reader
    }

    pub(super) fn leave(&mut self, reader: u64) {
        self.readers.retain(|place| place.reader != reader);
        self.wake_writer();
    }

    /// Moves a reader that has consumed all bytes before `offset`.
    pub(super) fn go(&mut self, reader: u64, offset: u64) {
        let Some(place) = self.place(reader) else {
            return;
        };
        place.waiting = None;
        if std::mem::replace(&mut place.offset, offset) != offset {
            if matches!(self.storage, Storage::Passing) {
                self.let_go();
            }
            self.wake_writer();
        }
    }

    /// The next step of a reader; `None` if it has to wait for it.
    pub(super) fn next(&self, offset: u64) -> Option<Next> {
        if offset < self.arrived {
            return Some(self.at(offset));
        }
        self.end.as_ref().map(|end| match end {
            Ok(()) => Next::End,
            Err(error) => Next::Failed(error.clone()),
        })
    }

    /// Lets a reader be woken by the next bytes.
    pub(super) fn wait(&mut self, reader: u64, waker: &Waker) {
        if let Some(place) = self.place(reader) {
            place.waiting = Some(waker.clone());
        }
    }

    fn place(&mut self, reader: u64) -> Option<&mut ReaderPlace> {
        self.readers.iter_mut().find(|place| place.reader == reader)
    }

    pub(super) fn wake_readers(&mut self) {
        for place in &mut self.readers {
            if let Some(waiting) = place.waiting.take() {
                waiting.wake();
            }
        }
    }

    pub(super) fn wake_writer(&mut self) {
        self.moves += 1;
        if let Some(writer) = self.writer.take() {
            writer.wake();
        }
    }

    fn at(&self, offset: u64) -> Next {
        if let Storage::Spilled(file) = &self.storage {
            return Next::InFile(Arc::clone(file), self.arrived);
        }
        let at = self.chunks.partition_point(|(start, _)| *start <= offset);
        match at.checked_sub(1).and_then(|at| self.chunks.get(at)) {
            Some((start, chunk)) if offset - start < chunk.len() as u64 => {
                let skip = usize::try_from(offset - start).unwrap_or(usize::MAX);
                Next::Chunk(chunk.slice(skip..))
            }
            // The flight has dropped bytes that this reader needs.
            Some(_) | None => Next::Failed(body::Error::Abandoned),
        }
    }

    /// Drops the bytes read by all readers.
    pub(super) fn let_go(&mut self) {
        let nobody = if self.next_reader == 0 {
            0
        } else {
            self.arrived
        };
        let offsets = self.readers.iter().map(|place| place.offset);
        let slowest = offsets.min().unwrap_or(nobody);
        self.let_go_until(slowest);
    }

    pub(super) fn let_go_until(&mut self, offset: u64) {
        while let Some((start, chunk)) = self.chunks.front()
            && start + chunk.len() as u64 <= offset
        {
            self.let_go = start + chunk.len() as u64;
            self.chunks.pop_front();
        }
    }

    pub(super) fn held(&self) -> u64 {
        self.arrived - self.let_go
    }

    /// Whether a reader has read all arrived bytes and waits for slower readers.
    pub(super) fn is_held_up(&self) -> bool {
        self.fastest() >= self.arrived
    }

    pub(super) fn fastest(&self) -> u64 {
        let offsets = self.readers.iter().map(|place| place.offset);
        offsets.max().unwrap_or(0)
    }
}
