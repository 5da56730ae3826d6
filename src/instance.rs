//! The stream of instances that everything revolves around.

use std::collections::HashMap;

use tokio::sync::mpsc;

use crate::body::{self, Body};
use crate::dicom::part10::Identity;
use crate::dicom::{SeriesInstanceUid, SopInstanceUid, StudyInstanceUid};

/// What may be asked for: the resources of *Retrieve Instances* (PS3.18 10.4).
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Target {
    /// `studies/{study}`.
    Study(StudyInstanceUid),
    /// `studies/{study}/series/{series}`.
    Series(StudyInstanceUid, SeriesInstanceUid),
    /// `studies/{study}/series/{series}/instances/{instance}`.
    Instance(StudyInstanceUid, SeriesInstanceUid, SopInstanceUid),
}

/// The instances that a manifest lists for one series.
#[derive(Debug, PartialEq, Eq)]
pub struct Listing {
    /// The study.
    pub study: StudyInstanceUid,
    /// The series.
    pub series: SeriesInstanceUid,
    /// Its instances, numbered from 0.
    pub instances: HashMap<SopInstanceUid, usize>,
}

impl Target {
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

impl Listing {
    /// The number of an instance, if its bytes say that it is of this series and it is listed.
    #[must_use]
    pub fn number(&self, identity: &Identity) -> Option<usize> {
        let is_here = identity.study == self.study && identity.series == self.series;
        is_here
            .then(|| self.instances.get(&identity.sop_instance).copied())
            .flatten()
    }
}

/// One SOP instance, as a handle whose bytes are arriving.
#[derive(Debug)]
pub struct Instance {
    /// Which instance it is, read from its own bytes.
    pub identity: Identity,
    /// The Part 10 file.
    pub body: Body,
}

/// Instances in the order in which they arrive. It ends after the last one, or fails.
#[derive(Debug)]
pub struct Instances {
    arriving: mpsc::Receiver<Result<Instance, body::Error>>,
    /// How many are still to come.
    promised: usize,
}

impl Instances {
    /// A stream of what is sent into the channel, which must be `promised` instances.
    #[must_use]
    pub fn new(arriving: mpsc::Receiver<Result<Instance, body::Error>>, promised: usize) -> Self {
        Self { arriving, promised }
    }

    /// The next instance; `None` after the last. Earlier ones need not have been read to their
    /// end, but may be what the source is still sending.
    ///
    /// # Errors
    /// Why the stream is not whole; [`body::Error::Missing`] if it ends before its promise is kept.
    pub async fn next(&mut self) -> Result<Option<Instance>, body::Error> {
        match self.arriving.recv().await {
            Some(Ok(instance)) => {
                self.promised = self.promised.saturating_sub(1);
                Ok(Some(instance))
            }
            Some(Err(error)) => Err(error),
            None if self.promised == 0 => Ok(None),
            None => Err(body::Error::Missing(self.promised)),
        }
    }
}
