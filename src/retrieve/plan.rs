//! A plan, which holds the instances to retrieve and their sources, and the retrieval that it
//! becomes.

use std::sync::Arc;

use crate::dicom::SopInstanceUid;
use crate::hop::Hop;
use crate::instance::{Instance, Instances, LeftOut, Listing};
use crate::resource::Target;
use crate::source::Source;

use super::PatientCheck;

/// The instances to fetch for one answer, and their sources.
#[derive(Debug)]
pub struct Plan {
    /// The request that the plan serves.
    pub hop: Arc<Hop>,
    /// One for each series.
    pub jobs: Vec<Job>,
    /// Selected instances that no configured source holds, or that the manifest declares without
    /// listing them.
    pub not_locatable: usize,
}

/// The selected part of one series, and its source.
#[derive(Debug, Clone)]
pub struct Job {
    /// The source that holds the series.
    pub source: Arc<Source>,
    /// The instances that the manifest lists.
    pub listing: Arc<Listing>,
    /// The one selected instance; `None` for all.
    pub only: Option<SopInstanceUid>,
    /// The patient that its instances must be of.
    pub patient: Option<Arc<PatientCheck>>,
}

/// A request for all instances of a target that one source holds, without a manifest.
#[derive(Debug)]
pub struct RelayRequest {
    /// The request that the relay serves.
    pub hop: Arc<Hop>,
    /// The source that holds the target.
    pub source: Arc<Source>,
    /// The requested target.
    pub target: Target,
    /// The patient for whom the study is registered here.
    pub patient: Option<Arc<PatientCheck>>,
}

/// An answer that has begun.
#[derive(Debug)]
pub struct Retrieval {
    /// The instances. If the stream ends without an error, all but the missing ones were in it.
    pub instances: Instances,
    /// The instances known to be missing.
    pub missing: Missing,
    /// Whether the cache serves everything, without a request to a source.
    pub is_kept: bool,
    /// Instances at the front that could not be read or decoded.
    pub left_out: LeftOut,
}

/// The instances known to be missing before the first byte of an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Missing {
    /// Nothing.
    Nothing,
    /// Some of the selected instances.
    Some {
        /// The number of missing instances.
        missing: usize,
        /// The number of selected instances.
        selected: usize,
    },
    /// The source declares its answer partial, without saying how much is missing.
    SourceSaysSome,
}

impl Missing {
    /// Their number, at least.
    #[must_use]
    pub fn count(self) -> usize {
        match self {
            Self::Nothing => 0,
            Self::Some { missing, .. } => missing,
            Self::SourceSaysSome => 1,
        }
    }
}

impl Plan {
    /// An empty plan.
    #[must_use]
    pub fn new(hop: Arc<Hop>) -> Self {
        Self {
            hop,
            jobs: Vec::new(),
            not_locatable: 0,
        }
    }

    /// The instances known to be missing before any source is asked.
    #[must_use]
    pub fn missing(&self) -> Missing {
        match self.not_locatable {
            0 => Missing::Nothing,
            missing => Missing::Some {
                missing,
                selected: missing + self.count(),
            },
        }
    }

    /// The same, for instances of one patient.
    #[must_use]
    pub fn of_patient(mut self, patient: &Arc<PatientCheck>) -> Self {
        for job in &mut self.jobs {
            job.patient = Some(Arc::clone(patient));
        }
        self
    }

    /// The number of instances that its jobs select.
    #[must_use]
    pub fn count(&self) -> usize {
        self.jobs.iter().map(Job::count).sum()
    }
}

impl Retrieval {
    /// An answer of one cached instance.
    pub(super) fn of(instance: Instance) -> Self {
        Self {
            instances: Instances::of(instance),
            missing: Missing::Nothing,
            is_kept: true,
            left_out: LeftOut::default(),
        }
    }
}

impl Job {
    /// The number of selected instances.
    #[must_use]
    pub fn count(&self) -> usize {
        match self.only {
            Some(_) => 1,
            None => self.listing.instances.len(),
        }
    }
}
