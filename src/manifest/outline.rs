//! The outline of a study, available without reading the manifests that list it.

use std::fmt;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::model::{Accession, Code, Patient, Study};
use crate::dicom::StudyInstanceUid;

/// The limit for identifiers, accession numbers and codes of a study. A gateway holds the outlines
/// of all studies in memory.
const LONGEST_LIST: usize = 16;

/// A study without its series. Everything except the UID and the counts is patient data.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Outline {
    /// Study Instance UID.
    pub uid: StudyInstanceUid,
    /// The patient.
    pub patient: Arc<Patient>,
    /// `YYYYMMDD`.
    pub date: Option<Box<str>>,
    /// `HHMMSS.FFFFFF`.
    pub time: Option<Box<str>>,
    /// Offset from UTC that dates and times are in.
    pub timezone: Option<Box<str>>,
    /// Study Description.
    pub description: Option<Box<str>>,
    /// Accession numbers.
    #[serde(default)]
    pub accessions: Vec<Accession>,
    /// The name of the referring physician.
    #[serde(default)]
    pub referring_physician: Option<Box<str>>,
    /// Study ID.
    #[serde(default)]
    pub study_id: Option<Box<str>>,
    /// Procedure codes.
    #[serde(default)]
    pub procedures: Vec<Code>,
    /// Anatomical regions.
    #[serde(default)]
    pub regions: Vec<Code>,
    /// Modalities in the study.
    pub modalities: Vec<Box<str>>,
    /// The number of listed series.
    pub series: usize,
    /// The number of listed or declared instances.
    pub instances: usize,
}

impl Outline {
    /// The outline of a study.
    #[must_use]
    pub fn of(study: &Study) -> Self {
        let series = study.series.iter();
        Self {
            uid: study.uid.clone(),
            patient: patient(&study.patient),
            date: study.date.clone(),
            time: study.time.clone(),
            timezone: study.timezone.clone(),
            description: study.description.clone(),
            accessions: first(&study.accessions),
            referring_physician: study.referring_physician.clone(),
            study_id: study.study_id.clone(),
            procedures: first(&study.procedures),
            regions: first(&study.regions),
            modalities: study.modalities.clone(),
            series: study.series.len(),
            instances: series
                .map(|series| series.instances.len() + series.unlisted())
                .sum(),
        }
    }
}

fn first<T: Clone>(list: &[T]) -> Vec<T> {
    list.iter().take(LONGEST_LIST).cloned().collect()
}

fn patient(patient: &Arc<Patient>) -> Arc<Patient> {
    if patient.ids.len() <= LONGEST_LIST {
        return Arc::clone(patient);
    }
    Arc::new(Patient {
        ids: first(&patient.ids),
        ..(**patient).clone()
    })
}

/// An outline in few bytes. A gateway holds one for each registered study: a quarter of the memory
/// of an [`Outline`], whose texts are allocated one by one.
#[derive(Clone)]
pub struct PackedOutline(Arc<[u8]>);

impl PackedOutline {
    /// Packs an outline.
    #[must_use]
    pub fn of(outline: &Outline) -> Self {
        let bytes = postcard::to_allocvec(outline).expect("texts and numbers have a length");
        Self(bytes.into())
    }

    /// The outline.
    #[must_use]
    pub fn unpack(&self) -> Outline {
        postcard::from_bytes(&self.0).expect("this process has packed it")
    }
}

// Patient data.
impl fmt::Debug for PackedOutline {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("PackedOutline(…)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::manifest::PatientId;

    #[test]
    fn a_packed_outline_of_a_full_manifest_takes_half_a_kibibyte() {
        let issuer: Box<str> = "1.2.276.0.76.3.1.99.1".into();
        let id = |value: &str| PatientId {
            value: value.into(),
            issuer: Some(issuer.clone()),
        };
        let accession = |value: &str| Accession {
            value: value.into(),
            issuer: Some(issuer.clone()),
        };
        let code = |value: &str, meaning: &str| Code {
            value: value.into(),
            scheme: Some("SCT".into()),
            meaning: Some(meaning.into()),
        };
        let outline = Outline {
            uid: StudyInstanceUid::parse("2.25.290256853627840156159700429540135593590")
                .expect("a uid"),
            patient: Arc::new(Patient {
                ids: vec![id("PID-0123456789"), id("NAT-0123456789")],
                name: Some("Mustermann^Maria Magdalena^^Dr".into()),
                birth_date: Some("19701231".into()),
                sex: Some("F".into()),
            }),
            date: Some("20260314".into()),
            time: Some("101500.123456".into()),
            timezone: Some("+0100".into()),
            description: Some("CT Thorax und Abdomen mit Kontrastmittel".into()),
            accessions: vec![accession("8529258169397744"), accession("9426932401715315")],
            referring_physician: Some("Mustermann^Max^^Prof".into()),
            study_id: Some("0123456789".into()),
            procedures: vec![code("RPID16", "CT Chest")],
            regions: vec![
                code("67734004", "Upper trunk"),
                code("774007", "Head and neck"),
            ],
            modalities: ["CT", "US", "KO", "SR"].map(Into::into).into(),
            series: 12,
            instances: 3000,
        };
        let packed = PackedOutline::of(&outline);
        assert!(packed.0.len() <= 512, "{} bytes", packed.0.len());
    }
}
