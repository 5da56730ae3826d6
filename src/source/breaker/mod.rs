//! Circuit breakers: one for each address, closed, doubtful, open or half open.
//!
//! | outcome | counts as |
//! |---|---|
//! | no connection | a failure of the address |
//! | time-out, closed connection, `502`, `503`, `504`, `429` | a failure of the object; three in a
//! row raise a doubt |
//! | one of these statuses with `Retry-After` | requests for the object are refused for that time,
//! a minute at most |
//! | any other answer, `404` and `500` among them | a success of the address |
//! | a stream is silent, too slow, broken or truncated before its first whole instance | a failure
//! of the object |
//! | an instance of a stream arrived whole | a success of the object |
//! | a failed repair; a request whose client left | nothing |
//!
//! Three requests in a row without a connection open a breaker. Three in a row without an answer
//! make it doubtful: a probe runs at once and decides, and requests wait for its result for a
//! second at most. A breaker also opens if failures exceed successes by six among the last 32
//! objects: a fault in one object of five does not affect the others.
//!
//! A breaker opens for a second first and backs off to 30 seconds, with up to 25 % jitter, so that
//! gateways do not return all at once. Then it lets one request through; a request for a recently
//! failed object needs a probe first.

mod circuit;
mod recent;
#[cfg(test)]
mod tests;

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use prometheus::IntGauge;
use tokio::sync::Notify;

use circuit::{Circuit, Course, Role, State};
pub(super) use circuit::{Outcome, Refused, Standing, Subject};
pub(super) use recent::Object;

use crate::body;
use crate::random;

/// A breaker, shared by all requests to its address.
#[derive(Debug, Default)]
pub(super) struct Breaker {
    circuit: Mutex<Circuit>,
    /// Notified when the doubt ends.
    settled: Notify,
    meter: OnceLock<Meter>,
    /// Whether the log contains the opening.
    is_told: AtomicBool,
}

/// The breaker's metric and its labels for the log.
#[derive(Debug)]
pub(super) struct Meter {
    /// The alias of the source.
    pub(super) alias: Arc<str>,
    /// The number of the address, from 1.
    pub(super) address: usize,
    /// 0 closed, 1 half open or doubtful, 2 open.
    pub(super) gauge: IntGauge,
}

/// A permit for one request. A permit dropped without an outcome has no effect: its client left.
#[derive(Debug)]
pub(super) struct Permit {
    breaker: Arc<Breaker>,
    role: Option<Role>,
}

impl Breaker {
    /// Requests a permit for this subject.
    ///
    /// # Errors
    /// Why the request is refused, and for how long.
    pub(super) fn permit(
        self: &Arc<Self>,
        subject: Subject,
        now: Instant,
    ) -> Result<Permit, Refused> {
        let role = self.change(|circuit| circuit.permit(subject, now))?;
        Ok(self.granted(role))
    }

    /// A permit for a probe, if one is due.
    pub(super) fn permit_probe(self: &Arc<Self>, now: Instant) -> Option<Permit> {
        let role = self.change(|circuit| circuit.permit_probe(now))?;
        Some(self.granted(role))
    }

    /// The standing of the address.
    pub(super) fn standing(&self, now: Instant) -> Standing {
        self.lock().standing(now)
    }

    /// Refuses an object for this time, a minute at most.
    pub(super) fn rest(&self, object: Object, wait: Duration, now: Instant) {
        self.lock().rest(object, wait, now);
    }

    /// Waits until the doubt ends.
    pub(super) async fn settled(&self) {
        loop {
            let settled = self.settled.notified();
            let mut settled = std::pin::pin!(settled);
            settled.as_mut().enable();
            if self.lock().state != State::Doubted {
                return;
            }
            settled.await;
        }
    }

    /// Reports its state to metrics and logs.
    pub(super) fn watch(&self, meter: Meter) {
        // A second call has no effect.
        let _ = self.meter.set(meter);
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
        if before == State::Doubted && circuit.state != before {
            self.settled.notify_waiters();
        }
        self.show(circuit.state);
        changed
    }

    fn show(&self, now: State) {
        let Some(meter) = self.meter.get() else {
            return;
        };
        meter.gauge.set(match now {
            State::Closed => 0,
            State::Doubted | State::HalfOpen => 1,
            State::Open { .. } => 2,
        });
        let (location, address) = (&*meter.alias, meter.address);
        match now {
            State::Open { .. } if !self.is_told.swap(true, Ordering::Relaxed) => {
                tracing::warn!(location, address, "a circuit breaker opened");
            }
            State::Closed if self.is_told.swap(false, Ordering::Relaxed) => {
                tracing::info!(location, address, "a circuit breaker closed");
            }
            State::Open { .. } | State::Closed | State::Doubted | State::HalfOpen => {}
        }
    }

    // No panic between lock and unlock can leave a half-made change.
    fn lock(&self) -> MutexGuard<'_, Circuit> {
        self.circuit.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Permit {
    /// Records the outcome of the request. Returns a report for its stream, unless it was a probe.
    pub(super) fn record(mut self, outcome: Outcome, now: Instant) -> Option<Report> {
        let role = self.role.take()?;
        let chance = chance();
        self.breaker
            .change(|circuit| circuit.record(role, outcome, now, chance));
        Some(Report {
            subject: role.subject()?,
            breaker: Arc::clone(&self.breaker),
            told: None,
        })
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        if let Some(role) = self.role.take() {
            self.breaker.change(|circuit| circuit.give_back(role));
        }
    }
}

/// Reports the course of a stream after its head to the breaker.
#[derive(Debug)]
pub(super) struct Report {
    breaker: Arc<Breaker>,
    subject: Subject,
    told: Option<Course>,
}

impl Report {
    /// An instance, or the entire stream, arrived whole.
    pub(super) fn whole(&mut self) {
        if self.told.is_none() {
            self.tell(Course::Whole);
        }
    }

    /// The stream broke off. A malformed stream does not count against the address.
    pub(super) fn broke_off(&mut self, error: &body::Error) {
        match error {
            body::Error::Silent
            | body::Error::TooSlow
            | body::Error::Disconnected
            | body::Error::Truncated => match self.told {
                None => self.tell(Course::Broken),
                Some(Course::Whole) => self.tell(Course::Faltered),
                Some(Course::Broken | Course::Faltered) => {}
            },
            body::Error::Malformed(_)
            | body::Error::NotWhole(_)
            | body::Error::Conflicting
            | body::Error::Missing(_)
            | body::Error::Unreadable
            | body::Error::Memory(_)
            | body::Error::Revoked
            | body::Error::Abandoned => {}
        }
    }

    fn tell(&mut self, course: Course) {
        self.told = Some(course);
        let (subject, now, chance) = (self.subject, Instant::now(), chance());
        self.breaker
            .change(|circuit| circuit.follow(subject, course, now, chance));
    }
}

/// A number from 0 to 1. Without randomness there is no jitter.
fn chance() -> f64 {
    random::bytes().map_or(0.5, |number| {
        f64::from(u32::from_le_bytes(number)) / f64::from(u32::MAX)
    })
}
