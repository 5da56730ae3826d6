//! Repair may be needed several times: it continues with any complete copy that begins with the
//! bytes already sent.

use std::collections::HashMap;
use std::sync::Mutex;
use std::time::Duration;

use bytes::Bytes;
use futures_util::future::join_all;
use tokio::time::sleep;

use crate::rig::origin::{Asked, End, Framing, Gate, Origin, Reply, Step, honest};
use crate::rig::study::{EXPLICIT, Instance, Study, at, location_uid};
use crate::rig::{AS_STORED, HERE, Rig, rad_160};

const REPAIRED: &str = r#"xcwado_repairs_total{location="origin-10",outcome="repaired"}"#;
const CHANGED: &str = r#"xcwado_repairs_total{location="origin-10",outcome="changed"}"#;
/// A busy machine is no reason to give up.
const PATIENT: &str = "[retrieve]\nrepair_seconds = 30\n";
const NOTHING_KEPT: &str = "[cache]\nmemory = \"0\"\ndisk = \"0\"\n";
const MEMORY_ONLY: &str = "[cache]\ndisk = \"0\"\n";
/// Where in the instance the answers break off, in per cent, one after the other.
const BREAKS: [usize; 3] = [10, 50, 90];

fn study(sizes: &[usize]) -> Study {
    let instances = sizes.iter().map(|size| (EXPLICIT, *size));
    Study::new(1).with_series(at(10), instances.collect())
}

/// A server whose answers break off within each instance of the study: the first time at 10 %, the second
/// at 50 %, the third at 90 %. `then` says how it answers after that.
async fn breaking(
    study: &Study,
    then: impl Fn(&[Instance], &Asked) -> Reply + Send + Sync + 'static,
) -> Origin {
    let (held, answers) = (study.instances(), Mutex::new(HashMap::new()));
    let script = move |asked: &Asked| {
        let is_meant = |one: &&Instance| asked.path.contains(&one.uid) || !asked.is_instance();
        let first = held.iter().find(is_meant).expect("it is listed");
        let mut answers = answers.lock().expect("no panic");
        let count = answers.entry(first.uid.clone()).or_insert(0);
        *count += 1;
        match BREAKS.get(*count - 1) {
            Some(percent) => {
                let length = 150 + first.bytes.len() * percent / 100;
                honest(&held, asked).cut(length).ending(End::Close)
            }
            None => then(&held, asked),
        }
    };
    Origin::start(script).await
}

async fn rig(settings: &str, origin: &Origin) -> Rig {
    Rig::start(&format!("{PATIENT}{settings}{}", origin.location(10)))
}

#[tokio::test]
async fn an_answer_survives_breaks_at_one_offset_after_the_other() {
    for settings in ["", NOTHING_KEPT, MEMORY_ONLY] {
        for size in [4_000, 3_000_000] {
            let study = study(&[size]);
            let origin = breaking(&study, honest).await;
            let rig = rig(settings, &origin).await;
            let root = rig.register(study.fhir()).await.root;
            let path = format!("{root}{}", study.path());
            let answer = rig.get(&path, &[AS_STORED]).await;
            assert!(answer.instances() == study.bytes(), "{settings} {size}");
            assert_eq!(origin.asked().len(), 4, "{:?}", origin.paths());
            assert!(rig.metric(REPAIRED).await >= 1.0);
        }
    }
}

#[tokio::test]
async fn each_instance_of_a_series_is_repaired() {
    for settings in ["", NOTHING_KEPT] {
        let study = study(&[300_000, 4_000, 2_000_000]);
        let origin = breaking(&study, honest).await;
        let rig = rig(settings, &origin).await;
        let root = rig.register(study.fhir()).await.root;
        let path = format!("{root}{}", study.path());
        let answer = rig.get(&path, &[AS_STORED]).await;
        assert!(answer.instances() == study.bytes(), "{settings}");
    }
}

#[tokio::test]
async fn several_readers_are_repaired() {
    for settings in ["", NOTHING_KEPT] {
        let study = study(&[2_000_000]);
        let origin = breaking(&study, honest).await;
        let rig = rig(settings, &origin).await;
        let root = rig.register(study.fhir()).await.root;
        let path = format!("{root}{}", study.path());
        let answers = join_all((0..5).map(|_| rig.get(&path, &[AS_STORED]))).await;
        for answer in answers {
            assert!(answer.instances() == study.bytes(), "{settings}");
        }
    }
}

#[tokio::test]
async fn another_communitys_answer_survives_breaks_at_one_offset_after_the_other() {
    for settings in ["", NOTHING_KEPT] {
        let study = study(&[2_000_000]);
        let origin = breaking(&study, honest).await;
        let rig = rig(settings, &origin).await;
        let path = rad_160(HERE, &location_uid(10), &study.instances()[0].path());
        let answer = rig.get(&path, &[AS_STORED]).await;
        assert!(answer.instances() == study.bytes(), "{settings}");
    }
}

#[tokio::test]
async fn a_copy_that_another_answer_brought_meanwhile_goes_on() {
    let study = study(&[3_000_000]);
    let (held, gate) = (study.instances(), Gate::new());
    let shut = gate.clone();
    // The series breaks off, and the repair gets less each time than was given; another client gets it whole.
    let origin = Origin::start(move |asked| {
        let reply = honest(&held, asked);
        match (asked.is_instance(), asked.field("x-request-id")) {
            (true, "another") => reply,
            (true, _) => reply.cut(200_000).ending(End::Close),
            (false, _) => {
                let mut reply = reply.cut(1_000_000).ending(End::Close);
                reply.body.push(Step::Wait(shut.clone()));
                reply
            }
        }
    })
    .await;
    let rig = rig("", &origin).await;
    let root = rig.register(study.fhir()).await.root;
    let series = format!("{root}{}", study.path());
    let single = format!("{root}{}", study.instances()[0].path());
    let mut stream = rig.open(&series, &[AS_STORED]).await;
    stream.read_at_least(500_000).await;
    gate.open();
    let reading = tokio::spawn(stream.read());
    let another = [AS_STORED, ("x-request-id", "another")];
    loop {
        let answer = rig.get(&single, &another).await;
        if answer.status == 200 && answer.is_whole() {
            assert!(answer.instances() == study.bytes());
            break;
        }
        sleep(Duration::from_millis(50)).await;
    }
    let answer = reading.await.expect("no panic");
    assert!(answer.instances() == study.bytes());
}

#[tokio::test]
async fn another_copy_is_never_joined_to_what_was_given() {
    for settings in ["", NOTHING_KEPT] {
        for at in [1_000, 150_000, 1_700_000] {
            let study = study(&[2_000_000]);
            let origin = breaking(&study, move |held, asked| {
                let mut held = held.to_vec();
                let mut bytes = held[0].bytes.to_vec();
                bytes[at] ^= 0xff;
                held[0].bytes = bytes.into();
                honest(&held, asked)
            })
            .await;
            let rig = rig(settings, &origin).await;
            let root = rig.register(study.fhir()).await.root;
            let path = format!("{root}{}", study.path());
            let answer = rig.get(&path, &[AS_STORED]).await;
            assert!(!answer.is_whole(), "{settings} {at}");
            let (parts, is_closed) = answer.split();
            assert!(parts.is_empty() && !is_closed, "{settings} {at}");
            assert_eq!(rig.metric(CHANGED).await, 1.0);
        }
    }
}

#[tokio::test]
async fn a_shorter_or_longer_copy_is_not_joined_to_a_promised_length() {
    for more in [false, true] {
        let study = study(&[100_000]);
        let (whole, asked_so_far) = (study.instances()[0].bytes.clone(), Mutex::new(0));
        // A source of single instances, which tells the length first and then does not.
        let origin = Origin::start(move |_asked| {
            let mut count = asked_so_far.lock().expect("no panic");
            *count += 1;
            let reply = |bytes: Bytes| Reply::bytes("application/dicom", bytes);
            match *count {
                1 => reply(whole.clone()).cut(50_000).ending(End::Close),
                _ if more => reply([&whole[..], b"\0\0"].concat().into()).framed(Framing::Chunked),
                _ => reply(whole.slice(..whole.len() - 2)).framed(Framing::Chunked),
            }
        })
        .await;
        let rig = rig("", &origin).await;
        let root = rig.register(study.fhir()).await.root;
        let path = format!("{root}{}", study.instances()[0].path());
        let answer = rig.get(&path, &[AS_STORED]).await;
        assert!(!answer.is_whole(), "{more}");
    }
}
