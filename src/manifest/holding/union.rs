//! The union of several manifests that list one study.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use super::{Holding, LocatedListing, StudyIndex, disagrees, listing};
use crate::dicom::{SeriesInstanceUid, SopInstanceUid, StudyInstanceUid};
use crate::ihe::{HomeCommunityId, Location};
use crate::instance::Listing;
use crate::manifest::model::{Instance, Patient, Series, Study};

/// The entries for one study, collected from several holdings.
#[derive(Default)]
pub(super) struct Union<'a> {
    studies: Vec<&'a Study>,
    patients: Vec<Arc<Patient>>,
    excluded: usize,
    positions: HashMap<&'a SeriesInstanceUid, usize>,
    series: Vec<Vec<SeriesEntry<'a>>>,
}

/// A series as one manifest describes it, with one of its located listings.
struct SeriesEntry<'a> {
    series: &'a Series,
    located: &'a LocatedListing,
}

/// A series of the union, with its located listings.
struct UnitedSeries {
    series: Series,
    listings: Vec<LocatedListing>,
}

impl<'a> Union<'a> {
    /// Adds the entry of a holding for a study, unless it names another patient.
    pub(super) fn add(&mut self, holding: &'a Holding, study: &StudyInstanceUid) {
        let Some(index) = holding.index.get(study) else {
            return;
        };
        let Some(study) = holding.studies.get(index.position) else {
            return;
        };
        if disagrees(&self.patients, &study.patient) {
            self.excluded += 1;
            return;
        }
        if !self.patients.contains(&study.patient) {
            self.patients.push(Arc::clone(&study.patient));
        }
        self.studies.push(study);
        for (series, listings) in study.series.iter().zip(&index.listings) {
            self.add_series(series, listings);
        }
    }

    /// A holding of the one study; `None` if no holding lists it.
    pub(super) fn finish(
        self,
        is_located: impl Fn(&[Location], Option<&HomeCommunityId>) -> bool,
    ) -> Option<Holding> {
        let first = *self.studies.first()?;
        let mut study = without_series(first, self.studies.iter().copied());
        let mut listings = Vec::new();
        for mut entries in self.series {
            let first = entries.first()?.series;
            entries.sort_by_key(|entry| {
                let LocatedListing {
                    locations,
                    community,
                    ..
                } = entry.located;
                !is_located(locations, community.as_ref())
            });
            let united = UnitedSeries::of(first, &entries);
            study.series.push(united.series);
            listings.push(united.listings);
        }
        let index = StudyIndex {
            patients: self.patients,
            excluded: self.excluded,
            ..StudyIndex::new(0, &study, listings)
        };
        Some(Holding {
            index: HashMap::from([(study.uid.clone(), index)]),
            studies: vec![study],
        })
    }

    fn add_series(&mut self, series: &'a Series, listings: &'a [LocatedListing]) {
        let next = self.series.len();
        let position = *self.positions.entry(&series.uid).or_insert(next);
        if position == next {
            self.series.push(Vec::new());
        }
        if let Some(entries) = self.series.get_mut(position) {
            let located = listings.iter();
            entries.extend(located.map(|located| SeriesEntry { series, located }));
        }
    }
}

impl UnitedSeries {
    /// The entries for one series, described as by `first`; each instance stays in the first
    /// listing that has it.
    fn of(first: &Series, entries: &[SeriesEntry<'_>]) -> Self {
        let mut seen: HashSet<&SopInstanceUid> = HashSet::new();
        let mut listings = Vec::new();
        let mut instances: Vec<Instance> = Vec::new();
        for SeriesEntry { series, located } in entries {
            let listed = &located.listing.instances;
            // A series with several listings has the instances of all of them.
            let own = series.instances.iter();
            let own = own.filter(|instance| listed.contains_key(&instance.uid));
            let new: Vec<Instance> = own.filter(|one| seen.insert(&one.uid)).cloned().collect();
            if new.is_empty() && !listings.is_empty() {
                continue;
            }
            let mut located = (*located).clone();
            if new.len() != listed.len() {
                let Listing { study, series, .. } = &*located.listing;
                located.listing = Arc::new(listing(study, series, &new));
            }
            listings.push(located);
            instances.extend(new);
        }
        let declared = entries
            .iter()
            .filter_map(|entry| entry.series.declared_instances);
        let series = Series {
            declared_instances: declared.max(),
            instances,
            ..without_instances(first)
        };
        Self { series, listings }
    }
}

/// The description of `first` and the modalities of all studies, without series.
fn without_series<'a>(first: &Study, all: impl Iterator<Item = &'a Study>) -> Study {
    let mut modalities: Vec<Box<str>> = Vec::new();
    for modality in all.flat_map(|study| &study.modalities) {
        if !modalities.contains(modality) {
            modalities.push(modality.clone());
        }
    }
    Study {
        uid: first.uid.clone(),
        patient: Arc::clone(&first.patient),
        date: first.date.clone(),
        time: first.time.clone(),
        timezone: first.timezone.clone(),
        description: first.description.clone(),
        accessions: first.accessions.clone(),
        referring_physician: first.referring_physician.clone(),
        study_id: first.study_id.clone(),
        modalities,
        regions: first.regions.clone(),
        procedures: first.procedures.clone(),
        viewer_urls: first.viewer_urls.clone(),
        declared_series: None,
        series: Vec::new(),
    }
}

/// The description of a series, without its instances.
fn without_instances(series: &Series) -> Series {
    Series {
        uid: series.uid.clone(),
        number: series.number,
        modality: series.modality.clone(),
        description: series.description.clone(),
        date: series.date.clone(),
        time: series.time.clone(),
        body_site: series.body_site.clone(),
        laterality: series.laterality.clone(),
        declared_instances: series.declared_instances,
        locations: series.locations.clone(),
        instances: Vec::new(),
    }
}
