//! Repair: the gateway fetches the rest of a broken answer again within the same response.

use std::sync::atomic::{AtomicUsize, Ordering};

use bytes::Bytes;
use http::StatusCode;

use crate::rig::origin::{Asked, End, Origin, Reply, honest};
use crate::rig::study::{EXPLICIT, Instance, Study, at, location_uid};
use crate::rig::{AS_STORED, HERE, Rig, rad_160, sorted};

const REPAIRED: &str = r#"xcwado_repairs_total{location="origin-10",outcome="repaired"}"#;
const CHANGED: &str = r#"xcwado_repairs_total{location="origin-10",outcome="changed"}"#;

fn study(sizes: &[usize]) -> Study {
    let instances = sizes.iter().map(|size| (EXPLICIT, *size));
    Study::new(1).with_series(at(10), instances.collect())
}

/// A server of which the first answers break off.
async fn breaking(
    study: &Study,
    times: usize,
    at: usize,
    then: fn(&[Instance], &Asked) -> Reply,
) -> Origin {
    let (held, asked_so_far) = (study.instances(), AtomicUsize::new(0));
    let script = move |asked: &Asked| {
        if asked_so_far.fetch_add(1, Ordering::Relaxed) < times {
            honest(&held, asked).cut(at).ending(End::Close)
        } else {
            then(&held, asked)
        }
    };
    Origin::start(script).await
}

/// A busy machine is no reason to give up.
const PATIENT: &str = "[retrieve]\nrepair_seconds = 20\n";

#[tokio::test]
async fn an_instance_that_breaks_off_goes_on_where_it_was() {
    let study = study(&[3_000_000]);
    let origin = breaking(&study, 2, 1_500_000, honest).await;
    let rig = Rig::start(&format!("{PATIENT}{}", origin.location(10)));
    let root = rig.register(study.fhir()).await.root;
    for path in [study.path(), study.instances()[0].path()] {
        let answer = rig.get(&format!("{root}{path}"), &[AS_STORED]).await;
        assert_eq!(answer.instances(), study.bytes());
    }
    assert!(rig.metric(REPAIRED).await >= 1.0);
    assert_eq!(origin.asked().len(), 3, "{:?}", origin.paths());
}

#[tokio::test]
async fn what_has_changed_meanwhile_is_not_joined_to_what_was_given() {
    let study = study(&[3_000_000]);
    let origin = breaking(&study, 1, 1_500_000, |held, asked| {
        let mut held = held.to_vec();
        let mut bytes = held[0].bytes.to_vec();
        bytes[1_000] ^= 0xff;
        held[0].bytes = bytes.into();
        honest(&held, asked)
    })
    .await;
    let rig = Rig::start(&origin.location(10));
    let root = rig.register(study.fhir()).await.root;
    let path = format!("{root}{}", study.path());
    let answer = rig.get(&path, &[AS_STORED]).await;
    assert!(!answer.is_whole());
    assert_eq!(rig.metric(CHANGED).await, 1.0);
    // It is whole as it is now.
    let answer = rig.get(&path, &[AS_STORED]).await;
    assert!(answer.is_whole() && answer.instances()[0] != study.bytes()[0]);
}

#[tokio::test]
async fn for_another_community_a_series_is_asked_for_again() {
    let study = study(&[40_000; 30]);
    // In the third instance, in the twentieth, and in none.
    let cuts = [100_000, 800_000, usize::MAX];
    let (held, series) = (study.instances(), AtomicUsize::new(0));
    let origin = Origin::start(move |asked| {
        let reply = honest(&held, asked);
        if asked.is_instance() {
            return reply;
        }
        match cuts[series.fetch_add(1, Ordering::Relaxed).min(2)] {
            usize::MAX => reply,
            length => reply.cut(length).ending(End::Close),
        }
    })
    .await;
    let rig = Rig::start(&format!("{PATIENT}{}", origin.location(10)));
    let path = rad_160(HERE, &location_uid(10), &study.path());
    let answer = rig.get(&path, &[AS_STORED]).await;
    assert_eq!(answer.status, StatusCode::OK);
    assert_eq!(sorted(answer.instances()), sorted(study.bytes()));
}

#[tokio::test]
async fn what_came_of_a_broken_answer_is_not_fetched_again() {
    let study = study(&[40_000; 30]);
    let (held, healthy) = (study.instances(), AtomicUsize::new(0));
    let healthy = std::sync::Arc::new(healthy);
    let is_healthy = std::sync::Arc::clone(&healthy);
    let origin = Origin::start(move |asked| {
        let reply = honest(&held, asked);
        match (is_healthy.load(Ordering::Relaxed), asked.is_instance()) {
            (0, false) => reply.cut(1_150_000).ending(End::Close),
            (0, true) => Reply::status(500),
            _ => reply,
        }
    })
    .await;
    let rig = Rig::start(&origin.location(10));
    let root = rig.register(study.fhir()).await.root;
    let path = format!("{root}{}", study.path());
    let answer = rig.get(&path, &[AS_STORED]).await;
    assert!(!answer.is_whole());
    healthy.store(1, Ordering::Relaxed);
    let before = origin.sent();
    let answer = rig.get(&path, &[AS_STORED]).await;
    assert_eq!(sorted(answer.instances()), sorted(study.bytes()));
    let again = origin.sent() - before;
    let missing: usize = study.bytes()[28..].iter().map(Bytes::len).sum();
    assert!(again < missing as u64 + 10_000, "{again}");
}
