//! Metadata of a CT series: derived from its instances while they arrive, and then cached.

use std::time::Instant;

use crate::caching::keeping::Keeper;
use crate::rig::client::{Connection, INSTANCES};
use crate::rig::process::Server;
use crate::rig::report::{at_most, figure, median, milliseconds};
use crate::servers::origin;
use crate::study::{self, STUDY, Shape};

const ROUND_TRIP_MS: u64 = 40;
const MEGABITS: u64 = 1000;
const SHAPE: Shape = Shape {
    series: 5,
    instances: 500,
    bytes: 172 << 10,
};
const CACHE: &str = "memory = \"2 GiB\"\ndisk = \"0\"";
const JSON: &str = "application/dicom+json";
/// First bytes are there before this instance is.
const TENTH: usize = 10;
const WARM: usize = 20;

pub(crate) fn run() {
    let origin = Server::origin();
    let line = Server::line(origin.address, ROUND_TRIP_MS / 2, MEGABITS);
    println!(
        " the source is {ROUND_TRIP_MS} ms and {MEGABITS} Mbit/s away; series of 500 instances of 172 KiB"
    );
    let gateway = Keeper::gateway(line.address, SHAPE, false, CACHE);
    let (mut first, mut last, mut warm) = (Vec::new(), Vec::new(), Vec::new());
    let (mut tenth, mut arrived) = (Vec::new(), Vec::new());
    for series in 0..SHAPE.series {
        let direct = instances(&line, series);
        tenth.push(direct.0);
        arrived.push(direct.1);
        let path = format!("{}/metadata", gateway.series(series));
        let (begun, whole) = answered(&mut gateway.open(), &path);
        first.push(begun);
        last.push(whole);
        let mut connection = gateway.open();
        warm.extend((0..WARM).map(|_| answered(&mut connection, &path).1));
    }
    let (tenth, arrived) = (median(tenth), median(arrived));
    figure("the source itself, its tenth instance", tenth, "ms");
    figure("the source itself, its last instance", arrived, "ms");
    let (first, last) = (median(first), median(last));
    at_most(
        "cold, the first bytes, to the tenth instance",
        first / tenth,
        1.0,
        "x",
    );
    at_most(
        "cold, everything, to the last instance",
        last / arrived,
        1.1,
        "x",
    );
    at_most("kept, everything", median(warm), 25.0, "ms");
}

/// Milliseconds until the tenth and the last instance of a series came from the source.
fn instances(line: &Server, series: usize) -> (f64, f64) {
    let root = origin::root(line.address, "length", 0, SHAPE);
    let root = root
        .split_once(&line.address.to_string())
        .expect("an address")
        .1;
    let path = format!("{root}studies/{STUDY}/series/{}", study::series_uid(series));
    let mut connection = Connection::open(line.address, 256 << 10);
    let began = Instant::now();
    let mut answer = connection.get(&path, INSTANCES);
    let (mut bytes, mut tenth) = (0, None);
    while let Some(more) = answer.next(|_| {}) {
        bytes += more;
        if bytes >= TENTH * SHAPE.bytes && tenth.is_none() {
            tenth = Some(milliseconds(began.elapsed()));
        }
    }
    (tenth.expect("ten instances"), milliseconds(began.elapsed()))
}

/// Milliseconds until the first and the last byte of metadata came.
fn answered(connection: &mut Connection, path: &str) -> (f64, f64) {
    let began = Instant::now();
    let mut answer = connection.get(path, JSON);
    assert_eq!(answer.status, 200, "{path}");
    answer.next(|_| {}).expect("a body");
    let first = milliseconds(began.elapsed());
    let mut json = Vec::new();
    while answer.next(|bytes| json.extend_from_slice(bytes)).is_some() {}
    let last = milliseconds(began.elapsed());
    let described = memchr::memmem::find_iter(&json, b"\"00080018\"").count();
    assert!(
        described + 1 >= SHAPE.instances,
        "{described} instances are described"
    );
    (first, last)
}
