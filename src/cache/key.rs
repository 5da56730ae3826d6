//! The key of a cached instance.

use std::sync::Arc;

use crate::dicom::part10::Identity;
use crate::dicom::{SeriesInstanceUid, SopInstanceUid, StudyInstanceUid};
use crate::source::{Representation, Source};

/// One SOP instance from one source. The source is part of the key: two communities can use one UID
/// for two objects, and an object of one must never answer for the other.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Key {
    /// The source, by [`Source::key`].
    pub place: Arc<str>,
    /// The study.
    pub study: StudyInstanceUid,
    /// The series.
    pub series: SeriesInstanceUid,
    /// The instance.
    pub instance: SopInstanceUid,
    /// The representation requested from the source.
    pub representation: Representation,
}

impl Key {
    /// The key of an instance from a source.
    #[must_use]
    pub fn of(source: &Source, identity: &Identity, representation: Representation) -> Self {
        Self {
            place: source.key(),
            study: identity.study.clone(),
            series: identity.series.clone(),
            instance: identity.sop_instance.clone(),
            representation,
        }
    }

    /// Approximate bytes in memory.
    #[must_use]
    pub fn size(&self) -> usize {
        let texts = [
            &*self.place,
            self.study.as_str(),
            self.series.as_str(),
            self.instance.as_str(),
        ];
        texts.iter().map(|text| text.len()).sum::<usize>() + size_of::<Self>()
    }
}
