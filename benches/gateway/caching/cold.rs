//! The cost of fetching and caching instances.

use crate::caching::keeping::Keeper;
use crate::rig::process::Server;
use crate::rig::report::{at_most, figure, median};
use crate::study::Shape;

const SHAPE: Shape = Shape {
    series: 5,
    instances: 1000,
    bytes: 172 << 10,
};
const LANES: usize = 16;
/// nginx keeps it in memory; so does the gateway, alone or with files too.
const CACHES: [(&str, &str); 2] = [
    (
        "memory",
        "memory = \"4 GiB\"\ndisk = \"0\"\nlook_ahead = \"off\"",
    ),
    (
        "memory and disk",
        "memory = \"4 GiB\"\nlook_ahead = \"off\"",
    ),
];

pub(crate) fn run() {
    let origin = Server::origin();
    for (kept, cache) in CACHES {
        let gateway = Keeper::gateway(origin.address, SHAPE, false, cache);
        let nginx = Keeper::nginx(origin.address, SHAPE, false);
        let (mut own, mut others) = (Vec::new(), Vec::new());
        for series in 0..SHAPE.series {
            own.push(cost_of(&gateway, series));
            others.extend(nginx.as_ref().map(|nginx| cost_of(nginx, series)));
        }
        let own = median(own);
        let what = format!("kept in {kept}: processor time for 1,000");
        figure(&format!("{what}, xcwado"), own, "ms");
        if !others.is_empty() {
            let nginx = median(others);
            figure(&format!("{what}, nginx"), nginx, "ms");
            at_most(&format!("kept in {kept}: ratio"), own / nginx, 1.0, "x");
        }
    }
}

/// Milliseconds of processor time for the instances of a series, one by one.
fn cost_of(keeper: &Keeper, series: usize) -> f64 {
    let paths: Vec<_> = (0..SHAPE.instances)
        .map(|at| keeper.instance(series, at))
        .collect();
    let before = keeper.server.cpu();
    keeper.fetch(&paths, LANES);
    let used = keeper.server.cpu() - before;
    used.as_secs_f64() * 1e6 / SHAPE.instances as f64
}
