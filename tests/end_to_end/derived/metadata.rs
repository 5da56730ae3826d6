//! Metadata made of instances.

use std::time::Duration;

use http::StatusCode;
use serde_json::{Value, json};
use tokio::time::timeout;

use crate::derived::case::Case;
use crate::rig::Rig;
use crate::rig::origin::{Gate, Origin, honest};
use crate::rig::pixels::{native, number, study};
use crate::rig::study::{EXPLICIT, Study, at, long, sequence, text};

#[tokio::test]
async fn metadata_have_every_element_and_links_that_resolve() {
    let large = vec![7; 5000];
    let nested = long(0x5400_1010, b"OW", &large);
    let rest = [
        number(0x0028_0010, 2),
        text(0x0029_0010, b"LO", "PRIVATE"),
        long(0x0029_1001, b"UN", &[1, 2]),
        sequence(0x5400_0100, [nested]),
        long(0x7FE0_0010, b"OW", &[1; 16]),
    ];
    let case = Case::of(&[(EXPLICIT, rest.concat())]).await;
    let answer = case.get(0, "metadata", &[]).await;
    assert_eq!(answer.status, StatusCode::OK, "{answer:?}");
    let all = answer.json();
    let one = &all[0];
    assert_eq!(one["00080005"]["Value"], json!(["ISO_IR 192"]));
    assert_eq!(
        one["00100010"]["Value"],
        json!([{"Alphabetic": "Müller^Eva"}])
    );
    assert_eq!(one["00291001"]["InlineBinary"], "AQI=");
    assert!(one.get("00020010").is_none(), "group 2");
    for (link, expected) in [
        (&one["7FE00010"]["BulkDataURI"], &vec![1; 16]),
        (
            &one["54000100"]["Value"][0]["54001010"]["BulkDataURI"],
            &large,
        ),
    ] {
        let link = link.as_str().expect("a link");
        let prefix = format!("http://{}{}", case.rig.public, case.root);
        assert!(link.starts_with(&prefix), "{link}");
        let path = &link[link.find("/manifests").expect("a path")..];
        let bulk = case.rig.get(path, &[]).await;
        assert_eq!(&bulk.body[..], &expected[..], "{link}");
        let range = case.rig.get(path, &[("range", "bytes=2-4")]).await;
        assert_eq!(range.status, StatusCode::PARTIAL_CONTENT);
        assert_eq!(&range.body[..], &expected[2..5]);
    }
}

#[tokio::test]
async fn the_second_answer_costs_no_source_anything() {
    let case = Case::of(&vec![(EXPLICIT, native(1, 8, &[1; 8])); 5]).await;
    let series = format!("{}{}/metadata", case.root, case.study.series_path(0));
    let first = case.rig.get(&series, &[]).await;
    assert_eq!(first.json().as_array().map(Vec::len), Some(5));
    let asked = case.origin.asked().len();
    let second = case.rig.get(&series, &[]).await;
    assert_eq!(second.json().as_array().map(Vec::len), Some(5));
    assert_eq!(case.frames(0, "1").await, [&[1; 8][..]]);
    assert_eq!(case.origin.asked().len(), asked);
}

#[tokio::test]
async fn some_attributes_alone_and_xml_are_given_where_asked_for() {
    let case = Case::of(&[(EXPLICIT, native(1, 8, &[1; 8]))]).await;
    let some = case
        .get(0, "metadata?includefields=PatientName", &[])
        .await
        .json();
    let tags: Vec<&String> = some[0].as_object().expect("one").keys().collect();
    assert_eq!(
        tags,
        [
            "00080005", "00080016", "00080018", "00100010", "0020000D", "0020000E"
        ]
    );
    let xml = (
        "accept",
        r#"multipart/related; type="application/dicom+xml""#,
    );
    let answer = case.get(0, "metadata", &[xml]).await;
    let text = String::from_utf8_lossy(&answer.parts()[0].bytes).into_owned();
    assert!(text.contains("<FamilyName>Müller</FamilyName>"), "{text}");
    assert!(text.contains("<BulkData uri=\"http"), "{text}");
}

/// The gateway sends the metadata of the first instance before the second arrives.
#[tokio::test]
async fn metadata_are_written_while_the_series_arrives() {
    let study = study(&vec![(EXPLICIT, native(1, 8, &[1; 8])); 2]);
    let gate = Gate::new();
    let (held, opened) = (study.instances(), gate.clone());
    let origin = Origin::start(move |asked| {
        let reply = honest(&held, asked);
        let whole = reply.whole_body();
        // After the head of the second part.
        let second = memchr::memmem::rfind(&whole, b"DICM").expect("two parts") - 128;
        reply.held_at(second, &opened)
    })
    .await;
    let rig = Rig::start(&origin.location(10));
    let root = rig.register(study.fhir()).await.root;
    let path = format!("{root}{}/metadata", study.series_path(0));
    let mut stream = rig.open(&path, &[]).await;
    let first = timeout(Duration::from_secs(10), stream.read_at_least(100)).await;
    let first = String::from_utf8_lossy(first.expect("it comes")).into_owned();
    assert!(
        first.starts_with("[{") && first.contains(&study.instances()[0].uid),
        "{first}"
    );
    gate.open();
    let rest = stream.read().await;
    let all: Value = serde_json::from_slice(&rest.body).expect("JSON");
    assert_eq!(all.as_array().map(Vec::len), Some(2));
}

#[tokio::test]
async fn another_manifest_has_nothing_to_do_with_it() {
    let case = Case::of(&[(EXPLICIT, native(1, 8, &[1; 8]))]).await;
    let other = Study::new(2).with(1, at(10));
    let root = case.rig.register(other.fhir()).await.root;
    let path = case.study.instances()[0].path();
    for rest in ["metadata", "frames/1", "bulkdata/7FE00010"] {
        let answer = case.rig.get(&format!("{root}{path}/{rest}"), &[]).await;
        assert_eq!(answer.status, StatusCode::NOT_FOUND, "{rest}");
    }
}

/// A response without one of the series never looks complete.
#[tokio::test]
async fn what_cannot_be_located_is_told_in_everything_that_is_made_of_a_study() {
    let mut study = study(&[(EXPLICIT, native(1, 8, &[1; 8]))]);
    let elsewhere = Study::new(1).with(1, at(10)).with(2, at(77));
    study.series.push(elsewhere.series[1].clone());
    let origin = Origin::of(&study).await;
    let rig = Rig::start(&origin.location(10));
    let manifest = rig.register(study.fhir()).await;
    let whole = format!("{}{}", manifest.root, study.path());
    for rest in ["metadata", "rendered"] {
        let answer = rig.get(&format!("{whole}/{rest}"), &[]).await;
        assert_eq!(
            answer.status,
            StatusCode::PARTIAL_CONTENT,
            "{rest}: {answer:?}"
        );
        assert!(
            answer.field("warning").contains("2 of 3"),
            "{rest}: {answer:?}"
        );
    }
    let series = format!("{}{}", manifest.root, study.series_path(1));
    for rest in ["metadata", "rendered", "thumbnail"] {
        let answer = rig.get(&format!("{series}/{rest}"), &[]).await;
        assert_eq!(answer.status, StatusCode::NOT_FOUND, "{rest}: {answer:?}");
    }
}
