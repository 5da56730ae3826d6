//! One study of 1 GB in one answer.

use std::io::Write;

use crate::rig::client::INSTANCES;
use crate::rig::process::Server;
use crate::study::Shape;
use crate::yardstick::contest::{Contender, Contest, Per, Round, Row, Spent};
use crate::yardstick::peer::{DICOM, Entrance, Kept, Load, Peer, Setup};

const SHAPE: Shape = Shape {
    series: 3,
    instances: 1921,
    bytes: 172 << 10,
};

pub(crate) fn run() {
    let origin = Server::origin();
    let setup = Setup::plain(origin.address, SHAPE);
    let own = |name, kept| {
        Contender::new(name, move |round| {
            cost(&setup.gateway(kept, Entrance::Manifests), round)
        })
    };
    let nginx = |name, is_cache| {
        setup.nginx(is_cache)?;
        let start = move || setup.nginx(is_cache).expect("it was there");
        Some(Contender::new(name, move |round| cost(&start(), round)))
    };
    println!(
        " {:.2} GB in {} instances",
        SHAPE.gigabytes(),
        SHAPE.count()
    );
    let mut contenders = vec![own(NOTHING, Kept::Nothing)];
    contenders.extend(nginx("proxy_pass", false));
    let mut passed = Contest::run(contenders);
    let full = Contender::new(FULL, move |round| {
        let gateway = setup.gateway(Kept::FullMemory, Entrance::Manifests);
        gateway.fetch(whole(&[gateway.study()]));
        cost(&gateway, round)
    });
    let mut contenders = vec![own(MEMORY, Kept::Memory), full, own(FILES, Kept::Files)];
    contenders.extend(nginx("proxy_cache", true));
    let mut kept = Contest::run(contenders);
    let row = |own, other, most| Row {
        what: own,
        own,
        other,
        per: Per::Gigabyte,
        most,
        most_switches: (own == NOTHING).then_some(1500.0),
    };
    passed.report(row(NOTHING, "proxy_pass", 1.2));
    passed.count_wakes(&[NOTHING]);
    kept.report(row(MEMORY, "proxy_cache", 1.0));
    kept.report(row(FULL, "proxy_cache", 1.0));
    kept.report(row(FILES, "proxy_cache", 1.2));
    kept.count_wakes(&[MEMORY, FILES]);
}

fn cost(peer: &Peer, round: Round) -> Spent {
    touch_memory();
    // Its code and its connections are there afterwards.
    peer.fetch(Load {
        paths: &peer.instances(0, 2),
        lanes: 1,
        accept: DICOM,
    });
    let study = [peer.study()];
    let spent = peer.spend(round, whole(&study));
    assert!(
        spent.bytes as f64 > SHAPE.gigabytes() * 1e9,
        "too little came"
    );
    spent
}

/// The study in one answer.
fn whole(study: &[String]) -> Load<'_> {
    Load {
        paths: study,
        lanes: 1,
        accept: INSTANCES,
    }
}

/// A virtual machine may have given free memory back to its host. Whoever uses it first pays.
fn touch_memory() {
    let mut file = tempfile::tempfile_in("/dev/shm").expect("a file");
    let mebibyte = vec![1; 1 << 20];
    for _ in 0..1300 {
        file.write_all(&mebibyte).expect("written");
    }
}

const NOTHING: &str = "one study, nothing kept";
const MEMORY: &str = "one study, in memory";
const FULL: &str = "one study, in memory that is full";
const FILES: &str = "one study, in files";
