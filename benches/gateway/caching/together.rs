//! Many clients request the same instances: their waiting time, and the load on the source.

use crate::caching::keeping::{Keeper, Times};
use crate::rig::process::Server;
use crate::rig::report::{at_most, figure, median};
use crate::servers::origin;
use crate::study::Shape;

const ROUND_TRIP_MS: u64 = 40;
const INSTANCES: Shape = Shape {
    series: 1,
    instances: 8,
    bytes: 172 << 10,
};
/// Series of 100 MB.
const SERIES: Shape = Shape {
    series: 6,
    instances: 200,
    bytes: 512 << 10,
};
const CACHE: &str = "memory = \"1 GiB\"\ndisk = \"0\"\nlook_ahead = \"off\"";

pub(crate) fn run() {
    let origin = Server::origin();
    let line = Server::forwarder(origin.address, ROUND_TRIP_MS / 2);
    println!(" a round trip of {ROUND_TRIP_MS} ms to the source");
    let gateway = Keeper::gateway(line.address, INSTANCES, false, CACHE);
    let nginx = Keeper::nginx(line.address, INSTANCES, false);
    for keeper in nginx.iter().chain([&gateway]) {
        let of = |at| keeper.instance(0, at);
        let (first, requests) = waiting(keeper, &origin, 32, INSTANCES.instances, of);
        let what = format!("{}, 32 clients, one instance:", keeper.name);
        if keeper.name == gateway.name {
            at_most(&format!("{what} last first byte"), first, 45.0, "ms");
        } else {
            figure(&format!("{what} last first byte"), first, "ms");
        }
        figure(&format!("{what} requests to the source"), requests, "");
    }
    let gateway = Keeper::gateway(line.address, SERIES, false, CACHE);
    let of = |at| gateway.series(at);
    let (first, requests) = waiting(&gateway, &origin, 8, SERIES.series, of);
    let what = "xcwado, 8 clients, one series of 100 MB:";
    at_most(&format!("{what} last first byte"), first, 50.0, "ms");
    at_most(&format!("{what} requests to the source"), requests, 1.0, "");
}

/// When the last of the clients has its first byte, and how often the source was asked; medians.
fn waiting(
    keeper: &Keeper,
    origin: &Server,
    clients: usize,
    rounds: usize,
    path: impl Fn(usize) -> String,
) -> (f64, f64) {
    let (mut firsts, mut requests) = (Vec::new(), Vec::new());
    for at in 0..rounds {
        let [before, _] = origin::counts(origin.address);
        let times = keeper.together(&path(at), clients);
        let first = |times: &Times| times.first;
        firsts.push(times.iter().map(first).fold(0.0, f64::max));
        requests.push((origin::counts(origin.address)[0] - before) as f64);
    }
    // The first round makes the connection.
    (median(firsts.split_off(1)), median(requests.split_off(1)))
}
