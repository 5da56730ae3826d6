//! What a viewer waits for when it opens a series that is behind a far border and not here yet: its
//! metadata, its first picture, and all of its slices.

use std::thread;
use std::time::Instant;

use crate::rig::client::{Connection, INSTANCES};
use crate::rig::pair::{Border, Pair};
use crate::rig::process::Server;
use crate::rig::report::{at_most, figure, median, milliseconds};
use crate::servers::origin;
use crate::study::{self, Shape};

/// Each round opens a series of its own: 86 MB.
const SHAPE: Shape = Shape {
    series: 5,
    instances: 500,
    bytes: 172 << 10,
};
const ROUND_TRIP_MS: u64 = 40;
const CACHE: &str = "memory = \"2 GiB\"\ndisk = \"0\"";
const JSON: &str = "application/dicom+json";
const FRAMES: &str = "multipart/related; type=\"application/octet-stream\"; transfer-syntax=*";
/// The connections of a browser.
const LANES: usize = 6;
/// Megabits a second of a wide and of a narrow line.
const WIDE: u64 = 1000;
const NARROW: u64 = 50;
/// Above what the source itself needs over the same line.
const MOST: f64 = 1.1;
const MOST_OF_ALL: f64 = 0.33;
const MOST_NARROW_MS: f64 = 1000.0;

pub(crate) fn run() {
    let origin = Server::origin();
    let root = origin::root(origin.address, "length", 0, SHAPE);
    println!(
        " cold series of 500 instances of 172 KiB, {ROUND_TRIP_MS} ms away, mutual TLS; {} rounds",
        SHAPE.series
    );
    wide(&origin, &root);
    narrow(&root);
}

/// The two gateways with a line of this width between them, and the root of a manifest.
fn pair(root: &str, megabits: u64) -> (Pair, String) {
    let pair = Pair::new(
        Border {
            delay_ms: Some(ROUND_TRIP_MS / 2),
            megabits,
            cache: Some(CACHE),
            ..Border::MUTUAL_TLS
        },
        root,
    );
    let manifest = pair.register(SHAPE);
    (pair, manifest)
}

fn wide(origin: &Server, root: &str) {
    let line = Server::line(origin.address, ROUND_TRIP_MS / 2, WIDE);
    let direct = format!("/length/0/{}", SHAPE.name());
    let (pair, manifest) = pair(root, WIDE);
    let gateway = &pair.initiating;
    let mut ratios = [Vec::new(), Vec::new(), Vec::new()];
    for series in 0..SHAPE.series {
        let of = |root: &str, rest: &str| format!("{}{rest}", study::series_path(root, series));
        let metadata = time(gateway, &of(&manifest, "/metadata"), JSON);
        let alone = time(&line, &of(&direct, "/metadata"), JSON);
        ratios[0].push(metadata / alone);
        let first = study::instance_path(&manifest, series, 0);
        let picture = time(gateway, &format!("{first}/frames/1"), FRAMES);
        let alone = time(&line, &study::instance_path(&direct, series, 0), INSTANCES);
        ratios[1].push(picture / alone);
        let slices = all(gateway, FRAMES, |at| {
            format!("{}/frames/1", study::instance_path(&manifest, series, at))
        });
        let alone = all(&line, INSTANCES, |at| {
            study::instance_path(&direct, series, at)
        });
        ratios[2].push(slices / alone);
    }
    let names = ["metadata", "first picture", "all 500 slices"];
    let most = [MOST, MOST, MOST_OF_ALL];
    for ((name, ratios), most) in names.into_iter().zip(ratios).zip(most) {
        let what = format!("{WIDE} Mbit/s, {name}: through both gateways / directly");
        at_most(&what, median(ratios), most, "x");
    }
}

fn narrow(root: &str) {
    let (pair, manifest) = pair(root, NARROW);
    let gateway = &pair.initiating;
    let (mut metadata, mut pictures) = (Vec::new(), Vec::new());
    for series in 0..SHAPE.series {
        let middle = study::instance_path(&manifest, series, SHAPE.instances / 2);
        pictures.push(time(gateway, &format!("{middle}/frames/1"), FRAMES));
        let path = format!("{}/metadata", study::series_path(&manifest, series));
        metadata.push(time(gateway, &path, JSON));
    }
    let name = format!("{NARROW} Mbit/s, first picture");
    at_most(&name, median(pictures), MOST_NARROW_MS, "ms");
    let name = format!("{NARROW} Mbit/s, metadata, while the series follows");
    figure(&name, median(metadata), "ms");
}

/// Milliseconds until all of an answer is there.
fn time(server: &Server, path: &str, accept: &str) -> f64 {
    let mut connection = Connection::open(server.address, 256 << 10);
    let began = Instant::now();
    take(&mut connection, path, accept);
    milliseconds(began.elapsed())
}

/// Milliseconds until all slices are there, over the connections of a browser.
fn all(server: &Server, accept: &str, path: impl Fn(usize) -> String + Sync) -> f64 {
    let began = Instant::now();
    thread::scope(|scope| {
        for lane in 0..LANES {
            let path = &path;
            scope.spawn(move || {
                let mut connection = Connection::open(server.address, 256 << 10);
                for at in (lane..SHAPE.instances).step_by(LANES) {
                    take(&mut connection, &path(at), accept);
                }
            });
        }
    });
    milliseconds(began.elapsed())
}

fn take(connection: &mut Connection, path: &str, accept: &str) {
    let answer = connection.get(path, accept);
    assert_eq!(answer.status, 200, "{path}");
    assert!(answer.drain() > 0);
}
