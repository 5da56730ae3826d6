//! The instance that is passing: whether it is whole, and what tells it from another copy.

use crate::body;
use crate::dicom::walk::{NotWhole, Walk};
use crate::digest::{Digest, Rolling};

/// Deflated bytes that are inflated without a pause. They make 16 MiB at most, which takes some ten
/// milliseconds.
const PIECE: usize = 16 << 10;

/// What is known of an instance while its bytes pass.
#[derive(Debug)]
pub(super) struct Passing {
    walk: Walk,
    digest: Rolling,
    arrived: u64,
    /// Its length as its source declares it.
    declared: Option<u64>,
    /// Bytes behind its data set that are not padding, once it is over.
    trailing: Option<u64>,
}

impl Passing {
    pub(super) fn new(declared: Option<u64>) -> Self {
        Self {
            walk: Walk::new(),
            digest: Rolling::new(),
            arrived: 0,
            declared,
            trailing: None,
        }
    }

    /// Takes bytes before they are given on. The last ones of a declared length are taken only if
    /// they end the instance: a client that counts must not get them otherwise.
    ///
    /// # Errors
    /// [`body::Error::NotWhole`].
    pub(super) async fn take(&mut self, bytes: &[u8]) -> Result<(), body::Error> {
        self.arrived += bytes.len() as u64;
        if self.declared.is_some_and(|length| self.arrived > length) {
            return Err(NotWhole::Length.into());
        }
        self.digest.update(bytes);
        if self.walk.inflates() {
            for piece in bytes.chunks(PIECE) {
                self.walk.push(piece)?;
                tokio::task::yield_now().await;
            }
        } else {
            self.walk.push(bytes)?;
        }
        if self.declared == Some(self.arrived) {
            self.walk.finish()?;
        }
        Ok(())
    }

    /// Its part is over.
    ///
    /// # Errors
    /// [`body::Error::NotWhole`].
    pub(super) fn end(&mut self) -> Result<(), body::Error> {
        let tail = self.walk.finish()?;
        if self.declared.is_some_and(|length| length != self.arrived) {
            return Err(NotWhole::Length.into());
        }
        self.trailing = Some(tail.foreign);
        Ok(())
    }

    /// Bytes behind its data set that are neither padding nor an element; `None` unless it has come to its
    /// end and is whole.
    pub(super) fn trailing(&self) -> Option<u64> {
        self.trailing
    }

    /// The digest of what has passed.
    pub(super) fn digest(&self) -> Digest {
        self.digest.digest()
    }
}
