//! Instances that a source is known to lack, remembered for a while.
//!
//! A series shows that its source lacks an instance only at the end of the answer. The first
//! response is therefore aborted; with this memory the next response can state from its first byte
//! that it is partial.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use moka::ops::compute::Op;
use moka::sync::Cache;

use crate::dicom::{SeriesInstanceUid, SopInstanceUid};
use crate::source::{Representation, Source};

const MOST_SERIES: u64 = 10_000;
/// The most absent instances remembered for one series; a source that lacks more holds different
/// data.
const MOST_OF_A_SERIES: usize = 1_000;

/// Instances and series that sources are known to lack.
#[derive(Debug, Clone)]
pub struct Absences(Cache<Key, Arc<Absent>>);

pub(super) type Key = (Arc<str>, SeriesInstanceUid);

/// The instances that a source lacks of one series.
#[derive(Debug, Clone, Default)]
pub(super) struct Absent {
    /// The source lacks the whole series.
    pub(super) series: bool,
    /// The missing instances, each with the representation that was requested.
    pub(super) instances: HashSet<(SopInstanceUid, Representation)>,
}

impl Absences {
    /// An empty memory, which forgets each entry after `lifetime`.
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
        self.change(key(source, series), |absent| absent.series = true);
    }

    pub(super) fn remember(
        &self,
        source: &Source,
        series: &SeriesInstanceUid,
        instance: &SopInstanceUid,
        form: Representation,
    ) {
        self.remember_at(key(source, series), instance, form);
    }

    /// Remembers that an instance cannot be converted: it may still be available as stored.
    pub(super) fn remember_unconvertible(
        &self,
        source: &Source,
        series: &SeriesInstanceUid,
        instance: &SopInstanceUid,
    ) {
        self.remember(
            source,
            series,
            instance,
            Representation::ExplicitVrLittleEndian,
        );
    }

    /// Remembers an instance of a series under a name of its own.
    pub(super) fn remember_at(&self, name: Key, instance: &SopInstanceUid, form: Representation) {
        self.change(name, |absent| {
            if absent.instances.len() < MOST_OF_A_SERIES {
                absent.instances.insert((instance.clone(), form));
            }
        });
    }

    fn change(&self, name: Key, change: impl FnOnce(&mut Absent)) {
        self.0.entry(name).and_compute_with(|known| {
            let known = known.map(|entry| Absent::clone(entry.value()));
            let mut absent = known.unwrap_or_default();
            change(&mut absent);
            Op::Put(Arc::new(absent))
        });
    }

    pub(super) fn of(&self, source: &Source, series: &SeriesInstanceUid) -> Option<Arc<Absent>> {
        self.at(&key(source, series))
    }

    pub(super) fn at(&self, name: &Key) -> Option<Arc<Absent>> {
        self.0.get(name)
    }
}

fn key(source: &Source, series: &SeriesInstanceUid) -> Key {
    (source.key(), series.clone())
}
