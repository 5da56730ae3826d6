//! Small manifests, each with what a search must find in it.

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use serde_json::{Value, json};
use xcwado::dicom::json as model;
use xcwado::dicom::part10::File;

use super::shared_cases;
use crate::rig::{AS_STORED, Registered, Rig};

const STUDY: &str = "2.25.290256853627840156159700429540135593590";
const CT: &str = "2.25.311575519897439860388502720294705940320";
const US: &str = "2.25.43009822764311522847385858555290418873";
const KO: &str = "2.25.1164827294285197667654649973198031196";

/// A gateway, and the folder of the manifests.
struct Manifests {
    rig: Rig,
    folder: std::path::PathBuf,
}

/// The value that an attribute of the first result must have; `Null`: none.
type Attribute = (&'static str, Value);

impl Manifests {
    fn open() -> Option<Self> {
        let folder = shared_cases("manifests")?;
        let rig = Rig::start("");
        Some(Self { rig, folder })
    }

    fn bytes(&self, file: &str) -> Vec<u8> {
        std::fs::read(self.folder.join(file)).expect(file)
    }

    async fn register(&self, file: &str) -> Registered {
        self.rig.register(self.bytes(file)).await
    }

    async fn search(&self, root: &str, rest: &str) -> Vec<Value> {
        let answer = self.rig.get(&format!("{root}{rest}"), &[]).await;
        assert_eq!(answer.status, 200, "{rest}: {answer:?}");
        answer.json().as_array().expect("a list").clone()
    }

    /// All that searches tell of the study, its series and its instances, without links.
    async fn told(&self, file: &str) -> [Vec<Value>; 3] {
        let root = self.register(file).await.root;
        self.told_below(&root).await
    }

    async fn told_below(&self, root: &str) -> [Vec<Value>; 3] {
        let of_level = async |level: &str| {
            let mut rows = self.search(root, level).await;
            for row in &mut rows {
                row.as_object_mut().expect("attributes").remove("00081190");
            }
            rows
        };
        [
            of_level("studies").await,
            of_level(&format!("studies/{STUDY}/series")).await,
            of_level(&format!("studies/{STUDY}/instances")).await,
        ]
    }
}

/// A Key Object Selection document in the DICOM JSON model.
fn as_json(document: &[u8]) -> String {
    let file = File::open(document).expect("a file");
    let mut text = String::new();
    model::write(&file.data_set(), model::Beside::default(), "", &mut text).expect("a data set");
    text
}

/// The addresses of the series of a document.
fn addresses(document: &[u8]) -> Vec<String> {
    let manifest = xcwado::manifest::read(document).expect("a manifest");
    let series = manifest.studies.iter().flat_map(|study| &study.series);
    let urls = series.map(|series| series.locations[0].retrieve_url.as_deref());
    urls.map(|url| url.unwrap_or_default().trim_end_matches('/').to_owned())
        .collect()
}

fn check(found: &[Value], attributes: &[Attribute], row: &str) {
    assert!(!found.is_empty(), "{row}: nothing is found");
    for (tag, expected) in attributes {
        let tags = tag.split('/');
        let value = tags.fold(&found[0], |item, tag| &item[tag]["Value"][0]);
        assert_eq!(value, expected, "{row}: {tag}");
    }
}

#[tokio::test]
async fn other_forms_of_a_manifest_tell_what_the_plain_one_tells() {
    let Some(manifests) = Manifests::open() else {
        return;
    };
    let kos = manifests.told("kos-plain.dcm").await;
    let fhir = manifests.told("fhir-plain.json").await;
    for file in ["binary-around-kos.json", "kos-descriptors-beside.dcm"] {
        assert_eq!(manifests.told(file).await, kos, "{file}");
    }
    assert_eq!(manifests.told("kos-counts-as-text.dcm").await, kos);
    for file in [
        "imagingstudy-bare.json",
        "fhir-references-by-identifier.json",
        "fhir-study-id-rfc3986.json",
        "fhir-eu-number-of-frames.json",
    ] {
        assert_eq!(manifests.told(file).await, fhir, "{file}");
    }
    // Without the library itself, the manifest does not tell the region of the study.
    let [studies, series, instances] = manifests.told("kos-groups-at-root.dcm").await;
    assert_eq!(series, kos[1]);
    assert_eq!(instances, kos[2]);
    check(&studies, &[("00080061", json!("CT"))], "groups at the root");
}

#[tokio::test]
#[rustfmt::skip]
async fn every_manifest_tells_what_it_must() {
    let Some(manifests) = Manifests::open() else {
        return;
    };
    let us = format!("studies/{STUDY}/series/{US}/instances");
    let ko = format!("studies/{STUDY}/series/{KO}/instances");
    let (us_series, ko_series) = (format!("series?SeriesInstanceUID={US}"), format!("series?SeriesInstanceUID={KO}"));
    let rows: &[(&str, &str, &[Attribute])] = &[
        ("fhir-plain.json", "series?SeriesNumber=3", &[("0020000E", json!(CT)), ("00200060", json!("L")), ("00180015", json!("LUNG"))]),
        ("fhir-two-patients.json", "studies?StudyInstanceUID=2.25.86116871669706550017951989047815406182",
         &[("00100020", json!("PID-b")), ("00100010", json!({"Alphabetic": "Andere^Anna"}))]),
        ("kos-group-case.dcm", "studies?AccessionNumber=ACC-a-2", &[("0020000D", json!(STUDY))]),
        ("kos-group-case.dcm", "studies?AccessionNumber=ACC-a", &[("0020000D", json!(STUDY))]),
        ("kos-groups-at-root.dcm", &us, &[("00200013", json!(1)), ("00280008", json!(5))]),
        ("kos-series-number-in-evidence.dcm", "series?SeriesNumber=3", &[("0020000E", json!(CT)), ("00080060", json!("CT"))]),
        ("kos-series-number-in-evidence.dcm", "series?SeriesNumber=4", &[("0020000E", json!(US))]),
        ("kos-series-number-in-evidence.dcm", "series?SeriesNumber=9", &[("0020000E", json!(KO))]),
        ("fhir-eu-number-of-frames.json", &us, &[("00280008", json!(5))]),
        ("fhir-unilateral.json", "series?SeriesNumber=3", &[("00200060", json!("L"))]),
        ("fhir-unilateral.json", "series?SeriesNumber=4", &[("00200060", json!("R"))]),
        ("fhir-body-site.json", "series?SeriesNumber=3", &[("00180015", json!("HEADNECK"))]),
        ("fhir-body-site.json", "series?SeriesNumber=4", &[("00180015", json!("HEART"))]),
        ("kos-classic.dcm", "studies", &[("00080061", json!("CT"))]),
        ("kos-classic.dcm", &us_series, &[("00080060", json!("US"))]),
        ("kos-classic.dcm", &ko_series, &[("00080060", json!("KO"))]),
        ("kos-plain.dcm", &ko, &[("0040A043/00080100", json!("113000")), ("0040A730/0040A160", json!("See nodule"))]),
        ("fhir-plain.json", &ko, &[("0040A043/00080100", json!("113000")), ("0040A730/0040A160", json!("See nodule"))]),
        ("kos-plain.dcm", "studies?PatientID=NAT-a", &[
            ("00100020", json!("PID-a")), ("00101002/00100020", json!("NAT-a")),
            ("00101002/00100024/00400032", json!("1.2.276.0.76.4.8")),
            ("00080050", json!("ACC-a")), ("00080051/00400032", json!("1.2.276.0.76.3.1.99.1")),
            ("00081032/00080100", json!("RPID16")), ("00082218/00080100", json!("67734004")),
        ]),
        ("fhir-plain.json", "studies?PatientID=NAT-a", &[
            ("00101002/00100020", json!("NAT-a")), ("00080051/00400032", json!("1.2.276.0.76.3.1.99.1")),
            ("00081032/00080102", json!("RADLEX")), ("00082218/00080102", json!("SCT")),
        ]),
        ("fhir-plain.json", "series?SeriesNumber=3", &[("00082218/00080100", json!("39607008"))]),
    ];
    for (file, rest, attributes) in rows {
        let root = manifests.register(file).await.root;
        let found = manifests.search(&root, rest).await;
        check(&found, attributes, &format!("{file} {rest}"));
    }
}

#[tokio::test]
async fn a_further_identifier_is_that_of_its_own_issuer() {
    let Some(manifests) = Manifests::open() else {
        return;
    };
    manifests.register("kos-group-case.dcm").await;
    for (query, count) in [
        ("AccessionNumber=ACC-a-2", 1),
        ("AccessionNumber=ACC-b", 0),
        ("PatientID=NAT-a&IssuerOfPatientID=1.2.276.0.76.4.8", 1),
        ("PatientID=NAT-a&IssuerOfPatientID=1.2.276.0.76.3.1.99.2", 0),
        ("PatientID=PID-a&IssuerOfPatientID=1.2.276.0.76.3.1.99.2", 1),
    ] {
        let rest = format!("studies?{query}");
        let found = manifests.search("/dicomweb/", &rest).await;
        assert_eq!(found.len(), count, "{query}");
    }
}

#[tokio::test]
async fn a_series_without_instances_is_missing_and_not_absent() {
    let Some(manifests) = Manifests::open() else {
        return;
    };
    let manifest = manifests
        .register("fhir-series-without-instances.json")
        .await;
    let found = manifests
        .search(&manifest.root, "series?SeriesNumber=4")
        .await;
    check(&found, &[("00201209", json!(2))], "the declared number");
    let path = format!("{}studies/{STUDY}/series/{US}", manifest.root);
    let answer = manifests.rig.get(&path, &[]).await;
    assert_eq!(answer.status, 404);
    assert!(
        answer.problem().contains("no source was asked"),
        "{answer:?}"
    );
}

#[tokio::test]
async fn the_address_of_a_series_leads_to_its_service() {
    let Some(manifests) = Manifests::open() else {
        return;
    };
    let bytes = manifests.bytes("kos-series-number-in-evidence.dcm");
    let manifest = xcwado::manifest::read(&bytes).expect("a manifest");
    for series in &manifest.studies[0].series {
        let url = series.locations[0].retrieve_url.as_deref();
        assert_eq!(url, Some("https://pacs.example/api/source"));
    }
}

#[tokio::test]
async fn a_manifest_in_any_form_is_handed_out_as_the_document_in_it() {
    let Some(manifests) = Manifests::open() else {
        return;
    };
    let rig = &manifests.rig;
    let kos = manifests.told("kos-plain.dcm").await;
    let fhir = manifests.told("fhir-plain.json").await;
    let plain = manifests.bytes("kos-plain.dcm");
    let listed = format!("[{}]", as_json(&plain));
    let lone = manifests.bytes("imagingstudy-bare.json");
    let binary = |document: &[u8]| {
        let data = BASE64_STANDARD.encode(document);
        json!({ "resourceType": "Binary", "data": data }).to_string()
    };
    for (body, sent_as, form, other, told) in [
        (
            as_json(&plain).into_bytes(),
            "application/dicom+json",
            "application/dicom",
            "application/fhir+json",
            &kos,
        ),
        (
            listed.into_bytes(),
            "application/dicom+json",
            "application/dicom",
            "application/dicom+json",
            &kos,
        ),
        (
            binary(&plain).into_bytes(),
            "application/fhir+json",
            "application/dicom",
            "application/fhir+json",
            &kos,
        ),
        (
            binary(as_json(&plain).as_bytes()).into_bytes(),
            "application/fhir+json",
            "application/dicom",
            "application/fhir+json",
            &kos,
        ),
        (
            lone.clone(),
            "application/fhir+json",
            "application/fhir+json",
            "application/dicom",
            &fhir,
        ),
        (
            binary(&lone).into_bytes(),
            "application/fhir+json",
            "application/fhir+json",
            "application/dicom",
            &fhir,
        ),
    ] {
        let answer = rig
            .post("/manifests", &[("content-type", sent_as)], body)
            .await;
        let registered = Registered::of(&answer);
        assert_eq!(&manifests.told_below(&registered.root).await, told);
        let path = format!("/manifests/{}", registered.id);
        let refused = rig.get(&path, &[("accept", other)]).await;
        assert_eq!(refused.status, 406, "{other}");
        let answer = rig.get(&path, &[("accept", form)]).await;
        assert_eq!(
            (answer.status.as_u16(), answer.field("content-type")),
            (200, form)
        );
        let address = format!("http://{}{path}/dicomweb", rig.public);
        assert_eq!(addresses(&answer.body), vec![address; 3]);
        let again = rig.register(answer.body.clone()).await;
        assert_eq!(&manifests.told_below(&again.root).await, told);
    }
}

#[tokio::test]
async fn an_instance_in_two_series_is_that_of_each() {
    let Some(folder) = shared_cases("instances/arguable") else {
        return;
    };
    let file = |name: &str| std::fs::read(folder.join(name)).expect(name);
    let rig = Rig::start(&format!(
        "[[location]]\nretrieve_location_uid = \"1.3.6.1.4.1.99999.1.10\"\n\
         retrieve_urls = [\"http://files.example/rs\"]\nfolder = {folder:?}\n"
    ));
    let root = rig.register(file("twice.manifest.json")).await.root;
    let study = format!("{root}studies/2.25.79.50.1");
    // From the source, then from the cache.
    for _ in 0..2 {
        for (series, expected) in [
            ("2.25.79.50.2", "twice-a.dcm"),
            ("2.25.79.50.3", "twice-b.dcm"),
        ] {
            for path in [
                format!("{study}/series/{series}"),
                format!("{study}/series/{series}/instances/2.25.79.50.9"),
            ] {
                let answer = rig.get(&path, &[AS_STORED]).await;
                assert_eq!(answer.status, 200, "{path}");
                let parts: Vec<_> = answer.parts().into_iter().map(|part| part.bytes).collect();
                assert_eq!(parts, [file(expected)], "{path}");
            }
        }
        let answer = rig.get(&study, &[AS_STORED]).await;
        let mut parts: Vec<_> = answer.parts().into_iter().map(|part| part.bytes).collect();
        parts.sort();
        let mut files = [file("twice-a.dcm"), file("twice-b.dcm")];
        files.sort();
        assert_eq!(parts, files);
    }
}
