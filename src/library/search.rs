//! Searches in the index, step by step. Each step looks at a bounded number of entries.

use super::Library;
use super::index::Index;
use super::postings::Rank;
use super::studies::Mention;
use crate::manifest::{Id, PackedOutline};
use crate::search::Query;

/// A registered study.
#[derive(Debug, Clone)]
pub struct KnownStudy {
    /// The outline of the study in the first of the manifests.
    pub outline: PackedOutline,
    /// The manifests that list it, in the order of their registration.
    pub manifests: Vec<Id>,
}

/// The studies that a step of a search has found.
#[derive(Debug)]
pub struct StudyPage {
    /// Studies that may match, by their first manifest, newest first.
    pub studies: Vec<KnownStudy>,
    /// The place from which to continue; `None` at the end.
    pub next: Option<Rank>,
    /// The number of entries of the index that the step has looked at.
    pub looked_at: usize,
}

impl Library {
    /// Registered studies that may match a query, below the rank `before`. It looks at about
    /// `looks` entries of the index, and may find no study in them.
    #[must_use]
    pub fn studies(&self, query: &Query, before: Option<Rank>, looks: usize) -> StudyPage {
        self.read_index(|index| {
            let before = before.unwrap_or(Rank::NEWEST);
            let found = index.studies.candidates(query, before, looks);
            let studies = found.ranks.iter();
            StudyPage {
                studies: studies.filter_map(|&rank| known(index, rank)).collect(),
                next: found.next,
                looked_at: found.looked_at,
            }
        })
    }

    /// The place behind the newest `count` studies.
    #[must_use]
    pub fn behind(&self, count: usize) -> Rank {
        self.read_index(|index| index.studies.behind(count))
    }
}

/// The manifests that mention a study.
pub(super) fn manifests(mentions: &[Mention]) -> Vec<Id> {
    mentions.iter().map(|mention| mention.manifest).collect()
}

fn known(index: &Index, rank: Rank) -> Option<KnownStudy> {
    let mentions = index.studies.at(rank);
    let outline = index.outline(*mentions.first()?)?;
    Some(KnownStudy {
        outline: outline.clone(),
        manifests: manifests(mentions),
    })
}
