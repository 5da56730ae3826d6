//! What is told about series without a source, and that it helps.

use serde_json::Value;

use super::shared_cases;
use crate::rig::study::{Study, at_url};
use crate::rig::{AS_STORED, Answer, Registered, Rig};

const THERE: &str = "1.3.6.1.4.1.99999.2";

/// The study of the shared manifests: its Retrieve Location UID is 1.2.276.0.76.3.1.99.10, its
/// Retrieve URL https://pacs.example/rs/.
fn document(name: &str) -> Option<Vec<u8>> {
    let file = shared_cases("manifests")?.join(name);
    Some(std::fs::read(file).expect("a manifest"))
}

fn remedies(summary: &Value) -> Vec<&str> {
    let list = summary["not_locatable"]["remedies"].as_array();
    let texts = list.into_iter().flatten().map(|remedy| &remedy["text"]);
    texts.filter_map(Value::as_str).collect()
}

async fn series(rig: &Rig, manifest: &Registered) -> Answer {
    let study = &manifest.summary["studies"][0];
    let uid = |value: &Value| value.as_str().expect("a UID").to_owned();
    let path = format!(
        "{}studies/{}/series/{}",
        manifest.root,
        uid(&study["study_instance_uid"]),
        uid(&study["series"][0]["series_instance_uid"])
    );
    rig.get(&path, &[AS_STORED]).await
}

#[tokio::test]
async fn the_answer_begins_with_the_series_that_have_no_source() {
    let Some(plain) = document("kos-plain.dcm") else {
        return;
    };
    let gateway = format!(
        "[[community]]\nhome_community_id = \"{THERE}\"\ngateway_url = \"http://127.0.0.1:1/w/\"\n"
    );
    let rig = Rig::start(&gateway);
    let answer = rig.post("/manifests", &[], plain.clone()).await;
    assert!(
        answer.text().starts_with("{\"not_locatable\":{"),
        "{}",
        answer.text()
    );
    let manifest = Registered::of(&answer);
    assert_eq!(manifest.summary["not_locatable"]["series"], 3);
    let told = remedies(&manifest.summary);
    assert_eq!(told.len(), 2, "{told:#?}");
    assert!(
        told.iter().any(|text| text.contains("homeCommunityId")),
        "{told:#?}"
    );
    let location = "retrieve_location_uid = \"1.2.276.0.76.3.1.99.10\"";
    assert!(told.iter().any(|text| text.contains(location)), "{told:#?}");

    let missing = series(&rig, &manifest).await;
    assert_eq!(missing.status, 404);
    let problem = missing.problem();
    assert!(problem.contains("homeCommunityId"), "{problem}");
    assert!(
        !problem.contains("pacs.example") && !problem.contains("127.0.0.1"),
        "{problem}"
    );

    // Both remedies help.
    let path = format!("/manifests?homeCommunityId={THERE}");
    let registered = Registered::of(&rig.post(&path, &[], plain.clone()).await);
    assert_eq!(registered.summary["not_locatable"], Value::Null);
    let folder = tempfile::tempdir().expect("a folder");
    let rig = Rig::start(&format!(
        "[[location]]\n{location}\nfolder = {:?}\n",
        folder.path()
    ));
    let manifest = rig.register(plain).await;
    assert_eq!(manifest.summary["not_locatable"], Value::Null);
}

#[tokio::test]
async fn what_would_help_depends_on_the_settings_and_the_manifest() {
    let url_alone = Study::new(1).with(1, at_url("https://pacs.example/rs"));
    let nowhere = Study::new(1).with(1, vec![]);
    let gateway = format!(
        "[[community]]\nhome_community_id = \"{THERE}\"\ngateway_url = \"http://127.0.0.1:1/w/\"\n"
    );
    let from_there = format!("?homeCommunityId={THERE}");
    for (settings, query, study, expected) in [
        ("", "", &url_alone, "[[community]]"),
        ("", from_there.as_str(), &url_alone, THERE),
        (
            gateway.as_str(),
            "",
            &url_alone,
            "xc_wado.retrieve_url_alone",
        ),
        (
            &gateway,
            &from_there,
            &url_alone,
            "xc_wado.retrieve_url_alone",
        ),
        (
            &gateway,
            &from_there,
            &url_alone,
            "\"https://pacs.example/rs/\"",
        ),
        (&gateway, &from_there, &nowhere, "only its sender"),
    ] {
        let rig = Rig::start(settings);
        let answer = rig
            .post(&format!("/manifests{query}"), &[], study.fhir())
            .await;
        let manifest = Registered::of(&answer);
        let told = remedies(&manifest.summary);
        assert!(
            told.iter().any(|text| text.contains(expected)),
            "{expected}: {told:#?}"
        );
        let missing = series(&rig, &manifest).await;
        assert_eq!(missing.status, 404);
        assert!(
            !missing.problem().contains("pacs.example"),
            "{}",
            missing.problem()
        );
    }
}
