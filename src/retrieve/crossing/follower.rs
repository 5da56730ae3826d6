//! A follower of a crossing, which waits for the instances that it brings.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::OwnedSemaphorePermit;
use tokio::time::timeout;

use super::log::Awaited;
use super::{ArrivedInstance, Crossing, Log, Question};
use crate::body::{self, Body};
use crate::cache::Flight;
use crate::cache::pace::Interest;
use crate::dicom::SopInstanceUid;
use crate::instance::{Instance, Way};
use crate::source;

/// Instances fetched individually in parallel to their series.
pub(super) const OWN_FETCHES: usize = 4;
/// The number of source answer times to wait for an instance before it is fetched individually. A
/// second fetch crosses the border again; waiting costs the viewer time.
const ANSWERS: u32 = 4;
/// Instances at the start of a series that are waited for while its pace is unknown.
const NEAR: usize = 8;
/// The assumed minimum answer time of a source.
const SHORTEST_ANSWER: Duration = Duration::from_millis(10);
/// The assumed answer time while nothing is known.
const LONGEST_ANSWER: Duration = Duration::from_millis(500);
/// The longest wait for the end of an answer that has brought all instances.
const SETTLING: Duration = Duration::from_millis(500);

/// A follower, which reads a crossing from its start.
#[derive(Debug)]
pub(in crate::retrieve) struct Follower {
    pub(super) crossing: Arc<Crossing>,
    interest: Interest,
    number: u64,
    /// Its position in the log.
    at: usize,
    /// Whether the crossing had begun before this follower joined.
    pub(in crate::retrieve) has_joined: bool,
}

/// The outcome of waiting for an instance of a series.
#[derive(Debug)]
pub(in crate::retrieve) enum CrossingOutcome {
    /// The instance has arrived.
    Here(ArrivedInstance),
    /// The instance must be fetched individually, while the permit is held.
    Fetch(OwnedSemaphorePermit),
    /// The instance will not come.
    Never,
}

impl Follower {
    /// The follower that starts the crossing.
    pub(super) fn first(crossing: Arc<Crossing>) -> Self {
        let (at, number) = {
            let mut log = crossing.log();
            (log.join(), log.number())
        };
        Self {
            interest: Interest::of(&crossing.pace),
            crossing,
            number,
            at,
            has_joined: false,
        }
    }

    /// Another follower, if the crossing is still under way and its log `can` be joined.
    pub(super) fn join(crossing: Arc<Crossing>, can: impl FnOnce(&Log) -> bool) -> Option<Self> {
        // The follower is counted before it looks at the log, because a crossing without followers
        // ends.
        let interest = Interest::of(&crossing.pace);
        let (at, number) = {
            let mut log = crossing.log();
            if log.end.is_some() || log.is_sole || !can(&log) {
                return None;
            }
            (log.join(), log.number())
        };
        Some(Self {
            interest,
            crossing,
            number,
            at,
            has_joined: true,
        })
    }

    /// The error for a follower that must ask by itself, because the crossing serves its first
    /// follower only.
    fn turned_away(&self, log: &Log) -> Option<body::Error> {
        (log.is_sole && self.has_joined).then_some(body::Error::Abandoned)
    }

    /// Waits until the source begins to answer. Returns whether the source declares its answer
    /// partial.
    ///
    /// # Errors
    /// The failure of the source.
    pub(in crate::retrieve) async fn opened(&self) -> Result<bool, source::Error> {
        let opened = |log: &mut Log| match (self.turned_away(log), &log.end, log.is_partial) {
            (Some(error), _, _) => Some(Err(error.into())),
            // The first instance shows whether the crossing can be shared.
            (None, None, Some(_)) if self.has_joined && log.count() == 0 => None,
            (None, _, Some(is_partial)) => Some(Ok(is_partial)),
            (None, Some(Err(error)), None) => Some(Err(error.clone())),
            (None, Some(Ok(())), None) => Some(Ok(false)),
            (None, None, None) => None,
        };
        self.until(Awaited::Opening, opened).await
    }

    /// The next instance; `None` once the source has ended its answer properly.
    ///
    /// # Errors
    /// Why the answer broke off.
    pub(in crate::retrieve) async fn next(
        &mut self,
    ) -> Result<Option<ArrivedInstance>, body::Error> {
        let at = self.at;
        let next = |log: &mut Log| {
            if let Some(error) = self.turned_away(log) {
                return Some(Err(error));
            }
            if let Some(arrived) = log.at(at).cloned() {
                log.go(at, at + 1);
                return Some(Ok(Some(arrived)));
            }
            log.end.as_ref().map(|end| match end {
                Ok(()) => Ok(None),
                Err(error) => Err(error.late(body::Error::Disconnected)),
            })
        };
        let next = self.until(Awaited::Place(at), next).await?;
        self.at += usize::from(next.is_some());
        Ok(next)
    }

    /// Waits for one instance of a series, or until a separate fetch is faster.
    ///
    /// A separate fetch is faster if the instances before it in the manifest are estimated to take
    /// longer than a few answers of the source, or if it has not arrived in that time. At most
    /// [`OWN_FETCHES`] instances are fetched beside a series in parallel; further requests continue
    /// to wait.
    pub(in crate::retrieve) async fn bring(&mut self, uid: &SopInstanceUid) -> CrossingOutcome {
        let own_fetches = Arc::clone(&self.crossing.own_fetches);
        let patience = self.patience(uid);
        self.go_to(uid);
        let arrives = self.find(uid);
        let mut arrives = std::pin::pin!(arrives);
        if let Some(patience) = patience
            && let Ok(arrived) = timeout(patience, &mut arrives).await
        {
            return arrived.map_or(CrossingOutcome::Never, CrossingOutcome::Here);
        }
        tokio::select! {
            biased;
            arrived = &mut arrives => arrived.map_or(CrossingOutcome::Never, CrossingOutcome::Here),
            permit = own_fetches.acquire_owned() => permit.map_or(CrossingOutcome::Never, CrossingOutcome::Fetch),
        }
    }

    /// Waits for one instance, and passes over all others.
    async fn find(&mut self, uid: &SopInstanceUid) -> Option<ArrivedInstance> {
        let _seeker = self.interest.pace().seek();
        let at = self.at;
        let mark = self.crossing.question.mark(uid)?;
        let find = |log: &mut Log| match (log.place_of(mark), &log.end) {
            _ if self.turned_away(log).is_some() => Some(None),
            (Some(place), _) => Some(log.at(place).cloned().map(|found| (place, found))),
            (None, Some(_)) => Some(log.find_from(at, uid)),
            (None, None) => None,
        };
        let event = Awaited::Instance(mark);
        let (place, found) = self.until(event, find).await?;
        self.crossing.log().go(self.at, place + 1);
        self.at = place + 1;
        Some(found)
    }

    async fn until<T>(&self, event: Awaited, look: impl FnMut(&mut Log) -> Option<T>) -> T {
        self.crossing.until(self.number, event, look).await
    }

    /// Gives the crossing a task of its own: this follower does not read it yet.
    pub(in crate::retrieve) fn read_later(self) -> Self {
        self.crossing.pace.release();
        self
    }

    /// Moves to an instance in the log, skipping those before it; to the end of the log if it has
    /// not arrived yet.
    fn go_to(&mut self, uid: &SopInstanceUid) {
        let mut log = self.crossing.log();
        let mark = self.crossing.question.mark(uid);
        let place = mark.and_then(|mark| log.place_of(mark));
        let place = place.filter(|place| !log.has_released(*place));
        let to = place.unwrap_or(log.count());
        log.go(self.at, to);
        self.at = to;
        let last = log.count().checked_sub(1).and_then(|last| log.at(last));
        let last = last.filter(|_| place.is_none()).cloned();
        drop(log);
        if let Some(last) = last {
            // The follower skips everything that has arrived.
            let pace = self.interest.pace();
            pace.read_to(pace.arrived());
            self.pass_over(&last);
        }
    }

    /// How long to wait for an instance that may not have arrived yet; `None`: not at all.
    fn patience(&self, uid: &SopInstanceUid) -> Option<Duration> {
        let listing = self.crossing.question.listing.as_ref()?;
        let place = *listing.instances.get(uid)?;
        let log = self.crossing.log();
        let mark = self.crossing.question.mark(uid)?;
        if let Some(place) = log.place_of(mark) {
            return (!log.has_released(place)).then_some(LONGEST_ANSWER);
        }
        let arrived = log.count();
        let (Some(opened), 1..) = (log.opened, arrived) else {
            return (place < NEAR).then_some(LONGEST_ANSWER);
        };
        // All instances before it have arrived: the source uses another order.
        let before = place.checked_sub(arrived)?;
        let answer = (opened - self.crossing.began).max(SHORTEST_ANSWER);
        let each = opened.elapsed() / u32::try_from(arrived).unwrap_or(u32::MAX);
        let expected = each * u32::try_from(before).unwrap_or(u32::MAX);
        (expected <= answer * ANSWERS).then(|| answer * ANSWERS * 2)
    }

    /// An instance that has arrived, with its body.
    pub(in crate::retrieve) fn instance(&self, arrived: &ArrivedInstance, body: Body) -> Instance {
        let flight = arrived.flight();
        let kept = flight.as_ref().filter(|flight| flight.will_be_kept());
        Instance {
            identity: arrived.identity.clone(),
            body,
            way: match &flight {
                _ if self.has_joined => Way::Collapsed,
                Some(_) if kept.is_none() => Way::PassedOn,
                Some(_) | None => Way::Fetched,
            },
            blake3: None,
            stamp: None,
            flight: kept.map(|flight| flight.number),
        }
    }

    /// Lets the crossing run ahead of its followers by this many bytes, and continue without any.
    /// The returned future resolves when the crossing ends.
    pub(in crate::retrieve) fn runs_ahead(
        self,
        bytes: u64,
    ) -> impl Future<Output = ()> + Send + 'static {
        self.crossing.pace.run_ahead(bytes);
        let crossing = Arc::clone(&self.crossing);
        let number = crossing.log().number();
        async move {
            let ended = |log: &mut Log| log.end.as_ref().map(drop);
            crossing.until(number, Awaited::End, ended).await;
        }
    }

    /// Waits for the end of the source's answer, because the source may still contradict itself.
    pub(in crate::retrieve) async fn settle(&self) {
        let ended = |log: &mut Log| log.end.as_ref().map(drop);
        let ended = self.until(Awaited::End, ended);
        let mut ended = std::pin::pin!(ended);
        loop {
            let before = self.crossing.pace.arrived();
            let has_ended = timeout(SETTLING, &mut ended).await.is_ok();
            if has_ended || self.crossing.pace.arrived() == before {
                return;
            }
        }
    }

    /// Whether the source has sent an instance twice so far, with different bytes.
    pub(in crate::retrieve) fn is_contested(&self) -> bool {
        self.crossing.log().is_contested
    }

    /// The question of the crossing.
    pub(in crate::retrieve) fn question(&self) -> &Question {
        &self.crossing.question
    }

    /// Lets the crossing continue past an instance that this follower does not read.
    pub(in crate::retrieve) fn pass_over(&self, arrived: &ArrivedInstance) {
        // A flight of another crossing keeps the pace of that crossing.
        let own = |flight: &Arc<Flight>| flight.is_of(self.interest.pace());
        if let Some(flight) = arrived.flight().filter(own) {
            flight.pass_over();
        }
    }
}

impl Drop for Follower {
    fn drop(&mut self) {
        let mut log = self.crossing.log();
        log.wait_no_more(self.number);
        log.leave(self.at);
    }
}
