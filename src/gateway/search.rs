//! *Search* (PS3.18 10.6), answered from manifests; no source is asked.

use std::sync::Arc;

use bytes::Bytes;
use http::Response;
use http::header::WARNING;
use http::request::Parts;
use tokio::task::spawn_blocking;

use super::answer::{response, value};
use super::coding::{encoded, takes_gzip};
use super::derive::written;
use super::known::KnownInstances;
use super::{Asking, Error, Gateway, accept_fields};
use crate::body::Body;
use crate::dicom::StudyInstanceUid;
use crate::manifest::{
    Holding, Known, Outline, Series, Study, instance_row, outline_row, series_row, study_row,
};
use crate::present::metadata;
use crate::request::{MetadataForm, Parsed, Root, Scope, accept, search};
use crate::retrieve::Missing;
use crate::search::{Query, Row};
use crate::sub_resource::Level;

/// Records of manifests that are looked through together.
const MANIFESTS_AT_ONCE: usize = 256;

/// More rows than these are looked through where blocking is allowed.
const MOST_AT_ONCE: usize = 2000;

/// Where a row comes from: positions of the study, its series and its instance in the manifest.
type Position = (usize, usize, usize);

/// Most rows of a search in everything that is registered: those are made before the answer begins.
const MOST_OF_ALL: usize = 5000;

impl Gateway {
    /// Studies, series or instances that match a query.
    pub(super) async fn search(
        &self,
        head: &Parts,
        asking: &Asking,
        (root, scope): (Root, &Scope),
    ) -> Result<Response<Body>, Error> {
        let form = accept::metadata(head.uri.query(), &accept_fields(head))?;
        let Parsed { query, has_unknown } = search(head.uri.query())?;
        let place = asking.root_place(root);
        let mut warnings = warnings(&query, has_unknown);
        let searched = Searched {
            scope: scope.clone(),
            root: place.root().to_owned(),
            query,
        };
        let found = match (root, &scope.study) {
            (Root::Manifest(id), _) => {
                let holding = self.held_by(id).await?;
                let known = self.known_to(&searched, &holding);
                searched.within(holding, known).await?
            }
            (Root::All, Some(study)) => match self.holding(root, study).await {
                Ok(holding) => {
                    let known = self.known_to(&searched, &holding);
                    searched.within(holding, known).await?
                }
                Err(Error::NotFound) => Found::nothing(),
                Err(error) => return Err(error),
            },
            (Root::All, None) => self.search_everything(asking, searched).await?,
        };
        warnings.extend(found.warnings());
        let gzip = form == MetadataForm::Json && takes_gzip(&head.headers);
        let location = format!("{}/{}", place.root(), path(scope));
        let presented = metadata::rows(written(form, gzip)?, found.rows);
        let mut response = response(presented, Missing::Nothing, &location)?;
        encoded(&mut response, gzip);
        for warning in warnings {
            let warning = value(&format!("299 xcwado \"{warning}\""))?;
            response.headers_mut().append(WARNING, warning);
        }
        Ok(response)
    }

    /// What is known of the instances of studies that are searched.
    fn known_to(&self, searched: &Searched, holding: &Holding) -> KnownInstances {
        let studies = holding.studies.iter().map(|study| &study.uid);
        let is_wanted = |uid: &&StudyInstanceUid| {
            let scope = searched.scope.study.as_ref();
            scope.is_none_or(|study| study == *uid)
        };
        self.known(holding, studies.filter(is_wanted))
    }

    /// A search in all registered manifests. What their records tell is looked at first; only those
    /// that may hold something are read.
    async fn search_everything(
        &self,
        asking: &Asking,
        mut searched: Searched,
    ) -> Result<Found, Error> {
        let mut share = asking.account.share(0).await?;
        let query = &searched.query;
        let most = query
            .limit
            .map_or(MOST_OF_ALL, |limit| limit.min(MOST_OF_ALL));
        let mut page = Page::new(query.offset, most);
        let (mut is_unreadable, mut has_left_out) = (false, false);
        let mut before = None;
        while !page.is_exceeded {
            let manifests = Arc::clone(&self.manifests);
            let searching = spawn_blocking(move || {
                let (mut known, next) = manifests.studies(before, MANIFESTS_AT_ONCE);
                known.retain(|known| searched.may_be_in(known));
                (searched, known, next)
            });
            let known;
            (searched, known, before) = searching.await.map_err(|_panic| Error::Internal)?;
            for known in known {
                if page.is_exceeded {
                    break;
                }
                // What the record says is all that there is to say.
                if searched.scope.level == Level::Study && known.manifests.len() == 1 {
                    page.add(|| PageRow::Study(known.outline));
                    continue;
                }
                let study = &known.outline.uid;
                let holding = match self.united(study, known.manifests).await {
                    Ok(holding) => holding,
                    Err(Error::NotFound) => continue,
                    Err(_) => {
                        is_unreadable = true;
                        continue;
                    }
                };
                has_left_out |= holding.excluded(study) > 0;
                let of_study = |(position, ..): &Position| {
                    holding
                        .studies
                        .get(*position)
                        .is_some_and(|found| found.uid == *study)
                };
                let (back, matches) = searched.matches_in(&holding).await?;
                searched = back;
                for position in matches.into_positions().filter(of_study) {
                    page.add(|| {
                        let row = searched.row(&holding, position, false);
                        PageRow::Written(written_row(&row))
                    });
                }
                share.grow(page.written).await?;
            }
            if before.is_none() {
                break;
            }
        }
        let left = match page.is_exceeded {
            true if page.most == MOST_OF_ALL => Left::TooMany,
            true => Left::Some,
            false => Left::Nothing,
        };
        let rows = page.rows.into_iter().map(move |row| {
            // Until the last one was given.
            let _share = &share;
            match row {
                PageRow::Study(outline) => written_row(&outline_row(&outline, &searched.root)),
                PageRow::Written(row) => row,
            }
        });
        Ok(Found {
            left,
            rows: Box::new(rows),
            is_unreadable,
            has_left_out,
        })
    }
}

/// What a search finds, as much of it as is given.
struct Found {
    rows: Box<dyn Iterator<Item = Bytes> + Send>,
    left: Left,
    /// Whether there are manifests that could not be looked into.
    is_unreadable: bool,
    /// Whether manifests are left out, for they name another patient than one before them.
    has_left_out: bool,
}

/// What else is found.
enum Left {
    Nothing,
    These(usize),
    Some,
    TooMany,
}

impl Found {
    fn nothing() -> Self {
        Self {
            rows: Box::new(std::iter::empty()),
            left: Left::Nothing,
            is_unreadable: false,
            has_left_out: false,
        }
    }

    fn warnings(&self) -> Vec<String> {
        // PS3.18 8.3.4.4, word for word but for the number where it is not known.
        let left = match self.left {
            Left::Nothing => None,
            Left::These(left) => {
                Some(format!("There are {left} additional results that can be requested"))
            }
            Left::Some => Some("There are additional results that can be requested".to_owned()),
            Left::TooMany => Some(
                "The number of results exceeded the maximum supported by the server. Additional results can be requested."
                    .to_owned(),
            ),
        };
        let unreadable = self
            .is_unreadable
            .then(|| "Some manifests cannot be read and were not searched".to_owned());
        let left_out = self
            .has_left_out
            .then(|| "manifests that name another patient are left out".to_owned());
        left.into_iter().chain(unreadable).chain(left_out).collect()
    }
}

/// The rows of one page, while they are found one after another.
struct Page {
    skip: usize,
    most: usize,
    rows: Vec<PageRow>,
    /// Bytes of rows that are written.
    written: u64,
    /// Whether there is more than fits.
    is_exceeded: bool,
}

enum PageRow {
    /// The store holds it in any case: it is written when it is its turn.
    Study(Arc<Outline>),
    /// Its manifest need not be held until then.
    Written(Bytes),
}

impl Page {
    fn new(skip: usize, most: usize) -> Self {
        Self {
            skip,
            most,
            rows: Vec::new(),
            written: 0,
            is_exceeded: false,
        }
    }

    fn add(&mut self, row: impl FnOnce() -> PageRow) {
        if self.skip > 0 {
            self.skip -= 1;
        } else if self.rows.len() < self.most {
            let row = row();
            if let PageRow::Written(row) = &row {
                self.written += row.len() as u64;
            }
            self.rows.push(row);
        } else {
            self.is_exceeded = true;
        }
    }
}

/// What of a holding is found: all that is in scope, or those of it whose bit is set. A position for
/// each of 200,000 instances would take megabytes for as long as a client takes to read.
struct Matches {
    /// Study, series, and how many are in scope there.
    groups: Vec<(usize, usize, usize)>,
    bits: Option<Vec<u64>>,
    count: usize,
}

impl Matches {
    fn all(groups: Vec<(usize, usize, usize)>) -> Self {
        Self {
            count: groups.iter().map(|(_, _, many)| many).sum(),
            groups,
            bits: None,
        }
    }

    fn only(mut self, is_match: impl Fn(Position) -> bool) -> Self {
        let mut bits = vec![0_u64; self.count.div_ceil(64)];
        let mut count = 0;
        for (at, position) in in_groups(self.groups.iter().copied()).enumerate() {
            if is_match(position)
                && let Some(word) = bits.get_mut(at / 64)
            {
                *word |= 1 << (at % 64);
                count += 1;
            }
        }
        self.bits = Some(bits);
        self.count = count;
        self
    }

    fn into_positions(self) -> impl Iterator<Item = Position> {
        let bits = self.bits;
        let is_set = move |at: usize| {
            bits.as_ref().is_none_or(|bits| {
                bits.get(at / 64)
                    .is_some_and(|word| word >> (at % 64) & 1 == 1)
            })
        };
        let positions = in_groups(self.groups.into_iter()).enumerate();
        positions.filter_map(move |(at, position)| is_set(at).then_some(position))
    }
}

fn in_groups(
    groups: impl Iterator<Item = (usize, usize, usize)>,
) -> impl Iterator<Item = Position> {
    groups.flat_map(|(study, series, many)| (0..many).map(move |at| (study, series, at)))
}

fn written_row(row: &Row) -> Bytes {
    serde_json::to_vec(row).map_or_else(|_| Bytes::new(), Bytes::from)
}

/// One search.
struct Searched {
    scope: Scope,
    root: String,
    query: Query,
}

impl Searched {
    /// What is found in one holding.
    async fn within(self, holding: Arc<Holding>, known: KnownInstances) -> Result<Found, Error> {
        let scope = self.scope.study.as_ref();
        let has_left_out = scope.is_some_and(|study| holding.excluded(study) > 0);
        let (searched, matches) = self.matches_in(&holding).await?;
        let (from, to, left) = searched.query.page(matches.count);
        let mut positions = matches.into_positions().skip(from).take(to - from);
        let rows = std::iter::from_fn(move || {
            let position = positions.next()?;
            let mut row = searched.row(&holding, position, false);
            searched.complete(&mut row, &holding, position, &known);
            Some(written_row(&row))
        });
        Ok(Found {
            rows: Box::new(rows),
            left: match left {
                left if left > 0 && to > from => Left::These(left),
                _ => Left::Nothing,
            },
            is_unreadable: false,
            has_left_out,
        })
    }

    async fn matches_in(self, holding: &Arc<Holding>) -> Result<(Self, Matches), Error> {
        if holding.instances() <= MOST_AT_ONCE || self.query.keys.is_empty() {
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

    /// Adds what is known of the instances themselves.
    fn complete(
        &self,
        row: &mut Row,
        holding: &Holding,
        (study, series, instance): Position,
        known: &KnownInstances,
    ) {
        let study = holding.studies.get(study);
        let Some(series) = study.and_then(|study| study.series.get(series)) else {
            return;
        };
        match (self.scope.level, series.instances.get(instance)) {
            (Level::Instance, Some(instance)) => {
                let which = (&series.uid, &instance.uid);
                known.of_instance(row, which, &self.query.include);
            }
            (Level::Series | Level::Study | Level::Instance, _) => {
                known.of_series(row, &series.uid);
            }
        }
    }

    /// Whether there may be something in a study, by what is known of it without reading.
    fn may_be_in(&self, known: &Known) -> bool {
        if known.manifests.len() > 1 {
            return true;
        }
        let mut row = outline_row(&known.outline, &self.root);
        // Each level has its own.
        if self.scope.level != Level::Study {
            row.remove("00081190");
        }
        self.query.finds(&row)
    }

    fn matches(&self, holding: &Holding) -> Matches {
        let all = Matches::all(self.in_scope(holding));
        if self.query.keys.is_empty() {
            return all;
        }
        all.only(|position| self.query.finds(&self.row(holding, position, true)))
    }

    /// Everything in scope: study, series, and how many results there are in it.
    fn in_scope(&self, holding: &Holding) -> Vec<(usize, usize, usize)> {
        let mut groups = Vec::new();
        let studies = holding.studies.iter().enumerate();
        let is_wanted = |study: &Study| {
            self.scope
                .study
                .as_ref()
                .is_none_or(|uid| *uid == study.uid)
        };
        for (s, study) in studies.filter(|(_, study)| is_wanted(study)) {
            if self.scope.level == Level::Study {
                groups.push((s, 0, 1));
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
                    Level::Instance => groups.push((s, e, series.instances.len())),
                    Level::Series | Level::Study => groups.push((s, e, 1)),
                }
            }
        }
        groups
    }

    /// The attributes of a result. `with_all`: those of everything above it too, which may be
    /// matched whether they are given or not.
    fn row(&self, holding: &Holding, (study, series, instance): Position, with_all: bool) -> Row {
        let root = &self.root;
        let mut row = Row::new();
        let Some(study) = holding.studies.get(study) else {
            return row;
        };
        // PS3.18 10.6.3.3: what stands in the path is not repeated, what does not is.
        let level = self.scope.level;
        if level == Level::Study || self.scope.study.is_none() || with_all {
            row.append(&mut study_row(study, root));
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
