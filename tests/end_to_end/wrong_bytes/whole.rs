//! A truncated instance is never delivered as complete and never cached, however well the answer
//! around it is framed.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use bytes::Bytes;

use crate::rig::origin::{Asked, BOUNDARY, Framing, Origin, Reply, honest, join, multipart_type};
use crate::rig::study::{
    EXPLICIT, IMPLICIT, Instance, JPEG_2000, Series, Study, at, location_uid, part10,
};
use crate::rig::{AS_STORED, Answer, HERE, Rig, rad_160};

const DEFLATED: &str = "1.2.840.10008.1.2.1.99";
const SINGLE: (&str, &str) = ("accept", "application/dicom; transfer-syntax=*");
const LOCATION: u32 = 10;

/// One series in several transfer syntaxes, of instances small and large, which are given as they are.
fn study() -> Study {
    study_of(vec![
        (EXPLICIT, 3000),
        (JPEG_2000, 400_000),
        (EXPLICIT, 900_000),
    ])
}

/// As [`study`], with one that is given in Explicit VR (PS3.18 8.7.3.5.2).
fn study_with_implicit() -> Study {
    study_of(vec![
        (EXPLICIT, 3000),
        (IMPLICIT, 2000),
        (IMPLICIT, 500_000),
    ])
}

fn study_of(instances: Vec<(&str, usize)>) -> Study {
    let mut study = Study::new(81).with_series(at(LOCATION), instances);
    study.series[0].instances[0] = deflated(&study.series[0].instances[0]);
    study
}

/// The same data set, deflated.
fn deflated(instance: &Instance) -> Instance {
    use std::io::Write;
    let set = &instance.bytes[data_set_at(&instance.bytes)..];
    let mut encoder =
        flate2::write::DeflateEncoder::new(Vec::new(), flate2::Compression::default());
    encoder.write_all(set).expect("memory");
    let set = encoder.finish().expect("memory");
    Instance {
        transfer_syntax: DEFLATED.into(),
        bytes: part10(crate::rig::study::CT, &instance.uid, DEFLATED, &set).into(),
        ..instance.clone()
    }
}

/// Where the data set begins: behind the group length and what that counts.
fn data_set_at(file: &[u8]) -> usize {
    let length = file[140..144].first_chunk().expect("a group length");
    144 + u32::from_le_bytes(*length) as usize
}

/// What is done to an instance.
type Damage = Arc<dyn Fn(&Instance) -> Bytes + Send + Sync>;

/// Cuts in the heads of elements, in pixel data, and of the very last byte.
fn cuts() -> Vec<Damage> {
    let share = |numerator: usize| -> Damage {
        Arc::new(move |instance| {
            let from = data_set_at(&instance.bytes) + 300;
            let length = instance.bytes.len();
            let cut = from.min(length - 9) + length.saturating_sub(from + 9) * numerator / 8;
            instance.bytes.slice(..cut)
        })
    };
    let last: Damage = Arc::new(|instance| instance.bytes.slice(..instance.bytes.len() - 1));
    vec![share(0), share(4), share(7), last]
}

/// The instances of an answer, of which the one with this UID is damaged.
/// A server that cuts an instance in every answer but that to a request for it alone.
async fn cutting_once(study: &Study, uid: &str, damage: &Damage) -> Origin {
    let (held, uid, damage) = (study.instances(), uid.to_owned(), Arc::clone(damage));
    Origin::start(move |asked| match asked.is_instance() {
        true => honest(&held, asked),
        false => honest(&damaged(&held, &uid, &damage), asked),
    })
    .await
}

fn damaged(held: &[Instance], uid: &str, damage: &Damage) -> Vec<Instance> {
    let spoil = |instance: &Instance| match instance.uid == uid {
        true => Instance {
            bytes: damage(instance),
            ..instance.clone()
        },
        false => instance.clone(),
    };
    held.iter().map(spoil).collect()
}

async fn dropped(rig: &Rig, location: &str, why: &str) -> f64 {
    let labels = format!("{{location=\"{location}\",outcome=\"{why}\"}}");
    rig.metric(&format!("xcwado_dropped_instances_total{labels}"))
        .await
}

async fn delivered(rig: &Rig, location: &str) -> f64 {
    let labels = format!("{{location=\"{location}\"}}");
    rig.metric(&format!("xcwado_delivered_instances_total{labels}"))
        .await
}

/// No part but whole ones, and not all of them.
fn is_told(answer: &Answer, study: &Study, what: &str) {
    if !answer.status.is_success() {
        answer.problem();
        return;
    }
    let (parts, _) = answer.split();
    for part in &parts {
        let lengths: Vec<_> = study.bytes().iter().map(Bytes::len).collect();
        let is_known = study.bytes().contains(&part.bytes);
        assert!(
            is_known,
            "{what}: {} bytes, not of {lengths:?}",
            part.bytes.len()
        );
    }
    let is_partial = answer.status == 206 && answer.is_whole();
    assert!(is_partial || !answer.is_whole(), "{what}: it looks whole");
    assert!(parts.len() < study.bytes().len(), "{what}");
}

#[tokio::test]
async fn an_instance_that_is_cut_in_an_intact_answer_is_not_given_as_whole_and_not_kept() {
    let study = study();
    for (number, damage) in cuts().into_iter().enumerate() {
        for instance in study.instances() {
            let what = format!("cut {number} of {}", instance.transfer_syntax);
            let is_healthy = Arc::new(AtomicBool::new(false));
            let (held, uid) = (study.instances(), instance.uid.clone());
            let (healthy, damage) = (Arc::clone(&is_healthy), Arc::clone(&damage));
            let origin = Origin::start(move |asked| match healthy.load(Ordering::Relaxed) {
                true => honest(&held, asked),
                false => honest(&damaged(&held, &uid, &damage), asked),
            })
            .await;
            let rig = Rig::start(&origin.location(LOCATION));
            let root = rig.register(study.fhir()).await.root;
            let path = format!("{root}{}", study.path());
            let answer = rig.get(&path, &[AS_STORED]).await;
            is_told(&answer, &study, &what);
            assert!(
                dropped(&rig, "origin-10", "not_whole").await > 0.0,
                "{what}"
            );
            assert!(delivered(&rig, "origin-10").await < 3.0, "{what}");
            // By itself, in both forms, and over HTTP/2.
            let alone = format!("{root}{}", instance.path());
            for accept in [SINGLE, AS_STORED] {
                let answer = rig.get(&alone, &[accept]).await;
                let is_good = answer.status.is_success() && answer.is_whole();
                assert!(!is_good, "{what}: {answer:?}");
                let answer = rig.get_over_http2(&alone, &[accept]).await;
                let is_good = answer.status.is_success() && answer.is_whole();
                assert!(!is_good, "{what}: {answer:?}");
            }
            is_healthy.store(true, Ordering::Relaxed);
            let answer = rig.get(&path, &[AS_STORED]).await;
            assert_eq!(answer.status, 200, "{what}");
            assert_eq!(answer.instances(), study.bytes(), "{what}");
        }
    }
}

#[tokio::test]
async fn an_instance_that_is_cut_once_is_fetched_again() {
    let study = study();
    for damage in cuts() {
        for instance in study.instances() {
            let origin = cutting_once(&study, &instance.uid, &damage).await;
            let rig = Rig::start(&origin.location(LOCATION));
            let root = rig.register(study.fhir()).await.root;
            let path = format!("{root}{}", study.path());
            let answer = rig.get(&path, &[AS_STORED]).await;
            assert_eq!(answer.status, 200);
            assert!(answer.instances() == study.bytes(), "{}", instance.uid);
            assert_eq!(dropped(&rig, "origin-10", "not_whole").await, 1.0);
            assert_eq!(origin.asked().len(), 2, "the series, and that instance");
        }
    }
}

/// A multipart body without lengths of its parts.
fn join_bare<'a>(parts: impl IntoIterator<Item = &'a Bytes>) -> Vec<u8> {
    let mut body = Vec::new();
    for part in parts {
        body.extend(format!("--{BOUNDARY}\r\nContent-Type: application/dicom\r\n\r\n").as_bytes());
        body.extend(part);
        body.extend(b"\r\n");
    }
    body.extend(format!("--{BOUNDARY}--\r\n").as_bytes());
    body
}

#[tokio::test]
async fn an_instance_whose_bytes_contain_the_boundary_is_not_given_in_two() {
    let mut study = study();
    let instances = &mut study.series[0].instances;
    let at = instances[2].bytes.len() / 2;
    let mut bytes = instances[2].bytes.to_vec();
    let delimiter = format!("\r\n--{BOUNDARY}\r\nContent-Type: application/dicom\r\n\r\n");
    bytes[at..at + delimiter.len()].copy_from_slice(delimiter.as_bytes());
    instances[2].bytes = bytes.into();
    for framing in [Framing::Length, Framing::Chunked] {
        let held = study.instances();
        let origin = Origin::start(move |asked| {
            let found = held.iter().filter(|one| asked.path.contains(&one.uid));
            let found: Vec<_> = match asked.is_instance() {
                true => found.map(|one| &one.bytes).collect(),
                false => held.iter().map(|one| &one.bytes).collect(),
            };
            Reply::bytes(&multipart_type(BOUNDARY), join_bare(found)).framed(framing)
        })
        .await;
        let rig = Rig::start(&origin.location(LOCATION));
        let root = rig.register(study.fhir()).await.root;
        let path = format!("{root}{}", study.path());
        let answer = rig.get(&path, &[AS_STORED]).await;
        is_told(&answer, &study, "a boundary inside");
        assert!(dropped(&rig, "origin-10", "not_whole").await > 0.0);
    }
}

#[tokio::test]
async fn a_part_must_be_as_long_as_it_says() {
    for difference in [-1_i64, 1, 100_000] {
        let study = Study::new(82).with(2, at(LOCATION));
        let held = study.instances();
        let origin = Origin::start(move |asked| {
            let body = honest(&held, asked).whole_body();
            let lie = |one: &Instance, text: String| {
                let length = i64::try_from(one.bytes.len()).expect("short");
                let (told, lied) = (length, length + difference);
                text.replace(
                    &format!("Content-Length: {told}\r\n"),
                    &format!("Content-Length: {lied}\r\n"),
                )
            };
            // Each byte is one character, so nothing else changes.
            let text: String = body.iter().map(|byte| char::from(*byte)).collect();
            let text = lie(&held[1], text);
            let body: Vec<u8> = text.chars().map(|c| c as u32 as u8).collect();
            Reply::bytes(&multipart_type(BOUNDARY), body)
        })
        .await;
        let rig = Rig::start(&origin.location(LOCATION));
        let root = rig.register(study.fhir()).await.root;
        let path = format!("{root}{}", study.path());
        let answer = rig.get(&path, &[AS_STORED]).await;
        is_told(&answer, &study, &format!("{difference} bytes"));
        assert!(dropped(&rig, "origin-10", "not_whole").await > 0.0);
    }
}

#[tokio::test]
async fn a_wado_uri_server_that_cuts_an_instance_is_not_believed() {
    for study in [study(), study_with_implicit()] {
        for instance in study.instances() {
            for damage in cuts() {
                not_believed(&study, &instance, damage(&instance)).await;
            }
        }
    }
}

async fn not_believed(study: &Study, instance: &Instance, cut: Bytes) {
    let length = cut.len();
    let origin = Origin::start(move |_asked| Reply::bytes("application/dicom", cut.clone())).await;
    let rig = Rig::start(&format!(
        "[[location]]\nalias = \"old\"\nretrieve_location_uid = \"{}\"\n\
         wado_uri_url = \"http://{}/wado\"\n",
        location_uid(LOCATION),
        origin.address
    ));
    let root = rig.register(study.fhir()).await.root;
    let path = format!("{root}{}", instance.path());
    for accept in [SINGLE, AS_STORED] {
        let answer = rig.get(&path, &[accept]).await;
        if answer.status.is_success() {
            assert!(!answer.is_whole(), "{answer:?}");
            // A client that goes by the length alone sees it too.
            assert!(answer.body.len() < length || accept == AS_STORED);
        }
    }
    assert!(dropped(&rig, "old", "not_whole").await > 0.0);
}

fn folder_location(folder: &Path) -> String {
    format!(
        "[[location]]\nalias = \"files\"\nretrieve_location_uid = \"{}\"\nfolder = {folder:?}\n",
        location_uid(LOCATION)
    )
}

#[tokio::test]
async fn a_file_in_a_folder_that_is_cut_is_not_given_nor_is_anything_made_of_it() {
    let damages = cuts().into_iter();
    for (study, damage) in
        damages.flat_map(|d| [study(), study_with_implicit()].map(|s| (s, d.clone())))
    {
        let directory = tempfile::tempdir().expect("a directory");
        for instance in study.instances() {
            let path = directory.path().join(format!("{}.dcm", instance.uid));
            std::fs::write(path, damage(&instance)).expect("written");
        }
        let rig = Rig::start(&folder_location(directory.path()));
        let root = rig.register(study.fhir()).await.root;
        let answer = rig
            .get(&format!("{root}{}", study.path()), &[AS_STORED])
            .await;
        let parts = answer.status.is_success().then(|| answer.split().0);
        assert_eq!(parts.unwrap_or_default().len(), 0);
        let is_good = answer.status.is_success() && answer.is_whole();
        assert!(!is_good, "{answer:?}");
        for instance in study.instances() {
            let path = format!("{root}{}", instance.path());
            let answer = rig.get(&path, &[SINGLE]).await;
            let is_good = answer.status.is_success() && answer.is_whole();
            assert!(!is_good, "{answer:?}");
            let accept = (
                "accept",
                "multipart/related; type=application/octet-stream; transfer-syntax=*",
            );
            let answer = rig.get(&format!("{path}/frames/1"), &[accept]).await;
            let is_good = answer.status.is_success() && answer.is_whole();
            assert!(!is_good, "{answer:?}");
            let answer = rig.get(&format!("{path}/bulkdata"), &[accept]).await;
            let is_good = answer.status.is_success() && answer.is_whole();
            assert!(!is_good, "{answer:?}");
        }
    }
}

#[tokio::test]
async fn a_relay_does_not_end_well_without_an_instance_that_was_cut() {
    let study = study();
    for damage in cuts() {
        for instance in study.instances() {
            let (held, uid) = (study.instances(), instance.uid.clone());
            let damage = Arc::clone(&damage);
            let origin =
                Origin::start(move |asked| honest(&damaged(&held, &uid, &damage), asked)).await;
            let rig = Rig::start(&origin.location(LOCATION));
            for path in [study.path(), study.series_path(0), instance.path()] {
                let path = rad_160(HERE, &location_uid(LOCATION), &path);
                let answer = rig.get(&path, &[AS_STORED]).await;
                is_told(&answer, &study, &path);
            }
            assert!(dropped(&rig, "origin-10", "not_whole").await > 0.0);
        }
    }
}

#[tokio::test]
async fn a_relay_fetches_again_what_was_cut_once() {
    let study = study();
    for damage in cuts() {
        for instance in study.instances() {
            let origin = cutting_once(&study, &instance.uid, &damage).await;
            let rig = Rig::start(&origin.location(LOCATION));
            let path = rad_160(HERE, &location_uid(LOCATION), &study.path());
            let answer = rig.get(&path, &[AS_STORED]).await;
            assert_eq!(answer.status, 200);
            assert!(answer.instances() == study.bytes(), "{}", instance.uid);
        }
    }
}

#[tokio::test]
async fn bytes_behind_a_data_set_are_delivered_and_counted() {
    let mut study = Study::new(83).with(3, at(LOCATION));
    let instances = &mut study.series[0].instances;
    instances[0].bytes = [&instances[0].bytes[..], b"\r\n"].concat().into();
    instances[1].bytes = [&instances[1].bytes[..], &[0; 512]].concat().into();
    instances[2].bytes = [&instances[2].bytes[..], b"some text"].concat().into();
    let origin = Origin::of(&study).await;
    let rig = Rig::start(&origin.location(LOCATION));
    let root = rig.register(study.fhir()).await.root;
    let answer = rig
        .get(&format!("{root}{}", study.path()), &[AS_STORED])
        .await;
    assert_eq!(answer.instances(), study.bytes());
    let counted = "xcwado_trailing_bytes_total{location=\"origin-10\"}";
    assert_eq!(rig.metric(counted).await, 11.0, "without the padding");
    assert_eq!(dropped(&rig, "origin-10", "not_whole").await, 0.0);
}

/// Odd files, each a study of its own, with their numbers.
fn cases() -> Vec<(PathBuf, u32)> {
    let shared = Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared/cases/instances");
    let Ok(text) = std::fs::read_to_string(shared.join("README.md")) else {
        return Vec::new();
    };
    let mut cases = Vec::new();
    for line in text.lines() {
        let Some((name, rest)) = line
            .strip_prefix("| `")
            .and_then(|line| line.split_once("` ("))
        else {
            continue;
        };
        let number = rest
            .split(')')
            .next()
            .and_then(|number| number.parse().ok());
        let Some(number) = number else { continue };
        for folder in ["", "arguable"] {
            let path = shared.join(folder).join(name);
            if path.is_file() {
                cases.push((path, number));
            }
        }
    }
    cases
}

#[tokio::test]
async fn odd_files_that_are_whole_are_given_as_they_are() {
    let cases = cases();
    if cases.is_empty() {
        return;
    }
    assert!(cases.len() >= 25, "{cases:?}");
    let mut held = Vec::new();
    for (path, number) in &cases {
        // It is given in Explicit VR, and cannot be written like that.
        if path.ends_with("zeros-2-implicit.dcm") {
            continue;
        }
        held.push(Instance {
            study: format!("2.25.79.{number}.1"),
            series: format!("2.25.79.{number}.2"),
            uid: format!("2.25.79.{number}.3"),
            transfer_syntax: String::new(),
            bytes: std::fs::read(path).expect("readable").into(),
        });
    }
    let answered = held.clone();
    let origin = Origin::start(move |asked: &Asked| {
        let is_asked = |one: &&Instance| asked.path.contains(&format!("/{}/", one.study));
        Reply::multipart(answered.iter().filter(is_asked))
    })
    .await;
    let rig = Rig::start(&origin.location(LOCATION));
    for instance in held {
        let study = Study {
            uid: instance.study.clone(),
            series: vec![Series {
                uid: instance.series.clone(),
                locations: at(LOCATION),
                instances: vec![instance.clone()],
            }],
        };
        let root = rig.register(study.fhir()).await.root;
        for path in [study.series_path(0), instance.path()] {
            let answer = rig.get(&format!("{root}{path}"), &[AS_STORED]).await;
            assert_eq!(answer.status, 200, "{path}: {answer:?}");
            assert_eq!(
                answer.instances(),
                std::slice::from_ref(&instance.bytes),
                "{path}"
            );
        }
    }
    assert_eq!(dropped(&rig, "origin-10", "not_whole").await, 0.0);
}

#[tokio::test]
async fn parts_that_arrive_byte_by_byte_are_walked_alike() {
    let study = Study::new(84).with_series(at(LOCATION), vec![(EXPLICIT, 10); 3]);
    let held = study.instances();
    let origin = Origin::start(move |asked| {
        let found = held
            .iter()
            .filter(|one| !asked.is_instance() || asked.path.ends_with(&one.uid));
        let body = join(found.map(|one| &one.bytes));
        let mut reply = Reply::bytes(&multipart_type(BOUNDARY), body.clone());
        reply.body = body
            .chunks(3)
            .map(|bytes| crate::rig::origin::Step::Send(bytes.to_vec().into()))
            .collect();
        reply.framed(Framing::Chunked)
    })
    .await;
    let rig = Rig::start(&origin.location(LOCATION));
    let root = rig.register(study.fhir()).await.root;
    let answer = rig
        .get(&format!("{root}{}", study.path()), &[AS_STORED])
        .await;
    assert_eq!(answer.instances(), study.bytes());
}
