//! The counters of one source.

use std::ops::Deref;
use std::sync::Arc;

use crate::body::End;
use crate::instance::Instance;
use crate::metrics::{Metrics, SourceMetrics};
use crate::source::Source;

#[derive(Clone)]
pub(crate) struct Tally(Arc<SourceMetrics>);

impl Tally {
    pub(crate) fn of(source: &Source, metrics: &Metrics) -> Self {
        Self(metrics.of_source(&source.alias))
    }

    /// Wraps an instance so that it counts as delivered once its body has been read to the end.
    pub(crate) fn delivering(&self, mut instance: Instance) -> Instance {
        let metrics = Arc::clone(&self.0);
        instance.body = instance.body.watched(
            |_bytes| {},
            move |_bytes, end| {
                if end == End::Complete {
                    metrics.delivered_instances.inc();
                }
            },
        );
        instance
    }
}

impl Deref for Tally {
    type Target = SourceMetrics;

    fn deref(&self) -> &SourceMetrics {
        &self.0
    }
}
