//! What a DICOMweb root holds: the studies that manifests list, and by whose word each of their
//! series is where.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use super::conflict::{Disagreement, Locate};
use super::model::{Instance, Patient, Series, Study};
use crate::dicom::{SeriesInstanceUid, SopInstanceUid, StudyInstanceUid};
use crate::ihe::{HomeCommunityId, Location};
use crate::instance::{Listing, Target};

/// What a DICOMweb root holds.
#[derive(Debug)]
pub struct Holding {
    /// The studies, with nothing in them but what may be retrieved.
    pub studies: Vec<Study>,
    index: HashMap<StudyInstanceUid, StudyIndex>,
}

#[derive(Debug)]
struct StudyIndex {
    /// Position in the studies.
    position: usize,
    series: HashMap<SeriesInstanceUid, usize>,
    /// For each series of the study. More than one where manifests list different instances.
    shelves: Vec<Vec<Shelf>>,
    /// The patients that its manifests name; none disagrees with another.
    patients: Vec<Arc<Patient>>,
    /// How many manifests are left out, for they name another patient.
    left_out: usize,
}

/// Instances of one series that a manifest says to be in one place.
#[derive(Debug, Clone)]
struct Shelf {
    listing: Arc<Listing>,
    locations: Vec<Location>,
    community: Option<HomeCommunityId>,
}

/// The part of one series that a request selects.
#[derive(Debug, Clone)]
pub struct Selected<'a> {
    /// The series as the manifest lists it.
    pub listing: Arc<Listing>,
    /// Where the manifest says that it is.
    pub locations: &'a [Location],
    /// The community that the manifest comes from.
    pub community: Option<&'a HomeCommunityId>,
    /// One of its instances; `None` for all that are listed.
    pub only: Option<SopInstanceUid>,
}

impl Holding {
    /// What one manifest lists.
    #[must_use]
    pub fn new(studies: Vec<Study>, community: Option<&HomeCommunityId>) -> Self {
        let indexed = studies.iter().enumerate();
        let index = indexed.map(|(position, study)| {
            let series = study.series.iter();
            let shelves = series.map(|series| vec![Shelf::new(study, series, community)]);
            let index = StudyIndex::new(position, study, shelves.collect());
            (study.uid.clone(), index)
        });
        Self {
            index: index.collect(),
            studies,
        }
    }

    /// One study, with everything that any of these lists of it. What the first says of the study
    /// holds; one that names another patient than those before it is left out. An instance that
    /// several list is looked for where `is_located` says that it can be found, and there in the
    /// order of the list.
    #[must_use]
    pub fn united(
        holdings: &[Arc<Self>],
        study: &StudyInstanceUid,
        is_located: impl Fn(&[Location], Option<&HomeCommunityId>) -> bool,
    ) -> Option<Self> {
        let mut listed: Vec<&Study> = Vec::new();
        let mut patients: Vec<Arc<Patient>> = Vec::new();
        let mut left_out = 0;
        let mut of_series: HashMap<&SeriesInstanceUid, usize> = HashMap::new();
        let mut all: Vec<Vec<(&Series, &Shelf)>> = Vec::new();
        for holding in holdings {
            let Some(index) = holding.index.get(study) else {
                continue;
            };
            let Some(study) = holding.studies.get(index.position) else {
                continue;
            };
            if disagrees(&patients, &study.patient) {
                left_out += 1;
                continue;
            }
            if !patients.contains(&study.patient) {
                patients.push(Arc::clone(&study.patient));
            }
            listed.push(study);
            for (series, shelves) in study.series.iter().zip(&index.shelves) {
                let at = *of_series.entry(&series.uid).or_insert(all.len());
                if at == all.len() {
                    all.push(Vec::new());
                }
                let on_shelves = shelves.iter().map(|shelf| (series, shelf));
                if let Some(found) = all.get_mut(at) {
                    found.extend(on_shelves);
                }
            }
        }
        let first = *listed.first()?;
        let mut united = described_by(first, listed.iter().copied());
        let mut shelves = Vec::new();
        for mut found in all {
            let (first, _) = *found.first()?;
            found.sort_by_key(|(_, shelf)| !is_located(&shelf.locations, shelf.community.as_ref()));
            let (series, on_shelves) = united_series(first, &found);
            united.series.push(series);
            shelves.push(on_shelves);
        }
        let index = StudyIndex {
            patients,
            left_out,
            ..StudyIndex::new(0, &united, shelves)
        };
        Some(Self {
            index: HashMap::from([(study.clone(), index)]),
            studies: vec![united],
        })
    }

    /// What a request selects; `None` if it is not listed.
    #[must_use]
    pub fn select(&self, target: &Target) -> Option<Vec<Selected<'_>>> {
        let (study, series, instance) = match target {
            Target::Study(study) => (study, None, None),
            Target::Series(study, series) => (study, Some(series), None),
            Target::Instance(study, series, instance) => (study, Some(series), Some(instance)),
        };
        let index = self.index.get(study)?;
        let shelves = match series {
            Some(series) => {
                let at = *index.series.get(series)?;
                index.shelves.get(at..=at)?
            }
            None => &index.shelves,
        };
        let selected = shelves.iter().flatten().filter(|shelf| {
            instance.is_none_or(|instance| shelf.listing.instances.contains_key(instance))
        });
        let selected: Vec<_> = selected.map(|shelf| shelf.selected(instance)).collect();
        let is_listed = instance.is_none() || !selected.is_empty();
        is_listed.then_some(selected)
    }

    /// How many instances of a target are promised by series that list none.
    #[must_use]
    pub fn unlisted(&self, target: &Target) -> usize {
        self.series_of(target).map(Series::unlisted).sum()
    }

    /// How many more instances the series of a target declare than they list.
    #[must_use]
    pub fn declared_beyond(&self, target: &Target) -> usize {
        self.series_of(target).map(Series::declared_beyond).sum()
    }

    /// The study's series, or the one series; none for an instance.
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

    /// How many manifests that list a study are left out of it, for they name another patient.
    #[must_use]
    pub fn left_out(&self, study: &StudyInstanceUid) -> usize {
        self.index.get(study).map_or(0, |index| index.left_out)
    }

    /// On what a study of another manifest disagrees with what is here.
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

    /// How many instances may be retrieved.
    #[must_use]
    pub fn instances(&self) -> usize {
        let series = self.studies.iter().flat_map(|study| &study.series);
        series.map(|series| series.instances.len()).sum()
    }
}

impl StudyIndex {
    fn new(position: usize, study: &Study, shelves: Vec<Vec<Shelf>>) -> Self {
        let series = study.series.iter().enumerate();
        Self {
            position,
            series: series
                .map(|(at, series)| (series.uid.clone(), at))
                .collect(),
            shelves,
            patients: vec![Arc::clone(&study.patient)],
            left_out: 0,
        }
    }
}

impl StudyIndex {
    /// How many instances of a series are here at another place than it says.
    fn elsewhere(
        &self,
        series: &Series,
        community: Option<&HomeCommunityId>,
        locate: &Locate<'_>,
    ) -> usize {
        let at = self.series.get(&series.uid).copied();
        let shelves = at.and_then(|at| self.shelves.get(at)).into_iter().flatten();
        let Some(place) = locate(&series.locations, community) else {
            return 0;
        };
        let others = shelves.filter(|shelf| {
            let other = locate(&shelf.locations, shelf.community.as_ref());
            other.is_some_and(|other| other.differs_from(&place))
        });
        let listed = |shelf: &Shelf| {
            let instances = series.instances.iter();
            let here = instances.filter(|one| shelf.listing.instances.contains_key(&one.uid));
            here.count()
        };
        others.map(listed).sum()
    }
}

fn disagrees(known: &[Arc<Patient>], patient: &Arc<Patient>) -> bool {
    // Most manifests of one study come from one hand.
    !known.contains(patient) && known.iter().any(|known| known.disagrees_with(patient))
}

impl Shelf {
    fn new(study: &Study, series: &Series, community: Option<&HomeCommunityId>) -> Self {
        Self {
            listing: Arc::new(listing(&study.uid, &series.uid, &series.instances)),
            locations: series.locations.clone(),
            community: community.cloned(),
        }
    }

    fn selected(&self, only: Option<&SopInstanceUid>) -> Selected<'_> {
        Selected {
            listing: Arc::clone(&self.listing),
            locations: &self.locations,
            community: self.community.as_ref(),
            only: only.cloned(),
        }
    }
}

/// What is said of a study, without its series.
fn described_by<'a>(first: &Study, all: impl Iterator<Item = &'a Study>) -> Study {
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
        modalities,
        regions: first.regions.clone(),
        procedures: first.procedures.clone(),
        viewer_urls: first.viewer_urls.clone(),
        declared_series: None,
        series: Vec::new(),
    }
}

/// One series of all that list it, as the first of them describes it; each instance is on the first
/// shelf that has it.
fn united_series(first: &Series, found: &[(&Series, &Shelf)]) -> (Series, Vec<Shelf>) {
    let mut seen: HashSet<&SopInstanceUid> = HashSet::new();
    let mut shelves = Vec::new();
    let mut instances: Vec<Instance> = Vec::new();
    for (series, shelf) in found {
        let own = series.instances.iter();
        // A series that is on several shelves already has the instances of all of them.
        let own = own.filter(|instance| shelf.listing.instances.contains_key(&instance.uid));
        let new: Vec<Instance> = own.filter(|one| seen.insert(&one.uid)).cloned().collect();
        if new.is_empty() && !shelves.is_empty() {
            continue;
        }
        let mut own = (*shelf).clone();
        if new.len() != shelf.listing.instances.len() {
            let Listing { study, series, .. } = &*shelf.listing;
            own.listing = Arc::new(listing(study, series, &new));
        }
        shelves.push(own);
        instances.extend(new);
    }
    let declared = found.iter().filter_map(|(one, _)| one.declared_instances);
    let united = Series {
        declared_instances: declared.max(),
        is_listed_elsewhere: found.iter().all(|(one, _)| one.is_listed_elsewhere),
        instances,
        ..described(first)
    };
    (united, shelves)
}

/// What is said of a series, without its instances.
fn described(series: &Series) -> Series {
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
        is_listed_elsewhere: series.is_listed_elsewhere,
        locations: series.locations.clone(),
        instances: Vec::new(),
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
mod tests {
    use super::*;

    const STUDY: &str = "1.2.1";

    /// A manifest of one study: series, each with its instances, all at one place.
    fn holding(place: &str, all: &[(&str, &[&str])]) -> Arc<Holding> {
        let series: Vec<_> = all
            .iter()
            .map(|(uid, instances)| {
                let instances: Vec<_> = instances
                    .iter()
                    .map(|uid| {
                        serde_json::json!({
                            "uid": uid,
                            "sopClass": { "code": "urn:oid:1.2.840.10008.5.1.4.1.1.2" },
                        })
                    })
                    .collect();
                serde_json::json!({
                    "uid": uid,
                    "endpoint": [{ "reference": "urn:uuid:2" }],
                    "instance": instances,
                })
            })
            .collect();
        let bundle = serde_json::json!({
            "resourceType": "Bundle", "type": "collection",
            "entry": [
                { "fullUrl": "urn:uuid:1", "resource": {
                    "resourceType": "ImagingStudy", "status": "available",
                    "identifier": [{ "system": "urn:dicom:uid", "value": format!("urn:oid:{STUDY}") }],
                    "series": series,
                }},
                { "fullUrl": "urn:uuid:2", "resource": {
                    "resourceType": "Endpoint", "status": "active",
                    "connectionType": { "code": "dicom-wado-rs" },
                    "address": format!("http://{place}/rs/"),
                }},
            ],
        });
        let manifest = crate::manifest::read(bundle.to_string().as_bytes()).expect("a manifest");
        Arc::new(Holding::new(manifest.studies, None))
    }

    fn united(holdings: &[Arc<Holding>], located: &str) -> Holding {
        let is_located = |locations: &[Location], _: Option<&HomeCommunityId>| {
            format!("{locations:?}").contains(located)
        };
        let study = StudyInstanceUid::parse(STUDY).expect("a uid");
        Holding::united(holdings, &study, is_located).expect("a study")
    }

    /// Where a study's instances are, as `(place, instances)` of each selected part.
    fn selected(holding: &Holding, target: &Target) -> Option<Vec<(String, Vec<String>)>> {
        let selected = holding.select(target)?.into_iter().map(|selected| {
            let listed = selected.listing.instances.keys();
            let mut listed: Vec<_> = listed.map(ToString::to_string).collect();
            listed.sort();
            let place = format!("{:?}", selected.locations);
            let name = ["alpha", "beta"]
                .into_iter()
                .find(|name| place.contains(name));
            (name.unwrap_or_default().to_owned(), listed)
        });
        Some(selected.collect())
    }

    fn whole() -> Target {
        Target::Study(StudyInstanceUid::parse(STUDY).expect("a uid"))
    }

    fn parts(all: &[(&str, &[&str])]) -> Option<Vec<(String, Vec<String>)>> {
        let parts = all.iter().map(|(place, uids)| {
            let uids = uids.iter().map(|uid| (*uid).to_owned());
            ((*place).to_owned(), uids.collect())
        });
        Some(parts.collect())
    }

    #[test]
    fn manifests_of_one_study_complete_each_other() {
        let one = holding("alpha", &[("1.2.2", &["1.5.1", "1.5.2"])]);
        let two = holding(
            "beta",
            &[("1.2.2", &["1.5.2", "1.5.3"]), ("1.2.3", &["1.6.1"])],
        );
        let both = united(&[one, two], "http");
        assert_eq!(both.instances(), 4);
        assert_eq!(both.studies.len(), 1);
        let series = &both.studies[0].series;
        assert_eq!(
            series.iter().map(|s| s.instances.len()).collect::<Vec<_>>(),
            [3, 1]
        );
        let expected = parts(&[
            ("alpha", &["1.5.1", "1.5.2"]),
            ("beta", &["1.5.3"]),
            ("beta", &["1.6.1"]),
        ]);
        assert_eq!(selected(&both, &whole()), expected);
        let instance = |uid: &str| {
            Target::Instance(
                StudyInstanceUid::parse(STUDY).expect("a uid"),
                SeriesInstanceUid::parse("1.2.2").expect("a uid"),
                SopInstanceUid::parse(uid).expect("a uid"),
            )
        };
        let third = selected(&both, &instance("1.5.3"));
        assert_eq!(third, parts(&[("beta", &["1.5.3"])]));
        assert_eq!(selected(&both, &instance("1.6.1")), None);
    }

    #[test]
    fn what_several_list_is_looked_for_where_it_can_be_found() {
        let one = holding("alpha", &[("1.2.2", &["1.5.1", "1.5.2"])]);
        let two = holding("beta", &[("1.2.2", &["1.5.2"])]);
        let both = united(&[one, two], "beta");
        let expected = parts(&[("beta", &["1.5.2"]), ("alpha", &["1.5.1"])]);
        assert_eq!(selected(&both, &whole()), expected);
    }
}
