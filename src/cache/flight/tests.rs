use std::sync::atomic::Ordering;
use std::time::Duration;

use bytes::Bytes;
use futures_util::FutureExt;
use tempfile::TempDir;
use tokio::time;

use super::*;
use crate::body;
use crate::budget::ByteSize;
use crate::cache::pace::WINDOW;
use crate::cache::test::{identity, key};
use crate::cache::{Description, Hit, Settings, Terms};
use crate::metrics::Metrics;

const PATIENCE: Duration = Duration::from_secs(10);
const TERMS: Terms<'static> = Terms {
    lifetime: Duration::from_secs(60),
    etag: None,
    is_no_store: false,
};
const CHUNK: usize = 64 << 10;

fn cache(memory: u64, disk: u64) -> (Cache, TempDir) {
    let folder = tempfile::tempdir().expect("a folder");
    let settings = Settings {
        memory: ByteSize(memory),
        disk: ByteSize(disk),
        ..Settings::default()
    };
    let cache = Cache::open(&settings, folder.path(), &Metrics::new()).expect("a folder");
    (cache, folder)
}

fn take_off(cache: &Cache, length: Option<u64>) -> (Writer, Arc<Pace>) {
    let pace = Arc::new(Pace::new());
    let description = Description {
        identity: identity(1),
        length,
    };
    let writer = cache.take_off(key(1), description, &TERMS, &pace);
    (writer.expect("it is not known"), pace)
}

/// Bytes that say where they are.
fn chunk(at: usize) -> Bytes {
    (0..CHUNK)
        .map(|byte| u8::try_from((at * 7 + byte) % 251).expect("a byte"))
        .collect()
}

fn chunks(count: usize) -> Vec<u8> {
    (0..count).flat_map(chunk).collect()
}

async fn read(mut body: Body) -> Result<Vec<u8>, body::Error> {
    let mut all = Vec::new();
    while let Some(chunk) = body.chunk().await? {
        all.extend_from_slice(&chunk);
    }
    Ok(all)
}

#[tokio::test]
async fn everybody_reads_all_of_it_from_the_start_in_memory_and_in_a_file() {
    // What fits, and what must go to a file.
    for (memory, count) in [(256 << 20, 10), (1 << 20, 40)] {
        let (cache, _folder) = cache(memory, 1 << 30);
        let (mut writer, _pace) = take_off(&cache, None);
        let flight = Arc::clone(writer.flight());
        let early = tokio::spawn(read(flight.follow().expect("the start")));
        let mut late = None;
        for at in 0..count {
            writer.push(chunk(at), PATIENCE).await.expect("room");
            if at == count / 2 {
                late = Some(tokio::spawn(read(flight.follow().expect("the start"))));
            }
        }
        writer.land().await.expect("no length was promised");
        let last = read(flight.follow().expect("the start")).await;
        let late = late.expect("it came").await.expect("no panic");
        for read in [early.await.expect("no panic"), late, last] {
            assert!(read == Ok(chunks(count)), "{memory}");
        }
        // And it is kept.
        assert!(match cache.find(&key(1)) {
            Some(Hit::Memory(entry)) => count == 10 && entry.bytes == chunks(10),
            Some(Hit::Disk(stored)) => count == 40 && stored.length == (40 * CHUNK) as u64,
            Some(Hit::Flight(_)) | None => false,
        });
    }
}

#[tokio::test]
async fn without_a_disk_it_passes_by_at_the_pace_of_its_slowest_reader() {
    let (cache, _folder) = cache(1 << 20, 0);
    let (mut writer, _pace) = take_off(&cache, None);
    let flight = Arc::clone(writer.flight());
    let mut reader = flight.follow().expect("the start");
    let pushing = tokio::spawn(async move {
        for at in 0..80 {
            writer.push(chunk(at), PATIENCE).await.expect("a reader");
        }
        writer.land().await
    });
    let mut all = Vec::new();
    while let Some(chunk) = reader.chunk().await.expect("it comes") {
        all.extend_from_slice(&chunk);
        let state = flight.state();
        let bound = (1 << 20) + WINDOW + 2 * CHUNK as u64;
        assert!(state.held() <= bound, "{}", state.held());
    }
    assert!(all == chunks(80));
    assert_eq!(pushing.await.expect("no panic"), Ok(()));
    assert!(cache.find(&key(1)).is_none(), "there is no room for it");
    assert!(flight.follow().is_none(), "its start is gone");
}

#[tokio::test]
async fn what_passes_by_ends_when_nobody_reads_it() {
    let (cache, _folder) = cache(1 << 20, 0);
    let (mut writer, _pace) = take_off(&cache, None);
    let reader = writer.flight().follow().expect("the start");
    drop(reader);
    let mut outcome = Ok(());
    for at in 0..80 {
        outcome = writer.push(chunk(at), PATIENCE).await;
        if outcome.is_err() {
            break;
        }
    }
    assert_eq!(outcome, Err(Unread));
}

#[tokio::test]
async fn what_is_shorter_than_promised_or_crashes_is_not_kept() {
    let (cache, _folder) = cache(64 << 20, 1 << 30);
    let (mut writer, _) = take_off(&cache, Some(3 * CHUNK as u64));
    let flight = Arc::clone(writer.flight());
    let reader = flight.follow().expect("the start");
    writer.push(chunk(0), PATIENCE).await.expect("room");
    assert_eq!(writer.land().await, Err(body::Error::Truncated));
    assert_eq!(read(reader).await, Err(body::Error::Truncated));
    assert!(cache.find(&key(1)).is_none() && !flight.can_be_joined());
    // Dropped on the way: a source that is given up.
    let (mut writer, _) = take_off(&cache, None);
    let reader = writer.flight().follow().expect("the start");
    writer.push(chunk(0), PATIENCE).await.expect("room");
    drop(writer);
    assert_eq!(read(reader).await, Err(body::Error::Abandoned));
    assert!(cache.find(&key(1)).is_none());
}

#[tokio::test]
async fn what_is_forgotten_on_the_way_is_delivered_and_kept_nowhere() {
    for (memory, count) in [(256 << 20, 3), (1 << 20, 40)] {
        let (cache, folder) = cache(memory, 1 << 30);
        let (mut writer, _) = take_off(&cache, None);
        let reader = writer.flight().follow().expect("the start");
        for at in 0..count {
            writer.push(chunk(at), PATIENCE).await.expect("room");
        }
        assert_eq!(cache.forget(&|_| true), 1);
        assert_eq!(writer.land().await, Ok(()));
        assert!(read(reader).await == Ok(chunks(count)));
        assert!(cache.find(&key(1)).is_none());
        for below in std::fs::read_dir(folder.path()).expect("it is there") {
            let left = std::fs::read_dir(below.expect("a folder").path());
            assert_eq!(left.expect("a folder").count(), 0);
        }
    }
}

#[tokio::test]
async fn room_that_was_taken_is_given_back() {
    let (cache, _folder) = cache(1 << 20, 1 << 30);
    let budget = cache.flight_budget();
    let before = (
        budget.left.load(Ordering::Acquire),
        budget.spill_left.load(Ordering::Acquire),
    );
    for end in 0..3 {
        let (mut writer, _) = take_off(&cache, None);
        for at in 0..40 {
            writer.push(chunk(at), PATIENCE).await.expect("room");
        }
        assert!(budget.spill_left.load(Ordering::Acquire) < before.1);
        match end {
            0 => writer.land().await.expect("no length was promised"),
            1 => writer.crash(body::Error::Silent),
            _ => drop(writer),
        }
        cache.forget(&|_| true);
        let after = (
            budget.left.load(Ordering::Acquire),
            budget.spill_left.load(Ordering::Acquire),
        );
        assert_eq!(after, before, "{end}");
    }
}

#[tokio::test]
async fn a_disk_that_takes_nothing_keeps_nobody_from_reading() {
    let (cache, folder) = cache(1 << 20, 1 << 30);
    let in_the_way = || (0..256).map(|at| folder.path().join(format!("{at:02x}")));
    for path in in_the_way() {
        std::fs::write(path, "in the way").expect("written");
    }
    let (mut writer, _) = take_off(&cache, None);
    let reader = writer.flight().follow().expect("the start");
    let reading = tokio::spawn(read(reader));
    for at in 0..40 {
        writer.push(chunk(at), PATIENCE).await.expect("a reader");
    }
    writer.land().await.expect("no length was promised");
    assert!(reading.await.expect("no panic") == Ok(chunks(40)));
    // It recovers by itself.
    for path in in_the_way() {
        std::fs::remove_file(path).expect("it is there");
    }
    let (mut writer, _) = take_off(&cache, None);
    for at in 0..40 {
        writer.push(chunk(at), PATIENCE).await.expect("room");
    }
    writer.land().await.expect("no length was promised");
    assert!(matches!(cache.find(&key(1)), Some(Hit::Disk(_))));
}

#[tokio::test]
async fn a_fetch_goes_no_faster_than_its_fastest_reader() {
    let (cache, _folder) = cache(64 << 20, 0);
    let (mut writer, pace) = take_off(&cache, None);
    let flight = Arc::clone(writer.flight());
    let (mut fast, _slow) = (flight.follow(), flight.follow());
    let mut pushed = 0;
    while pace.go_on(PATIENCE).now_or_never().is_some() {
        writer.push(chunk(pushed), PATIENCE).await.expect("room");
        pushed += 1;
        assert!(pushed * CHUNK <= 2 << 20, "nobody has read anything");
    }
    let fast = fast.as_mut().expect("the start");
    for _ in 0..4 {
        fast.chunk().await.expect("it is here");
    }
    assert!(pace.go_on(PATIENCE).now_or_never().is_some());
}

#[tokio::test(start_paused = true)]
async fn a_fetch_that_nobody_wants_or_reads_stops() {
    use crate::cache::pace::{Halt, Interest};
    let pace = Arc::new(Pace::new());
    assert_eq!(pace.go_on(PATIENCE).await, Err(Halt::Unwanted));
    let interest = Interest::of(&pace);
    assert_eq!(pace.go_on(PATIENCE).await, Ok(()));
    pace.count(2 << 20);
    assert_eq!(pace.go_on(PATIENCE).await, Err(Halt::Stalled));
    pace.read_to(2 << 20);
    assert_eq!(pace.go_on(PATIENCE).await, Ok(()));
    drop(interest);
    assert!(!pace.is_wanted());
    pace.run_ahead(8 << 20);
    pace.count(3 << 20);
    assert_eq!(pace.go_on(PATIENCE).await, Ok(()), "nobody need want it");
}

/// A flight that passes by from its start.
fn take_off_unkept(cache: &Cache) -> (Writer, Arc<Pace>) {
    let pace = Arc::new(Pace::new());
    let description = Description {
        identity: identity(1),
        length: None,
    };
    let terms = Terms {
        is_no_store: true,
        ..TERMS
    };
    let writer = cache.take_off(key(1), description, &terms, &pace);
    (writer.expect("it is not known"), pace)
}

#[tokio::test]
async fn a_flight_that_passes_by_can_be_followed_before_its_first_bytes() {
    use crate::cache::pace::Interest;
    // There is no tier, there is none for this one, and the source does not want it kept.
    for (memory, is_no_store) in [(0, false), (1 << 10, false), (64 << 20, true)] {
        let (cache, _folder) = cache(memory, 0);
        let (mut writer, pace) = match is_no_store {
            true => take_off_unkept(&cache),
            false => take_off(&cache, Some(CHUNK as u64)),
        };
        let _interest = Interest::of(&pace);
        let reader = writer.flight().follow().expect("the start");
        assert!(!writer.flight().will_be_kept() && cache.find(&key(1)).is_none());
        writer.push(chunk(0), PATIENCE).await.expect("a reader");
        writer.land().await.expect("its length");
        assert!(read(reader).await == Ok(chunks(1)), "{memory}");
    }
}

#[tokio::test]
async fn a_flight_that_passes_by_waits_for_its_first_reader() {
    use crate::cache::pace::Interest;
    let (cache, _folder) = cache(0, 0);
    for count in [1, 15] {
        let (mut writer, pace) = take_off_unkept(&cache);
        let _interest = Interest::of(&pace);
        let flight = Arc::clone(writer.flight());
        for at in 0..count {
            writer
                .push(chunk(at), PATIENCE)
                .await
                .expect("it is awaited");
        }
        writer.land().await.expect("no length was promised");
        let reader = flight.follow().expect("it has not begun to let go");
        assert!(read(reader).await == Ok(chunks(count)));
    }
}

#[tokio::test(start_paused = true)]
async fn what_passes_by_holds_no_more_than_a_window_for_a_reader_that_does_not_come() {
    use crate::cache::pace::Interest;
    let (cache, _folder) = cache(0, 0);
    let (mut writer, pace) = take_off_unkept(&cache);
    let _interest = Interest::of(&pace);
    let mut pushed = 0;
    while writer.push(chunk(0), PATIENCE).await.is_ok() {
        pushed += CHUNK;
        assert!(pushed <= WINDOW as usize + CHUNK);
    }
    assert!(pushed >= WINDOW as usize);
}

#[tokio::test(start_paused = true)]
async fn a_reader_that_stops_is_left_behind_and_the_other_goes_on() {
    let (cache, _folder) = cache(0, 0);
    let (mut writer, _pace) = take_off_unkept(&cache);
    let flight = Arc::clone(writer.flight());
    let (fast, mut stopped) = (flight.follow(), flight.follow().expect("the start"));
    let reading = tokio::spawn(read(fast.expect("the start")));
    for at in 0..80 {
        writer
            .push(chunk(at), 20 * PATIENCE)
            .await
            .expect("a reader");
    }
    writer.land().await.expect("no length was promised");
    assert!(reading.await.expect("no panic") == Ok(chunks(80)));
    assert_eq!(stopped.chunk().await, Err(body::Error::Abandoned));
}

#[tokio::test(start_paused = true)]
async fn a_slow_reader_is_not_left_behind() {
    let (cache, _folder) = cache(0, 0);
    let (mut writer, _pace) = take_off_unkept(&cache);
    let flight = Arc::clone(writer.flight());
    let (fast, slow) = (flight.follow(), flight.follow());
    let reading = tokio::spawn(read(fast.expect("the start")));
    // 128 KiB/s.
    let mut slow = slow.expect("the start");
    let slowly = tokio::spawn(async move {
        let mut all = Vec::new();
        while let Some(chunk) = slow.chunk().await? {
            all.extend_from_slice(&chunk);
            time::sleep(Duration::from_millis(500)).await;
        }
        Ok::<_, body::Error>(all)
    });
    for at in 0..80 {
        writer.push(chunk(at), PATIENCE).await.expect("a reader");
    }
    writer.land().await.expect("no length was promised");
    assert!(reading.await.expect("no panic") == Ok(chunks(80)));
    assert!(slowly.await.expect("no panic") == Ok(chunks(80)));
}

#[tokio::test]
async fn what_is_passed_over_holds_up_no_fetch() {
    use crate::cache::pace::Interest;
    let (cache, _folder) = cache(64 << 20, 0);
    let (mut writer, pace) = take_off(&cache, None);
    let _interest = Interest::of(&pace);
    writer.push(chunk(0), PATIENCE).await.expect("room");
    writer.flight().pass_over();
    for at in 1..80 {
        writer.push(chunk(at), PATIENCE).await.expect("room");
        assert!(pace.go_on(PATIENCE).now_or_never().is_some(), "{at}");
    }
    drop(writer);
    // What passes by ends there.
    let (mut writer, pace) = take_off_unkept(&cache);
    let _interest = Interest::of(&pace);
    writer.flight().pass_over();
    assert_eq!(writer.push(chunk(0), PATIENCE).await, Err(Unread));
}

#[tokio::test]
async fn a_reader_passes_over_what_is_here_and_what_is_not_here_yet() {
    // In memory, in a file, and passing by.
    for (memory, disk) in [(256 << 20, 0), (1 << 20, 1 << 30), (1 << 20, 0)] {
        let (cache, _folder) = cache(memory, disk);
        let (mut writer, pace) = take_off(&cache, Some(40 * CHUNK as u64));
        let flight = Arc::clone(writer.flight());
        let all = chunks(40);
        let from = |at: usize| flight.follow().map(|body| (at, body));
        let at = [0, 1, CHUNK - 1, 10 * CHUNK + 7, 40 * CHUNK - 1, 40 * CHUNK];
        let early: Vec<_> = at.into_iter().filter_map(from).collect();
        let skipping = |(at, mut body): (usize, Body)| async move {
            assert!(body.pass_over(at as u64));
            assert!(!body.pass_over(40 * CHUNK as u64 + 1), "nothing is there");
            (at, read(body).await)
        };
        let early: Vec<_> = early.into_iter().map(skipping).map(tokio::spawn).collect();
        tokio::task::yield_now().await;
        for at in 0..40 {
            writer.push(chunk(at), PATIENCE).await.expect("room");
        }
        writer.land().await.expect("its length is right");
        for reading in early {
            let (at, rest) = reading.await.expect("no panic");
            assert!(rest == Ok(all[at..].to_vec()), "{memory} {disk}: {at}");
        }
        assert_eq!(pace.read(), all.len() as u64);
        // Behind a chunk that has been read; in memory, all of it is one chunk by now.
        if let Some(mut body) = flight.follow().filter(|_| memory == 1 << 20) {
            let first = body.chunk().await.expect("it is here");
            let read_so_far = first.expect("not its end").len();
            assert!(body.pass_over(CHUNK as u64));
            let rest = read(body).await;
            assert!(rest == Ok(all[read_so_far + CHUNK..].to_vec()), "{disk}");
        }
    }
}
