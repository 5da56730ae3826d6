//! Limits on connections, request heads and streams of one client.

use std::time::Duration;

use bytes::Bytes;
use http::{Method, StatusCode};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::rig::origin::{Gate, Origin, honest};
use crate::rig::program::Program;
use crate::rig::study::{EXPLICIT, Study, at};
use crate::rig::{AS_STORED, Rig, open, request, sorted, try_open};

/// Keeps a failed test from hanging.
const LONG: Duration = Duration::from_secs(60);

/// What comes until the other side closes.
async fn read_to_end(mut socket: TcpStream) -> Vec<u8> {
    let mut read = Vec::new();
    let reading = socket.read_to_end(&mut read);
    // A reset is an end too.
    let _ = timeout(LONG, reading).await.expect("it is closed in time");
    read
}

#[tokio::test]
async fn more_connections_than_there_is_room_for_are_turned_away_and_counted() {
    let (origin, gate, [study, _]) = held_up().await;
    let rig = Rig::start(&format!(
        "[listen]\nconnections = 1\n{}",
        origin.location(10)
    ));
    let root = rig.register(study.fhir()).await.root;
    // A connection that is in use keeps its place.
    let path = format!("{root}{}", study.path());
    let first = async {
        loop {
            let socket = TcpStream::connect(rig.public).await.expect("a connection");
            let request = request(Method::GET, &path, &[AS_STORED], rig.public, Bytes::new());
            if let Some(stream) = try_open(socket, request).await {
                break stream;
            }
        }
    };
    let mut first = timeout(LONG, first).await.expect("there is room");
    first.read_at_least(50_000).await;

    let second = TcpStream::connect(rig.public).await.expect("a connection");
    assert_eq!(read_to_end(second).await, b"");
    let refused = rig
        .metric("xcwado_refused_connections_total{listener=\"public\"}")
        .await;
    assert!(refused >= 1.0);

    // The place is given back.
    gate.open();
    assert_eq!(first.read().await.instances().len(), 2);
    let request = b"GET /manifests HTTP/1.1\r\nhost: localhost\r\n\r\n";
    let answered = async {
        loop {
            let mut socket = TcpStream::connect(rig.public).await.expect("a connection");
            let _ = socket.write_all(request).await;
            let mut head = [0; 12];
            if socket.read_exact(&mut head).await.is_ok() {
                break;
            }
        }
    };
    timeout(LONG, answered).await.expect("there is room again");
}

#[tokio::test]
async fn a_request_head_that_does_not_arrive_is_not_waited_for() {
    let rig = Rig::start("[listen]\nrequest_head_seconds = 1\n");
    let mut slow = TcpStream::connect(rig.public).await.expect("a connection");
    slow.write_all(b"GET /manifests HTTP/1.1\r\nhost:")
        .await
        .expect("sent");
    let said = read_to_end(slow).await;
    assert!(!said.starts_with(b"HTTP/1.1 200"));
    assert_eq!(rig.get("/manifests", &[]).await.status, 200);
}

#[tokio::test]
async fn a_client_that_stops_reading_is_given_up_and_its_source_let_go() {
    // More than all buffers between source and client hold.
    let study = Study::new(1).with_series(at(10), vec![(EXPLICIT, 64 << 20)]);
    let origin = Origin::of(&study).await;
    let rig = Rig::start(&format!(
        "[retrieve]\nclient_silence_seconds = 1\n{}",
        origin.location(10)
    ));
    let root = rig.register(study.fhir()).await.root;
    let stream = rig
        .open(&format!("{root}{}", study.path()), &[AS_STORED])
        .await;
    assert_eq!(stream.status, 200);
    timeout(LONG, origin.left())
        .await
        .expect("the source is let go");
    // Should it read again, it gets all of it, or a failure.
    let read = stream.read().await;
    assert!(!read.is_whole() || read.instances() == study.bytes());
}

/// A server whose answers stop in the middle until the gate opens, and two studies of it.
async fn held_up() -> (Origin, Gate, [Study; 2]) {
    let series = || vec![(EXPLICIT, 200_000); 2];
    let studies = [1, 2].map(|last| Study::new(last).with_series(at(10), series()));
    let held: Vec<_> = studies.iter().flat_map(Study::instances).collect();
    let gate = Gate::new();
    let shut = gate.clone();
    let origin = Origin::start(move |asked| honest(&held, asked).held_at(100_000, &shut));
    (origin.await, gate, studies)
}

#[tokio::test]
async fn beyond_each_bound_one_is_told_at_once_to_come_again() {
    for (of_gateway, of_location, bound) in [
        ("[retrieve]\nstreams_per_client = 1\n", "", "client"),
        ("[retrieve]\nfetches = 1\n", "", "fetches"),
        ("", "connections = 1\nqueue = 0\n", "queue"),
    ] {
        let (origin, gate, [one, other]) = held_up().await;
        let location = origin.location(10);
        let http = format!("{of_location}[location.http]");
        let location = location.replace("[location.http]", &http);
        let rig = Rig::start(&format!("{of_gateway}{location}"));
        let mut roots = Vec::new();
        for study in [&one, &other] {
            roots.push(rig.register(study.fhir()).await.root);
        }
        let paths = [
            format!("{}{}", roots[0], one.path()),
            format!("{}{}", roots[1], other.path()),
        ];
        let mut first = rig.open(&paths[0], &[AS_STORED]).await;
        first.read_at_least(10_000).await;
        let refused = rig.get(&paths[1], &[AS_STORED]).await;
        assert_eq!(refused.status, StatusCode::SERVICE_UNAVAILABLE, "{bound}");
        assert_eq!(refused.field("retry-after"), "5");
        refused.problem();
        let metric = format!("xcwado_refused_total{{bound=\"{bound}\"}}");
        assert_eq!(rig.metric(&metric).await, 1.0);
        gate.open();
        assert_eq!(first.read().await.instances().len(), 2);
        // What is kept needs no room at the source; and there is room again.
        for (path, study) in [(&paths[0], &one), (&paths[1], &other)] {
            let answer = rig.get(path, &[AS_STORED]).await;
            assert_eq!(sorted(answer.instances()), sorted(study.bytes()), "{bound}");
        }
    }
}

#[tokio::test]
async fn a_cache_that_cannot_be_written_to_is_told_once_and_does_without_until_it_can() {
    let study = Study::new(1).with_series(at(10), vec![(EXPLICIT, 100_000); 20]);
    let origin = Origin::of(&study).await;
    let mut gateway = Program::serve(&origin.location(10)).await;
    let instances = gateway.directory().join("var").join("instances");
    let in_the_way = || (0..256).map(|at| instances.join(format!("{at:02x}")));
    for path in in_the_way() {
        std::fs::write(path, "in the way").expect("written");
    }
    let root = gateway.register("", study.fhir()).await.root;
    let path = format!("{root}{}", study.path());
    for _ in 0..2 {
        let answer = gateway.get(&path, &[AS_STORED]).await;
        assert_eq!(sorted(answer.instances()), sorted(study.bytes()));
    }
    assert_eq!(origin.asked().len(), 1, "it is in memory");
    let told = "the disk cache cannot write instances";
    gateway.said(|line| line["message"] == told).await;
    for path in in_the_way() {
        std::fs::remove_file(path).expect("it is there");
    }
    let operator = gateway.operator;
    let forget = request(Method::DELETE, "/cache", &[], operator, Bytes::new());
    open(operator, forget).await.read().await;
    let answer = gateway.get(&path, &[AS_STORED]).await;
    assert_eq!(sorted(answer.instances()), sorted(study.bytes()));
    let again = "the disk cache accepts writes again";
    gateway.said(|line| line["message"] == again).await;
    let log = gateway.log();
    let times = log.iter().filter(|l| l["message"] == told).count();
    assert_eq!(times, 1);
}
