//! Merges studies, series and instances that a Bundle lists more than once, then compares declared
//! and listed numbers.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use super::Warnings;
use super::study::StudyEntry;
use crate::manifest::{Patient, Series, Study, Warning};

/// One study for each Study Instance UID, in the order of their first entries in the Bundle.
pub(super) fn merge(entries: Vec<StudyEntry>, warnings: &mut Warnings) -> Vec<Study> {
    let (mut duplicates, mut shared) = (0, 0);
    let mut studies = Vec::new();
    for mut entry in merge_studies(entries, warnings) {
        let series = std::mem::take(&mut entry.study.series);
        entry.study.series = merge_series(series, warnings);
        duplicates += keep_first(&mut entry.study.series);
        shared += in_several_series(&entry.study.series);
        compare(&entry, warnings);
        studies.push(entry.study);
    }
    if duplicates > 0 {
        warnings.add(Warning::Duplicates(duplicates));
    }
    if shared > 0 {
        warnings.add(Warning::InSeveralSeries(shared));
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
                first.study.series.extend(entry.study.series);
                join_patients(&mut first.study, entry.study.patient, warnings);
                warnings.malformed("repeated study");
            }
            None => merged.push(entry),
        }
    }
    merged
}

/// Merges the patients of two entries for a study: none if they disagree.
fn join_patients(study: &mut Study, other: Arc<Patient>, warnings: &mut Warnings) {
    let differ = Warning::PatientsDiffer(study.uid.clone());
    if warnings.seen.contains(&differ) || study.patient.disagrees_with(&other) {
        warnings.add(differ);
        study.patient = Arc::default();
    } else if *study.patient == Patient::default() {
        study.patient = other;
    }
}

fn merge_series(series: Vec<Series>, warnings: &mut Warnings) -> Vec<Series> {
    let mut positions = HashMap::new();
    let mut merged: Vec<Series> = Vec::new();
    for series in series {
        let position = *positions.entry(series.uid.clone()).or_insert(merged.len());
        match merged.get_mut(position) {
            Some(first) => {
                extend(first, series);
                warnings.malformed("repeated series");
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

/// The number of instances that another series before theirs lists too.
fn in_several_series(series: &[Series]) -> u32 {
    let mut seen = HashSet::new();
    let instances = series.iter().flat_map(|series| &series.instances);
    let again = instances.filter(|instance| !seen.insert(&instance.uid));
    u32::try_from(again.count()).unwrap_or(u32::MAX)
}

fn compare(entry: &StudyEntry, warnings: &mut Warnings) {
    let series = &entry.study.series;
    let instances = series.iter().map(|series| series.instances.len()).sum();
    warnings.count("series", entry.study.declared_series, series.len());
    warnings.count("instances", entry.declared_instances, instances);
    for series in series {
        match series.unlisted() {
            0 => warnings.count(
                "instances",
                series.declared_instances,
                series.instances.len(),
            ),
            unlisted => warnings.add(Warning::Unlisted {
                series: series.uid.clone(),
                unlisted,
            }),
        }
        if series.locations.is_empty() {
            warnings.add(Warning::NoLocation(series.uid.clone()));
        }
    }
}
