//! A client gets what a manifest selects, and nothing else.

use std::collections::BTreeSet;
use std::time::Duration;

use http::StatusCode;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::locations::folder;
use crate::rig::origin::{Origin, honest};
use crate::rig::study::{EXPLICIT, JPEG_2000, JPEG_LOSSLESS, Study, at};
use crate::rig::{AS_STORED, Rig, sorted};

#[tokio::test]
async fn study_series_and_instance_come_byte_for_byte() {
    let study = Study::new(1).with(3, at(10)).with_series(
        at(10),
        vec![(JPEG_LOSSLESS, 5000), (JPEG_2000, 700_001), (EXPLICIT, 1)],
    );
    let directory = tempfile::tempdir().expect("a folder");
    study.write(0, directory.path());
    study.write(1, directory.path());
    let origin = Origin::of(&study).await;
    for location in [folder(10, directory.path()), origin.location(10)] {
        let rig = Rig::start(&location);
        for manifest in [study.fhir(), study.kos()] {
            let manifest = rig.register(manifest).await;
            let root = &manifest.root;
            let whole = rig
                .get(&format!("{root}{}", study.path()), &[AS_STORED])
                .await;
            assert_eq!(whole.status, 200);
            assert_eq!(whole.instances(), study.bytes());
            let series = rig
                .get(&format!("{root}{}", study.series_path(1)), &[AS_STORED])
                .await;
            let listed = study.series[1].instances.iter().map(|i| i.bytes.clone());
            assert_eq!(series.instances(), sorted(listed));
            for instance in study.instances() {
                let alone = rig
                    .get(&format!("{root}{}", instance.path()), &[AS_STORED])
                    .await;
                assert_eq!(alone.instances(), [instance.bytes]);
            }
        }
        rig.stopped().await;
    }
}

#[tokio::test]
async fn parts_say_what_they_are_and_where() {
    let study = Study::new(1).with_series(at(10), vec![(JPEG_LOSSLESS, 5000), (EXPLICIT, 600)]);
    let origin = Origin::of(&study).await;
    let rig = Rig::start(&origin.location(10));
    let root = rig.register(study.fhir()).await.root;
    let answer = rig
        .get(&format!("{root}{}", study.path()), &[AS_STORED])
        .await;
    let base = format!("http://{}{root}", rig.public);
    assert_eq!(
        answer.field("content-location"),
        format!("{base}{}", study.path())
    );
    assert!(
        answer
            .field("content-type")
            .starts_with("multipart/related;")
    );
    assert!(
        answer
            .field("content-type")
            .contains("type=\"application/dicom\"")
    );
    assert_eq!(answer.field("cache-control"), "private, no-cache");
    for part in answer.parts() {
        let instances = study.instances();
        let instance = instances
            .iter()
            .find(|i| i.bytes == part.bytes)
            .expect("one of ours");
        let expected = format!(
            "application/dicom; transfer-syntax={}",
            instance.transfer_syntax
        );
        assert_eq!(
            part.head
                .content_type()
                .map(|t| t.replace(';', "; ").replace(";  ", "; ")),
            Some(expected)
        );
        assert_eq!(
            part.head.content_location(),
            Some(format!("{base}{}", instance.path()).as_str())
        );
    }
    // Two answers do not share a boundary.
    let again = rig
        .get(&format!("{root}{}", study.path()), &[AS_STORED])
        .await;
    assert_ne!(again.field("content-type"), answer.field("content-type"));
}

#[tokio::test]
async fn head_says_what_get_would() {
    let study = Study::new(1).with(2, at(10));
    let origin = Origin::of(&study).await;
    let rig = Rig::start(&origin.location(10));
    let root = rig.register(study.fhir()).await.root;
    for path in [
        study.path(),
        study.series_path(0),
        study.instances()[0].path(),
    ] {
        let head = rig.head(&format!("{root}{path}"), &[AS_STORED]).await;
        assert_eq!(
            (head.status, head.body.len()),
            (StatusCode::OK, 0),
            "{path}"
        );
        assert!(head.field("content-type").starts_with("multipart/related"));
        assert!(head.field("content-location").ends_with(&path));
    }
    let missing = rig
        .head(&format!("{root}studies/1.2.3"), &[AS_STORED])
        .await;
    assert_eq!(
        (missing.status, missing.body.len()),
        (StatusCode::NOT_FOUND, 0)
    );
}

#[tokio::test]
async fn what_is_not_selected_does_not_exist() {
    let held = Study::new(1).with(3, at(10)).with(2, at(10));
    let other = Study::new(9).with(1, at(10));
    let mut listed = held.clone();
    listed.series[0].instances.pop();
    listed.series.pop();
    let all = [held.instances(), other.instances()].concat();
    let origin = Origin::start(move |asked| honest(&all, asked)).await;
    let rig = Rig::start(&origin.location(10));
    let root = rig.register(listed.fhir()).await.root;
    let elsewhere = rig.register(other.fhir()).await.root;
    let [own, foreign] = [&held.series[0].instances[0], &other.instances()[0]];
    let mut bodies = BTreeSet::new();
    for path in [
        // There, and not listed: an instance, a series, a study.
        format!("{root}{}", held.series[0].instances[2].path()),
        format!("{root}{}", held.series_path(1)),
        format!("{root}{}", other.path()),
        // Listed, in another place.
        format!("{root}studies/{}/series/{}", own.study, foreign.series),
        format!(
            "{root}studies/{}/series/{}/instances/{}",
            own.study, held.series[1].uid, own.uid
        ),
        format!("{elsewhere}{}", own.path()),
        // Nowhere.
        format!("{root}studies/2.25.999"),
        format!("/manifests/{}/dicomweb/{}", "0".repeat(32), held.path()),
    ] {
        let answer = rig.get(&path, &[AS_STORED]).await;
        assert_eq!(answer.status, 404, "{path}");
        answer.problem();
        bodies.insert(answer.text());
    }
    assert_eq!(bodies.len(), 1, "they cannot be told apart");
    assert!(origin.asked().is_empty(), "nobody was asked for them");
    // The source's study has more than is listed.
    let whole = rig
        .get(&format!("{root}{}", held.path()), &[AS_STORED])
        .await;
    let selected = listed.series[0].instances.iter().map(|i| i.bytes.clone());
    assert_eq!(whole.instances(), sorted(selected));
    let dropped = "xcwado_dropped_instances_total{location=\"origin-10\",outcome=\"not_selected\"}";
    // The answer may be whole before the source has sent what nobody wants.
    for _ in 0..50 {
        if rig.metric(dropped).await == 1.0 {
            return;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    panic!("nothing was dropped");
}

#[tokio::test]
async fn paths_that_are_no_uids_never_reach_a_source() {
    let study = Study::new(1).with(1, at(10));
    let origin = Origin::of(&study).await;
    let rig = Rig::start(&origin.location(10));
    let root = rig.register(study.fhir()).await.root;
    let (s, i) = (&study.uid, &study.instances()[0]);
    for path in [
        "studies/..%2f..%2fsystem".to_owned(),
        "studies/%2e%2e/%2e%2e/system".into(),
        "studies/../../system".into(),
        format!("studies/{s}%2f..%2f{s}"),
        format!(
            "studies/{s}/series/{}/instances/..%2f..%2f..%2fstatistics",
            i.series
        ),
        format!("studies/{s}%2f..%2f2.25.999/metadata"),
        "studies/%00".into(),
        format!("studies/{s}/series/%00"),
        format!("studies/{s}/series/{}/instances/%00", i.series),
        format!("studies/{s}%00x"),
        format!("studies/%20{s}"),
        format!("studies/{s}%20"),
        format!("studies/{s}%5c"),
        format!("studies//{s}"),
        format!("studies/./{s}"),
        format!("studies/{s}/."),
        format!("studies/{s};x=1"),
        format!("studies/{s}*"),
        "studies/*".into(),
        format!("studies/{s},2.25.9"),
        format!("studies/{s}%0d%0aX-Injected:%201"),
        format!(
            "studies/{s}/series/{}/instances/{}/frames/1,..%2f1",
            i.series, i.uid
        ),
        format!(
            "studies/{s}/series/{}/instances/{}/rendered?viewport=0,0",
            i.series, i.uid
        ),
        format!("studies/{}", "1.".repeat(4000)),
    ] {
        let status = raw(&rig, &format!("{root}{path}")).await;
        assert!((400..500).contains(&status), "{status} for {path}");
    }
    assert!(origin.asked().is_empty(), "{:?}", origin.paths());
    // A digit that is escaped is still that digit, and is written anew.
    let escaped = format!("{root}studies/{}", s.replace('7', "%37"));
    assert_eq!(raw(&rig, &escaped).await, 200);
    assert_eq!(origin.paths(), [format!("/rs/{}", study.series_path(0))]);
}

/// Asks for a path that no client library would let through; gives the status.
async fn raw(rig: &Rig, path: &str) -> u16 {
    let mut socket = TcpStream::connect(rig.public).await.expect("a connection");
    let (name, accept) = AS_STORED;
    let request = format!("GET {path} HTTP/1.1\r\nHost: localhost\r\n{name}: {accept}\r\n\r\n");
    socket.write_all(request.as_bytes()).await.expect("sent");
    let mut line = [0; 12];
    socket.read_exact(&mut line).await.expect("an answer");
    String::from_utf8_lossy(&line[9..])
        .parse()
        .expect("a status")
}
