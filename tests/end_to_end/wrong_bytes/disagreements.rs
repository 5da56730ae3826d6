//! Manifests never show the images of one patient under the name of another.

use http::StatusCode;
use serde_json::{Value, json};

use crate::rig::origin::Origin;
use crate::rig::study::{Study, at, at_url};
use crate::rig::{AS_STORED, Answer, Registered, Rig};

/// An input that lies beside the project, if it is there.
pub(super) fn case(name: &str) -> Option<Vec<u8>> {
    let path = format!(
        "{}/../shared/cases/manifests/{name}",
        env!("CARGO_MANIFEST_DIR")
    );
    let read = std::fs::read(&path);
    if read.is_err() {
        assert!(
            std::env::var_os("CI").is_none(),
            "the test data are missing"
        );
        eprintln!("left out: there is no {path}");
    }
    read.ok()
}

/// Name and Patient ID of every study that a search finds.
async fn patients(rig: &Rig, root: &str) -> Vec<[String; 2]> {
    let found = rig.get(&format!("{root}studies"), &[]).await.json();
    let rows = found.as_array().expect("a list").iter();
    let mut patients: Vec<[String; 2]> = rows
        .map(|row| {
            let name = row["00100010"]["Value"][0]["Alphabetic"].as_str();
            let id = row["00100020"]["Value"][0].as_str();
            [name, id].map(|text| text.unwrap_or_default().to_owned())
        })
        .collect();
    patients.sort();
    patients
}

#[tokio::test]
async fn each_study_of_a_bundle_is_shown_with_its_own_patient() {
    let Some(bundle) = case("fhir-two-patients.json") else {
        return;
    };
    let rig = Rig::start("");
    let manifest = rig.register(bundle).await;
    let expected = [["Andere^Anna", "PID-b"], ["Muster^Maria", "PID-a"]];
    for root in [&*manifest.root, "/dicomweb/"] {
        assert_eq!(patients(&rig, root).await, expected, "{root}");
    }
    for (name, id) in [("Andere*", "PID-b"), ("Muster*", "PID-a")] {
        let path = format!("{}series?PatientName={name}", manifest.root);
        for row in rig.get(&path, &[]).await.json().as_array().expect("a list") {
            assert_eq!(row["00100020"]["Value"][0], Value::from(id));
        }
    }
    let path = format!("/manifests/{}/viewers/weasis.xml", manifest.id);
    let text = rig.get(&path, &[]).await.text();
    let [one, other] = ["PID-a", "PID-b"].map(|id| text.find(id).expect("a patient"));
    let second = text.find("Andere^Anna").expect("the other name");
    assert!(one < other && other < second, "{text}");
}

/// The Bundle of a study, as somebody registers it who says that it is of this patient.
fn of_patient(study: &Study, id: &str, family: &str) -> Vec<u8> {
    let mut document = study.fhir_document();
    let entries = document["entry"].as_array_mut().expect("a list");
    let patient = entries.last_mut().expect("a patient");
    patient["resource"]["identifier"] = json!([{ "system": "urn:oid:1.2.276.99", "value": id }]);
    patient["resource"]["name"] = json!([{ "family": family }]);
    document.to_string().into_bytes()
}

/// Two sources that have the same study, and a gateway in front of them.
struct Case {
    rig: Rig,
    study: Study,
    here: Origin,
    there: Origin,
}

impl Case {
    async fn new() -> Self {
        let study = Study::new(1).with(2, at(10)).with(1, at(10));
        let here = Origin::of(&study).await;
        let there = Origin::of(&study).await;
        let locations = [here.location(10), there.location(11)].concat();
        Self {
            rig: Rig::start(&locations),
            study,
            here,
            there,
        }
    }

    async fn post(&self, query: &str, manifest: Vec<u8>) -> Answer {
        self.rig
            .post(&format!("/manifests{query}"), &[], manifest)
            .await
    }

    /// How many instances of the study a root gives, and its `Warning` fields.
    async fn given(&self, root: &str) -> (usize, String) {
        let path = format!("{root}{}", self.study.path());
        let answer = self.rig.get(&path, &[AS_STORED]).await;
        assert_eq!(answer.status, StatusCode::OK, "{answer:?}");
        let warnings = answer.headers.get_all("warning").iter();
        let warnings: Vec<_> = warnings.filter_map(|one| one.to_str().ok()).collect();
        (answer.parts().len(), warnings.join(", "))
    }
}

const KEEP_FIRST: &str = "?conflict=keep_first";

#[tokio::test]
async fn a_manifest_that_names_another_patient_is_refused_and_learns_nothing() {
    let case = Case::new().await;
    let first = case
        .rig
        .register(of_patient(&case.study, "P-1", "Quetzalcoatl"))
        .await;
    let stranger = of_patient(&case.study, "P-2", "Stranger");
    let refused = case.post("", stranger.clone()).await;
    assert_eq!(refused.status, StatusCode::CONFLICT, "{refused:?}");
    let problem = refused.problem();
    assert!(problem.contains("patient"), "{problem}");
    for secret in [&*first.id, "P-1", "Quetzalcoatl"] {
        assert!(!refused.text().contains(secret), "{refused:?}");
    }
    let conflicts = &refused.json()["conflicts"];
    assert_eq!(conflicts[0]["study_instance_uid"], case.study.uid);
    assert_eq!(conflicts[0]["disagrees_on"], json!(["patient"]));
    assert_eq!(
        patients(&case.rig, "/dicomweb/").await,
        [["Quetzalcoatl", "P-1"]]
    );
    assert_eq!(case.rig.metric("xcwado_manifests").await, 1.0);
    // The same patient, written otherwise, is no conflict.
    let mut same = case.study.fhir_document();
    let entries = same["entry"].as_array_mut().expect("a list");
    entries.last_mut().expect("a patient")["resource"] = json!({
        "resourceType": "Patient",
        "identifier": [
            { "system": "urn:oid:1.2.276.98", "value": "other" },
            { "system": "1.2.276.99", "value": "P-1" },
        ],
        "name": [{ "text": "QUETZALCOATL" }],
    });
    let same = case.post("", same.to_string().into_bytes()).await;
    assert_eq!(same.status, StatusCode::CREATED, "{same:?}");
    for query in [
        "?conflict=",
        "?conflict=replace",
        "?conflict=keep_first&conflict=x",
    ] {
        let unknown = case.post(query, stranger.clone()).await;
        assert_eq!(unknown.status, StatusCode::BAD_REQUEST, "{query}");
    }
}

#[tokio::test]
async fn a_manifest_in_conflict_goes_on_by_itself_and_the_first_one_holds() {
    let directory = tempfile::tempdir().expect("a directory");
    let mut case = Case::new().await;
    let locations = [case.here.location(10), case.there.location(11)].concat();
    case.rig = Rig::start_in(directory.path(), &locations);
    let first = case
        .rig
        .register(of_patient(&case.study, "P-1", "Quetzalcoatl"))
        .await;
    // The stranger lists one series more.
    let larger = Study::new(1)
        .with(2, at(10))
        .with(1, at(10))
        .with(1, at(10));
    let stranger = of_patient(&larger, "P-2", "Stranger");
    let registered = case.post(KEEP_FIRST, stranger.clone()).await;
    assert_eq!(registered.status, StatusCode::CREATED, "{registered:?}");
    let second = Registered::of(&registered);
    let warnings = second.summary["warnings"].to_string();
    assert!(warnings.contains("another patient"), "{warnings}");
    assert!(!first.summary["warnings"].to_string().contains("another"));
    // The same bytes again are the same manifest, whatever is said of conflicts.
    for query in ["", KEEP_FIRST] {
        let again = case.post(query, stranger.clone()).await;
        assert_eq!(again.status, StatusCode::OK);
        assert_eq!(again.json()["id"], second.id.as_str());
    }
    // Who agrees with the first is not held up by the stranger.
    let narrowed = format!("?series={}", case.study.series[1].uid);
    let third = of_patient(&case.study, "P-1", "Quetzalcoatl");
    assert_eq!(
        case.post(&narrowed, third).await.status,
        StatusCode::CREATED
    );

    let (first_root, second_root) = (first.root.clone(), second.root.clone());
    for is_restarted in [false, true] {
        if is_restarted {
            case.rig.tell_to_stop();
            case.rig = Rig::start_in(directory.path(), &locations);
        }
        let rig = &case.rig;
        let shown = rig.get(&format!("/manifests/{}", second.id), &[]).await;
        let warnings = shown.json()["warnings"].to_string();
        assert!(warnings.contains("another patient"), "{warnings}");
        assert_eq!(patients(rig, "/dicomweb/").await, [["Quetzalcoatl", "P-1"]]);
        assert_eq!(patients(rig, &second_root).await, [["Stranger", "P-2"]]);
        assert_eq!(patients(rig, &first_root).await, [["Quetzalcoatl", "P-1"]]);
        let found = rig.get("/dicomweb/series?PatientID=P-2", &[]).await;
        assert_eq!(found.text(), "[]");
        let series = format!("/dicomweb/{}/series", case.study.path());
        let found = rig.get(&series, &[]).await;
        assert_eq!(found.json().as_array().map(Vec::len), Some(2));
        assert!(found.field("warning").contains("left out"));
    }
    let path = format!("/manifests/{}", first.id);
    assert_eq!(case.rig.delete(&path).await.status, StatusCode::NO_CONTENT);
    assert_eq!(
        patients(&case.rig, "/dicomweb/").await,
        [["Stranger", "P-2"]]
    );
}

#[tokio::test]
async fn a_manifest_that_leads_elsewhere_does_not_redirect_the_first_one() {
    let case = Case::new().await;
    let first = case.rig.register(case.study.fhir()).await;
    let elsewhere = Study::new(1).with(2, at(11)).with(1, at(10));
    let refused = case.post("", elsewhere.fhir()).await;
    assert_eq!(refused.status, StatusCode::CONFLICT, "{refused:?}");
    let conflicts = &refused.json()["conflicts"];
    assert_eq!(conflicts[0]["disagrees_on"], json!(["location"]));
    assert_eq!(conflicts[0]["instances"], 2);
    // Nowhere, or the same source by another name, is no disagreement.
    let nowhere = Study::new(1).with(2, at(77)).with(1, at(10));
    let by_url = at_url(&case.here.url());
    let same = Study::new(1).with(2, by_url.clone()).with(1, by_url);
    for agreeing in [nowhere, same] {
        let registered = case.post("", agreeing.fhir()).await;
        assert_eq!(registered.status, StatusCode::CREATED, "{registered:?}");
    }
    let second = Registered::of(&case.post(KEEP_FIRST, elsewhere.fhir()).await);
    let warnings = second.summary["warnings"].to_string();
    assert!(warnings.contains("another location"), "{warnings}");
    assert_eq!(case.given(&second.root).await.0, 3);
    let asked = case.there.asked().len();
    assert!(asked > 0);
    assert_eq!(case.given("/dicomweb/").await, (3, String::new()));
    assert_eq!(
        case.there.asked().len(),
        asked,
        "it led to the other source"
    );
    case.rig.delete(&format!("/manifests/{}", first.id)).await;
    assert_eq!(case.given("/dicomweb/").await.0, 3);
}

#[tokio::test]
async fn a_study_that_leaves_a_manifest_out_says_so() {
    let case = Case::new().await;
    let first = of_patient(&case.study, "P-1", "Quetzalcoatl");
    case.rig.register(first).await;
    let (given, warning) = case.given("/dicomweb/").await;
    assert_eq!(given, 3);
    assert!(!warning.contains("left out"), "{warning}");
    let stranger = of_patient(&case.study, "P-2", "Stranger");
    case.post(KEEP_FIRST, stranger).await;
    let (given, warning) = case.given("/dicomweb/").await;
    assert_eq!(given, 3);
    assert!(warning.contains("left out"), "{warning}");
}
