//! The retrieval engine: it fetches the planned instances from their sources in parallel and
//! delivers them in the order of arrival.
//!
//! Instances known to be missing before the first delivery are reported in the head of the
//! response; instances found missing later end the stream with an error. Cached instances are
//! delivered from the cache; each of the others is requested once and shared by all waiting
//! clients.

mod absence;
mod ahead;
mod answer;
mod crossing;
mod kept;
mod learned;
mod offers;
mod on_disk;
mod pass_through;
mod patient;
mod plan;
mod repair;
mod tally;
mod turn;

use std::ops::Deref;
use std::sync::Arc;
use std::time::Duration;

use serde::Deserialize;

pub use absence::Absences;
pub use offers::Offering;
pub use pass_through::Forwarded;
pub use patient::{PatientCheck, PatientPolicy};
pub use plan::{Job, Missing, Plan, RelayRequest, Retrieval};

use crate::cache::Cache;
use crate::dicom::SopInstanceUid;
use crate::dicom::part10::Identity;
use crate::instance::Listing;
use crate::metrics::Metrics;
use crate::resource::Target;
use crate::source::{self, Source};
use ahead::Ahead;
use crossing::Crossings;
use learned::SourceTraits;
use offers::SourceOffers;

/// Limits on retrieval.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Settings {
    /// Series of one answer that are fetched in parallel from one location.
    pub series_at_once: usize,
    /// Seconds without a read by the client before its answer is aborted.
    pub client_silence_seconds: u64,
    /// Seconds without a byte before the repair of a broken instance stops.
    pub repair_seconds: u64,
    /// Concurrent answers per client; 0: unlimited.
    pub streams_per_client: usize,
    /// Concurrent fetches from all sources together.
    pub fetches: usize,
    /// Seconds for which the gateway remembers that a source lacks an instance.
    pub absence_seconds: u64,
    /// What happens to an instance of another patient than the manifest's.
    pub patient_mismatch: PatientPolicy,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            series_at_once: 2,
            client_silence_seconds: 300,
            repair_seconds: 20,
            streams_per_client: 256,
            fetches: 1024,
            absence_seconds: 60,
            patient_mismatch: PatientPolicy::ByCertainty,
        }
    }
}

/// Why there is no instance to deliver.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// No configured source holds any of the selected instances.
    #[error("no configured source holds it")]
    NotLocatable,
    /// The source failed; of several failures, the most informative one.
    #[error(transparent)]
    Source(#[from] source::Error),
}

/// Executes retrieval plans: a cheap handle.
#[derive(Debug, Clone)]
pub struct Retriever(Arc<Components>);

/// The components of a retriever.
#[derive(Debug)]
pub struct Components {
    settings: Settings,
    metrics: Metrics,
    cache: Cache,
    absences: Absences,
    /// Instances of other patients: those refused, and those delivered with a warning.
    refusals: Absences,
    doubts: Absences,
    crossings: Crossings,
    ahead: Ahead,
    traits: SourceTraits,
    offers: SourceOffers,
}

impl Deref for Retriever {
    type Target = Components;

    fn deref(&self) -> &Components {
        &self.0
    }
}

impl Retriever {
    /// An idle retriever that stores fetched instances in `cache`.
    #[must_use]
    pub fn new(settings: Settings, cache: Cache, metrics: Metrics) -> Self {
        let (mode, bytes) = cache.look_ahead();
        let [absences, refusals, doubts] =
            [(); 3].map(|()| Absences::new(Duration::from_secs(settings.absence_seconds)));
        let crossings = Crossings::new(settings.fetches);
        Self(Arc::new(Components {
            settings,
            metrics,
            cache,
            absences,
            refusals,
            doubts,
            crossings,
            ahead: Ahead::new(mode, bytes),
            traits: SourceTraits::new(),
            offers: SourceOffers::new(),
        }))
    }

    /// The cache of fetched instances.
    #[must_use]
    pub fn cache(&self) -> &Cache {
        &self.cache
    }

    /// Concurrent answers per client; 0: unlimited.
    #[must_use]
    pub fn streams_per_client(&self) -> usize {
        self.settings.streams_per_client
    }

    /// The longest time that a client may read nothing of its answer.
    #[must_use]
    pub fn client_silence(&self) -> Duration {
        Duration::from_secs(self.settings.client_silence_seconds)
    }

    /// Notes that an instance turned out not to be convertible after its part of an answer had
    /// begun: for a while, answers state that from their head.
    pub fn note_unconvertible(&self, source: &Source, listing: &Listing, uid: &SopInstanceUid) {
        let series = &listing.series;
        self.absences.remember_unconvertible(source, series, uid);
    }

    /// Updates the metric of how many instances a source offers, if the source knows.
    pub fn count_instances(&self, source: &Source) {
        if let Some(count) = source.instances() {
            let count = count.try_into().unwrap_or(i64::MAX);
            let alias = &*source.alias;
            self.metrics
                .folder_instances
                .with_label_values(&[alias])
                .set(count);
        }
    }
}

/// Whether an instance belongs to the requested target, by the UIDs in its own data set.
fn is_of(identity: &Identity, target: &Target) -> bool {
    match target {
        Target::Study(study) => identity.study == *study,
        Target::Series(study, series) => identity.study == *study && identity.series == *series,
        Target::Instance(..) => identity.target() == *target,
    }
}
