//! Descriptive members: modalities, orders, patients, times, key objects.

use super::*;

#[test]
fn a_malformed_description_costs_only_itself() {
    for (pointer, value, what) in [
        (format!("{SERIES}/number"), json!("x"), "series number"),
        (
            format!("{SERIES}/number"),
            json!(3_000_000_000_u32),
            "series number",
        ),
        (format!("{SERIES}/modality"), json!(true), "series modality"),
        (
            format!("{SERIES}/modality"),
            json!({ "text": "no code" }),
            "series modality",
        ),
        (
            format!("{SERIES}/description"),
            json!({}),
            "series description",
        ),
        (
            format!("{SERIES}/started"),
            json!("yesterday"),
            "series date",
        ),
        (format!("{SERIES}/bodySite"), json!(1.5), "body site"),
        (format!("{SERIES}/laterality"), json!(false), "laterality"),
        (
            format!("{SERIES}/numberOfInstances"),
            json!(-1),
            "number of instances",
        ),
        (format!("{INSTANCE}/number"), json!([1]), "instance number"),
        (
            format!("{INSTANCE}/extension"),
            json!([{ "url": "x/MadoNumberOfFrames", "valueInteger": -1 }]),
            "number of frames",
        ),
        (
            format!("{INSTANCE}/extension"),
            json!([{ "url": "x/MadoNumberOfFrames" }]),
            "number of frames",
        ),
        (
            format!("{INSTANCE}/extension"),
            json!([{ "url": "x/MadoKoDocumentTitle" }]),
            "key object title",
        ),
        (format!("{STUDY}/started"), json!(2022), "study date"),
        (
            format!("{STUDY}/description"),
            json!(["a"]),
            "study description",
        ),
        (format!("{STUDY}/modality"), json!([true]), "study modality"),
        (
            format!("{STUDY}/numberOfSeries"),
            json!("many"),
            "number of series",
        ),
        (
            format!("{STUDY}/numberOfInstances"),
            json!(1e12),
            "number of instances",
        ),
        (
            format!("{STUDY}/procedureCode"),
            json!([[], true]),
            "procedure code",
        ),
        (format!("{STUDY}/basedOn"), json!(7), "order reference"),
        (format!("{STUDY}/subject"), json!(7), "subject"),
        (format!("{STUDY}/extension"), json!("x"), "extension"),
        (
            format!("{ENDPOINT}/extension"),
            json!([{ "url": RLU, "valueString": "A/B" }]),
            "Retrieve Location UID",
        ),
        (
            format!("{ENDPOINT}/address"),
            json!(true),
            "endpoint address",
        ),
    ] {
        let bundle = with(&pointer, value);
        let manifest = manifest(&bundle);
        assert_eq!(defects(&manifest), [Defect::Malformed(what)], "{bundle}");
        assert_eq!(manifest.studies[0].series[0].instances.len(), 1, "{bundle}");
        assert_eq!(manifest.studies[0].series[0].locations.len(), 1, "{bundle}");
    }
}

#[test]
fn a_malformed_time_leaves_the_date() {
    let manifest = manifest(&with(
        &format!("{SERIES}/started"),
        json!("2022-08-22T25:00:00Z"),
    ));
    let series = &manifest.studies[0].series[0];
    assert_eq!(
        (series.date.as_deref(), &series.time),
        (Some("20220822"), &None)
    );
    assert_eq!(defects(&manifest), [Defect::NoTime("series date")]);
}

#[test]
fn reads_a_modality_in_every_form() {
    for form in [
        json!("CT"),
        json!({ "code": "CT" }),
        json!({ "coding": [{ "code": "CT" }] }),
        json!([{ "code": "CT" }]),
        json!([{ "coding": [{ "code": "CT" }] }]),
    ] {
        let bundle = with(&format!("{SERIES}/modality"), form.clone());
        let bundle = set(bundle, &format!("{STUDY}/modality"), form);
        assert_eq!(series(&bundle).modality, boxed("CT"), "{bundle}");
        assert_eq!(
            manifest(&bundle).studies[0].modalities,
            ["CT".into()],
            "{bundle}"
        );
        assert_eq!(manifest(&bundle).warnings, [], "{bundle}");
    }
}

#[test]
fn reads_a_uid_with_and_without_its_urn() {
    for (study, class) in [
        ("1.2.3", CT.to_owned()),
        ("urn:oid:1.2.3", format!("urn:oid:{CT}")),
    ] {
        for sop_class in [
            json!({ "system": "urn:ietf:rfc:3986", "code": class }),
            json!({ "system": "http://dicom.nema.org/resources/CodeSystem/DICOM_UIDs", "code": class }),
            json!({ "coding": [{ "code": class }] }),
            json!(class),
        ] {
            let bundle = with(
                &format!("{STUDY}/identifier/0"),
                json!({ "system": "urn:dicom:uid", "value": study }),
            );
            let bundle = set(bundle, &format!("{INSTANCE}/sopClass"), sop_class);
            let manifest = manifest(&bundle);
            assert_eq!(manifest.studies[0].uid.as_str(), "1.2.3");
            assert_eq!(
                manifest.studies[0].series[0].instances[0]
                    .sop_class
                    .as_str(),
                CT
            );
        }
    }
}

#[test]
fn several_studies_stay_apart_and_one_study_twice_is_one() {
    let mut second = small()["entry"][0].clone();
    second["fullUrl"] = json!("https://a.example/ImagingStudy/2");
    second["resource"]["series"][0]["instance"][0]["uid"] = json!("1.2.9");
    let twice = manifest(&with("/entry/-", second.clone()));
    assert_eq!(
        (
            twice.studies.len(),
            twice.studies[0].series[0].instances.len()
        ),
        (1, 2)
    );
    assert!(defects(&twice).contains(&Defect::Repeated("study")));
    second["resource"]["identifier"][0]["value"] = json!("1.2.33");
    let two = manifest(&with("/entry/-", second));
    let uids: Vec<_> = two.studies.iter().map(|study| study.uid.as_str()).collect();
    assert_eq!(uids, ["1.2.3", "1.2.33"]);
    assert_eq!(two.warnings, []);
}

#[test]
fn reads_accession_numbers_wherever_they_are() {
    let accession = |value: &str| {
        json!({
            "type": { "coding": [{ "code": "ACSN" }] }, "system": "urn:oid:1.2.100", "value": value,
        })
    };
    let placer = json!({ "type": { "coding": [{ "code": "PLAC" }] }, "value": "P1" });
    let bundle = with(
        &format!("{STUDY}/basedOn"),
        json!([
            { "identifier": accession("\"A1\""), "reference": "ServiceRequest/elsewhere" },
            { "identifier": { "value": "A2" } },
            { "identifier": placer },
            { "reference": "ServiceRequest/o" },
        ]),
    );
    let order = json!({ "resourceType": "ServiceRequest", "id": "o", "identifier": [accession("A1"), accession("A3"), placer] });
    let bundle = set(bundle, "/entry/-", json!({ "resource": order }));
    let other = json!({ "resourceType": "ServiceRequest", "identifier": [accession("A4")] });
    let bundle = set(bundle, "/entry/-", json!({ "resource": other }));
    let manifest = manifest(&bundle);
    let accessions: Vec<_> = manifest.studies[0]
        .accessions
        .iter()
        .map(|accession| (&*accession.value, accession.issuer.as_deref()))
        .collect();
    let issuer = Some("1.2.100");
    assert_eq!(
        accessions,
        [("A1", issuer), ("A2", None), ("A3", issuer), ("A4", issuer)]
    );
    assert_eq!(manifest.warnings, []);
}

#[test]
fn warns_of_orders_and_patients_that_are_nowhere() {
    let bundle = with(
        &format!("{STUDY}/basedOn"),
        json!([{ "reference": "ServiceRequest/9" }]),
    );
    assert_eq!(
        defects(&manifest(&bundle)),
        [Defect::UnresolvedReference("order")]
    );
    let bundle = with(
        &format!("{STUDY}/subject"),
        json!({ "reference": "Patient/9" }),
    );
    let bundle = set(
        bundle,
        "/entry/-",
        json!({ "resource": { "resourceType": "Patient", "id": "1", "gender": "male" } }),
    );
    assert_eq!(
        defects(&manifest(&bundle)),
        [Defect::UnresolvedReference("patient")]
    );
    assert_eq!(manifest(&bundle).studies[0].patient.sex, None);
}

#[test]
fn reads_the_patient_that_the_study_means() {
    let patient = |id: &str, family: &str| {
        json!({ "resource": {
            "resourceType": "Patient",
            "id": id,
            "identifier": [
                { "use": "old", "value": "0" },
                { "system": "urn:oid:1.2.50", "value": "1" },
                { "value": 2, "assigner": { "display": "Ward" } },
            ],
            "name": [{ "use": "maiden", "family": "X" }, { "family": family, "given": ["Jane"] }],
            "gender": "female",
            "birthDate": "1980-02-29",
        } })
    };
    let bundle = with("/entry/-", patient("a", "DOE"));
    // Without a subject, the only patient is meant.
    assert_eq!(manifest(&bundle).studies[0].patient.name, boxed("DOE^Jane"));
    let bundle = set(bundle, "/entry/-", patient("b", "ROE"));
    assert_eq!(
        manifest(&bundle).studies[0].patient,
        std::sync::Arc::new(Patient::default())
    );
    let bundle = set(
        bundle,
        &format!("{STUDY}/subject"),
        json!({ "reference": "Patient/b" }),
    );
    let patient = Patient::clone(&manifest(&bundle).studies[0].patient);
    assert_eq!(
        (patient.name, patient.birth_date, patient.sex),
        (boxed("ROE^Jane"), boxed("19800229"), boxed("F"))
    );
    let ids: Vec<_> = patient
        .ids
        .iter()
        .map(|id| (&*id.value, id.issuer.as_deref()))
        .collect();
    assert_eq!(
        ids,
        [("1", Some("1.2.50")), ("2", Some("Ward")), ("0", None)]
    );
}

#[test]
fn each_study_has_its_own_patient_or_none() {
    let mut second = small()["entry"][0].clone();
    second["resource"]["identifier"][0]["value"] = json!("1.2.33");
    let patient = |id: &str, sex: &str| {
        json!({ "resource": {
            "resourceType": "Patient", "id": id, "gender": sex,
            "identifier": [{ "system": "urn:oid:1.2.50", "value": id }],
        } })
    };
    let sexes = |subject: Value| {
        let mut second = second.clone();
        second["resource"]["subject"] = subject;
        let bundle = with(
            &format!("{STUDY}/subject"),
            json!({ "reference": "Patient/a" }),
        );
        let bundle = set(bundle, "/entry/-", second);
        let bundle = set(bundle, "/entry/-", patient("a", "male"));
        let bundle = set(bundle, "/entry/-", patient("b", "female"));
        let studies = manifest(&bundle).studies;
        assert_eq!(studies[0].patient.sex, boxed("M"));
        studies[1].patient.clone()
    };
    assert_eq!(sexes(json!({ "reference": "Patient/b" })).sex, boxed("F"));
    assert_eq!(sexes(json!({ "reference": "Patient/a" })).sex, boxed("M"));
    let by_identifier = |value: &str| {
        sexes(json!({ "identifier": { "system": "urn:oid:1.2.50", "value": value } }))
    };
    assert_eq!(by_identifier("b").sex, boxed("F"));
    let elsewhere = by_identifier("c");
    assert_eq!((&*elsewhere.ids[0].value, &elsewhere.sex), ("c", &None));
    for unclear in [
        json!({ "reference": "Patient/c" }),
        json!({ "display": "b" }),
        json!(7),
        json!(null),
    ] {
        assert_eq!(*sexes(unclear.clone()), Patient::default(), "{unclear}");
    }
}

#[test]
fn a_subject_that_cannot_be_read_is_not_the_only_patient() {
    let patient = json!({ "resource": { "resourceType": "Patient", "id": "a", "gender": "male" } });
    let bundle = with(&format!("{STUDY}/subject"), json!({ "display": "Anna" }));
    let bundle = set(bundle, "/entry/-", patient);
    assert_eq!(*manifest(&bundle).studies[0].patient, Patient::default());
}

#[test]
fn a_study_that_is_listed_with_two_patients_has_none() {
    let patient = |id: &str| {
        json!({ "resource": {
            "resourceType": "Patient", "id": id,
            "identifier": [{ "system": "urn:oid:1.2.50", "value": id }],
        } })
    };
    let entry = |subject: &str| {
        let mut entry = small()["entry"][0].clone();
        entry["resource"]["subject"] = json!({ "reference": format!("Patient/{subject}") });
        entry
    };
    let mut bundle = small();
    bundle["entry"][0] = entry("a");
    for next in [entry("b"), entry("a"), patient("a"), patient("b")] {
        bundle = set(bundle, "/entry/-", next);
    }
    let read = manifest(&bundle);
    let [study] = &read.studies[..] else {
        panic!("one study");
    };
    assert_eq!(*study.patient, Patient::default());
    let subject = Subject::Study(study.uid.clone());
    let differ = Warning::about(subject, Outcome::LeftOut, Defect::PatientsDiffer);
    assert!(read.warnings.contains(&differ), "{:?}", read.warnings);
}

#[test]
fn tells_all_times_in_the_zone_of_the_study() {
    let bundle = with(
        &format!("{STUDY}/started"),
        json!("2022-08-22T23:30:00+02:00"),
    );
    let bundle = set(
        bundle,
        &format!("{SERIES}/started"),
        json!("2022-08-22T22:15:00.5Z"),
    );
    let manifest = manifest(&bundle);
    let study = &manifest.studies[0];
    assert_eq!(
        (study.date.as_deref(), study.time.as_deref()),
        (Some("20220822"), Some("233000"))
    );
    assert_eq!(study.timezone, boxed("+0200"));
    assert_eq!(
        (
            study.series[0].date.as_deref(),
            study.series[0].time.as_deref()
        ),
        (Some("20220823"), Some("001500.5"))
    );
}

#[test]
fn takes_the_zone_from_a_series_if_the_study_has_none() {
    let bundle = with(
        &format!("{SERIES}/started"),
        json!("2022-08-22T22:15:00-05:00"),
    );
    let study = &manifest(&bundle).studies[0];
    assert_eq!(
        (study.timezone.as_deref(), study.series[0].time.as_deref()),
        (Some("-0500"), Some("221500"))
    );
}

#[test]
fn reads_frames_and_key_objects() {
    let extension = json!([
        { "url": "https://profiles.ihe.net/RAD/MADO/StructureDefinition/MadoNumberOfFrames", "valueInteger": 12 },
        { "url": "https://other/MadoKoDocumentTitle", "valueCodeableConcept": { "coding": [{ "system": "DCM", "code": "113000" }] } },
    ]);
    let bundle = with(&format!("{INSTANCE}/extension"), extension);
    let bundle = set(bundle, &format!("{INSTANCE}/title"), json!("Note"));
    let instance = &series(&bundle).instances[0];
    assert_eq!(instance.frames, Some(12));
    let note = instance.key_object.as_deref().expect("a key object");
    assert_eq!(
        (
            note.title.as_ref().map(|t| &*t.value),
            note.description.as_deref()
        ),
        (Some("113000"), Some("Note"))
    );
}

#[test]
fn a_title_means_something_for_key_objects_only() {
    let bundle = with(&format!("{INSTANCE}/title"), json!("AXIAL"));
    assert_eq!(series(&bundle).instances[0].key_object, None);
    let bundle = set(
        bundle,
        &format!("{INSTANCE}/sopClass"),
        json!({ "code": KOS }),
    );
    let instance = &series(&bundle).instances[0];
    assert_eq!(
        instance
            .key_object
            .as_ref()
            .and_then(|note| note.description.as_deref()),
        Some("AXIAL")
    );
}

#[test]
fn a_referrer_has_the_name_of_its_practitioner_or_that_of_the_reference() {
    let practitioner = json!({
        "resourceType": "Practitioner",
        "id": "p",
        "identifier": [{ "system": "urn:oid:1.2.9", "value": "77" }],
        "name": [{ "family": "Who", "given": ["Anna"], "prefix": ["Dr"] }],
    });
    let by_identifier = json!({ "identifier": { "system": "urn:oid:1.2.9", "value": "77" } });
    for (referrer, expected) in [
        (
            json!({ "reference": "Practitioner/p", "display": "Dr Who" }),
            boxed("Who^Anna^^Dr"),
        ),
        (by_identifier, boxed("Who^Anna^^Dr")),
        (
            json!({ "reference": "Practitioner/x", "display": "Dr Who" }),
            boxed("Dr Who"),
        ),
        (json!({ "display": "Dr Who" }), boxed("Dr Who")),
        (json!({ "reference": "Practitioner/x" }), None),
        (json!(7), None),
    ] {
        let bundle = with(&format!("{STUDY}/referrer"), referrer);
        let bundle = set(bundle, "/entry/-", json!({ "resource": practitioner }));
        assert_eq!(manifest(&bundle).studies[0].referring_physician, expected);
    }
}
