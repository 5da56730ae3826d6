//! A cached instance, by the tier that holds it.

use std::sync::Arc;
use std::time::Duration;

use data_encoding::HEXLOWER;

use super::disk;
use super::flight::Flight;
use super::memory::Entry;
use crate::dicom::TransferSyntax;

/// A cached instance.
#[derive(Debug)]
pub enum Hit {
    /// In memory.
    Memory(Arc<Entry>),
    /// It is arriving.
    Flight(Arc<Flight>),
    /// On disk.
    Disk(Arc<disk::Stored>),
}

/// The instance is cached or arriving already.
#[derive(Debug)]
pub struct AlreadyCached(pub Hit);

/// The suffix of the entity tag of an instance in a `multipart/related`. The BLAKE3 before it is
/// the tag of the stored instance.
pub const IN_PARTS: &str = "-multipart";

impl Hit {
    /// Whether it is fresh for `lifetime` and needs no revalidation.
    #[must_use]
    pub fn is_fresh(&self, lifetime: Duration) -> bool {
        match self {
            Self::Memory(entry) => entry.validity.is_fresh(lifetime),
            Self::Flight(_) => true,
            Self::Disk(stored) => stored.validity.is_fresh(lifetime),
        }
    }

    /// Its entity tags for a conditional request: the tag of the source and our own. The two are
    /// equal if the source is such a gateway.
    #[must_use]
    pub fn tags(&self) -> Option<String> {
        let (validity, blake3) = match self {
            Self::Memory(entry) => (&entry.validity, entry.blake3.get()?),
            Self::Flight(_) => return None,
            Self::Disk(stored) => (&stored.validity, stored.blake3),
        };
        let blake3 = HEXLOWER.encode(&blake3);
        // Both forms of our tag identify the same instance.
        let ours = format!("\"{blake3}\", W/\"{blake3}{IN_PARTS}\"");
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
