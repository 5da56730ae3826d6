//! Instances of an answer that are not delivered.

use crate::retrieve::Retriever;
use crate::source::Source;

/// Instances of an answer that were not delivered, counted by reason.
#[derive(Debug, Default)]
pub(super) struct SkippedInstances {
    pub(super) unidentified: u64,
    pub(super) not_selected: u64,
    pub(super) duplicate: u64,
    pub(super) conflicting: u64,
    pub(super) not_whole: u64,
}

impl SkippedInstances {
    /// Counts them, and logs one line for all of them.
    pub(super) fn report(&self, source: &Source, retriever: &Retriever) {
        let location = &*source.alias;
        let Self {
            unidentified,
            not_selected,
            duplicate,
            conflicting,
            not_whole,
        } = *self;
        let counts = [
            ("unidentified", unidentified),
            ("not_selected", not_selected),
            ("duplicate", duplicate),
            ("conflicting", conflicting),
            ("not_whole", not_whole),
        ];
        for (outcome, count) in counts {
            if count > 0 {
                let metric = &retriever.metrics.dropped_instances;
                metric.with_label_values(&[location, outcome]).inc_by(count);
            }
        }
        if counts.iter().any(|(_, count)| *count > 0) {
            tracing::warn!(
                location,
                unidentified,
                not_selected,
                duplicate,
                conflicting,
                not_whole,
                "a source sent instances that were not delivered"
            );
        }
    }
}
