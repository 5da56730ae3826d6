//! The bytes of a flight that have arrived, and the position of each reader.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

use bytes::Bytes;

use crate::body;
use crate::cache::disk::GrowingFile;

#[derive(Debug)]
pub(super) struct State {
    pub(super) storage: Storage,
    /// Chunks in memory, each with its offset.
    pub(super) chunks: VecDeque<(u64, Bytes)>,
    /// Bytes dropped at the start.
    pub(super) let_go: u64,
    pub(super) arrived: u64,
    /// Bytes reserved from [`Budget`].
    pub(super) reserved: u64,
    pub(super) end: Option<Result<(), body::Error>>,
    /// The offset of each reader.
    pub(super) readers: HashMap<u64, u64>,
    pub(super) next_reader: u64,
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
    Wait,
}

impl State {
    pub(super) fn at(&self, offset: u64) -> Next {
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
        let slowest = self.readers.values().copied().min().unwrap_or(nobody);
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
        self.fastest() == self.arrived
    }

    pub(super) fn fastest(&self) -> u64 {
        self.readers.values().copied().max().unwrap_or(0)
    }
}
