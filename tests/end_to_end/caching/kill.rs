//! A gateway that is killed while it writes never serves a partial file.

use std::time::Duration;

use tokio::time::sleep;

use crate::rig::origin::Origin;
use crate::rig::program::Program;
use crate::rig::study::{EXPLICIT, Study, at};
use crate::rig::{AS_STORED, open, request, sorted};

const KILLS: usize = 50;

/// Numbers that look random, the same for the same seed (Knuth's MMIX).
struct Chance(u64);

impl Chance {
    fn below(&mut self, bound: u64) -> u64 {
        let next = self.0.wrapping_mul(6_364_136_223_846_793_005);
        self.0 = next.wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % bound
    }
}

#[tokio::test]
async fn what_is_served_after_a_kill_is_exact() {
    let seed = std::time::UNIX_EPOCH
        .elapsed()
        .expect("after 1970")
        .as_secs();
    let mut chance = Chance(seed);
    // Small ones, and one that goes to a file as it comes.
    let mut instances = vec![(EXPLICIT, 60_000); 20];
    instances.push((EXPLICIT, 9_000_000));
    let study = Study::new(1).with_series(at(10), instances);
    let whole = sorted(study.bytes());
    let origin = Origin::of(&study).await;
    let mut gateway = Program::serve(&origin.location(10)).await;
    let root = gateway.register("", study.fhir()).await.root;
    let path = format!("{root}{}", study.path());
    let mut from_disk = 0.0;
    for kill in 0..KILLS {
        let fetching = tokio::spawn({
            let (public, path) = (gateway.public, path.clone());
            async move {
                let asked = request(http::Method::GET, &path, &[AS_STORED], public, "".into());
                // It is cut off by the kill, or was quicker.
                open(public, asked).await.read().await
            }
        });
        sleep(Duration::from_millis(chance.below(200))).await;
        fetching.abort();
        gateway = gateway.killed_and_started().await;
        let answer = gateway.get(&path, &[AS_STORED]).await;
        assert!(
            sorted(answer.instances()) == whole,
            "kill {kill}, seed {seed}"
        );
        let found = r#"xcwado_cache_lookups_total{tier="disk"}"#;
        from_disk += gateway.metric(found).await;
        let damaged = gateway.metric("xcwado_cache_damaged_total").await;
        assert!(
            damaged == 0.0,
            "a kill damages nothing that was found: seed {seed}"
        );
        // So that there is something to write again.
        let forget = request(
            http::Method::DELETE,
            "/cache",
            &[],
            gateway.operator,
            "".into(),
        );
        open(gateway.operator, forget).await.read().await;
    }
    assert!(from_disk > 0.0, "nothing was ever kept");
}

// What comes in a burst waits to be written; what was a hit does not wait behind it.
#[tokio::test]
async fn what_was_given_from_the_cache_a_second_before_a_kill_is_there_again() {
    let study = Study::new(1).with_series(at(10), vec![(EXPLICIT, 8000); 3000]);
    let whole = sorted(study.bytes());
    let origin = Origin::of(&study).await;
    let settings = format!("[cache]\nlook_ahead = \"off\"\n{}", origin.location(10));
    let gateway = Program::serve(&settings).await;
    let root = gateway.register("", study.fhir()).await.root;
    let path = format!("{root}{}", study.path());
    assert!(sorted(gateway.get(&path, &[AS_STORED]).await.instances()) == whole);
    let instances = study.instances();
    let last = &instances[2900..];
    for instance in last {
        let answer = gateway
            .get(&format!("{root}{}", instance.path()), &[AS_STORED])
            .await;
        assert!(answer.field("cache-status").contains("hit"), "{answer:?}");
    }
    sleep(Duration::from_secs(1)).await;
    let asked = origin.asked().len();
    let gateway = gateway.killed_and_started().await;
    for instance in last {
        let answer = gateway
            .get(&format!("{root}{}", instance.path()), &[AS_STORED])
            .await;
        assert!(answer.instances() == std::slice::from_ref(&instance.bytes));
        assert_eq!(answer.field("cache-status"), "xcwado; hit; detail=disk");
    }
    assert_eq!(origin.asked().len(), asked);
}
