//! The check of a passing instance: whether it is whole, and its digest.

use crate::body;
use crate::dicom::walk::{NotWhole, Walk};
use crate::digest::{Digest, Rolling};

/// Deflated bytes that are inflated without a pause. They inflate to 16 MiB at most, which takes
/// about ten milliseconds.
const PIECE: usize = 16 << 10;

/// The check of an instance while its bytes pass.
#[derive(Debug)]
pub(super) struct InstanceCheck {
    walk: Walk,
    digest: Rolling,
    arrived: u64,
    /// The length declared by the source.
    declared: Option<u64>,
    /// Bytes behind the data set without padding, once the instance has ended.
    trailing: Option<u64>,
}

impl InstanceCheck {
    pub(super) fn new(declared: Option<u64>) -> Self {
        Self {
            walk: Walk::new(),
            digest: Rolling::new(),
            arrived: 0,
            declared,
            trailing: None,
        }
    }

    /// Checks bytes before they are passed on. The last bytes of a declared length pass only if
    /// they end the instance: a client that counts bytes must not get them otherwise.
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

    /// Records the end of the part.
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

    /// Bytes behind its data set that are neither padding nor an element; `None` unless it has
    /// ended and is whole.
    pub(super) fn trailing(&self) -> Option<u64> {
        self.trailing
    }

    /// The number of passed bytes.
    pub(super) fn arrived(&self) -> u64 {
        self.arrived
    }

    /// The digest of the passed bytes.
    pub(super) fn digest(&self) -> Digest {
        self.digest.digest()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A file of 20 pixels.
    fn file() -> Vec<u8> {
        [
            &[0; 128][..],
            b"DICM",
            b"\x02\0\x10\0UI\x14\x001.2.840.10008.1.2.1\0",
            b"\x08\0\x60\0CS\x02\0CT",
            b"\xE0\x7F\x10\0OW\0\0\x14\0\0\0",
            &[7; 20],
        ]
        .concat()
    }

    /// The result for chunks of this size: the bytes accepted before the error, and the error.
    async fn passed(
        file: &[u8],
        declared: Option<u64>,
        size: usize,
    ) -> (usize, Result<(), body::Error>) {
        let mut passing = InstanceCheck::new(declared);
        let mut taken = 0;
        for chunk in file.chunks(size) {
            if let Err(error) = passing.take(chunk).await {
                assert_eq!(passing.trailing(), None);
                return (taken, Err(error));
            }
            taken += chunk.len();
        }
        let end = passing.end();
        assert_eq!(passing.trailing().is_some(), end.is_ok());
        (taken, end)
    }

    #[tokio::test]
    async fn a_whole_instance_passes() {
        let file = file();
        for size in [1, 7, 100, 1000] {
            for declared in [None, Some(file.len() as u64)] {
                let expected = (file.len(), Ok(()));
                assert_eq!(passed(&file, declared, size).await, expected);
            }
        }
    }

    #[tokio::test]
    async fn the_last_chunk_of_a_declared_length_is_held_back_if_the_instance_is_cut() {
        let file = file();
        let cut = &file[..file.len() - 3];
        for size in [1, 7, 100, 1000] {
            let (taken, end) = passed(cut, Some(cut.len() as u64), size).await;
            assert_eq!(end, Err(NotWhole::ValueCut.into()));
            assert!(taken < cut.len(), "all of what was declared is given");
            let (taken, end) = passed(cut, None, size).await;
            assert_eq!(end, Err(NotWhole::ValueCut.into()));
            assert_eq!(taken, cut.len());
        }
    }

    #[tokio::test]
    async fn a_length_that_is_not_the_one_that_was_declared_is_an_error() {
        let file = file();
        let length = file.len() as u64;
        for declared in [length - 1, length + 1, length * 2] {
            for size in [1, 7, 1000] {
                let (_, end) = passed(&file, Some(declared), size).await;
                assert!(end.is_err(), "{declared}");
            }
        }
        let mut padded = file.clone();
        padded.push(0);
        let (_, end) = passed(&padded, Some(length), 1000).await;
        assert_eq!(end, Err(NotWhole::Length.into()));
        let (_, end) = passed(&file, Some(length + 1), 1000).await;
        assert_eq!(end, Err(NotWhole::Length.into()));
    }

    #[tokio::test]
    async fn the_digest_is_that_of_the_bytes_however_they_came() {
        let file = file();
        let mut digests = Vec::new();
        for size in [1, 10, 1000] {
            let mut passing = InstanceCheck::new(None);
            for chunk in file.chunks(size) {
                passing.take(chunk).await.expect("whole so far");
            }
            digests.push(passing.digest());
        }
        assert!(digests.iter().all(|digest| *digest == digests[0]));
    }
}
