//! Searches in the index, step by step. Each step looks at a bounded number of entries.

use super::Library;
use super::index::Index;
use super::postings::Rank;
use super::studies::Mention;
use super::view::View;
use crate::manifest::{Id, PackedOutline};
use crate::search::Query;

/// A registered study.
#[derive(Debug, Clone)]
pub struct KnownStudy {
    /// The outline of the study in the first of the manifests.
    pub outline: PackedOutline,
    /// The visible manifests that list it, in the order of their registration.
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
    /// Visible studies that may match a query, below the rank `before`. It looks at about
    /// `looks` entries of the index, and may find no study in them.
    #[must_use]
    pub fn studies(
        &self,
        query: &Query,
        view: &View,
        before: Option<Rank>,
        looks: usize,
    ) -> StudyPage {
        self.read_index(|index| {
            let before = before.unwrap_or(Rank::NEWEST);
            let found = index.studies.candidates(query, before, looks);
            let studies = found.ranks.iter();
            StudyPage {
                studies: studies
                    .filter_map(|&rank| known(index, view, rank))
                    .collect(),
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

/// The visible manifests among those that mention a study.
pub(super) fn visible<'a>(
    index: &Index,
    view: &View,
    mentions: &'a [Mention],
) -> impl Iterator<Item = &'a Mention> {
    let is_everything = view.is_everything();
    mentions
        .iter()
        .filter(move |mention| is_everything || index.shows(view, mention.manifest))
}

fn known(index: &Index, view: &View, rank: Rank) -> Option<KnownStudy> {
    let mut mentions = visible(index, view, index.studies.at(rank)).peekable();
    let outline = index.outline(**mentions.peek()?)?;
    Some(KnownStudy {
        outline: outline.clone(),
        manifests: mentions.map(|mention| mention.manifest).collect(),
    })
}
