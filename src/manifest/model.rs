//! The format-neutral manifest: studies, series, instances, and where they are.
//!
//! Only `series` and `instances` decide what may be retrieved; everything else describes. Dates and
//! times keep the DICOM spelling (PS3.5 6.2: `YYYYMMDD`, `HHMMSS.FFFFFF`, `&ZZXX`), in which searches compare them.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::dicom::{SeriesInstanceUid, SopClassUid, SopInstanceUid, StudyInstanceUid};
use crate::ihe::Location;

/// An imaging study manifest, as read.
#[derive(Debug, Clone, PartialEq)]
pub struct Manifest {
    /// What it was written in.
    pub format: Format,
    /// The document's own identifier: SOP Instance UID of a KOS, `Bundle.identifier` of a Bundle.
    pub document_id: Option<Box<str>>,
    /// The studies it refers to: one in MADO, sometimes several in classic XDS-I.b.
    pub studies: Vec<Study>,
    /// What was wrong with it and was tolerated.
    pub warnings: Vec<Warning>,
}

/// What a manifest was written in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// A DICOM Key Object Selection document.
    Kos(Generation),
    /// A FHIR R4 Bundle.
    FhirR4,
    /// A FHIR R5 Bundle (HL7 Europe).
    FhirR5,
}

/// Which codes a Key Object Selection document uses for its title.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Generation {
    /// (131560, DCM): the final codes of MADO 1.2.
    MadoFinal,
    /// (`MADOTEMP001`, 99IHE): the codes of MADO 1.1.
    MadoTemporary,
    /// (ddd001, DCM): the codes of the change proposal.
    MadoDraft,
    /// XDS-I.b and every other title.
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
    /// Who gave it: the universal entity id (an OID without prefix, or a URI), else a label.
    pub issuer: Option<Box<str>>,
}

/// An accession number.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Accession {
    /// The number.
    pub value: Box<str>,
    /// Who gave it, as in [`PatientId::issuer`].
    pub issuer: Option<Box<str>>,
}

/// A coded concept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Code {
    /// The code value.
    pub value: Box<str>,
    /// The coding scheme as written (`DCM`, `SCT`, a URI), if any.
    pub scheme: Option<Box<str>>,
    /// What it means, for people.
    pub meaning: Option<Box<str>>,
}

/// One study of a manifest.
#[derive(Debug, Clone, PartialEq)]
pub struct Study {
    /// Study Instance UID.
    pub uid: StudyInstanceUid,
    /// The patient of this study, and of no other one unless they share it. Patient data: never logged.
    pub patient: Arc<Patient>,
    /// `YYYYMMDD`.
    pub date: Option<Box<str>>,
    /// `HHMMSS.FFFFFF`, as exact as known.
    pub time: Option<Box<str>>,
    /// Offset from UTC that dates and times are in, `+0100`.
    pub timezone: Option<Box<str>>,
    /// Study Description.
    pub description: Option<Box<str>>,
    /// Accession numbers; several when one study answers a group of orders.
    pub accessions: Vec<Accession>,
    /// Modalities the manifest declares for the study, and those of its series.
    pub modalities: Vec<Box<str>>,
    /// Anatomical regions.
    pub regions: Vec<Code>,
    /// Procedure codes.
    pub procedures: Vec<Code>,
    /// Display URIs of a web viewer. Opaque, may hold a session token: never logged, never dialled.
    pub viewer_urls: Vec<Box<str>>,
    /// How many series the manifest says there are; `series.len()` is what it lists.
    pub declared_series: Option<u32>,
    /// The series it lists.
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
    /// How many instances the manifest says there are; `instances.len()` is what it lists.
    pub declared_instances: Option<u32>,
    /// Whether instances of it are listed in another series, where they are kept.
    pub is_listed_elsewhere: bool,
    /// Where it is, best first. Empty: the series is not locatable.
    pub locations: Vec<Location>,
    /// The instances it lists.
    pub instances: Vec<Instance>,
}

impl Series {
    /// How many instances are promised where none is listed: those that it declares (FHIR R4
    /// ImagingStudy.series.instance is 0..*), or at least one. They are missing from every answer.
    #[must_use]
    pub fn unlisted(&self) -> usize {
        if !self.instances.is_empty() || self.is_listed_elsewhere {
            return 0;
        }
        let declared = self.declared_instances.unwrap_or(1);
        usize::try_from(declared).unwrap_or(usize::MAX)
    }

    /// How many more instances it declares than it lists, where it lists some. The manifest selects those
    /// that it lists; FHIR R4 allows a larger number (numberOfInstances), so this is worth a warning only.
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

/// What a manifest says of a key object selection in the study.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct KeyObject {
    /// Its document title (CID 7010).
    pub title: Option<Code>,
    /// Key Object Description.
    pub description: Option<Box<str>>,
}

/// Something wrong with a manifest that was tolerated.
#[derive(Debug, Clone, PartialEq, Eq, Hash, thiserror::Error)]
pub enum Warning {
    /// The title is not one of an imaging study manifest.
    #[error("the title is not that of an imaging study manifest")]
    UnexpectedTitle,
    /// The descriptive image library is missing or unreadable; the evidence is used alone.
    #[error("there is no readable image library, so nothing describes the series")]
    NoLibrary,
    /// A part of the description was malformed and is left out. Says which, without values.
    #[error("{0} is malformed and left out")]
    Malformed(&'static str),
    /// The manifest declares another number than it lists. `what` is `series` or `instances`.
    #[error("{declared} {what} are declared, {listed} are listed")]
    CountDiffers {
        /// What was counted.
        what: &'static str,
        /// The number declared.
        declared: u32,
        /// The number listed.
        listed: u32,
    },
    /// A series declares more instances than it lists. Those are missing from every answer.
    #[error(
        "series {series} has {unlisted} instances that are declared and not listed: they are missing from what is retrieved"
    )]
    Unlisted {
        /// The series.
        series: SeriesInstanceUid,
        /// How many are not listed.
        unlisted: usize,
    },
    /// A series has neither a Retrieve Location UID nor a Retrieve URL that could be read.
    #[error("series {0} has no location")]
    NoLocation(SeriesInstanceUid),
    /// A Retrieve Location UID is no OID.
    #[error("the Retrieve Location UID {0} is no OID")]
    OpaqueLocation(Box<str>),
    /// An OID starts with an arc that nobody can register.
    #[error("the OID {0} starts with an arc that nobody can register")]
    UnregistrableOid(Box<str>),
    /// A Retrieve URL names another study or series than the one it stands at, and is ignored.
    #[error("the Retrieve URL of series {0} names something else and is ignored")]
    ForeignRetrieveUrl(SeriesInstanceUid),
    /// The same instance is listed more than once; once is kept. How often it was left out.
    #[error("{0} instances are listed more than once")]
    Duplicates(u32),
    /// Entries for one study name different patients: the study is shown without a patient.
    #[error("study {0} is listed with different patients and is shown without one")]
    PatientsDiffer(StudyInstanceUid),
    /// The manifest uses temporary or draft codes.
    #[error("temporary or draft codes are used")]
    OldCodes,
    /// A reference in the Bundle leads nowhere.
    #[error("the reference to {0} leads nowhere")]
    UnresolvedReference(&'static str),
}
