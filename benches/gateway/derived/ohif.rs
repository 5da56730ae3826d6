//! OHIF opens a series that is far away: directly at an Orthanc, and through the gateway in front of
//! it.

use std::ffi::OsString;
use std::process::{Command, Stdio};

use serde_json::Value;

use crate::derived::frames::load;
use crate::rig::process::Server;
use crate::rig::report::{at_most, figure, median};
use crate::rig::settings::{LOCATION, Settings, THEIRS};
use crate::study::{STUDY, Shape, manifest};

const SHAPE: Shape = Shape {
    series: 1,
    instances: 200,
    bytes: 256 << 10,
};
const ROUND_TRIP_MS: u64 = 40;
const MEGABITS: u64 = 1000;
const ROUNDS: usize = 3;

pub(crate) fn run() {
    let (Some(orthanc), Some(dist)) = (Server::orthanc(), std::env::var_os("OHIF_DIST")) else {
        assert!(
            std::env::var_os("CI").is_none(),
            "OHIF or Orthanc is missing"
        );
        return println!("  left out: it needs Orthanc, and OHIF_DIST and PLAYWRIGHT (tests/run)");
    };
    load(&orthanc, SHAPE);
    let line = Server::line(orthanc.address, ROUND_TRIP_MS / 2, MEGABITS);
    println!(
        " Orthanc is {ROUND_TRIP_MS} ms and {MEGABITS} Mbit/s away; 200 slices of 256 KiB, cold"
    );
    let (mut ours, mut theirs) = (Times::default(), Times::default());
    let source = format!("http://{}/dicom-web", line.address);
    for _ in 0..ROUNDS {
        theirs.add(&open(&dist, &source));
        let cache = "memory = \"2 GiB\"\ndisk = \"0\"";
        let settings = Settings::keeping(THEIRS, "", cache)
            .location(LOCATION, &format!("{source}/"))
            .line("[cors]\norigins = [\"*\"]");
        let gateway = Server::quiet_gateway(&settings);
        let manifest = manifest::fhir(SHAPE, &[LOCATION]);
        let root = gateway.register("application/fhir+json", &manifest);
        ours.add(&open(&dist, &format!("http://{}{root}", gateway.address)));
    }
    let (ours, theirs) = (ours.median(), theirs.median());
    figure("directly, the first picture", theirs.0, "ms");
    figure("through xcwado, the first picture", ours.0, "ms");
    at_most("ratio of the first picture", ours.0 / theirs.0, 2.0, "x");
    figure("directly, all slices", theirs.1, "ms");
    figure("through xcwado, all slices", ours.1, "ms");
    at_most("ratio of all slices", ours.1 / theirs.1, 1.0, "x");
}

/// Until the first picture, and until all slices.
#[derive(Default)]
struct Times(Vec<f64>, Vec<f64>);

impl Times {
    fn add(&mut self, report: &Value) {
        let milliseconds = |name: &str| report[name].as_f64().expect("it came to that");
        self.0.push(milliseconds("first"));
        self.1.push(milliseconds("all"));
    }

    fn median(self) -> (f64, f64) {
        (median(self.0), median(self.1))
    }
}

fn open(dist: &OsString, root: &str) -> Value {
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/benches/ohif.mjs");
    let output = Command::new("node")
        .arg(script)
        .arg(dist)
        .args([root, STUDY, &SHAPE.instances.to_string()])
        .stderr(Stdio::inherit())
        .output()
        .expect("node runs");
    let text = String::from_utf8_lossy(&output.stdout);
    let report = text.lines().last().unwrap_or_default();
    serde_json::from_str(report).expect("a report")
}
