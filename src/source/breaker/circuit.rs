//! The rules of a breaker. Clock and randomness are arguments.

use std::time::{Duration, Instant};

use super::recent::{Object, Recent, Rests, is_recent};

/// The state of an address.
#[derive(Debug, Clone, Default)]
pub(super) struct Circuit {
    pub(super) state: State,
    /// A trial or a probe is running; at most one does.
    is_on_trial: bool,
    /// Consecutive requests without an answer.
    unanswered: u32,
    /// The last of these, as far as they had no connection.
    unconnected: u32,
    last_failure: Option<Instant>,
    /// Consecutive broken streams.
    broken: u32,
    last_broken: Option<Instant>,
    recent: Recent,
    rests: Rests,
    /// Openings since the address was last healthy.
    openings: u32,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) enum State {
    #[default]
    Closed,
    /// The failures may be the fault of objects: a probe decides.
    Doubted,
    Open {
        until: Instant,
    },
    HalfOpen,
}

/// The object of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::source) struct Subject {
    pub(in crate::source) object: Object,
    /// Whether the request is a repair: the same fault does not count twice.
    pub(in crate::source) is_repair: bool,
}

/// The role of a permitted request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Role {
    Ordinary(Subject),
    /// It tests whether the address has recovered.
    Trial(Subject),
    /// A harmless request with the same purpose.
    Probe,
}

/// The outcome of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::source) enum Outcome {
    /// The address gave any definite answer.
    Answered,
    /// A successful answer begins; its course is reported later.
    Begun,
    /// The connection failed.
    Unconnected,
    /// No answer, or a gateway status, possibly with `Retry-After`.
    Failed { wait: Option<Duration> },
}

/// The course of a stream after its head.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Course {
    /// An instance arrived whole.
    Whole,
    /// It broke off before the first whole instance.
    Broken,
    /// It broke off after a whole instance.
    Faltered,
}

/// The standing of an address, best first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(in crate::source) enum Standing {
    /// Requests are permitted; with the consecutive failures, in halves.
    Closed(u32),
    /// A trial is due.
    Due,
    /// A probe decides.
    Doubted,
    /// Requests are refused.
    Resting,
}

/// A refused request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::source) enum Refused {
    /// All requests to the address are refused for this time.
    Address { wait: Duration },
    /// Only this object is refused.
    Object { wait: Duration },
    /// A probe decides.
    Doubted,
}

impl Circuit {
    pub(super) fn permit(&mut self, subject: Subject, now: Instant) -> Result<Role, Refused> {
        if let State::Open { until } = self.state
            && now < until
        {
            return Err(Refused::Address { wait: until - now });
        }
        if let Some(wait) = self.rests.wait(subject.object, now) {
            return Err(Refused::Object { wait });
        }
        match self.state {
            State::Closed => Ok(Role::Ordinary(subject)),
            State::Doubted => Err(Refused::Doubted),
            State::Open { .. } | State::HalfOpen if self.is_on_trial => {
                Err(Refused::Address { wait: SHORTEST })
            }
            // A failed object proves little, and could keep the breaker open for all objects.
            State::Open { .. } | State::HalfOpen if !self.is_fresh(subject, now) => {
                self.state = State::Doubted;
                Err(Refused::Doubted)
            }
            State::Open { .. } | State::HalfOpen => {
                self.state = State::HalfOpen;
                self.is_on_trial = true;
                Ok(Role::Trial(subject))
            }
        }
    }

    fn is_fresh(&self, subject: Subject, now: Instant) -> bool {
        !subject.is_repair && !self.recent.has_failed(subject.object, now)
    }

    /// A permit for a probe, if one is due. A closed breaker with failures is probed too: its
    /// address gets no requests while a better one exists.
    pub(super) fn permit_probe(&mut self, now: Instant) -> Option<Role> {
        let is_due = match self.state {
            State::Doubted | State::HalfOpen => true,
            State::Open { until } => now >= until,
            State::Closed => {
                let failed_before = |at: Instant| now >= at + SHORTEST;
                self.unanswered > 0 && self.last_failure.is_some_and(failed_before)
            }
        };
        if !is_due || self.is_on_trial {
            return None;
        }
        if let State::Open { .. } = self.state {
            self.state = State::HalfOpen;
        }
        self.is_on_trial = true;
        Some(Role::Probe)
    }

    pub(super) fn give_back(&mut self, role: Role) {
        match role {
            Role::Ordinary(_) => {}
            Role::Trial(_) | Role::Probe => self.is_on_trial = false,
        }
    }

    pub(super) fn record(&mut self, role: Role, outcome: Outcome, now: Instant, chance: f64) {
        self.give_back(role);
        match outcome {
            Outcome::Begun => self.answered(role),
            Outcome::Answered => {
                self.answered(role);
                if let Some(subject) = role.subject() {
                    self.succeeded(subject, now);
                }
            }
            Outcome::Unconnected => self.record_no_connection(role, now, chance),
            Outcome::Failed { wait } => self.record_failure(role, wait, now, chance),
        }
    }

    fn record_no_connection(&mut self, role: Role, now: Instant, chance: f64) {
        self.failed(role, None, now);
        match (self.state, role) {
            (State::Closed, _) => {
                self.unconnected += 1;
                // A refused connection is never the fault of an object.
                if self.unconnected >= MOST_FAILURES {
                    self.open(None, now, chance);
                } else {
                    self.doubt_if_bad();
                }
            }
            (State::Doubted, Role::Probe) | (State::HalfOpen, Role::Trial(_) | Role::Probe) => {
                self.open(None, now, chance);
            }
            (State::Doubted | State::HalfOpen | State::Open { .. }, _) => {}
        }
    }

    fn record_failure(&mut self, role: Role, wait: Option<Duration>, now: Instant, chance: f64) {
        self.failed(role, wait, now);
        match (self.state, role) {
            (State::Closed, Role::Probe) if self.unanswered >= MOST_FAILURES => {
                self.open(wait, now, chance);
            }
            (State::Closed, _) => {
                self.unconnected = 0;
                if let Some(subject) = role.subject() {
                    self.object_failed(subject, now);
                }
                self.doubt_if_bad();
                self.open_if_bad(wait, now, chance);
            }
            (State::HalfOpen, Role::Trial(subject)) => {
                self.object_failed(subject, now);
                self.state = State::Doubted;
            }
            (State::Doubted | State::HalfOpen, Role::Probe) => self.open(wait, now, chance),
            (State::Doubted | State::HalfOpen | State::Open { .. }, _) => {}
        }
    }

    /// The address responds.
    fn answered(&mut self, role: Role) {
        let is_news = match (self.state, role) {
            (State::Closed | State::Doubted, _) => true,
            (State::HalfOpen, Role::Trial(_) | Role::Probe) => true,
            // Requests from before the opening say nothing about the present.
            (State::HalfOpen, Role::Ordinary(_)) | (State::Open { .. }, _) => false,
        };
        if is_news {
            self.state = State::Closed;
            (self.unanswered, self.unconnected) = (0, 0);
        }
    }

    fn failed(&mut self, role: Role, wait: Option<Duration>, now: Instant) {
        if let (Some(subject), Some(wait)) = (role.subject(), wait) {
            self.rest(subject.object, wait, now);
        }
        if self.state == State::Closed {
            self.unanswered += 1;
            self.last_failure = Some(now);
        }
    }

    /// Refuses an object for as long as the server asks, within a bound.
    pub(super) fn rest(&mut self, object: Object, wait: Duration, now: Instant) {
        self.rests.add(object, now + wait.min(LONGEST_ASKED), now);
    }

    pub(super) fn follow(&mut self, subject: Subject, course: Course, now: Instant, chance: f64) {
        let is_asked = matches!(self.state, State::Closed | State::Doubted);
        match course {
            Course::Whole => {
                self.broken = 0;
                self.succeeded(subject, now);
            }
            Course::Broken | Course::Faltered if !is_asked => {}
            Course::Broken | Course::Faltered => {
                self.broken = self.broken_lately(now) + 1;
                self.last_broken = Some(now);
                // A faltering stream makes progress.
                if course == Course::Broken {
                    self.object_failed(subject, now);
                    self.open_if_bad(None, now, chance);
                }
            }
        }
    }

    fn succeeded(&mut self, subject: Subject, now: Instant) {
        if self.state == State::Closed {
            self.recent.note(subject.object, true, now);
            if self.recent.excess_of_failures(now) == 0 {
                self.openings = 0;
            }
        }
    }

    fn object_failed(&mut self, subject: Subject, now: Instant) {
        if !subject.is_repair {
            self.recent.note(subject.object, false, now);
        }
    }

    fn doubt_if_bad(&mut self) {
        if self.unanswered >= MOST_FAILURES {
            self.state = State::Doubted;
        }
    }

    fn open_if_bad(&mut self, wait: Option<Duration>, now: Instant, chance: f64) {
        if self.recent.excess_of_failures(now) >= MOST_EXCESS {
            self.open(wait, now, chance);
        }
    }

    fn open(&mut self, asked: Option<Duration>, now: Instant, chance: f64) {
        let own = open_time(self.openings, chance);
        let asked = asked.unwrap_or_default().min(LONGEST_ASKED);
        self.openings = self.openings.saturating_add(1);
        (self.unanswered, self.unconnected) = (0, 0);
        self.recent.discount();
        self.state = State::Open {
            until: now + own.max(asked),
        };
    }

    fn broken_lately(&self, now: Instant) -> u32 {
        self.last_broken
            .filter(|at| is_recent(*at, now))
            .map_or(0, |_| self.broken)
    }

    pub(super) fn standing(&self, now: Instant) -> Standing {
        match self.state {
            State::Closed => Standing::Closed(2 * self.unanswered + self.broken_lately(now)),
            State::Doubted => Standing::Doubted,
            State::Open { until } if now < until => Standing::Resting,
            State::Open { .. } | State::HalfOpen if self.is_on_trial => Standing::Resting,
            State::Open { .. } | State::HalfOpen => Standing::Due,
        }
    }
}

impl Role {
    pub(super) fn subject(self) -> Option<Subject> {
        match self {
            Self::Ordinary(subject) | Self::Trial(subject) => Some(subject),
            Self::Probe => None,
        }
    }
}

/// The duration of the next opening. `chance` is from 0 to 1.
pub(super) fn open_time(openings: u32, chance: f64) -> Duration {
    let time = SHORTEST * (1 << openings.min(5));
    time.min(LONGEST)
        .mul_f64(1.0 - chance.clamp(0.0, 1.0) / 4.0)
}

/// Consecutive requests without an answer that make an address doubtful.
pub(super) const MOST_FAILURES: u32 = 3;
/// The excess of failed objects that opens a breaker: at a failure rate of one in five, random
/// failures reach it once in some thousands of cases.
pub(super) const MOST_EXCESS: usize = 6;
pub(super) const SHORTEST: Duration = Duration::from_secs(1);
pub(super) const LONGEST: Duration = Duration::from_secs(30);
/// The longest accepted `Retry-After`.
pub(super) const LONGEST_ASKED: Duration = Duration::from_secs(60);
