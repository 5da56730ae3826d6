//! The memory of a connection on which nothing happens.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::thread;
use std::time::Duration;

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use crate::rig::process::Server;
use crate::rig::report::{at_most, figure, median};
use crate::study::Shape;
use crate::yardstick::client::Client;
use crate::yardstick::contest::rounds;
use crate::yardstick::peer::{Entrance, JSON, Kept, Peer, Setup};

const SHAPE: Shape = Shape {
    series: 1,
    instances: 1,
    bytes: 8 << 10,
};
const CONNECTIONS: u64 = 10_000;

pub(crate) fn run() {
    let origin = Server::origin();
    let setup = Setup::plain(origin.address, SHAPE);
    let connections = CONNECTIONS.min(open_files().saturating_sub(500));
    println!(" {connections} connections, each after one answer of 6 KB");
    let (mut own, mut others) = (Vec::new(), Vec::new());
    for _ in 0..rounds() {
        own.push(each(
            &setup.gateway(Kept::Memory, Entrance::Manifests),
            connections,
        ));
        let nginx = setup.nginx(true);
        others.extend(nginx.map(|nginx| each(&nginx, connections)));
    }
    at_most("an idle connection: xcwado", median(own), 12.0, "KiB");
    if !others.is_empty() {
        figure("an idle connection: nginx", median(others), "KiB");
    }
}

/// KiB of resident memory for each of so many connections.
fn each(peer: &Peer, connections: u64) -> f64 {
    let path = format!("{}/metadata", peer.instance(0, 0));
    let open = |_| {
        let mut client = Client::open(peer.server.address);
        client.get(&path, JSON);
        client.into_stream()
    };
    // What a server needs for its first connections, it needs once.
    drop((0..16).map(open).collect::<Vec<_>>());
    thread::sleep(SETTLING);
    let before = peer.server.resident_kibibytes();
    let mut streams: Vec<TcpStream> = (0..connections).map(open).collect();
    thread::sleep(SETTLING);
    let grown = peer.server.resident_kibibytes() - before;
    // All of them are still there.
    for stream in [0, streams.len() - 1] {
        let stream = &mut streams[stream];
        let request = format!("GET {path} HTTP/1.1\r\nHost: localhost\r\nAccept: {JSON}\r\n\r\n");
        stream.write_all(request.as_bytes()).expect("it is open");
        let read = stream.read(&mut [0; 64]).expect("it is open");
        assert!(read > 0, "it was closed");
    }
    grown / connections as f64
}

/// Allows this program as many open files as it may have.
fn open_files() -> u64 {
    let Rlimit { maximum, .. } = getrlimit(Resource::Nofile);
    let most = Rlimit {
        current: maximum,
        maximum,
    };
    setrlimit(Resource::Nofile, most).expect("the most that is allowed");
    maximum.unwrap_or(u64::MAX)
}

const SETTLING: Duration = Duration::from_millis(500);
