//! Manifests that the gateway hands out, and a second gateway that is given them.

use std::collections::BTreeSet;
use std::path::Path;
use std::process::Command;

use dicom_dictionary_std::tags;
use dicom_object::InMemDicomObject;
use serde_json::Value;
use xcwado::manifest::{self, Manifest};

use super::shared_cases;
use crate::rig::origin::Origin;
use crate::rig::study::{EXPLICIT, Instance, Series, Study};
use crate::rig::tools::left_out;
use crate::rig::{AS_STORED, Answer, Registered, Rig, sorted};

/// Two gateways of one community would take each other's requests for a loop.
const THERE: &str = "1.3.6.1.4.1.99999.2";
const LOCATION: &str = "1.2.276.0.76.3.1.99.10";
const KOS: &str = "application/dicom";
const FHIR: &str = "application/fhir+json";

/// A gateway with the source of the shared manifests, and one of them.
struct Case {
    rig: Rig,
    study: Study,
    registered: Registered,
    media_type: &'static str,
    original: Vec<u8>,
    _source: Origin,
}

impl Case {
    async fn of(name: &str) -> Option<Self> {
        let original = std::fs::read(shared_cases("manifests")?.join(name)).expect("a manifest");
        let study = study(&manifest::read(&original).expect("a manifest"));
        let source = Origin::of(&study).await;
        let rig = Rig::start(&format!(
            "[[location]]\nretrieve_location_uid = \"{LOCATION}\"\nwado_rs_url = \"{}\"\n",
            source.url()
        ));
        let registered = rig.register(original.clone()).await;
        let media_type = if name.ends_with(".dcm") { KOS } else { FHIR };
        Some(Self {
            rig,
            study,
            registered,
            media_type,
            original,
            _source: source,
        })
    }

    async fn handed_out(&self) -> Answer {
        let path = format!("/manifests/{}", self.registered.id);
        let answer = self.rig.get(&path, &[("accept", self.media_type)]).await;
        assert_eq!(answer.status, 200, "{answer:?}");
        answer
    }

    async fn bundle(&self) -> Value {
        self.handed_out().await.json()
    }

    /// The address of the manifest at the gateway.
    fn address(&self) -> String {
        format!(
            "http://{}/manifests/{}",
            self.rig.public, self.registered.id
        )
    }
}

/// Instances with the UIDs that a manifest lists.
fn study(manifest: &Manifest) -> Study {
    let study = &manifest.studies[0];
    let series = study.series.iter().map(|series| Series {
        uid: series.uid.to_string(),
        locations: Vec::new(),
        instances: series
            .instances
            .iter()
            .map(|one| {
                let uids = [study.uid.as_str(), series.uid.as_str(), one.uid.as_str()];
                Instance::new(uids, EXPLICIT, 2000)
            })
            .collect(),
    });
    Study {
        uid: study.uid.to_string(),
        series: series.collect(),
    }
}

/// One documented line of settings: docs/OPERATING.md, "Another xcwado as a source".
#[tokio::test]
async fn a_second_gateway_retrieves_from_the_first_by_the_manifest_it_is_given() {
    for name in [
        "kos-plain.dcm",
        "fhir-plain.json",
        "fhir-no-address.json",
        "fhir-wado-uri-endpoint.json",
    ] {
        let Some(case) = Case::of(name).await else {
            return;
        };
        let document = case.handed_out().await.body;
        let second = Rig::start_as(
            THERE,
            &format!(
                "[[location]]\nwado_rs_url = \"http://{}/dicomweb/\"\n",
                case.rig.public
            ),
        );
        let registered = second.register(document).await;
        assert_eq!(registered.summary["not_locatable"], Value::Null, "{name}");
        let path = format!("{}{}", registered.root, case.study.path());
        let answer = second.get(&path, &[AS_STORED]).await;
        assert_eq!(answer.status, 200, "{name}: {answer:?}");
        assert_eq!(sorted(answer.instances()), case.study.bytes(), "{name}");
    }
}

#[tokio::test]
async fn an_address_that_leads_here_is_not_told_to_be_absent() {
    let Some(case) = Case::of("fhir-no-address.json").await else {
        return;
    };
    let bundle = case.bundle().await;
    let endpoint = endpoint(&bundle);
    assert_eq!(endpoint["address"], format!("{}/dicomweb", case.address()));
    assert_eq!(endpoint["_address"], Value::Null);
    assert!(!bundle.to_string().contains("data-absent-reason"));
}

#[tokio::test]
async fn a_wado_uri_endpoint_leads_to_wado_uri() {
    let Some(case) = Case::of("fhir-wado-uri-endpoint.json").await else {
        return;
    };
    let bundle = case.bundle().await;
    assert_eq!(
        endpoint(&bundle)["address"],
        format!("{}/wado", case.address())
    );
    let instance = &case.study.series[0].instances[0];
    let query = format!(
        "requestType=WADO&studyUID={}&seriesUID={}&objectUID={}&contentType=application/dicom\
         &transferSyntax={EXPLICIT}",
        instance.study, instance.series, instance.uid
    );
    let path = format!("/manifests/{}/wado?{query}", case.registered.id);
    let answer = case.rig.get(&path, &[]).await;
    assert_eq!(
        (answer.status.as_u16(), &answer.body),
        (200, &instance.bytes)
    );
}

#[tokio::test]
async fn a_bundle_has_an_identifier_of_its_own_and_names_the_original() {
    let Some(case) = Case::of("fhir-plain.json").await else {
        return;
    };
    let bundle = case.bundle().await;
    let original: Value = serde_json::from_slice(&case.original).expect("JSON");
    let own = &bundle["identifier"];
    assert_eq!(own["system"], original["identifier"]["system"]);
    let value = own["value"].as_str().expect("a text");
    assert!(value.starts_with("urn:oid:2.25."), "{value}");
    assert_ne!(own, &original["identifier"]);
    let composition = &bundle["entry"][0]["resource"];
    assert_eq!(
        composition["relatesTo"][0],
        serde_json::json!({ "code": "transforms", "targetIdentifier": original["identifier"] })
    );
    assert_eq!(case.bundle().await, bundle, "the same each time");
}

/// Its addresses are those of the link, so it is another document.
#[tokio::test]
async fn below_each_link_a_manifest_has_an_identifier_of_its_own() {
    let Some(case) = Case::of("fhir-plain.json").await else {
        return;
    };
    let mut bundles = vec![case.bundle().await];
    for _ in 0..2 {
        let links = format!("/manifests/{}/links", case.registered.id);
        let made = case.rig.post(&links, &[], "{}".to_owned()).await;
        assert_eq!(made.status, 201, "{made:?}");
        let url = made.json()["url"].as_str().expect("an address").to_owned();
        let root = format!("http://{}", case.rig.public);
        let path = url.strip_prefix(&root).expect("one of ours");
        let handed_out = async || case.rig.get(path, &[("accept", FHIR)]).await.json();
        let bundle = handed_out().await;
        assert_eq!(endpoint(&bundle)["address"], format!("{url}/dicomweb"));
        assert_eq!(handed_out().await, bundle, "the same each time");
        bundles.push(bundle);
    }
    let identifiers: BTreeSet<_> = bundles
        .iter()
        .map(|bundle| bundle["identifier"]["value"].to_string())
        .collect();
    assert_eq!(identifiers.len(), 3, "{identifiers:?}");
}

#[tokio::test]
async fn a_key_object_selection_has_a_uid_of_its_own_and_names_its_predecessor() {
    let Some(case) = Case::of("kos-plain.dcm").await else {
        return;
    };
    let before = manifest::read(&case.original).expect("a manifest");
    let document = case.handed_out().await.body;
    let after = manifest::read(&document).expect("a manifest");
    assert_ne!(after.document_id, before.document_id);
    assert_eq!(case.handed_out().await.body, document, "the same each time");
    let object = dicom_object::from_reader(&document[128..]).expect("dicom-rs reads it");
    let uid = after.document_id.as_deref().expect("a UID");
    assert!(uid.starts_with("2.25."), "{uid}");
    let of_meta = object
        .meta()
        .media_storage_sop_instance_uid
        .trim_end_matches('\0');
    assert_eq!(of_meta, uid);
    let sequence = |object: &InMemDicomObject, tag| {
        let items = object.element(tag).expect("a sequence").items();
        items.expect("items").first().expect("an item").clone()
    };
    let text = |object: &InMemDicomObject, tag| {
        let text = object.element(tag).expect("an element").to_str();
        text.expect("a text").trim_end_matches('\0').to_owned()
    };
    let of_study = sequence(&object, tags::PREDECESSOR_DOCUMENTS_SEQUENCE);
    assert_eq!(text(&of_study, tags::STUDY_INSTANCE_UID), case.study.uid);
    let of_series = sequence(&of_study, tags::REFERENCED_SERIES_SEQUENCE);
    let predecessor = sequence(&of_series, tags::REFERENCED_SOP_SEQUENCE);
    let predecessor = text(&predecessor, tags::REFERENCED_SOP_INSTANCE_UID);
    assert_eq!(Some(&*predecessor), before.document_id.as_deref());
    dcmdump(&document);
}

/// dcmtk reads every element.
fn dcmdump(document: &[u8]) {
    let directory = tempfile::tempdir().expect("a directory");
    let file = directory.path().join("kos.dcm");
    std::fs::write(&file, document).expect("written");
    let Ok(output) = dump(&file) else {
        return left_out("dcmdump", "it is not installed");
    };
    let errors = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success() && errors.is_empty(), "{errors}");
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(text.contains("PredecessorDocumentsSequence"), "{text}");
}

fn dump(file: &Path) -> std::io::Result<std::process::Output> {
    Command::new("dcmdump").arg(file).output()
}

fn endpoint(bundle: &Value) -> &Value {
    let entries = bundle["entry"].as_array().expect("entries");
    let resources = entries.iter().map(|entry| &entry["resource"]);
    let is_wado = |resource: &&Value| {
        resource["resourceType"] == "Endpoint"
            && resource["connectionType"].to_string().contains("wado")
    };
    resources.into_iter().find(is_wado).expect("an Endpoint")
}
