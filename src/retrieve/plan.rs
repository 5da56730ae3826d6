//! A plan: the instances to retrieve, and their sources; and the retrieval that it becomes.

use std::sync::Arc;

use crate::dicom::SopInstanceUid;
use crate::hop::Hop;
use crate::instance::{Instance, Instances, Listing};
use crate::resource::Target;
use crate::source::Source;

/// What to fetch from where, for one answer.
#[derive(Debug)]
pub struct Plan {
    /// The request that this is done for.
    pub hop: Arc<Hop>,
    /// One for each series.
    pub jobs: Vec<Job>,
    /// Instances that are selected and that no configured source holds, or that the manifest declares
    /// without listing them.
    pub not_locatable: usize,
}

/// The selected part of one series, and its source.
#[derive(Debug, Clone)]
pub struct Job {
    /// Where it is.
    pub source: Arc<Source>,
    /// What the manifest lists.
    pub listing: Arc<Listing>,
    /// One instance of it; `None` for all.
    pub only: Option<SopInstanceUid>,
}

/// Everything that one source has of a target, without a manifest that says what that is.
#[derive(Debug)]
pub struct RelayRequest {
    /// The request that this is done for.
    pub hop: Arc<Hop>,
    /// Who has it.
    pub source: Arc<Source>,
    /// What is asked for.
    pub target: Target,
}

/// An answer that has begun.
#[derive(Debug)]
pub struct Retrieval {
    /// The instances. If the stream ends without an error, all but the missing ones were in it.
    pub instances: Instances,
    /// What is known not to come.
    pub missing: Missing,
    /// Whether no source had to be asked.
    pub is_kept: bool,
}

/// What is known not to come, before the first byte of an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Missing {
    /// Nothing.
    Nothing,
    /// So many of those that are selected.
    Some {
        /// How many do not come.
        missing: usize,
        /// How many are selected.
        selected: usize,
    },
    /// The source says that it does not give everything, and not how much that is.
    SourceSaysSome,
}

impl Plan {
    /// Nothing yet.
    #[must_use]
    pub fn new(hop: Arc<Hop>) -> Self {
        Self {
            hop,
            jobs: Vec::new(),
            not_locatable: 0,
        }
    }

    /// What is known to be missing before any source is asked.
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

    /// How many instances its jobs select.
    #[must_use]
    pub fn count(&self) -> usize {
        self.jobs.iter().map(Job::count).sum()
    }
}

impl Retrieval {
    /// An answer of one instance that is here.
    pub(super) fn of(instance: Instance) -> Self {
        Self {
            instances: Instances::of(instance),
            missing: Missing::Nothing,
            is_kept: true,
        }
    }
}

impl Job {
    /// How many instances it selects.
    #[must_use]
    pub fn count(&self) -> usize {
        match self.only {
            Some(_) => 1,
            None => self.listing.instances.len(),
        }
    }
}
