//! The format-neutral manifest: studies, series, instances and their locations.
//!
//! Only `series` and `instances` make data retrievable; all other fields describe. Dates and times
//! have their DICOM form (PS3.5 6.2: `YYYYMMDD`, `HHMMSS.FFFFFF`, `&ZZXX`), because searches
//! compare that form.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::warning::Warning;
use crate::dicom::{SeriesInstanceUid, SopClassUid, SopInstanceUid, StudyInstanceUid};
use crate::ihe::Location;

/// An imaging study manifest.
#[derive(Debug, Clone, PartialEq)]
pub struct Manifest {
    /// The format of the document.
    pub format: Format,
    /// The document's own identifier: SOP Instance UID of a KOS, `Bundle.identifier` of a Bundle.
    pub document_id: Option<Box<str>>,
    /// The studies: one in MADO, sometimes several in classic XDS-I.b.
    pub studies: Vec<Study>,
    /// Tolerated defects.
    pub warnings: Vec<Warning>,
}

/// The format of a manifest.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// A DICOM Key Object Selection document.
    Kos(Generation),
    /// A FHIR R4 Bundle.
    FhirR4,
    /// A FHIR R5 Bundle (HL7 Europe).
    FhirR5,
}

/// The generation of codes in the title of a Key Object Selection document.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Generation {
    /// (131560, DCM): the final codes of MADO 1.2.
    MadoFinal,
    /// (`MADOTEMP001`, 99IHE): the codes of MADO 1.1.
    MadoTemporary,
    /// (ddd001, DCM): the codes of the change proposal.
    MadoDraft,
    /// XDS-I.b, and every other title.
    Classic,
}

/// The patient of the study. Every field is patient data.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct Patient {
    /// Identifiers, the primary one first.
    pub ids: Vec<PatientId>,
    /// Name in DICOM form (`Family^Given`).
    pub name: Option<Box<str>>,
    /// `YYYYMMDD`.
    pub birth_date: Option<Box<str>>,
    /// `M`, `F` or `O`.
    pub sex: Option<Box<str>>,
}

/// One identifier of a patient.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PatientId {
    /// The identifier itself.
    pub value: Box<str>,
    /// The issuer: the universal entity id (an OID without prefix, or a URI), else a label.
    pub issuer: Option<Box<str>>,
}

/// An accession number.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Accession {
    /// The number.
    pub value: Box<str>,
    /// The issuer, as in [`PatientId::issuer`].
    pub issuer: Option<Box<str>>,
}

/// A coded concept.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Code {
    /// The code value.
    pub value: Box<str>,
    /// The coding scheme as written (`DCM`, `SCT`, a URI), if any.
    pub scheme: Option<Box<str>>,
    /// The code meaning, for display.
    pub meaning: Option<Box<str>>,
}

/// One study of a manifest.
#[derive(Debug, Clone, PartialEq)]
pub struct Study {
    /// Study Instance UID.
    pub uid: StudyInstanceUid,
    /// The patient. Patient data: never logged.
    pub patient: Arc<Patient>,
    /// `YYYYMMDD`.
    pub date: Option<Box<str>>,
    /// `HHMMSS.FFFFFF`, with the precision of the document.
    pub time: Option<Box<str>>,
    /// The offset of dates and times from UTC, `+0100`.
    pub timezone: Option<Box<str>>,
    /// Study Description.
    pub description: Option<Box<str>>,
    /// Accession numbers; several if the study fulfils a group of orders.
    pub accessions: Vec<Accession>,
    /// The name of the referring physician, in DICOM form.
    pub referring_physician: Option<Box<str>>,
    /// Study ID.
    pub study_id: Option<Box<str>>,
    /// Modalities that the manifest declares for the study, and those of its series.
    pub modalities: Vec<Box<str>>,
    /// Anatomical regions.
    pub regions: Vec<Code>,
    /// Procedure codes.
    pub procedures: Vec<Code>,
    /// Display URIs of a web viewer. They may contain a session token: never log or dial them.
    pub viewer_urls: Vec<Box<str>>,
    /// The number of series that the manifest declares; it lists `series.len()`.
    pub declared_series: Option<u32>,
    /// The listed series.
    pub series: Vec<Series>,
}

/// One series of a study.
#[derive(Debug, Clone, PartialEq)]
pub struct Series {
    /// Series Instance UID.
    pub uid: SeriesInstanceUid,
    /// Series Number.
    pub number: Option<i32>,
    /// Modality (`CT`).
    pub modality: Option<Box<str>>,
    /// Series Description.
    pub description: Option<Box<str>>,
    /// `YYYYMMDD`.
    pub date: Option<Box<str>>,
    /// `HHMMSS.FFFFFF`.
    pub time: Option<Box<str>>,
    /// Body part.
    pub body_site: Option<Code>,
    /// Laterality.
    pub laterality: Option<Code>,
    /// The number of instances that the manifest declares; it lists `instances.len()`.
    pub declared_instances: Option<u32>,
    /// The locations, best first. Empty: the gateway cannot locate the series.
    pub locations: Vec<Location>,
    /// The listed instances.
    pub instances: Vec<Instance>,
}

impl Series {
    /// The number of instances of a series that lists none: its declared number (in FHIR R4,
    /// ImagingStudy.series.instance is 0..*), or at least one. Every response lacks them.
    #[must_use]
    pub fn unlisted(&self) -> usize {
        if !self.instances.is_empty() {
            return 0;
        }
        let declared = self.declared_instances.unwrap_or(1);
        usize::try_from(declared).unwrap_or(usize::MAX)
    }

    /// The number of instances that the series declares beyond those that it lists, if it lists
    /// any. The manifest selects the listed ones; FHIR R4 allows a larger numberOfInstances, so
    /// this is only a warning.
    #[must_use]
    pub fn declared_beyond(&self) -> usize {
        if self.instances.is_empty() {
            return 0;
        }
        let declared = self.declared_instances.unwrap_or(0);
        let declared = usize::try_from(declared).unwrap_or(usize::MAX);
        declared.saturating_sub(self.instances.len())
    }
}

/// One instance of a series.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Instance {
    /// SOP Class UID.
    pub sop_class: SopClassUid,
    /// SOP Instance UID.
    pub uid: SopInstanceUid,
    /// Instance Number.
    pub number: Option<i32>,
    /// Number of Frames.
    pub frames: Option<u32>,
    /// Document title of a key object selection, and its description.
    pub key_object: Option<Box<KeyObject>>,
}

/// The description of a key object selection in the study.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct KeyObject {
    /// Its document title (CID 7010).
    pub title: Option<Code>,
    /// Key Object Description.
    pub description: Option<Box<str>>,
    /// The flagged instances, as far as the manifest names them (Xt-EHR).
    pub flagged: Vec<FlaggedInstance>,
}

/// An instance that a key object selection flags.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FlaggedInstance {
    /// SOP Class UID.
    pub sop_class: SopClassUid,
    /// SOP Instance UID.
    pub uid: SopInstanceUid,
}
