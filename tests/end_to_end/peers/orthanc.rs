//! Orthanc behind the gateway, with the study that IHE publishes for MADO.
//!
//! Prerequisites: Orthanc in `$ORTHANC` or on the path, the study beside the repository, dcmtk's
//! `dcmdjpeg` on the path, a Python with dicomweb-client in `$DICOMWEB_CLIENT_PYTHON`. A test that
//! misses one is left out with a message, or fails if `CI` is set.

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::fs;
use std::process::Command;

use bytes::Bytes;
use http::StatusCode;
use serde_json::json;

use crate::rig::orthanc::{
    IMAGES, KEY_OBJECTS, OF_IMAGES, OF_KEY_OBJECTS, Prerequisites, STUDY, identity, sop_instance,
};
use crate::rig::study::{EXPLICIT, JPEG_LOSSLESS, Study, at};
use crate::rig::tools::{left_out, program, python};
use crate::rig::{AS_STORED, Answer, Registered, Rig, sorted};

#[tokio::test]
async fn the_key_object_manifest_opens_the_study_out_of_two_servers() {
    let Some(found) = Prerequisites::find() else {
        return;
    };
    let (images, key_objects) = (found.loaded().await, found.loaded().await);
    let rig = Rig::start(&format!(
        "{}{}",
        images.location(&format!("retrieve_location_uid = {OF_IMAGES:?}")),
        key_objects.location(&format!("retrieve_location_uid = {OF_KEY_OBJECTS:?}")),
    ));
    let manifest = rig.register(found.key_object_manifest()).await;
    assert_eq!(manifest.summary["instances"], 21);
    everything_comes_as_stored(&rig, &manifest, &found.instances).await;
    rig.stopped().await;

    // Each was asked for what it has, and below its DICOMweb root only.
    let of = |series: &str| format!("/dicom-web/{STUDY}/series/{series}");
    assert!(all_below(&images.requests().await, &of(IMAGES)));
    assert!(all_below(&key_objects.requests().await, &of(KEY_OBJECTS)));
}

#[tokio::test]
async fn the_key_object_manifest_opens_the_study_out_of_one_server_with_two_location_uids() {
    let Some(found) = Prerequisites::find() else {
        return;
    };
    let orthanc = found.loaded().await;
    let location = |uid| orthanc.location(&format!("retrieve_location_uid = {uid:?}"));
    let rig = Rig::start(&(location(OF_IMAGES) + &location(OF_KEY_OBJECTS)));
    let manifest = rig.register(found.key_object_manifest()).await;
    everything_comes_as_stored(&rig, &manifest, &found.instances).await;
    rig.stopped().await;
}

#[tokio::test]
async fn the_fhir_manifest_opens_the_study_by_a_location_that_is_no_oid() {
    let Some(found) = Prerequisites::find() else {
        return;
    };
    let orthanc = found.loaded().await;
    let location = orthanc.location("retrieve_location_uid = \"ACME\"");
    let rig = Rig::start(&format!(
        "[xc_wado]\nopaque_location_ids = true\n{location}"
    ));
    let manifest = rig.register(found.fhir_manifest()).await;
    assert_eq!(manifest.summary["instances"], 21);
    everything_comes_as_stored(&rig, &manifest, &found.instances).await;
    rig.stopped().await;
}

#[tokio::test]
async fn retrieve_urls_alone_open_the_study() {
    let Some(found) = Prerequisites::find() else {
        return;
    };
    let orthanc = found.loaded().await;
    let rig = Rig::start(&orthanc.by_retrieve_url());
    for manifest in [found.key_object_manifest(), found.fhir_manifest()] {
        let manifest = rig.register(manifest).await;
        let answer = rig
            .get(&format!("{}{STUDY}", manifest.root), &[AS_STORED])
            .await;
        assert_eq!(answer.status, StatusCode::OK);
        assert_eq!(answer.instances(), found.sorted_bytes());
    }
    rig.stopped().await;
}

#[tokio::test]
async fn without_a_transfer_syntax_everything_comes_in_explicit_vr_little_endian() {
    let Some(found) = Prerequisites::find() else {
        return;
    };
    let orthanc = found.loaded().await;
    let rig = Rig::start(&orthanc.by_retrieve_url());
    let manifest = rig.register(found.key_object_manifest()).await;
    let answer = rig.get(&format!("{}{STUDY}", manifest.root), &[]).await;
    assert_eq!(answer.status, StatusCode::OK);
    let parts = answer.parts();
    for part in &parts {
        let content_type = part.head.content_type().expect("a content type");
        assert!(content_type.contains(EXPLICIT), "{content_type}");
        assert_eq!(identity(&part.bytes).transfer_syntax.as_str(), EXPLICIT);
    }
    let given: Vec<_> = parts.iter().map(|part| sop_instance(&part.bytes)).collect();
    assert_eq!(given.len(), 21);
    assert_eq!(BTreeSet::from_iter(given), found.sop_instances());
    rig.stopped().await;

    // What is stored otherwise was decoded here: nothing was asked for twice.
    let syntaxes = found
        .instances
        .iter()
        .map(|bytes| identity(bytes).transfer_syntax);
    let mut syntaxes = syntaxes.filter(|syntax| syntax.as_str() == JPEG_LOSSLESS);
    assert!(syntaxes.next().is_some(), "there is something to decode");
    let requests = orthanc.requests().await;
    assert!(
        !requests.iter().any(|path| path.contains("/instances/")),
        "{requests:#?}"
    );
}

#[tokio::test]
async fn decoded_pixels_are_those_of_another_decoder() {
    let Some(found) = Prerequisites::find() else {
        return;
    };
    let Some(decoder) = program("dcmdjpeg") else {
        return left_out("pixels against dcmtk", "there is no dcmdjpeg on the path");
    };
    let orthanc = found.loaded().await;
    let rig = Rig::start(&orthanc.by_retrieve_url());
    let manifest = rig.register(found.key_object_manifest()).await;
    let image = found.an_image();
    let answer = rig
        .get(&format!("{}{}", manifest.root, path(image)), &[])
        .await;
    let given = &answer.parts()[0].bytes;

    let directory = tempfile::tempdir().expect("a directory");
    let (stored, decoded) = (directory.path().join("a"), directory.path().join("b"));
    fs::write(&stored, image).expect("written");
    let status = Command::new(decoder).arg(&stored).arg(&decoded).status();
    assert!(status.expect("dcmdjpeg runs").success());
    let expected = pixels(&fs::read(&decoded).expect("what dcmdjpeg wrote"));
    assert!(expected.len() > 100_000, "{}", expected.len());
    assert!(pixels(given) == expected, "the pixels differ");
    rig.stopped().await;
}

#[tokio::test]
async fn one_instance_comes_alone_when_that_is_asked_for() {
    let Some(found) = Prerequisites::find() else {
        return;
    };
    let orthanc = found.loaded().await;
    let rig = Rig::start(&orthanc.by_retrieve_url());
    let manifest = rig.register(found.key_object_manifest()).await;
    let image = found.an_image();
    let accept = ("accept", "application/dicom; transfer-syntax=*");
    let answer = rig
        .get(&format!("{}{}", manifest.root, path(image)), &[accept])
        .await;
    assert_eq!(answer.status, StatusCode::OK);
    assert!(answer.is_whole());
    assert_eq!(
        answer.field("content-type"),
        format!("application/dicom; transfer-syntax={JPEG_LOSSLESS}")
    );
    assert_eq!(answer.body, image);
    let answer = rig
        .get(&format!("{}{STUDY}", manifest.root), &[accept])
        .await;
    assert_eq!(answer.status, StatusCode::NOT_ACCEPTABLE);
    answer.problem();
    rig.stopped().await;
}

#[tokio::test]
async fn head_tells_what_get_would_give_without_giving_it() {
    let Some(found) = Prerequisites::find() else {
        return;
    };
    let orthanc = found.loaded().await;
    let rig = Rig::start(&orthanc.by_retrieve_url());
    let manifest = rig.register(found.key_object_manifest()).await;
    let series = format!("{STUDY}/series/{IMAGES}");
    for path in [STUDY, &series, &path(found.an_image())] {
        let path = format!("{}{path}", manifest.root);
        let (head, get) = (
            rig.head(&path, &[AS_STORED]).await,
            rig.get(&path, &[AS_STORED]).await,
        );
        assert_eq!(head.status, StatusCode::OK);
        assert!(head.is_whole() && head.body.is_empty());
        for name in ["content-location", "vary", "cache-control"] {
            assert_eq!(head.field(name), get.field(name));
        }
        // The boundary is another one each time.
        assert_eq!(before_boundary(&head), before_boundary(&get));
    }
    let elsewhere = format!("{}studies/2.25.1", manifest.root);
    let answer = rig.head(&elsewhere, &[AS_STORED]).await;
    assert_eq!(answer.status, StatusCode::NOT_FOUND);
    rig.stopped().await;
}

#[tokio::test]
async fn a_path_that_climbs_never_reaches_the_server() {
    let Some(found) = Prerequisites::find() else {
        return;
    };
    let orthanc = found.loaded().await;
    let rig = Rig::start(&orthanc.by_retrieve_url());
    let manifest = rig.register(found.key_object_manifest()).await;
    let (series, image) = (format!("{STUDY}/series/{IMAGES}"), path(found.an_image()));
    for hostile in [
        // Sent to Orthanc itself, many of these reach its REST API or another study.
        "studies/..%2f..%2fsystem".into(),
        "studies/%2e%2e/%2e%2e/system".into(),
        "studies/../../system".into(),
        "studies/..%5c..%5csystem".into(),
        "studies/%00".into(),
        "studies/%252e%252e%252f%252e%252e%252fsystem".into(),
        format!("{STUDY}%00x"),
        format!("{STUDY}%20"),
        format!("{STUDY}%2f..%2f2.25.1"),
        format!("{STUDY}%2fseries"),
        format!("{STUDY}%3fx=y"),
        format!("{series}/instances/%00"),
        format!("{series}/instances/..%2f..%2f..%2f..%2f..%2f..%2fstatistics"),
        format!("{series}/instances/../../../../../../statistics"),
        format!("{STUDY}/series/{KEY_OBJECTS}/../../../../system"),
        format!("{image}/../../../../../../../tools/shutdown"),
        format!("{image}/frames/1,1,1"),
        format!("{image}/rendered?viewport=0,0"),
        format!("{image}/bulk/../../../../../system"),
        "../../../../system".into(),
        "../../../../instances".into(),
    ] {
        let answer = rig
            .get(&format!("{}{hostile}", manifest.root), &[AS_STORED])
            .await;
        let refused = [StatusCode::BAD_REQUEST, StatusCode::NOT_FOUND];
        assert!(refused.contains(&answer.status), "{hostile}: {answer:?}");
        answer.problem();
    }
    // Nothing of a query or of header fields goes to the server either.
    let asked = format!("{}{image}?x=..%2f..%2fsystem&limit=1", manifest.root);
    let fields = [
        AS_STORED,
        ("forwarded", "host=attacker.example"),
        ("x-forwarded-host", "x"),
    ];
    let answer = rig.get(&asked, &fields).await;
    assert_eq!(answer.instances(), std::slice::from_ref(found.an_image()));
    rig.stopped().await;

    let requests = orthanc.requests().await;
    assert_eq!(requests, [format!("/dicom-web/{image}")]);
}

#[tokio::test]
async fn a_server_that_dies_in_the_middle_never_looks_like_a_shorter_study() {
    let Some(found) = Prerequisites::find() else {
        return;
    };
    let mut orthanc = found.start();
    // More than sockets and buffers on the way can hold.
    let study = Study::new(31).with_series(at(31), vec![(EXPLICIT, 8 << 20); 12]);
    for instance in study.instances() {
        orthanc.store(instance.bytes).await;
    }
    let uid = "retrieve_location_uid = \"1.3.6.1.4.1.99999.1.31\"";
    let rig = Rig::start(&orthanc.location(uid));
    let manifest = rig.register(study.fhir()).await;
    let path = format!("{}{}", manifest.root, study.path());

    let mut answer = rig.open(&path, &[AS_STORED]).await;
    assert_eq!(answer.status, StatusCode::OK);
    answer.read_at_least(1 << 20).await;
    orthanc.kill();
    let answer = answer.read().await;
    assert!(!answer.is_whole());
    let (parts, is_closed) = answer.split();
    assert!(!is_closed);
    let stored = study.bytes();
    assert!(parts.iter().all(|part| stored.contains(&part.bytes)));

    let answer = rig.get(&path, &[AS_STORED]).await;
    if answer.status == StatusCode::PARTIAL_CONTENT {
        // Some of it had arrived whole and is kept.
        assert!(answer.field("warning").contains("of 12 instances"));
        assert!(answer.instances().iter().all(|one| stored.contains(one)));
    } else {
        // It may be left alone for a while by now.
        let dead = [StatusCode::BAD_GATEWAY, StatusCode::SERVICE_UNAVAILABLE];
        assert!(dead.contains(&answer.status), "{}", answer.status);
        let detail = answer.problem();
        assert!(!detail.contains(&orthanc.address.port().to_string()));
    }
    rig.stopped().await;
}

#[tokio::test]
async fn every_call_of_dicomweb_client_gets_what_it_asks_for() {
    let Some(found) = Prerequisites::find() else {
        return;
    };
    let orthanc = found.loaded().await;
    let rig = Rig::start(&orthanc.by_retrieve_url());
    let manifest = rig.register(found.key_object_manifest()).await;
    let root = format!("http://{}{}", rig.public, manifest.root);
    let root = OsString::from(root.trim_end_matches('/'));
    let asking = move || python("client.py", &[&root]);
    let asked = tokio::task::spawn_blocking(asking).await;
    let Some(said) = asked.expect("it runs") else {
        return;
    };
    let expected = json!({
        "search_for_studies": { "all": 1, "by patient": 1, "by another": 0, "fuzzy": 1, "fields": 1 },
        "search_for_series": { "of the study": 2, "of all": 2, "CT": 1, "get_remaining": 2 },
        "search_for_instances": {
            "of the series": 20, "of the study": 21, "of all": 21,
            "limit and offset": 6, "get_remaining": 21, "counted": 20,
        },
        "retrieve_study": 21,
        "iter_study": 21,
        "retrieve_series": 20,
        "iter_series": 20,
        "retrieve_instance": true,
        "retrieve_instance, decoded": true,
        "the same pixels": true,
        "retrieve_study_metadata": 21,
        "retrieve_series_metadata": 20,
        "retrieve_instance_metadata": true,
        "retrieve_instance_frames": true,
        "iter_instance_frames": 1,
        "retrieve_instance_rendered": true,
        "retrieve_instance_rendered, with parameters": 64,
        "retrieve_series_rendered": true,
        "retrieve_instance_frames_rendered": true,
        "retrieve_bulkdata": true,
        "iter_bulkdata": 1,
        "a file": true,
    });
    assert_eq!(said, expected);
    rig.stopped().await;
}

/// Study, series and each instance: what comes is what the files hold, byte for byte.
async fn everything_comes_as_stored(rig: &Rig, manifest: &Registered, instances: &[Bytes]) {
    let retrieve = async |path: &str| {
        let path = format!("{}{path}", manifest.root);
        let answer = rig.get(&path, &[AS_STORED]).await;
        assert_eq!(answer.status, StatusCode::OK, "{path}");
        answer.instances()
    };
    assert_eq!(retrieve(STUDY).await, sorted(instances.iter().cloned()));
    for (series, count) in [(IMAGES, 20), (KEY_OBJECTS, 1)] {
        let of_series = instances
            .iter()
            .filter(|bytes| identity(bytes).series.as_str() == series)
            .cloned();
        let expected = sorted(of_series);
        assert_eq!(expected.len(), count);
        assert_eq!(
            retrieve(&format!("{STUDY}/series/{series}")).await,
            expected
        );
    }
    for instance in instances {
        let given = retrieve(&path(instance)).await;
        assert_eq!(given, std::slice::from_ref(instance));
    }
}

fn all_below(requests: &[String], path: &str) -> bool {
    !requests.is_empty() && requests.iter().all(|request| request.starts_with(path))
}

fn before_boundary(answer: &Answer) -> &str {
    let (kind, _) = answer
        .field("content-type")
        .split_once("boundary=")
        .expect("multipart");
    kind
}

/// The path of an instance below a DICOMweb root.
fn path(bytes: &Bytes) -> String {
    let identity = identity(bytes);
    format!(
        "studies/{}/series/{}/instances/{}",
        identity.study, identity.series, identity.sop_instance
    )
}

fn pixels(bytes: &[u8]) -> Vec<u8> {
    let file = dicom_object::OpenFileOptions::new()
        .from_reader(bytes)
        .expect("a DICOM file");
    let element = file.element_by_name("PixelData").expect("pixel data");
    element.to_bytes().expect("native pixels").into_owned()
}
