//! Manifests of 100,000 instances: to read, to register, to retrieve from.

use std::fs;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use crate::rig::client::{Connection, INSTANCES};
use crate::rig::process::{Server, memory_of};
use crate::rig::report::{at_most, figure, median, milliseconds};
use crate::rig::settings::Settings;
use crate::servers::origin;
use crate::study::{self, STUDY, Shape, manifest};

const LARGE: Shape = Shape {
    series: 10,
    instances: 10_000,
    bytes: 64 << 10,
};
const SMALL: Shape = Shape {
    series: 10,
    instances: 10,
    bytes: 64 << 10,
};
const ONE_SERIES: Shape = Shape {
    series: 1,
    instances: 100_000,
    bytes: 64 << 10,
};
// What the origin has: every study above.
const ALL: Shape = Shape {
    series: 10,
    instances: 100_000,
    bytes: 64 << 10,
};
const REQUESTS: usize = 300;
const LOCATION: &str = "1.3.6.1.4.1.99999.2.10";

pub(crate) fn run() {
    let large = manifest::kos(LARGE, LOCATION);
    println!(
        " a KOS of {} instances, {} bytes",
        LARGE.count(),
        large.len()
    );
    reading(&large);
    let origin = Server::origin();
    let root = origin::root(origin.address, "length", 0, ALL);
    let gateway = Server::gateway(&Settings::alone().location(LOCATION, &root));
    let mut small = Way::new(&gateway, &manifest::kos(SMALL, LOCATION));
    let began = Instant::now();
    let mut large = Way::new(&gateway, &large);
    figure(
        "registered at a running gateway in",
        milliseconds(began.elapsed()),
        "ms",
    );
    let mut one_series = Way::new(&gateway, &manifest::kos(ONE_SERIES, LOCATION));
    for _ in 0..REQUESTS {
        for way in [&mut small, &mut large, &mut one_series] {
            way.retrieve();
        }
    }
    let [small, large, one_series] = [small, large, one_series].map(|way| median(way.times));
    figure("one instance out of 100", small, "ms");
    figure("one instance out of 100,000 in 10 series", large, "ms");
    figure("one instance out of 100,000 in 1 series", one_series, "ms");
    at_most("100,000 in 10 series / 100", large / small, 1.2, "x");
    at_most("100,000 in 1 series / 100", one_series / small, 1.2, "x");
}

fn reading(kos: &[u8]) {
    let directory = tempfile::tempdir().expect("a directory");
    let file = directory.path().join("manifest.dcm");
    fs::write(&file, kos).expect("written");
    let reader = Command::new(std::env::current_exe().expect("a path"))
        .args(["as", "manifest-reader"])
        .arg(&file)
        .stdin(Stdio::null())
        .output()
        .expect("this program runs again");
    let told = String::from_utf8(reader.stdout).expect("text");
    let told: Vec<f64> = told
        .split_whitespace()
        .map_while(|n| n.parse().ok())
        .collect();
    let [seconds, mebibytes] = told.as_slice() else {
        panic!("the manifest was not read");
    };
    at_most("read in", *seconds, 1.0, "s");
    at_most("peak of resident memory", *mebibytes, 512.0, "MiB");
    let began = Instant::now();
    let shown = Command::new(env!("CARGO_BIN_EXE_xcwado"))
        .args(["manifest", "show"])
        .arg(&file)
        .stdout(Stdio::null())
        .status();
    assert!(shown.expect("the command runs").success());
    figure("xcwado manifest show", began.elapsed().as_secs_f64(), "s");
}

/// Reads a manifest; prints seconds, and MiB at the peak of this process.
pub(crate) fn read(file: &str) {
    let began = Instant::now();
    let bytes = fs::read(file).expect("a file");
    let manifest = xcwado::manifest::read(&bytes).expect("a manifest");
    let seconds = began.elapsed().as_secs_f64();
    let series = manifest.studies.iter().flat_map(|study| &study.series);
    let instances: usize = series.map(|series| series.instances.len()).sum();
    assert_eq!(instances, LARGE.count());
    assert!(manifest.warnings.is_empty(), "{:?}", manifest.warnings);
    println!("{seconds} {}", memory_of("/proc/self/status").peak);
}

/// One instance through one manifest.
struct Way {
    connection: Connection,
    path: String,
    times: Vec<f64>,
}

impl Way {
    fn new(gateway: &Server, kos: &[u8]) -> Self {
        let root = gateway.register("application/dicom", kos);
        let (series, instance) = (study::series_uid(0), study::instance_uid(0, 7));
        Self {
            connection: Connection::open(gateway.address, 64 << 10),
            path: format!("{root}/studies/{STUDY}/series/{series}/instances/{instance}"),
            times: Vec::new(),
        }
    }

    fn retrieve(&mut self) {
        let began = Instant::now();
        let answer = self.connection.get(&self.path, INSTANCES);
        assert_eq!(answer.status, 200);
        assert!(answer.drain() > LARGE.bytes as u64);
        let time: Duration = began.elapsed();
        self.times.push(milliseconds(time));
    }
}
