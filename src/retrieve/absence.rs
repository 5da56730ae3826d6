//! What a source said it does not have, remembered for a while.
//!
//! A series that lacks an instance at its source cannot be known to lack it until it has streamed
//! past. The first answer then ends uncleanly; with this memory the next one can say from its
//! first byte that it is partial.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use moka::ops::compute::Op;
use moka::sync::Cache;

use crate::dicom::{SeriesInstanceUid, SopInstanceUid};
use crate::source::{Representation, Source};

const MOST_SERIES: u64 = 10_000;
/// More than this of one series is not worth remembering: the source has something else.
const MOST_OF_A_SERIES: usize = 1_000;

/// Instances that sources definitely do not give.
#[derive(Debug, Clone)]
pub struct Absences(Cache<Key, Arc<Absent>>);

type Key = (Box<str>, SeriesInstanceUid);

/// What a source does not give of one series.
pub(super) type Absent = HashSet<(SopInstanceUid, Representation)>;

impl Absences {
    /// Nothing is absent yet; what will be is forgotten after `lifetime`.
    #[must_use]
    pub fn new(lifetime: Duration) -> Self {
        Self(
            Cache::builder()
                .max_capacity(MOST_SERIES)
                .time_to_live(lifetime)
                .build(),
        )
    }

    pub(super) fn remember(
        &self,
        source: &Source,
        series: &SeriesInstanceUid,
        instances: &[SopInstanceUid],
        form: Representation,
    ) {
        self.0.entry(key(source, series)).and_compute_with(|known| {
            let mut absent = known
                .map(|entry| Absent::clone(entry.value()))
                .unwrap_or_default();
            let room = MOST_OF_A_SERIES.saturating_sub(absent.len());
            absent.extend(instances.iter().take(room).map(|uid| (uid.clone(), form)));
            Op::Put(Arc::new(absent))
        });
    }

    pub(super) fn of(&self, source: &Source, series: &SeriesInstanceUid) -> Option<Arc<Absent>> {
        self.0.get(&key(source, series))
    }
}

fn key(source: &Source, series: &SeriesInstanceUid) -> Key {
    (source.alias.as_str().into(), series.clone())
}
