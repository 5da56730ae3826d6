//! The delay that the gateway adds to the first byte.

use std::time::{Duration, Instant};

use crate::rig::client::{Connection, INSTANCES};
use crate::rig::process::Server;
use crate::rig::report::{at_most, figure, median, milliseconds};
use crate::rig::settings::Settings;
use crate::servers::origin;
use crate::study::{self, STUDY, Shape, manifest};

const SHAPE: Shape = Shape {
    series: 1,
    instances: 20,
    bytes: 64 << 10,
};
const REQUESTS: usize = 200;
const LOCATION: &str = "1.3.6.1.4.1.99999.2.10";

pub(crate) fn run() {
    let origin = Server::origin();
    for delay_ms in [20, 0] {
        let root = origin::root(origin.address, "length", delay_ms, SHAPE);
        let gateway = Server::gateway(&Settings::alone().location(LOCATION, &root));
        let manifest = manifest::fhir(SHAPE, &[LOCATION]);
        let through = gateway.register("application/fhir+json", &manifest);
        let direct = format!("/length/{delay_ms}/{}", SHAPE.name());
        println!(" source answers after {delay_ms} ms, {REQUESTS} requests each, warm connections");
        for (level, resource) in resources() {
            let mut source = Way::new(&origin, format!("{direct}/{resource}"));
            let mut proxied = Way::new(&gateway, format!("{through}/{resource}"));
            let mut times = Vec::new();
            for _ in 0..REQUESTS {
                times.push((source.first_byte(), proxied.first_byte()));
            }
            report(level, &times);
        }
    }
}

fn resources() -> [(&'static str, String); 2] {
    let series = format!("studies/{STUDY}/series/{}", study::series_uid(0));
    let instance = format!("{series}/instances/{}", study::instance_uid(0, 7));
    [("instance", instance), ("series", series)]
}

/// A warm connection, and what is asked for over it.
pub(crate) struct Way {
    connection: Connection,
    path: String,
}

impl Way {
    pub(crate) fn new(server: &Server, path: String) -> Self {
        let mut way = Self {
            connection: Connection::open(server.address, 256 << 10),
            path,
        };
        way.first_byte();
        way
    }

    /// The time to the first byte of the body.
    pub(crate) fn first_byte(&mut self) -> Duration {
        let began = Instant::now();
        let mut answer = self.connection.get(&self.path, INSTANCES);
        assert_eq!(answer.status, 200);
        answer.next(|_| {}).expect("a body");
        let time = began.elapsed();
        answer.drain();
        time
    }
}

fn report(level: &str, times: &[(Duration, Duration)]) {
    let of = |time: fn(&(Duration, Duration)) -> f64| median(times.iter().map(time).collect());
    let source = of(|(source, _)| milliseconds(*source));
    figure(
        &format!("{level}: first byte from the source"),
        source,
        "ms",
    );
    let later = of(|(source, proxied)| milliseconds(*proxied) - milliseconds(*source));
    at_most(&format!("{level}: xcwado later by"), later, 2.0, "ms");
}
