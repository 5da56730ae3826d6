//! Sources that do not know a series and yet have its instances.

use std::collections::HashSet;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use crate::rig::origin::{Asked, Origin, Reply, Step, honest};
use crate::rig::study::{Instance, Study, at};
use crate::rig::{AS_STORED, Rig};

/// The most single instances that are asked for at a time: the awaited one and four ahead.
const AT_ONCE: usize = 5;

/// A server with these instances that finds no series or study.
async fn finds_instances_only(held: Vec<Instance>) -> Origin {
    Origin::start(move |asked| answer(&held, asked)).await
}

fn answer(held: &[Instance], asked: &Asked) -> Reply {
    if asked.path.contains("/instances/") {
        honest(held, asked)
    } else {
        Reply::status(404)
    }
}

#[tokio::test]
async fn each_instance_of_a_series_that_the_source_does_not_know_is_given() {
    let study = Study::new(1).with(30, at(10)).with(3, at(10));
    let origin = finds_instances_only(study.instances()).await;
    let rig = Rig::start(&origin.location(10));
    for manifest in [study.fhir(), study.kos()] {
        let root = rig.register(manifest).await.root;
        for path in [study.path(), study.series_path(0), study.series_path(1)] {
            let answer = rig.get(&format!("{root}{path}"), &[AS_STORED]).await;
            assert_eq!((answer.status.as_u16(), answer.is_whole()), (200, true));
        }
        let answer = rig
            .get(&format!("{root}{}", study.path()), &[AS_STORED])
            .await;
        assert_eq!(answer.instances(), study.bytes());
        let metadata = format!("{root}{}/metadata", study.series_path(0));
        let metadata = rig.get(&metadata, &[]).await.json();
        assert_eq!(metadata.as_array().map(Vec::len), Some(30));
    }
    // Each crossed once.
    let asked = origin.paths();
    let single = asked.iter().filter(|path| path.contains("/instances/"));
    assert_eq!(single.count(), 33, "{asked:#?}");
}

#[tokio::test]
async fn only_instances_that_the_source_denies_are_absent() {
    // The first ones are not there: a search that gave up early would lose the others.
    let study = Study::new(1).with(40, at(10));
    let lacked = 20;
    let origin = finds_instances_only(study.instances().split_off(lacked)).await;
    let rig = Rig::start(&origin.location(10));
    let root = rig.register(study.fhir()).await.root;
    let path = format!("{root}{}", study.series_path(0));
    for _ in 0..2 {
        let answer = rig.get(&path, &[AS_STORED]).await;
        assert_eq!((answer.status.as_u16(), answer.is_whole()), (206, true));
        assert_eq!(answer.instances().len(), 40 - lacked);
        assert!(answer.field("warning").contains("20 of 40"), "{answer:?}");
    }
    let asked = origin.paths();
    let single: Vec<_> = asked
        .iter()
        .filter(|path| path.contains("/instances/"))
        .collect();
    let different: HashSet<_> = single.iter().collect();
    assert_eq!((single.len(), different.len()), (40, 40), "{asked:#?}");
}

#[tokio::test]
async fn a_series_is_absent_after_each_of_its_instances_was_denied() {
    let study = Study::new(1).with(30, at(10));
    let origin = finds_instances_only(Vec::new()).await;
    let rig = Rig::start(&origin.location(10));
    let root = rig.register(study.fhir()).await.root;
    let path = format!("{root}{}", study.series_path(0));
    let answer = rig.get(&path, &[AS_STORED]).await;
    assert_eq!(answer.status, 404);
    let asked = origin.paths();
    let single: HashSet<_> = asked
        .iter()
        .filter(|path| path.contains("/instances/"))
        .collect();
    assert_eq!(single.len(), 30, "{asked:#?}");
}

#[tokio::test]
async fn a_source_is_asked_for_few_instances_at_a_time() {
    let study = Study::new(1).with(40, at(10));
    let held = study.instances();
    let (open, most) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    let waiting = Arc::new(Mutex::new(()));
    let (counting, highest) = (Arc::clone(&open), Arc::clone(&most));
    let origin = Origin::start(move |asked| {
        let _turn = waiting.lock().expect("no panic");
        if !asked.path.contains("/instances/") {
            return Reply::status(404);
        }
        let now = counting.fetch_add(1, Ordering::SeqCst) + 1;
        highest.fetch_max(now, Ordering::SeqCst);
        let counting = Arc::clone(&counting);
        tokio::spawn(async move {
            tokio::time::sleep(Duration::from_millis(28)).await;
            counting.fetch_sub(1, Ordering::SeqCst);
        });
        let mut reply = honest(&held, asked);
        reply.body.insert(0, Step::Pause(Duration::from_millis(30)));
        reply
    })
    .await;
    let rig = Rig::start(&origin.location(10));
    let root = rig.register(study.fhir()).await.root;
    let path = format!("{root}{}", study.series_path(0));
    let answer = rig.get(&path, &[AS_STORED]).await;
    assert_eq!(answer.instances(), study.bytes());
    let most = most.load(Ordering::SeqCst);
    assert!((2..=AT_ONCE).contains(&most), "{most} at a time");
}
