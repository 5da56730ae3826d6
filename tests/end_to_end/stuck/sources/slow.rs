//! The gateway aborts transfers from sources that are too slow, and does not mistake slow clients
//! for them.

use std::time::Duration;

use bytes::Bytes;
use tokio::time::{Instant, sleep, timeout};

use crate::rig::origin::{Asked, End, Origin, Reply, Step, honest};
use crate::rig::study::{EXPLICIT, Study, at};
use crate::rig::{AS_STORED, Rig};

/// Keeps a failed test from hanging.
const LONG: Duration = Duration::from_secs(60);
const NO_CACHE: &str = "[cache]\nmemory = \"0\"\ndisk = \"0\"\n";

/// The first bytes of the body at once, then `bytes` of it every `pause`.
fn dribbling(reply: Reply, begun: usize, bytes: usize, pause: Duration) -> Reply {
    let body = reply.whole_body();
    let mut steps = vec![Step::Send(body.slice(..begun))];
    let mut rest = body.slice(begun..);
    while !rest.is_empty() {
        let next = rest.split_to(bytes.min(rest.len()));
        steps.extend([Step::Pause(pause), Step::Send(next)]);
    }
    Reply {
        body: steps,
        ..reply
    }
}

fn with_seats(location: &str, connections: usize) -> String {
    let seats = format!("connections = {connections}\n[location.http]");
    location.replace("[location.http]", &seats)
}

#[tokio::test]
async fn sixty_four_answers_at_a_few_bytes_a_second_do_not_hold_a_location() {
    const DRIBBLING: usize = 64;
    let instances = vec![(EXPLICIT, 20_000); DRIBBLING + 1];
    let study = Study::new(1).with_series(at(10), instances);
    let (held, good) = (study.instances(), study.instances()[DRIBBLING].path());
    let origin = Origin::start(move |asked: &Asked| {
        let reply = honest(&held, asked);
        match asked.path.ends_with(&good) {
            true => reply,
            false => dribbling(reply, 900, 1, Duration::from_millis(100)),
        }
    })
    .await;
    let location = with_seats(&origin.location_with(10, "silence_seconds = 1"), 8);
    let rig = Rig::start(&format!("{NO_CACHE}{location}"));
    let root = rig.register(study.fhir()).await.root;
    let public = rig.public;
    let slow = study.instances().into_iter().take(DRIBBLING);
    let slow = slow.map(|instance| {
        let path = format!("{root}{}", instance.path());
        let request =
            crate::rig::request(http::Method::GET, &path, &[AS_STORED], public, Bytes::new());
        tokio::spawn(async move { crate::rig::open(public, request).await.read().await })
    });
    let slow: Vec<_> = slow.collect();
    let all_seats = async {
        while origin.asked().len() < 8 {
            sleep(Duration::from_millis(10)).await;
        }
    };
    timeout(LONG, all_seats).await.expect("they are asked for");
    let path = format!("{root}{}", study.instances()[DRIBBLING].path());
    let began = Instant::now();
    let served = async {
        loop {
            let answer = rig.get(&path, &[AS_STORED]).await;
            if answer.status == 200 {
                return answer;
            }
            // So many broken answers may have opened the breaker: then it says when to come again.
            assert_eq!(answer.status, 503, "{answer:?}");
            let seconds = answer.field("retry-after").parse().expect("seconds");
            sleep(Duration::from_secs(seconds)).await;
        }
    };
    let answer = timeout(LONG, served).await.expect("it is served");
    assert_eq!(
        answer.instances(),
        [study.instances()[DRIBBLING].bytes.clone()]
    );
    // One after the other they would take eight times half an hour.
    assert!(
        began.elapsed() < Duration::from_secs(30),
        "{:?}",
        began.elapsed()
    );
    for slow in slow {
        let answer = timeout(LONG, slow)
            .await
            .expect("it ends")
            .expect("no panic");
        assert!(answer.status != 200 || !answer.is_whole());
    }
}

#[tokio::test]
async fn the_head_of_an_answer_must_come_as_a_whole_in_time() {
    let study = Study::new(2).with(1, at(10));
    let head = Bytes::from("HTTP/1.1 200 OK\r\nX-Dribbled: and then it goes on and on and on");
    let reply = Reply::bytes("", head).with_status(0);
    let slow = dribbling(reply, 10, 1, Duration::from_millis(200));
    let origin = Origin::start(move |_asked| slow.clone().ending(End::Silence)).await;
    let times = "connect_seconds = 1\nfirst_byte_seconds = 1";
    let rig = Rig::start(&origin.location_with(10, times));
    let root = rig.register(study.fhir()).await.root;
    let asking = async {
        let path = format!("{root}{}", study.path());
        rig.get(&path, &[AS_STORED]).await
    };
    // It would take ten seconds.
    let answer = timeout(Duration::from_secs(8), asking).await;
    assert_eq!(answer.expect("it is not waited for").status, 504);
}

#[tokio::test]
async fn a_source_that_is_slow_and_fast_enough_is_waited_for() {
    let study = Study::new(3).with_series(at(10), vec![(EXPLICIT, 40_000)]);
    let held = study.instances();
    // Four seconds, at four times the least rate; silence may last one.
    let script =
        move |asked: &Asked| dribbling(honest(&held, asked), 100, 1000, Duration::from_millis(100));
    let origin = Origin::start(script).await;
    let http = "silence_seconds = 2\nslowest_bytes_per_second = 2000";
    let rig = Rig::start(&origin.location_with(10, http));
    let root = rig.register(study.fhir()).await.root;
    let path = format!("{root}{}", study.path());
    let answer = timeout(LONG, rig.get(&path, &[AS_STORED])).await;
    assert_eq!(answer.expect("in time").instances(), study.bytes());
    assert_eq!(origin.asked().len(), 1);
}

#[tokio::test]
async fn a_slow_client_is_never_blamed_on_its_source() {
    // More than all buffers between source and client hold.
    let study = Study::new(4).with_series(at(10), vec![(EXPLICIT, 32 << 20)]);
    let origin = Origin::of(&study).await;
    // Far more than the client reads.
    let http = "silence_seconds = 1\nslowest_bytes_per_second = 10000000";
    let rig = Rig::start(&format!("{NO_CACHE}{}", origin.location_with(10, http)));
    let root = rig.register(study.fhir()).await.root;
    let mut stream = rig
        .open(&format!("{root}{}", study.path()), &[AS_STORED])
        .await;
    for read in 1..=4 {
        stream.read_at_least(read << 20).await;
        sleep(Duration::from_millis(1500)).await;
    }
    let answer = timeout(LONG, stream.read()).await.expect("in time");
    assert_eq!(answer.instances(), study.bytes());
    assert_eq!(origin.asked().len(), 1);
    let state = "xcwado_breaker_state{address=\"1\",location=\"origin-10\"}";
    assert_eq!(rig.metric(state).await, 0.0);
}
