//! *Search* (PS3.18 10.6), answered from manifests; no source is asked.

use std::sync::Arc;

use bytes::Bytes;
use http::Response;
use http::header::{HeaderValue, WARNING};
use http::request::Parts;
use tokio::task::spawn_blocking;

use super::answer::{response, value};
use super::derive::{encoded, takes_gzip, written};
use super::{Error, Gateway, accept_fields};
use crate::body::Body;
use crate::manifest::{Registered, Series, Study, instance_row, series_row, study_row};
use crate::present::metadata;
use crate::request::{MetadataForm, Parsed, Root, Scope, accept, search};
use crate::retrieve::Missing;
use crate::search::{Query, Row};
use crate::sub_resource::Level;

/// More rows than these are looked through where blocking is allowed.
const MOST_AT_ONCE: usize = 2000;

/// Where a row comes from: positions of the study, its series and its instance in the manifest.
type Position = (usize, usize, usize);

impl Gateway {
    /// Studies, series or instances that match a query.
    pub(super) async fn search(
        &self,
        head: &Parts,
        root: Root,
        scope: &Scope,
    ) -> Result<Response<Body>, Error> {
        let form = accept::metadata(head.uri.query(), &accept_fields(head))?;
        let Parsed { query, has_unknown } = search(head.uri.query())?;
        let manifest = self.holding(root).await?;
        let place = self.root_place(root);
        let warnings = warnings(&query, has_unknown);
        let searched = Searched {
            manifest,
            scope: scope.clone(),
            root: place.root().to_owned(),
            query,
        };
        let (searched, found) = if searched.manifest.instances() > MOST_AT_ONCE {
            let searching = spawn_blocking(move || {
                let found = searched.found();
                (searched, found)
            });
            searching.await.map_err(|_panic| Error::Internal)?
        } else {
            let found = searched.found();
            (searched, found)
        };
        let (from, to, left) = searched.query.page(found.len());
        let gzip = form == MetadataForm::Json && takes_gzip(&head.headers);
        let location = format!("{}/{}", place.root(), path(scope));
        let mut positions = found.into_iter().skip(from).take(to - from);
        let rows = std::iter::from_fn(move || {
            let position = positions.next()?;
            let row = searched.row(position, false);
            Some(serde_json::to_vec(&row).map_or_else(|_| Bytes::new(), Bytes::from))
        });
        let presented = metadata::rows(written(form, gzip)?, rows);
        let mut response = response(presented, Missing::Nothing, &location)?;
        encoded(&mut response, gzip);
        for warning in warnings {
            let warning = HeaderValue::from_static(warning);
            response.headers_mut().append(WARNING, warning);
        }
        if left > 0 && to > from {
            let text =
                format!("299 xcwado \"There are {left} additional results that can be requested\"");
            response.headers_mut().append(WARNING, value(&text)?);
        }
        Ok(response)
    }
}

/// One search, and what it is answered from.
struct Searched {
    manifest: Arc<Registered>,
    scope: Scope,
    root: String,
    query: Query,
}

impl Searched {
    fn found(&self) -> Vec<Position> {
        let has_keys = !self.query.keys.is_empty();
        let mut found = self.positions();
        if has_keys {
            found.retain(|position| self.query.finds(&self.row(*position, true)));
        }
        found
    }

    /// Everything in scope.
    fn positions(&self) -> Vec<Position> {
        let mut found = Vec::new();
        let studies = self.manifest.manifest.studies.iter().enumerate();
        let is_wanted = |study: &Study| {
            self.scope
                .study
                .as_ref()
                .is_none_or(|uid| *uid == study.uid)
        };
        for (s, study) in studies.filter(|(_, study)| is_wanted(study)) {
            if self.scope.level == Level::Study {
                found.push((s, 0, 0));
                continue;
            }
            let is_wanted = |series: &Series| {
                self.scope
                    .series
                    .as_ref()
                    .is_none_or(|uid| *uid == series.uid)
            };
            let series = study.series.iter().enumerate();
            for (e, series) in series.filter(|(_, series)| is_wanted(series)) {
                match self.scope.level {
                    Level::Instance => found.extend((0..series.instances.len()).map(|i| (s, e, i))),
                    Level::Series | Level::Study => found.push((s, e, 0)),
                }
            }
        }
        found
    }

    /// The attributes of a result. `with_all`: those of everything above it too, which may be
    /// matched whether they are given or not.
    fn row(&self, (study, series, instance): Position, with_all: bool) -> Row {
        let manifest = &self.manifest.manifest;
        let root = &self.root;
        let mut row = Row::new();
        let Some(study) = manifest.studies.get(study) else {
            return row;
        };
        // PS3.18 10.6.3.3: what stands in the path is not repeated, what does not is.
        let level = self.scope.level;
        if level == Level::Study || self.scope.study.is_none() || with_all {
            row.append(&mut study_row(&manifest.patient, study, root));
        }
        if level == Level::Study {
            return row;
        }
        let Some(series) = study.series.get(series) else {
            return row;
        };
        if level == Level::Series || self.scope.series.is_none() || with_all {
            row.append(&mut series_row(study, series, root));
        }
        if level == Level::Instance
            && let Some(instance) = series.instances.get(instance)
        {
            row.append(&mut instance_row(study, series, instance, root));
        }
        row
    }
}

fn warnings(query: &Query, has_unknown: bool) -> Vec<&'static str> {
    let mut warnings = Vec::new();
    // PS3.18 8.3.4.2, word for word.
    if query.fuzzy {
        warnings.push(
            "299 xcwado \"The fuzzymatching parameter is not supported. Only literal matching has been performed.\"",
        );
    }
    if has_unknown {
        warnings.push("299 xcwado \"Some query parameters are not known here and were ignored\"");
    }
    warnings
}

fn path(scope: &Scope) -> String {
    let level = match scope.level {
        Level::Study => "studies",
        Level::Series => "series",
        Level::Instance => "instances",
    };
    match (&scope.study, &scope.series) {
        (Some(study), Some(series)) => format!("studies/{study}/series/{series}/{level}"),
        (Some(study), None) => format!("studies/{study}/{level}"),
        (None, _) => level.to_owned(),
    }
}
