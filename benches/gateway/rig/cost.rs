//! The cost of retrieving a study along one route, round after round.

use std::time::Instant;

use crate::rig::client::{Connection, INSTANCES};
use crate::rig::process::Server;
use crate::rig::report::median;
use crate::study::Shape;

/// The measurements.
#[derive(Default)]
pub(crate) struct Cost {
    /// Seconds of processor time for each GB, by process, once a round.
    cpu: Vec<Vec<f64>>,
    /// GB a second, once a round.
    speed: Vec<f64>,
}

impl Cost {
    /// Retrieves a study of this shape once more, from the first of the processes that it passes
    /// through.
    pub(crate) fn measure(&mut self, servers: &[&Server], path: &str, shape: Shape) {
        let usages = || servers.iter().map(|server| server.usage());
        let (before, began) = (usages().collect::<Vec<_>>(), Instant::now());
        let mut connection = Connection::open(servers[0].address, 256 << 10);
        let answer = connection.get(path, INSTANCES);
        assert_eq!(answer.status, 200, "{path}");
        let gigabytes = answer.drain() as f64 / 1e9;
        assert!(gigabytes > shape.gigabytes(), "{path}: too little came");
        self.speed.push(gigabytes / began.elapsed().as_secs_f64());
        let used = usages()
            .zip(&before)
            .map(|(after, before)| after.since(before).cpu);
        self.cpu
            .push(used.map(|cpu| cpu.as_secs_f64() / gigabytes).collect());
    }

    /// Seconds of processor time for each GB, all processes together.
    pub(crate) fn of_all(&self) -> f64 {
        median(self.cpu.iter().map(|round| round.iter().sum()).collect())
    }

    /// The same of one of the processes.
    pub(crate) fn of(&self, server: usize) -> f64 {
        median(self.cpu.iter().map(|round| round[server]).collect())
    }

    /// How many times as much as another, both measured in the same rounds.
    pub(crate) fn ratio_to(&self, other: &Self) -> f64 {
        let rounds = self.cpu.iter().zip(&other.cpu);
        let sum = |round: &[f64]| round.iter().sum::<f64>();
        median(rounds.map(|(own, other)| sum(own) / sum(other)).collect())
    }

    /// GB a second.
    pub(crate) fn speed(&self) -> f64 {
        median(self.speed.clone())
    }
}
