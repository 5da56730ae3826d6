//! *Search* (PS3.18 10.6), answered from manifests; no source is asked.

mod everything;
mod known;
mod matches;
mod results;
mod scoped;

use http::Response;

use crate::body::Body;
use crate::dicom::StudyInstanceUid;
use crate::gateway::dicomweb::metadata_format;
use crate::gateway::edge::exchange::Exchange;
use crate::gateway::edge::response::{accepts_gzip, response, state_coding, warn};
use crate::gateway::{Error, Gateway};
use crate::manifest::Holding;
use crate::present::metadata;
use crate::request::{MetadataForm, ParsedQuery, Root, Scope, accept, search};
use crate::resource::Level;
use crate::retrieve::Missing;
use crate::search::Query;
use known::KnownInstances;
use results::Results;
use scoped::ScopedQuery;

impl Gateway {
    /// Studies, series or instances that match a query.
    pub(crate) async fn search(
        &self,
        exchange: &Exchange<'_>,
        root: Root,
        scope: &Scope,
    ) -> Result<Response<Body>, Error> {
        let form = accept::metadata(exchange.query(), &exchange.accept())?;
        let ParsedQuery { query, has_unknown } = search(exchange.query())?;
        let base = exchange.base_url(root);
        let mut warnings = warnings(&query, has_unknown);
        let scoped = ScopedQuery {
            scope: scope.clone(),
            root: base.root().to_owned(),
            query,
        };
        let results = match (root, &scope.study) {
            (Root::Manifest(id), _) => {
                let holding = self.held_by(exchange, id).await?;
                let known = self.known_to(exchange, &scoped, &holding);
                scoped.within(holding, known).await?
            }
            (Root::All, Some(study)) => match self.holding(exchange, root, study).await {
                Ok(holding) => {
                    let known = self.known_to(exchange, &scoped, &holding);
                    scoped.within(holding, known).await?
                }
                Err(Error::NotFound) => Results::none(),
                Err(error) => return Err(error),
            },
            (Root::All, None) => self.search_everything(exchange, scoped).await?,
        };
        warnings.extend(results.warnings());
        let gzip = form == MetadataForm::Json && accepts_gzip(exchange.headers());
        let location = format!("{}/{}", base.root(), path(scope));
        let presented = metadata::rows(metadata_format(form, gzip)?, results.rows);
        let mut response = response(presented, Missing::Nothing, &location)?;
        state_coding(&mut response, gzip);
        for warning in warnings {
            warn(&mut response, &warning)?;
        }
        Ok(response)
    }

    /// The cached metadata of the studies in scope.
    fn known_to(
        &self,
        exchange: &Exchange<'_>,
        scoped: &ScopedQuery,
        holding: &Holding,
    ) -> KnownInstances {
        let studies = holding.studies.iter().map(|study| &study.uid);
        let is_in_scope = |uid: &&StudyInstanceUid| {
            let scope = scoped.scope.study.as_ref();
            scope.is_none_or(|study| study == *uid)
        };
        self.known(exchange, holding, studies.filter(is_in_scope))
    }
}

fn warnings(query: &Query, has_unknown: bool) -> Vec<String> {
    let mut warnings = Vec::new();
    // PS3.18 8.3.4.2, word for word.
    if query.fuzzy {
        warnings.push(
            "The fuzzymatching parameter is not supported. Only literal matching has been performed.",
        );
    }
    if has_unknown {
        warnings.push("Some query parameters are not known here and were ignored");
    }
    warnings.into_iter().map(str::to_owned).collect()
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
