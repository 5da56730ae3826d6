//! The outline of a study, available without reading the manifests that list it.

use std::fmt;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::model::{Patient, Study};
use crate::dicom::StudyInstanceUid;

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
    /// The accession number, if there is exactly one.
    pub accession: Option<Box<str>>,
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
        // A study of several orders does not have a single accession number.
        let accession = match study.accessions.as_slice() {
            [accession] => Some(accession.value.clone()),
            _ => None,
        };
        Self {
            uid: study.uid.clone(),
            patient: Arc::clone(&study.patient),
            date: study.date.clone(),
            time: study.time.clone(),
            timezone: study.timezone.clone(),
            description: study.description.clone(),
            accession,
            modalities: study.modalities.clone(),
            series: study.series.len(),
            instances: series
                .map(|series| series.instances.len() + series.unlisted())
                .sum(),
        }
    }
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
