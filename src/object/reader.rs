//! Reading the bytes of an instance in order, a few at a time.

use bytes::{Buf, Bytes, BytesMut};
use sha2::{Digest, Sha256};

use crate::body::{self, Body};

/// A place in the bytes of an instance that moves forward.
#[derive(Debug)]
pub struct Reader {
    body: Body,
    buffer: Bytes,
    position: u64,
    /// Of all bytes, if nothing may be passed over unread.
    digest: Option<Sha256>,
}

impl Reader {
    /// At the beginning of a body.
    #[must_use]
    pub fn new(body: Body) -> Self {
        Self {
            body,
            buffer: Bytes::new(),
            position: 0,
            digest: None,
        }
    }

    /// The same, and at the end the SHA-256 of everything is known.
    #[must_use]
    pub fn digesting(body: Body) -> Self {
        Self {
            digest: Some(Sha256::new()),
            ..Self::new(body)
        }
    }

    /// How many bytes are behind.
    #[must_use]
    pub fn position(&self) -> u64 {
        self.position
    }

    /// The bytes that are here.
    #[must_use]
    pub fn here(&self) -> &[u8] {
        &self.buffer
    }

    /// Waits until at least so many bytes are here; `false` if there are no more than are here.
    ///
    /// # Errors
    /// Why the body broke off.
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

    /// The bytes that come next, as many as are here and `most` at most; `None` at the end.
    ///
    /// # Errors
    /// Why the body broke off.
    pub async fn next(&mut self, most: u64) -> Result<Option<Bytes>, body::Error> {
        if !self.fill(1).await? {
            return Ok(None);
        }
        let length = usize::try_from(most).map_or(self.buffer.len(), |n| n.min(self.buffer.len()));
        self.position += length as u64;
        Ok(Some(self.buffer.split_to(length)))
    }

    /// Moves so many bytes to the end of `out`.
    ///
    /// # Errors
    /// [`body::Error::Truncated`] if there are not so many, or why the body broke off.
    pub async fn take(&mut self, length: u64, out: &mut Vec<u8>) -> Result<(), body::Error> {
        let mut left = length;
        while left > 0 {
            let bytes = self.next(left).await?.ok_or(body::Error::Truncated)?;
            out.extend_from_slice(&bytes);
            left -= bytes.len() as u64;
        }
        Ok(())
    }

    /// Passes over so many bytes, in a file without reading them.
    ///
    /// # Errors
    /// [`body::Error::Truncated`] if there are not so many, or why the body broke off.
    pub async fn skip(&mut self, length: u64) -> Result<(), body::Error> {
        let mut left = length;
        let here = usize::try_from(left).map_or(self.buffer.len(), |n| n.min(self.buffer.len()));
        self.buffer.advance(here);
        self.position += here as u64;
        left -= here as u64;
        if left == 0 {
            return Ok(());
        }
        // The buffer is empty, so the body's place is ours.
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

    /// Reads to the end, and gives the SHA-256 of everything if it is worked out.
    ///
    /// # Errors
    /// Why the body broke off.
    pub async fn finish(mut self) -> Result<Option<[u8; 32]>, body::Error> {
        if self.digest.is_some() {
            while self.next(u64::MAX).await?.is_some() {}
        }
        Ok(self.digest.map(|digest| digest.finalize().into()))
    }

    /// What is still to be read.
    #[must_use]
    pub fn into_body(self) -> Body {
        if self.buffer.is_empty() {
            self.body
        } else {
            self.body.after(self.buffer)
        }
    }
}
