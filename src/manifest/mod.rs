//! Imaging study manifests: one model for all formats.

mod conflict;
mod export;
pub mod fhir;
mod form;
mod holding;
mod id;
pub mod kos;
mod model;
mod outline;
mod patient;
mod registered;
pub(crate) mod retrieve_url;
mod rows;
mod sop_class;

use crate::dicom::Uid;

pub use conflict::{Conflict, Disagreement, Locate, OnConflict, Place};
pub use export::export;
pub use holding::{Holding, SeriesSelection};
pub use id::Id;
pub use model::{
    Accession, Code, FlaggedInstance, Format, Generation, Instance, KeyObject, Manifest, Patient,
    PatientId, Series, Study, Warning,
};
pub use outline::{Outline, PackedOutline};
pub use registered::{Owner, Registered, Registration, Submission, UnknownSeries};
pub use rows::{
    ANATOMIC_REGION, instance_row, outline_row, partial_outline_row, series_row, study_row,
    write_outline_row,
};

use crate::dicom::from_json;
use form::Document;

/// The size limit for a manifest, in bytes.
pub const MAX_MANIFEST: usize = 64 << 20;

/// The reason why a document is not a usable manifest.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Neither DICOM nor FHIR.
    #[error("the manifest is neither a DICOM Part 10 file nor DICOM or FHIR in JSON")]
    Unrecognised,
    /// A FHIR Binary without a document.
    #[error("the FHIR Binary has no data, or they are not base64")]
    Binary,
    /// JSON that is not a data set.
    #[error(transparent)]
    DicomJson(#[from] from_json::Error),
    /// A DICOM file that is not a usable manifest.
    #[error(transparent)]
    Kos(#[from] kos::Error),
    /// JSON or XML that is not a usable manifest.
    #[error(transparent)]
    Fhir(#[from] fhir::Error),
}

/// Reads a manifest in any format and form; its first bytes tell which.
///
/// # Errors
/// [`Error`] if it is not a usable manifest. The texts contain no value from the document.
pub fn read(bytes: &[u8]) -> Result<Manifest, Error> {
    let mut manifest = match Document::open(bytes)? {
        Document::Kos(file) => kos::read(&file)?,
        Document::Fhir(text) => fhir::read(&text)?,
    };
    for study in &mut manifest.studies {
        sop_class::complete(study);
    }
    let with_zeros = uids(&manifest).filter(|uid| uid.has_leading_zero()).count();
    if with_zeros > 0 {
        manifest.warnings.push(Warning::LeadingZeros(with_zeros));
    }
    Ok(manifest)
}

/// The UIDs that a manifest selects by.
fn uids(manifest: &Manifest) -> impl Iterator<Item = &Uid> {
    manifest.studies.iter().flat_map(|study| {
        let series = study.series.iter().flat_map(|series| {
            let instances = series.instances.iter().map(|instance| instance.uid.uid());
            std::iter::once(series.uid.uid()).chain(instances)
        });
        std::iter::once(study.uid.uid()).chain(series)
    })
}
