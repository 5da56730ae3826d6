//! Seats at a source: a response holds none while it sends cached instances, while it waits for
//! another source, or after its transfer has ended.

use std::time::Duration;

use futures_util::future::join_all;
use http::StatusCode;
use tokio::time::{sleep, timeout};

use crate::rig::origin::{Asked, Gate, Origin, honest};
use crate::rig::study::{EXPLICIT, Study, at};
use crate::rig::{AS_STORED, Answer, Rig, sorted};

/// Keeps a failed test from hanging.
const LONG: Duration = Duration::from_secs(60);
const NO_CACHE: &str = "[cache]\nmemory = \"0\"\ndisk = \"0\"\n";

fn with_seats(origin: &Origin, last: u32, connections: usize, queue: usize) -> String {
    let seats = format!("connections = {connections}\nqueue = {queue}\n[location.http]");
    origin.location(last).replace("[location.http]", &seats)
}

/// A server with these studies; its answers for the first stop in the middle until the gate opens.
async fn held_up(studies: &[&Study]) -> (Origin, Gate) {
    let held: Vec<_> = studies.iter().flat_map(|study| study.instances()).collect();
    let (gate, first) = (Gate::new(), studies[0].path());
    let shut = gate.clone();
    let script = move |asked: &Asked| {
        let reply = honest(&held, asked);
        match asked.path.contains(&format!("{first}/")) {
            true => reply.held_at(1000, &shut),
            false => reply,
        }
    };
    (Origin::start(script).await, gate)
}

async fn until(mut is_so: impl FnMut() -> bool) {
    let waiting = async {
        while !is_so() {
            sleep(Duration::from_millis(10)).await;
        }
    };
    timeout(LONG, waiting).await.expect("it comes to that");
}

async fn get(rig: &Rig, root: &str, study: &Study) -> Answer {
    let path = format!("{root}{}", study.path());
    timeout(LONG, rig.get(&path, &[AS_STORED]))
        .await
        .expect("it is answered")
}

#[tokio::test]
async fn the_full_queue_of_one_source_makes_its_part_missing_and_no_more() {
    let blocking = Study::new(1).with(1, at(10));
    let mixed = Study::new(2).with(2, at(10)).with(3, at(20));
    let alone = Study::new(3).with(1, at(10));
    let (full, gate) = held_up(&[&blocking, &mixed, &alone]).await;
    let free = Origin::of(&mixed).await;
    let settings = format!(
        "{NO_CACHE}{}{}",
        with_seats(&full, 10, 1, 0),
        free.location(20)
    );
    let rig = Rig::start(&settings);
    let root = rig.register(blocking.fhir()).await.root;
    let path = format!("{root}{}", blocking.path());
    let public = rig.public;
    let blocker = tokio::spawn(async move {
        let request =
            crate::rig::request(http::Method::GET, &path, &[AS_STORED], public, "".into());
        crate::rig::open(public, request).await.read().await
    });
    until(|| full.asked().len() == 1).await;

    let root = rig.register(mixed.fhir()).await.root;
    let answer = get(&rig, &root, &mixed).await;
    assert_eq!(answer.status, StatusCode::PARTIAL_CONTENT);
    assert!(answer.field("warning").contains("2 of 5"), "{answer:?}");
    let here = mixed.series[1]
        .instances
        .iter()
        .map(|one| one.bytes.clone());
    assert_eq!(answer.instances(), sorted(here));

    // Where there is nothing else to give, that is all there is to say.
    let root = rig.register(alone.fhir()).await.root;
    let answer = get(&rig, &root, &alone).await;
    assert_eq!(answer.status, StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(answer.field("retry-after"), "5");

    gate.open();
    let blocked = timeout(LONG, blocker).await.expect("in time");
    assert!(blocked.expect("no panic").is_whole());
    let root = rig.register(mixed.fhir()).await.root;
    let answer = get(&rig, &root, &mixed).await;
    assert_eq!(answer.status, StatusCode::OK);
    assert_eq!(answer.instances(), mixed.bytes());
}

#[tokio::test]
async fn no_seat_of_one_source_is_held_while_one_of_another_is_waited_for() {
    let blocking = Study::new(1).with(1, at(20));
    let both = Study::new(2).with(2, at(10)).with(2, at(20));
    let other = Study::new(3).with(2, at(10));
    let (busy, gate) = held_up(&[&blocking, &both]).await;
    let held: Vec<_> = [&both, &other].iter().flat_map(|s| s.instances()).collect();
    let free = Origin::start(move |asked| honest(&held, asked)).await;
    let settings = format!(
        "{NO_CACHE}{}{}",
        with_seats(&free, 10, 1, 10),
        with_seats(&busy, 20, 1, 10)
    );
    let rig = Rig::start(&settings);
    let mut roots = Vec::new();
    for study in [&blocking, &both, &other] {
        roots.push(rig.register(study.fhir()).await.root);
    }
    let story = async {
        until(|| busy.asked().len() == 1).await;
        let waits = get(&rig, &roots[1], &both);
        let served = async {
            // The answer for both has come from the one, and waits for the other.
            // Sooner than the busy source is given up as silent, which would free its seat.
            let asked = timeout(Duration::from_secs(20), until(|| free.asked().len() == 1));
            asked.await.expect("the free source is asked");
            let answer = get(&rig, &roots[2], &other).await;
            assert_eq!(answer.instances(), other.bytes());
            gate.open();
        };
        let (answer, ()) = tokio::join!(waits, served);
        assert_eq!(answer.status, StatusCode::OK);
        assert_eq!(answer.instances(), both.bytes());
    };
    let (blocked, ()) = tokio::join!(get(&rig, &roots[0], &blocking), story);
    assert!(blocked.is_whole());
}

#[tokio::test]
async fn no_seat_is_held_while_a_slow_client_is_given_what_is_kept() {
    // More than all buffers between gateway and client hold.
    let kept = vec![(EXPLICIT, 2 << 20); 12];
    let both = Study::new(1).with_series(at(10), kept).with(2, at(10));
    let other = Study::new(2).with(2, at(10));
    let held: Vec<_> = [&both, &other].iter().flat_map(|s| s.instances()).collect();
    let origin = Origin::start(move |asked| honest(&held, asked)).await;
    let rig = Rig::start(&with_seats(&origin, 10, 1, 10));
    let root = rig.register(both.fhir()).await.root;
    let path = format!("{root}{}", both.series_path(0));
    assert_eq!(rig.get(&path, &[AS_STORED]).await.status, StatusCode::OK);

    let path = format!("{root}{}", both.path());
    let slow = timeout(LONG, rig.open(&path, &[AS_STORED]))
        .await
        .expect("it begins");
    assert_eq!(slow.status, StatusCode::OK);
    let root = rig.register(other.fhir()).await.root;
    let answer = timeout(Duration::from_secs(20), get(&rig, &root, &other)).await;
    let answer = answer.expect("there is a seat");
    assert_eq!(answer.instances(), other.bytes());
    let answer = timeout(LONG, slow.read()).await.expect("in time");
    assert_eq!(answer.instances(), both.bytes());
}

#[tokio::test]
async fn those_who_wait_for_a_seat_to_ask_the_same_ask_it_once() {
    let blocking = Study::new(1).with(1, at(10));
    let wanted = Study::new(2).with(2, at(10));
    let (origin, gate) = held_up(&[&blocking, &wanted]).await;
    let rig = Rig::start(&with_seats(&origin, 10, 1, 100));
    let mut roots = Vec::new();
    for study in [&blocking, &wanted] {
        roots.push(rig.register(study.fhir()).await.root);
    }
    let story = async {
        until(|| origin.asked().len() == 1).await;
        let clients = join_all((0..10).map(|_| get(&rig, &roots[1], &wanted)));
        let opened = async {
            sleep(Duration::from_millis(300)).await;
            gate.open();
        };
        let (answers, ()) = tokio::join!(clients, opened);
        for answer in answers {
            assert_eq!(answer.instances(), wanted.bytes());
        }
    };
    tokio::join!(get(&rig, &roots[0], &blocking), story);
    assert_eq!(origin.asked().len(), 2, "{:?}", origin.paths());
}

#[tokio::test]
async fn an_answer_that_has_begun_gets_its_seats_however_many_want_them() {
    const SERIES: usize = 6;
    let study = (0..SERIES).fold(Study::new(1), |study, _| study.with(2, at(10)));
    let origin = Origin::of(&study).await;
    let rig = Rig::start(&format!("{NO_CACHE}{}", with_seats(&origin, 10, 1, 0)));
    let root = rig.register(study.fhir()).await.root;
    let client = async || {
        let mut whole = 0;
        for _ in 0..10 {
            let answer = get(&rig, &root, &study).await;
            match answer.status {
                StatusCode::OK => {
                    assert_eq!(answer.instances(), study.bytes());
                    whole += 1;
                }
                StatusCode::SERVICE_UNAVAILABLE => sleep(Duration::from_millis(20)).await,
                other => panic!("{other}: {answer:?}"),
            }
        }
        whole
    };
    let whole: Vec<usize> = join_all((0..6).map(|_| client())).await;
    assert!(whole.iter().sum::<usize>() > 0);
}
