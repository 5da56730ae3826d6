//! A manifest as it was registered, and what it selects.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use super::id::Id;
use super::model::{Manifest, Series, Study};
use crate::dicom::{SeriesInstanceUid, SopInstanceUid, StudyInstanceUid};
use crate::ihe::{HomeCommunityId, Location};
use crate::instance::{Listing, Target};

/// The options of a registration.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Registration {
    /// The community that the manifest comes from.
    pub home_community_id: Option<HomeCommunityId>,
    /// The series it is narrowed to, sorted; empty: all.
    pub series: Vec<SeriesInstanceUid>,
}

/// A manifest under its id, narrowed to what was asked for.
#[derive(Debug)]
pub struct Registered {
    /// Its unguessable name.
    pub id: Id,
    /// The options it was registered with.
    pub registration: Registration,
    /// The manifest; only the selected series are left in it.
    pub manifest: Manifest,
    index: HashMap<StudyInstanceUid, StudyIndex>,
}

#[derive(Debug)]
struct StudyIndex {
    /// Position in the manifest's studies.
    position: usize,
    series: HashMap<SeriesInstanceUid, usize>,
    /// For each series of the study.
    listings: Vec<Arc<Listing>>,
}

/// The part of one series that a request selects.
#[derive(Debug, Clone)]
pub struct Selected<'a> {
    /// The series as the manifest lists it.
    pub listing: Arc<Listing>,
    /// Where the manifest says that it is.
    pub locations: &'a [Location],
    /// One of its instances; `None` for all that are listed.
    pub only: Option<SopInstanceUid>,
}

/// A registration is narrowed to a series that the manifest does not list.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the manifest does not list a series that it is to be narrowed to")]
pub struct UnknownSeries;

impl Registered {
    /// Narrows a manifest and indexes what is left.
    ///
    /// # Errors
    /// [`UnknownSeries`].
    pub fn new(
        id: Id,
        registration: Registration,
        mut manifest: Manifest,
    ) -> Result<Self, UnknownSeries> {
        narrow(&mut manifest, &registration.series)?;
        let studies = manifest.studies.iter().enumerate();
        let index = studies.map(|(at, study)| (study.uid.clone(), StudyIndex::new(at, study)));
        Ok(Self {
            id,
            registration,
            index: index.collect(),
            manifest,
        })
    }

    /// What a request selects; `None` if the manifest does not list it.
    #[must_use]
    pub fn select(&self, target: &Target) -> Option<Vec<Selected<'_>>> {
        match target {
            Target::Study(study) => {
                let index = self.index.get(study)?;
                let count = self.manifest.studies.get(index.position)?.series.len();
                (0..count)
                    .map(|at| self.selected(index, at, None))
                    .collect()
            }
            Target::Series(study, series) => {
                let index = self.index.get(study)?;
                let at = *index.series.get(series)?;
                Some(vec![self.selected(index, at, None)?])
            }
            Target::Instance(study, series, instance) => {
                let index = self.index.get(study)?;
                let at = *index.series.get(series)?;
                let selected = self.selected(index, at, Some(instance.clone()))?;
                selected
                    .listing
                    .instances
                    .contains_key(instance)
                    .then(|| vec![selected])
            }
        }
    }

    fn selected(
        &self,
        index: &StudyIndex,
        at: usize,
        only: Option<SopInstanceUid>,
    ) -> Option<Selected<'_>> {
        let series = self.manifest.studies.get(index.position)?.series.get(at)?;
        let listing = Arc::clone(index.listings.get(at)?);
        Some(Selected {
            listing,
            locations: &series.locations,
            only,
        })
    }

    /// How many instances it selects.
    #[must_use]
    pub fn instances(&self) -> usize {
        let series = self.manifest.studies.iter().flat_map(|study| &study.series);
        series.map(|series| series.instances.len()).sum()
    }
}

impl StudyIndex {
    fn new(position: usize, study: &Study) -> Self {
        let series = study.series.iter().enumerate();
        Self {
            position,
            series: series
                .map(|(at, series)| (series.uid.clone(), at))
                .collect(),
            listings: study
                .series
                .iter()
                .map(|series| Arc::new(listing(study, series)))
                .collect(),
        }
    }
}

fn listing(study: &Study, series: &Series) -> Listing {
    let instances = series.instances.iter().enumerate();
    Listing {
        study: study.uid.clone(),
        series: series.uid.clone(),
        instances: instances
            .map(|(at, instance)| (instance.uid.clone(), at))
            .collect(),
    }
}

fn narrow(manifest: &mut Manifest, to: &[SeriesInstanceUid]) -> Result<(), UnknownSeries> {
    if to.is_empty() {
        return Ok(());
    }
    let wanted: HashSet<_> = to.iter().collect();
    for study in &mut manifest.studies {
        study.series.retain(|series| wanted.contains(&series.uid));
    }
    manifest.studies.retain(|study| !study.series.is_empty());
    let left = manifest.studies.iter().flat_map(|study| &study.series);
    let found: HashSet<_> = left.map(|series| &series.uid).collect();
    if found.len() == wanted.len() {
        Ok(())
    } else {
        Err(UnknownSeries)
    }
}
