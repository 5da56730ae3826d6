//! The memory of a cache that receives more than it holds.

use crate::caching::keeping::Keeper;
use crate::rig::process::Server;
use crate::rig::report::at_most;
use crate::study::Shape;

const READERS: usize = 64;
/// 10 GB, and as much as is to be written in a benchmark.
const CASES: [(&str, &str, usize); 2] = [
    ("no disk, 1,000 instances", "disk = \"0\"", 1000),
    ("with a disk, 300 instances", "disk = \"20 GiB\"", 300),
];

pub(crate) fn run() {
    let origin = Server::origin();
    println!(" instances of 10 MB, {READERS} readers, memory = \"256 MiB\"");
    for (name, disk, instances) in CASES {
        let shape = Shape {
            series: 1,
            instances,
            bytes: 10 << 20,
        };
        let cache = format!("memory = \"256 MiB\"\n{disk}");
        let gateway = Keeper::gateway(origin.address, shape, false, &cache);
        let paths: Vec<_> = (0..instances).map(|at| gateway.instance(0, at)).collect();
        gateway.fetch(&paths, READERS);
        let peak = gateway.server.memory().peak;
        at_most(&format!("{name}: resident at the most"), peak, 640.0, "MiB");
    }
}
