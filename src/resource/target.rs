//! A study, a series or an instance as the target of a request (PS3.18 10.4.1.1.1).

use crate::dicom::{SeriesInstanceUid, SopInstanceUid, StudyInstanceUid};

/// The target of a request: the resources of *Retrieve Instances* (PS3.18 10.4).
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Target {
    /// `studies/{study}`.
    Study(StudyInstanceUid),
    /// `studies/{study}/series/{series}`.
    Series(StudyInstanceUid, SeriesInstanceUid),
    /// `studies/{study}/series/{series}/instances/{instance}`.
    Instance(StudyInstanceUid, SeriesInstanceUid, SopInstanceUid),
}

impl Target {
    /// The study that it is or is in.
    #[must_use]
    pub fn study(&self) -> &StudyInstanceUid {
        match self {
            Self::Study(study) | Self::Series(study, _) | Self::Instance(study, _, _) => study,
        }
    }

    /// The path of the resource below a DICOMweb root. UIDs need no escaping.
    #[must_use]
    pub fn path(&self) -> String {
        match self {
            Self::Study(study) => format!("studies/{study}"),
            Self::Series(study, series) => format!("studies/{study}/series/{series}"),
            Self::Instance(study, series, instance) => {
                format!("studies/{study}/series/{series}/instances/{instance}")
            }
        }
    }
}
