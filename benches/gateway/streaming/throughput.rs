//! Processor time for each gigabyte that is streamed.

use crate::rig::client::Connection;
use crate::rig::cost::Cost;
use crate::rig::nginx::Nginx;
use crate::rig::process::Server;
use crate::rig::report::{at_most, figure};
use crate::rig::settings::Settings;
use crate::servers::origin;
use crate::study::{self, STUDY, Shape, manifest};

const SHAPE: Shape = Shape {
    series: 4,
    instances: 1000,
    bytes: 512 << 10,
};
const LOCATION: &str = "1.3.6.1.4.1.99999.2.10";

/// One way to the study.
struct Way {
    name: &'static str,
    server: Server,
    path: String,
    cost: Cost,
}

pub(crate) fn run() {
    let origin = Server::origin();
    for (framing, rounds) in [("length", 5), ("chunked", 3)] {
        println!(
            " {:.1} GB in {} instances, origin sends {framing}, medians of {rounds} rounds",
            SHAPE.gigabytes(),
            SHAPE.count()
        );
        let mut ways = ways(&origin, framing);
        for _ in 0..rounds {
            ways.iter_mut().for_each(Way::measure);
        }
        report(&ways);
    }
}

fn ways(origin: &Server, framing: &str) -> Vec<Way> {
    let direct = format!("/{framing}/0/{}/studies/{STUDY}", SHAPE.name());
    let mut ways = Vec::new();
    let nginx = Nginx {
        upstream: origin.address,
        is_cache: false,
        shown: None,
    };
    if let Some(server) = nginx.start() {
        ways.push(Way::new(NGINX, server, direct.clone()));
    }
    let plain = Server::plain_proxy(origin.address);
    ways.push(Way::new(PLAIN, plain, direct));
    let root = origin::root(origin.address, framing, 0, SHAPE);
    let gateway = Server::gateway(&Settings::alone().location(LOCATION, &root));
    let manifest = manifest::fhir(SHAPE, &[LOCATION]);
    let root = gateway.register("application/fhir+json", &manifest);
    check(&gateway, &root);
    ways.push(Way::new(
        GATEWAY,
        gateway,
        format!("{root}/studies/{STUDY}"),
    ));
    ways
}

// Fast and wrong would be easy.
fn check(gateway: &Server, root: &str) {
    let (series, instance) = (study::series_uid(1), study::instance_uid(1, 7));
    let path = format!("{root}/studies/{STUDY}/series/{series}/instances/{instance}");
    let mut connection = Connection::open(gateway.address, 256 << 10);
    let answer = connection.get(&path, "application/dicom; transfer-syntax=*");
    let mut expected = study::head(1, 7, SHAPE.bytes);
    expected.extend(study::pixels(SHAPE.bytes));
    assert!(answer.collect() == expected, "not what the origin has");
}

impl Way {
    fn new(name: &'static str, server: Server, path: String) -> Self {
        Self {
            name,
            server,
            path,
            cost: Cost::default(),
        }
    }

    fn measure(&mut self) {
        self.cost.measure(&[&self.server], &self.path, SHAPE);
    }
}

fn report(ways: &[Way]) {
    for way in ways {
        let (name, speed) = (way.name, way.cost.speed());
        let what = format!("{name} ({speed:.2} GB/s), processor time for each GB");
        figure(&what, way.cost.of_all(), "s");
    }
    let cost_of = |name: &str| {
        let way = ways.iter().find(|way| way.name == name)?;
        Some(way.cost.of_all())
    };
    let gateway = cost_of(GATEWAY).expect("measured");
    if let Some(nginx) = cost_of(NGINX) {
        at_most("xcwado / nginx", gateway / nginx, 1.2, "x");
    }
    let plain = cost_of(PLAIN).expect("measured");
    figure("xcwado / hyper alone", gateway / plain, "x");
}

const GATEWAY: &str = "xcwado";
const NGINX: &str = "nginx";
const PLAIN: &str = "hyper alone";
