//! When an address is left alone: a breaker for each, closed, open or half open.
//!
//! | what happens | what it counts |
//! |---|---|
//! | no connection, no answer in time, `502`, `503`, `504` | a failure |
//! | one of these, or `429`, with `Retry-After` | open for exactly that long, a minute at most |
//! | any other answer, `404` and `500` among them | success: somebody is there |
//! | a stream goes silent, breaks or ends early | half a failure, forgotten after a minute |
//! | an instance of a stream arrived whole | success of streams |
//! | nobody waited for the outcome | nothing |
//!
//! Three failures in a row open a breaker, for a second at first and for twice as long each time after
//! that, up to 30 seconds; up to a quarter less, by chance, so that gateways do not come back all at once.
//! Then one request is let through: its outcome closes the breaker or opens it again.

#[cfg(test)]
#[path = "breaker_tests.rs"]
mod tests;

use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use prometheus::IntGauge;

use crate::body;

/// The rule, without clock and without chance: both are arguments.
#[derive(Debug, Clone, Default)]
struct Circuit {
    state: State,
    /// A trial is under way; there is one at most.
    is_on_trial: bool,
    /// Requests in a row that failed.
    failures: u32,
    last_failure: Option<Instant>,
    /// Streams in a row that broke off before an instance of them was whole.
    broken: u32,
    last_broken: Option<Instant>,
    /// How often it opened since it was last known to be well.
    openings: u32,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
enum State {
    #[default]
    Closed,
    Open {
        until: Instant,
    },
    HalfOpen,
}

/// What a request is let through as.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Role {
    Ordinary,
    /// The one that finds out whether the address is back.
    Trial,
}

/// How a request went.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Outcome {
    /// The address gave a definite answer, whichever.
    Answered,
    /// Nobody was there, or nobody who could help.
    Failed,
    /// It wants to be left alone for so long.
    AskedToWait(Duration),
}

/// How a stream went on after its head.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Course {
    /// Something of it arrived whole.
    Whole,
    /// It broke off.
    Broken,
}

/// How good an address is, best first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Standing {
    /// It may be asked; with its recent failures, in halves.
    Closed(u32),
    /// It may be tried.
    Due,
    /// It is left alone.
    Resting,
}

/// An address is left alone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Refused {
    /// For how long from now.
    pub(super) wait: Duration,
}

impl Circuit {
    fn permit(&mut self, now: Instant) -> Result<Role, Refused> {
        match self.state {
            State::Closed => Ok(Role::Ordinary),
            State::Open { until } if now < until => Err(Refused { wait: until - now }),
            State::Open { .. } | State::HalfOpen if self.is_on_trial => {
                Err(Refused { wait: SHORTEST })
            }
            State::Open { .. } | State::HalfOpen => {
                self.state = State::HalfOpen;
                self.is_on_trial = true;
                Ok(Role::Trial)
            }
        }
    }

    /// A permit to find out whether the address is well, if it is time to. A closed one is tried too
    /// once it has failed: nobody else asks it as long as there is a better one.
    fn permit_trial(&mut self, now: Instant) -> Option<Role> {
        if self.state != State::Closed {
            return self.permit(now).ok();
        }
        let is_due = self.last_failure.is_some_and(|at| now >= at + SHORTEST);
        if self.failures == 0 || !is_due || self.is_on_trial {
            return None;
        }
        self.is_on_trial = true;
        Some(Role::Trial)
    }

    fn give_back(&mut self, role: Role) {
        if role == Role::Trial {
            self.is_on_trial = false;
        }
    }

    fn record(&mut self, role: Role, outcome: Outcome, now: Instant, chance: f64) {
        self.give_back(role);
        match (outcome, self.state) {
            (Outcome::AskedToWait(wait), _) => self.rest(wait, now),
            (Outcome::Failed, State::Closed) => {
                self.failures += 1;
                self.last_failure = Some(now);
                self.open_if_bad(now, chance);
            }
            (Outcome::Failed, State::HalfOpen) if role == Role::Trial => self.open(now, chance),
            (Outcome::Answered, State::HalfOpen) if role == Role::Trial => self.close(now),
            (Outcome::Answered, State::Closed) => self.close(now),
            // Requests from before it opened say nothing new.
            (Outcome::Failed | Outcome::Answered, State::Open { .. } | State::HalfOpen) => {}
        }
    }

    fn follow(&mut self, course: Course, now: Instant, chance: f64) {
        match course {
            Course::Whole => {
                self.broken = 0;
                if self.state == State::Closed && self.failures == 0 {
                    self.openings = 0;
                }
            }
            Course::Broken if self.state == State::Closed => {
                self.broken = self.broken_lately(now) + 1;
                self.last_broken = Some(now);
                self.open_if_bad(now, chance);
            }
            Course::Broken => {}
        }
    }

    /// What was asked for by the server is kept to, but not for ever.
    fn rest(&mut self, wait: Duration, now: Instant) {
        let asked = now + wait.min(LONGEST_ASKED);
        let until = match self.state {
            State::Open { until } => until.max(asked),
            State::Closed | State::HalfOpen => asked,
        };
        self.state = State::Open { until };
    }

    fn open_if_bad(&mut self, now: Instant, chance: f64) {
        if self.halves(now) >= 2 * MOST_FAILURES {
            self.open(now, chance);
        }
    }

    fn open(&mut self, now: Instant, chance: f64) {
        let until = now + open_time(self.openings, chance);
        self.openings = self.openings.saturating_add(1);
        self.failures = 0;
        self.state = State::Open { until };
    }

    /// An answer says that the address is there; whether its streams are whole, they say themselves.
    fn close(&mut self, now: Instant) {
        self.state = State::Closed;
        self.failures = 0;
        if self.broken_lately(now) == 0 {
            self.openings = 0;
        }
    }

    fn broken_lately(&self, now: Instant) -> u32 {
        let is_recent = |at: Instant| now.saturating_duration_since(at) < RECENT;
        self.last_broken
            .filter(|at| is_recent(*at))
            .map_or(0, |_| self.broken)
    }

    /// Failures in a row, in halves.
    fn halves(&self, now: Instant) -> u32 {
        2 * self.failures + self.broken_lately(now)
    }

    fn standing(&self, now: Instant) -> Standing {
        match self.state {
            State::Closed => Standing::Closed(self.halves(now)),
            State::Open { until } if now < until => Standing::Resting,
            State::Open { .. } | State::HalfOpen if self.is_on_trial => Standing::Resting,
            State::Open { .. } | State::HalfOpen => Standing::Due,
        }
    }
}

/// For how long it opens the next time. `chance` is from 0 to 1.
fn open_time(openings: u32, chance: f64) -> Duration {
    let time = SHORTEST * (1 << openings.min(5));
    time.min(LONGEST)
        .mul_f64(1.0 - chance.clamp(0.0, 1.0) / 4.0)
}

/// A breaker, shared by all who ask the address.
#[derive(Debug, Default)]
pub(super) struct Breaker {
    circuit: Mutex<Circuit>,
    seen: OnceLock<Seen>,
}

/// What operators see of it.
#[derive(Debug)]
pub(super) struct Seen {
    /// What the source is called.
    pub(super) alias: Arc<str>,
    /// The how-manyth of its addresses it is, from 1.
    pub(super) address: usize,
    /// 0 closed, 1 half open, 2 open.
    pub(super) gauge: IntGauge,
}

/// One request may be sent. Whoever drops it without an outcome has not waited for one, which counts
/// as nothing.
#[derive(Debug)]
pub(super) struct Permit {
    breaker: Arc<Breaker>,
    role: Option<Role>,
}

impl Breaker {
    /// Whether a request may be sent now.
    ///
    /// # Errors
    /// For how long none may.
    pub(super) fn permit(self: &Arc<Self>, now: Instant) -> Result<Permit, Refused> {
        let role = self.change(|circuit| circuit.permit(now))?;
        Ok(self.granted(role))
    }

    /// Permits a request whose only purpose is to find out whether the address is back, if it is time.
    pub(super) fn permit_trial(self: &Arc<Self>, now: Instant) -> Option<Permit> {
        let role = self.change(|circuit| circuit.permit_trial(now))?;
        Some(self.granted(role))
    }

    /// How good the address is.
    pub(super) fn standing(&self, now: Instant) -> Standing {
        self.lock().standing(now)
    }

    /// Leaves the address alone for so long, a minute at most.
    pub(super) fn rest(&self, wait: Duration, now: Instant) {
        self.change(|circuit| circuit.rest(wait, now));
    }

    /// Shows its state from now on.
    pub(super) fn watch(&self, seen: Seen) {
        // Whoever watches a second time sees what the first one does.
        let _ = self.seen.set(seen);
        self.change(|_circuit| ());
    }

    fn granted(self: &Arc<Self>, role: Role) -> Permit {
        Permit {
            breaker: Arc::clone(self),
            role: Some(role),
        }
    }

    fn change<T>(&self, change: impl FnOnce(&mut Circuit) -> T) -> T {
        let mut circuit = self.lock();
        let before = circuit.state;
        let changed = change(&mut circuit);
        if let Some(seen) = self.seen.get() {
            seen.show(before, circuit.state);
        }
        changed
    }

    // Nothing between lock and unlock can leave it half changed.
    fn lock(&self) -> MutexGuard<'_, Circuit> {
        self.circuit.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Seen {
    fn show(&self, before: State, now: State) {
        self.gauge.set(match now {
            State::Closed => 0,
            State::HalfOpen => 1,
            State::Open { .. } => 2,
        });
        let (location, address) = (&*self.alias, self.address);
        if before == State::Closed && now != State::Closed {
            tracing::warn!(location, address, "an address is left alone for a while");
        } else if before != State::Closed && now == State::Closed {
            tracing::info!(location, address, "an address answers again");
        }
    }
}

impl Permit {
    /// Tells how the request went, and gives who tells how its stream goes on.
    pub(super) fn record(mut self, outcome: Outcome, now: Instant) -> Report {
        if let Some(role) = self.role.take() {
            let chance = chance();
            self.breaker
                .change(|circuit| circuit.record(role, outcome, now, chance));
        }
        Report {
            breaker: Arc::clone(&self.breaker),
            told: None,
        }
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        if let Some(role) = self.role.take() {
            self.breaker.change(|circuit| circuit.give_back(role));
        }
    }
}

/// Tells a breaker how a stream goes on after its head.
#[derive(Debug)]
pub(super) struct Report {
    breaker: Arc<Breaker>,
    told: Option<Course>,
}

impl Report {
    /// An instance of it, or all of it, arrived whole.
    pub(super) fn whole(&mut self) {
        if self.told.is_none() {
            self.tell(Course::Whole);
        }
    }

    /// It broke off. What is wrong with its form says nothing of the address.
    pub(super) fn broke_off(&mut self, error: &body::Error) {
        match error {
            body::Error::Silent | body::Error::Disconnected | body::Error::Truncated => {
                if self.told != Some(Course::Broken) {
                    self.tell(Course::Broken);
                }
            }
            body::Error::Malformed(_)
            | body::Error::Missing(_)
            | body::Error::Unreadable
            | body::Error::Abandoned => {}
        }
    }

    fn tell(&mut self, course: Course) {
        self.told = Some(course);
        let (now, chance) = (Instant::now(), chance());
        self.breaker
            .change(|circuit| circuit.follow(course, now, chance));
    }
}

/// A number from 0 to 1. Where there is no chance, gateways may come back together.
fn chance() -> f64 {
    getrandom::u32().map_or(0.5, |number| f64::from(number) / f64::from(u32::MAX))
}

/// Failures in a row that open a breaker.
const MOST_FAILURES: u32 = 3;
const SHORTEST: Duration = Duration::from_secs(1);
const LONGEST: Duration = Duration::from_secs(30);
/// What a server may ask for.
const LONGEST_ASKED: Duration = Duration::from_secs(60);
/// For how long a stream that broke off is remembered.
const RECENT: Duration = Duration::from_secs(60);
