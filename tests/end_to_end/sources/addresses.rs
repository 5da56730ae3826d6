//! Several addresses of one server: a dead one costs nothing, a resting one gets no request, and a
//! probe notices when one is back.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use tokio::time::{Instant, sleep, timeout};

use crate::rig::communities::THERE;
use crate::rig::origin::{Asked, End, Origin, Reply, honest, honest_below};
use crate::rig::study::{EXPLICIT, Study, at, location_uid};
use crate::rig::{AS_STORED, Answer, Rig, rad_160};

/// Keeps a failed test from hanging.
const LONG: Duration = Duration::from_secs(60);

/// Something that is switched on and off.
#[derive(Clone, Default)]
struct Switch(Arc<AtomicBool>);

impl Switch {
    fn set(&self, on: bool) {
        self.0.store(on, Ordering::SeqCst);
    }

    fn is_on(&self) -> bool {
        self.0.load(Ordering::SeqCst)
    }
}

/// Closes without an answer.
fn nothing() -> Reply {
    Reply::status(0).cut(0).ending(End::Close)
}

/// A server that closes every connection, and counts them.
async fn dead() -> Origin {
    Origin::start(|_asked| nothing()).await
}

/// Series of an instance each: nothing of an answer is needed for another.
fn study(series: usize) -> Study {
    (0..series).fold(Study::new(7), |study, _| {
        study.with_series(at(10), vec![(EXPLICIT, 2000)])
    })
}

/// A location that is at these addresses.
fn location(origins: &[&Origin]) -> String {
    let more: Vec<_> = origins[1..].iter().map(|origin| origin.url()).collect();
    let uid = location_uid(10);
    format!(
        "[[location]]\nalias = \"pacs\"\nretrieve_location_uid = \"{uid}\"\n\
         wado_rs_url = \"{}\"\nmore_wado_rs_urls = {more:?}\n",
        origins[0].url()
    )
}

/// What was asked of a server for a viewer.
fn asked(origin: &Origin) -> usize {
    let is_probe = |path: &&String| path.contains("studies?limit=1") || path.contains("/2.25.0");
    origin.paths().iter().filter(|path| !is_probe(path)).count()
}

struct Case {
    rig: Rig,
    root: String,
    study: Study,
}

impl Case {
    async fn new(study: Study, origins: &[&Origin]) -> Self {
        // Kept nowhere: each request goes to the source.
        let none = "[cache]\nmemory = \"0\"\ndisk = \"0\"\n";
        let rig = Rig::start(&format!("{none}{}", location(origins)));
        let root = rig.register(study.fhir()).await.root;
        Self { rig, root, study }
    }

    async fn series(&self, at: usize) -> Answer {
        let path = format!("{}{}", self.root, self.study.series_path(at));
        self.rig.get(&path, &[AS_STORED]).await
    }

    /// 0 closed, 1 half open, 2 open.
    async fn state(&self, address: usize) -> f64 {
        let labels = format!("{{address=\"{address}\",location=\"pacs\"}}");
        self.rig
            .metric(&format!("xcwado_breaker_state{labels}"))
            .await
    }
}

fn retry_after(answer: &Answer) -> Duration {
    assert_eq!(answer.status, 503, "{answer:?}");
    answer.problem();
    let seconds = answer.field("retry-after").parse().expect("seconds");
    Duration::from_secs(seconds)
}

#[tokio::test]
async fn the_second_address_answers_for_a_dead_first_one_which_then_costs_nothing() {
    const SERIES: usize = 30;
    let study = study(SERIES);
    let (first, second) = (dead().await, Origin::of(&study).await);
    let case = Case::new(study, &[&first, &second]).await;
    for at in 0..SERIES {
        let answer = case.series(at).await;
        assert_eq!(answer.status, 200);
        assert_eq!(answer.instances().len(), 1);
    }
    // Once, and once more as everything is tried that breaks before an answer.
    assert_eq!(asked(&first), 2, "{:?}", first.paths());
    assert_eq!(asked(&second), SERIES);
    let retries = "xcwado_source_retries_total{location=\"pacs\"}";
    assert_eq!(case.rig.metric(retries).await, 1.0);
}

#[tokio::test]
async fn a_dead_address_is_probed_ever_less_while_nobody_waits_for_it() {
    const SERIES: usize = 200;
    let study = study(SERIES);
    let (first, second) = (dead().await, Origin::of(&study).await);
    let case = Case::new(study, &[&first, &second]).await;
    let began = Instant::now();
    for at in 0..SERIES {
        assert_eq!(case.series(at).await.status, 200);
        sleep(Duration::from_millis(10)).await;
    }
    // A second after each failure; from the third on after 1, 2, 4 … seconds, a quarter less at most.
    let most = match began.elapsed().as_secs() {
        0..6 => 5,
        6..10 => 7,
        longer => longer,
    };
    assert!(first.connections() <= 2 * most, "{}", first.connections());
    assert_eq!(asked(&first), 2);
}

#[tokio::test]
async fn the_first_address_is_preferred_again_once_it_is_back() {
    let study = study(1);
    let held = study.instances();
    let alive = Switch::default();
    let is_alive = alive.clone();
    let script = move |asked: &Asked| match is_alive.is_on() {
        true => honest(&held, asked),
        false => nothing(),
    };
    let (first, second) = (Origin::start(script).await, Origin::of(&study).await);
    let case = Case::new(study, &[&first, &second]).await;
    assert_eq!(case.series(0).await.status, 200);
    alive.set(true);
    let before = asked(&first);
    let back = async {
        while asked(&first) == before {
            assert_eq!(case.series(0).await.status, 200);
            sleep(Duration::from_millis(20)).await;
        }
    };
    timeout(LONG, back).await.expect("it is found out");
    assert_eq!(case.state(1).await, 0.0);
}

#[tokio::test]
async fn when_all_addresses_are_dead_the_answer_is_503_at_once_and_nobody_is_asked() {
    let (first, second) = (dead().await, dead().await);
    let case = Case::new(study(1), &[&first, &second]).await;
    let (mut tries, began) = (0, Instant::now());
    let (answer, before) = loop {
        let before = first.connections() + second.connections();
        let answer = case.series(0).await;
        if answer.status == 503 {
            break (answer, before);
        }
        assert_eq!(answer.status, 502);
        tries += 1;
        // On a slow machine one may be due again before the next request.
        let is_slow = began.elapsed() > Duration::from_millis(700);
        assert!(tries <= 3 || is_slow, "three failures are enough");
    };
    assert!(retry_after(&answer) <= Duration::from_secs(30));
    assert_eq!(first.connections() + second.connections(), before);
    assert_eq!((case.state(1).await, case.state(2).await), (2.0, 2.0));
    let resting = "xcwado_source_requests_total{location=\"pacs\",outcome=\"resting\"}";
    assert!(case.rig.metric(resting).await >= 1.0);
}

#[tokio::test]
async fn a_request_finds_out_that_the_only_address_is_back() {
    let study = study(1);
    let held = study.instances();
    let alive = Switch::default();
    let is_alive = alive.clone();
    let script = move |asked: &Asked| match is_alive.is_on() {
        true => honest(&held, asked),
        false => nothing(),
    };
    let origin = Origin::start(script).await;
    let case = Case::new(study, &[&origin]).await;
    let rests = async {
        loop {
            let answer = case.series(0).await;
            if answer.status == 503 {
                return retry_after(&answer);
            }
        }
    };
    let wait = timeout(LONG, rests).await.expect("it is left alone");
    alive.set(true);
    sleep(wait).await;
    assert_eq!(case.series(0).await.status, 200);
    assert_eq!(case.state(1).await, 0.0);
}

/// A server that asks `times` requests to come back after some seconds, and behaves then.
async fn overloaded(study: &Study, times: u64, seconds: u64) -> Origin {
    let held = study.instances();
    let count = AtomicU64::new(0);
    Origin::start(move |asked| {
        if count.fetch_add(1, Ordering::SeqCst) < times {
            Reply::status(503).with_field("Retry-After", &seconds.to_string())
        } else {
            honest(&held, asked)
        }
    })
    .await
}

#[tokio::test]
async fn a_server_that_asks_for_time_gets_it() {
    let study = study(1);
    let origin = overloaded(&study, 1, 3).await;
    let case = Case::new(study, &[&origin]).await;
    let began = Instant::now();
    let answer = case.series(0).await;
    assert_eq!(retry_after(&answer), Duration::from_secs(3));
    let served = async {
        loop {
            let answer = case.series(0).await;
            if answer.status == 200 {
                return;
            }
            assert!(retry_after(&answer) <= Duration::from_secs(3));
            assert_eq!(asked(&origin), 1);
            sleep(Duration::from_millis(50)).await;
        }
    };
    timeout(LONG, served).await.expect("it is asked again");
    assert!(began.elapsed() >= Duration::from_secs(3));
    assert_eq!(asked(&origin), 2);
}

#[tokio::test]
async fn a_server_that_asks_for_an_hour_at_one_address_is_asked_at_the_other() {
    let study = study(3);
    let first = overloaded(&study, u64::MAX, 3600).await;
    let second = Origin::of(&study).await;
    let case = Case::new(study, &[&first, &second]).await;
    for at in 0..3 {
        assert_eq!(case.series(at).await.status, 200);
    }
    assert_eq!(asked(&first), 1);
    // It was said of one object, so it is the object that rests.
    assert_eq!((case.state(1).await, case.state(2).await), (0.0, 0.0));
}

#[tokio::test]
async fn a_definite_answer_is_not_asked_for_twice() {
    for status in [404, 410, 400, 401, 500, 429] {
        let study = study(1);
        let first = Origin::start(move |_asked| Reply::status(status)).await;
        let second = Origin::of(&study).await;
        let case = Case::new(study, &[&first, &second]).await;
        assert_ne!(case.series(0).await.status, 200, "{status}");
        assert_eq!(second.connections(), 0, "{status}");
        assert_eq!(case.state(1).await, 0.0, "{status}");
    }
}

#[tokio::test]
async fn what_stands_before_a_server_that_is_down_is_passed_by() {
    for status in [502, 503, 504] {
        let study = study(1);
        let first = Origin::start(move |_asked| Reply::status(status)).await;
        let second = Origin::of(&study).await;
        let case = Case::new(study, &[&first, &second]).await;
        assert_eq!(case.series(0).await.status, 200, "{status}");
        assert_eq!(asked(&first), 1, "{status}");
    }
}

#[tokio::test]
async fn too_many_requests_is_said_of_every_way_to_the_server() {
    let study = study(1);
    let busy = |_asked: &Asked| Reply::status(429).with_field("Retry-After", "20");
    let first = Origin::start(busy).await;
    let second = Origin::of(&study).await;
    let case = Case::new(study, &[&first, &second]).await;
    let answer = case.series(0).await;
    assert_eq!(retry_after(&answer), Duration::from_secs(20));
    assert!(retry_after(&case.series(0).await) <= Duration::from_secs(20));
    assert_eq!((first.connections(), second.connections()), (1, 0));
}

#[tokio::test]
async fn an_address_whose_streams_break_off_comes_after_one_whose_streams_do_not() {
    let study = study(2);
    let held = study.instances();
    let first = Origin::start(move |asked| honest(&held, asked).cut(900)).await;
    let second = Origin::of(&study).await;
    let case = Case::new(study, &[&first, &second]).await;
    // The other address may have been asked for what did not come, already in this answer.
    case.series(0).await;
    let before = asked(&first);
    assert!(before > 0);
    assert_eq!(case.series(1).await.status, 200);
    assert_eq!(asked(&first), before);
    assert!(asked(&second) > 0);
}

#[tokio::test]
async fn the_locations_of_a_gateway_share_what_is_known_of_its_addresses() {
    let study = study(1);
    let held = study.instances();
    let first = dead().await;
    let second = Origin::start(move |asked| {
        let root = asked.path.find("/studies").unwrap_or_default();
        honest_below(&asked.path[..=root], &held, asked)
    })
    .await;
    let rig = Rig::start(&format!(
        "[[community]]\nalias = \"pacs\"\nhome_community_id = \"{THERE}\"\n\
         gateway_url = \"http://{}/wado-rs/\"\nmore_gateway_urls = [\"http://{}/other/\"]\n",
        first.address, second.address
    ));
    for last in 20..30 {
        let path = rad_160(THERE, &location_uid(last), &study.path());
        let answer = rig.get(&path, &[AS_STORED]).await;
        assert_eq!(answer.status, 200, "{answer:?}");
        assert_eq!(answer.instances(), study.bytes());
    }
    assert_eq!(asked(&first), 2, "{:?}", first.paths());
    assert!(second.paths()[0].starts_with("/other/homeCommunityId/"));
}
