//! Reads the bytes of an instance in order, chunk by chunk.

use blake3::Hasher;
use bytes::{Buf, Bytes, BytesMut};

use crate::body::{self, Body};

/// A forward-only reader of the bytes of an instance.
#[derive(Debug)]
pub struct Reader {
    body: Body,
    buffer: Bytes,
    position: u64,
    /// The digest of all bytes; with it, no byte is skipped unread.
    digest: Option<Box<Hasher>>,
}

impl Reader {
    /// A reader at the beginning of a body.
    #[must_use]
    pub fn new(body: Body) -> Self {
        Self {
            body,
            buffer: Bytes::new(),
            position: 0,
            digest: None,
        }
    }

    /// A reader that computes the BLAKE3 of the whole body.
    #[must_use]
    pub fn digesting(body: Body) -> Self {
        Self {
            digest: Some(Box::new(Hasher::new())),
            ..Self::new(body)
        }
    }

    /// The number of consumed bytes.
    #[must_use]
    pub fn position(&self) -> u64 {
        self.position
    }

    /// The buffered bytes.
    #[must_use]
    pub fn here(&self) -> &[u8] {
        &self.buffer
    }

    /// Waits until at least `wanted` bytes are buffered; `false` if the body ends earlier.
    ///
    /// # Errors
    /// Why the body was aborted.
    pub async fn fill(&mut self, wanted: usize) -> Result<bool, body::Error> {
        while self.buffer.len() < wanted {
            let Some(chunk) = self.body.chunk().await? else {
                return Ok(false);
            };
            if let Some(digest) = &mut self.digest {
                digest.update(&chunk);
            }
            self.buffer = if self.buffer.is_empty() {
                chunk
            } else {
                let mut both = BytesMut::with_capacity(self.buffer.len() + chunk.len());
                both.extend_from_slice(&self.buffer);
                both.extend_from_slice(&chunk);
                both.freeze()
            };
        }
        Ok(true)
    }

    /// Consumes the buffered bytes, at most `most`; `None` at the end.
    ///
    /// # Errors
    /// Why the body was aborted.
    pub async fn next(&mut self, most: u64) -> Result<Option<Bytes>, body::Error> {
        if !self.fill(1).await? {
            return Ok(None);
        }
        let length = usize::try_from(most).map_or(self.buffer.len(), |n| n.min(self.buffer.len()));
        self.position += length as u64;
        Ok(Some(self.buffer.split_to(length)))
    }

    /// Appends the next `length` bytes to `out`.
    ///
    /// # Errors
    /// [`body::Error::Truncated`] if the body is shorter, or why it was aborted.
    pub async fn take(&mut self, length: u64, out: &mut Vec<u8>) -> Result<(), body::Error> {
        let mut left = length;
        while left > 0 {
            let bytes = self.next(left).await?.ok_or(body::Error::Truncated)?;
            out.extend_from_slice(&bytes);
            left -= bytes.len() as u64;
        }
        Ok(())
    }

    /// Skips `length` bytes, in a file without reading them.
    ///
    /// # Errors
    /// [`body::Error::Truncated`] if the body is shorter, or why it was aborted.
    pub async fn skip(&mut self, length: u64) -> Result<(), body::Error> {
        let mut left = length;
        let here = usize::try_from(left).map_or(self.buffer.len(), |n| n.min(self.buffer.len()));
        self.buffer.advance(here);
        self.position += here as u64;
        left -= here as u64;
        if left == 0 {
            return Ok(());
        }
        // The buffer is empty, so the body is at the reader's position.
        if self.digest.is_none() && self.body.pass_over(left) {
            self.position += left;
            return Ok(());
        }
        while left > 0 {
            let bytes = self.next(left).await?.ok_or(body::Error::Truncated)?;
            left -= bytes.len() as u64;
        }
        Ok(())
    }

    /// Reads to the end, and returns the BLAKE3 if the reader computes it.
    ///
    /// # Errors
    /// Why the body was aborted.
    pub async fn finish(mut self) -> Result<Option<[u8; 32]>, body::Error> {
        if self.digest.is_some() {
            while self.next(u64::MAX).await?.is_some() {}
        }
        Ok(self.digest.map(|digest| digest.finalize().into()))
    }

    /// The rest of the body.
    #[must_use]
    pub fn into_body(self) -> Body {
        if self.buffer.is_empty() {
            self.body
        } else {
            self.body.after(self.buffer)
        }
    }
}
