//! A cached instance and its level of the cache.

use std::sync::Arc;
use std::time::Duration;

use data_encoding::HEXLOWER;

use super::disk;
use super::flight::Flight;
use super::memory::Entry;
use crate::dicom::TransferSyntax;

/// Where something was found.
#[derive(Debug)]
pub enum Hit {
    /// In memory.
    Memory(Arc<Entry>),
    /// It is arriving.
    Flight(Arc<Flight>),
    /// On disk.
    Disk(Arc<disk::Stored>),
}

/// Somebody is already fetching it, or it is here.
#[derive(Debug)]
pub struct AlreadyCached(pub Hit);

/// Ends the entity tag of an instance in a `multipart/related`, after its SHA-256, which alone is the tag of
/// the instance as it is stored.
pub const IN_PARTS: &str = "-multipart";

impl Hit {
    /// Whether it serves without asking its source, where that is so for `lifetime`.
    #[must_use]
    pub fn is_fresh(&self, lifetime: Duration) -> bool {
        match self {
            Self::Memory(entry) => entry.validity.is_fresh(lifetime),
            Self::Flight(_) => true,
            Self::Disk(stored) => stored.validity.is_fresh(lifetime),
        }
    }

    /// Its entity tags, with which its source is asked whether it has changed: the source's own, and
    /// ours, which is the source's if that is one of our kind.
    #[must_use]
    pub fn tags(&self) -> Option<String> {
        let (validity, sha256) = match self {
            Self::Memory(entry) => (&entry.validity, entry.sha256()?),
            Self::Flight(_) => return None,
            Self::Disk(stored) => (&stored.validity, stored.sha256),
        };
        let sha256 = HEXLOWER.encode(&sha256);
        // The forms in which it can be asked for; either tells that the instance is the same.
        let ours = format!("\"{sha256}\", W/\"{sha256}{IN_PARTS}\"");
        Some(match validity.etag() {
            Some(etag) if !ours.contains(etag) => format!("{etag}, {ours}"),
            Some(_) | None => ours,
        })
    }

    /// Its transfer syntax.
    #[must_use]
    pub fn transfer_syntax(&self) -> &TransferSyntax {
        match self {
            Self::Memory(entry) => &entry.identity.transfer_syntax,
            Self::Flight(flight) => &flight.identity.transfer_syntax,
            Self::Disk(stored) => &stored.transfer_syntax,
        }
    }

    /// The flight, if it is arriving.
    #[must_use]
    pub fn flight(&self) -> Option<&Arc<Flight>> {
        match self {
            Self::Flight(flight) => Some(flight),
            Self::Memory(_) | Self::Disk(_) => None,
        }
    }
}
