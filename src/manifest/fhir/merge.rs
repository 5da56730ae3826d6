//! Merges studies, series and instances that a Bundle lists more than once, then compares declared
//! and listed numbers.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use super::study::StudyEntry;
use crate::dicom::SeriesInstanceUid;
use crate::manifest::warning::{Defect, Subject, Warnings};
use crate::manifest::{Patient, Series, Study};

/// One study for each Study Instance UID, in the order of their first entries in the Bundle.
pub(super) fn merge(entries: Vec<StudyEntry>, warnings: &mut Warnings) -> Vec<Study> {
    let (mut duplicates, mut shared) = (0, 0);
    let mut sharing = Vec::new();
    let mut studies = Vec::new();
    for mut entry in merge_studies(entries, warnings) {
        warnings.turn_to(Subject::Study(entry.study.uid.clone()));
        let series = std::mem::take(&mut entry.study.series);
        entry.study.series = merge_series(series, warnings);
        duplicates += keep_first(&mut entry.study.series);
        shared += in_several_series(&entry.study.series, &mut sharing);
        compare(&entry, warnings);
        studies.push(entry.study);
    }
    if duplicates > 0 {
        warnings.turn_to(Subject::Manifest);
        warnings.read_all_the_same(Defect::Duplicates(duplicates));
    }
    for series in sharing {
        warnings.turn_to(Subject::Series(series));
        warnings.read_all_the_same(Defect::InSeveralSeries(shared));
    }
    studies
}

fn merge_studies(entries: Vec<StudyEntry>, warnings: &mut Warnings) -> Vec<StudyEntry> {
    let mut merged: Vec<StudyEntry> = Vec::new();
    for entry in entries {
        match merged
            .iter_mut()
            .find(|first| first.study.uid == entry.study.uid)
        {
            Some(first) => {
                warnings.turn_to(Subject::Study(first.study.uid.clone()));
                first.study.series.extend(entry.study.series);
                first.join_patients(entry.study.patient, warnings);
                warnings.read_all_the_same(Defect::Repeated("study"));
            }
            None => merged.push(entry),
        }
    }
    merged
}

impl StudyEntry {
    /// Merges the patients of two entries for a study: none if they disagree.
    fn join_patients(&mut self, other: Arc<Patient>, warnings: &mut Warnings) {
        let study = &mut self.study;
        if self.patients_differ || study.patient.disagrees_with(&other) {
            self.patients_differ = true;
            warnings.left_out(Defect::PatientsDiffer);
            study.patient = Arc::default();
        } else if *study.patient == Patient::default() {
            study.patient = other;
        }
    }
}

fn merge_series(series: Vec<Series>, warnings: &mut Warnings) -> Vec<Series> {
    let mut positions = HashMap::new();
    let mut merged: Vec<Series> = Vec::new();
    for series in series {
        let position = *positions.entry(series.uid.clone()).or_insert(merged.len());
        match merged.get_mut(position) {
            Some(first) => {
                warnings.turn_to(Subject::Series(first.uid.clone()));
                extend(first, series);
                warnings.read_all_the_same(Defect::Repeated("series"));
            }
            None => merged.push(series),
        }
    }
    merged
}

fn extend(first: &mut Series, other: Series) {
    first.instances.extend(other.instances);
    for location in other.locations {
        if !first.locations.contains(&location) {
            first.locations.push(location);
        }
    }
}

/// Keeps the first entry for each instance of a series. Returns the number of removed entries.
fn keep_first(series: &mut [Series]) -> u32 {
    let mut duplicates = 0;
    for series in series {
        let mut seen = HashSet::new();
        series.instances.retain(|instance| {
            let is_new = seen.insert(instance.uid.clone());
            duplicates += u32::from(!is_new);
            is_new
        });
    }
    duplicates
}

/// The number of instances that another series before theirs lists too. Adds the series that share
/// instances, in their order.
fn in_several_series(series: &[Series], sharing: &mut Vec<SeriesInstanceUid>) -> u32 {
    let mut first = HashMap::new();
    let mut shares = vec![false; series.len()];
    let mut shared = 0_u32;
    for (at, listing) in series.iter().enumerate() {
        for instance in &listing.instances {
            let first = *first.entry(&instance.uid).or_insert(at);
            if first != at {
                (shares[first], shares[at]) = (true, true);
                shared = shared.saturating_add(1);
            }
        }
    }
    let sharing_here = series.iter().zip(shares).filter(|(_, shares)| *shares);
    sharing.extend(sharing_here.map(|(series, _)| series.uid.clone()));
    shared
}

fn compare(entry: &StudyEntry, warnings: &mut Warnings) {
    let series = &entry.study.series;
    // Unlisted instances are told of their series.
    let instances = series.iter();
    let instances = instances.map(|series| series.instances.len() + series.unlisted());
    let instances = instances.fold(0, usize::saturating_add);
    warnings.turn_to(Subject::Study(entry.study.uid.clone()));
    warnings.count("series", entry.study.declared_series, series.len());
    warnings.count("instances", entry.declared_instances, instances);
    for series in series {
        warnings.turn_to(Subject::Series(series.uid.clone()));
        let listed = series.instances.len();
        warnings.count_instances(series.declared_instances, listed, series.unlisted());
        if series.locations.is_empty() {
            warnings.left_out(Defect::NoLocation);
        }
    }
}
