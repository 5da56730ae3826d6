//! The holding of a DICOMweb root: the studies that its manifests list, and the locations that each
//! manifest gives for each series.

mod union;

use std::collections::HashMap;
use std::sync::Arc;

use self::union::Union;
use super::conflict::{Disagreement, Locate};
use super::model::{Instance, Patient, Series, Study};
use crate::dicom::{SeriesInstanceUid, SopInstanceUid, StudyInstanceUid};
use crate::ihe::{HomeCommunityId, Location};
use crate::instance::Listing;
use crate::resource::Target;

/// The studies of a DICOMweb root.
#[derive(Debug)]
pub struct Holding {
    /// The studies, restricted to their retrievable series and instances.
    pub studies: Vec<Study>,
    index: HashMap<StudyInstanceUid, StudyIndex>,
}

#[derive(Debug)]
struct StudyIndex {
    /// Position in the studies.
    position: usize,
    series: HashMap<SeriesInstanceUid, usize>,
    /// For each series of the study, one listing or, if manifests list different instances,
    /// several.
    listings: Vec<Vec<LocatedListing>>,
    /// The patients that its manifests name; no two of them disagree.
    patients: Vec<Arc<Patient>>,
    /// The number of manifests excluded because they name another patient.
    excluded: usize,
}

/// A listing with the locations that its manifest gives.
#[derive(Debug, Clone)]
struct LocatedListing {
    listing: Arc<Listing>,
    locations: Vec<Location>,
    community: Option<HomeCommunityId>,
}

/// The instances of one series that a request selects.
#[derive(Debug, Clone)]
pub struct SeriesSelection<'a> {
    /// The series as the manifest lists it.
    pub listing: Arc<Listing>,
    /// The locations that the manifest gives.
    pub locations: &'a [Location],
    /// The community that the manifest comes from.
    pub community: Option<&'a HomeCommunityId>,
    /// One of its instances; `None` for all listed instances.
    pub only: Option<SopInstanceUid>,
}

impl Holding {
    /// The holding of one manifest.
    #[must_use]
    pub fn new(studies: Vec<Study>, community: Option<&HomeCommunityId>) -> Self {
        let indexed = studies.iter().enumerate();
        let index = indexed.map(|(position, study)| {
            let series = study.series.iter();
            let listings = series.map(|series| vec![LocatedListing::new(study, series, community)]);
            let index = StudyIndex::new(position, study, listings.collect());
            (study.uid.clone(), index)
        });
        Self {
            index: index.collect(),
            studies,
        }
    }

    /// One study, as the union of these holdings. The first holding describes the study; a holding
    /// that names another patient than its predecessors is excluded. If several holdings list an
    /// instance, those for which `is_located` is true come first, then the order of `holdings`
    /// counts.
    #[must_use]
    pub fn united(
        holdings: &[Arc<Self>],
        study: &StudyInstanceUid,
        is_located: impl Fn(&[Location], Option<&HomeCommunityId>) -> bool,
    ) -> Option<Self> {
        let mut union = Union::default();
        for holding in holdings {
            union.add(holding, study);
        }
        union.finish(is_located)
    }

    /// The selection of a request; `None` if no manifest lists its target.
    #[must_use]
    pub fn select(&self, target: &Target) -> Option<Vec<SeriesSelection<'_>>> {
        let (study, series, instance) = match target {
            Target::Study(study) => (study, None, None),
            Target::Series(study, series) => (study, Some(series), None),
            Target::Instance(study, series, instance) => (study, Some(series), Some(instance)),
        };
        let index = self.index.get(study)?;
        let listings = match series {
            Some(series) => {
                let at = *index.series.get(series)?;
                index.listings.get(at..=at)?
            }
            None => &index.listings,
        };
        let selected = listings.iter().flatten().filter(|located| {
            instance.is_none_or(|instance| located.listing.instances.contains_key(instance))
        });
        let selected: Vec<_> = selected.map(|located| located.selected(instance)).collect();
        let is_listed = instance.is_none() || !selected.is_empty();
        is_listed.then_some(selected)
    }

    /// The number of instances of a target that series declare without listing any.
    #[must_use]
    pub fn unlisted(&self, target: &Target) -> usize {
        self.series_of(target).map(Series::unlisted).sum()
    }

    /// The number of instances that the series of a target declare beyond those that they list.
    #[must_use]
    pub fn declared_beyond(&self, target: &Target) -> usize {
        self.series_of(target).map(Series::declared_beyond).sum()
    }

    /// The series of a study, or the one series; none for an instance.
    fn series_of(&self, target: &Target) -> impl Iterator<Item = &Series> {
        let index = self.index.get(target.study());
        let study = index.and_then(|index| self.studies.get(index.position));
        let all = study.map_or(&[][..], |study| &study.series);
        let series = match target {
            Target::Study(_) => all,
            Target::Series(_, series) => {
                let at = index.and_then(|index| index.series.get(series).copied());
                at.and_then(|at| all.get(at..=at)).unwrap_or_default()
            }
            Target::Instance(..) => &[],
        };
        series.iter()
    }

    /// The patients that the manifests of a study name; no two of them disagree.
    #[must_use]
    pub fn patients(&self, study: &StudyInstanceUid) -> &[Arc<Patient>] {
        let index = self.index.get(study);
        index.map_or(&[], |index| &index.patients)
    }

    /// The number of manifests excluded from a study because they name another patient.
    #[must_use]
    pub fn excluded(&self, study: &StudyInstanceUid) -> usize {
        self.index.get(study).map_or(0, |index| index.excluded)
    }

    /// The disagreement of a study of another manifest with this holding, if any.
    #[must_use]
    pub fn disagreement(
        &self,
        study: &Study,
        community: Option<&HomeCommunityId>,
        locate: &Locate<'_>,
    ) -> Option<Disagreement> {
        let index = self.index.get(&study.uid)?;
        let patient = disagrees(&index.patients, &study.patient);
        let instances = study
            .series
            .iter()
            .map(|series| index.elsewhere(series, community, locate))
            .sum();
        (patient || instances > 0).then(|| Disagreement {
            study: study.uid.clone(),
            patient,
            instances,
        })
    }

    /// The number of retrievable instances.
    #[must_use]
    pub fn instances(&self) -> usize {
        let series = self.studies.iter().flat_map(|study| &study.series);
        series.map(|series| series.instances.len()).sum()
    }
}

impl StudyIndex {
    fn new(position: usize, study: &Study, listings: Vec<Vec<LocatedListing>>) -> Self {
        let series = study.series.iter().enumerate();
        Self {
            position,
            series: series
                .map(|(at, series)| (series.uid.clone(), at))
                .collect(),
            listings,
            patients: vec![Arc::clone(&study.patient)],
            excluded: 0,
        }
    }
}

impl StudyIndex {
    /// The number of instances of a series that this study locates at another place.
    fn elsewhere(
        &self,
        series: &Series,
        community: Option<&HomeCommunityId>,
        locate: &Locate<'_>,
    ) -> usize {
        let at = self.series.get(&series.uid).copied();
        let listings = at
            .and_then(|at| self.listings.get(at))
            .into_iter()
            .flatten();
        let Some(place) = locate(&series.locations, community) else {
            return 0;
        };
        let others = listings.filter(|located| {
            let other = locate(&located.locations, located.community.as_ref());
            other.is_some_and(|other| other.differs_from(&place))
        });
        let listed = |located: &LocatedListing| {
            let instances = series.instances.iter();
            let here = instances.filter(|one| located.listing.instances.contains_key(&one.uid));
            here.count()
        };
        others.map(listed).sum()
    }
}

fn disagrees(patients: &[Arc<Patient>], patient: &Arc<Patient>) -> bool {
    // Most manifests of one study have one author: equality is the quick case.
    !patients.contains(patient) && patients.iter().any(|other| other.disagrees_with(patient))
}

impl LocatedListing {
    fn new(study: &Study, series: &Series, community: Option<&HomeCommunityId>) -> Self {
        Self {
            listing: Arc::new(listing(&study.uid, &series.uid, &series.instances)),
            locations: series.locations.clone(),
            community: community.cloned(),
        }
    }

    fn selected(&self, only: Option<&SopInstanceUid>) -> SeriesSelection<'_> {
        SeriesSelection {
            listing: Arc::clone(&self.listing),
            locations: &self.locations,
            community: self.community.as_ref(),
            only: only.cloned(),
        }
    }
}

fn listing(
    study: &StudyInstanceUid,
    series: &SeriesInstanceUid,
    instances: &[Instance],
) -> Listing {
    let uids = instances.iter().map(|instance| &instance.uid);
    Listing::new(study, series, uids)
}

#[cfg(test)]
mod tests;
