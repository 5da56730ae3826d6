//! A study under construction, with an index of its series and instances.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use crate::dicom::{SeriesInstanceUid, SopClassUid, SopInstanceUid, StudyInstanceUid};
use crate::manifest::model::{Code, FlaggedInstance, Instance, KeyObject, Series, Study};
use crate::manifest::warning::Subject;

/// A study, with the positions of its series and instances.
pub(super) struct IndexedStudy {
    pub(super) study: Study,
    series_at: HashMap<SeriesInstanceUid, u32>,
    instance_at: HashMap<SopInstanceUid, Place>,
    /// The positions of instances that are in further series, by series.
    further_at: HashMap<(u32, SopInstanceUid), Place>,
}

/// The positions of a series and of an instance in it.
#[derive(Clone, Copy)]
struct Place {
    series: u32,
    instance: u32,
}

/// The description of a series; `None` for missing values.
#[derive(Default)]
pub(super) struct SeriesDescription {
    pub(super) number: Option<i32>,
    pub(super) modality: Option<Box<str>>,
    pub(super) description: Option<Box<str>>,
    pub(super) date: Option<Box<str>>,
    pub(super) time: Option<Box<str>>,
    pub(super) body_site: Option<Code>,
    pub(super) laterality: Option<Code>,
    pub(super) declared_instances: Option<u32>,
}

/// The description of an instance.
#[derive(Default)]
pub(super) struct InstanceDescription {
    pub(super) number: Option<i32>,
    pub(super) frames: Option<u32>,
    pub(super) title: Option<Code>,
    pub(super) description: Option<Box<str>>,
    pub(super) flagged: Vec<FlaggedInstance>,
}

impl InstanceDescription {
    fn is_of_key_object(&self) -> bool {
        self.title.is_some() || self.description.is_some() || !self.flagged.is_empty()
    }
}

impl IndexedStudy {
    pub(super) fn new(uid: StudyInstanceUid) -> Self {
        Self {
            study: Study {
                uid,
                patient: Arc::default(),
                date: None,
                time: None,
                timezone: None,
                description: None,
                accessions: Vec::new(),
                referring_physician: None,
                study_id: None,
                modalities: Vec::new(),
                regions: Vec::new(),
                procedures: Vec::new(),
                viewer_urls: Vec::new(),
                declared_series: None,
                series: Vec::new(),
            },
            series_at: HashMap::new(),
            instance_at: HashMap::new(),
            further_at: HashMap::new(),
        }
    }

    /// The study, or one of its series, as the subject of warnings.
    pub(super) fn subject(&self, series: Option<u32>) -> Subject {
        let series = series.and_then(|at| self.study.series.get(at as usize));
        series.map_or_else(
            || Subject::Study(self.study.uid.clone()),
            |series| Subject::Series(series.uid.clone()),
        )
    }

    /// The position of a series.
    pub(super) fn find_series(&self, uid: &str) -> Option<u32> {
        self.series_at.get(uid).copied()
    }

    /// The position of the first series that lists an instance.
    pub(super) fn find_series_of(&self, instance: &str) -> Option<u32> {
        self.instance_at.get(instance).map(|place| place.series)
    }

    /// The number of entries for instances that another series lists too.
    pub(super) fn in_several_series(&self) -> usize {
        self.further_at.len()
    }

    /// The positions of the series that share instances.
    pub(super) fn sharing_series(&self) -> BTreeSet<u32> {
        let further = self.further_at.keys();
        let sharing = further.flat_map(|(series, uid)| {
            let first = self.instance_at.get(uid).map(|place| place.series);
            std::iter::once(*series).chain(first)
        });
        sharing.collect()
    }

    /// The place of an instance in a series, else the first one.
    fn place(&self, uid: &str, series: Option<u32>) -> Option<Place> {
        let first = self.instance_at.get(uid).copied();
        if self.further_at.is_empty() {
            return first;
        }
        let key = series.zip(SopInstanceUid::parse(uid).ok());
        let further = key.and_then(|key| self.further_at.get(&key).copied());
        further.or(first)
    }

    /// Adds a description to a series.
    pub(super) fn describe_series(&mut self, at: u32, description: SeriesDescription) {
        let series = self.series(at);
        replace(&mut series.number, description.number);
        replace(&mut series.modality, description.modality);
        replace(&mut series.description, description.description);
        replace(&mut series.date, description.date);
        replace(&mut series.time, description.time);
        replace(&mut series.body_site, description.body_site);
        replace(&mut series.laterality, description.laterality);
        replace(
            &mut series.declared_instances,
            description.declared_instances,
        );
    }

    /// Adds a description to an instance: that of a series, if several list it.
    pub(super) fn describe_instance(
        &mut self,
        uid: &str,
        series: Option<u32>,
        description: InstanceDescription,
    ) {
        let Some(place) = self.place(uid, series) else {
            return;
        };
        let instance = &mut self.series(place.series).instances[place.instance as usize];
        replace(&mut instance.number, description.number);
        replace(&mut instance.frames, description.frames);
        if description.is_of_key_object() {
            let key_object: &mut KeyObject = instance.key_object.get_or_insert_default();
            replace(&mut key_object.title, description.title);
            replace(&mut key_object.description, description.description);
            key_object.flagged.extend(description.flagged);
        }
    }

    pub(super) fn series(&mut self, at: u32) -> &mut Series {
        &mut self.study.series[at as usize]
    }

    pub(super) fn add_series(&mut self, uid: &SeriesInstanceUid) -> u32 {
        let at = position(self.study.series.len());
        self.series_at.insert(uid.clone(), at);
        self.study.series.push(Series {
            uid: uid.clone(),
            number: None,
            modality: None,
            description: None,
            date: None,
            time: None,
            body_site: None,
            laterality: None,
            declared_instances: None,
            locations: Vec::new(),
            instances: Vec::new(),
        });
        at
    }

    /// Adds an instance; false if the series already lists it.
    pub(super) fn add_instance(
        &mut self,
        series: u32,
        class: SopClassUid,
        uid: &SopInstanceUid,
    ) -> bool {
        let first = self.instance_at.get(uid).map(|place| place.series);
        let key = (series, uid.clone());
        if first == Some(series) || self.further_at.contains_key(&key) {
            return false;
        }
        let instances = &mut self.series(series).instances;
        let instance = position(instances.len());
        instances.push(Instance {
            sop_class: class,
            uid: uid.clone(),
            number: None,
            frames: None,
            key_object: None,
        });
        let place = Place { series, instance };
        match first {
            Some(_) => self.further_at.insert(key, place),
            None => self.instance_at.insert(key.1, place),
        };
        true
    }
}

fn position(len: usize) -> u32 {
    u32::try_from(len).expect("the limits for series and instances are below u32::MAX")
}

fn replace<T>(field: &mut Option<T>, value: Option<T>) {
    if value.is_some() {
        *field = value;
    }
}
