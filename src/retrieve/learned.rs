//! What has been learned of a source for a while: whether what it gives may be kept, and whether it
//! can say that something has not changed, and whether it gives more than one instance at a time.

use std::sync::Arc;
use std::time::Duration;

use moka::sync::Cache as Recent;

use crate::source::Source;

const REMEMBERED: Duration = Duration::from_secs(60 * 60);
const MOST: u64 = 10_000;

/// How sources have behaved.
#[derive(Debug, Clone)]
pub(super) struct SourceTraits(Recent<(Arc<str>, SourceTrait), ()>);

/// A way in which a source behaves.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum SourceTrait {
    /// It wants nothing of it kept (`Cache-Control: no-store`).
    NoStore,
    /// It sends everything again when it is asked whether something has changed.
    NoRevalidation,
    /// It gives single instances, and neither series nor studies.
    InstancesOnly,
}

impl SourceTraits {
    pub(super) fn new() -> Self {
        let recent = Recent::builder().max_capacity(MOST);
        Self(recent.time_to_live(REMEMBERED).build())
    }

    pub(super) fn learn(&self, source: &Source, manner: SourceTrait) {
        self.0.insert((source.key(), manner), ());
    }

    pub(super) fn has(&self, source: &Source, manner: SourceTrait) -> bool {
        self.0.contains_key(&(source.key(), manner))
    }
}
