//! Kept instances and kept metadata, without TLS.

use crate::rig::process::Server;
use crate::study::Shape;
use crate::yardstick::contest::{Contender, Contest, Per, Row};
use crate::yardstick::peer::{DICOM, Entrance, JSON, Kept, Load, Peer, Setup};

pub(crate) const SHAPE: Shape = Shape {
    series: 1,
    instances: 500,
    bytes: 172 << 10,
};
const INSTANCES: usize = 6000;
const METADATA: usize = 20_000;

/// Hits of 172 KiB.
pub(crate) fn run() {
    let origin = Server::origin();
    let (own, nginx) = start(&origin);
    for lanes in [1, 16, 128] {
        let mut contest = contest([Some(&own), nginx.as_ref()], lanes, DICOM, |path| path);
        let what = format!("warm, {lanes} at once");
        contest.report(row(&what, Per::Gigabyte, 1.05));
        contest.count_wakes(&["xcwado"]);
    }
}

/// Hits of metadata.
pub(crate) fn metadata() {
    let origin = Server::origin();
    let (own, nginx) = start(&origin);
    let below = |path| format!("{path}/metadata");
    let contest = contest([Some(&own), nginx.as_ref()], 16, JSON, below);
    contest.report(row(
        "metadata of an instance, 16 at once",
        Per::Thousand,
        1.3,
    ));
    contest.show("bytes of an answer", "", |spent| {
        spent.bytes as f64 / spent.requests as f64
    });
}

fn start(origin: &Server) -> (Peer, Option<Peer>) {
    let setup = Setup::plain(origin.address, SHAPE);
    let own = setup.gateway(Kept::Memory, Entrance::Manifests);
    (own, setup.nginx(true))
}

pub(crate) fn row(what: &str, per: Per, most: f64) -> Row<'_> {
    Row {
        what,
        own: "xcwado",
        other: "nginx",
        per,
        most,
        most_switches: None,
    }
}

/// The gateway and nginx, asked again and again for what they have.
pub(crate) fn contest<'a>(
    peers: [Option<&'a Peer>; 2],
    lanes: usize,
    accept: &'a str,
    below: impl Fn(String) -> String,
) -> Contest<'a> {
    let named = ["xcwado", "nginx"].into_iter().zip(peers);
    let contenders = named.filter_map(|(name, peer)| {
        let asked = Asked {
            peer: peer?,
            lanes,
            accept,
        };
        Some(asked.again_and_again(name, &below))
    });
    Contest::run(contenders.collect())
}

/// How a contender is asked.
#[derive(Clone, Copy)]
pub(crate) struct Asked<'a> {
    pub(crate) peer: &'a Peer,
    pub(crate) lanes: usize,
    pub(crate) accept: &'a str,
}

impl<'a> Asked<'a> {
    /// For what it has.
    pub(crate) fn again_and_again(
        self,
        name: &'static str,
        below: impl Fn(String) -> String,
    ) -> Contender<'a> {
        let Self {
            peer,
            lanes,
            accept,
        } = self;
        let is_metadata = accept.starts_with(JSON);
        let requests = if is_metadata { METADATA } else { INSTANCES };
        let paths = peer.instances(0, SHAPE.instances);
        let paths: Vec<_> = paths.into_iter().map(below).collect();
        peer.fetch(Load {
            paths: &paths,
            lanes: 8,
            accept,
        });
        let paths: Vec<_> = paths.into_iter().cycle().take(requests).collect();
        Contender::new(name, move |round| {
            let mut open = peer.open(lanes);
            // Sessions begin with the first request, and are no part of the cost.
            for lane in &mut open {
                lane.get(&paths[0], accept);
            }
            let load = Load {
                paths: &paths,
                lanes,
                accept,
            };
            peer.spend_on(round, requests, || load.fetch(&mut open))
        })
    }
}
