//! The engine between what a manifest selects and who asked: it fetches the planned instances from
//! their sources at the same time and gives them on in the order in which they arrive.
//!
//! What is known to be missing before the first instance is given on is said so; what turns out to
//! be missing later ends the stream with an error. What is kept is given from there; what is not is
//! asked of its source once for everybody who waits for it.

mod absence;
mod ahead;
mod answer;
mod crossing;
mod kept;
mod learned;
mod on_disk;
mod pass_through;
mod plan;
mod repair;
mod tally;
mod turn;

use std::time::Duration;

use serde::Deserialize;

pub use absence::Absences;
pub use pass_through::Forwarded;
pub use plan::{Job, Missing, Plan, RelayRequest, Retrieval};

use crate::cache::Cache;
use crate::dicom::part10::Identity;
use crate::metrics::Metrics;
use crate::resource::Target;
use crate::source::{self, Source};
use ahead::Ahead;
use crossing::Crossings;
use learned::SourceTraits;

/// Chunks of what is passed on unseen that are read ahead of a slow client.
pub const CHUNKS_AHEAD: usize = 2;

/// Bounds on retrieval.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Settings {
    /// Series of one answer that are fetched from one location at the same time.
    pub series_at_once: usize,
    /// Seconds for which a client may read nothing before its answer is given up.
    pub client_silence_seconds: u64,
    /// Seconds for which it is tried to fetch an instance again that broke off, while none of its
    /// bytes comes.
    pub repair_seconds: u64,
    /// Answers that one client may have under way; 0: any number.
    pub streams_per_client: usize,
    /// Answers that are fetched from all sources at the same time.
    pub fetches: usize,
    /// Seconds for which it is remembered that a source does not have an instance.
    pub absence_seconds: u64,
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
        }
    }
}

/// Why nothing can be given.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// No configured source holds any of it.
    #[error("no configured source holds it")]
    NotLocatable,
    /// The source, or the most telling of several.
    #[error(transparent)]
    Source(#[from] source::Error),
}

/// Fetches what plans say.
#[derive(Debug, Clone)]
pub struct Retriever {
    settings: Settings,
    metrics: Metrics,
    cache: Cache,
    absences: Absences,
    crossings: Crossings,
    ahead: Ahead,
    traits: SourceTraits,
}

impl Retriever {
    /// A retriever with nothing under way, that keeps what it fetches in `cache`.
    #[must_use]
    pub fn new(settings: Settings, cache: Cache, metrics: Metrics) -> Self {
        let (mode, bytes) = cache.look_ahead();
        let absences = Absences::new(Duration::from_secs(settings.absence_seconds));
        let crossings = Crossings::new(settings.fetches);
        Self {
            settings,
            metrics,
            cache,
            absences,
            crossings,
            ahead: Ahead::new(mode, bytes),
            traits: SourceTraits::new(),
        }
    }

    /// What is kept.
    #[must_use]
    pub fn cache(&self) -> &Cache {
        &self.cache
    }

    /// Answers that one client may have under way; 0: any number.
    #[must_use]
    pub fn streams_per_client(&self) -> usize {
        self.settings.streams_per_client
    }

    /// For how long a client may take nothing of its answer.
    #[must_use]
    pub fn client_silence(&self) -> Duration {
        Duration::from_secs(self.settings.client_silence_seconds)
    }

    /// Tells the metrics how many instances a source offers, if it knows.
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

/// Whether an instance is what was asked for, by its own bytes.
fn is_of(identity: &Identity, target: &Target) -> bool {
    match target {
        Target::Study(study) => identity.study == *study,
        Target::Series(study, series) => identity.study == *study && identity.series == *series,
        Target::Instance(..) => identity.target() == *target,
    }
}
