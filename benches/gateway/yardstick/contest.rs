//! Contenders in turn, round after round, and the ratios within each round.

use std::time::Duration;

use crate::rig::report::{at_most, figure, median};
use crate::rig::usage::Used;

/// One of those that are compared.
pub(crate) struct Contender<'a> {
    name: &'static str,
    measure: Box<dyn FnMut(Round) -> Spent + 'a>,
    rounds: Vec<Spent>,
}

/// One round of a contest.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Round {
    /// Whether system calls are counted in it, which takes time: it is no measurement of time.
    pub(crate) is_traced: bool,
}

/// The cost of a round.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Spent {
    pub(crate) used: Used,
    pub(crate) time: Duration,
    pub(crate) bytes: u64,
    pub(crate) requests: usize,
    /// Requests to the source, where they were counted.
    pub(crate) upstream: u64,
    /// Writes to an eventfd, where they were counted: one thread wakes another.
    pub(crate) wakes: Option<usize>,
}

/// What a cost is for.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Per {
    Gigabyte,
    Thousand,
}

/// A row of the table: two contenders, and how much more than the other the first may cost.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Row<'a> {
    pub(crate) what: &'a str,
    pub(crate) own: &'a str,
    pub(crate) other: &'a str,
    pub(crate) per: Per,
    pub(crate) most: f64,
    /// Context switches for each GB, where they have a target.
    pub(crate) most_switches: Option<f64>,
}

/// All contenders of a row or of several.
pub(crate) struct Contest<'a>(Vec<Contender<'a>>);

impl<'a> Contender<'a> {
    pub(crate) fn new(name: &'static str, measure: impl FnMut(Round) -> Spent + 'a) -> Self {
        Self {
            name,
            measure: Box::new(measure),
            rounds: Vec::new(),
        }
    }

    fn median(&self, of: impl Fn(&Spent) -> f64) -> f64 {
        median(self.rounds.iter().map(of).collect())
    }
}

impl Spent {
    fn gigabytes(&self) -> f64 {
        self.bytes as f64 / 1e9
    }

    /// Seconds for each GB, or milliseconds for 1,000 requests.
    pub(crate) fn cpu(&self, per: Per) -> f64 {
        let seconds = self.used.cpu.as_secs_f64();
        match per {
            Per::Gigabyte => seconds / self.gigabytes(),
            Per::Thousand => seconds * 1e6 / self.requests as f64,
        }
    }

    fn switches(&self) -> f64 {
        self.used.switches as f64 / self.gigabytes()
    }
}

impl Per {
    fn unit(self) -> &'static str {
        match self {
            Self::Gigabyte => "s/GB",
            Self::Thousand => "ms/1k",
        }
    }
}

impl<'a> Contest<'a> {
    /// Runs all rounds; the order of the contenders is turned in each.
    pub(crate) fn run(mut contenders: Vec<Contender<'a>>) -> Self {
        for round in 0..rounds() {
            if round > 0 {
                contenders.reverse();
            }
            for contender in &mut contenders {
                let spent = (contender.measure)(Round { is_traced: false });
                contender.rounds.push(spent);
            }
        }
        Self(contenders)
    }

    fn find(&self, name: &str) -> Option<&Contender<'a>> {
        self.0.iter().find(|contender| contender.name == name)
    }

    /// Prints the figures of a row, of nginx only if it is installed.
    pub(crate) fn report(&self, row: Row<'_>) {
        let Row { what, per, .. } = row;
        let own = self.find(row.own).expect("a contender");
        let cost = |of: &Contender<'_>| of.median(|spent| spent.cpu(per));
        // Contenders of one row have names of their own only where neither is nginx.
        let names = match row.other {
            "nginx" => ["xcwado", "nginx"],
            other => [row.own, other],
        };
        figure(&format!("{what}: {}", names[0]), cost(own), per.unit());
        let other = self.find(row.other);
        if let Some(other) = other {
            figure(&format!("{what}: {}", names[1]), cost(other), per.unit());
            let pairs = own.rounds.iter().zip(&other.rounds);
            let ratios = pairs.map(|(own, other)| own.cpu(per) / other.cpu(per));
            let ratio = median(ratios.collect());
            at_most(&format!("{what}: ratio"), ratio, row.most, "x");
        }
        if matches!(per, Per::Gigabyte) {
            report_switches(row, own, other);
        }
    }

    /// Prints a further figure of each contender.
    pub(crate) fn show(&self, what: &str, unit: &str, of: impl Fn(&Spent) -> f64) {
        for contender in &self.0 {
            let name = contender.name;
            figure(&format!("{what}: {name}"), contender.median(&of), unit);
        }
    }

    /// Prints the writes to an eventfd of some contenders, counted in a round of its own.
    pub(crate) fn count_wakes(&mut self, names: &[&str]) {
        for name in names {
            let named = |contender: &&mut Contender<'a>| contender.name == *name;
            let Some(contender) = self.0.iter_mut().find(named) else {
                continue;
            };
            let spent = (contender.measure)(Round { is_traced: true });
            match spent.wakes {
                Some(wakes) => {
                    let each = wakes as f64 / spent.gigabytes();
                    figure(
                        &format!("{name}: writes to an eventfd for each GB"),
                        each,
                        "",
                    );
                }
                None => println!("  left out: strace is not installed, or must not attach"),
            }
        }
    }
}

fn report_switches(row: Row<'_>, own: &Contender<'_>, other: Option<&Contender<'_>>) {
    let Row { what, .. } = row;
    let text = format!("{what}: context switches for each GB");
    let switches = own.median(Spent::switches);
    match row.most_switches {
        Some(most) => at_most(&text, switches, most, ""),
        None => figure(&text, switches, ""),
    }
    if let Some(other) = other {
        let text = format!("{what}: context switches of nginx");
        figure(&text, other.median(Spent::switches), "");
    }
}

/// How many rounds there are: `YARDSTICK_ROUNDS`, for a short look.
pub(crate) fn rounds() -> usize {
    let rounds = std::env::var("YARDSTICK_ROUNDS").ok();
    rounds.map_or(5, |rounds| rounds.parse().expect("a number"))
}
