//! A viewer opens a series: its first instance, then all of them over six connections.

use std::thread;
use std::time::Duration;

use crate::caching::keeping::{Keeper, read};
use crate::rig::process::Server;
use crate::rig::report::{at_most, figure, median};
use crate::servers::origin;
use crate::study::Shape;

const ROUND_TRIP_MS: u64 = 40;
const MEGABITS: u64 = 1000;
const SHAPE: Shape = Shape {
    series: 5,
    instances: 500,
    bytes: 172 << 10,
};
const ONE: Shape = Shape { series: 1, ..SHAPE };
const LANES: usize = 6;
const CACHE: &str = "memory = \"2 GiB\"\ndisk = \"0\"";

pub(crate) fn run() {
    let origin = Server::origin();
    let line = Server::line(origin.address, ROUND_TRIP_MS / 2, MEGABITS);
    println!(
        " the source is {ROUND_TRIP_MS} ms and {MEGABITS} Mbit/s away; 500 instances of 172 KiB, cold"
    );
    let gateway = Keeper::gateway(line.address, SHAPE, false, CACHE);
    let nginx = Keeper::nginx(line.address, SHAPE, false);
    let (mut own, mut others, mut requests) = (Vec::new(), Vec::new(), Vec::new());
    for series in 0..SHAPE.series {
        others.extend(nginx.as_ref().map(|nginx| open_series(nginx, series).1));
        let [before, _] = origin::counts(origin.address);
        own.push(open_series(&gateway, series).1);
        requests.push((origin::counts(origin.address)[0] - before) as f64);
    }
    let own = median(own);
    figure("xcwado, everything", own, "s");
    figure("xcwado, requests to the source", median(requests), "");
    if !others.is_empty() {
        let nginx = median(others);
        figure("nginx, everything", nginx, "s");
        at_most("ratio", own / nginx, 0.4, "x");
    }
    registered_before(&origin, &line);
}

fn registered_before(origin: &Server, line: &Server) {
    let cache = format!("{CACHE}\nlook_ahead = \"registration\"");
    let (mut firsts, mut all, mut requests) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..3 {
        let [before, _] = origin::counts(origin.address);
        let gateway = Keeper::gateway(line.address, ONE, false, &cache);
        thread::sleep(Duration::from_secs(1));
        let (first, everything) = open_series(&gateway, 0);
        firsts.push(first);
        all.push(everything);
        requests.push((origin::counts(origin.address)[0] - before) as f64);
    }
    println!(" the manifest registered one second before");
    at_most("xcwado, the first instance", median(firsts), 10.0, "ms");
    at_most("xcwado, everything", median(all), 0.3, "s");
    at_most("xcwado, requests to the source", median(requests), 1.0, "");
}

/// Milliseconds until the first instance is there, and seconds until all are.
fn open_series(keeper: &Keeper, series: usize) -> (f64, f64) {
    let paths: Vec<_> = (0..SHAPE.instances)
        .map(|at| keeper.instance(series, at))
        .collect();
    let first = read(&mut keeper.open(), &paths[0]).last;
    let all = keeper.fetch(&paths, LANES);
    (first, first / 1e3 + all)
}
