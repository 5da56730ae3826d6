//! What a manifest selects: one model for every format it comes in, and the manifests that are
//! registered.

mod conflict;
mod export;
pub mod fhir;
mod holding;
mod id;
pub mod kos;
mod model;
mod outline;
mod patient;
mod registered;
pub(crate) mod retrieve_url;
mod rows;
pub mod store;

pub use conflict::{Conflict, Disagreement, Locate, OnConflict, Place};
pub use export::export;
pub use holding::{Holding, SeriesSelection};
pub use id::Id;
pub use model::{
    Accession, Code, Format, Generation, Instance, KeyObject, Manifest, Patient, PatientId, Series,
    Study, Warning,
};
pub use outline::Outline;
pub use registered::{Registered, Registration, Submission, UnknownSeries};
pub use rows::{instance_row, outline_row, series_row, study_row};
pub use store::{Known, Store};

/// The largest manifest that is read, in bytes.
pub const MAX_MANIFEST: usize = 64 << 20;

/// Why bytes are no manifest.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Neither DICOM nor FHIR.
    #[error("the manifest is neither a DICOM Part 10 file nor a FHIR Bundle in JSON")]
    Unrecognised,
    /// It is a DICOM file, but no manifest that can be used.
    #[error(transparent)]
    Kos(#[from] kos::Error),
    /// It is JSON, but no manifest that can be used.
    #[error(transparent)]
    Fhir(#[from] fhir::Error),
}

/// Reads a manifest in any of the formats, told apart by its first bytes.
///
/// # Errors
/// Why it is no manifest. The texts hold nothing of what the manifest says.
pub fn read(bytes: &[u8]) -> Result<Manifest, Error> {
    if bytes.get(128..132) == Some(b"DICM") {
        return Ok(kos::read(bytes)?);
    }
    match first_character(bytes) {
        Some(b'{' | b'<') => Ok(fhir::read(bytes)?),
        Some(_) | None => Err(Error::Unrecognised),
    }
}

fn first_character(bytes: &[u8]) -> Option<u8> {
    let text = bytes.strip_prefix(b"\xEF\xBB\xBF").unwrap_or(bytes);
    text.iter()
        .copied()
        .find(|byte| !byte.is_ascii_whitespace())
}
