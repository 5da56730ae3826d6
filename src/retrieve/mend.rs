//! What breaks off is fetched again, and whoever reads it does not see that.
//!
//! The bytes that were given already are compared with those that come now: only what begins alike
//! can be gone on with.

use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::{Buf, Bytes};

use super::Retriever;
use super::crossing::Question;
use super::kept::{Kept, Knowledge};
use crate::body::{self, Body, Emitter};
use crate::cache::Flight;
use crate::dicom::TransferSyntaxes;
use crate::instance::Instance;
use crate::source::{self, Claim};

/// The first pause before something is tried again.
const FIRST_PAUSE: Duration = Duration::from_millis(100);
const LONGEST_PAUSE: Duration = Duration::from_secs(5);

/// Pauses between tries, until it has been silent for too long.
#[derive(Debug)]
pub(super) struct Backoff {
    until: Instant,
    pause: Duration,
}

impl Backoff {
    pub(super) fn new(silence: Duration) -> Self {
        Self {
            until: Instant::now() + silence,
            pause: FIRST_PAUSE,
        }
    }

    /// Waits before the next try; `false` if there is no use in one, or no time.
    pub(super) async fn pause(&mut self, error: &source::Error) -> bool {
        let Some(wanted) = self.wanted(error) else {
            return false;
        };
        if Instant::now() + wanted >= self.until {
            return false;
        }
        tokio::time::sleep(wanted).await;
        self.pause = (self.pause * 2).min(LONGEST_PAUSE);
        true
    }

    fn wanted(&self, error: &source::Error) -> Option<Duration> {
        match error {
            source::Error::Overloaded {
                retry_after: Some(after),
            }
            | source::Error::Resting { retry_after: after }
            | source::Error::Crowded { retry_after: after } => Some(self.jittered().max(*after)),
            // It would contradict itself again.
            source::Error::BrokeOff(body::Error::Conflicting) => None,
            source::Error::Overloaded { retry_after: None }
            | source::Error::Unreachable
            | source::Error::HungUp
            | source::Error::TimedOut
            | source::Error::Malformed(_)
            | source::Error::BrokeOff(_)
            | source::Error::Status(500..) => Some(self.jittered()),
            source::Error::NotFound
            | source::Error::NotModified
            | source::Error::Gone
            | source::Error::BadRequest
            | source::Error::InstancesOnly
            | source::Error::NotAcceptable
            | source::Error::Forbidden
            | source::Error::Status(_) => None,
        }
    }

    /// Half of the pause to all of it: those who broke off together do not come back together.
    fn jittered(&self) -> Duration {
        let mut random = [0; 2];
        // Without random numbers they do, which is no harm.
        let _ = getrandom::fill(&mut random);
        let share = f64::from(u16::from_le_bytes(random)) / f64::from(u16::MAX);
        self.pause.mul_f64(0.5 + share / 2.0)
    }
}

impl Retriever {
    /// Pauses for the repair of one instance.
    pub(super) fn backoff(&self) -> Backoff {
        Backoff::new(Duration::from_secs(self.settings.repair_seconds))
    }

    /// The bytes of an instance that is arriving; if it breaks off, the rest comes from another try.
    /// `None` if its start is gone.
    pub(super) fn mended(&self, flight: &Arc<Flight>, question: &Question) -> Option<Body> {
        let first = flight.follow()?;
        let mending = Mending {
            retriever: self.clone(),
            question: Question {
                target: flight.identity.target(),
                listing: None,
                had: None,
                is_repair: true,
                ..question.clone()
            },
            flight: Arc::clone(flight),
            given: 0,
        };
        let write = |out| mending.write(first, out);
        Some(Body::generate(flight.length, write))
    }
}

struct Mending {
    retriever: Retriever,
    /// What to ask for again.
    question: Question,
    /// The last try.
    flight: Arc<Flight>,
    /// Bytes that were given.
    given: u64,
}

impl Mending {
    async fn write(mut self, mut body: Body, out: Emitter) -> Result<(), body::Error> {
        let mut backoff = None;
        let mut was_too_slow = false;
        loop {
            match body.chunk().await {
                Ok(Some(chunk)) => {
                    backoff = None;
                    self.given += chunk.len() as u64;
                    out.emit(chunk).await?;
                }
                Ok(None) => return Ok(()),
                // Another address may be faster. A trickle that never ends is no progress.
                Err(error) if error == body::Error::TooSlow && was_too_slow => return Err(error),
                Err(error) => {
                    was_too_slow |= error == body::Error::TooSlow;
                    let backoff = backoff.get_or_insert_with(|| self.retriever.backoff());
                    body = self.again(error, backoff).await?;
                }
            }
        }
    }

    /// What follows on the bytes that were given.
    async fn again(
        &mut self,
        error: body::Error,
        backoff: &mut Backoff,
    ) -> Result<Body, body::Error> {
        let alias = Arc::clone(&self.question.source.alias);
        let count = |outcome| {
            let repairs = &self.retriever.metrics.repairs;
            repairs.with_label_values(&[&*alias, outcome]).inc();
        };
        let mut last = source::Error::BrokeOff(error.clone());
        loop {
            if !backoff.pause(&last).await {
                count("failed");
                return Err(error);
            }
            match self.try_again().await {
                Ok(Some(body)) => {
                    count("repaired");
                    return Ok(body);
                }
                // Something else comes now; what was given cannot be taken back.
                Ok(None) => {
                    count("changed");
                    return Err(error);
                }
                Err(error) => last = error,
            }
        }
    }

    async fn try_again(&self) -> Result<Option<Body>, source::Error> {
        let instance = self.retriever.one(&self.question).await?;
        let mut body = instance.body;
        if self.flight.length.is_some()
            && body.length().is_some_and(|l| self.flight.length != Some(l))
        {
            return Ok(None);
        }
        let Some(mut before) = self.flight.follow() else {
            return Ok((self.given == 0).then_some(body));
        };
        let (mut left, mut old, mut new) = (self.given, Bytes::new(), Bytes::new());
        while left > 0 {
            if old.is_empty() {
                // It broke off behind these bytes, so they are there.
                old = before.chunk().await?.unwrap_or_default();
            }
            if new.is_empty() {
                new = body.chunk().await?.unwrap_or_default();
            }
            let length = usize::try_from(left).unwrap_or(usize::MAX);
            let length = length.min(old.len()).min(new.len());
            if length == 0 || old[..length] != new[..length] {
                return Ok(None);
            }
            old.advance(length);
            new.advance(length);
            left -= length as u64;
        }
        Ok(Some(if new.is_empty() {
            body
        } else {
            body.after(new)
        }))
    }
}

impl Retriever {
    /// One instance, as it is kept or comes now.
    pub(super) async fn one(&self, question: &Question) -> Result<Instance, source::Error> {
        let as_stored = TransferSyntaxes::AsStored;
        if let Some(key) = question.key()
            && let looking = self.kept(&key, &as_stored, question, Knowledge::Nothing)
            && let Kept::Here(instance) = Box::pin(looking).await
        {
            return Ok(*instance);
        }
        let (mut follower, _is_partial) = self.follow(question, Claim::Repair).await?;
        while let Some(arrived) = follower.next().await? {
            let flight = arrived.flight();
            if let Some(body) = flight.and_then(|flight| flight.follow()) {
                return Ok(follower.instance(&arrived, body));
            }
        }
        Err(source::Error::NotFound)
    }
}
