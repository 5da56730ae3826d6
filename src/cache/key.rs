//! What tells one kept instance from every other.

use std::sync::Arc;

use crate::dicom::part10::Identity;
use crate::dicom::{SeriesInstanceUid, SopInstanceUid, StudyInstanceUid};
use crate::source::{Representation, Source};

/// One SOP instance at one place. The place is part of it: two communities may use one UID for two
/// things, and what one of them gives must never answer for the other.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Key {
    /// The source, as [`Source::key`] tells it from every other.
    pub place: Arc<str>,
    /// The study.
    pub study: StudyInstanceUid,
    /// The series.
    pub series: SeriesInstanceUid,
    /// The instance.
    pub instance: SopInstanceUid,
    /// How the source was asked to give it.
    pub representation: Representation,
}

impl Key {
    /// The key of an instance that a source gave.
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

    /// About how much memory it takes.
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
