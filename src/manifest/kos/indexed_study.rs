//! A study under construction, with an index of its series and instances.

use std::collections::HashMap;
use std::sync::Arc;

use crate::dicom::{SeriesInstanceUid, SopClassUid, SopInstanceUid, StudyInstanceUid};
use crate::manifest::model::{Code, Instance, KeyObject, Series, Study};

/// A study, with the positions of its series and instances.
pub(super) struct IndexedStudy {
    pub(super) study: Study,
    series_at: HashMap<SeriesInstanceUid, u32>,
    instance_at: HashMap<SopInstanceUid, (u32, u32)>,
    /// Further positions of instances that several series list.
    also_at: HashMap<SopInstanceUid, Vec<(u32, u32)>>,
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
                modalities: Vec::new(),
                regions: Vec::new(),
                procedures: Vec::new(),
                viewer_urls: Vec::new(),
                declared_series: None,
                series: Vec::new(),
            },
            series_at: HashMap::new(),
            instance_at: HashMap::new(),
            also_at: HashMap::new(),
        }
    }

    /// The position of a series.
    pub(super) fn find_series(&self, uid: &str) -> Option<u32> {
        self.series_at.get(uid).copied()
    }

    /// The position of the first series that lists an instance.
    pub(super) fn find_series_of(&self, instance: &str) -> Option<u32> {
        self.instance_at.get(instance).map(|(series, _)| *series)
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

    /// Adds a description to an instance, in each series that lists it.
    pub(super) fn describe_instance(&mut self, uid: &str, description: &InstanceDescription) {
        let also = self.also_at.get(uid).into_iter().flatten();
        let places: Vec<_> = self.instance_at.get(uid).into_iter().chain(also).collect();
        let InstanceDescription {
            number,
            frames,
            title,
            description,
        } = description;
        for &&(series, at) in &places {
            let series = &mut self.study.series[series as usize];
            let instance = &mut series.instances[at as usize];
            replace(&mut instance.number, *number);
            replace(&mut instance.frames, *frames);
            if title.is_some() || description.is_some() {
                let key_object: &mut KeyObject = instance.key_object.get_or_insert_default();
                replace(&mut key_object.title, title.clone());
                replace(&mut key_object.description, description.clone());
            }
        }
    }

    /// The number of instances that several series list.
    pub(super) fn in_several_series(&self) -> usize {
        self.also_at.len()
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

    /// Adds an instance; false if the series already lists it. One of another series is another
    /// instance, although it ought to have another UID.
    pub(super) fn add_instance(
        &mut self,
        series: u32,
        class: SopClassUid,
        uid: &SopInstanceUid,
    ) -> bool {
        let first = self.instance_at.get(uid);
        let also = self.also_at.get(uid).into_iter().flatten();
        if first.into_iter().chain(also).any(|place| place.0 == series) {
            return false;
        }
        let is_known = first.is_some();
        let instances = &mut self.series(series).instances;
        let at = position(instances.len());
        instances.push(Instance {
            sop_class: class,
            uid: uid.clone(),
            number: None,
            frames: None,
            key_object: None,
        });
        if is_known {
            let also = self.also_at.entry(uid.clone()).or_default();
            also.push((series, at));
        } else {
            self.instance_at.insert(uid.clone(), (series, at));
        }
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
