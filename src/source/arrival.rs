//! Parts of an answer become instances: each says who it is by its own first bytes.

use std::collections::VecDeque;

use bytes::{Bytes, BytesMut};

use super::Parts;
use crate::body;
use crate::dicom::part10::{self, Identity};

/// Instances as a source sends them, one after the other. Memory: the first bytes of one instance,
/// [`part10::MAX_HEAD`] and one chunk at most.
#[derive(Debug)]
pub struct Arrivals {
    parts: Parts,
    /// What was read of the current part and not yet given on.
    held: VecDeque<Bytes>,
}

/// What arrives next.
#[derive(Debug, PartialEq, Eq)]
pub enum Arrival {
    /// An instance, and its exact length if the source is bound to one.
    Instance(Identity, Option<u64>),
    /// Bytes that are no instance.
    Unidentified(part10::Error),
}

impl Arrivals {
    pub(super) fn new(parts: Parts) -> Self {
        Self {
            parts,
            held: VecDeque::new(),
        }
    }

    /// Whether the source says that it gives only some of what it was asked for.
    #[must_use]
    pub fn is_partial(&self) -> bool {
        self.parts.is_partial()
    }

    /// The entity tag of the whole answer.
    #[must_use]
    pub fn etag(&self) -> Option<&str> {
        self.parts.etag()
    }

    /// Whether nothing of it should be kept: the source wants that (`Cache-Control: no-store`), or it is
    /// a folder.
    #[must_use]
    pub fn is_no_store(&self) -> bool {
        self.parts.is_no_store()
    }

    /// What arrives next, after what is left of the present instance is passed over; `None` once
    /// the source has ended its answer properly.
    ///
    /// # Errors
    /// Why the answer broke off.
    pub async fn next(&mut self) -> Result<Option<Arrival>, body::Error> {
        self.held.clear();
        if !self.parts.next().await? {
            return Ok(None);
        }
        let length = self.parts.length();
        match self.identify().await? {
            Ok(identity) => Ok(Some(Arrival::Instance(identity, length))),
            Err(error) => Ok(Some(Arrival::Unidentified(error))),
        }
    }

    /// The next bytes of the present instance; `None` at its end.
    ///
    /// # Errors
    /// Why it broke off.
    pub async fn chunk(&mut self) -> Result<Option<Bytes>, body::Error> {
        match self.held.pop_front() {
            Some(bytes) => Ok(Some(bytes)),
            None => self.parts.chunk().await,
        }
    }

    async fn identify(&mut self) -> Result<Result<Identity, part10::Error>, body::Error> {
        let mut prefix = Prefix::default();
        let mut next_try = 0;
        while let Some(chunk) = self.parts.chunk().await? {
            prefix.push(chunk);
            // Reading again for each byte of a slow source would cost its square.
            if prefix.len() < next_try {
                continue;
            }
            next_try = prefix.len() + prefix.len() / 4;
            match Identity::read(prefix.bytes()) {
                Ok(None) => {}
                Ok(Some(identity)) => {
                    self.held = prefix.into_chunks();
                    return Ok(Ok(identity));
                }
                Err(error) => return Ok(Err(error)),
            }
        }
        // The part is over; what was not tried yet is tried now.
        match Identity::read(prefix.bytes()) {
            Ok(Some(identity)) => {
                self.held = prefix.into_chunks();
                Ok(Ok(identity))
            }
            Ok(None) => Ok(Err(part10::Error::Unidentified)),
            Err(error) => Ok(Err(error)),
        }
    }
}

/// The first bytes of a part; one chunk in nearly every case, which is then not copied.
#[derive(Default)]
struct Prefix {
    first: Option<Bytes>,
    joined: Option<BytesMut>,
}

impl Prefix {
    fn push(&mut self, chunk: Bytes) {
        match (&mut self.joined, self.first.take()) {
            (Some(joined), _) => joined.extend_from_slice(&chunk),
            (None, None) => self.first = Some(chunk),
            (None, Some(first)) => {
                let mut joined = BytesMut::from(&first[..]);
                joined.extend_from_slice(&chunk);
                self.joined = Some(joined);
            }
        }
    }

    fn bytes(&self) -> &[u8] {
        match (&self.joined, &self.first) {
            (Some(joined), _) => joined,
            (None, Some(first)) => first,
            (None, None) => &[],
        }
    }

    fn len(&self) -> usize {
        self.bytes().len()
    }

    fn into_chunks(self) -> VecDeque<Bytes> {
        self.joined
            .map(BytesMut::freeze)
            .or(self.first)
            .into_iter()
            .collect()
    }
}
