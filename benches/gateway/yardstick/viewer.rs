//! A viewer: the metadata of a series, then its 500 slices over six connections, from a source
//! 40 ms away.

use crate::rig::process::Server;
use crate::rig::report::milliseconds;
use crate::servers::origin;
use crate::study::Shape;
use crate::yardstick::contest::{Contender, Contest, Per, Round, Row, Spent};
use crate::yardstick::peer::{DICOM, Entrance, JSON, Kept, Load, Peer, Setup};

/// The second series is asked for beforehand.
const SHAPE: Shape = Shape {
    series: 2,
    instances: 500,
    bytes: 172 << 10,
};
const LANES: usize = 6;
const ROUND_TRIP_MS: u64 = 40;
const MEGABITS: u64 = 1000;

pub(crate) fn run() {
    let origin = Server::origin();
    let line = Server::line(origin.address, ROUND_TRIP_MS / 2, MEGABITS);
    let setup = Setup::plain(line.address, SHAPE);
    let mut contenders = vec![Contender::new("xcwado", |round| {
        open(
            &setup.gateway(Kept::Memory, Entrance::Manifests),
            &origin,
            round,
        )
    })];
    if setup.nginx(true).is_some() {
        contenders.push(Contender::new("nginx", |round| {
            open(&setup.nginx(true).expect("it was there"), &origin, round)
        }));
    }
    let mut contest = Contest::run(contenders);
    contest.report(Row {
        what: "a viewer, 500 slices",
        own: "xcwado",
        other: "nginx",
        per: Per::Gigabyte,
        most: 1.0,
        most_switches: None,
    });
    contest.show("everything is there after", "ms", |spent| {
        milliseconds(spent.time)
    });
    contest.show("requests to the source", "", |spent| spent.upstream as f64);
    contest.show("processor time", "ms", |spent| milliseconds(spent.used.cpu));
    contest.count_wakes(&["xcwado"]);
}

fn open(peer: &Peer, origin: &Server, round: Round) -> Spent {
    // Its code and its connections are there afterwards.
    peer.fetch(Load {
        paths: &[peer.instance(1, 0)],
        lanes: 1,
        accept: DICOM,
    });
    let [before, _] = origin::counts(origin.address);
    let paths = peer.instances(0, SHAPE.instances);
    let metadata = [format!("{}/metadata", peer.series(0))];
    let spent = peer.spend_on(round, paths.len(), || {
        let metadata = Load {
            paths: &metadata,
            lanes: 1,
            accept: JSON,
        };
        let slices = Load {
            paths: &paths,
            lanes: LANES,
            accept: DICOM,
        };
        peer.fetch(metadata) + peer.fetch(slices)
    });
    let [after, _] = origin::counts(origin.address);
    Spent {
        upstream: after - before,
        ..spent
    }
}
