//! A purged instance stays purged, and the purge removes no other instance.

use std::collections::HashSet;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures_util::future::join;
use http::{Method, StatusCode};
use tokio::time::{sleep, timeout};

use crate::rig::origin::{Origin, Reply, honest};
use crate::rig::study::{EXPLICIT, Study, at};
use crate::rig::{AS_STORED, Rig, open, request, sorted};

const LONG: Duration = Duration::from_secs(120);

async fn forget(rig: &Rig) {
    let asked = request(Method::DELETE, "/cache", &[], rig.operator, "".into());
    let answer = open(rig.operator, asked).await.read().await;
    assert_eq!(answer.status, StatusCode::OK, "{answer:?}");
}

async fn entries(rig: &Rig, tier: &str) -> f64 {
    let named = format!("xcwado_cache_entries{{tier=\"{tier}\"}}");
    rig.metric(&named).await
}

// While some are in memory, some are in the queue to the disk and some are being read from it.
#[tokio::test]
async fn nothing_comes_back_that_was_forgotten_while_it_was_read_or_written() {
    let study = Study::new(1).with_series(at(10), vec![(EXPLICIT, 6000); 60]);
    let origin = Origin::of(&study).await;
    // Memory holds about half of it, so that the other half is read from disk.
    let rig = Rig::start(&format!(
        "[cache]\nmemory = \"1 MiB\"\n{}",
        origin.location(10)
    ));
    let root = rig.register(study.fhir()).await.root;
    let path = format!("{root}{}", study.path());
    let whole = sorted(study.bytes());
    for round in 0..12 {
        for _ in 0..2 {
            let read = rig.get(&path, &[AS_STORED]).await;
            assert!(sorted(read.instances()) == whole);
        }
        let asked = origin.asked().len();
        let late = async {
            sleep(Duration::from_millis(round)).await;
            forget(&rig).await;
        };
        let (read, ()) = join(rig.get(&path, &[AS_STORED]), late).await;
        assert!(sorted(read.instances()) == whole);
        // What was fetched since then may be kept; what was there before may not.
        if origin.asked().len() == asked {
            sleep(Duration::from_millis(1500)).await;
            assert_eq!(entries(&rig, "disk").await, 0.0, "round {round}");
            assert_eq!(entries(&rig, "memory").await, 0.0, "round {round}");
        }
    }
}

#[tokio::test]
async fn one_that_its_source_has_deleted_takes_no_other_with_it() {
    let study = Study::new(1).with_series(at(10), vec![(EXPLICIT, 20_000); 200]);
    let held = study.instances();
    let deleted: Arc<Mutex<HashSet<String>>> = Arc::default();
    let gone = Arc::clone(&deleted);
    let origin = Origin::start(move |asked| {
        let gone = gone.lock().expect("a lock");
        match gone.iter().any(|uid| asked.path.contains(uid)) {
            true => Reply::status(404),
            false => honest(&held, asked),
        }
    })
    .await;
    // Each is asked for again each time, and the answer to that is `404` for one of them.
    let other = Study::new(2).with_series(at(10), vec![(EXPLICIT, 3000); 1]);
    let rig = Rig::start(&origin.location(10));
    let root = rig.register(study.fhir()).await.root;
    let missing = rig.register(other.fhir()).await.root;
    deleted.lock().expect("a lock").insert(other.uid.clone());
    let absent = format!("{missing}{}", other.instances()[0].path());
    let whole = async {
        let path = format!("{root}{}", study.path());
        rig.get(&path, &[AS_STORED]).await
    };
    let absences = async {
        for _ in 0..20 {
            let answer = rig.get(&absent, &[AS_STORED]).await;
            assert_eq!(answer.status, StatusCode::NOT_FOUND);
            sleep(Duration::from_millis(5)).await;
        }
    };
    let (read, ()) = join(whole, absences).await;
    assert!(sorted(read.instances()) == sorted(study.bytes()));
    let are_there = async {
        while entries(&rig, "disk").await < 200.0 {
            sleep(Duration::from_millis(20)).await;
        }
    };
    timeout(LONG, are_there)
        .await
        .expect("all of them are written");
    assert_eq!(rig.metric("xcwado_cache_not_written_total").await, 0.0);
}
