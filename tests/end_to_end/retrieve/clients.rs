//! Slow clients, clients that leave, many clients, and clients at a gateway that stops.

use std::time::Duration;

use http::Method;
use tokio::net::TcpStream;

use crate::rig::origin::{Framing, Gate, Origin, honest};
use crate::rig::study::{EXPLICIT, Study, at};
use crate::rig::{AS_STORED, Rig};

/// One instance that is larger than all buffers on the way.
fn large() -> Study {
    Study::new(3).with_series(at(10), vec![(EXPLICIT, 96 << 20)])
}

#[tokio::test]
async fn a_slow_client_does_not_make_the_gateway_read_on() {
    let study = large();
    let origin = Origin::of(&study).await;
    let rig = Rig::start(&origin.location(10));
    let root = rig.register(study.fhir()).await.root;
    let mut stream = rig
        .open(&format!("{root}{}", study.path()), &[AS_STORED])
        .await;
    stream.read_at_least(1000).await;
    // Until everything between the two is full.
    let mut before = u64::MAX;
    while before != origin.sent() {
        before = origin.sent();
        tokio::time::sleep(Duration::from_millis(500)).await;
    }
    // What the kernel buffers for two connections is most of it.
    assert!(before < 48 << 20, "{before} bytes were read ahead");
    let answer = stream.read().await;
    assert_eq!(answer.instances(), study.bytes());
}

#[tokio::test]
async fn a_client_that_leaves_stops_the_fetch() {
    let study = large();
    let origin = Origin::of(&study).await;
    let rig = Rig::start(&origin.location(10));
    let root = rig.register(study.fhir()).await.root;
    let mut stream = rig
        .open(&format!("{root}{}", study.path()), &[AS_STORED])
        .await;
    stream.read_at_least(1000).await;
    drop(stream);
    let left = tokio::time::timeout(Duration::from_secs(25), origin.left()).await;
    left.expect("the source is left too");
    assert!(origin.sent() < 96 << 20);
}

#[tokio::test]
async fn a_client_that_leaves_while_the_source_is_silent_stops_the_fetch() {
    let study = Study::new(1).with(2, at(10));
    let (held, gate) = (study.instances(), Gate::new());
    let origin = Origin::start(move |asked| {
        honest(&held, asked)
            .framed(Framing::Chunked)
            .held_at(3500, &gate)
    })
    .await;
    let rig = Rig::start(&origin.location(10));
    let root = rig.register(study.fhir()).await.root;
    let mut stream = rig
        .open(&format!("{root}{}", study.path()), &[AS_STORED])
        .await;
    stream.read_at_least(3000).await;
    drop(stream);
    let left = tokio::time::timeout(Duration::from_secs(25), origin.left()).await;
    left.expect("the source is left too");
    let gone = "xcwado_answers_total{outcome=\"client_left\",transaction=\"retrieve_study\"}";
    assert_eq!(rig.metric(gone).await, 1.0);
}

#[tokio::test]
async fn streams_may_end_when_the_gateway_is_told_to_stop() {
    let study = Study::new(1).with(2, at(10));
    let (held, gate) = (study.instances(), Gate::new());
    let held_back = gate.clone();
    let origin = Origin::start(move |asked| {
        honest(&held, asked)
            .framed(Framing::Chunked)
            .held_at(3500, &held_back)
    })
    .await;
    let rig = Rig::start(&origin.location(10));
    assert_eq!(rig.operator("/health/ready").await.status, 200);
    assert_eq!(rig.operator("/health/live").await.status, 200);
    let root = rig.register(study.fhir()).await.root;
    let mut stream = rig
        .open(&format!("{root}{}", study.path()), &[AS_STORED])
        .await;
    stream.read_at_least(1000).await;
    rig.tell_to_stop();
    while rig.operator("/health/ready").await.status != 503 {
        tokio::task::yield_now().await;
    }
    assert_eq!(rig.operator("/health/live").await.status, 200);
    gate.open();
    let answer = stream.read().await;
    assert_eq!(answer.instances(), study.bytes());
    let public = rig.public;
    rig.stopped().await;
    assert!(
        TcpStream::connect(public).await.is_err(),
        "nobody listens any more"
    );
}

#[tokio::test]
async fn the_operator_listener_is_not_the_public_one() {
    let rig = Rig::start("");
    for path in ["/metrics", "/health/live", "/health/ready", "/version"] {
        assert_eq!(rig.operator(path).await.status, 200, "{path}");
        assert_eq!(rig.get(path, &[]).await.status, 404, "{path}");
    }
    assert_eq!(rig.operator("/manifests").await.status, 404);
    assert_eq!(
        rig.operator("/version").await.text().trim(),
        env!("CARGO_PKG_VERSION")
    );
}

#[tokio::test]
async fn over_http2_a_study_comes_whole() {
    let study = Study::new(1)
        .with(3, at(10))
        .with_series(at(10), vec![(EXPLICIT, 3 << 20)]);
    let origin = Origin::of(&study).await;
    let rig = Rig::start(&origin.location(10));
    let root = rig.register(study.fhir()).await.root;
    let answer = rig
        .get_over_http2(&format!("{root}{}", study.path()), &[AS_STORED])
        .await;
    assert_eq!(answer.instances(), study.bytes());
}

#[tokio::test]
async fn many_clients_at_once_get_what_they_ask_for() {
    let study = Study::new(1).with(4, at(10)).with(4, at(11));
    let [first, second] = [Origin::of(&study).await, Origin::of(&study).await];
    let seats = "connections = 2";
    let rig = Rig::start(
        &[first.location(10), second.location(11)]
            .concat()
            .replace("[location.http]", &format!("{seats}\n[location.http]")),
    );
    let root = rig.register(study.fhir()).await.root;
    let path = format!("{root}{}", study.path());
    let clients = (0..24).map(|_| rig.ask(Method::GET, &path, &[AS_STORED], bytes::Bytes::new()));
    let answers = tokio::time::timeout(
        Duration::from_secs(100),
        futures_util::future::join_all(clients),
    );
    for answer in answers.await.expect("nobody waits for ever") {
        assert_eq!(answer.instances(), study.bytes());
    }
}
