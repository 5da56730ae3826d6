//! Manifests do not put one patient's images under another patient's name.

use serde_json::Value;

use crate::rig::Rig;

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
