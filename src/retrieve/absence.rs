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

type Key = (Arc<str>, SeriesInstanceUid);

/// What a source does not give of one series.
#[derive(Debug, Clone, Default)]
pub(super) struct Absent {
    /// It does not have the series at all.
    pub(super) series: bool,
    /// Instances it does not give, and in which form not.
    pub(super) instances: HashSet<(SopInstanceUid, Representation)>,
}

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

    pub(super) fn remember_series(&self, source: &Source, series: &SeriesInstanceUid) {
        self.change(source, series, |absent| absent.series = true);
    }

    pub(super) fn remember(
        &self,
        source: &Source,
        series: &SeriesInstanceUid,
        instance: &SopInstanceUid,
        form: Representation,
    ) {
        self.change(source, series, |absent| {
            if absent.instances.len() < MOST_OF_A_SERIES {
                absent.instances.insert((instance.clone(), form));
            }
        });
    }

    fn change(
        &self,
        source: &Source,
        series: &SeriesInstanceUid,
        change: impl FnOnce(&mut Absent),
    ) {
        self.0.entry(key(source, series)).and_compute_with(|known| {
            let known = known.map(|entry| Absent::clone(entry.value()));
            let mut absent = known.unwrap_or_default();
            change(&mut absent);
            Op::Put(Arc::new(absent))
        });
    }

    pub(super) fn of(&self, source: &Source, series: &SeriesInstanceUid) -> Option<Arc<Absent>> {
        self.0.get(&key(source, series))
    }
}

fn key(source: &Source, series: &SeriesInstanceUid) -> Key {
    (source.key(), series.clone())
}
