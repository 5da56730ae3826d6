//! The instances of an answer, by its kind.

use bytes::Bytes;

use crate::body;
use crate::source::{folder, wado_rs};

/// The instances of an answer, not yet parsed.
#[derive(Debug)]
pub(in crate::source) enum InstanceReader {
    Http(wado_rs::PartReader),
    Folder(folder::FileSequence),
}

impl InstanceReader {
    /// Moves to the next instance, past the rest of this one. `false` at the end.
    pub(super) async fn next(&mut self) -> Result<bool, body::Error> {
        match self {
            Self::Http(parts) => parts.next().await,
            Self::Folder(parts) => parts.next().await,
        }
    }

    /// The next bytes of this instance; `None` at its end.
    pub(super) async fn chunk(&mut self) -> Result<Option<Bytes>, body::Error> {
        match self {
            Self::Http(parts) => parts.chunk().await,
            Self::Folder(parts) => parts.chunk().await,
        }
    }

    /// Whether no bytes of the answer are buffered.
    pub(super) fn is_dry(&self) -> bool {
        match self {
            Self::Http(parts) => parts.is_dry(),
            Self::Folder(_) => true,
        }
    }

    /// The exact length of this instance, if the source guarantees it.
    pub(super) fn length(&self) -> Option<u64> {
        match self {
            Self::Http(parts) => parts.length(),
            Self::Folder(parts) => parts.length(),
        }
    }

    /// The declared length of this instance, guaranteed or not.
    pub(super) fn declared(&self) -> Option<u64> {
        match self {
            Self::Http(parts) => parts.declared(),
            Self::Folder(parts) => parts.length(),
        }
    }

    /// The entity tag of the answer.
    pub(super) fn etag(&self) -> Option<&str> {
        match self {
            Self::Http(parts) => parts.policy.etag.as_deref(),
            Self::Folder(_) => None,
        }
    }

    /// Whether the source forbids caching. Local files need no cache.
    pub(super) fn is_no_store(&self) -> bool {
        match self {
            Self::Http(parts) => parts.policy.no_store,
            Self::Folder(_) => true,
        }
    }

    /// Whether the source declares the answer incomplete.
    pub(super) fn is_partial(&self) -> bool {
        match self {
            Self::Http(parts) => parts.is_partial,
            Self::Folder(_) => false,
        }
    }
}
