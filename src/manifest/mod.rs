//! Imaging study manifests: one model for all formats.

mod conflict;
mod export;
pub mod fhir;
mod form;
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
mod sop_class;
mod warning;

pub use conflict::{Conflict, Disagreement, Locate, OnConflict, Place};
pub use export::Export;
pub use holding::{Holding, SeriesSelection};
pub use id::Id;
pub use model::{
    Accession, Code, FlaggedInstance, Format, Generation, Instance, KeyObject, Manifest, Patient,
    PatientId, Series, Study,
};
pub use names::Names;
pub use outline::{Outline, PackedOutline};
pub use registered::{Owner, Registered, Registration, Submission, UnknownSeries};
pub use rows::{
    ANATOMIC_REGION, instance_row, is_told, outline_row, partial_outline_row, series_row,
    study_row, write_outline_row,
};
pub use warning::{Defect, Outcome, Subject, Warning};

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
    manifest.warnings.extend(leading_zeros(&manifest.studies));
    Ok(manifest)
}

/// A warning about the studies and series with a UID that has a leading zero, or an instance with
/// such a UID.
fn leading_zeros(studies: &[Study]) -> Option<Warning> {
    let mut subjects = Vec::new();
    let mut with_zeros = 0;
    for study in studies {
        if study.uid.uid().has_leading_zero() {
            subjects.push(Subject::Study(study.uid.clone()));
            with_zeros += 1;
        }
        for series in &study.series {
            let instances = series.instances.iter().map(|instance| instance.uid.uid());
            let uids = std::iter::once(series.uid.uid()).chain(instances);
            let of_series = uids.filter(|uid| uid.has_leading_zero()).count();
            if of_series > 0 {
                subjects.push(Subject::Series(series.uid.clone()));
                with_zeros += of_series;
            }
        }
    }
    let defect = Defect::LeadingZeros(with_zeros);
    Warning::about_all(subjects, Outcome::ReadAllTheSame, defect)
}
