//! The top level of a document: titles, codes, patients, accession numbers, refusals.

use super::*;

/// The codes of each generation: title, series description, counts, dates.
const GENERATIONS: [(Generation, &str, [&str; 3], [&str; 3]); 3] = [
    (
        Generation::MadoFinal,
        "DCM",
        ["131560", "131563", "131565"],
        ["131561", "131562", "131564"],
    ),
    (
        Generation::MadoTemporary,
        "99IHE",
        ["MADOTEMP001", "MADOTEMP002", "MADOTEMP009"],
        ["MADOTEMP003", "MADOTEMP004", "MADOTEMP007"],
    ),
    (
        Generation::MadoDraft,
        "DCM",
        ["ddd001", "ddd002", "ddd009"],
        ["ddd003", "ddd004", "ddd007"],
    ),
];

#[test]
fn reads_every_generation_of_codes() {
    for (generation, scheme, [title, description, count], [date, time, instances]) in GENERATIONS {
        let own = |value| code(value, scheme, "whatever");
        let mut document = Document::mado();
        document
            .root
            .put(sequence(tags::CONCEPT_NAME_CODE_SEQUENCE, [own(title)]));
        let manifest = document
            .with_content([library([
                code_item(dcm("121139"), dcm("MR")),
                code_item(dcm("123014"), code("38266002", "SCT", "Entire body")),
                number_item(own(count), "1"),
                group([
                    uid_item("1.2.3.1"),
                    code_item(dcm("121139"), dcm("CT")),
                    text_item(dcm("113607"), "-7"),
                    text_item(own(description), "Thorax"),
                    value_item("DATE", own(date), text(tags::DATE, VR::DA, "20260102")),
                    value_item("TIME", own(time), text(tags::TIME, VR::TM, "101112.5")),
                    number_item(own(instances), "2"),
                    code_item(dcm("123014"), code("80891009", "SCT", "Heart")),
                    code_item(dcm("111027"), code("7771000", "SCT", "Left")),
                    reference(
                        "1.2.3.1.1",
                        [
                            text_item(dcm("113609"), "4"),
                            number_item(dcm("121140"), "12"),
                        ],
                    ),
                ]),
            ])])
            .read();
        assert_eq!(manifest.format, Format::Kos(generation));
        assert_eq!(
            defects(&manifest).contains(&Defect::OldCodes),
            generation != Generation::MadoFinal
        );
        assert!(manifest.warnings.len() <= 1, "{:?}", manifest.warnings);
        let study = only_study(&manifest);
        assert_eq!(study.declared_series, Some(1));
        assert_eq!(study.modalities, ["MR".into(), "CT".into()]);
        assert_eq!(&*study.regions[0].value, "38266002");
        let series = &study.series[0];
        assert_eq!(series.number, Some(-7));
        assert_eq!(series.modality.as_deref(), Some("CT"));
        assert_eq!(series.description.as_deref(), Some("Thorax"));
        assert_eq!(series.date.as_deref(), Some("20260102"));
        assert_eq!(series.time.as_deref(), Some("101112.5"));
        assert_eq!(series.declared_instances, Some(2));
        let value = |code: &Option<Code>| code.as_ref().map(|code| code.value.to_string());
        assert_eq!(value(&series.body_site).as_deref(), Some("80891009"));
        assert_eq!(value(&series.laterality).as_deref(), Some("7771000"));
        assert_eq!(series.instances[0].number, Some(4));
        assert_eq!(series.instances[0].frames, Some(12));
        assert_eq!(series.instances[1].number, None);
    }
}

#[test]
fn finds_display_uris_in_their_three_places() {
    let manifest = |document: Document| {
        let mut read = document.with_content([library([])]).read();
        assert_eq!(read.warnings, []);
        read.studies.remove(0).viewer_urls
    };
    let uri = "https://viewer.example/?study=1.2.3";
    let display_uri = || text(tags::DISPLAY_URI, VR::UR, uri);

    assert_eq!(manifest(Document::mado().with(display_uri())), [uri.into()]);

    let mut final_place = Document::mado();
    final_place.evidence[0].put(display_uri());
    assert_eq!(manifest(final_place), [uri.into()]);

    // The creator of another block comes first.
    let mut private = Document::mado();
    for element in [
        text(Tag(0x000D, 0x0010), VR::LO, "SOMEBODY ELSE"),
        text(Tag(0x000D, 0x0042), VR::LO, "IHE_MADO_PRIVATE"),
        text(Tag(0x000D, 0x1001), VR::UR, "https://wrong.example/"),
        text(Tag(0x000D, 0x4201), VR::UR, uri),
    ] {
        private.evidence[0].put(element);
    }
    assert_eq!(manifest(private), [uri.into()]);

    let mut twice = Document::mado().with(display_uri());
    twice.evidence[0].put(display_uri());
    assert_eq!(manifest(twice), [uri.into()]);
}

#[test]
fn gathers_numbers_and_who_gave_them() {
    let issuer = |tag, id: &str| {
        sequence(
            tag,
            [object([
                text(tags::UNIVERSAL_ENTITY_ID, VR::UT, id),
                text(tags::UNIVERSAL_ENTITY_ID_TYPE, VR::CS, "ISO"),
            ])],
        )
    };
    let of_accession = |id| issuer(tags::ISSUER_OF_ACCESSION_NUMBER_SEQUENCE, id);
    let of_patient = |id| issuer(tags::ISSUER_OF_PATIENT_ID_QUALIFIERS_SEQUENCE, id);
    let request = |number, id| {
        object([
            text(tags::STUDY_INSTANCE_UID, VR::UI, STUDY),
            text(tags::ACCESSION_NUMBER, VR::SH, number),
            of_accession(id),
        ])
    };
    let other = |value, more| object([text(tags::PATIENT_ID, VR::LO, value), more]);
    let manifest = Document::mado()
        .with(text(tags::ACCESSION_NUMBER, VR::SH, "A1"))
        .with(sequence(
            tags::REFERENCED_REQUEST_SEQUENCE,
            [
                request("A1", "1.2"),
                request("A1", "1.3"),
                request("A2", "urn:oid:1.2"),
            ],
        ))
        .with(text(tags::PATIENT_ID, VR::LO, "P1"))
        .with(text(tags::ISSUER_OF_PATIENT_ID, VR::LO, "LABEL"))
        .with(of_patient("1.4"))
        .with(sequence(
            tags::OTHER_PATIENT_I_DS_SEQUENCE,
            [
                other("P1", of_patient("1.4")),
                other("P2", text(tags::ISSUER_OF_PATIENT_ID, VR::LO, "LABEL")),
            ],
        ))
        .read();
    let pair = |value: &str, issuer: &str| (value.to_owned(), Some(issuer.to_owned()));
    let accessions = only_study(&manifest).accessions.iter();
    let accessions: Vec<_> = accessions
        .map(|a| (a.value.to_string(), a.issuer.as_deref().map(str::to_owned)))
        .collect();
    assert_eq!(
        accessions,
        [pair("A1", "1.2"), pair("A1", "1.3"), pair("A2", "1.2")]
    );
    let ids = manifest.studies[0].patient.ids.iter();
    let ids: Vec<_> = ids
        .map(|id| {
            (
                id.value.to_string(),
                id.issuer.as_deref().map(str::to_owned),
            )
        })
        .collect();
    assert_eq!(ids, [pair("P1", "1.4"), pair("P2", "LABEL")]);
}

#[test]
fn leaves_out_malformed_values_and_says_so() {
    let manifest = Document::mado()
        .with(text(tags::STUDY_DATE, VR::DA, "yesterday"))
        .with(text(tags::STUDY_TIME, VR::TM, "25"))
        .with(text(tags::TIMEZONE_OFFSET_FROM_UTC, VR::SH, "CET"))
        .with(text(tags::PATIENT_SEX, VR::CS, "?"))
        .with(text(
            tags::STUDY_DESCRIPTION,
            VR::UT,
            &"x".repeat(MAX_TEXT + 2),
        ))
        .with_content([library([])])
        .read();
    let study = only_study(&manifest);
    assert_eq!(
        (&study.date, &study.time, &study.timezone),
        (&None, &None, &None)
    );
    assert_eq!(study.description, None);
    assert_eq!(manifest.studies[0].patient.sex, None);
    for part in [
        "study date",
        "study time",
        "time zone",
        "sex of the patient",
    ] {
        assert!(warns_of(&manifest, part), "{part}");
    }
    assert!(defects(&manifest).contains(&Defect::TooLong("study description")));
}

#[test]
fn reads_implicit_vr() {
    let document = || {
        let mut document = Document::mado().with_content([library([group([
            uid_item("1.2.3.1"),
            text_item(dcm("131563"), "Thorax"),
            reference("1.2.3.1.1", [text_item(dcm("113609"), "5")]),
        ])])]);
        let creator = text(Tag(0x000D, 0x0010), VR::LO, "IHE_MADO_PRIVATE");
        document.evidence[0].put(creator);
        document.evidence[0].put(text(Tag(0x000D, 0x1001), VR::UR, "https://v.example/"));
        document
    };
    let implicit = read(&document().written_in(IMPLICIT)).expect("a manifest");
    assert_eq!(implicit, document().read());
    assert_eq!(only_study(&implicit).viewer_urls.len(), 1);
}

#[test]
fn accepts_what_is_no_manifest_by_its_title_and_says_so() {
    for title in [
        dcm("113000"),
        code("131560", "99XYZ", "private"),
        code("113001", "99XYZ", ""),
    ] {
        let listed = [series("1.2.3.1", ["1.2.3.1.1"], [location()])];
        let manifest = Document::new(title).listing(STUDY, listed).read();
        assert_eq!(manifest.format, Format::Kos(Generation::Classic));
        assert_eq!(defects(&manifest), [Defect::UnexpectedTitle]);
    }
}

#[test]
fn refuses_rejection_notes() {
    for title in ["113001", "113037", "113038", "113039"] {
        let listed = [series("1.2.3.1", ["1.2.3.1.1"], [location()])];
        let document = Document::new(dcm(title)).listing(STUDY, listed);
        assert_eq!(document.refusal(), Error::RejectionNote, "{title}");
    }
}

#[test]
fn refuses_other_sop_classes() {
    let document = Document::mado().with(text(tags::SOP_CLASS_UID, VR::UI, CT));
    assert_eq!(document.refusal(), Error::NotAKos);
    let document = Document::mado().without(tags::SOP_CLASS_UID);
    assert_eq!(document.refusal(), Error::NotAKos);
}

#[test]
fn refuses_a_document_without_instances() {
    assert_eq!(Document::classic().refusal(), Error::NoEvidence);
    let document = Document::classic().listing(STUDY, []);
    assert_eq!(document.refusal(), Error::NoEvidence);
    let document = Document::classic().listing(STUDY, [series("1.2.3.1", [], [])]);
    assert_eq!(document.refusal(), Error::NoEvidence);
}

#[test]
fn refuses_malformed_uids_in_the_evidence() {
    let document = |study, of_series, of_instance| {
        Document::classic().listing(study, [series(of_series, [of_instance], [])])
    };
    for bad in ["", "..", "1..2", "1/../2", "../..", "patient"] {
        for (document, what) in [
            (document(bad, "1.2.1", "1.2.2"), "study instance UID"),
            (document("1.2", bad, "1.2.2"), "series instance UID"),
            (document("1.2", "1.2.1", bad), "SOP instance UID"),
        ] {
            assert_eq!(document.refusal(), Error::InvalidUid(what), "{bad}");
        }
    }
}

#[test]
fn refuses_what_is_no_part_10_file() {
    assert_eq!(
        read(b"{\"resourceType\":\"Bundle\"}").map(|_| ()),
        Err(Error::Part10(dataset::Error::Truncated.into()))
    );
    assert_eq!(
        read(&[0; 200]).map(|_| ()),
        Err(Error::Part10(part10::Error::NotPart10))
    );
}
