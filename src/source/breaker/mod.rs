//! When an address is left alone: a breaker for each, which is closed, doubtful, open or half open.
//!
//! | outcome | what it counts |
//! |---|---|
//! | no connection | a failure of the address |
//! | no answer in time, hung up, `502`, `503`, `504`, `429` | a failure of the object; in a row, a reason for doubt |
//! | one of these statuses with `Retry-After` | the object rests for exactly that long, a minute at most |
//! | any other answer, `404` and `500` among them | success: somebody is there |
//! | a stream goes silent, is too slow, breaks or ends early before anything of it was whole | a failure of the object |
//! | an instance of a stream arrived whole | success of the object |
//! | a repair of a failed object fails too; the client has left | nothing |
//!
//! Three requests in a row without a connection open a breaker. Three in a row without an answer make it
//! doubtful: the harmless question (a probe) is asked at once and decides, and those who come meanwhile
//! wait for that for a second at most. It opens too when of the last 32 objects six more failed than did
//! not: what is wrong with one object in five says nothing of the others.
//!
//! It opens for a second at first and for twice as long each time after that, up to 30 seconds; up to a
//! quarter less, by chance, so that gateways do not come back all at once. Then one request is let
//! through, unless it is for an object that failed lately: there a probe goes before it.

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

/// A breaker, shared by all who ask the address.
#[derive(Debug, Default)]
pub(super) struct Breaker {
    circuit: Mutex<Circuit>,
    /// Told when it is doubtful no more.
    settled: Notify,
    meter: OnceLock<Meter>,
    /// Whether operators were told that it is left alone.
    is_told: AtomicBool,
}

/// What operators see of it.
#[derive(Debug)]
pub(super) struct Meter {
    /// What the source is called.
    pub(super) alias: Arc<str>,
    /// The how-manyth of its addresses it is, from 1.
    pub(super) address: usize,
    /// 0 closed, 1 half open or doubtful, 2 open.
    pub(super) gauge: IntGauge,
}

/// One request may be sent. Dropped without an outcome, it counts as nothing: nobody has waited for one.
#[derive(Debug)]
pub(super) struct Permit {
    breaker: Arc<Breaker>,
    role: Option<Role>,
}

impl Breaker {
    /// Whether this may be asked now.
    ///
    /// # Errors
    /// Why not, and for how long.
    pub(super) fn permit(
        self: &Arc<Self>,
        subject: Subject,
        now: Instant,
    ) -> Result<Permit, Refused> {
        let role = self.change(|circuit| circuit.permit(subject, now))?;
        Ok(self.granted(role))
    }

    /// Permits a request whose only purpose is to find out whether the address is well, if it is time.
    pub(super) fn permit_probe(self: &Arc<Self>, now: Instant) -> Option<Permit> {
        let role = self.change(|circuit| circuit.permit_probe(now))?;
        Some(self.granted(role))
    }

    /// How good the address is.
    pub(super) fn standing(&self, now: Instant) -> Standing {
        self.lock().standing(now)
    }

    /// Leaves an object alone for so long, a minute at most.
    pub(super) fn rest(&self, object: Object, wait: Duration, now: Instant) {
        self.lock().rest(object, wait, now);
    }

    /// Waits until the address is doubtful no more.
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

    /// Shows its state from now on.
    pub(super) fn watch(&self, meter: Meter) {
        // A second watch sees what the first one does.
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
                tracing::warn!(location, address, "an address is left alone for a while");
            }
            State::Closed if self.is_told.swap(false, Ordering::Relaxed) => {
                tracing::info!(location, address, "an address answers again");
            }
            State::Open { .. } | State::Closed | State::Doubted | State::HalfOpen => {}
        }
    }

    // Nothing between lock and unlock can leave it half changed.
    fn lock(&self) -> MutexGuard<'_, Circuit> {
        self.circuit.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Permit {
    /// Tells how the request went. Gives a report on how its stream goes on, unless it was a probe.
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

/// Tells a breaker how a stream goes on after its head.
#[derive(Debug)]
pub(super) struct Report {
    breaker: Arc<Breaker>,
    subject: Subject,
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

/// A number from 0 to 1. Where there is no chance, gateways may come back together.
fn chance() -> f64 {
    getrandom::u32().map_or(0.5, |number| f64::from(number) / f64::from(u32::MAX))
}
