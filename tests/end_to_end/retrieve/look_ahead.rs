//! Look-ahead: the gateway fetches instances before a client requests them.

use std::time::Duration;

use futures_util::future::join_all;
use tokio::time::{sleep, timeout};

use crate::rig::origin::{Gate, Origin, honest};
use crate::rig::study::{EXPLICIT, Study, at};
use crate::rig::{AS_STORED, Rig, sorted};

const LONG: Duration = Duration::from_secs(30);
const ENTRIES: &str = r#"xcwado_cache_entries{tier="memory"}"#;

fn study(instances: usize) -> Study {
    Study::new(1).with_series(at(10), vec![(EXPLICIT, 20_000); instances])
}

fn settings(look_ahead: &str, origin: &Origin) -> String {
    format!(
        "[cache]\nlook_ahead = \"{look_ahead}\"\n{}",
        origin.location(10)
    )
}

/// Waits until so many instances are kept.
async fn kept(rig: &Rig, instances: usize) {
    let are_kept = async {
        while rig.metric(ENTRIES).await < instances as f64 {
            sleep(Duration::from_millis(20)).await;
        }
    };
    timeout(LONG, are_kept).await.expect("they are kept");
}

/// The paths of the requests, without probes.
fn instances_asked(origin: &Origin) -> usize {
    origin.asked().iter().filter(|a| a.is_instance()).count()
}

#[tokio::test]
async fn the_rest_of_a_series_comes_with_its_first_instance() {
    let study = study(60);
    let origin = Origin::of(&study).await;
    let rig = Rig::start(&settings("first_request", &origin));
    let root = rig.register(study.fhir()).await.root;
    let instances = study.instances();
    let first = rig
        .get(&format!("{root}{}", instances[0].path()), &[AS_STORED])
        .await;
    assert_eq!(first.instances(), [instances[0].bytes.clone()]);
    kept(&rig, 60).await;
    for instance in &instances {
        let answer = rig
            .get(&format!("{root}{}", instance.path()), &[AS_STORED])
            .await;
        assert_eq!(answer.field("cache-status"), "xcwado; hit; detail=memory");
        assert_eq!(answer.instances(), std::slice::from_ref(&instance.bytes));
    }
    assert_eq!(origin.asked().len(), 1, "{:?}", origin.paths());
}

#[tokio::test]
async fn a_viewer_that_asks_for_one_after_the_other_makes_one_crossing() {
    let study = study(200);
    let origin = Origin::of(&study).await;
    let rig = Rig::start(&settings("first_request", &origin));
    let root = rig.register(study.fhir()).await.root;
    let instances = study.instances();
    let lanes = (0..6).map(|lane| {
        let (rig, root, instances) = (&rig, &root, &instances);
        async move {
            let mut read = Vec::new();
            for instance in instances.iter().skip(lane).step_by(6) {
                let path = format!("{root}{}", instance.path());
                read.extend(rig.get(&path, &[AS_STORED]).await.instances());
            }
            read
        }
    });
    let read = join_all(lanes).await.into_iter().flatten();
    assert_eq!(sorted(read), sorted(study.bytes()));
    // The series, and what was better fetched by itself.
    assert!(origin.asked().len() <= 5, "{:?}", origin.paths());
}

#[tokio::test]
async fn what_is_far_behind_in_a_series_is_fetched_by_itself() {
    let study = study(60);
    let (held, gate) = (study.instances(), Gate::new());
    let shut = gate.clone();
    let origin = Origin::start(move |asked| {
        let reply = honest(&held, asked);
        match asked.is_instance() {
            true => reply,
            false => reply.held_at(100_000, &shut),
        }
    })
    .await;
    let rig = Rig::start(&settings("first_request", &origin));
    let root = rig.register(study.fhir()).await.root;
    let instances = study.instances();
    let ask = async |at: usize| {
        let path = format!("{root}{}", instances[at].path());
        rig.get(&path, &[AS_STORED]).await.instances()
    };
    // The series is on its way and does not get on.
    assert_eq!(ask(0).await, [instances[0].bytes.clone()]);
    let last = timeout(LONG, ask(59)).await.expect("it is not waited for");
    assert_eq!(last, [instances[59].bytes.clone()]);
    assert_eq!(instances_asked(&origin), 1);
    gate.open();
    kept(&rig, 60).await;
    assert_eq!(ask(30).await, [instances[30].bytes.clone()]);
    assert_eq!(instances_asked(&origin), 1);
}

#[tokio::test]
async fn what_is_registered_is_fetched_before_anybody_asks() {
    let study = study(60);
    let origin = Origin::of(&study).await;
    let rig = Rig::start(&settings("registration", &origin));
    let root = rig.register(study.fhir()).await.root;
    kept(&rig, 60).await;
    let answer = rig
        .get(&format!("{root}{}", study.path()), &[AS_STORED])
        .await;
    assert_eq!(answer.field("cache-status"), "xcwado; hit");
    assert_eq!(sorted(answer.instances()), sorted(study.bytes()));
    assert_eq!(origin.asked().len(), 1);
}

#[tokio::test]
async fn nothing_is_fetched_ahead_where_that_is_not_wanted_or_cannot_be_kept() {
    for none in [
        "look_ahead = \"off\"",
        "look_ahead = \"first_request\"\nmemory = \"0\"\ndisk = \"0\"",
        "look_ahead = \"registration\"\nmemory = \"0\"\ndisk = \"0\"",
    ] {
        let study = study(20);
        let origin = Origin::of(&study).await;
        let rig = Rig::start(&format!("[cache]\n{none}\n{}", origin.location(10)));
        let root = rig.register(study.fhir()).await.root;
        for instance in &study.instances()[..3] {
            let path = format!("{root}{}", instance.path());
            let answer = rig.get(&path, &[AS_STORED]).await;
            assert_eq!(answer.instances(), std::slice::from_ref(&instance.bytes));
        }
        assert_eq!(instances_asked(&origin), 3, "{none}");
        assert_eq!(origin.asked().len(), 3, "{none}");
    }
}

/// A source that gives instances only: what viewers show first does not wait for its series.
#[tokio::test]
async fn the_middle_and_the_first_instance_come_before_the_rest_of_their_series() {
    let study = study(60);
    let (held, gate) = (study.instances(), Gate::new());
    let shut = gate.clone();
    let origin = Origin::start(move |asked| {
        let reply = honest(&held, asked);
        match asked.is_instance() {
            true => reply,
            false => reply.held_at(100, &shut),
        }
    })
    .await;
    let rig = Rig::start(&settings("first_request", &origin));
    let root = rig.register(study.fhir()).await.root;
    let path = format!("{root}{}/metadata", study.series_path(0));
    let metadata = rig.open(&path, &[]);
    let instances = study.instances();
    let pictures = async {
        // Nobody has asked for them yet.
        kept(&rig, 2).await;
        let is_asked = |at: usize| {
            let paths = origin.paths();
            paths
                .iter()
                .any(|path| path.ends_with(&instances[at].path()))
        };
        assert!(is_asked(30) && is_asked(0), "{:?}", origin.paths());
        for at in [30, 0] {
            let path = format!("{root}{}", instances[at].path());
            let answer = rig.get(&path, &[AS_STORED]).await;
            assert_eq!(answer.field("cache-status"), "xcwado; hit; detail=memory");
        }
        gate.open();
    };
    let both = async { tokio::join!(metadata, pictures) };
    let (metadata, ()) = timeout(LONG, both).await.expect("they come");
    let answer = metadata.read().await;
    assert_eq!(answer.json().as_array().map(Vec::len), Some(60));
    assert_eq!((instances_asked(&origin), origin.asked().len()), (2, 3));
}
