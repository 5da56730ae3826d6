//! Bundles as a whole: the published example, refusals, R4 and R5.

use super::*;

#[test]
fn reads_the_example_of_the_implementation_guide() {
    let Some(bytes) = real_manifest() else { return };
    let manifest = read(&bytes).expect("a manifest");
    assert_eq!(manifest.format, Format::FhirR4);
    assert_eq!(manifest.document_id, boxed("mado-bundle--2047166865"));
    assert_eq!(manifest.studies[0].patient.name, boxed("DOE^John"));
    assert_eq!(manifest.studies[0].patient.birth_date, boxed("19770530"));
    assert_eq!(manifest.studies[0].patient.sex, boxed("M"));
    let id = PatientId {
        value: "UV59569735".into(),
        issuer: boxed("http://example.org/fhir/mrn-ids"),
    };
    assert_eq!(manifest.studies[0].patient.ids, [id]);
    assert_eq!(defects(&manifest), [Defect::OpaqueLocation("ACME".into())]);
}

#[test]
fn reads_the_study_of_the_example() {
    let Some(bytes) = real_manifest() else { return };
    let manifest = read(&bytes).expect("a manifest");
    let [study] = &*manifest.studies else {
        panic!("one study")
    };
    assert_eq!(study.uid.as_str(), "1.2.250.1.59.40211.22756022.2.1.102");
    assert_eq!(
        (study.date.as_deref(), study.time.as_deref()),
        (Some("20220822"), Some("083117"))
    );
    assert_eq!(
        (study.timezone.as_deref(), study.description.as_deref()),
        (Some("+0200"), Some("Study B"))
    );
    let accession = Accession {
        value: "8529258169397744".into(),
        issuer: boxed("http://example.org/fhir/ris-ids"),
    };
    assert_eq!(study.accessions, [accession]);
    assert_eq!(study.modalities, ["CT".into(), "KO".into()]);
    let regions: Vec<_> = study.regions.iter().map(|region| &*region.value).collect();
    assert_eq!(regions, ["774007", "38266002"]);
    assert_eq!(
        study.procedures,
        [Code {
            value: "".into(),
            scheme: None,
            meaning: boxed("Head CT")
        }]
    );
    assert_eq!(study.declared_series, Some(2));
    assert!(study.viewer_urls.is_empty());
}

#[test]
fn reads_the_series_of_the_example() {
    let Some(bytes) = real_manifest() else { return };
    let manifest = read(&bytes).expect("a manifest");
    let [ct, ko] = &*manifest.studies[0].series else {
        panic!("two series")
    };
    assert_eq!(ct.uid.as_str(), "1.2.250.1.59.40211.22756022.2.2.102.201");
    assert_eq!(
        (ct.number, ct.modality.as_deref(), ct.description.as_deref()),
        (Some(1), Some("CT"), Some("Series B1"))
    );
    assert_eq!(
        (ct.date.as_deref(), ct.time.as_deref()),
        (Some("20220822"), Some("164758"))
    );
    assert_eq!(
        ct.body_site.as_ref().map(|site| &*site.value),
        Some("69536005")
    );
    assert_eq!((ct.declared_instances, ct.instances.len()), (Some(20), 20));
    assert!(
        ct.instances
            .iter()
            .all(|instance| instance.sop_class.as_str() == CT)
    );
    let numbers: Vec<_> = ct
        .instances
        .iter()
        .take(3)
        .map(|instance| instance.number)
        .collect();
    assert_eq!(numbers, [Some(9), Some(7), Some(8)]);
    assert_eq!(
        (ko.number, ko.modality.as_deref(), ko.instances.len()),
        (Some(59), Some("KO"), 1)
    );
    let note = ko.instances[0].key_object.as_deref().expect("a key object");
    assert_eq!(note.description, boxed("Significant DICOM Instances"));
    assert_eq!(
        note.title.as_ref().map(|title| &*title.value),
        Some("113000")
    );
    for series in [ct, ko] {
        assert_eq!(
            series.locations,
            [location(Some("ACME"), Some("http://example.com/wado"))]
        );
    }
}

#[test]
fn a_plain_manifest_has_no_warnings() {
    let manifest = manifest(&small());
    assert_eq!(manifest.warnings, []);
    assert_eq!(manifest.format, Format::FhirR4);
    assert_eq!(
        manifest.studies[0].series[0].locations,
        [location(Some("1.2.40"), Some("https://h.example/rs"))]
    );
}

#[test]
fn reads_a_study_without_a_bundle() {
    let mut study = small()["entry"][0]["resource"].clone();
    study["series"][0]["endpoint"][0]["reference"] = json!("#w");
    study["contained"] = json!([wado("w", "https://h.example/rs", "1.2.40")]);
    let manifest = manifest(&study);
    assert_eq!(manifest.warnings, []);
    assert_eq!(manifest.studies, super::manifest(&small()).studies);
}

#[test]
fn an_untyped_uid_is_the_study_s_if_it_is_the_only_one() {
    let identifier = |value: &str| json!({ "system": "urn:ietf:rfc:3986", "value": value });
    let of = |identifiers: Value| parsed(&with(&format!("{STUDY}/identifier"), identifiers));
    let (uid, other) = (identifier("urn:oid:1.2.3"), identifier("urn:oid:1.2.4"));
    let uuid = identifier("urn:uuid:6a0b3c1c-0000-4000-8000-000000000000");
    for identifiers in [json!([uid]), json!([uuid, uid]), json!(uid)] {
        let manifest = of(identifiers).expect("a manifest");
        assert_eq!(manifest.studies[0].uid.as_str(), "1.2.3");
    }
    for identifiers in [
        json!([uid, other]),
        json!([uuid]),
        json!([identifier("1.2.3")]),
    ] {
        assert!(of(identifiers).is_err());
    }
}

#[test]
fn refuses_what_is_no_manifest() {
    let entry =
        |resource: Value| json!({ "resourceType": "Bundle", "entry": [{ "resource": resource }] });
    for (document, error) in [
        ("<Bundle/>".to_owned(), Error::UnsupportedXml),
        (
            "\u{feff} \n<?xml version='1.0'?>".to_owned(),
            Error::UnsupportedXml,
        ),
        ("7".to_owned(), Error::NotABundle),
        ("[]".to_owned(), Error::NotABundle),
        ("null".to_owned(), Error::NotABundle),
        ("{}".to_owned(), Error::NotABundle),
        (
            r#"{"resourceType":"ImagingStudy"}"#.to_owned(),
            Error::InvalidUid {
                what: "study instance uid",
                path: "ImagingStudy.identifier".into(),
            },
        ),
        (
            r#"{"resourceType":"Patient"}"#.to_owned(),
            Error::NotABundle,
        ),
        (
            r#"{"resourceType":"Bundle"}"#.to_owned(),
            Error::NoImagingStudy,
        ),
        (
            r#"{"resourceType":"Bundle","entry":7}"#.to_owned(),
            Error::NotAList {
                path: "entry".into(),
            },
        ),
        (
            entry(json!({ "resourceType": "Patient" })).to_string(),
            Error::NoImagingStudy,
        ),
        (
            with(&format!("{SERIES}/instance"), json!([])).to_string(),
            Error::Empty,
        ),
        (
            with(&format!("{STUDY}/series"), json!([])).to_string(),
            Error::Empty,
        ),
    ] {
        assert_eq!(read(document.as_bytes()), Err(error), "{document}");
    }
}

#[test]
fn refuses_an_index_with_holes() {
    let uid = |what, path: &str| Error::InvalidUid {
        what,
        path: format!("entry[0].resource{path}"),
    };
    let instance = "sop instance uid";
    for (bundle, error) in [
        (
            with(&format!("{STUDY}/identifier"), json!([])),
            uid("study instance uid", ".identifier"),
        ),
        (
            with(
                &format!("{STUDY}/identifier"),
                json!([{ "system": "urn:dicom:uid", "value": "ACME" }]),
            ),
            uid("study instance uid", ".identifier"),
        ),
        (
            with(&format!("{SERIES}/uid"), json!("1..2")),
            uid("series instance uid", ".series[0].uid"),
        ),
        (
            with(&format!("{INSTANCE}/uid"), json!("1.2/..")),
            uid(instance, ".series[0].instance[0].uid"),
        ),
        (
            with(&format!("{INSTANCE}/uid"), json!(null)),
            uid(instance, ".series[0].instance[0].uid"),
        ),
        (
            with(&format!("{SERIES}/instance/-"), json!("x")),
            uid(instance, ".series[0].instance[1].uid"),
        ),
        (
            with(&format!("{INSTANCE}/sopClass"), json!({ "display": "CT" })),
            uid("sop class uid", ".series[0].instance[0].sopClass"),
        ),
        (
            with(&format!("{SERIES}/instance"), json!({ "uid": "1.2.5" })),
            Error::NotAList {
                path: "entry[0].resource.series[0].instance".into(),
            },
        ),
        (
            with(&format!("{STUDY}/series"), json!("x")),
            Error::NotAList {
                path: "entry[0].resource.series".into(),
            },
        ),
    ] {
        assert_eq!(parsed(&bundle), Err(error), "{bundle}");
    }
}

#[test]
fn says_where_json_is_broken_and_quotes_nothing() {
    for (document, path) in [
        (
            "{\"resourceType\":\"Bundle\",\n\"entry\":[{},{\"resource\":{\"name\":[{\"family\":\"DOE\",",
            "Bundle.entry[1].resource.name[0]",
        ),
        (r#"{"Jane^DOE":nonsense}"#, "Bundle.?"),
        (r#"{"resourceType":"DOE","resourceType":"DOE"}"#, "Bundle"),
        (r#"{"resourceType":"Bundle"} DOE"#, "after the document"),
        ("", "Bundle"),
    ] {
        let error = read(document.as_bytes()).expect_err("broken");
        let Error::NotJson {
            path: told, line, ..
        } = &error
        else {
            panic!("{error}")
        };
        assert!(told.starts_with(path), "{told}");
        assert_eq!(*line, 1 + document.matches('\n').count());
        assert!(!error.to_string().contains("DOE"), "{error}");
    }
    let error = read(b"\"DOE\xff\"").expect_err("broken");
    assert!(!error.to_string().contains("DOE"), "{error}");
}

#[test]
fn tolerates_a_byte_order_mark_and_comments() {
    let bundle = with("/_comment", json!([{ "a": ["b"] }]));
    let bundle = set(bundle, &format!("{INSTANCE}/_comment"), json!("x"));
    let text = format!("\u{feff}{bundle}");
    assert_eq!(read(text.as_bytes()), Ok(manifest(&small())));
}

#[test]
fn reads_the_r5_variant() {
    let manifest = manifest(&r5());
    assert_eq!(manifest.format, Format::FhirR5);
    assert_eq!(manifest.warnings, []);
    assert_eq!(manifest.studies[0].patient.sex, boxed("O"));
    let study = &manifest.studies[0];
    assert_eq!((study.modalities.len(), study.viewer_urls.len()), (1, 1));
    assert_eq!(
        study
            .procedures
            .iter()
            .map(|code| &*code.value)
            .collect::<Vec<_>>(),
        ["P5"]
    );
    let series = &study.series[0];
    assert_eq!(series.modality, boxed("CT"));
    assert_eq!(
        series.body_site.as_ref().map(|site| &*site.value),
        Some("69536005")
    );
    assert_eq!(
        series.locations,
        [location(None, Some("https://h.example/rs"))]
    );
    let note = series.instances[0]
        .key_object
        .as_deref()
        .expect("a key object");
    assert_eq!(note.description, boxed("Note"));
}

#[test]
fn tells_r5_from_r4_by_the_forms_that_only_one_has() {
    let endpoint = |resource: Value| {
        set(
            with(ENDPOINT, resource.clone()),
            STUDY,
            small()["entry"][0]["resource"].clone(),
        )
    };
    let codeable = json!({ "coding": [{ "code": "dicom-wado-rs" }] });
    let array =
        endpoint(json!({ "resourceType": "Endpoint", "id": "w", "connectionType": [codeable] }));
    let payload = endpoint(json!({ "resourceType": "Endpoint", "id": "w", "payload": [{}] }));
    let only_study = set(
        with("/entry/1/resource", json!({})),
        &format!("{SERIES}/modality"),
        codeable.clone(),
    );
    for bundle in [array, payload, only_study] {
        assert_eq!(manifest(&bundle).format, Format::FhirR5, "{bundle}");
    }
    // One CodeableConcept in R4 clothes is a slip, not another version.
    let slip = with(&format!("{SERIES}/modality"), codeable);
    assert_eq!(manifest(&slip).format, Format::FhirR4);
}
