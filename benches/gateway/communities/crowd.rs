//! Many clients at once through both gateways; none reads until all have an answer.

use std::sync::mpsc::{Sender, channel};
use std::sync::{PoisonError, RwLock};
use std::thread;
use std::time::{Duration, Instant};

use crate::rig::client::{Connection, INSTANCES};
use crate::rig::pair::{Border, Pair, rad_160};
use crate::rig::process::{Memory, Server};
use crate::rig::report::{at_most, figure, milliseconds};
use crate::rig::settings::THEIRS;
use crate::servers::origin;
use crate::study::{self, STUDY, Shape};

/// A series of 17 MB: more than what the kernel keeps on the way.
const SHAPE: Shape = Shape {
    series: 1,
    instances: 32,
    bytes: 512 << 10,
};
/// How long nobody reads.
const STANDSTILL: Duration = Duration::from_secs(3);
/// In which all have an answer.
const PATIENCE: Duration = Duration::from_secs(60);
/// For each request, in each gateway.
const MOST_KIBIBYTES: f64 = 1024.0;
/// The same over HTTP/2, where what is on its way waits in the gateway and not in the kernel: the
/// window of a stream comes on top.
const MOST_KIBIBYTES_HTTP_2: f64 = 5120.0;

pub(crate) fn run() {
    let origin = Server::origin();
    let root = origin::root(origin.address, "length", 0, SHAPE);
    println!(" at once for a series of 17 MB; settings: location.connections = 501");
    let http_2 = Border {
        http_version: 2,
        ..Border::MUTUAL_TLS
    };
    // One connection of HTTP/2 has room for 128 streams.
    let crowds = [
        ("mutual TLS", Border::MUTUAL_TLS, 500, MOST_KIBIBYTES),
        ("plain", Border::PLAIN, 500, MOST_KIBIBYTES),
        ("HTTP/2", http_2, 100, MOST_KIBIBYTES_HTTP_2),
    ];
    for (name, border, people, most) in crowds {
        // One more than the crowd: somebody comes later.
        let connections = Some(501);
        let border = Border {
            connections,
            ..border
        };
        let crowd = Crowd { name, people, most };
        crowd.measure(&Pair::new(border, &root));
    }
}

/// Who asks at the same time.
struct Crowd {
    name: &'static str,
    people: usize,
    /// Memory for each, in KiB.
    most: f64,
}

impl Crowd {
    fn measure(&self, pair: &Pair) {
        retrieve(pair, || {});
        let gateways = [&pair.initiating, &pair.responding];
        gateways.iter().for_each(|gateway| gateway.forget_peak());
        let before = gateways.map(Server::memory);
        let standing = self.gather(pair, gateways);
        for (at, role) in ["initiating", "responding"].into_iter().enumerate() {
            self.report(role, [before[at], standing[at], gateways[at].memory()]);
        }
    }

    /// Everybody asks, waits for everybody, and reads. The memory of the gateways in between.
    fn gather(&self, pair: &Pair, gateways: [&Server; 2]) -> [Memory; 2] {
        let gate = RwLock::new(());
        let closed = gate.write().expect("nobody else");
        let (begun, beginnings) = channel();
        thread::scope(|scope| {
            // However this ends, it opens the gate.
            let closed = closed;
            let one = |_| scope.spawn(|| wait_and_retrieve(pair, begun.clone(), &gate));
            let all: Vec<_> = (0..self.people).map(one).collect();
            let begun = all
                .iter()
                .map_while(|_| beginnings.recv_timeout(PATIENCE).ok());
            let begun = begun.count();
            thread::sleep(STANDSTILL);
            let standing = gateways.map(Server::memory);
            let newcomer = scope.spawn(|| time(|| retrieve(pair, || {}))).join();
            drop(closed);
            let whole = all.into_iter().filter_map(|one| one.join().ok()).count();
            self.report_answers(begun, whole, newcomer.ok());
            standing
        })
    }

    fn report_answers(&self, begun: usize, whole: usize, newcomer_ms: Option<f64>) {
        let Self { name, people, .. } = self;
        let none = |what: &str, count: usize| {
            at_most(&format!("{name}: {what}"), count as f64, 0.0, "");
        };
        none(&format!("of {people} answers not begun"), people - begun);
        none(&format!("of {people} answers not whole"), people - whole);
        none(
            "one who comes later and reads: answers not whole",
            usize::from(newcomer_ms.is_none()),
        );
        if let Some(ms) = newcomer_ms {
            figure(
                &format!("{name}: one who comes later and reads, in"),
                ms,
                "ms",
            );
        }
    }

    fn report(&self, role: &str, [before, standing, after]: [Memory; 3]) {
        let gateway = format!("{}, {role}", self.name);
        let each = |mebibytes: f64| (mebibytes - before.now) * 1024.0 / self.people as f64;
        figure(&format!("{gateway}: resident before"), before.now, "MiB");
        figure(&format!("{gateway}: at the most"), after.peak, "MiB");
        let what = format!("{gateway}: more for each request, standing still");
        figure(&what, each(standing.now), "KiB");
        let what = format!("{gateway}: more for each request, at the most");
        at_most(&what, each(after.peak), self.most, "KiB");
    }
}

/// In milliseconds.
fn time(work: impl FnOnce()) -> f64 {
    let began = Instant::now();
    work();
    milliseconds(began.elapsed())
}

fn wait_and_retrieve(pair: &Pair, begun: Sender<()>, gate: &RwLock<()>) {
    retrieve(pair, || {
        // Who listens has given up if this fails.
        let _ = begun.send(());
        drop(gate.read().unwrap_or_else(PoisonError::into_inner));
    });
}

/// All of the series; `pause` comes when the answer has begun. Panics if it is not whole.
fn retrieve(pair: &Pair, pause: impl FnOnce()) {
    let mut connection = Connection::open(pair.initiating.address, 64 << 10);
    let (root, series) = (rad_160(THEIRS), study::series_uid(0));
    let path = format!("{root}/studies/{STUDY}/series/{series}");
    let answer = connection.get(&path, INSTANCES);
    assert_eq!(answer.status, 200);
    pause();
    assert!(answer.drain() as f64 > SHAPE.gigabytes() * 1e9);
}
