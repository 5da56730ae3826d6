//! 2,000 instances one by one over 16 connections, none of which is kept yet.

use crate::rig::process::Server;
use crate::study::Shape;
use crate::yardstick::contest::{Contender, Contest, Per, Round, Row, Spent};
use crate::yardstick::peer::{DICOM, Entrance, Kept, Load, Peer, Setup};

/// The second series is asked for beforehand.
const SHAPE: Shape = Shape {
    series: 2,
    instances: 2000,
    bytes: 172 << 10,
};
const LANES: usize = 16;

pub(crate) fn run() {
    let origin = Server::origin();
    let setup = Setup::plain(origin.address, SHAPE);
    let own = |name, kept, entrance| {
        Contender::new(name, move |round| {
            cost(&setup.gateway(kept, entrance), round)
        })
    };
    let nginx = |name, is_cache| {
        setup.nginx(is_cache)?;
        let start = move || setup.nginx(is_cache).expect("it was there");
        Some(Contender::new(name, move |round| cost(&start(), round)))
    };
    let mut contenders: Vec<_> = OWN
        .map(|(name, kept, entrance, _)| own(name, kept, entrance))
        .into();
    contenders.extend(nginx("proxy_pass", false));
    contenders.extend(nginx("proxy_cache", true));
    let mut contest = Contest::run(contenders);
    for (name, kept, _, most) in OWN {
        contest.report(Row {
            what: name,
            own: name,
            other: match kept {
                Kept::Nothing => "proxy_pass",
                Kept::Memory | Kept::FullMemory | Kept::Files => "proxy_cache",
            },
            per: Per::Gigabyte,
            most,
            most_switches: None,
        });
    }
    contest.count_wakes(&OWN.map(|(name, ..)| name));
}

fn cost(peer: &Peer, round: Round) -> Spent {
    let [before, measured] =
        [(1, LANES), (0, SHAPE.instances)].map(|(series, count)| peer.instances(series, count));
    let load = Load {
        paths: &before,
        lanes: LANES,
        accept: DICOM,
    };
    // Its code and its connections are there afterwards.
    peer.fetch(load);
    peer.spend(
        round,
        Load {
            paths: &measured,
            ..load
        },
    )
}

type Own = (&'static str, Kept, Entrance, f64);

const OWN: [Own; 6] = [
    (
        "/dicomweb, nothing kept",
        Kept::Nothing,
        Entrance::Manifests,
        1.3,
    ),
    (
        "/dicomweb, in memory",
        Kept::Memory,
        Entrance::Manifests,
        1.0,
    ),
    ("/dicomweb, in files", Kept::Files, Entrance::Manifests, 1.2),
    (
        "RAD-160, nothing kept",
        Kept::Nothing,
        Entrance::Rad160,
        1.3,
    ),
    ("RAD-160, in memory", Kept::Memory, Entrance::Rad160, 1.0),
    ("RAD-160, in files", Kept::Files, Entrance::Rad160, 1.2),
];
