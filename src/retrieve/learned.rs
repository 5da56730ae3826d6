//! Traits of a source that are remembered for a while: whether its instances may be cached, whether
//! it supports revalidation, and whether it serves more than one instance per request.

use std::sync::Arc;
use std::time::Duration;

use moka::sync::Cache as Recent;

use crate::source::Source;

const REMEMBERED: Duration = Duration::from_secs(60 * 60);
const MOST: u64 = 10_000;

/// The observed traits of the sources.
#[derive(Debug, Clone)]
pub(super) struct SourceTraits(Recent<(Arc<str>, SourceTrait), ()>);

/// A trait of a source.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum SourceTrait {
    /// The source forbids caching (`Cache-Control: no-store`).
    NoStore,
    /// The source sends the full content again when the gateway revalidates.
    NoRevalidation,
    /// The source serves single instances, but neither series nor studies.
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
