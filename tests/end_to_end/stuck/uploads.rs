//! Slow or numerous uploads do not block registrations by other clients.

use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};
use tokio::time::{sleep, timeout};

use crate::rig::Rig;
use crate::rig::study::{Study, at};

/// Keeps a failed test from hanging.
const LONG: Duration = Duration::from_secs(60);

fn study() -> Study {
    Study::new(1).with(1, at(10))
}

/// A connection over which a body of this length begins.
async fn begin(from: u8, to: SocketAddr, length: usize) -> TcpStream {
    let socket = TcpSocket::new_v4().expect("a socket");
    let from = SocketAddr::from((Ipv4Addr::new(127, 0, 0, from), 0));
    socket.bind(from).expect("an address of this machine");
    let mut socket = socket.connect(to).await.expect("a connection");
    let head = format!(
        "POST /manifests HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/fhir+json\r\n\
         Content-Length: {length}\r\n\r\n"
    );
    socket.write_all(head.as_bytes()).await.expect("sent");
    socket
}

async fn status(socket: &mut TcpStream) -> u16 {
    let mut line = [0; 12];
    let reading = socket.read_exact(&mut line);
    let read = timeout(LONG, reading).await.expect("an answer in time");
    read.expect("an answer");
    let line = String::from_utf8_lossy(&line[9..]).into_owned();
    line.parse().expect("a status")
}

#[tokio::test]
async fn a_body_that_comes_too_slowly_is_given_up_and_a_steady_one_is_taken() {
    let rig = Rig::start("[listen]\nupload_bytes_per_second = 200\nupload_grace_seconds = 1\n");
    let slow = async {
        let (mut reading, mut writing) = begin(1, rig.public, 1 << 20).await.into_split();
        let dripping = async {
            while writing.write_all(b" ").await.is_ok() {
                sleep(Duration::from_millis(100)).await;
            }
            std::future::pending::<()>().await;
        };
        let mut line = [0; 12];
        tokio::select! {
            read = reading.read_exact(&mut line) => { read.expect("an answer"); }
            () = dripping => {}
        }
        assert_eq!(&line[9..], b"408");
    };
    timeout(LONG, slow).await.expect("it is given up in time");

    // Silence is slow too.
    let mut silent = begin(1, rig.public, 100).await;
    assert_eq!(status(&mut silent).await, 408);

    let manifest: Vec<u8> = study().fhir();
    let mut steady = begin(1, rig.public, 4000 + manifest.len()).await;
    for _ in 0..20 {
        steady.write_all(&[b' '; 200]).await.expect("sent");
        sleep(Duration::from_millis(150)).await;
    }
    steady.write_all(&manifest).await.expect("sent");
    assert_eq!(status(&mut steady).await, 201);
}

#[tokio::test]
async fn many_tiny_bodies_take_next_to_no_room() {
    let rig =
        Rig::start("[listen]\nconnections_per_client = 0\n[retrieve]\nstreams_per_client = 0\n");
    let mut tiny = Vec::new();
    for _ in 0..300 {
        let mut socket = begin(1, rig.public, 1 << 20).await;
        socket.write_all(b" ").await.expect("sent");
        tiny.push(socket);
    }
    let answer = rig.post("/manifests", &[], study().fhir()).await;
    assert_eq!(answer.status, 201);
}

#[tokio::test]
async fn one_client_cannot_take_all_the_room() {
    let rig = Rig::start("");
    let large = 60 << 20;
    let begun = async |from: u8| {
        let mut socket = begin(from, rig.public, large + 1).await;
        let sent = socket.write_all(&vec![b' '; large]).await;
        (socket, sent)
    };
    let (_first, _second) = (begun(1).await, begun(1).await);
    // Nothing of what is sent may have been read yet.
    let (mut third, _sent) = begun(1).await;
    assert_eq!(status(&mut third).await, 503);
    let manifest: Vec<u8> = study().fhir();
    let mut other = begin(2, rig.public, manifest.len()).await;
    other.write_all(&manifest).await.expect("sent");
    assert_eq!(status(&mut other).await, 201);
    let refused = rig.metric("xcwado_refused_total{bound=\"uploads\"}").await;
    assert!(refused >= 1.0);
}
