//! A search in all registered manifests.

use std::sync::Arc;

use tokio::task::spawn_blocking;

use super::matches::Position;
use super::results::{Page, PageRow, Remainder, Results, serialised};
use super::scoped::ScopedQuery;
use crate::budget::Share;
use crate::gateway::edge::exchange::Exchange;
use crate::gateway::{Error, Gateway};
use crate::library::{KnownStudy, Library, Rank, StudyPage, View};
use crate::manifest::write_outline_row;
use crate::resource::Level;

/// Most entries of the index that a step looks at: about half a millisecond, for which a step may
/// keep a runtime thread, or the index from registrations.
const LOOKS: usize = 128;
/// Most steps on a blocking thread before the search returns to its own.
const STEPS_ASIDE: usize = 32;

/// Most rows of a search in everything that is registered: they are collected before the response
/// begins.
const MOST_ROWS: usize = 5000;

/// A search under way.
struct Survey {
    scoped: ScopedQuery,
    page: Page,
    share: Share,
    has_unreadable: bool,
    has_left_out: bool,
    /// The manifests that the client may see.
    view: View,
}

impl Gateway {
    /// Looks into the index first; reads only the manifests that may hold matches.
    pub(super) async fn search_everything(
        &self,
        exchange: &Exchange<'_>,
        scoped: ScopedQuery,
    ) -> Result<Results, Error> {
        let view = exchange.view.clone();
        let limit = scoped.query.limit;
        let most = limit.map_or(MOST_ROWS, |limit| limit.min(MOST_ROWS));
        let mut skip = scoped.query.offset;
        let mut before = None;
        if scoped.is_list_of_studies() && view.is_everything() {
            before = Some(self.library.behind(skip));
            skip = 0;
        }
        let mut survey = Survey {
            page: Page::new(skip, most),
            share: exchange.account.share(0).await?,
            has_unreadable: false,
            has_left_out: false,
            scoped,
            view,
        };
        // A page that the index leads to is found in the first step, where the request is.
        let looks = survey.page.needed().min(LOOKS);
        let mut found = survey.step(&self.library, before, looks);
        loop {
            for study in found.studies {
                if survey.page.is_exceeded {
                    return Ok(survey.into_results());
                }
                survey = self.survey_study(survey, study).await?;
            }
            if survey.page.is_exceeded || found.next.is_none() {
                return Ok(survey.into_results());
            }
            (survey, found) = self.steps_aside(survey, found.next).await?;
        }
    }

    /// The next studies that may hold matches, found on a blocking thread.
    async fn steps_aside(
        &self,
        survey: Survey,
        before: Option<Rank>,
    ) -> Result<(Survey, StudyPage), Error> {
        let library = Arc::clone(&self.library);
        let searching = spawn_blocking(move || {
            let mut found = survey.step(&library, before, LOOKS);
            for _ in 1..STEPS_ASIDE {
                if !found.studies.is_empty() || found.next.is_none() {
                    break;
                }
                found = survey.step(&library, found.next, LOOKS);
            }
            (survey, found)
        });
        searching.await.map_err(|_panic| Error::Internal)
    }

    async fn survey_study(&self, mut survey: Survey, known: KnownStudy) -> Result<Survey, Error> {
        // The record tells everything of a study that one manifest names.
        if survey.scoped.scope.level == Level::Study && known.manifests.len() == 1 {
            survey.page.add(|| PageRow::Study(known.outline));
            return Ok(survey);
        }
        let study = &known.outline.unpack().uid;
        let holding = match self.united(study, known.manifests).await {
            Ok(holding) => holding,
            Err(Error::NotFound) => return Ok(survey),
            Err(_) => {
                survey.has_unreadable = true;
                if survey.scoped.is_list_of_studies() {
                    survey.page.leave_empty();
                }
                return Ok(survey);
            }
        };
        survey.has_left_out |= holding.excluded(study) > 0;
        let is_of_study = |position: &Position| {
            let of_position = holding.studies.get(position.study);
            of_position.is_some_and(|of_position| of_position.uid == *study)
        };
        let (scoped, matches) = survey.scoped.matches_in(&holding).await?;
        for position in matches.into_positions().filter(is_of_study) {
            survey.page.add(|| {
                let row = scoped.row(&holding, position, false);
                PageRow::Serialised(serialised(&row))
            });
        }
        survey.scoped = scoped;
        survey.share.grow(survey.page.bytes).await?;
        Ok(survey)
    }
}

impl Survey {
    /// The next visible studies that may hold matches.
    fn step(&self, library: &Library, before: Option<Rank>, looks: usize) -> StudyPage {
        let query = &self.scoped.query;
        let mut found = library.studies(query, &self.view, before, looks);
        found.studies.retain(|study| self.scoped.may_be_in(study));
        found
    }

    fn into_results(self) -> Results {
        let Self {
            scoped,
            page,
            share,
            has_unreadable,
            has_left_out,
            view: _,
        } = self;
        let remainder = match page.is_exceeded {
            true if page.most == MOST_ROWS => Remainder::TooMany,
            true => Remainder::Some,
            false => Remainder::Nothing,
        };
        let rows = page.rows.into_iter().map(move |row| {
            // The memory is held until the last row is given.
            let _share = &share;
            match row {
                PageRow::Study(outline) => {
                    let mut row = Vec::with_capacity(1024);
                    write_outline_row(&outline.unpack(), &scoped.root, &mut row);
                    row.into()
                }
                PageRow::Serialised(row) => row,
            }
        });
        Results {
            rows: Box::new(rows),
            remainder,
            has_unreadable,
            has_left_out,
        }
    }
}
