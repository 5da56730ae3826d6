//! Repair: a broken body is fetched again, invisibly to its reader.
//!
//! The digest of the bytes that the reader has is compared with the digest of as many bytes of the
//! next copy. A flight knows the digests of its bytes, so that none is computed twice. Any copy
//! with the same start can continue the body, any number of times. The bytes of earlier tries are
//! not needed, so this also works for flights that pass by, and for instances that have reached a
//! tier meanwhile.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::{Buf, Bytes};

use super::Retriever;
use super::crossing::Question;
use crate::body::{self, Body, Emitter, Skip};
use crate::cache::Flight;
use crate::digest::{Digest, Rolling};
use crate::instance::Instance;
use crate::random;
use crate::source::{self, Claim};

/// The first pause before a retry.
const FIRST_PAUSE: Duration = Duration::from_millis(100);
const LONGEST_PAUSE: Duration = Duration::from_secs(5);
/// The continuing copy differs in length from the length that the reader was promised.
const OTHER_LENGTH: body::Error = body::Error::Malformed("its length has changed");

/// Exponential back-off with jitter, which gives up after a period of silence.
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

    /// Waits before the next try; `false` if a retry is pointless or the time is up.
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
            | source::Error::NoToken {
                retry_after: after, ..
            }
            | source::Error::Crowded { retry_after: after } => Some(self.jittered().max(*after)),
            // The source would contradict itself again.
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
            | source::Error::OtherPatient
            | source::Error::BadRequest
            | source::Error::InstancesOnly
            | source::Error::NotAcceptable
            | source::Error::NotForUser(_)
            | source::Error::Forbidden
            | source::Error::Status(_) => None,
        }
    }

    /// Between half of the pause and all of it, so that requests that broke off together do not
    /// retry together.
    fn jittered(&self) -> Duration {
        // Without random numbers they do, which is harmless.
        let random = random::bytes().unwrap_or_default();
        let share = f64::from(u16::from_le_bytes(random)) / f64::from(u16::MAX);
        self.pause.mul_f64(0.5 + share / 2.0)
    }
}

impl Retriever {
    /// The back-off for the repair of one instance.
    pub(super) fn backoff(&self) -> Backoff {
        Backoff::new(Duration::from_secs(self.settings.repair_seconds))
    }

    /// The body of an instance in flight; if the flight breaks off, another copy supplies the rest.
    /// `None` if the start of the flight has been dropped.
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
            length: flight.length,
            given: 0,
            content: Content::Marked {
                flight: Arc::clone(flight),
                tail: VecDeque::new(),
            },
        };
        let write = |out, skip| mending.write(first, out, skip);
        Some(Body::skippable(flight.length, write))
    }
}

struct Mending {
    retriever: Retriever,
    /// The question for the next copy.
    question: Question,
    /// The exact length, if the reader was promised one.
    length: Option<u64>,
    /// Bytes delivered so far, and their content.
    given: u64,
    content: Content,
}

/// The content of the delivered bytes, as far as it is needed to recognise it.
enum Content {
    /// The flight that has delivered them knows digests of most of them; these are the others.
    Marked {
        flight: Arc<Flight>,
        tail: VecDeque<Bytes>,
    },
    /// Several copies have delivered them.
    Digested(Rolling),
}

impl Content {
    /// Adds a chunk, which ends at `given`.
    fn add(&mut self, chunk: &Bytes, given: u64) {
        match self {
            Self::Digested(digest) => digest.update(chunk),
            Self::Marked { flight, tail } => {
                let mark = flight.mark_before(given).map_or(0, |(at, _digest)| at);
                if mark == given {
                    tail.clear();
                    return;
                }
                tail.push_back(chunk.clone());
                cut_front(tail, given - mark);
            }
        }
    }

    /// The digest of the delivered bytes up to an offset, and the bytes behind it.
    fn known(&self, given: u64) -> (u64, Digest, Vec<Bytes>) {
        let nothing = || (0, Rolling::new().digest());
        match self {
            Self::Digested(digest) => (given, digest.digest(), Vec::new()),
            Self::Marked { flight, tail } => {
                let tailed: usize = tail.iter().map(Bytes::len).sum();
                let (at, digest) = flight
                    .mark_before(given - tailed as u64)
                    .unwrap_or_else(nothing);
                (at, digest, tail.iter().cloned().collect())
            }
        }
    }
}

impl Mending {
    async fn write(mut self, mut body: Body, out: Emitter, skip: Skip) -> Result<(), body::Error> {
        let mut backoff = None;
        let mut was_too_slow = false;
        loop {
            self.pass_over(&mut body, &skip);
            match body.chunk().await {
                Ok(Some(mut chunk)) => {
                    backoff = None;
                    self.given += chunk.len() as u64;
                    if self.length.is_some_and(|length| self.given > length) {
                        return Err(OTHER_LENGTH);
                    }
                    self.content.add(&chunk, self.given);
                    skip.cut(&mut chunk);
                    if !chunk.is_empty() {
                        out.emit(chunk).await?;
                    }
                }
                Ok(None) if self.length.is_some_and(|length| self.given < length) => {
                    return Err(OTHER_LENGTH);
                }
                Ok(None) => return Ok(()),
                // Another address may be faster. An endless trickle is not progress.
                Err(error) if error == body::Error::TooSlow && was_too_slow => return Err(error),
                Err(error) => {
                    was_too_slow |= error == body::Error::TooSlow;
                    let backoff = backoff.get_or_insert_with(|| self.retriever.backoff());
                    body = self.again(error, backoff).await?;
                }
            }
        }
    }

    /// Passes over bytes up to the last offset whose digest the flight knows: a repair needs the
    /// content of all bytes before it.
    fn pass_over(&mut self, body: &mut Body, skip: &Skip) {
        let wanted = skip.take();
        let passed = match &mut self.content {
            Content::Marked { flight, tail } if wanted > 0 => {
                let mark = flight.mark_before(self.given.saturating_add(wanted));
                let passed = mark.map_or(0, |(at, _digest)| at.saturating_sub(self.given));
                let is_passed = passed > 0 && body.pass_over(passed);
                if is_passed {
                    tail.clear();
                }
                if is_passed { passed } else { 0 }
            }
            Content::Marked { .. } | Content::Digested(_) => 0,
        };
        self.given += passed;
        skip.add(wanted - passed);
    }

    /// The body that continues the delivered bytes.
    async fn again(
        &mut self,
        error: body::Error,
        backoff: &mut Backoff,
    ) -> Result<Body, body::Error> {
        let alias = Arc::clone(&self.question.source.alias);
        let retriever = self.retriever.clone();
        let count = |outcome| {
            let repairs = &retriever.metrics.repairs;
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
                // The content has changed, and the delivered bytes cannot be recalled.
                Ok(None) => {
                    count("changed");
                    return Err(error);
                }
                Err(error) => last = error,
            }
        }
    }

    /// Another copy, positioned behind the delivered bytes; `None` if its content differs.
    async fn try_again(&mut self) -> Result<Option<Body>, source::Error> {
        // The flight is followed without repair, because this is the repair.
        let copy = self.retriever.one(&self.question, Flight::follow).await?;
        if let (Some(told), Some(now)) = (self.length, copy.body.length())
            && told != now
        {
            return Ok(None);
        }
        let mut copy = Copy {
            body: copy.body,
            chunk: Bytes::new(),
            digest: Rolling::new(),
        };
        let (at, digest, tail) = self.content.known(self.given);
        let is_same = copy.pass_over(at).await? && copy.digest.digest() == digest;
        if !is_same || !copy.begins_with(&tail).await? {
            return Ok(None);
        }
        let Copy {
            body,
            chunk,
            digest,
        } = copy;
        self.content = Content::Digested(digest);
        Ok(Some(if chunk.is_empty() {
            body
        } else {
            body.after(chunk)
        }))
    }
}

/// Keeps the last `length` bytes.
fn cut_front(chunks: &mut VecDeque<Bytes>, length: u64) {
    let all: u64 = chunks.iter().map(|chunk| chunk.len() as u64).sum();
    let mut excess = all.saturating_sub(length);
    while excess > 0
        && let Some(first) = chunks.front_mut()
    {
        let cut = excess.min(first.len() as u64);
        first.advance(usize::try_from(cut).unwrap_or(first.len()));
        excess -= cut;
        if first.is_empty() {
            chunks.pop_front();
        }
    }
}

/// A further copy, as far as it has been compared.
struct Copy {
    body: Body,
    /// The rest of the current chunk.
    chunk: Bytes,
    digest: Rolling,
}

impl Copy {
    /// Passes over this many bytes; `false` if it is shorter.
    async fn pass_over(&mut self, length: u64) -> Result<bool, body::Error> {
        let mut left = length;
        while left > 0 {
            let Some(passed) = self
                .next(usize::try_from(left).unwrap_or(usize::MAX))
                .await?
            else {
                return Ok(false);
            };
            left -= passed.len() as u64;
        }
        Ok(true)
    }

    /// Whether these bytes come next.
    async fn begins_with(&mut self, bytes: &[Bytes]) -> Result<bool, body::Error> {
        for bytes in bytes {
            let mut bytes = &bytes[..];
            while !bytes.is_empty() {
                let Some(next) = self.next(bytes.len()).await? else {
                    return Ok(false);
                };
                if bytes[..next.len()] != next {
                    return Ok(false);
                }
                bytes = &bytes[next.len()..];
            }
        }
        Ok(true)
    }

    /// At least one of its next bytes, and at most `most`; `None` at its end.
    async fn next(&mut self, most: usize) -> Result<Option<Bytes>, body::Error> {
        while self.chunk.is_empty() {
            match self.body.chunk().await? {
                Some(chunk) => self.chunk = chunk,
                None => return Ok(None),
            }
        }
        let next = self.chunk.split_to(most.min(self.chunk.len()));
        self.digest.update(&next);
        Ok(Some(next))
    }
}

impl Retriever {
    /// One instance, from a tier or from its source; `follow` opens a reader of its flight.
    pub(super) async fn one(
        &self,
        question: &Question,
        follow: impl Fn(&Arc<Flight>) -> Option<Body>,
    ) -> Result<Instance, source::Error> {
        let key = question.key().ok_or(source::Error::NotFound)?;
        if let Some(instance) = self.copy(&key, question, &follow).await {
            return Ok(instance);
        }
        let (mut follower, _is_partial) = self.follow(question, Claim::Repair).await?;
        while let Some(arrived) = follower.next().await? {
            let is_meant = arrived.identity.target() == question.target;
            let flight = arrived.flight().filter(|_| is_meant);
            if let Some(body) = flight.as_ref().and_then(&follow) {
                return Ok(follower.instance(&arrived, body));
            }
        }
        // The instance arrived, and has already moved into a tier.
        let instance = self.copy(&key, question, &follow).await;
        instance.ok_or(source::Error::NotFound)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tail_is_cut_to_the_bytes_behind_the_last_mark() {
        let all = || ["abc", "d", "efgh"].map(Bytes::from).into_iter().collect();
        for length in 0..=8_usize {
            let mut tail: VecDeque<Bytes> = all();
            cut_front(&mut tail, length as u64);
            let left: Vec<u8> = tail.iter().flatten().copied().collect();
            assert_eq!(left, b"abcdefgh"[8 - length..]);
        }
    }
}
