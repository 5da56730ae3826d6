//! What a client may see of the registered manifests, without reading them.

use std::hint::black_box;
use std::sync::Arc;

use super::search::visible;
use super::view::View;
use super::{Library, ManifestEntry};
use crate::dicom::{SeriesInstanceUid, StudyInstanceUid};
use crate::manifest::{Id, Registered};

impl Library {
    /// The visible manifests among the next `looks`, newest first, from those with a sequence
    /// below `before`; and the sequence from which to continue, unless that was the end.
    #[must_use]
    pub fn list(
        &self,
        view: &View,
        before: Option<u64>,
        looks: usize,
    ) -> (Vec<ManifestEntry>, Option<u64>) {
        self.read_index(|index| {
            let mut newest_first = index.newest_before(before.unwrap_or(u64::MAX));
            let (mut listed, mut last) = (Vec::new(), None);
            for (sequence, id) in newest_first.by_ref().take(looks) {
                last = Some(sequence);
                let record = index.records.get(&id);
                if let Some(record) = record.filter(|record| view.shows(id, record)) {
                    listed.push(ManifestEntry::of(id, record));
                }
            }
            (listed, newest_first.next().and(last))
        })
    }

    /// The visible manifests that list a study, in the order of their registration.
    #[must_use]
    pub fn of_study(&self, study: &StudyInstanceUid, view: &View) -> Vec<Id> {
        self.read_index(|index| {
            let mentions = index.studies.mentions(study);
            if mentions.is_empty() {
                // An unknown study takes as long as one that is not visible.
                black_box(index.shows_any(view));
            }
            let mentions = visible(index, view, mentions);
            mentions.map(|mention| mention.manifest).collect()
        })
    }

    /// A manifest with these of its series only.
    #[must_use]
    pub fn narrowed(
        &self,
        manifest: &Arc<Registered>,
        series: &[SeriesInstanceUid],
    ) -> Arc<Registered> {
        let key = (manifest.id, series.to_vec());
        self.narrowed
            .get_with(key, || Arc::new(manifest.narrowed(series)))
    }

    /// Whether a manifest is registered and visible.
    #[must_use]
    pub fn shows(&self, view: &View, id: Id) -> bool {
        self.read_index(|index| index.shows(view, id))
    }
}
