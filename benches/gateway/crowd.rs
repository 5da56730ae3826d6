//! Many at once through both gateways, none of whom reads until all have an answer.

use std::sync::mpsc::{Sender, channel};
use std::sync::{PoisonError, RwLock};
use std::thread;
use std::time::Duration;

use crate::client::{Connection, INSTANCES};
use crate::origin;
use crate::pair::{Border, Pair, THEIRS, rad_160};
use crate::process::{Memory, Server};
use crate::report::{at_most, figure};
use crate::study::{self, STUDY, Shape};

/// A series of 17 MB: more than what the kernel keeps on the way.
const SHAPE: Shape = Shape {
    series: 1,
    instances: 32,
    bytes: 512 << 10,
};
const CROWD: usize = 500;
/// How long nobody reads.
const STANDSTILL: Duration = Duration::from_secs(3);
/// In which all have an answer.
const PATIENCE: Duration = Duration::from_secs(60);
/// For each request, in each gateway.
const MOST_KIBIBYTES: f64 = 1024.0;

pub(crate) fn run() {
    let origin = Server::origin();
    let root = origin::root(origin.address, "length", 0, SHAPE);
    println!(" {CROWD} at once for a series of 17 MB; settings: location.connections = {CROWD}");
    for (name, border) in [("mutual TLS", Border::MUTUAL_TLS), ("plain", Border::PLAIN)] {
        let connections = Some(CROWD);
        let pair = Pair::new(
            Border {
                connections,
                ..border
            },
            &root,
        );
        retrieve(&pair, || {});
        let gateways = [&pair.initiating, &pair.responding];
        gateways.iter().for_each(|gateway| gateway.forget_peak());
        let before = gateways.map(Server::memory);
        let standing = crowd(&pair, gateways);
        let at = |at: usize| (before[at], standing[at], gateways[at].memory());
        report(&format!("{name}, initiating"), at(0));
        report(&format!("{name}, responding"), at(1));
    }
}

/// Everybody asks, waits for everybody, and reads. The memory of the gateways in between.
fn crowd(pair: &Pair, gateways: [&Server; 2]) -> [Memory; 2] {
    let gate = RwLock::new(());
    let closed = gate.write().expect("nobody else");
    let (begun, beginnings) = channel();
    thread::scope(|scope| {
        // However this ends, it opens the gate.
        let closed = closed;
        for _ in 0..CROWD {
            scope.spawn(|| wait_and_retrieve(pair, begun.clone(), &gate));
        }
        for _ in 0..CROWD {
            let begun = beginnings.recv_timeout(PATIENCE);
            begun.expect("every request has an answer");
        }
        thread::sleep(STANDSTILL);
        let standing = gateways.map(Server::memory);
        drop(closed);
        standing
    })
}

fn wait_and_retrieve(pair: &Pair, begun: Sender<()>, gate: &RwLock<()>) {
    retrieve(pair, || {
        // Who listens has given up if this fails.
        let _ = begun.send(());
        drop(gate.read().unwrap_or_else(PoisonError::into_inner));
    });
}

/// All of the series; `pause` comes when the answer has begun.
fn retrieve(pair: &Pair, pause: impl FnOnce()) {
    let mut connection = Connection::open(pair.initiating.address, 64 << 10);
    let (root, series) = (rad_160(THEIRS), study::series_uid(0));
    let path = format!("{root}/studies/{STUDY}/series/{series}");
    let answer = connection.get(&path, INSTANCES);
    assert_eq!(answer.status, 200);
    pause();
    assert!(answer.drain() as f64 > SHAPE.gigabytes() * 1e9);
}

fn report(gateway: &str, (before, standing, after): (Memory, Memory, Memory)) {
    let each = |mebibytes: f64| (mebibytes - before.now) * 1024.0 / CROWD as f64;
    figure(&format!("{gateway}: resident before"), before.now, "MiB");
    figure(&format!("{gateway}: at the most"), after.peak, "MiB");
    let what = format!("{gateway}: more for each request, standing still");
    figure(&what, each(standing.now), "KiB");
    let what = format!("{gateway}: more for each request, at the most");
    at_most(&what, each(after.peak), MOST_KIBIBYTES, "KiB");
}
