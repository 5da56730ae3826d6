//! Latency between the communities: time to the first byte, and to a whole series.

use std::time::Instant;

use crate::rig::client::{Connection, INSTANCES};
use crate::rig::pair::{Border, Pair, rad_160};
use crate::rig::process::Server;
use crate::rig::report::{at_most, figure, median, milliseconds};
use crate::rig::settings::THEIRS;
use crate::servers::origin;
use crate::streaming::first_byte::Way;
use crate::study::{self, STUDY, Shape};

/// A series of 67 MB.
const SHAPE: Shape = Shape {
    series: 1,
    instances: 128,
    bytes: 512 << 10,
};
const ROUND_TRIP_MS: u64 = 40;
const REQUESTS: usize = 30;
const ROUNDS: usize = 9;

pub(crate) fn run() {
    let origin = Server::origin();
    let far_origin = Server::forwarder(origin.address, ROUND_TRIP_MS / 2);
    let direct = format!("/length/0/{}", SHAPE.name());
    println!(
        " a round trip of {ROUND_TRIP_MS} ms between the gateways, mutual TLS, warm connections"
    );
    for http_version in [1, 2] {
        let root = origin::root(origin.address, "length", 0, SHAPE);
        let border = Border {
            http_version,
            delay_ms: Some(ROUND_TRIP_MS / 2),
            ..Border::MUTUAL_TLS
        };
        let pair = Pair::new(border, &root);
        let manifest = pair.register(SHAPE);
        let spoken = format!("HTTP/{http_version}");
        for (name, root) in [("manifest", manifest), ("RAD-160", rad_160(THEIRS))] {
            let way = format!("{spoken}, {name}");
            first_bytes(&way, (&origin, &direct), (&pair.initiating, &root));
        }
        whole_series(&spoken, (&far_origin, &direct), &pair);
    }
}

/// A server, and the root of a study there.
type Root<'a> = (&'a Server, &'a str);

fn first_bytes(way: &str, (origin, direct): Root<'_>, (gateway, through): Root<'_>) {
    let resources = [("instance", instance()), ("series", series())];
    for (level, resource) in resources {
        let mut source = Way::new(origin, format!("{direct}/{resource}"));
        let mut proxied = Way::new(gateway, format!("{through}/{resource}"));
        let later = (0..REQUESTS).map(|_| {
            let source = source.first_byte();
            milliseconds(proxied.first_byte()) - milliseconds(source)
        });
        let what = format!("{way}, {level}: first byte later than the source's by");
        let most = (2 * ROUND_TRIP_MS) as f64;
        at_most(&what, median(later.collect()), most, "ms");
    }
}

fn whole_series(spoken: &str, (far_origin, direct): Root<'_>, pair: &Pair) {
    let direct = format!("{direct}/{}", series());
    let through = format!("{}/{}", rad_160(THEIRS), series());
    let mut source = Connection::open(far_origin.address, 256 << 10);
    let mut gateway = Connection::open(pair.initiating.address, 256 << 10);
    let (mut alone, mut proxied) = (Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        alone.push(time(&mut source, &direct));
        proxied.push(time(&mut gateway, &through));
    }
    let (alone, proxied) = (median(alone), median(proxied));
    figure(
        "a series of 67 MB from a source that is as far",
        alone,
        "ms",
    );
    let what = format!("{spoken}: the same through both gateways");
    figure(&what, proxied, "ms");
    figure(&format!("{spoken}: ratio"), proxied / alone, "x");
}

/// Milliseconds until all of it is there.
fn time(connection: &mut Connection, path: &str) -> f64 {
    let began = Instant::now();
    let answer = connection.get(path, INSTANCES);
    assert_eq!(answer.status, 200, "{path}");
    assert!(answer.drain() as f64 > SHAPE.gigabytes() * 1e9);
    milliseconds(began.elapsed())
}

fn series() -> String {
    format!("studies/{STUDY}/series/{}", study::series_uid(0))
}

fn instance() -> String {
    format!("{}/instances/{}", series(), study::instance_uid(0, 7))
}
