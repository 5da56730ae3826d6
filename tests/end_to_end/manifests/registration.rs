//! Registering, listing, narrowing and deleting manifests.

use http::StatusCode;
use serde_json::{Value, json};

use crate::rig::origin::Origin;
use crate::rig::study::{Location, PATIENT_ID, Study, at, at_url};
use crate::rig::{AS_STORED, Rig};

/// Two series at two places.
pub(super) fn study() -> Study {
    Study::new(2).with(2, at(10)).with(1, at(11))
}

/// A gateway that knows no location.
pub(super) fn rig() -> Rig {
    Rig::start("")
}

#[tokio::test]
async fn a_manifest_is_registered_shown_listed_and_forgotten() {
    let rig = rig();
    let first = rig.post("/manifests", &[], study().kos()).await;
    assert_eq!(first.status, 201);
    assert_eq!(first.field("content-type"), "application/json");
    let id = first.json()["id"].as_str().expect("an id").to_owned();
    assert_eq!(id.len(), 32);
    let link = format!("http://{}/manifests/{id}", rig.public);
    assert_eq!(first.field("location"), link);

    let again = rig.post("/manifests", &[], study().kos()).await;
    assert_eq!(
        (again.status, again.field("location")),
        (StatusCode::OK, link.as_str())
    );
    assert_eq!(again.json(), first.json());
    let other = rig.post("/manifests", &[], study().fhir()).await;
    assert_eq!(other.status, 201);
    assert_ne!(other.json()["id"], first.json()["id"]);

    let list = rig.get("/manifests", &[]).await.json();
    let listed: Vec<&Value> = list["manifests"]
        .as_array()
        .expect("a list")
        .iter()
        .map(|m| &m["id"])
        .collect();
    assert_eq!(listed.len(), 2);
    assert!(listed.contains(&&json!(id)));
    assert_eq!(rig.metric("xcwado_manifests").await, 2.0);

    let path = format!("/manifests/{id}");
    let shown = rig.get(&path, &[]).await;
    assert_eq!((shown.status, shown.json()), (StatusCode::OK, first.json()));
    let head = rig.head(&path, &[]).await;
    assert_eq!((head.status, head.body.len()), (StatusCode::OK, 0));
    assert_eq!(head.field("content-length"), shown.body.len().to_string());

    let forgotten = rig.delete(&path).await;
    assert_eq!(
        (forgotten.status, forgotten.body.len()),
        (StatusCode::NO_CONTENT, 0)
    );
    for answer in [
        rig.get(&path, &[]).await,
        rig.delete(&path).await,
        rig.get(&format!("{path}/dicomweb/{}", study().path()), &[AS_STORED])
            .await,
    ] {
        assert_eq!(answer.status, 404);
        answer.problem();
    }
    assert_eq!(rig.metric("xcwado_manifests").await, 1.0);
    rig.stopped().await;
}

#[tokio::test]
async fn a_summary_says_what_is_selected() {
    let rig = rig();
    let summary = rig.register(study().fhir()).await.summary;
    let series = &summary["studies"][0]["series"];
    assert_eq!(summary["instances"], 3);
    assert_eq!(series[0]["instances"], 2);
    assert_eq!(series[1]["series_instance_uid"], study().series[1].uid);
    assert_eq!(series[0]["sop_instance_uids"], Value::Null);
    let path = format!(
        "/manifests/{}?instances=true",
        summary["id"].as_str().expect("an id")
    );
    let shown = rig.get(&path, &[]).await.json();
    let uids: Vec<&str> = shown["studies"][0]["series"][0]["sop_instance_uids"]
        .as_array()
        .expect("a list")
        .iter()
        .filter_map(Value::as_str)
        .collect();
    let listed: Vec<String> = study().series[0]
        .instances
        .iter()
        .map(|i| i.uid.clone())
        .collect();
    assert_eq!(uids, listed);
    assert!(!summary.to_string().contains(PATIENT_ID));
}

#[tokio::test]
async fn manifests_survive_a_restart() {
    let directory = tempfile::tempdir().expect("a directory");
    let origin = Origin::of(&study()).await;
    let locations = origin.location(10);
    let first = Rig::start_in(directory.path(), &locations);
    let kept = first.register(study().kos()).await;
    let forgotten = first.register(study().fhir()).await;
    assert_eq!(
        first
            .delete(&format!("/manifests/{}", forgotten.id))
            .await
            .status,
        204
    );
    first.stopped().await;

    let second = Rig::start_in(directory.path(), &locations);
    assert_eq!(second.metric("xcwado_manifests").await, 1.0);
    let path = format!("{}{}", kept.root, study().series_path(0));
    let answer = second.get(&path, &[AS_STORED]).await;
    assert_eq!(answer.parts().len(), 2);
    assert_eq!(
        second
            .get(&format!("/manifests/{}", forgotten.id), &[])
            .await
            .status,
        404
    );
    let again = second.post("/manifests", &[], study().kos()).await;
    assert_eq!(
        (again.status, again.json()["id"].as_str()),
        (StatusCode::OK, Some(kept.id.as_str()))
    );
}

#[tokio::test]
async fn a_manifest_narrowed_to_a_series_selects_nothing_else() {
    let origin = Origin::of(&study()).await;
    let rig = Rig::start(&origin.location(10));
    let [in_it, left_out] = [&study().series[0].uid, &study().series[1].uid];
    let path = format!("/manifests?series={in_it}");
    let narrowed = rig.post(&path, &[], study().kos()).await;
    assert_eq!(narrowed.status, 201);
    let id = narrowed.json()["id"].as_str().expect("an id").to_owned();
    assert_eq!(
        narrowed.json()["studies"][0]["series"]
            .as_array()
            .map(Vec::len),
        Some(1)
    );
    assert!(!narrowed.text().contains(left_out.as_str()));
    let root = format!("/manifests/{id}/dicomweb");
    let whole = rig
        .get(&format!("{root}/{}", study().path()), &[AS_STORED])
        .await;
    assert_eq!((whole.status, whole.parts().len()), (StatusCode::OK, 2));
    for path in [study().series_path(1), study().instances()[2].path()] {
        assert_eq!(
            rig.get(&format!("{root}/{path}"), &[AS_STORED])
                .await
                .status,
            404
        );
    }
    // Other options: another manifest.
    assert_eq!(rig.post("/manifests", &[], study().kos()).await.status, 201);
    let both = format!("/manifests?series={left_out},{in_it}&HomeCommunityID=urn:oid:1.2.3");
    let both = rig.post(&both, &[], study().kos()).await;
    assert_eq!(
        (both.status, &both.json()["home_community_id"]),
        (StatusCode::CREATED, &json!("1.2.3"))
    );
}

#[tokio::test]
async fn a_series_that_is_nowhere_is_listed_with_a_warning() {
    let origin = Origin::of(&study()).await;
    let rig = Rig::start(&origin.location(10));
    let lost = study().with(2, vec![]).with(
        1,
        vec![Location {
            retrieve_location_uid: Some("1.3.6.1.4.1.99999.1.77".into()),
            retrieve_url: Some("http://127.0.0.1:1/rs".into()),
        }],
    );
    let manifest = rig.register(lost.fhir()).await;
    let series = manifest.summary["studies"][0]["series"]
        .as_array()
        .expect("series")
        .clone();
    let located: Vec<bool> = series.iter().map(|s| s["located"] == true).collect();
    assert_eq!(located, [true, false, false, false]);
    let warnings = manifest.summary["warnings"].to_string();
    for series in &lost.series[1..] {
        assert!(warnings.contains(&series.uid), "{warnings}");
    }
    // Alone it does not exist; with others it is missing.
    for at in 1..4 {
        let path = format!("{}{}", manifest.root, lost.series_path(at));
        let alone = rig.get(&path, &[AS_STORED]).await;
        assert_eq!(alone.status, 404);
        assert!(!alone.problem().contains("127.0.0.1:1"));
    }
    let whole = rig
        .get(&format!("{}{}", manifest.root, lost.path()), &[AS_STORED])
        .await;
    assert_eq!(whole.status, 206);
    assert_eq!(
        whole.field("warning"),
        "299 xcwado \"4 of 6 instances cannot be given\""
    );
    assert_eq!(whole.parts().len(), 2);
}

/// A manifest from the gateway can be registered again, and its Retrieve URLs lead to the gateway.
#[tokio::test]
async fn a_manifest_is_handed_out_in_its_own_format_with_retrieve_urls_that_lead_here() {
    let study = Study::new(1)
        .with(2, at(10))
        .with(3, at_url("http://pacs.example/rs"));
    let rig = Rig::start("");
    for (document, media_type, other) in [
        (study.kos(), "application/dicom", "application/fhir+json"),
        (study.fhir(), "application/fhir+json", "application/dicom"),
    ] {
        let manifest = rig.register(document.clone()).await;
        let path = format!("/manifests/{}", manifest.id);
        let answer = rig.get(&path, &[("accept", media_type)]).await;
        assert_eq!(answer.status, StatusCode::OK, "{answer:?}");
        assert_eq!(answer.field("content-type"), media_type);
        let read = xcwado::manifest::read(&answer.body).expect("a manifest");
        let before = xcwado::manifest::read(&document).expect("a manifest");
        assert_eq!(read.studies[0].patient, before.studies[0].patient);
        let root = format!("http://{}{}", rig.public, manifest.root);
        let all = read.studies[0].series.iter().zip(&before.studies[0].series);
        for (series, before) in all {
            assert_eq!(
                (&series.uid, &series.instances),
                (&before.uid, &before.instances)
            );
            let text = format!("{:?}", series.locations);
            assert!(
                text.contains(root.trim_end_matches('/')),
                "{media_type}: {text}"
            );
            assert!(!text.contains("pacs.example"), "{media_type}: {text}");
        }
        let answer = rig.get(&path, &[("accept", other)]).await;
        assert_eq!(answer.status, StatusCode::NOT_ACCEPTABLE);
    }
}
