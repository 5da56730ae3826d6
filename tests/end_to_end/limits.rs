//! What a client may not use up.

use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::origin::Origin;
use crate::rig::{AS_STORED, Rig};
use crate::study::{EXPLICIT, Study, at};

/// Only keeps a test that has failed from hanging.
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
    let rig = Rig::start("[listen]\nconnections = 1\n");
    let mut first = TcpStream::connect(rig.public).await.expect("a connection");
    // Once this is answered, the connection has its place.
    let request = b"GET /manifests HTTP/1.1\r\nhost: x\r\n\r\n";
    first.write_all(request).await.expect("sent");
    let mut head = [0; 12];
    first.read_exact(&mut head).await.expect("an answer");
    assert_eq!(&head, b"HTTP/1.1 200");

    let second = TcpStream::connect(rig.public).await.expect("a connection");
    assert_eq!(read_to_end(second).await, b"");
    let refused = rig
        .metric("xcwado_refused_connections_total{listener=\"public\"}")
        .await;
    assert!(refused >= 1.0);

    // The place is given back.
    drop(first);
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
