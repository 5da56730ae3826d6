//! The log of a crossing without a manifest is bounded, and no reader loses instances by that.

use crate::rig::origin::{Gate, Origin, honest};
use crate::rig::study::{EXPLICIT, Study, at, location_uid};
use crate::rig::{AS_STORED, HERE, Rig, rad_160};

/// A study of so many tiny instances, at a server whose first answer is held before its end.
async fn source(instances: usize, gate: &Gate) -> (Study, Origin) {
    let mut study = Study::new(1).with_series(at(10), Vec::new());
    for _ in 0..instances {
        let series = &mut study.series[0];
        let uid = format!("{}.{}", series.uid, series.instances.len() + 1);
        let uids = [&*study.uid, &*series.uid, &*uid];
        let instance = crate::rig::study::Instance::new(uids, EXPLICIT, 8);
        series.instances.push(instance);
    }
    let (held, shut) = (study.instances(), gate.clone());
    let origin = Origin::start(move |asked| {
        let reply = honest(&held, asked);
        if asked.is_instance() {
            return reply;
        }
        let length = reply.whole_body().len();
        reply.held_at(length - 2_000, &shut)
    })
    .await;
    (study, origin)
}

/// How often the source is asked if a second answer begins when most of the first one has come.
async fn two_answers(instances: usize) -> usize {
    let gate = Gate::new();
    let (study, origin) = source(instances, &gate).await;
    let rig = Rig::start(&origin.location(10));
    let path = rad_160(HERE, &location_uid(10), &study.path());
    let mut first = rig.open(&path, &[AS_STORED]).await;
    let bytes: usize = study.bytes().iter().map(bytes::Bytes::len).sum();
    first.read_at_least(bytes - 50_000).await;
    let second = rig.open(&path, &[AS_STORED]).await;
    gate.open();
    for answer in [first.read().await, second.read().await] {
        assert!(answer.instances() == study.bytes());
    }
    let paths = origin.paths();
    assert!(
        paths.iter().all(|path| !path.contains("/instances/")),
        "{paths:?}"
    );
    paths.len()
}

#[tokio::test]
async fn a_late_answer_shares_a_crossing_of_which_everything_is_to_be_had() {
    assert_eq!(two_answers(1_000).await, 1);
}

#[tokio::test]
async fn a_late_answer_gets_everything_of_a_crossing_that_has_released_some() {
    assert_eq!(two_answers(8_000).await, 2);
}
