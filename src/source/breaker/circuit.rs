//! When an address is left alone: the rule, without clock and without chance. Both are arguments.

use std::time::{Duration, Instant};

use super::recent::{Object, Recent, Rests, is_recent};

/// What is known of an address.
#[derive(Debug, Clone, Default)]
pub(super) struct Circuit {
    pub(super) state: State,
    /// A trial or a probe is under way; there is one at most.
    is_on_trial: bool,
    /// Requests in a row that were not answered.
    unanswered: u32,
    /// Of these, the last ones in a row that found nobody to talk to.
    unconnected: u32,
    last_failure: Option<Instant>,
    /// Streams in a row that broke off.
    broken: u32,
    last_broken: Option<Instant>,
    recent: Recent,
    rests: Rests,
    /// How often it opened since it was last known to be well.
    openings: u32,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) enum State {
    #[default]
    Closed,
    /// It has failed in a way that may be the fault of objects: a probe decides.
    Doubted,
    Open {
        until: Instant,
    },
    HalfOpen,
}

/// What a request is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::source) struct Subject {
    pub(in crate::source) object: Object,
    /// Whether it is asked for again because it broke off: the same fault does not count twice.
    pub(in crate::source) is_repair: bool,
}

/// What a request is let through as.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Role {
    Ordinary(Subject),
    /// It finds out whether the address is back.
    Trial(Subject),
    /// The harmless question that finds out the same.
    Probe,
}

/// How a request went.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::source) enum Outcome {
    /// The address gave a definite answer, whichever.
    Answered,
    /// It begins to give what it was asked for; how that goes on is told later.
    Begun,
    /// There is nobody to talk to.
    Unconnected,
    /// It did not answer, or with a status that helps nobody, and perhaps wants to be left alone.
    Failed { wait: Option<Duration> },
}

/// How a stream went on after its head.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Course {
    /// Something of it arrived whole.
    Whole,
    /// It broke off before anything of it was whole.
    Broken,
    /// It broke off after something of it was.
    Faltered,
}

/// How good an address is, best first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(in crate::source) enum Standing {
    /// It may be asked; with its failures in a row, in halves.
    Closed(u32),
    /// It may be tried.
    Due,
    /// A probe decides.
    Doubted,
    /// It is left alone.
    Resting,
}

/// Something may not be asked of an address.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::source) enum Refused {
    /// The address is left alone for so long.
    Address { wait: Duration },
    /// This object is, and no other.
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
            // What has failed already would say little, and could keep the address shut for all.
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

    /// A permit for a probe, if it is time to find out whether the address is well. A closed one is
    /// probed too once it has failed: nobody else asks it as long as there is a better one.
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

    /// Somebody is there.
    fn answered(&mut self, role: Role) {
        let is_news = match (self.state, role) {
            (State::Closed | State::Doubted, _) => true,
            (State::HalfOpen, Role::Trial(_) | Role::Probe) => true,
            // Requests from before it opened say nothing new.
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

    /// Leaves an object alone for as long as the server asks, within reason.
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
                // What falters makes progress.
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

/// For how long it opens the next time. `chance` is from 0 to 1.
pub(super) fn open_time(openings: u32, chance: f64) -> Duration {
    let time = SHORTEST * (1 << openings.min(5));
    time.min(LONGEST)
        .mul_f64(1.0 - chance.clamp(0.0, 1.0) / 4.0)
}

/// Requests in a row without an answer that make an address doubtful.
pub(super) const MOST_FAILURES: u32 = 3;
/// By so many more of the last objects must have failed than not: where one object in five is bad,
/// chance alone leads there once in some thousands of times.
pub(super) const MOST_EXCESS: usize = 6;
pub(super) const SHORTEST: Duration = Duration::from_secs(1);
pub(super) const LONGEST: Duration = Duration::from_secs(30);
/// What a server may ask for.
pub(super) const LONGEST_ASKED: Duration = Duration::from_secs(60);
