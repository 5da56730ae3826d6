//! A source sends one instance twice in one answer, with different bytes: neither is cached, and
//! the response does not look complete.

use crate::rig::origin::{Asked, Origin, Reply, honest};
use crate::rig::study::{EXPLICIT, Instance, Study, at, location_uid};
use crate::rig::{AS_STORED, HERE, Rig, rad_160};

const LOCATION: u32 = 10;
const IN_MEMORY: &str = "[cache]\ndisk = \"0\"\n";

fn study() -> Study {
    Study::new(91).with_series(at(LOCATION), vec![(EXPLICIT, 3000); 4])
}

/// An instance with the same UIDs and length and another pixel.
fn other(instance: &Instance) -> Instance {
    let mut bytes = instance.bytes.to_vec();
    let last = bytes.len() - 1;
    bytes[last] ^= 1;
    Instance {
        bytes: bytes.into(),
        ..instance.clone()
    }
}

/// A series in which the instances at these places come twice, right one after the other.
fn doubled(
    held: &[Instance],
    asked: &Asked,
    places: &[usize],
    twin: fn(&Instance) -> Instance,
) -> Reply {
    if asked.is_instance() {
        return honest(held, asked);
    }
    let twice = |(at, instance): (usize, &Instance)| {
        let copies = match places.contains(&at) {
            true => vec![instance.clone(), twin(instance)],
            false => vec![instance.clone()],
        };
        copies.into_iter()
    };
    let instances: Vec<_> = held.iter().enumerate().flat_map(twice).collect();
    Reply::multipart(&instances)
}

async fn dropped(rig: &Rig, why: &str) -> f64 {
    let labels = format!("{{location=\"origin-10\",outcome=\"{why}\"}}");
    rig.metric(&format!("xcwado_dropped_instances_total{labels}"))
        .await
}

#[tokio::test]
async fn two_copies_that_differ_end_the_answer_uncleanly_and_are_not_kept() {
    // The first, one in the middle, and the last one.
    for place in 0..4 {
        let study = study();
        let held = study.instances();
        let origin = Origin::start(move |asked| doubled(&held, asked, &[place], other)).await;
        let rig = Rig::start(&(IN_MEMORY.to_owned() + &origin.location(LOCATION)));
        let root = rig.register(study.fhir()).await.root;
        let path = format!("{root}{}", study.path());
        let answer = rig.get(&path, &[AS_STORED]).await;
        assert_eq!(answer.status, 200, "{answer:?}");
        assert!(!answer.is_whole(), "{place}: it looks whole");
        assert!(dropped(&rig, "conflicting").await >= 1.0, "{place}");
        assert_eq!(dropped(&rig, "duplicate").await, 0.0);
        // The next answer says so from its head.
        let again = rig.get(&path, &[AS_STORED]).await;
        assert_eq!(again.status, 206, "{place}: {again:?}");
        assert_ne!(again.field("warning"), "");
        let given = again.instances();
        assert_eq!(given.len(), 3);
        let contested = &study.instances()[place];
        assert!(!given.contains(&contested.bytes));
        assert!(!given.contains(&other(contested).bytes));
        // It is not here.
        let before = origin.asked().len();
        let alone = format!("{root}{}", contested.path());
        let answer = rig.get(&alone, &[AS_STORED]).await;
        assert_eq!(answer.instances(), std::slice::from_ref(&contested.bytes));
        assert!(origin.asked().len() > before, "it was given from the cache");
    }
}

#[tokio::test]
async fn two_copies_that_are_the_same_are_a_duplicate() {
    let study = study();
    let held = study.instances();
    let origin =
        Origin::start(move |asked| doubled(&held, asked, &[0, 1, 2], Instance::clone)).await;
    let rig = Rig::start(&(IN_MEMORY.to_owned() + &origin.location(LOCATION)));
    let root = rig.register(study.fhir()).await.root;
    let path = format!("{root}{}", study.path());
    let answer = rig.get(&path, &[AS_STORED]).await;
    assert_eq!(answer.instances(), study.bytes());
    assert_eq!(dropped(&rig, "duplicate").await, 3.0);
    assert_eq!(dropped(&rig, "conflicting").await, 0.0);
    let before = origin.asked().len();
    let answer = rig.get(&path, &[AS_STORED]).await;
    assert_eq!(answer.instances(), study.bytes());
    assert_eq!(origin.asked().len(), before, "kept");
}

#[tokio::test]
async fn a_relay_of_two_copies_that_differ_ends_uncleanly() {
    for place in 0..4 {
        let study = study();
        let held = study.instances();
        let origin = Origin::start(move |asked| doubled(&held, asked, &[place], other)).await;
        let rig = Rig::start(&(IN_MEMORY.to_owned() + &origin.location(LOCATION)));
        let path = rad_160(HERE, &location_uid(LOCATION), &study.path());
        let answer = rig.get(&path, &[AS_STORED]).await;
        assert_eq!(answer.status, 200, "{answer:?}");
        assert!(!answer.is_whole(), "{place}: it looks whole");
        assert_eq!(dropped(&rig, "conflicting").await, 1.0, "{place}");
        assert_eq!(origin.asked().len(), 1, "asking again would not help");
    }
}

#[tokio::test]
async fn a_single_instance_that_comes_twice_and_differs_is_not_given_as_whole() {
    let study = study();
    let held = study.instances();
    let origin = Origin::start(move |asked| {
        let found = held.iter().find(|one| asked.path.ends_with(&one.uid));
        found.map_or_else(
            || Reply::status(404),
            |one| Reply::multipart(&[one.clone(), other(one)]),
        )
    })
    .await;
    let rig = Rig::start(&(IN_MEMORY.to_owned() + &origin.location(LOCATION)));
    let root = rig.register(study.fhir()).await.root;
    let path = format!("{root}{}", study.instances()[0].path());
    let answer = rig.get(&path, &[AS_STORED]).await;
    assert!(!answer.is_whole(), "{answer:?}");
    assert!(dropped(&rig, "conflicting").await >= 1.0);
    let before = origin.asked().len();
    let _ = rig.get(&path, &[AS_STORED]).await;
    assert!(origin.asked().len() > before, "it was given from the cache");
}
