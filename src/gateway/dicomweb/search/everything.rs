//! A search in all registered manifests.

use std::sync::Arc;

use tokio::task::spawn_blocking;

use super::matches::Position;
use super::results::{Page, PageRow, Remainder, Results, serialised};
use super::scoped::ScopedQuery;
use crate::budget::Share;
use crate::gateway::edge::exchange::Exchange;
use crate::gateway::{Error, Gateway};
use crate::library::KnownStudy;
use crate::manifest::outline_row;
use crate::resource::Level;

/// Studies that are looked up at a time.
const STUDIES_AT_ONCE: usize = 256;

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
}

impl Gateway {
    /// Looks at the records of manifests first; reads only the manifests that may hold matches.
    pub(super) async fn search_everything(
        &self,
        exchange: &Exchange<'_>,
        scoped: ScopedQuery,
    ) -> Result<Results, Error> {
        let limit = scoped.query.limit;
        let most = limit.map_or(MOST_ROWS, |limit| limit.min(MOST_ROWS));
        let mut survey = Survey {
            page: Page::new(scoped.query.offset, most),
            share: exchange.account.share(0).await?,
            has_unreadable: false,
            has_left_out: false,
            scoped,
        };
        let mut before = None;
        while !survey.page.is_exceeded {
            let library = Arc::clone(&self.library);
            let scoped = survey.scoped;
            let searching = spawn_blocking(move || {
                let (mut studies, next) = library.studies(before, STUDIES_AT_ONCE);
                studies.retain(|study| scoped.may_be_in(study));
                (scoped, studies, next)
            });
            let studies;
            (survey.scoped, studies, before) = searching.await.map_err(|_panic| Error::Internal)?;
            for study in studies {
                if survey.page.is_exceeded {
                    break;
                }
                survey = self.survey_study(survey, study).await?;
            }
            if before.is_none() {
                break;
            }
        }
        Ok(survey.into_results())
    }

    async fn survey_study(&self, mut survey: Survey, known: KnownStudy) -> Result<Survey, Error> {
        // The record tells everything of a study that one manifest names.
        if survey.scoped.scope.level == Level::Study && known.manifests.len() == 1 {
            survey.page.add(|| PageRow::Study(known.outline));
            return Ok(survey);
        }
        let study = &known.outline.uid;
        let holding = match self.united(study, known.manifests).await {
            Ok(holding) => holding,
            Err(Error::NotFound) => return Ok(survey),
            Err(_) => {
                survey.has_unreadable = true;
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
    fn into_results(self) -> Results {
        let Self {
            scoped,
            page,
            share,
            has_unreadable,
            has_left_out,
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
                PageRow::Study(outline) => serialised(&outline_row(&outline, &scoped.root)),
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
