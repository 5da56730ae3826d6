use std::sync::atomic::AtomicUsize;
use std::time::Duration;

use tokio::sync::Notify;
use tokio::task::yield_now;

use super::*;
use crate::cache::pace::Interest;

/// A transfer that brings one item for each signal of a source, and hands each over.
struct Rig {
    pace: Arc<Pace>,
    source: Arc<Notify>,
    brought: Arc<AtomicUsize>,
    /// Dropped with the transfer.
    alive: std::sync::Weak<()>,
}

impl Rig {
    fn new() -> Self {
        let (pace, source) = (Arc::new(Pace::new()), Arc::new(Notify::new()));
        let (brought, alive) = (Arc::<AtomicUsize>::default(), Arc::new(()));
        let rig = Self {
            pace: Arc::clone(&pace),
            source: Arc::clone(&source),
            brought: Arc::clone(&brought),
            alive: Arc::downgrade(&alive),
        };
        let bringing = Arc::clone(&pace);
        pace.hold(async move {
            let _alive = alive;
            loop {
                source.notified().await;
                brought.fetch_add(1, Ordering::SeqCst);
                bringing.hand_over().await;
            }
        });
        rig
    }

    fn brought(&self) -> usize {
        self.brought.load(Ordering::SeqCst)
    }

    /// Drives until so many items have come.
    async fn read(&self, items: usize) {
        poll_fn(|context| {
            loop {
                if self.brought() >= items {
                    return Poll::Ready(());
                }
                if !self.pace.drive(context) {
                    return Poll::Pending;
                }
            }
        })
        .await;
    }

    fn has_task(&self) -> bool {
        self.pace.transfer.has_task.load(Ordering::SeqCst)
    }
}

#[tokio::test]
async fn who_reads_drives_and_gets_one_item_at_a_time() {
    let rig = Rig::new();
    let _interest = Interest::of(&rig.pace);
    for items in 1..=3 {
        rig.source.notify_one();
        yield_now().await;
        assert_eq!(rig.brought(), items - 1, "nothing else polls it");
        rig.read(items).await;
    }
    assert!(!rig.has_task());
}

#[tokio::test]
async fn a_second_task_that_reads_gives_it_a_task() {
    let rig = Arc::new(Rig::new());
    let _interest = Interest::of(&rig.pace);
    rig.source.notify_one();
    rig.read(1).await;
    let other = Arc::clone(&rig);
    let read = tokio::spawn(async move {
        tokio::time::timeout(Duration::from_millis(50), other.read(2)).await
    });
    let outcome = read.await.expect("no panic");
    assert!(outcome.is_err() && rig.has_task());
    // Neither reader polls it now.
    rig.source.notify_one();
    while rig.brought() < 2 {
        yield_now().await;
    }
}

#[tokio::test]
async fn it_ends_with_its_last_reader() {
    for is_released in [false, true] {
        let rig = Rig::new();
        let interest = Interest::of(&rig.pace);
        if is_released {
            rig.pace.release();
            yield_now().await;
        }
        assert!(rig.alive.upgrade().is_some());
        drop(interest);
        for _ in 0..10 {
            yield_now().await;
        }
        assert!(rig.alive.upgrade().is_none(), "{is_released}");
    }
}

#[tokio::test]
async fn one_that_runs_ahead_needs_no_reader() {
    let rig = Rig::new();
    let interest = Interest::of(&rig.pace);
    rig.pace.run_ahead(1 << 20);
    drop(interest);
    rig.source.notify_one();
    while rig.brought() < 1 {
        yield_now().await;
    }
    rig.pace.run_no_more_ahead();
    for _ in 0..10 {
        yield_now().await;
    }
    assert!(rig.alive.upgrade().is_none());
}

#[tokio::test]
async fn one_for_a_kept_instance_outlives_its_reader() {
    for requests in 1..=2 {
        for is_released in [false, true] {
            let rig = Rig::new();
            let interest = Interest::of(&rig.pace);
            rig.pace.keep_rest(None);
            (1..=requests).for_each(|request| rig.pace.read_for(request));
            if is_released {
                rig.pace.release();
                yield_now().await;
            }
            drop(interest);
            assert!(rig.pace.is_wanted());
            assert_eq!(rig.pace.is_finishing(), requests > 1);
            for items in 1..=3 {
                rig.source.notify_one();
                while rig.brought() < items {
                    yield_now().await;
                }
            }
            // Another reader comes and goes.
            drop(Interest::of(&rig.pace));
            assert!(rig.alive.upgrade().is_some());
            rig.pace.drop_rest();
            for _ in 0..10 {
                yield_now().await;
            }
            assert!(rig.alive.upgrade().is_none(), "{requests} {is_released}");
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_threads_that_read_lose_no_wake_up() {
    for _ in 0..200 {
        let rig = Arc::new(Rig::new());
        let _interest = Interest::of(&rig.pace);
        let feed = Arc::clone(&rig);
        let source = tokio::spawn(async move {
            while feed.brought() < 20 {
                feed.source.notify_one();
                yield_now().await;
            }
        });
        let readers = (0..2).map(|_| {
            let rig = Arc::clone(&rig);
            tokio::spawn(async move {
                for items in 1..=20 {
                    while rig.brought() < items {
                        let read = rig.read(items);
                        // A waiter of a log is woken by it; this rig has none.
                        let _ = tokio::time::timeout(Duration::from_millis(1), read).await;
                    }
                }
            })
        });
        let readers: Vec<_> = readers.collect();
        for reader in readers {
            let read = tokio::time::timeout(Duration::from_secs(10), reader);
            read.await.expect("it comes").expect("no panic");
        }
        source.await.expect("no panic");
    }
}
