use bytes::Bytes;

use super::*;
use crate::budget::ByteSize;
use crate::cache::test::{identity, key};
use crate::cache::{Cache, Description, Settings, Terms};
use crate::metrics::Metrics;

fn add(log: &mut Log, count: usize) {
    let pace = Pace::new();
    for _ in 0..count {
        log.add(identity(log.count()), None, &pace);
    }
}

#[test]
fn a_log_holds_what_late_followers_need_and_no_more() {
    let mut log = Log::default();
    let (fast, slow) = (log.join(), log.join());
    add(&mut log, 3 * FOR_LATE_FOLLOWERS);
    assert!(
        log.is_complete() && log.at(0).is_some(),
        "nobody has passed it"
    );
    let end = log.count();
    log.go(fast, end);
    assert!(log.is_complete(), "one has not passed it");
    log.go(slow, 10);
    assert!(log.at(9).is_none() && log.has_released(9));
    assert_eq!(log.at(10).expect("one is there").identity, identity(10));
    log.leave(10);
    assert_eq!(log.arrived.len(), FOR_LATE_FOLLOWERS);
    assert_eq!(log.count(), end);
    // This holds for followers that join now, and while there is no follower.
    assert_eq!(log.join(), end - FOR_LATE_FOLLOWERS);
    log.leave(end - FOR_LATE_FOLLOWERS);
    add(&mut log, 100);
    assert_eq!(log.arrived.len(), FOR_LATE_FOLLOWERS);
}

#[test]
fn an_answer_without_a_manifest_has_an_end() {
    let mut log = Log::default();
    let mut place = log.join();
    while !log.is_full() {
        add(&mut log, 1000);
        log.go(place, log.count());
        place = log.count();
    }
    assert_eq!(log.count(), MOST_INSTANCES);
    assert_eq!(log.arrived.len(), FOR_LATE_FOLLOWERS);
    // For each released entry the log holds only a digest and a position.
    assert_eq!(log.seen.len(), MOST_INSTANCES);
    assert!(size_of::<(Digest, usize)>() <= 32);
    assert!(log.has_seen(&identity(0)));
    assert_eq!(log.place_of(mark_of(&identity(77))), Some(77));
    assert!(!log.has_seen(&identity(MOST_INSTANCES)));
}

#[tokio::test]
async fn a_flight_that_is_kept_nowhere_waits_for_slower_followers_within_a_window() {
    let folder = tempfile::tempdir().expect("a folder");
    let settings = Settings {
        memory: ByteSize(0),
        disk: ByteSize(0),
        ..Settings::default()
    };
    let cache = Cache::open(&settings, folder.path(), &Metrics::new()).expect("a folder");
    let (mut log, pace) = (Log::default(), Arc::new(Pace::new()));
    let (fast, slow) = (log.join(), log.join());
    let _interest = crate::cache::pace::Interest::of(&pace);
    let bytes = Bytes::from(vec![7; 100 << 10]);
    let mut most = 0;
    for at in 0..100 {
        let description = Description {
            identity: identity(at),
            length: None,
        };
        let terms = Terms {
            lifetime: std::time::Duration::from_secs(60),
            etag: None,
            is_no_store: true,
        };
        let writer = cache.take_off(key(at), description, &terms, &pace);
        let mut writer = writer.expect("it is not known");
        log.add(identity(at), Some(writer.flight()), &pace);
        let patience = std::time::Duration::from_secs(1);
        writer.push(bytes.clone(), patience).await.expect("awaited");
        writer.land().await.expect("no length was promised");
        // The fastest follower has read it all.
        let flight = log.at(at).and_then(ArrivedInstance::flight).expect("held");
        pace.read_to(flight.reach());
        log.go(fast + at, fast + at + 1);
        most = most.max(log.held.len());
    }
    let is_held = |log: &Log, at| log.at(at).and_then(ArrivedInstance::flight).is_some();
    assert!(is_held(&log, 99) && is_held(&log, 95) && !is_held(&log, 50));
    assert!(most <= 13, "{most}");
    // Once all followers have passed, the log holds no flight.
    log.go(slow, 100);
    log.add(identity(100), None, &pace);
    assert!(log.held.is_empty());
}
