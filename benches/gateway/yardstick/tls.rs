//! Kept instances over TLS, and new connections.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use rustls::ClientConfig;
use rustls::client::Resumption;

use crate::rig::client::Connection;
use crate::rig::process::Server;
use crate::yardstick::contest::{Contender, Contest, Per, Round, Spent};
use crate::yardstick::http2::{Session, Streams};
use crate::yardstick::peer::{DICOM, Entrance, JSON, Kept, Load, Peer, Setup, Tls};
use crate::yardstick::warm::{self, SHAPE, row};

const HANDSHAKES: usize = 1000;
const LANES: usize = 16;
const STREAMS: [Streams; 4] = [
    Streams::of(1, 16),
    Streams::of(4, 16),
    Streams::of(16, 1),
    Streams::of(128, 1),
];

/// Over HTTP/1.1.
pub(crate) fn run() {
    let (origin, tls) = (Server::origin(), Tls::new());
    let (own, nginx) = start(&origin, &tls);
    for lanes in [1, 16, 128] {
        let mut contest = warm::contest([Some(&own), nginx.as_ref()], lanes, DICOM, |path| path);
        let what = format!("TLS, HTTP/1.1, {lanes} at once");
        contest.report(row(&what, Per::Gigabyte, 0.55));
        contest.count_wakes(&["xcwado"]);
    }
}

/// Over HTTP/2.
pub(crate) fn http_2() {
    let (origin, tls) = (Server::origin(), Tls::new());
    let (own, nginx) = start(&origin, &tls);
    for streams in STREAMS {
        let contest = contest([Some(&own), nginx.as_ref()], |peer, paths, round| {
            let session = Session::open(peer.server.address, &tls.authority, streams);
            peer.spend_on(round, paths.len(), || session.fetch(paths))
        });
        let what = format!("TLS, HTTP/2, {streams}");
        contest.report(row(&what, Per::Gigabyte, 0.70));
    }
}

/// Full handshakes, each for one small answer.
pub(crate) fn handshakes() {
    let (origin, tls) = (Server::origin(), Tls::new());
    let (own, nginx) = start(&origin, &tls);
    let mut client = (*tls.authority.client()).clone();
    client.resumption = Resumption::disabled();
    let client = Arc::new(client);
    let contest = contest([Some(&own), nginx.as_ref()], |peer, paths, round| {
        let path = format!("{}/metadata", paths[0]);
        peer.spend_on(round, HANDSHAKES, || {
            shake(peer.server.address, &client, &path)
        })
    });
    contest.report(row("full handshakes", Per::Thousand, 0.75));
}

fn start(origin: &Server, tls: &Tls) -> (Peer, Option<Peer>) {
    let setup = Setup {
        upstream: origin.address,
        shape: SHAPE,
        tls: Some(tls),
    };
    let own = setup.gateway(Kept::Memory, Entrance::Manifests);
    (own, setup.nginx(true))
}

fn contest<'a>(
    peers: [Option<&'a Peer>; 2],
    measure: impl Fn(&Peer, &[String], Round) -> Spent + Copy + 'a,
) -> Contest<'a> {
    let contender = |(name, peer): (_, Option<&'a Peer>)| {
        let peer = peer?;
        let paths = peer.instances(0, SHAPE.instances);
        let keep = |paths, accept| {
            peer.fetch(Load {
                paths,
                lanes: 8,
                accept,
            })
        };
        keep(&paths, DICOM);
        keep(&[format!("{}/metadata", paths[0])], JSON);
        let paths: Vec<_> = paths.into_iter().cycle().take(REQUESTS).collect();
        let one = move |round| measure(peer, &paths, round);
        Some(Contender::new(name, one))
    };
    let named = ["xcwado", "nginx"].into_iter().zip(peers);
    Contest::run(named.filter_map(contender).collect())
}

fn shake(address: SocketAddr, client: &Arc<ClientConfig>, path: &str) -> u64 {
    let next = AtomicUsize::new(0);
    thread::scope(|scope| {
        for _ in 0..LANES {
            scope.spawn(|| {
                while next.fetch_add(1, Ordering::Relaxed) < HANDSHAKES {
                    let mut connection = Connection::open_tls(address, 16 << 10, client);
                    let answer = connection.get(path, JSON);
                    assert_eq!(answer.status, 200, "{path}");
                    answer.drain();
                }
            });
        }
    });
    // What counts is how many there were.
    0
}

const REQUESTS: usize = 3000;
