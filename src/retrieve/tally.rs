//! The counters of one source.

use prometheus::IntCounter;

use crate::body::End;
use crate::instance::Instance;
use crate::metrics::Metrics;
use crate::source::Source;

#[derive(Clone)]
pub(crate) struct Tally {
    pub(crate) fetched_instances: IntCounter,
    pub(crate) fetched_bytes: IntCounter,
    pub(crate) trailing_bytes: IntCounter,
    delivered_instances: IntCounter,
}

impl Tally {
    pub(crate) fn of(source: &Source, metrics: &Metrics) -> Self {
        let alias = &[&*source.alias];
        Self {
            fetched_instances: metrics.fetched_instances.with_label_values(alias),
            fetched_bytes: metrics.fetched_bytes.with_label_values(alias),
            trailing_bytes: metrics.trailing_bytes.with_label_values(alias),
            delivered_instances: metrics.delivered_instances.with_label_values(alias),
        }
    }

    /// Wraps an instance so that it counts as delivered once its body has been read to the end.
    pub(crate) fn delivering(&self, mut instance: Instance) -> Instance {
        let delivered = self.delivered_instances.clone();
        instance.body = instance.body.watched(
            |_bytes| {},
            move |_bytes, end| {
                if end == End::Complete {
                    delivered.inc();
                }
            },
        );
        instance
    }
}
