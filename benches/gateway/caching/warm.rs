//! The cost of serving cached instances.

use crate::caching::keeping::Keeper;
use crate::rig::process::Server;
use crate::rig::report::{at_most, figure, median};
use crate::study::Shape;

/// 500 slices as a CT scanner compresses them.
const SHAPE: Shape = Shape {
    series: 1,
    instances: 500,
    bytes: 172 << 10,
};
const REQUESTS: usize = 6000;
const ROUNDS: usize = 5;
const CACHE: &str = "memory = \"512 MiB\"\ndisk = \"0\"\nlook_ahead = \"off\"";

pub(crate) fn run() {
    let origin = Server::origin();
    for has_tls in [false, true] {
        let gateway = Keeper::gateway(origin.address, SHAPE, has_tls, CACHE);
        let nginx = Keeper::nginx(origin.address, SHAPE, has_tls);
        let over = if has_tls { "over TLS" } else { "plain" };
        let most = if has_tls { 0.65 } else { 1.3 };
        for lanes in [1, 16, 128] {
            let mut cost = Vec::new();
            for _ in 0..ROUNDS {
                let of = |keeper: &Keeper| cost_of(keeper, lanes);
                cost.push((of(&gateway), nginx.as_ref().map(of)));
            }
            let what = format!("{over}, {lanes} at once: processor time for 1,000, ");
            let own = median(cost.iter().map(|(own, _)| *own).collect());
            figure(&format!("{what}xcwado"), own, "ms");
            let nginx: Vec<f64> = cost.iter().filter_map(|(_, nginx)| *nginx).collect();
            if !nginx.is_empty() {
                let nginx = median(nginx);
                figure(&format!("{what}nginx"), nginx, "ms");
                at_most(
                    &format!("{over}, {lanes} at once: ratio"),
                    own / nginx,
                    most,
                    "x",
                );
            }
        }
    }
}

/// Milliseconds of processor time for 1,000 requests.
fn cost_of(keeper: &Keeper, lanes: usize) -> f64 {
    let paths: Vec<_> = (0..SHAPE.instances)
        .map(|at| keeper.instance(0, at))
        .collect();
    // All of it is here from now on.
    keeper.fetch(&paths, 4);
    let paths: Vec<_> = paths.into_iter().cycle().take(REQUESTS).collect();
    let before = keeper.server.cpu();
    keeper.fetch(&paths, lanes);
    let used = keeper.server.cpu() - before;
    used.as_secs_f64() * 1e6 / REQUESTS as f64
}
