//! Splits an answer into instances, each identified by its own first bytes.

mod passing;
mod reader;

use std::collections::VecDeque;

use bytes::{Bytes, BytesMut};

use crate::body;
use crate::dicom::part10::{self, Identity};
use crate::digest::Digest;
use passing::InstanceCheck;
pub(super) use reader::InstanceReader;

/// The instances of an answer, one after the other. It buffers the first bytes of one instance: at
/// most [`part10::MAX_HEAD`] and one chunk.
///
/// Each instance is walked while it passes. An instance that does not end with its part is not
/// whole. That is an error of the instance and not of the answer, which continues with the next
/// instance.
#[derive(Debug)]
pub struct Arrivals {
    parts: InstanceReader,
    /// Buffered bytes of the current part.
    held: VecDeque<Bytes>,
    passing: InstanceCheck,
    /// The bytes of the head that was put before the current part, because it has none.
    added: u64,
    /// Whether the current part has ended.
    is_over: bool,
}

/// The next item of an answer.
#[derive(Debug, PartialEq, Eq)]
pub enum Arrival {
    /// An instance, and its exact length if the source guarantees one.
    Instance(Identity, Option<u64>),
    /// An instance known to be broken before its first byte is passed on.
    NotWhole(Identity, body::Error),
    /// Bytes that are not an instance.
    Unidentified(part10::Error),
}

impl Arrivals {
    pub(super) fn new(parts: InstanceReader) -> Self {
        Self {
            parts,
            held: VecDeque::new(),
            passing: InstanceCheck::new(None),
            added: 0,
            is_over: false,
        }
    }

    /// Whether the source declares the answer incomplete.
    #[must_use]
    pub fn is_partial(&self) -> bool {
        self.parts.is_partial()
    }

    /// The entity tag of the answer.
    #[must_use]
    pub fn etag(&self) -> Option<&str> {
        self.parts.etag()
    }

    /// Whether caching is forbidden: by the source (`Cache-Control: no-store`), or because it is a
    /// folder.
    #[must_use]
    pub fn is_no_store(&self) -> bool {
        self.parts.is_no_store()
    }

    /// The next item, past the rest of the current instance; `None` at the clean end of the answer.
    ///
    /// # Errors
    /// Why the answer broke off.
    pub async fn next(&mut self) -> Result<Option<Arrival>, body::Error> {
        self.held.clear();
        if !self.parts.next().await? {
            return Ok(None);
        }
        self.is_over = false;
        let identity = match self.identify().await? {
            Ok(identity) => identity,
            Err(error) => return Ok(Some(Arrival::Unidentified(error))),
        };
        self.complete(&identity);
        let declared = self.parts.declared().map(|length| length + self.added);
        self.passing = InstanceCheck::new(declared);
        Ok(Some(match self.look().await {
            Ok(()) => Arrival::Instance(identity, self.length()),
            Err(error) => Arrival::NotWhole(identity, error),
        }))
    }

    /// Puts file meta information before a data set that came without.
    fn complete(&mut self, identity: &Identity) {
        let is_bare = |first: &Bytes| part10::bare(first).is_some();
        self.added = 0;
        if self.held.front().is_some_and(is_bare) {
            let head = Bytes::from(part10::head_of(identity));
            self.added = head.len() as u64;
            self.held.push_front(head);
        }
    }

    /// The exact length of the current instance, if the source guarantees one.
    fn length(&self) -> Option<u64> {
        Some(self.parts.length()? + self.added)
    }

    /// The next bytes of the current instance; `None` at its end, if it is whole.
    ///
    /// # Errors
    /// Why it broke off; [`body::Error::NotWhole`] if only this instance is broken.
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

    /// Skips the rest of the current instance, if it is whole.
    ///
    /// # Errors
    /// As [`Arrivals::chunk`].
    pub async fn pass_over(&mut self) -> Result<(), body::Error> {
        while self.chunk().await?.is_some() {}
        Ok(())
    }

    /// Whether the next bytes have to be read from the source.
    #[must_use]
    pub fn is_dry(&self) -> bool {
        let is_whole = self.length() == Some(self.passing.arrived());
        self.held.is_empty() && !is_whole && self.parts.is_dry()
    }

    /// The digest of the current instance's bytes up to the end of the latest chunk.
    #[must_use]
    pub fn digest_so_far(&self) -> Option<Digest> {
        self.held.is_empty().then(|| self.passing.digest())
    }

    /// The digest of the current instance; `None` unless it has ended and is whole.
    #[must_use]
    pub fn digest(&self) -> Option<Digest> {
        self.passing.trailing()?;
        Some(self.passing.digest())
    }

    /// Bytes behind the data set of an ended instance, without padding.
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

    /// Checks the buffered bytes of an instance before it is announced.
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
            // Parsing again for each byte of a slow source would take quadratic time.
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
        // The part has ended; the untested rest is parsed now.
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

/// The first bytes of a part: usually a single chunk, which is not copied.
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
