//! One query within the scope of its path.

use std::sync::Arc;

use tokio::task::spawn_blocking;

use super::known::KnownInstances;
use super::matches::{Group, Matches, Position};
use super::results::{Remainder, Results, serialised};
use crate::gateway::Error;
use crate::library::KnownStudy;
use crate::manifest::{
    ANATOMIC_REGION, Holding, Series, Study, instance_row, is_told, partial_outline_row,
    series_row, study_row,
};
use crate::request::Scope;
use crate::resource::Level;
use crate::search::{self, Query, Row};

const RETRIEVE_URL: &str = "00081190";

/// A holding with more rows than these is searched on a blocking thread.
const MOST_ROWS_AT_ONCE: usize = 2000;

/// A query, the scope of its path, and the DICOMweb root for links.
pub(super) struct ScopedQuery {
    pub(super) scope: Scope,
    pub(super) root: String,
    pub(super) query: Query,
}

impl ScopedQuery {
    /// The results in one holding.
    pub(super) async fn within(
        self,
        holding: Arc<Holding>,
        known: KnownInstances,
    ) -> Result<Results, Error> {
        let scope = self.scope.study.as_ref();
        let has_left_out = scope.is_some_and(|study| holding.excluded(study) > 0);
        let (scoped, matches) = self.matches_in(&holding).await?;
        let (from, to, left) = scoped.query.page(matches.count);
        let mut positions = matches.into_positions().skip(from).take(to - from);
        let rows = std::iter::from_fn(move || {
            let position = positions.next()?;
            let mut row = scoped.row(&holding, position, false);
            scoped.complete(&mut row, &holding, position, &known);
            Some(serialised(&row))
        });
        Ok(Results {
            rows: Box::new(rows),
            remainder: match left {
                left if left > 0 && to > from => Remainder::Counted(left),
                _ => Remainder::Nothing,
            },
            has_unreadable: false,
            has_left_out,
        })
    }

    /// The rows of a holding that match.
    pub(super) async fn matches_in(self, holding: &Arc<Holding>) -> Result<(Self, Matches), Error> {
        if holding.instances() <= MOST_ROWS_AT_ONCE || self.query.keys.is_empty() {
            let matches = self.matches(holding);
            return Ok((self, matches));
        }
        let holding = Arc::clone(holding);
        let searching = spawn_blocking(move || {
            let matches = self.matches(&holding);
            (self, matches)
        });
        searching.await.map_err(|_panic| Error::Internal)
    }

    /// Adds attributes of the instances themselves, as far as they are cached.
    fn complete(
        &self,
        row: &mut Row,
        holding: &Holding,
        position: Position,
        known: &KnownInstances,
    ) {
        let study = holding.studies.get(position.study);
        let Some(series) = study.and_then(|study| study.series.get(position.series)) else {
            return;
        };
        match (self.scope.level, series.instances.get(position.instance)) {
            (Level::Instance, Some(instance)) => {
                known.of_instance(row, &series.uid, &instance.uid, &self.query.include);
            }
            (Level::Series | Level::Study | Level::Instance, _) => {
                known.of_series(row, &series.uid);
            }
        }
    }

    /// Whether a study may hold matches, by everything that is known without reading its manifest.
    pub(super) fn may_be_in(&self, known: &KnownStudy) -> bool {
        if known.manifests.len() > 1 || self.query.is_universal() {
            return true;
        }
        let keys = &self.query.keys;
        let outline = known.outline.unpack();
        // Each level has its own Retrieve URL and its own regions.
        let is_of_level = |tag: &str| {
            self.scope.level == Level::Study || ![RETRIEVE_URL, ANATOMIC_REGION].contains(&tag)
        };
        let row = partial_outline_row(&outline, &self.root, |tag| {
            let mut named = keys.iter().filter_map(|key| key.path.tags().first());
            is_of_level(tag) && named.any(|name| name == tag || search::further(name) == Some(tag))
        });
        self.query
            .finds(&row, |tag| is_of_level(tag) && is_told(Level::Study, tag))
    }

    /// Whether each registered study is one result.
    pub(super) fn is_list_of_studies(&self) -> bool {
        self.scope.level == Level::Study && self.query.is_universal()
    }

    fn matches(&self, holding: &Holding) -> Matches {
        let all = Matches::all(self.in_scope(holding));
        if self.query.keys.is_empty() {
            return all;
        }
        let level = self.scope.level;
        all.only(|position| {
            let row = self.row(holding, position, true);
            self.query.finds(&row, |tag| is_told(level, tag))
        })
    }

    /// Everything in scope.
    fn in_scope(&self, holding: &Holding) -> Vec<Group> {
        let mut groups = Vec::new();
        let studies = holding.studies.iter().enumerate();
        for (at, study) in studies.filter(|(_, study)| self.has_study(study)) {
            if self.scope.level == Level::Study {
                groups.push(Group {
                    study: at,
                    series: 0,
                    rows: 1,
                });
                continue;
            }
            let series = study.series.iter().enumerate();
            let series = series.filter(|(_, series)| self.has_series(series));
            groups.extend(series.map(|(number, series)| Group {
                study: at,
                series: number,
                rows: match self.scope.level {
                    Level::Instance => series.instances.len(),
                    Level::Series | Level::Study => 1,
                },
            }));
        }
        groups
    }

    fn has_study(&self, study: &Study) -> bool {
        let scope = self.scope.study.as_ref();
        scope.is_none_or(|uid| *uid == study.uid)
    }

    fn has_series(&self, series: &Series) -> bool {
        let scope = self.scope.series.as_ref();
        scope.is_none_or(|uid| *uid == series.uid)
    }

    /// The attributes of a result. `with_all`: also those of the levels above it that the response
    /// does not repeat, because a query may match them.
    pub(super) fn row(&self, holding: &Holding, position: Position, with_all: bool) -> Row {
        let root = &self.root;
        let mut row = Row::new();
        let Some(study) = holding.studies.get(position.study) else {
            return row;
        };
        // PS3.18 10.6.3.3: a response does not repeat the levels that the path names.
        let level = self.scope.level;
        if level == Level::Study || self.scope.study.is_none() || with_all {
            row.append(&mut study_row(study, root));
        }
        if level == Level::Study {
            return row;
        }
        row.remove(ANATOMIC_REGION);
        let Some(series) = study.series.get(position.series) else {
            return row;
        };
        if level == Level::Series || self.scope.series.is_none() || with_all {
            row.append(&mut series_row(study, series, root));
        }
        if level == Level::Instance
            && let Some(instance) = series.instances.get(position.instance)
        {
            row.append(&mut instance_row(study, series, instance, root));
        }
        row
    }
}
