use std::time::Duration;

use futures_util::FutureExt;
use tempfile::TempDir;
use tokio::time::sleep;

use super::*;
use crate::body;
use crate::budget::ByteSize;
use crate::cache::pace::Pace;
use crate::cache::test::{identity, key};
use crate::cache::{Cache, Description, Hit, Key, Settings, Terms};
use crate::metrics::Metrics;

const TERMS: Terms<'static> = Terms {
    lifetime: Duration::from_secs(600),
    etag: None,
    is_no_store: false,
};

fn settings(memory: u64, flights: u64) -> Settings {
    Settings {
        memory: ByteSize(memory),
        flights: ByteSize(flights),
        disk: ByteSize(2 << 30),
        ..Settings::default()
    }
}

fn cache(settings: &Settings) -> (Cache, TempDir, Metrics) {
    let (folder, metrics) = (tempfile::tempdir().expect("a folder"), Metrics::new());
    let cache = Cache::open(settings, folder.path(), &metrics).expect("a folder");
    (cache, folder, metrics)
}

async fn land(cache: &Cache, at: usize, size: usize) -> Result<(), body::Error> {
    let description = Description {
        identity: identity(at),
        length: None,
    };
    let pace = Arc::new(Pace::new());
    let writer = cache.take_off(key(at), description, &TERMS, &pace);
    let mut writer = writer.expect("it is not known");
    let chunk = vec![7; size].into();
    writer
        .push(chunk, Duration::from_secs(10))
        .await
        .expect("room");
    writer.land().await
}

/// Waits until nothing waits to be written.
async fn written(cache: &Cache) {
    loop {
        let is_idle = {
            let queue = cache.0.behind.queue();
            queue.len() == 0 && queue.writers == 0
        };
        if is_idle {
            return;
        }
        sleep(Duration::from_millis(5)).await;
    }
}

fn is_on_disk(cache: &Cache, key: &Key) -> bool {
    cache.disk().is_some_and(|disk| disk.peek(key).is_some())
}

// The queue may hold 1 MiB, and memory 16 MiB, of 40 MiB that come as fast as they can.
#[tokio::test]
async fn a_burst_of_20_000_instances_is_on_disk_to_the_last_one() {
    let (cache, _folder, metrics) = cache(&settings(16 << 20, 1 << 20));
    for at in 0..20_000 {
        land(&cache, at, 500).await.expect("it lands");
        let queue = cache.0.behind.queue();
        assert!(queue.held <= 1 << 20 && queue.left <= 5 << 20);
    }
    written(&cache).await;
    let missing = (0..20_000).filter(|&at| !is_on_disk(&cache, &key(at)));
    assert_eq!(missing.count(), 0);
    assert_eq!(metrics.cache_not_written.get(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_disk_that_stands_still_holds_up_nothing_for_long() {
    let (cache, _folder, _) = cache(&settings(16 << 20, 0));
    let behind = Arc::new(Behind::new(0, 0));
    // Writers that do nothing.
    behind.queue().writers = WRITERS;
    let entry = Arc::new(Entry::new(
        identity(1),
        vec![0; 10].into(),
        crate::cache::Validity::now(None),
    ));
    let pending = cache.disk().expect("a disk").pending(&key(1));
    behind
        .add(&entry, pending, DiskWriter(cache))
        .expect("room");
    assert!(
        behind.keep_up().now_or_never().is_none(),
        "it waits for the disk"
    );
    timeout(Duration::from_secs(5), behind.keep_up())
        .await
        .expect("and not for ever");
}

#[tokio::test]
async fn what_is_forgotten_while_it_waits_to_be_written_does_not_come_back() {
    let (cache, _folder, _) = cache(&settings(64 << 20, 64 << 20));
    for at in 0..300 {
        land(&cache, at, 5000).await.expect("it lands");
    }
    cache.forget(&|of| *of != key(299));
    assert!((0..299).all(|at| cache.find(&key(at)).is_none()));
    written(&cache).await;
    assert!(
        (0..299).all(|at| cache.find(&key(at)).is_none()),
        "it came back"
    );
    assert!(is_on_disk(&cache, &key(299)), "nobody forgot that one");
    // One does not discard the others.
    for at in 0..100 {
        land(&cache, at, 5000).await.expect("it lands");
        cache.forget_one(&key(at / 2 * 2));
    }
    written(&cache).await;
    assert!((0..100).all(|at| is_on_disk(&cache, &key(at)) == (at % 2 == 1)));
}

#[tokio::test]
async fn what_is_forgotten_while_it_is_read_from_disk_does_not_come_back() {
    let (cache, _folder, _) = cache(&settings(512 << 20, 64 << 20));
    for _ in 0..100 {
        // It is too large to be read without waiting.
        land(&cache, 1, 2_000_000).await.expect("it lands");
        written(&cache).await;
        cache.memory().forget_one(&key(1));
        let Some(Hit::Disk(stored)) = cache.find(&key(1)) else {
            panic!("it is on disk");
        };
        let mut reading = Box::pin(cache.read(&stored));
        // What has been read is not taken to memory before this is looked at again.
        let is_under_way = reading.as_mut().now_or_never().is_none();
        cache.forget(&|_| true);
        if is_under_way {
            // If its file was gone before it was opened, the source is asked.
            drop(reading.await);
            assert!(cache.find(&key(1)).is_none() && cache.memory().peek(&key(1)).is_none());
            return;
        }
    }
    panic!("each time it was read before it could be forgotten");
}

#[tokio::test]
async fn those_who_want_one_file_at_the_same_time_read_it_once() {
    let settings = settings(64 << 20, 64 << 20);
    let (before, folder, metrics) = cache(&settings);
    land(&before, 1, 50_000).await.expect("it lands");
    written(&before).await;
    let cache = Cache::open(&settings, folder.path(), &metrics).expect("a folder");
    let Some(Hit::Disk(stored)) = cache.find(&key(1)) else {
        panic!("it is on disk");
    };
    let reads = (0..8).map(|_| cache.read(&stored));
    let entries = futures_util::future::join_all(reads).await.into_iter();
    let entries = entries.map(|read| match read {
        Some(crate::cache::Content::Whole(entry)) => Arc::as_ptr(&entry),
        _ => panic!("it is small"),
    });
    let entries: std::collections::HashSet<_> = entries.collect();
    assert_eq!(entries.len(), 1);
}

#[tokio::test]
async fn what_is_given_from_memory_is_brought_to_disk_again() {
    let (cache, folder, _) = cache(&settings(64 << 20, 64 << 20));
    land(&cache, 1, 5000).await.expect("it lands");
    written(&cache).await;
    let entry = cache.memory().find(&key(1)).expect("it is in memory");
    // It left the disk, as what nobody reads there does.
    let disk = cache.disk().expect("a disk");
    disk.forget_one(&key(1));
    cache.given(&key(1), &entry);
    written(&cache).await;
    assert!(is_on_disk(&cache, &key(1)));
    // What has been forgotten since it was found is not.
    cache.forget(&|_| true);
    sleep(Duration::from_millis(1100)).await;
    cache.given(&key(1), &entry);
    written(&cache).await;
    assert!(!is_on_disk(&cache, &key(1)));
    drop(folder);
}

#[tokio::test]
async fn what_is_given_from_memory_goes_to_the_front_of_the_queue() {
    let (cache, _folder, _) = cache(&settings(64 << 20, 64 << 20));
    for at in 0..400 {
        land(&cache, at, 20_000).await.expect("it lands");
    }
    let entry = cache.memory().find(&key(399)).expect("it is in memory");
    cache.given(&key(399), &entry);
    while !is_on_disk(&cache, &key(399)) {
        sleep(Duration::from_millis(1)).await;
    }
    let is_last = (0..399).all(|at| is_on_disk(&cache, &key(at)));
    let was_quick = cache.0.behind.queue().others.is_empty();
    assert!(!is_last || was_quick, "it came last");
    written(&cache).await;
    assert!((0..400).all(|at| is_on_disk(&cache, &key(at))));
}
