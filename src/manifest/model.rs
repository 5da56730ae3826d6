//! The format-neutral manifest: studies, series, instances and their locations.
//!
//! Only `series` and `instances` make data retrievable; all other fields describe. Dates and times
//! have their DICOM form (PS3.5 6.2: `YYYYMMDD`, `HHMMSS.FFFFFF`, `&ZZXX`), because searches
//! compare that form.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

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

/// A tolerated defect of a manifest.
#[derive(Debug, Clone, PartialEq, Eq, Hash, thiserror::Error)]
pub enum Warning {
    /// The title is not one of an imaging study manifest.
    #[error("the title is not that of an imaging study manifest")]
    UnexpectedTitle,
    /// The descriptive image library is missing or unreadable; only the evidence is used.
    #[error("the image library is missing or unreadable, so the series have no description")]
    NoLibrary,
    /// A part of the description is malformed and ignored. The text names the part, not its value.
    #[error("{0} is malformed and ignored")]
    Malformed(&'static str),
    /// The manifest declares and lists different numbers. `what` is `series` or `instances`.
    #[error("the manifest declares {declared} {what} and lists {listed}")]
    CountDiffers {
        /// `series` or `instances`.
        what: &'static str,
        /// The declared number.
        declared: u32,
        /// The number of listed ones.
        listed: u32,
    },
    /// A series declares instances and lists none. Every response lacks them.
    #[error(
        "series {series} declares {unlisted} instances without listing them: every response lacks them"
    )]
    Unlisted {
        /// The series.
        series: SeriesInstanceUid,
        /// The number of unlisted instances.
        unlisted: usize,
    },
    /// A series has neither a readable Retrieve Location UID nor a readable Retrieve URL.
    #[error("series {0} has no location")]
    NoLocation(SeriesInstanceUid),
    /// A Retrieve Location UID is not an OID.
    #[error("the Retrieve Location UID {0} is not an OID")]
    OpaqueLocation(Box<str>),
    /// An OID does not start with one of the root arcs 0, 1 and 2.
    #[error("the OID {0} does not start with 0, 1 or 2")]
    UnregistrableOid(Box<str>),
    /// A Retrieve URL addresses another study or series than the one that carries it; it is
    /// ignored.
    #[error("the Retrieve URL of series {0} addresses another study or series and is ignored")]
    ForeignRetrieveUrl(SeriesInstanceUid),
    /// A series lists instances more than once; the first entry counts. The number of ignored
    /// entries.
    #[error("{0} entries list an instance that their series already lists")]
    Duplicates(u32),
    /// UIDs of studies, series and instances have leading zeros. They are kept as they are. The
    /// number of such UIDs.
    #[error("{0} UIDs have leading zeros, which DICOM forbids: they are kept as they are")]
    LeadingZeros(usize),
    /// Entries for one study name different patients: the study has no patient.
    #[error("the entries for study {0} name different patients, so the study has none")]
    PatientsDiffer(StudyInstanceUid),
    /// Several series list the same instances (PS3.3 C.12.1 has one series for an instance; copies
    /// under a new series happen). Each series has its own.
    #[error("{0} instances are listed in more than one series")]
    InSeveralSeries(u32),
    /// The manifest uses temporary or draft codes.
    #[error("the manifest uses temporary or draft codes")]
    OldCodes,
    /// The target of a reference is missing from the Bundle.
    #[error("the target of the {0} reference is missing")]
    UnresolvedReference(&'static str),
}
