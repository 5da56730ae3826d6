//! The memory that the gateway uses while it streams a study.

use std::net::SocketAddr;
use std::thread;
use std::time::{Duration, Instant};

use crate::rig::client::{Connection, INSTANCES};
use crate::rig::process::Server;
use crate::rig::report::at_most;
use crate::rig::settings::Settings;
use crate::servers::origin;
use crate::study::{self, STUDY, Shape, manifest};

const SHAPE: Shape = Shape {
    series: 4,
    instances: 1000,
    bytes: 512 << 10,
};
const LOCATIONS: [&str; 2] = ["1.3.6.1.4.1.99999.2.10", "1.3.6.1.4.1.99999.2.11"];
const CLIENTS: usize = 16;
/// How long clients read slowly, and then as fast as they can.
const SLOW: Duration = Duration::from_secs(15);
const FAST: Duration = Duration::from_secs(5);
const PAUSE: Duration = Duration::from_millis(20);
const MOST_MEBIBYTES: f64 = 48.0;

pub(crate) fn run() {
    let origin = Server::origin();
    println!(" growth of resident memory while a study of 2.1 GB passes through");
    for locations in [&LOCATIONS[..1], &LOCATIONS[..]] {
        let at = match locations {
            [_one] => "one location",
            _ => "two locations",
        };
        let one = growth(&origin, locations, one_fast_client);
        at_most(&format!("{at}, 1 fast client"), one, MOST_MEBIBYTES, "MiB");
        let many = growth(&origin, locations, many_slow_clients);
        let what = format!("{at}, {CLIENTS} slow clients, then at full speed");
        at_most(&what, many, MOST_MEBIBYTES, "MiB");
    }
}

/// The growth of a fresh gateway's memory over what it takes after its first answer.
fn growth(origin: &Server, uids: &[&str], load: fn(SocketAddr, &str)) -> f64 {
    let root = origin::root(origin.address, "length", 0, SHAPE);
    let others = root.replace("/length/", "/chunked/");
    let locations = uids.iter().zip([root, others]);
    let settings = locations.fold(Settings::alone(), |settings, (uid, root)| {
        settings.location(uid, &root)
    });
    let gateway = Server::gateway(&settings);
    let manifest = manifest::fhir(SHAPE, uids);
    let root = gateway.register("application/fhir+json", &manifest);
    let study = format!("{root}/studies/{STUDY}");
    let (series, instance) = (study::series_uid(0), study::instance_uid(0, 0));
    let instance = format!("{study}/series/{series}/instances/{instance}");
    Connection::open(gateway.address, 64 << 10)
        .get(&instance, INSTANCES)
        .drain();
    gateway.forget_peak();
    let before = gateway.memory().now;
    load(gateway.address, &study);
    gateway.memory().peak - before
}

fn one_fast_client(gateway: SocketAddr, study: &str) {
    let mut connection = Connection::open(gateway, 256 << 10);
    let bytes = connection.get(study, INSTANCES).drain();
    assert!(
        bytes > (SHAPE.count() * SHAPE.bytes) as u64,
        "too little came"
    );
}

fn many_slow_clients(gateway: SocketAddr, study: &str) {
    thread::scope(|scope| {
        for _ in 0..CLIENTS {
            scope.spawn(|| slow_client(gateway, study));
        }
    });
}

// Reads a little and pauses, then reads on without pausing, and leaves in the middle.
fn slow_client(gateway: SocketAddr, study: &str) {
    let mut connection = Connection::open(gateway, 64 << 10);
    let mut answer = connection.get(study, INSTANCES);
    assert_eq!(answer.status, 200);
    let began = Instant::now();
    while began.elapsed() < SLOW + FAST && answer.next(|_| {}).is_some() {
        if began.elapsed() < SLOW {
            thread::sleep(PAUSE);
        }
    }
}
