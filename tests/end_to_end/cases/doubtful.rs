//! Studies that DICOM forbids and that occur: one SOP Instance UID in two series, leading zeros in
//! UIDs, and data sets without file meta information.

use bytes::Bytes;
use http::StatusCode;
use serde_json::Value;

use crate::cases::shared_cases;
use crate::rig::origin::Origin;
use crate::rig::study::{EXPLICIT, IMPLICIT, Study, at, location_uid};
use crate::rig::{AS_STORED, HERE, Registered, Rig, rad_160};

const JSON: (&str, &str) = ("accept", "application/dicom+json");

/// The folder of arguable inputs behind a gateway, and one of its manifests.
async fn registered(name: &str) -> Option<(Rig, Registered)> {
    let folder = shared_cases("instances/arguable")?;
    let rig = Rig::start(&format!(
        "[[location]]\nretrieve_location_uid = \"{}\"\n\
         retrieve_urls = [\"http://files.example/rs\"]\nfolder = {folder:?}\n",
        location_uid(10),
    ));
    let manifest = std::fs::read(folder.join(name)).expect("a manifest");
    let registered = rig.register(manifest).await;
    Some((rig, registered))
}

/// The warning with this text.
fn told(manifest: &Registered, text: &str) -> Value {
    let mut warnings = manifest.summary["warnings"]
        .as_array()
        .into_iter()
        .flatten();
    let has_it = |warning: &&Value| warning["text"].as_str().is_some_and(|it| it.contains(text));
    warnings.find(has_it).expect(text).clone()
}

/// The last sample of an instance.
fn sample(instance: &Bytes) -> u8 {
    *instance.last().expect("pixels")
}

#[tokio::test]
async fn one_uid_in_two_series_is_two_instances() {
    let Some((rig, manifest)) = registered("twice.manifest.json").await else {
        return;
    };
    let told = told(&manifest, "1 instances are listed in more than one series");
    assert_eq!(told["outcome"], "read_all_the_same", "{told}");
    for (at, series) in ["2.25.79.50.2", "2.25.79.50.3"].iter().enumerate() {
        assert_eq!(told["about"][at]["series_instance_uid"], *series, "{told}");
    }
    let study = format!("{}studies/2.25.79.50.1", manifest.root);
    let between = rad_160(HERE, &location_uid(10), "studies/2.25.79.50.1");
    for path in [&study, &between] {
        let answer = rig.get(path, &[AS_STORED]).await;
        assert_eq!(answer.status, StatusCode::OK, "{path}: {answer:?}");
        let mut samples: Vec<_> = answer.parts().iter().map(|p| sample(&p.bytes)).collect();
        samples.sort_unstable();
        assert_eq!(samples, [10, 20], "{path}");
    }
    for (series, expected) in [("2.25.79.50.2", 10), ("2.25.79.50.3", 20)] {
        let series = format!("{study}/series/{series}");
        for path in [series.clone(), format!("{series}/instances/2.25.79.50.9")] {
            let parts = rig.get(&path, &[AS_STORED]).await.parts();
            assert_eq!(parts.len(), 1, "{path}");
            assert_eq!(sample(&parts[0].bytes), expected, "{path}");
        }
        let frame = format!("{series}/instances/2.25.79.50.9/frames/1");
        let frame = rig.get(&frame, &[]).await.parts();
        assert_eq!(frame[0].bytes[0], expected, "{series}");
        let rows = rig
            .get(&format!("{series}/instances"), &[JSON])
            .await
            .json();
        assert_eq!(rows.as_array().map(Vec::len), Some(1), "{series}");
    }
    let rows = rig.get(&format!("{study}/series"), &[JSON]).await.json();
    for row in rows.as_array().expect("an array") {
        assert_eq!(row["00201209"]["Value"][0], 1, "{row:#}");
    }
}

#[tokio::test]
async fn a_cache_keeps_instances_of_one_uid_apart() {
    // The second series has the UIDs of the first one's instances.
    let mut study = Study::new(1).with(2, at(10)).with(2, at(10));
    for at in 0..2 {
        let (uid, one) = {
            let first = &study.series[0].instances[at];
            (first.uid.clone(), &study.series[1].instances[at])
        };
        let uids = [one.study.as_str(), one.series.as_str(), uid.as_str()];
        let other = crate::rig::study::Instance::new(uids, EXPLICIT, 5000 + at * 2);
        study.series[1].instances[at] = other;
    }
    let origin = Origin::of(&study).await;
    let rig = Rig::start(&origin.location(10));
    let root = rig.register(study.fhir()).await.root;
    for _cold_and_cached in 0..2 {
        for at in 0..2 {
            let path = format!("{root}{}", study.series_path(at));
            let answer = rig.get(&path, &[AS_STORED]).await;
            let held = study.series[at].instances.iter();
            let expected = crate::rig::sorted(held.map(|one| one.bytes.clone()));
            assert_eq!(answer.instances(), expected, "series {at}");
        }
        let whole = rig
            .get(&format!("{root}{}", study.path()), &[AS_STORED])
            .await;
        assert_eq!(whole.instances(), study.bytes());
        for instance in study.instances() {
            let path = format!("{root}{}", instance.path());
            let one = rig.get(&path, &[AS_STORED]).await.instances();
            assert_eq!(one, [instance.bytes]);
        }
    }
}

#[tokio::test]
async fn leading_zeros_in_uids_are_kept_and_told() {
    let Some((rig, manifest)) = registered("leading-zero.manifest.json").await else {
        return;
    };
    let told = told(&manifest, "3 UIDs have leading zeros");
    assert_eq!(told["outcome"], "read_all_the_same", "{told}");
    assert_eq!(told["about"].as_array().map(Vec::len), Some(2), "{told}");
    let study = format!("{}studies/2.25.79.040.1", manifest.root);
    let answer = rig.get(&study, &[AS_STORED]).await;
    assert_eq!((answer.status, answer.parts().len()), (StatusCode::OK, 1));
    // Without its zero it is another UID.
    let other = study.replace(".040.", ".40.");
    let answer = rig.get(&other, &[AS_STORED]).await;
    assert_eq!(answer.status, StatusCode::NOT_FOUND);
}

/// A study whose files are data sets and nothing else.
fn bare() -> (Study, Study) {
    let whole = Study::new(1).with_series(at(10), vec![(IMPLICIT, 900), (EXPLICIT, 901)]);
    let mut bare = whole.clone();
    for instance in &mut bare.series[0].instances {
        let set = memchr::memmem::find(&instance.bytes, &[8, 0, 0x16, 0]).expect("a data set");
        instance.bytes = instance.bytes.slice(set..);
    }
    (whole, bare)
}

async fn is_read_as_a_file(rig: &Rig, whole: &Study, row: &str) {
    let root = rig.register(whole.fhir()).await.root;
    for _again in 0..2 {
        let path = format!("{root}{}", whole.series_path(0));
        let answer = rig.get(&path, &[AS_STORED]).await;
        assert_eq!(answer.status, StatusCode::OK, "{row}: {answer:?}");
        let parts = answer.parts();
        assert_eq!(parts.len(), 2, "{row}");
        for part in &parts {
            assert_eq!(&part.bytes[128..132], b"DICM", "{row}");
            let content_type = part.head.content_type().expect("a type");
            assert!(content_type.ends_with(EXPLICIT), "{row}: {content_type}");
            let found = memchr::memmem::find(&part.bytes[132..], EXPLICIT.as_bytes());
            assert!(found.is_some(), "{row}: it names its transfer syntax");
        }
    }
    for instance in whole.instances() {
        let path = format!("{root}{}", instance.path());
        let fields = [("accept", "application/dicom; transfer-syntax=*")];
        let one = rig.get(&path, &fields).await;
        assert_eq!(
            (one.status, &one.body[128..132]),
            (StatusCode::OK, &b"DICM"[..])
        );
        let metadata = rig.get(&format!("{path}/metadata"), &[JSON]).await.json();
        assert_eq!(metadata[0]["00080018"]["Value"][0], instance.uid, "{row}");
        assert_eq!(metadata[0]["00080060"]["Value"][0], "CT", "{row}");
        let pixels = rig.get(&format!("{path}/bulkdata/7FE00010"), &[]).await;
        let at = instance.bytes.len() - pixels.body.len();
        assert_eq!(pixels.body, instance.bytes.slice(at..), "{row}");
    }
}

#[tokio::test]
async fn a_data_set_without_file_meta_information_gets_some() {
    let (whole, bare) = bare();
    let origin = Origin::of(&bare).await;
    let rig = Rig::start(&origin.location(10));
    is_read_as_a_file(&rig, &whole, "a server").await;
    let folder = tempfile::tempdir().expect("a folder");
    bare.write(0, folder.path());
    let rig = Rig::start(&format!(
        "[[location]]\nretrieve_location_uid = \"{}\"\nfolder = {:?}\n",
        location_uid(10),
        folder.path()
    ));
    is_read_as_a_file(&rig, &whole, "a folder").await;
}
