//! Clients that stop reading in the middle.

use std::thread;
use std::time::Duration;

use crate::caching::keeping::Keeper;
use crate::rig::client::{Connection, INSTANCES};
use crate::rig::process::Server;
use crate::rig::report::at_most;
use crate::servers::origin;
use crate::study::Shape;

/// A gigabyte each.
const SHAPE: Shape = Shape {
    series: 8,
    instances: 100,
    bytes: 10 << 20,
};
const CLIENTS: usize = 8;
const CACHES: [(&str, &str); 2] = [
    ("default cache", "memory = \"512 MiB\""),
    ("nothing kept", "memory = \"0\"\ndisk = \"0\""),
];

pub(crate) fn run() {
    let origin = Server::origin();
    for (name, cache) in CACHES {
        let gateway = Keeper::gateway(origin.address, SHAPE, false, cache);
        let before = gateway.server.memory().now;
        let paths: Vec<_> = (0..CLIENTS).map(|at| gateway.series(at)).collect();
        let mut connections: Vec<Connection> = paths.iter().map(|_| gateway.open()).collect();
        let mut answers = Vec::new();
        for (connection, path) in connections.iter_mut().zip(&paths) {
            let mut answer = connection.get(path, INSTANCES);
            let mut read = 0;
            while read < 100 << 20 {
                read += answer.next(|_| {}).expect("there is more");
            }
            answers.push(answer);
        }
        thread::sleep(Duration::from_secs(2));
        let [_, sent] = origin::counts(origin.address);
        let grown = gateway.server.memory().now - before;
        thread::sleep(Duration::from_secs(3));
        let more = origin::counts(origin.address)[1] - sent;
        at_most(
            &format!("{name}: growth for each"),
            grown / CLIENTS as f64,
            4.0,
            "MiB",
        );
        let what = format!("{name}: read from the source while nobody reads");
        at_most(&what, more as f64 / f64::from(1 << 20), 0.0, "MiB");
    }
}
