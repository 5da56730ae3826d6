//! Whole Bundles: the real one, and small ones made here.

use std::time::{Duration, Instant};

use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;
use crate::ihe::{Location, RetrieveLocationUid};
use crate::manifest::{Accession, Code, Patient, PatientId, Series};

const CT: &str = "1.2.840.10008.5.1.4.1.1.2";
const KOS: &str = "1.2.840.10008.5.1.4.1.1.88.59";
const RLU: &str =
    "https://profiles.ihe.net/RAD/MADO/StructureDefinition/MadoRetrieveLocationUIDExtension";

/// A manifest with one instance at one location and nothing that would cause a warning.
fn small() -> Value {
    json!({
        "resourceType": "Bundle",
        "type": "document",
        "entry": [
            {
                "fullUrl": "https://a.example/ImagingStudy/1",
                "resource": {
                    "resourceType": "ImagingStudy",
                    "id": "1",
                    "identifier": [{ "system": "urn:dicom:uid", "value": "urn:oid:1.2.3" }],
                    "series": [{
                        "uid": "1.2.4",
                        "endpoint": [{ "reference": "Endpoint/w" }],
                        "instance": [{ "uid": "1.2.5", "sopClass": { "code": CT } }],
                    }],
                },
            },
            { "fullUrl": "https://a.example/Endpoint/w", "resource": wado("w", "https://h.example/rs", "1.2.40") },
        ],
    })
}

fn wado(id: &str, address: &str, location: &str) -> Value {
    json!({
        "resourceType": "Endpoint",
        "id": id,
        "extension": [{ "url": RLU, "valueString": location }],
        "connectionType": { "code": "dicom-wado-rs" },
        "address": address,
    })
}

/// `small`, with the value at the pointer put in.
fn with(pointer: &str, value: Value) -> Value {
    set(small(), pointer, value)
}

fn set(mut bundle: Value, pointer: &str, value: Value) -> Value {
    let (parent, name) = pointer.rsplit_once('/').expect("a pointer");
    let parent = bundle.pointer_mut(parent).expect("a place");
    if let Value::Array(list) = parent {
        // `-`, or in place.
        match name.parse::<usize>() {
            Ok(at) => list[at] = value,
            Err(_end) => list.push(value),
        }
    } else {
        parent[name] = value;
    }
    bundle
}

const STUDY: &str = "/entry/0/resource";
const SERIES: &str = "/entry/0/resource/series/0";
const INSTANCE: &str = "/entry/0/resource/series/0/instance/0";
const ENDPOINT: &str = "/entry/1/resource";

fn parsed(bundle: &Value) -> Result<Manifest, Error> {
    read(bundle.to_string().as_bytes())
}

fn manifest(bundle: &Value) -> Manifest {
    parsed(bundle).unwrap_or_else(|error| panic!("{error}: {bundle}"))
}

fn series(bundle: &Value) -> Series {
    manifest(bundle).studies[0].series[0].clone()
}

fn location(uid: Option<&str>, url: Option<&str>) -> Location {
    Location {
        retrieve_location_uid: uid.map(|uid| RetrieveLocationUid::parse(uid).expect("a location")),
        retrieve_url: url.map(Into::into),
        retrieve_ae_title: None,
    }
}

fn boxed(text: &str) -> Option<Box<str>> {
    Some(text.into())
}

/// A real manifest, or `None` where the folder is missing and that is allowed.
fn real_manifest() -> Option<Vec<u8>> {
    let path = concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/../shared/data/ihe-mado/study-b.fhir-manifest.json"
    );
    match std::fs::read(path) {
        Ok(bytes) => Some(bytes),
        Err(error) if std::env::var_os("CI").is_some() => panic!("{path}: {error}"),
        Err(_missing) => {
            eprintln!("left out: {path} is missing");
            None
        }
    }
}

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
    assert_eq!(manifest.warnings, [Warning::OpaqueLocation("ACME".into())]);
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
            with(&format!("{SERIES}/uid"), json!("1.02")),
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
        (
            format!("{SERIES}/started"),
            json!("2022-08-22T25:00:00Z"),
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
            "retrieve location uid",
        ),
        (
            format!("{ENDPOINT}/address"),
            json!(true),
            "endpoint address",
        ),
    ] {
        let bundle = with(&pointer, value);
        let manifest = manifest(&bundle);
        assert_eq!(manifest.warnings, [Warning::Malformed(what)], "{bundle}");
        assert_eq!(manifest.studies[0].series[0].instances.len(), 1, "{bundle}");
        assert_eq!(manifest.studies[0].series[0].locations.len(), 1, "{bundle}");
    }
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
fn resolves_references_to_endpoints() {
    // name, fullUrl of the study, fullUrl and id of the endpoint, reference
    for (name, study, endpoint, id, reference) in [
        ("exact", "urn:uuid:s", "urn:uuid:e", "", "urn:uuid:e"),
        (
            "pseudo URN",
            "urn:ImagingStudy/1",
            "urn:Endpoint/w--2",
            "w--2",
            "urn:Endpoint/w--2",
        ),
        (
            "not a UUID",
            "urn:uuid:s",
            "urn:uuid:e-001",
            "",
            "urn:uuid:e-001",
        ),
        (
            "relative to the base",
            "https://a/f/ImagingStudy/1",
            "https://a/f/Endpoint/w",
            "",
            "Endpoint/w",
        ),
        (
            "relative fullUrl",
            "ImagingStudy/1",
            "Endpoint/w",
            "",
            "Endpoint/w",
        ),
        (
            "last two segments",
            "https://a/ImagingStudy/1",
            "Endpoint/w",
            "",
            "https://b/Endpoint/w",
        ),
        ("type and id", "urn:uuid:s", "urn:uuid:e", "w", "Endpoint/w"),
    ] {
        let bundle = with("/entry/0/fullUrl", json!(study));
        let bundle = set(bundle, "/entry/1/fullUrl", json!(endpoint));
        let bundle = set(bundle, &format!("{ENDPOINT}/id"), json!(id));
        let bundle = set(
            bundle,
            &format!("{SERIES}/endpoint"),
            json!([{ "reference": reference }]),
        );
        assert_eq!(series(&bundle).locations.len(), 1, "{name}");
        assert_eq!(manifest(&bundle).warnings, [], "{name}");
    }
}

#[test]
fn resolves_a_contained_endpoint_only_in_its_own_study() {
    let reference = json!([{ "reference": "#w" }]);
    let bundle = with(&format!("{SERIES}/endpoint"), reference);
    // The Bundle has an Endpoint of this id, but it is not contained.
    assert_eq!(series(&bundle).locations, []);
    let contained =
        json!([{ "resourceType": "Device" }, wado("w", "https://c.example/rs", "1.2.41")]);
    let bundle = set(bundle, &format!("{STUDY}/contained"), contained);
    assert_eq!(
        series(&bundle).locations,
        [location(Some("1.2.41"), Some("https://c.example/rs"))]
    );
}

#[test]
fn a_series_whose_endpoint_is_missing_stays_without_location() {
    let bundle = with(
        &format!("{SERIES}/endpoint"),
        json!([{ "reference": "Endpoint/other" }]),
    );
    let bundle = set(
        bundle,
        &format!("{STUDY}/endpoint"),
        json!([{ "reference": "Endpoint/w" }]),
    );
    let manifest = manifest(&bundle);
    let series = &manifest.studies[0].series[0];
    assert_eq!((series.locations.len(), series.instances.len()), (0, 1));
    assert_eq!(
        manifest.warnings,
        [
            Warning::UnresolvedReference("endpoint"),
            Warning::NoLocation(series.uid.clone()),
        ]
    );
}

#[test]
fn a_series_without_endpoints_inherits_those_of_the_study() {
    for own in [
        json!(null),
        json!([]),
        json!([{ "reference": "Endpoint/v" }]),
    ] {
        let bundle = with(&format!("{SERIES}/endpoint"), own);
        let viewer = json!({
            "resourceType": "Endpoint",
            "id": "v",
            "connectionType": { "code": "web-viewer" },
            "address": "https://v.example/?token=1",
        });
        let bundle = set(bundle, "/entry/-", json!({ "resource": viewer }));
        let references = json!([{ "reference": "Endpoint/v" }, { "reference": "Endpoint/w" }]);
        let bundle = set(bundle, &format!("{STUDY}/endpoint"), references);
        let manifest = manifest(&bundle);
        assert_eq!(manifest.studies[0].series[0].locations.len(), 1);
        assert_eq!(
            manifest.studies[0].viewer_urls,
            ["https://v.example/?token=1".into()]
        );
        assert_eq!(manifest.warnings, []);
    }
}

#[test]
fn keeps_the_order_of_several_endpoints() {
    let bundle = with(
        "/entry/-",
        json!({ "resource": wado("z", "https://z.example/rs", "1.2.42") }),
    );
    let references = json!([{ "reference": "Endpoint/z" }, { "reference": "Endpoint/w" }, { "reference": "Endpoint/z" }]);
    let bundle = set(bundle, &format!("{SERIES}/endpoint"), references);
    assert_eq!(
        series(&bundle).locations,
        [
            location(Some("1.2.42"), Some("https://z.example/rs")),
            location(Some("1.2.40"), Some("https://h.example/rs")),
        ]
    );
}

#[test]
fn knows_a_placeholder_from_an_address() {
    for address in [
        "http://notspecified",
        "http://NOTSPECIFIED/",
        "http://notapplicable",
        "http://doesnotexist",
        "",
    ] {
        let bundle = with(&format!("{ENDPOINT}/address"), json!(address));
        assert_eq!(
            series(&bundle).locations,
            [location(Some("1.2.40"), None)],
            "{address}"
        );
    }
    let absent = json!({ "extension": [{
        "url": "http://hl7.org/fhir/StructureDefinition/data-absent-reason",
        "valueCode": "unknown",
    }] });
    let bundle = with(&format!("{ENDPOINT}/_address"), absent);
    assert_eq!(series(&bundle).locations, [location(Some("1.2.40"), None)]);
    let bundle = with(&format!("{ENDPOINT}/address"), json!(null));
    assert_eq!(series(&bundle).locations, [location(Some("1.2.40"), None)]);
}

#[test]
fn reads_a_retrieve_location_uid_in_every_spelling() {
    let names = [
        "MadoRetrieveLocationUIDExtension",
        "XcWadoLocationUIDExtension",
        "XcWadoRetrieveLocationUIDExtension",
    ];
    let values = [
        ("valueString", json!("1.2.41")),
        ("valueString", json!("oid:1.2.41")),
        ("valueUri", json!("urn:oid:1.2.41")),
        ("valueOid", json!("urn:oid:1.2.41")),
        (
            "valueIdentifier",
            json!({ "system": "urn:ietf:rfc:3986", "value": "urn:oid:1.2.41" }),
        ),
    ];
    for name in names {
        for (form, value) in &values {
            let extension = json!([{ "url": "x/Other" }, { "url": format!("http://hl7.eu/fhir/imaging/{name}"), *form: value }]);
            let bundle = with(&format!("{ENDPOINT}/extension"), extension);
            assert_eq!(
                series(&bundle).locations[0].retrieve_location_uid,
                location(Some("1.2.41"), None).retrieve_location_uid,
                "{bundle}"
            );
        }
    }
}

#[test]
fn warns_of_a_location_uid_that_nobody_can_register() {
    for (value, warning) in [
        ("ACME", Warning::OpaqueLocation("ACME".into())),
        (
            "oid:213.323245.462.63.56",
            Warning::UnregistrableOid("213.323245.462.63.56".into()),
        ),
    ] {
        let bundle = with(
            &format!("{ENDPOINT}/extension"),
            json!([{ "url": RLU, "valueString": value }]),
        );
        assert_eq!(manifest(&bundle).warnings, [warning]);
        assert_eq!(
            series(&bundle).locations,
            [location(Some(value), Some("https://h.example/rs"))]
        );
    }
}

#[test]
fn cuts_a_retrieve_url_before_its_study_and_ignores_a_foreign_one() {
    let bundle = with(
        &format!("{ENDPOINT}/address"),
        json!("https://h.example/rs/studies/1.2.3/series/1.2.4"),
    );
    assert_eq!(
        series(&bundle).locations,
        [location(Some("1.2.40"), Some("https://h.example/rs"))]
    );
    let bundle = with(
        &format!("{ENDPOINT}/address"),
        json!("https://h.example/rs/studies/1.2.9"),
    );
    assert_eq!(series(&bundle).locations, [location(Some("1.2.40"), None)]);
    assert_eq!(
        manifest(&bundle).warnings,
        [Warning::ForeignRetrieveUrl(series(&bundle).uid)]
    );
}

#[test]
fn an_instance_is_kept_once_in_a_study() {
    let twice = json!({ "uid": "1.2.5", "sopClass": { "code": CT } });
    let bundle = with(&format!("{SERIES}/instance/-"), twice.clone());
    let other =
        json!({ "uid": "1.2.6", "endpoint": [{ "reference": "Endpoint/w" }], "instance": [twice] });
    let bundle = set(bundle, &format!("{STUDY}/series/-"), other);
    let manifest = manifest(&bundle);
    let listed: Vec<_> = manifest.studies[0]
        .series
        .iter()
        .map(|series| series.instances.len())
        .collect();
    assert_eq!(listed, [1, 0]);
    assert_eq!(manifest.warnings, [Warning::Duplicates(2)]);
}

#[test]
fn a_series_listed_twice_becomes_one() {
    let again = json!({
        "uid": "1.2.4",
        "endpoint": [{ "reference": "Endpoint/w" }],
        "instance": [{ "uid": "1.2.7", "sopClass": { "code": CT } }],
    });
    let manifest = manifest(&with(&format!("{STUDY}/series/-"), again));
    assert_eq!(manifest.studies[0].series.len(), 1);
    assert_eq!(manifest.studies[0].series[0].instances.len(), 2);
    assert_eq!(manifest.studies[0].series[0].locations.len(), 1);
    assert_eq!(manifest.warnings, [Warning::Malformed("repeated series")]);
}

#[test]
fn warns_when_counts_differ_from_what_is_listed() {
    let bundle = with(&format!("{STUDY}/numberOfSeries"), json!(2));
    let bundle = set(bundle, &format!("{STUDY}/numberOfInstances"), json!("5"));
    let bundle = set(bundle, &format!("{SERIES}/numberOfInstances"), json!(7));
    let differs = |what, declared| Warning::CountDiffers {
        what,
        declared,
        listed: 1,
    };
    let manifest = manifest(&bundle);
    assert_eq!(
        manifest.warnings,
        [
            differs("series", 2),
            differs("instances", 5),
            differs("instances", 7)
        ]
    );
    assert_eq!(manifest.studies[0].declared_series, Some(2));
    assert_eq!(manifest.studies[0].series[0].declared_instances, Some(7));
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
    assert!(
        twice
            .warnings
            .contains(&Warning::Malformed("repeated study"))
    );
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
        manifest(&bundle).warnings,
        [Warning::UnresolvedReference("order")]
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
        manifest(&bundle).warnings,
        [Warning::UnresolvedReference("patient")]
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
    let differ = Warning::PatientsDiffer(study.uid.clone());
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

fn r5() -> Value {
    let codeable = |code: &str| json!({ "coding": [{ "code": code }] });
    json!({
        "resourceType": "Bundle",
        "type": "searchset",
        "entry": [
            { "fullUrl": "ImagingStudy/1", "resource": {
                "resourceType": "ImagingStudy",
                "identifier": [{ "system": "urn:dicom:uid", "value": "1.2.3" }],
                "subject": { "reference": "Patient/patient" },
                "modality": [codeable("CT")],
                "procedure": [{ "concept": codeable("P5") }, { "reference": { "reference": "Procedure/1" } }],
                "endpoint": [{ "reference": "Endpoint/w" }, { "reference": "Endpoint/v" }],
                "series": [{
                    "uid": "1.2.4",
                    "modality": codeable("CT"),
                    "bodySite": { "concept": codeable("69536005") },
                    "instance": [{
                        "uid": "1.2.5",
                        "sopClass": { "code": format!("urn:oid:{KOS}") },
                        "extension": [{ "url": "http://hl7.eu/x/instance-description", "valueString": "Note" }],
                    }],
                }],
            } },
            { "fullUrl": "Patient/patient", "resource": { "resourceType": "Patient", "gender": "other" } },
            { "fullUrl": "Endpoint/w", "resource": {
                "resourceType": "Endpoint",
                "connectionType": [codeable("dicom-wado-rs")],
                "payload": [{ "type": [codeable("dicom-wado-rs")], "mimeType": ["application/dicom"] }],
                "address": "https://h.example/rs",
            } },
            { "fullUrl": "Endpoint/v", "resource": {
                "resourceType": "Endpoint",
                "connectionType": [codeable("ihe-iid")],
                "payload": [{ "mimeType": ["text/html"] }],
                "address": "https://v.example/",
            } },
        ],
    })
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

#[test]
fn refuses_what_is_too_large() {
    let mut long = small().to_string().into_bytes();
    long.resize(MAX_MANIFEST + 1, b' ');
    assert_eq!(read(&long), Err(Error::TooLarge { what: "bytes" }));
    let studies = vec![small()["entry"][0].to_string(); MOST_STUDIES + 1].join(",");
    let bundle = format!(r#"{{"resourceType":"Bundle","entry":[{studies}]}}"#);
    assert_eq!(
        read(bundle.as_bytes()),
        Err(Error::TooLarge { what: "studies" })
    );
    let endpoints =
        vec![r#"{"resource":{"resourceType":"Endpoint"}}"#; MOST_RESOURCES + 1].join(",");
    let bundle = format!(r#"{{"resourceType":"Bundle","entry":[{endpoints}]}}"#);
    assert_eq!(
        read(bundle.as_bytes()),
        Err(Error::TooLarge { what: "resources" })
    );
}

#[test]
fn refuses_deep_nesting_without_a_deep_stack() {
    let levels = |open: &str, close: &str, times: usize| {
        format!("{}0{}", open.repeat(times), close.repeat(times))
    };
    let deepest = [
        levels("[", "]", MOST_LEVELS),
        levels(r#"{"entry":"#, "}", MOST_LEVELS),
        format!(
            r#"{{"entry":[{{"resource":{}}}]}}"#,
            levels(r#"{"contained":["#, "]}", 14)
        ),
        format!(
            r#"{{"entry":[{{"resource":{{"procedure":{}}}}}]}}"#,
            levels(r#"{"concept":"#, "}", 28)
        ),
        format!(
            r#"{{"entry":[{{"resource":{{"modality":{}}}}}]}}"#,
            levels(r#"{"coding":["#, "]}", 14)
        ),
    ];
    let too_deep = [
        levels("[", "]", MOST_LEVELS + 1),
        "[".repeat(1_000_000),
        r#"{"entry":["#.repeat(1_000_000),
    ];
    let thread = std::thread::Builder::new()
        .stack_size(2 * 1024 * 1024)
        .spawn(move || {
            for document in deepest {
                assert_eq!(
                    read(document.as_bytes()),
                    Err(Error::NotABundle),
                    "{document}"
                );
            }
            for document in too_deep {
                assert_eq!(
                    read(document.as_bytes()),
                    Err(Error::TooLarge {
                        what: "levels of nesting"
                    })
                );
            }
        });
    thread.expect("a thread").join().expect("no panic");
}

#[test]
fn brackets_in_texts_are_no_nesting() {
    let bundle = with(
        &format!("{STUDY}/description"),
        json!("\"\\[[[[".repeat(50)),
    );
    assert_eq!(manifest(&bundle).warnings, []);
}

#[test]
fn study_endpoints_do_not_multiply_with_the_series() {
    let references: Vec<_> = (0..900)
        .map(|n| json!({ "reference": format!("Endpoint/w{n}") }))
        .collect();
    let mut bundle = with(&format!("{STUDY}/endpoint"), json!(references));
    bundle = set(bundle, &format!("{SERIES}/endpoint"), json!([]));
    for n in 0..900 {
        let endpoint = wado(
            &format!("w{n}"),
            &format!("https://h{n}.example/"),
            "1.2.40",
        );
        bundle = set(bundle, "/entry/-", json!({ "resource": endpoint }));
    }
    assert_eq!(series(&bundle).locations.len(), 8);
    assert_eq!(
        manifest(&bundle).warnings,
        [Warning::Malformed("endpoint list")]
    );
}

#[test]
fn reads_a_hundred_thousand_instances_quickly() {
    let instance = |n: usize| {
        format!(
            r#"{{"uid":"1.2.3.{n}","sopClass":{{"system":"urn:ietf:rfc:3986","code":"urn:oid:{CT}"}},"number":{n}}}"#
        )
    };
    let series = |s: usize| {
        let instances = (0..100)
            .map(|n| instance(s * 100 + n + 1))
            .collect::<Vec<_>>()
            .join(",");
        format!(
            r#"{{"uid":"1.2.4.{s}","endpoint":[{{"reference":"Endpoint/w"}}],"instance":[{instances}]}}"#
        )
    };
    let all = (0..1000).map(series).collect::<Vec<_>>().join(",");
    let bundle = format!(
        r#"{{"resourceType":"Bundle","entry":[{{"resource":{{"resourceType":"ImagingStudy","identifier":[{{"system":"urn:dicom:uid","value":"1.2.3"}}],"series":[{all}]}}}},{{"resource":{}}}]}}"#,
        wado("w", "https://h.example/rs", "1.2.40")
    );
    let start = Instant::now();
    let manifest = read(bundle.as_bytes()).expect("a manifest");
    // Far above what it takes (a second or two in a debug build), far below what a quadratic step would.
    assert!(
        start.elapsed() < Duration::from_secs(20),
        "{:?}",
        start.elapsed()
    );
    let listed: usize = manifest.studies[0]
        .series
        .iter()
        .map(|series| series.instances.len())
        .sum();
    assert_eq!((listed, manifest.warnings), (100_000, vec![]));
}

/// Every place in a JSON document, as a list of pointers.
fn places(value: &Value, prefix: &str, into: &mut Vec<String>) {
    into.push(prefix.to_owned());
    match value {
        Value::Array(items) => {
            items
                .iter()
                .enumerate()
                .for_each(|(n, item)| places(item, &format!("{prefix}/{n}"), into));
        }
        Value::Object(members) => {
            members
                .iter()
                .for_each(|(name, member)| places(member, &format!("{prefix}/{name}"), into));
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

fn odd_value() -> impl Strategy<Value = Value> {
    prop_oneof![
        Just(json!(null)),
        Just(json!(true)),
        any::<i64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        ".{0,20}".prop_map(Value::from),
        Just(json!({})),
        Just(json!([])),
        Just(json!([[{}], "x", {"code": {"coding": [1]}}])),
        Just(
            json!({"reference": "#", "value": [], "url": "é/studies/", "concept": {"concept": "x"}})
        ),
    ]
}

proptest! {
    #[test]
    fn never_panics_on_any_bytes(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
        let _ = read(&bytes);
    }

    #[test]
    fn never_panics_on_a_damaged_text(at in any::<prop::sample::Index>(), byte in any::<u8>(), is_r5 in any::<bool>()) {
        let mut text = if is_r5 { r5() } else { small() }.to_string().into_bytes();
        let at = at.index(text.len());
        text[at] = byte;
        let _ = read(&text);
    }

    // Whatever is wrong with a member: either the index is refused, or it is complete.
    #[test]
    fn a_wrong_member_never_shortens_the_index(place in any::<prop::sample::Index>(), value in odd_value(), is_r5 in any::<bool>()) {
        let mut bundle = if is_r5 { r5() } else { small() };
        let mut all = Vec::new();
        places(&bundle, "", &mut all);
        let place = place.get(&all);
        *bundle.pointer_mut(place).expect("a place") = value;
        if let Ok(manifest) = parsed(&bundle) {
            prop_assert_eq!(manifest.studies[0].series[0].instances.len(), 1);
        }
    }
}
