//! The cost of checking that each instance is whole, compared with streaming it.

use xcwado::dicom::walk::{Tail, Walk};
use xcwado::digest::Rolling;

use crate::rig::cost::Cost;
use crate::rig::process::Server;
use crate::rig::report::{at_most, figure, median};
use crate::rig::settings::Settings;
use crate::servers::origin;
use crate::study::{self, STUDY, Shape, manifest};

const SHAPE: Shape = Shape {
    series: 4,
    instances: 500,
    bytes: 512 << 10,
};
const LOCATION: &str = "1.3.6.1.4.1.99999.2.10";
const ROUNDS: usize = 5;
/// As chunks arrive from a connection.
const CHUNK: usize = 64 << 10;

pub(crate) fn run() {
    println!(
        " {:.1} GB in {} instances by chunks of {} KiB, medians of {ROUNDS} rounds",
        SHAPE.gigabytes(),
        SHAPE.count(),
        CHUNK >> 10
    );
    let (heads, pixels) = (heads(), study::pixels(SHAPE.bytes));
    let (mut walking, mut digesting) = (Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        walking.push(per_gigabyte(|| walk(&heads, &pixels)));
        digesting.push(per_gigabyte(|| digest(&heads, &pixels)));
    }
    let (walking, digesting) = (median(walking), median(digesting));
    let streaming = streaming();
    figure("streaming, processor time for each GB", streaming, "s");
    figure("the walk, processor time for each GB", walking * 1e3, "ms");
    at_most(
        "the walk of streaming",
        100.0 * walking / streaming,
        2.0,
        "%",
    );
    figure(
        "the digest, processor time for each GB",
        digesting * 1e3,
        "ms",
    );
    figure(
        "the digest of streaming",
        100.0 * digesting / streaming,
        "%",
    );
}

fn heads() -> Vec<Vec<u8>> {
    let series =
        (0..SHAPE.series).flat_map(|series| (0..SHAPE.instances).map(move |at| (series, at)));
    series
        .map(|(series, at)| study::head(series, at, SHAPE.bytes))
        .collect()
}

fn walk(heads: &[Vec<u8>], pixels: &[u8]) {
    for head in heads {
        let mut walk = Walk::new();
        for chunk in chunks(head, pixels) {
            walk.push(chunk).expect("a data set");
        }
        assert_eq!(walk.finish(), Ok(Tail::default()), "whole");
    }
}

fn digest(heads: &[Vec<u8>], pixels: &[u8]) {
    for head in heads {
        let mut digest = Rolling::new();
        for chunk in chunks(head, pixels) {
            digest.update(chunk);
        }
        std::hint::black_box(digest.digest());
    }
}

fn chunks<'a>(head: &'a [u8], pixels: &'a [u8]) -> impl Iterator<Item = &'a [u8]> {
    head.chunks(CHUNK).chain(pixels.chunks(CHUNK))
}

/// Seconds of processor time of this thread for each GB of the study.
fn per_gigabyte(work: impl Fn()) -> f64 {
    let before = nanoseconds();
    work();
    (nanoseconds() - before) as f64 / 1e9 / SHAPE.gigabytes()
}

/// What the kernel counts of this thread.
fn nanoseconds() -> u64 {
    let counted = std::fs::read_to_string("/proc/thread-self/schedstat").expect("Linux");
    let first = counted.split(' ').next().expect("a number");
    first.parse().expect("nanoseconds")
}

/// Seconds of processor time that the gateway takes for each GB.
fn streaming() -> f64 {
    let origin = Server::origin();
    let root = origin::root(origin.address, "length", 0, SHAPE);
    let gateway = Server::gateway(&Settings::alone().location(LOCATION, &root));
    let manifest = manifest::fhir(SHAPE, &[LOCATION]);
    let root = gateway.register("application/fhir+json", &manifest);
    let mut cost = Cost::default();
    for _ in 0..ROUNDS {
        cost.measure(&[&gateway], &format!("{root}/studies/{STUDY}"), SHAPE);
    }
    cost.of_all()
}
