//! The image library: descriptions of series and instances.

use super::*;

#[test]
fn reads_descriptors_that_stand_before_their_instance() {
    let manifest = Document::mado()
        .with_content([library([group([
            uid_item("1.2.3.1"),
            text_item(dcm("131563"), "Thorax"),
            text_item(dcm("113609"), "8"),
            number_item(dcm("121140"), "2"),
            reference("1.2.3.1.1", []),
            reference("1.2.3.1.2", []),
            text_item(dcm("113609"), "99"),
        ])])])
        .read();
    let series = first_series(&manifest);
    assert_eq!(series.description.as_deref(), Some("Thorax"));
    assert_eq!(series.number, None);
    let said: Vec<_> = series
        .instances
        .iter()
        .map(|i| (i.number, i.frames))
        .collect();
    assert_eq!(said, [(Some(8), Some(2)), (None, None)]);
    assert_eq!(
        manifest.warnings,
        [read_all_the_same(
            Subject::Series(series.uid.clone()),
            Defect::DescriptorPlace
        )]
    );
}

#[test]
fn prefers_descriptors_below_an_instance() {
    let manifest = Document::mado()
        .with_content([library([group([
            uid_item("1.2.3.1"),
            text_item(dcm("113609"), "8"),
            reference("1.2.3.1.1", [text_item(dcm("113609"), "5")]),
        ])])])
        .read();
    assert_eq!(first_series(&manifest).instances[0].number, Some(5));
    assert_eq!(manifest.warnings, []);
}

#[test]
fn joins_a_group_without_series_uid_by_its_instances() {
    let manifest = Document::mado()
        .with_content([library([
            group([
                text_item(dcm("131563"), "Thorax"),
                reference("1.2.3.1.2", []),
            ]),
            group([uid_item("1.2.9.9"), text_item(dcm("131563"), "foreign")]),
        ])])
        .read();
    assert_eq!(
        first_series(&manifest).description.as_deref(),
        Some("Thorax")
    );
    assert_eq!(
        manifest.warnings,
        [
            read_all_the_same(
                Subject::Series(first_series(&manifest).uid.clone()),
                Defect::GroupWithoutSeries
            ),
            left_out(
                Subject::Study(only_study(&manifest).uid.clone()),
                Defect::NotListed("image library group")
            ),
        ]
    );
}

/// The habits of one published example.
#[test]
fn reads_wrong_representations_relations_and_containers() {
    let mut nameless = code("111028", "DCM", "Image Library");
    nameless.remove_element(tags::CODING_SCHEME_DESIGNATOR);
    let mut by_meaning = dcm("");
    by_meaning.put(text(tags::CODE_MEANING, VR::SH, "Series Description"));
    by_meaning.remove_element(tags::CODE_VALUE);
    let mut modality = code_item(dcm("121139"), dcm("CT"));
    modality.put(text(tags::RELATIONSHIP_TYPE, VR::CS, "HAS_ACQ_CONTEXT"));
    let mut described = value_item("TEXT", by_meaning, text(tags::TEXT_VALUE, VR::LO, "Thorax"));
    described.remove_element(tags::RELATIONSHIP_TYPE);
    let mut group = group([uid_item("1.2.3.1"), modality, described]);
    group.remove_element(tags::RELATIONSHIP_TYPE);
    let manifest = Document::mado()
        .with(text(tags::STUDY_INSTANCE_UID, VR::SH, STUDY))
        .with(text(tags::PATIENT_ID, VR::UI, "P1"))
        .with(text(tags::ACCESSION_NUMBER, VR::IS, "77"))
        .with(DataElement::new(
            tags::PATIENT_NAME,
            VR::OB,
            dicom_value!(U8, [1, 2]),
        ))
        .with_content([container(dcm("ddd001"), [container(nameless, [group])])])
        .read();
    let series = first_series(&manifest);
    assert_eq!(series.modality.as_deref(), Some("CT"));
    assert_eq!(series.description.as_deref(), Some("Thorax"));
    assert_eq!(&*manifest.studies[0].patient.ids[0].value, "P1");
    assert_eq!(manifest.studies[0].patient.name, None);
    assert_eq!(&*only_study(&manifest).accessions[0].value, "77");
    let tolerated = [
        Defect::Representation("StudyInstanceUID"),
        Defect::Representation("PatientID"),
        Defect::Representation("AccessionNumber"),
        Defect::Representation("CodeMeaning"),
        Defect::Representation("TextValue"),
        Defect::Relationship,
        Defect::ConceptCode,
        Defect::LibraryPlace,
    ];
    let missing = [Defect::Representation("PatientName")];
    for warning in &manifest.warnings {
        let expected = match warning.outcome {
            Outcome::LeftOut => missing.contains(&warning.defect),
            Outcome::ReadAllTheSame => tolerated.contains(&warning.defect),
        };
        assert!(expected, "{warning:?}");
    }
    assert_eq!(manifest.warnings.len(), tolerated.len() + missing.len());
}

#[test]
fn looks_for_the_library_four_levels_deep() {
    let below = |levels| {
        let wanted = library([group([
            uid_item("1.2.3.1"),
            code_item(dcm("121139"), dcm("CT")),
        ])]);
        let wrapped = (1..levels).fold(wanted, |inner, _| container(dcm("1"), [inner]));
        Document::mado().with_content([wrapped]).read()
    };
    assert_eq!(first_series(&below(4)).modality.as_deref(), Some("CT"));
    assert_eq!(first_series(&below(5)).modality, None);
    assert_eq!(defects(&below(5)), [Defect::NoLibrary]);
}

#[test]
fn groups_outside_a_library_are_used() {
    let of_series = || group([uid_item("1.2.3.1"), code_item(dcm("121139"), dcm("CT"))]);
    for content in [of_series(), container(dcm("1"), [of_series()])] {
        let manifest = Document::mado().with_content([content]).read();
        assert_eq!(first_series(&manifest).modality.as_deref(), Some("CT"));
        let study = Subject::Study(only_study(&manifest).uid.clone());
        let told = read_all_the_same(study, Defect::GroupPlace);
        assert_eq!(manifest.warnings, [told]);
    }
}

#[test]
fn misses_the_library_only_where_the_title_promises_one() {
    assert_eq!(defects(&Document::mado().read()), [Defect::NoLibrary]);
    let listed = [series("1.2.3.1", ["1.2.3.1.1"], [location()])];
    let classic = Document::classic().listing(STUDY, listed).read();
    assert_eq!(classic.warnings, []);
}

#[test]
fn reads_counts_that_are_written_as_text() {
    let manifest = Document::mado()
        .with_content([library([
            number_item(dcm("131565"), "3"),
            group([
                uid_item("1.2.3.1"),
                text_item(dcm("131564"), "(50, UCUM, \"instances\")"),
            ]),
        ])])
        .read();
    assert_eq!(first_series(&manifest).declared_instances, Some(50));
    assert_eq!(
        defects(&manifest),
        [
            Defect::NumberAsText("number of instances"),
            Defect::CountDiffers {
                what: "series",
                declared: 3,
                listed: 1
            },
            Defect::CountDiffers {
                what: "instances",
                declared: 50,
                listed: 2
            },
        ]
    );
}
