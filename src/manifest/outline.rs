//! What is known of a study without reading the manifests that list it.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::model::{Patient, Study};
use crate::dicom::StudyInstanceUid;

/// A study without its series. All of it but the UID and the numbers is patient data.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Outline {
    /// Study Instance UID.
    pub uid: StudyInstanceUid,
    /// Whose study it is.
    pub patient: Arc<Patient>,
    /// `YYYYMMDD`.
    pub date: Option<Box<str>>,
    /// `HHMMSS.FFFFFF`.
    pub time: Option<Box<str>>,
    /// Offset from UTC that dates and times are in.
    pub timezone: Option<Box<str>>,
    /// Study Description.
    pub description: Option<Box<str>>,
    /// The accession number, where there is one and only one.
    pub accession: Option<Box<str>>,
    /// Modalities in the study.
    pub modalities: Vec<Box<str>>,
    /// How many series are listed.
    pub series: usize,
    /// How many instances are listed or declared.
    pub instances: usize,
}

impl Outline {
    /// What is known of a study.
    #[must_use]
    pub fn of(study: &Study) -> Self {
        let series = study.series.iter();
        // A study of several orders has no one accession number.
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
