//! Imaging study manifests: one model for all formats.

mod conflict;
mod export;
pub mod fhir;
mod holding;
mod id;
pub mod kos;
mod location;
mod model;
mod names;
mod outline;
mod patient;
mod registered;
pub(crate) mod retrieve_url;
mod rows;
mod warning;

pub use conflict::{Conflict, Disagreement, Locate, OnConflict, Place};
pub use export::Export;
pub use holding::{Holding, SeriesSelection};
pub use id::Id;
pub use model::{
    Accession, Code, Format, Generation, Instance, KeyObject, Manifest, Patient, PatientId, Series,
    Study,
};
pub use names::Names;
pub use outline::{Outline, PackedOutline};
pub use registered::{Registered, Registration, Submission, UnknownSeries};
pub use rows::{
    instance_row, is_told, outline_row, partial_outline_row, series_row, study_row,
    write_outline_row,
};
pub use warning::{Defect, Outcome, Subject, Warning};

/// The size limit for a manifest, in bytes.
pub const MAX_MANIFEST: usize = 64 << 20;

/// The reason why a document is not a usable manifest.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Neither DICOM nor FHIR.
    #[error("the manifest is neither a DICOM Part 10 file nor a FHIR Bundle in JSON")]
    Unrecognised,
    /// A DICOM file that is not a usable manifest.
    #[error(transparent)]
    Kos(#[from] kos::Error),
    /// JSON or XML that is not a usable manifest.
    #[error(transparent)]
    Fhir(#[from] fhir::Error),
}

/// Reads a manifest in any format; its first bytes tell which.
///
/// # Errors
/// [`Error`] if it is not a usable manifest. The texts contain no value from the document.
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
