//! InstanceReader of an answer become instances: each says who it is by its own first bytes.

mod passing;

use std::collections::VecDeque;

use bytes::{Bytes, BytesMut};

use super::InstanceReader;
use crate::body;
use crate::dicom::part10::{self, Identity};
use crate::digest::Digest;
use passing::Passing;

/// Instances as a source sends them, one after the other. Memory: the first bytes of one instance,
/// [`part10::MAX_HEAD`] and one chunk at most.
///
/// Each is walked over on its way: one that does not end where its part ends is not whole. That is an
/// error of the instance and not of the answer, which goes on with the next one.
#[derive(Debug)]
pub struct Arrivals {
    parts: InstanceReader,
    /// What was read of the current part and not yet given on.
    held: VecDeque<Bytes>,
    passing: Passing,
    /// Whether the current part was read to its end.
    is_over: bool,
}

/// What arrives next.
#[derive(Debug, PartialEq, Eq)]
pub enum Arrival {
    /// An instance, and its exact length if the source is bound to one.
    Instance(Identity, Option<u64>),
    /// An instance that is known not to be whole before any of it is given on.
    NotWhole(Identity, body::Error),
    /// Bytes that are no instance.
    Unidentified(part10::Error),
}

impl Arrivals {
    pub(super) fn new(parts: InstanceReader) -> Self {
        Self {
            parts,
            held: VecDeque::new(),
            passing: Passing::new(None),
            is_over: false,
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
        self.is_over = false;
        self.passing = Passing::new(self.parts.declared());
        let identity = match self.identify().await? {
            Ok(identity) => identity,
            Err(error) => return Ok(Some(Arrival::Unidentified(error))),
        };
        Ok(Some(match self.look().await {
            Ok(()) => Arrival::Instance(identity, self.parts.length()),
            Err(error) => Arrival::NotWhole(identity, error),
        }))
    }

    /// The next bytes of the present instance; `None` at its end, if it is whole.
    ///
    /// # Errors
    /// Why it broke off; [`body::Error::NotWhole`] if only this instance is wrong.
    pub async fn chunk(&mut self) -> Result<Option<Bytes>, body::Error> {
        if let Some(bytes) = self.held.pop_front() {
            return Ok(Some(bytes));
        }
        let chunk = self.read().await?;
        match &chunk {
            Some(bytes) => self.passing.take(bytes).await?,
            None => self.passing.end()?,
        }
        Ok(chunk)
    }

    /// Passes over what is left of the present instance, if it is whole.
    ///
    /// # Errors
    /// As [`Arrivals::chunk`].
    pub async fn pass_over(&mut self) -> Result<(), body::Error> {
        while self.chunk().await?.is_some() {}
        Ok(())
    }

    /// The digest of the present instance; `None` unless it has come to its end and is whole.
    #[must_use]
    pub fn digest(&self) -> Option<Digest> {
        self.passing.trailing()?;
        Some(self.passing.digest())
    }

    /// Bytes behind the data set of an instance that has ended; padding does not count.
    #[must_use]
    pub fn trailing(&self) -> u64 {
        self.passing.trailing().unwrap_or(0)
    }

    async fn read(&mut self) -> Result<Option<Bytes>, body::Error> {
        if self.is_over {
            return Ok(None);
        }
        let chunk = self.parts.chunk().await?;
        self.is_over = chunk.is_none();
        Ok(chunk)
    }

    /// Looks at what is there of an instance before it is announced.
    async fn look(&mut self) -> Result<(), body::Error> {
        for bytes in &self.held {
            self.passing.take(bytes).await?;
        }
        if self.is_over {
            self.passing.end()?;
        }
        Ok(())
    }

    async fn identify(&mut self) -> Result<Result<Identity, part10::Error>, body::Error> {
        let mut prefix = Prefix::default();
        let mut next_try = 0;
        while let Some(chunk) = self.read().await? {
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
