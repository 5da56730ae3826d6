//! A broken object costs only the clients that request it. A dead address is noticed after three
//! failures nevertheless, and again when it is back.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use futures_util::future::join_all;
use tokio::time::{Instant, sleep, timeout};

use crate::rig::origin::{Asked, End, Origin, Reply, honest};
use crate::rig::study::{EXPLICIT, Instance, Study, at, location_uid};
use crate::rig::{AS_STORED, Rig, sorted};

/// Keeps a failed test from hanging.
const LONG: Duration = Duration::from_secs(120);
const CLIENTS: usize = 8;

/// What is wrong with an object.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fault {
    Truncated,
    /// Less than the `Content-Length` of HTTP.
    BrokenOff,
    Status(u16),
    AskedToWait(u16),
    Silent,
    /// Silent once the instance has begun.
    SilentLater,
    HungUp,
    Reset,
    Malformed,
    NotDicom,
}

const FAULTS: [Fault; 15] = [
    Fault::Truncated,
    Fault::BrokenOff,
    Fault::Status(404),
    Fault::Status(429),
    Fault::Status(500),
    Fault::Status(502),
    Fault::Status(503),
    Fault::AskedToWait(429),
    Fault::AskedToWait(503),
    Fault::Silent,
    Fault::SilentLater,
    Fault::HungUp,
    Fault::Reset,
    Fault::Malformed,
    Fault::NotDicom,
];

impl Fault {
    fn spoil(self, reply: Reply) -> Reply {
        match self {
            Self::Truncated => {
                let whole = reply.whole_body();
                let mut half = reply.clone();
                half.body = Reply::bytes("", whole.slice(..whole.len() / 2)).body;
                half
            }
            Self::BrokenOff => {
                let half = reply.whole_body().len() / 2;
                reply.cut(half).ending(End::Close)
            }
            Self::Status(status) => Reply::status(status),
            Self::AskedToWait(status) => Reply::status(status).with_field("Retry-After", "2"),
            Self::Silent => Reply::status(0).cut(0).ending(End::Silence),
            Self::SilentLater => reply.cut(900).ending(End::Silence),
            Self::HungUp => Reply::status(0).cut(0).ending(End::Close),
            Self::Reset => Reply::status(0).cut(0).ending(End::Reset),
            Self::Malformed => reply.with_type("multipart/related; type=\"application/dicom\""),
            Self::NotDicom => Reply::text(200, "text/html", "<p>under maintenance"),
        }
    }
}

/// One in five, and several in a row now and then (SplitMix64).
fn is_bad(at: usize) -> bool {
    let mut word = (at as u64).wrapping_mul(0x9E37_79B9_7F4A_7C15);
    word = (word ^ (word >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    (word ^ (word >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB) >> 32 & 0xff < 51
}

/// Answers with its instances; one single instance or series in five is bad, by its number.
async fn one_in_five_is_bad(study: &Study, fault: Fault) -> (Origin, Vec<bool>) {
    let (held, mut numbers) = (study.instances(), HashMap::new());
    let is_one_series = study.series.len() == 1;
    let bad: Vec<_> = (0..study.series.len().max(held.len()))
        .map(is_bad)
        .collect();
    for (number, series) in study.series.iter().enumerate() {
        for (at, instance) in series.instances.iter().enumerate() {
            let number = if is_one_series { at } else { number };
            numbers.insert(instance.path(), bad[number]);
        }
        numbers.insert(study.series_path(number), !is_one_series && bad[number]);
    }
    let script = move |asked: &Asked| {
        let reply = honest(&held, asked);
        let path = asked.path.strip_prefix("/rs/").unwrap_or_default();
        match numbers.get(path) {
            Some(true) => fault.spoil(reply),
            Some(false) | None => reply,
        }
    };
    (Origin::start(script).await, bad)
}

/// Kept nowhere: each request goes to the source.
const NO_CACHE: &str = "[cache]\nmemory = \"0\"\ndisk = \"0\"\n";

/// Asks for every path, several at a time; how many of the good ones were answered with these bytes.
async fn answered(rig: &Rig, paths: &[(String, Vec<bytes::Bytes>)], bad: &[bool]) -> usize {
    let (next, good) = (AtomicUsize::new(0), AtomicUsize::new(0));
    let client = async || {
        loop {
            let at = next.fetch_add(1, Ordering::Relaxed);
            let Some((path, bytes)) = paths.get(at) else {
                return;
            };
            let answer = rig.get(path, &[AS_STORED]).await;
            if bad[at] {
                let is_good = answer.status == 200 && answer.is_whole();
                assert!(!is_good, "{answer:?}");
            } else if answer.status == 200 && answer.is_whole() && answer.instances() == *bytes {
                good.fetch_add(1, Ordering::Relaxed);
            }
        }
    };
    let clients = (0..CLIENTS).map(|_| client());
    timeout(LONG, join_all(clients)).await.expect("in time");
    good.into_inner()
}

fn is_nearly_all(fault: Fault, good: usize, bad: &[bool]) {
    let there = bad.iter().filter(|is_bad| !**is_bad).count();
    assert!(there < bad.len() * 9 / 10, "enough is bad");
    assert!(good * 100 >= there * 99, "{fault:?}: {good} of {there}");
}

/// What is silent takes its time, during which the others are tried.
async fn with_each_fault(check: impl AsyncFn(Fault)) {
    let is_silent = |fault: &Fault| matches!(fault, Fault::Silent | Fault::SilentLater);
    let check = &check;
    let others = async {
        for fault in FAULTS.into_iter().filter(|fault| !is_silent(fault)) {
            check(fault).await;
        }
    };
    let silent = FAULTS.into_iter().filter(is_silent);
    let silent = join_all(silent.map(async |fault| check(fault).await));
    tokio::join!(others, silent);
}

/// A gateway in front of it that does not wait long.
fn impatient(origin: &Origin) -> Rig {
    let times = "connect_seconds = 1\nfirst_byte_seconds = 1\nsilence_seconds = 2";
    Rig::start(&format!("{NO_CACHE}{}", origin.location_with(10, times)))
}

#[tokio::test]
async fn of_single_instances_the_good_ones_are_answered_whatever_is_wrong_with_the_others() {
    const INSTANCES: usize = 200;
    with_each_fault(async |fault| {
        let study = Study::new(1).with_series(at(10), vec![(EXPLICIT, 2000); INSTANCES]);
        let (origin, bad) = one_in_five_is_bad(&study, fault).await;
        let rig = impatient(&origin);
        let root = rig.register(study.fhir()).await.root;
        let path = |one: &Instance| (format!("{root}{}", one.path()), vec![one.bytes.clone()]);
        let paths: Vec<_> = study.instances().iter().map(path).collect();
        let good = answered(&rig, &paths, &bad).await;
        is_nearly_all(fault, good, &bad);
    })
    .await;
}

#[tokio::test]
async fn of_series_the_good_ones_are_answered_whatever_is_wrong_with_the_others() {
    const SERIES: usize = 150;
    with_each_fault(async |fault| {
        let study = (0..SERIES).fold(Study::new(2), |study, _| {
            study.with_series(at(10), vec![(EXPLICIT, 2000); 2])
        });
        let (origin, bad) = one_in_five_is_bad(&study, fault).await;
        let rig = impatient(&origin);
        let root = rig.register(study.fhir()).await.root;
        let paths = (0..SERIES).map(|at| {
            let instances = study.series[at].instances.iter();
            let bytes = sorted(instances.map(|one| one.bytes.clone()));
            (format!("{root}{}", study.series_path(at)), bytes)
        });
        let paths: Vec<_> = paths.collect();
        let good = answered(&rig, &paths, &bad[..SERIES]).await;
        is_nearly_all(fault, good, &bad[..SERIES]);
    })
    .await;
}

/// A series of which one instance in five is bad, also within the answer for the series.
#[tokio::test]
async fn in_a_series_a_bad_instance_takes_no_good_one_along() {
    const INSTANCES: usize = 40;
    // Not one that breaks off once its part has begun: nothing can follow in the same answer then.
    for fault in [Fault::NotDicom, Fault::Status(500), Fault::AskedToWait(503)] {
        let study = Study::new(3).with_series(at(10), vec![(EXPLICIT, 2000); INSTANCES]);
        let held = study.instances();
        let script = move |asked: &Asked| {
            let reply = honest(&held, asked);
            let named = |one: &Instance| asked.path.ends_with(&one.path());
            match held.iter().position(named) {
                // The series breaks off at its first bad instance, after some good ones.
                None => reply.cut(6000).ending(End::Close),
                Some(at) if at > 1 && is_bad(at) => fault.spoil(reply),
                Some(_) => reply,
            }
        };
        let origin = Origin::start(script).await;
        let rig = Rig::start(&origin.location(10));
        let root = rig.register(study.fhir()).await.root;
        let path = format!("{root}{}", study.path());
        let answer = timeout(LONG, rig.get(&path, &[AS_STORED])).await;
        let (parts, is_closed) = answer.expect("in time").split();
        assert!(!is_closed, "some of it does not come");
        let good = (0..INSTANCES).filter(|at| *at <= 1 || !is_bad(*at)).count();
        // The boundary behind the last one is what does not come.
        assert_eq!(parts.len(), good - 1, "{fault:?}");
    }
}

/// A server that is switched off and on.
async fn switched(study: &Study, dead: fn() -> Reply) -> (Origin, Arc<AtomicBool>) {
    let held = study.instances();
    let alive = Arc::new(AtomicBool::new(true));
    let is_alive = Arc::clone(&alive);
    let script = move |asked: &Asked| match is_alive.load(Ordering::SeqCst) {
        true => honest(&held, asked),
        false => dead(),
    };
    (Origin::start(script).await, alive)
}

fn hang_up() -> Reply {
    Fault::HungUp.spoil(Reply::status(200))
}

/// What was asked of a server for a viewer.
fn asked(origin: &Origin) -> usize {
    let paths = origin.paths();
    paths
        .iter()
        .filter(|path| path.contains("/series/"))
        .count()
}

fn single_instances(study: u32, instances: usize) -> Study {
    Study::new(study).with_series(at(10), vec![(EXPLICIT, 2000); instances])
}

#[tokio::test]
async fn an_address_that_dies_costs_three_tries_and_is_found_again() {
    for dead in [hang_up, || Reply::status(503), || Reply::status(502)] {
        let study = single_instances(4, 60);
        let (origin, alive) = switched(&study, dead).await;
        let rig = Rig::start(&format!("{NO_CACHE}{}", origin.location(10)));
        let root = rig.register(study.fhir()).await.root;
        let ask = async |at: usize| {
            let path = format!("{root}{}", study.instances()[at].path());
            rig.get(&path, &[AS_STORED]).await
        };
        for at in 0..40 {
            assert_eq!(ask(at).await.status, 200);
        }
        alive.store(false, Ordering::SeqCst);
        let before = asked(&origin);
        let began = Instant::now();
        for at in 40..60 {
            assert_ne!(ask(at).await.status, 200);
        }
        // A trial may have been due in the meantime; each hang-up is tried once more at once.
        let most = 2 * (3 + began.elapsed().as_secs() as usize);
        assert!(asked(&origin) - before <= most, "{:?}", origin.paths());
        alive.store(true, Ordering::SeqCst);
        let back = async {
            // One that has failed before.
            while ask(45).await.status != 200 {
                sleep(Duration::from_millis(50)).await;
            }
        };
        timeout(LONG, back).await.expect("it is found again");
        for at in 0..60 {
            assert_eq!(ask(at).await.status, 200);
        }
    }
}

#[tokio::test]
async fn an_address_that_nobody_listens_at_costs_three_tries() {
    let study = single_instances(5, 20);
    let origin = Origin::of(&study).await;
    let location = origin.location(10);
    drop(origin);
    let rig = Rig::start(&location);
    let root = rig.register(study.fhir()).await.root;
    let began = Instant::now();
    let mut statuses = HashMap::new();
    for instance in study.instances() {
        let path = format!("{root}{}", instance.path());
        let answer = rig.get(&path, &[AS_STORED]).await;
        *statuses.entry(answer.status.as_u16()).or_insert(0) += 1;
    }
    let most = 3 + began.elapsed().as_secs();
    assert!(statuses[&502] <= most, "{statuses:?}");
    assert!(statuses[&503] > 0);
}

#[tokio::test]
async fn an_object_that_the_first_address_cannot_give_comes_from_the_second() {
    let study = single_instances(6, 100);
    let (held, numbers) = (study.instances(), study.instances());
    let number = move |asked: &Asked| {
        let named = |one: &Instance| asked.path.ends_with(&one.path());
        numbers.iter().position(named)
    };
    let first = Origin::start(move |asked| {
        let reply = honest(&held, asked);
        match number(asked) {
            Some(at) if is_bad(at) => Fault::AskedToWait(503).spoil(reply),
            Some(_) | None => reply,
        }
    })
    .await;
    let second = Origin::of(&study).await;
    let location = format!(
        "[[location]]\nalias = \"pacs\"\nretrieve_location_uid = \"{}\"\n\
         wado_rs_url = \"{}\"\nmore_wado_rs_urls = [\"{}\"]\n",
        location_uid(10),
        first.url(),
        second.url()
    );
    let rig = Rig::start(&format!("{NO_CACHE}{location}"));
    let root = rig.register(study.fhir()).await.root;
    for instance in study.instances() {
        let path = format!("{root}{}", instance.path());
        let answer = rig.get(&path, &[AS_STORED]).await;
        assert_eq!(answer.status, 200);
        assert_eq!(answer.instances(), [instance.bytes]);
    }
    let open = "xcwado_breaker_state{address=\"1\",location=\"pacs\"}";
    assert_eq!(rig.metric(open).await, 0.0);
}

#[tokio::test]
async fn an_object_that_a_server_asks_time_for_rests_alone() {
    for status in [503, 429] {
        let study = single_instances(7, 2);
        let held = study.instances();
        let bad = held[0].path();
        let origin = Origin::start(move |asked| match asked.path.ends_with(&bad) {
            true => Reply::status(status).with_field("Retry-After", "30"),
            false => honest(&held, asked),
        })
        .await;
        let rig = Rig::start(&format!("{NO_CACHE}{}", origin.location(10)));
        let root = rig.register(study.fhir()).await.root;
        let ask = async |at: usize| {
            let path = format!("{root}{}", study.instances()[at].path());
            rig.get(&path, &[AS_STORED]).await
        };
        for _ in 0..5 {
            let refused = ask(0).await;
            assert_eq!(refused.status, 503);
            let seconds: u64 = refused.field("retry-after").parse().expect("seconds");
            assert!((1..=30).contains(&seconds));
            assert_eq!(ask(1).await.status, 200);
        }
        let bad = study.instances()[0].path();
        let times = origin.paths().iter().filter(|p| p.ends_with(&bad)).count();
        assert_eq!(times, 1, "{:?}", origin.paths());
    }
}

#[tokio::test]
async fn a_server_that_asks_time_for_everything_gets_it() {
    let study = single_instances(8, 40);
    let busy = |_asked: &Asked| Reply::status(503).with_field("Retry-After", "30");
    let origin = Origin::start(busy).await;
    let rig = Rig::start(&format!("{NO_CACHE}{}", origin.location(10)));
    let root = rig.register(study.fhir()).await.root;
    for instance in study.instances() {
        let path = format!("{root}{}", instance.path());
        assert_eq!(rig.get(&path, &[AS_STORED]).await.status, 503);
    }
    assert_eq!(asked(&origin), 3, "{:?}", origin.paths());
}
