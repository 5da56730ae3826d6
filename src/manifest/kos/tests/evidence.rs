//! The evidence sequence: studies, series, instances and their locations.

use super::*;
use crate::community::Address;
use crate::dicom::SeriesInstanceUid;

#[test]
fn reads_a_classic_manifest() {
    let ae_title = || text(tags::RETRIEVE_AE_TITLE, VR::AE, "PACS");
    let manifest = Document::classic()
        .listing(
            STUDY,
            [
                series("1.2.3.1", ["1.2.3.1.1"], [location(), ae_title()]),
                series("1.2.3.2", ["1.2.3.2.1"], [ae_title()]),
            ],
        )
        .read();
    assert_eq!(manifest.format, Format::Kos(Generation::Classic));
    let series = &only_study(&manifest).series;
    assert!(series[0].locations[0].retrieve_location_uid.is_some());
    assert_eq!(
        series[1].locations,
        [Location {
            retrieve_ae_title: Some("PACS".into()),
            ..Location::default()
        }]
    );
    // A setting may know the AE title.
    assert_eq!(manifest.warnings, []);
}

#[test]
fn merges_the_studies_and_series_of_a_classic_manifest() {
    let manifest = Document::classic()
        .with(text(tags::ACCESSION_NUMBER, VR::SH, "A1"))
        .with(text(tags::STUDY_DESCRIPTION, VR::LO, "of 1.2.3"))
        .with(sequence(
            tags::REFERENCED_REQUEST_SEQUENCE,
            [object([
                text(tags::STUDY_INSTANCE_UID, VR::UI, "1.2.4"),
                text(tags::ACCESSION_NUMBER, VR::SH, "A2"),
            ])],
        ))
        .listing(STUDY, [series("1.2.3.1", ["1.2.3.1.1"], [location()])])
        .listing("1.2.4", [series("1.2.4.1", ["1.2.4.1.1"], [location()])])
        .listing(
            STUDY,
            [
                series("1.2.3.1", ["1.2.3.1.1", "1.2.3.1.2"], [location()]),
                series("1.2.3.2", ["1.2.3.2.1"], [location()]),
            ],
        )
        .read();
    let listed: Vec<_> = manifest
        .studies
        .iter()
        .map(|study| {
            let instances: Vec<_> = study.series.iter().map(|s| s.instances.len()).collect();
            (study.uid.as_str(), instances)
        })
        .collect();
    assert_eq!(listed, [(STUDY, vec![2, 1]), ("1.2.4", vec![1])]);
    assert_eq!(manifest.studies[0].series[0].locations.len(), 1);
    assert_eq!(defects(&manifest), [Defect::Duplicates(1)]);
    assert_eq!(&*manifest.studies[0].accessions[0].value, "A1");
    assert_eq!(&*manifest.studies[1].accessions[0].value, "A2");
    assert_eq!(manifest.studies[1].description, None);
}

#[test]
fn an_instance_in_two_series_is_in_both() {
    let listed = [
        series("1.2.3.1", ["1.2.3.1.1"], [location()]),
        series(
            "1.2.3.2",
            ["1.2.3.2.1", "1.2.3.1.1", "1.2.3.1.1"],
            [location()],
        ),
    ];
    let of_group = |uid, number| {
        let entry = reference("1.2.3.1.1", [text_item(dcm("113609"), number)]);
        group([uid_item(uid), entry])
    };
    let manifest = Document::classic()
        .listing(STUDY, listed)
        .with_content([library([
            of_group("1.2.3.2", "7"),
            of_group("1.2.3.1", "5"),
        ])])
        .read();
    let numbers: Vec<Vec<_>> = manifest.studies[0]
        .series
        .iter()
        .map(|series| series.instances.iter().map(|one| one.number).collect())
        .collect();
    assert_eq!(numbers, [vec![Some(5)], vec![None, Some(7)]]);
    let of_series = |uid| Subject::Series(SeriesInstanceUid::parse(uid).expect("a UID"));
    let sharing = ["1.2.3.1", "1.2.3.2"].map(of_series);
    let in_both = Defect::InSeveralSeries(1);
    let in_both = Warning::about_all(sharing, Outcome::ReadAllTheSame, in_both);
    let twice = read_all_the_same(Subject::Manifest, Defect::Duplicates(1));
    assert_eq!(manifest.warnings, [twice, in_both.expect("two series")]);
}

#[test]
fn a_foreign_or_unusable_url_of_the_document_locates_nothing() {
    for (url, defect) in [
        ("https://h.example/rs/studies/1.2.9", Defect::ForeignAddress),
        (
            "ftp://h.example/rs",
            Defect::UnusableAddress(Address::parse("ftp://h.example/rs").expect_err("no address")),
        ),
    ] {
        let manifest = Document::classic()
            .with(text(tags::RETRIEVE_URL, VR::UR, url))
            .listing(STUDY, [series("1.2.3.1", ["1.2.3.1.1"], [])])
            .read();
        assert_eq!(defects(&manifest).first(), Some(&defect), "{url}");
        assert_eq!(manifest.warnings[0].outcome, Outcome::LeftOut);
    }
}

/// The texts of DRIM-M, in both places, and the Retrieve URL of the whole document.
#[test]
fn reads_what_drim_m_writes_in_texts() {
    let lines = "Examen : Thorax\nActe = Scanner\nSérie-1.2.3.1 : CT @  : Poumon\n\
                 Série-1.2.3.2 : MR : / @ : Crâne\nSérie-1.2.9 : US @ : ailleurs\n";
    let url = "https://pacs.example/rs/studies/1.2.3/series/1.2.3.2";
    let of_content = text_item(dcm("113012"), lines);
    for (at_root, content) in [(None, Some(of_content)), (Some(lines), None)] {
        let mut document = Document::classic()
            .with(text(tags::SPECIFIC_CHARACTER_SET, VR::CS, "ISO_IR 192"))
            .with(text(tags::RETRIEVE_URL, VR::UR, url))
            .listing(
                STUDY,
                [
                    series("1.2.3.1", ["1.2.3.1.1"], []),
                    series("1.2.3.2", ["1.2.3.2.1"], [location()]),
                ],
            )
            .with_content(content);
        if let Some(lines) = at_root {
            document = document.with(text(tags::TEXT_VALUE, VR::UT, lines));
        }
        let manifest = document.read();
        let described: Vec<_> = manifest.studies[0]
            .series
            .iter()
            .map(|series| (series.modality.as_deref(), series.description.as_deref()))
            .collect();
        let expected = [(Some("CT"), Some("Poumon")), (Some("MR"), Some("Crâne"))];
        assert_eq!(described, expected);
        let places = manifest.studies[0]
            .series
            .iter()
            .map(|series| &series.locations);
        let urls: Vec<_> = places.map(|all| all[0].retrieve_url.as_deref()).collect();
        assert_eq!(urls, [Some("https://pacs.example/rs"), None]);
        assert_eq!(manifest.warnings, []);
    }
}

#[test]
fn reads_what_xt_ehr_writes_beside_the_evidence() {
    let key_object = {
        let mut item = instance(SOP_CLASS, "1.2.3.1.2");
        let mut flagged = instance(CT, "1.2.3.1.1");
        flagged.put(sequence(
            tags::PURPOSE_OF_REFERENCE_CODE_SEQUENCE,
            [dcm("113000")],
        ));
        item.put(sequence(
            tags::RELATED_SERIES_SEQUENCE,
            [object([
                text(tags::SERIES_INSTANCE_UID, VR::UI, "1.2.3.1"),
                sequence(tags::REFERENCED_SOP_SEQUENCE, [flagged]),
            ])],
        ));
        item.put(sequence(
            tags::CONTENT_SEQUENCE,
            [object([text(tags::TEXT_VALUE, VR::UT, "look here")])],
        ));
        item
    };
    let image = {
        let mut item = instance(CT, "1.2.3.1.1");
        item.put(text(tags::INSTANCE_NUMBER, VR::IS, "3"));
        item.put(text(tags::NUMBER_OF_FRAMES, VR::IS, "9"));
        item
    };
    let url = "https://pacs.example/rs/studies/1.2.3/series/1.2.3.1";
    let listed = object([
        text(tags::SERIES_INSTANCE_UID, VR::UI, "1.2.3.1"),
        text(tags::RETRIEVE_URL, VR::UR, url),
        text(tags::MODALITY, VR::CS, "CT"),
        text(tags::SERIES_DATE, VR::DA, "20260102"),
        text(tags::SERIES_TIME, VR::TM, "1011"),
        text(tags::SERIES_DESCRIPTION, VR::LO, "direct"),
        sequence(tags::REFERENCED_SOP_SEQUENCE, [image, key_object]),
    ]);
    let bare = Document::classic().listing(STUDY, [listed.clone()]).read();
    let series = first_series(&bare);
    assert_eq!(bare.warnings, []);
    let base = series.locations[0].retrieve_url.as_deref();
    assert_eq!(
        base.map(|url| url.trim_end_matches('/')),
        Some("https://pacs.example/rs")
    );
    assert_eq!(series.description.as_deref(), Some("direct"));
    assert_eq!(series.time.as_deref(), Some("1011"));
    assert_eq!(only_study(&bare).modalities, ["CT".into()]);
    assert_eq!(series.instances[0].number, Some(3));
    assert_eq!(series.instances[0].frames, Some(9));
    assert_eq!(series.instances[0].key_object, None);
    let key_object = series.instances[1].key_object.as_deref().expect("a KOS");
    assert_eq!(key_object.description.as_deref(), Some("look here"));
    assert!(
        key_object
            .title
            .as_ref()
            .is_some_and(|title| &*title.value == "113000")
    );
    let flagged: Vec<_> = key_object
        .flagged
        .iter()
        .map(|one| one.uid.as_str())
        .collect();
    assert_eq!(flagged, ["1.2.3.1.1"]);

    let group = group([
        uid_item("1.2.3.1"),
        text_item(dcm("131563"), "in the library"),
        reference("1.2.3.1.1", [text_item(dcm("113609"), "4")]),
    ]);
    let both = Document::classic()
        .listing(STUDY, [listed])
        .with_content([library([group])])
        .read();
    let series = first_series(&both);
    assert_eq!(series.description.as_deref(), Some("in the library"));
    assert_eq!(series.time.as_deref(), Some("1011"));
    assert_eq!(series.instances[0].number, Some(4));
    assert_eq!(series.instances[0].frames, Some(9));
}

#[test]
fn ignores_a_retrieve_url_of_another_series() {
    let url = "https://pacs.example/rs/studies/1.2.3/series/9.9";
    let url = text(tags::RETRIEVE_URL, VR::UR, url);
    let manifest = Document::classic()
        .listing(STUDY, [series("1.2.3.1", ["1.2.3.1.1"], [url])])
        .read();
    let series = first_series(&manifest);
    assert_eq!(series.locations, []);
    assert_eq!(
        manifest.warnings,
        [Defect::ForeignAddress, Defect::NoLocation]
            .map(|defect| left_out(Subject::Series(series.uid.clone()), defect))
    );
}

#[test]
fn warns_of_strange_retrieve_location_uids() {
    let at = |uid| [text(tags::RETRIEVE_LOCATION_UID, VR::UI, uid)];
    let manifest = Document::classic()
        .listing(
            STUDY,
            [
                series("1.2.3.1", ["1.2.3.1.1"], at("ACME")),
                series("1.2.3.2", ["1.2.3.2.1"], at("urn:oid:5.6.7")),
                series("1.2.3.3", ["1.2.3.3.1"], at("no such place")),
            ],
        )
        .read();
    let series = &only_study(&manifest).series;
    let places: Vec<_> = series
        .iter()
        .map(|s| {
            Some(
                s.locations
                    .first()?
                    .retrieve_location_uid
                    .as_ref()?
                    .as_str(),
            )
        })
        .collect();
    assert_eq!(places, [Some("ACME"), Some("5.6.7"), None]);
    assert_eq!(
        defects(&manifest),
        [
            Defect::OpaqueLocation("ACME".into()),
            Defect::UnregistrableOid("5.6.7".into()),
            Defect::Malformed("Retrieve Location UID"),
            Defect::NoLocation,
        ]
    );
}
