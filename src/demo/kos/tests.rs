//! The manifest, read back as a DICOM file.

use dicom_core::value::Value;
use dicom_object::{DefaultDicomObject, InMemDicomObject, from_reader};

use super::super::model::two_locations as locations;
use super::super::study;
use super::*;

fn written(study: &Study, locations: &[LocationIds]) -> DefaultDicomObject {
    let bytes = write(study, locations);
    from_reader(bytes.as_slice()).expect("a DICOM file")
}

fn items(object: &InMemDicomObject, tag: Tag) -> &[InMemDicomObject] {
    match object.get(tag).map(|element| element.value()) {
        Some(Value::Sequence(sequence)) => sequence.items(),
        _ => &[],
    }
}

fn text(object: &InMemDicomObject, tag: Tag) -> String {
    let value = object
        .element(tag)
        .expect("present")
        .to_str()
        .expect("text");
    value.trim_end_matches(['\0', ' ']).to_owned()
}

fn concept(item: &InMemDicomObject) -> Option<String> {
    items(item, tags::CONCEPT_NAME_CODE_SEQUENCE)
        .first()
        .map(|code| text(code, tags::CODE_VALUE))
}

fn named<'a>(items: &'a [InMemDicomObject], code: &str) -> Vec<&'a InMemDicomObject> {
    items
        .iter()
        .filter(|item| concept(item).as_deref() == Some(code))
        .collect()
}

fn counted(item: &InMemDicomObject) -> String {
    text(
        &items(item, tags::MEASURED_VALUE_SEQUENCE)[0],
        tags::NUMERIC_VALUE,
    )
}

fn referenced(item: &InMemDicomObject) -> Vec<(String, String)> {
    items(item, tags::REFERENCED_SOP_SEQUENCE)
        .iter()
        .map(|sop| {
            (
                text(sop, tags::REFERENCED_SOP_CLASS_UID),
                text(sop, tags::REFERENCED_SOP_INSTANCE_UID),
            )
        })
        .collect()
}

fn listed(series: &Series) -> Vec<(String, String)> {
    series
        .instances
        .iter()
        .map(|i| (i.sop_class.to_string(), i.uid.to_string()))
        .collect()
}

#[test]
fn is_a_key_object_selection_with_the_title_of_a_manifest() {
    let study = study::small();
    let document = written(&study, &locations());
    assert_eq!(
        text(&document, tags::SOP_CLASS_UID),
        uids::KEY_OBJECT_SELECTION_DOCUMENT_STORAGE
    );
    assert_eq!(
        text(&document, tags::SOP_INSTANCE_UID),
        study.manifest.uid.as_str()
    );
    assert_eq!(concept(&document).as_deref(), Some("131560"));
    assert_eq!(
        text(&document, tags::STUDY_INSTANCE_UID),
        study.uid.as_str()
    );
    assert_eq!(
        text(
            &items(&document, tags::OTHER_PATIENT_I_DS_SEQUENCE)[0],
            tags::PATIENT_ID
        ),
        "XCWADO-DEMO"
    );
    // PS3.5 6.2: an LO has at most 64 characters.
    assert!(text(&document, tags::INSTITUTION_NAME).len() <= 64);
}

#[test]
fn the_evidence_lists_every_instance_with_its_location() {
    let (study, locations) = (study::small(), locations());
    let document = written(&study, &locations);
    let evidence = items(
        &document,
        tags::CURRENT_REQUESTED_PROCEDURE_EVIDENCE_SEQUENCE,
    );
    assert_eq!(evidence.len(), 1);
    let listing = items(&evidence[0], tags::REFERENCED_SERIES_SEQUENCE);
    assert_eq!(listing.len(), study.series.len());
    for (item, series) in listing.iter().zip(&study.series) {
        let ids = &locations[series.location.index()];
        assert_eq!(text(item, tags::SERIES_INSTANCE_UID), series.uid.as_str());
        assert_eq!(
            text(item, tags::RETRIEVE_LOCATION_UID),
            ids.retrieve_location_uid
        );
        assert_eq!(text(item, tags::RETRIEVE_URL), ids.retrieve_url);
        assert_eq!(referenced(item), listed(series));
    }
}

#[test]
fn the_content_tree_cites_every_instance_once() {
    let study = study::small();
    let document = written(&study, &locations());
    let cited: Vec<_> = items(&document, tags::CONTENT_SEQUENCE)
        .iter()
        .flat_map(referenced)
        .collect();
    assert_eq!(
        cited,
        study.series.iter().flat_map(listed).collect::<Vec<_>>()
    );
}

#[test]
fn the_library_describes_every_series_and_instance() {
    let study = study::small();
    let document = written(&study, &locations());
    let library = named(items(&document, tags::CONTENT_SEQUENCE), "111028");
    let described = items(library[0], tags::CONTENT_SEQUENCE);
    assert_eq!(named(described, "121139").len(), 2);
    assert_eq!(counted(named(described, "131565")[0]), "3");
    let groups = named(described, "126200");
    assert_eq!(groups.len(), study.series.len());
    for (group, series) in groups.into_iter().zip(&study.series) {
        let children = items(group, tags::CONTENT_SEQUENCE);
        assert_eq!(
            text(named(children, "112002")[0], tags::UID),
            series.uid.as_str()
        );
        assert_eq!(
            text(named(children, "131563")[0], tags::TEXT_VALUE),
            series.description
        );
        assert_eq!(
            counted(named(children, "131564")[0]),
            series.instances.len().to_string()
        );
        assert_eq!(
            children.iter().flat_map(referenced).collect::<Vec<_>>(),
            listed(series)
        );
        let numbers = children
            .iter()
            .flat_map(|child| named(items(child, tags::CONTENT_SEQUENCE), "113609"));
        assert!(
            numbers
                .map(|item| text(item, tags::TEXT_VALUE))
                .eq(series.instances.iter().map(|i| i.number.to_string()))
        );
    }
}

#[test]
fn the_frames_of_a_multi_frame_instance_are_counted() {
    let mut study = study::small();
    study.series[2].instances[0].frames = Some(12);
    let document = written(&study, &locations());
    let library = named(items(&document, tags::CONTENT_SEQUENCE), "111028");
    let groups = named(items(library[0], tags::CONTENT_SEQUENCE), "126200");
    let entries: Vec<_> = items(groups[2], tags::CONTENT_SEQUENCE)
        .iter()
        .filter(|item| concept(item).is_none())
        .collect();
    assert_eq!(
        counted(named(items(entries[0], tags::CONTENT_SEQUENCE), "121140")[0]),
        "12"
    );
}

#[test]
fn a_series_without_a_known_location_is_listed_without_one() {
    let study = study::small();
    let document = written(&study, &locations()[..1]);
    let evidence = items(
        &document,
        tags::CURRENT_REQUESTED_PROCEDURE_EVIDENCE_SEQUENCE,
    );
    let listing = items(&evidence[0], tags::REFERENCED_SERIES_SEQUENCE);
    assert_eq!(
        listing
            .iter()
            .map(|item| item.get(tags::RETRIEVE_LOCATION_UID).is_some())
            .collect::<Vec<_>>(),
        [true, false, false]
    );
}

#[test]
fn is_the_same_at_every_run() {
    assert!(write(&study::small(), &locations()) == write(&study::small(), &locations()));
}
