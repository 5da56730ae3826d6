//! Frames of a cached CT series, compared with the Orthanc behind the gateway.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::Instant;

use crate::rig::client::Connection;
use crate::rig::process::Server;
use crate::rig::report::{at_least, at_most, figure, median};
use crate::rig::settings::{LOCATION, Settings, THEIRS};
use crate::study::{self, STUDY, Shape, manifest};

const SHAPE: Shape = Shape {
    series: 1,
    instances: 200,
    bytes: 512 << 10,
};
const FRAMES: &str = "multipart/related; type=\"application/octet-stream\"; transfer-syntax=*";
const LANES: usize = 8;
const ROUNDS: usize = 5;

pub(crate) fn run() {
    let Some(orthanc) = Server::orthanc() else {
        assert!(std::env::var_os("CI").is_none(), "Orthanc is not installed");
        return println!("  left out: Orthanc with its DICOMweb plugin is not installed");
    };
    println!(" frames of 512 KiB, {LANES} at a time, of 200 instances that are kept");
    load(&orthanc, SHAPE);
    let root = format!("http://{}/dicom-web/", orthanc.address);
    let cache = "memory = \"2 GiB\"\ndisk = \"0\"";
    let settings = Settings::keeping(THEIRS, "", cache)
        .location(LOCATION, &root)
        .instances_only();
    let gateway = Server::quiet_gateway(&settings);
    let manifest = manifest::fhir(SHAPE, &[LOCATION]);
    let root = gateway.register("application/fhir+json", &manifest);
    let (ours, theirs) = (paths(&root), paths("/dicom-web"));
    // Whatever either keeps, it keeps now.
    fetch(&gateway, &ours);
    fetch(&orthanc, &theirs);
    let (mut own, mut others) = (Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        own.push(fetch(&gateway, &ours));
        others.push(fetch(&orthanc, &theirs));
    }
    report(&Round::median(&own), &Round::median(&others));
}

fn report(own: &Round, others: &Round) {
    let (rate, time) = (own.requests_per_second, own.milliseconds);
    let (rate_of_others, time_of_others) = (others.requests_per_second, others.milliseconds);
    figure("xcwado, requests a second", rate, "");
    figure("Orthanc, requests a second", rate_of_others, "");
    figure("xcwado, processor time of a request", time, "ms");
    figure("Orthanc, processor time of a request", time_of_others, "ms");
    at_least(
        "ratio of requests a second",
        rate / rate_of_others,
        5.0,
        "x",
    );
    at_most("ratio of processor time", time / time_of_others, 0.2, "x");
}

/// The cost of one round of requests, or the median of several.
struct Round {
    requests_per_second: f64,
    /// Processor time of a request.
    milliseconds: f64,
}

impl Round {
    fn median(rounds: &[Self]) -> Self {
        let median_of = |figure: fn(&Self) -> f64| median(rounds.iter().map(figure).collect());
        Self {
            requests_per_second: median_of(|round| round.requests_per_second),
            milliseconds: median_of(|round| round.milliseconds),
        }
    }
}

/// Gives an Orthanc a study of this shape.
pub(crate) fn load(orthanc: &Server, shape: Shape) {
    let mut connection = Connection::open(orthanc.address, 64 << 10);
    let pixels = study::pixels(shape.bytes);
    for instance in 0..shape.instances {
        let mut file = study::head(0, instance, shape.bytes);
        file.extend_from_slice(&pixels);
        let answer = connection.post("/instances", "application/dicom", &file);
        assert_eq!(answer.status, 200, "Orthanc takes an instance");
        answer.drain();
    }
}

fn paths(root: &str) -> Vec<String> {
    let series = study::series_uid(0);
    let path = |instance| {
        let uid = study::instance_uid(0, instance);
        format!("{root}/studies/{STUDY}/series/{series}/instances/{uid}/frames/1")
    };
    (0..SHAPE.instances).map(path).collect()
}

fn fetch(server: &Server, paths: &[String]) -> Round {
    let next = AtomicUsize::new(0);
    let (cpu, began) = (server.cpu(), Instant::now());
    thread::scope(|scope| {
        for _ in 0..LANES {
            scope.spawn(|| {
                let mut connection = Connection::open(server.address, 256 << 10);
                while let Some(path) = paths.get(next.fetch_add(1, Ordering::Relaxed)) {
                    let answer = connection.get(path, FRAMES);
                    assert_eq!(answer.status, 200, "{path}");
                    assert!(answer.drain() > SHAPE.bytes as u64, "{path}");
                }
            });
        }
    });
    let count = paths.len() as f64;
    Round {
        requests_per_second: count / began.elapsed().as_secs_f64(),
        milliseconds: (server.cpu() - cpu).as_secs_f64() * 1e3 / count,
    }
}
