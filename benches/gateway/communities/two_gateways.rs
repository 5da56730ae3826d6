//! Processor time of two gateways in a row, compared with one.

use crate::rig::authority::Authority;
use crate::rig::cost::Cost;
use crate::rig::pair::{Border, Pair, rad_160};
use crate::rig::process::Server;
use crate::rig::report::{at_most, figure};
use crate::rig::settings::{LOCATION, Settings, THEIRS};
use crate::servers::origin;
use crate::study::{STUDY, Shape, manifest};

const SHAPE: Shape = Shape {
    series: 4,
    instances: 500,
    bytes: 512 << 10,
};
const ROUNDS: usize = 5;
const MOST: f64 = 2.2;
/// With TLS on both sides, as the one gateway has it to its source.
const MOST_TLS: f64 = 1.5;

/// One way to the study.
struct Way<'a> {
    name: &'static str,
    /// What it passes through, that which is asked first.
    servers: Vec<&'a Server>,
    path: String,
    cost: Cost,
}

/// The gateways of all ways.
struct Gateways {
    one: Server,
    one_tls: Server,
    plain: Pair,
    tls: Pair,
    http_2: Pair,
}

pub(crate) fn run() {
    let authority = Authority::new();
    let origin = Server::origin();
    let tls_origin = Server::origin_with_tls(&authority.issue("source.example"));
    let gateways = Gateways::start(&origin, &tls_origin, &authority);
    let mut ways = gateways.ways();
    println!(
        " {:.1} GB in {} instances, medians of {ROUNDS} rounds, processor time for each GB",
        SHAPE.gigabytes(),
        SHAPE.count()
    );
    for round in 0..ROUNDS {
        for at in 0..ways.len() {
            let turned = [at, ways.len() - 1 - at][round % 2];
            let way = &mut ways[turned];
            way.cost.measure(&way.servers, &way.path, SHAPE);
        }
    }
    report(&ways);
}

impl Gateways {
    fn start(origin: &Server, tls_origin: &Server, authority: &Authority) -> Self {
        let root = origin::root(origin.address, "length", 0, SHAPE);
        let tls_root = origin::root(tls_origin.address, "length", 0, SHAPE);
        let tls_root = tls_root.replace("http://", "https://");
        let one = Settings::alone().location(LOCATION, &root);
        let one_tls = Settings::alone()
            .location(LOCATION, &tls_root)
            .line("[location.http]")
            .path("authorities", &authority.file());
        let http_2 = Border {
            http_version: 2,
            ..Border::MUTUAL_TLS
        };
        Self {
            one: Server::gateway(&one),
            one_tls: Server::gateway(&one_tls),
            plain: Pair::new(Border::PLAIN, &root),
            tls: Pair::new(Border::MUTUAL_TLS, &root),
            http_2: Pair::new(http_2, &root),
        }
    }

    fn ways(&self) -> Vec<Way<'_>> {
        let rad_160 = rad_160(THEIRS);
        vec![
            Way::one(ONE, &self.one),
            Way::one(ONE_TLS, &self.one_tls),
            Way::two(TWO_PLAIN, &self.plain, &self.plain.register(SHAPE)),
            Way::two("two, plain border, RAD-160", &self.plain, &rad_160),
            Way::two(TWO_TLS, &self.tls, &self.tls.register(SHAPE)),
            Way::two("two, mutual TLS, RAD-160", &self.tls, &rad_160),
            Way::two(TWO_HTTP_2, &self.http_2, &self.http_2.register(SHAPE)),
        ]
    }
}

impl<'a> Way<'a> {
    fn one(name: &'static str, gateway: &'a Server) -> Self {
        let manifest = manifest::fhir(SHAPE, &[LOCATION]);
        let root = gateway.register("application/fhir+json", &manifest);
        Self::new(name, vec![gateway], &root)
    }

    fn two(name: &'static str, pair: &'a Pair, root: &str) -> Self {
        Self::new(name, vec![&pair.initiating, &pair.responding], root)
    }

    fn new(name: &'static str, servers: Vec<&'a Server>, root: &str) -> Self {
        Self {
            name,
            servers,
            path: format!("{root}/studies/{STUDY}"),
            cost: Cost::default(),
        }
    }

    fn show(&self) {
        let speed = self.cost.speed();
        let shares = match self.servers.len() {
            1 => String::new(),
            _ => format!(", {:.2} + {:.2} s", self.cost.of(0), self.cost.of(1)),
        };
        let what = format!("{} ({speed:.2} GB/s{shares})", self.name);
        figure(&what, self.cost.of_all(), "s");
    }
}

fn report(ways: &[Way<'_>]) {
    ways.iter().for_each(Way::show);
    let cost_of = |name: &str| {
        let way = ways.iter().find(|way| way.name == name);
        &way.expect("measured").cost
    };
    let ratio = |two, one| cost_of(two).ratio_to(cost_of(one));
    for (two, one, most) in [(TWO_PLAIN, ONE, MOST), (TWO_TLS, ONE_TLS, MOST_TLS)] {
        at_most(&format!("{two} / {one}"), ratio(two, one), most, "x");
    }
    for (two, one) in [(TWO_TLS, ONE), (TWO_HTTP_2, ONE), (TWO_HTTP_2, ONE_TLS)] {
        figure(&format!("{two} / {one}"), ratio(two, one), "x");
    }
}

const ONE: &str = "one";
const ONE_TLS: &str = "one, source with TLS";
const TWO_PLAIN: &str = "two, plain border";
const TWO_TLS: &str = "two, mutual TLS";
const TWO_HTTP_2: &str = "two, mutual TLS, HTTP/2";
