//! A crossing: one question to a source, shared by all requests that need its answer.
//!
//! A crossing splits the answer into flights. Its followers see every requested instance in the
//! order of arrival, also if they join later. It continues while it has a follower, and no faster
//! than its fastest follower reads, apart from the allowed look-ahead.
//!
//! Without a cache, a second follower could not read the whole answer without delaying the first.
//! Such a crossing has one follower; each answer has its own crossing.

mod copies;
mod follower;
mod log;
mod question;
mod set;
mod skipped;
mod unread;

use std::future::poll_fn;
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::Poll;
use std::time::{Duration, Instant};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

pub(super) use follower::{CrossingOutcome, Follower};
pub(super) use log::{ArrivedInstance, MOST_INSTANCES};
pub(super) use question::Question;
pub(super) use set::Crossings;

use super::Retriever;
use super::learned::SourceTrait;
use crate::body;
use crate::cache::pace::{Halt, Pace};
use crate::cache::{AlreadyCached, Description, Flight, Key, Terms, Writer};
use crate::dicom::part10::Identity;
use crate::digest::Digest;
use crate::resource::Target;
use crate::retrieve::tally::Tally;
use crate::source::{self, Arrival, Arrivals, InstanceRequest, Seat};
use copies::Copies;
use log::{Awaited, Log, mark_of};
use skipped::SkippedInstances;

/// The status with which gateways report that one of their sources serves single instances only.
const NOT_IMPLEMENTED: source::Error = source::Error::Status(501);
/// The longest time that a look-ahead without followers stalls a source.
const AHEAD_PATIENCE: Duration = Duration::from_secs(30);
/// The error that ends an answer without a manifest at [`MOST_INSTANCES`].
pub(super) const TOO_MANY: body::Error = body::Error::Malformed("it contains too many instances");

/// A question and the answer that is arriving.
#[derive(Debug)]
pub(super) struct Crossing {
    question: Question,
    pace: Arc<Pace>,
    log: Mutex<Log>,
    /// Whether further requests find it.
    is_listed: AtomicBool,
    began: Instant,
    /// Permits for followers that fetch an instance individually because this crossing would bring
    /// it too late.
    own_fetches: Arc<Semaphore>,
}

/// The answer of a source while it arrives.
struct SourceAnswer {
    arrivals: Arrivals,
    tally: Tally,
    /// The digests of its instances, to compare repeated instances with.
    copies: Copies,
}

impl SourceAnswer {
    /// Notes the digest of an instance that has arrived whole.
    fn note(&mut self, mark: Digest) {
        if let Some(digest) = self.arrivals.digest() {
            self.copies.note(mark, digest);
            self.tally.trailing_bytes.inc_by(self.arrivals.trailing());
        }
    }
}

/// A crossing under way. However it ends, its followers are told, and its seat becomes free.
struct Ending {
    crossing: Arc<Crossing>,
    retriever: Retriever,
    skipped: SkippedInstances,
    outcome: Result<(), source::Error>,
    _held: (Seat, OwnedSemaphorePermit),
}

impl Ending {
    async fn run(mut self) {
        let Self {
            crossing,
            retriever,
            skipped,
            ..
        } = &mut self;
        let outcome = tokio::select! {
            biased;
            outcome = crossing.bring(retriever, skipped) => outcome,
            () = crossing.is_left_alone() => Err(body::Error::Abandoned.into()),
        };
        self.outcome = outcome;
    }
}

impl Drop for Ending {
    fn drop(&mut self) {
        let crossing = &self.crossing;
        self.skipped
            .report(&crossing.question.source, &self.retriever);
        self.retriever.crossings.remove(crossing);
        let outcome = std::mem::replace(&mut self.outcome, Ok(()));
        crossing.log().close(outcome);
    }
}

impl Crossing {
    async fn bring(
        self: &Arc<Self>,
        retriever: &Retriever,
        skipped: &mut SkippedInstances,
    ) -> Result<(), source::Error> {
        let question = &self.question;
        // The question is boxed: its connection takes much memory, and only until it is answered.
        let mut answer = Box::pin(self.ask(retriever)).await?;
        while let Some(arrival) = answer.arrivals.next().await? {
            match arrival {
                Arrival::Instance(identity, _) | Arrival::NotWhole(identity, _)
                    if !question.means(&identity) =>
                {
                    skipped.not_selected += 1;
                }
                Arrival::Instance(identity, _) if self.has_seen(&identity) => {
                    match answer.arrivals.pass_over().await {
                        Err(body::Error::NotWhole(_)) => skipped.not_whole += 1,
                        passed => {
                            passed?;
                            self.again(&identity, &answer, skipped, retriever);
                        }
                    }
                }
                Arrival::Instance(..) | Arrival::NotWhole(..) if self.log().is_full() => {
                    return Err(TOO_MANY.into());
                }
                Arrival::Instance(identity, length) => {
                    let mark = mark_of(&identity);
                    let fetching = self.instance(identity, length, &mut answer, retriever);
                    match fetching.await {
                        // The answer continues with the next instance.
                        Err(body::Error::NotWhole(_)) => skipped.not_whole += 1,
                        outcome => drop(outcome?),
                    }
                    answer.note(mark);
                }
                Arrival::NotWhole(identity, error) => {
                    skipped.not_whole += 1;
                    self.not_whole(identity, error, &answer.arrivals, retriever)?;
                }
                Arrival::Unidentified(_) => skipped.unidentified += 1,
            }
        }
        Ok(())
    }

    /// Asks the source. Returns once it begins to answer.
    async fn ask(self: &Arc<Self>, retriever: &Retriever) -> Result<SourceAnswer, source::Error> {
        let question = &self.question;
        let ask = InstanceRequest {
            target: &question.target,
            representation: question.representation,
            hop: Some(&question.hop),
            had: question.had.as_ref(),
            is_repair: question.is_repair,
        };
        let opened = retriever.open(&question.source, &ask).await;
        let is_one = matches!(question.target, Target::Instance(..));
        if let (Err(source::Error::InstancesOnly | NOT_IMPLEMENTED), false) = (&opened, is_one) {
            let traits = &retriever.traits;
            traits.learn(&question.source, SourceTrait::InstancesOnly);
        }
        let arrivals = opened?;
        self.learn(&arrivals, retriever);
        let is_partial = arrivals.is_partial();
        let is_no_store = self.is_no_store(&arrivals);
        if is_no_store {
            retriever.crossings.remove(self);
            self.pace.run_no_more_ahead();
        }
        let mut log = self.log();
        log.is_partial = Some(is_partial);
        log.is_sole = is_no_store;
        log.opened = Some(Instant::now());
        log.wake_all();
        drop(log);
        Ok(SourceAnswer {
            tally: Tally::of(&question.source, &retriever.metrics),
            arrivals,
            copies: Copies::default(),
        })
    }

    /// Handles an instance that arrives again. If the two copies differ, neither is trusted:
    /// neither is cached, and the next answers report the instance missing.
    fn again(
        &self,
        identity: &Identity,
        answer: &SourceAnswer,
        skipped: &mut SkippedInstances,
        retriever: &Retriever,
    ) {
        let digest = answer.arrivals.digest();
        if !digest.is_some_and(|digest| answer.copies.differ(mark_of(identity), digest)) {
            skipped.duplicate += 1;
            return;
        }
        skipped.conflicting += 1;
        let Question {
            source,
            representation,
            ..
        } = &self.question;
        let key = Key::of(source, identity, *representation);
        retriever.cache.forget_one(&key);
        if self.question.listing.is_some() {
            let (series, uid) = (&identity.series, &identity.sop_instance);
            let absences = &retriever.absences;
            absences.remember(source, series, uid, *representation);
        }
        self.log().is_contested = true;
    }

    /// Handles an instance that is found incomplete before a follower sees it.
    fn not_whole(
        &self,
        identity: Identity,
        error: body::Error,
        arrivals: &Arrivals,
        retriever: &Retriever,
    ) -> Result<(), body::Error> {
        if matches!(self.question.target, Target::Instance(..)) {
            return Err(error);
        }
        // With a manifest, followers notice the missing instance and request it individually.
        if self.question.listing.is_some() || self.has_seen(&identity) {
            return Ok(());
        }
        // Without one, followers would not notice: they see an aborted flight.
        match self.take_off(&identity, None, arrivals, retriever) {
            Ok(writer) => {
                self.arrived(identity, Some(writer.flight()));
                writer.crash(error);
            }
            Err(AlreadyCached(found)) => self.arrived(identity, found.flight()),
        }
        Ok(())
    }

    fn learn(&self, arrivals: &Arrivals, retriever: &Retriever) {
        let (source, traits) = (&self.question.source, &retriever.traits);
        if self.is_no_store(arrivals) {
            traits.learn(source, SourceTrait::NoStore);
        }
        // A source that can revalidate sends entity tags.
        if self.question.had.is_some() && arrivals.etag().is_none() {
            traits.learn(source, SourceTrait::NoRevalidation);
        }
    }

    fn is_no_store(&self, arrivals: &Arrivals) -> bool {
        self.question.source.freshness.obeys_no_store && arrivals.is_no_store()
    }

    /// Brings one instance. Returns its flight, unless it is already cached.
    async fn instance(
        self: &Arc<Self>,
        identity: Identity,
        length: Option<u64>,
        answer: &mut SourceAnswer,
        retriever: &Retriever,
    ) -> Result<Option<Arc<Flight>>, body::Error> {
        let SourceAnswer {
            arrivals, tally, ..
        } = answer;
        let patience = retriever.client_silence();
        self.pause(patience).await?;
        tally.fetched_instances.inc();
        let taken_off = self.take_off(&identity, length, arrivals, retriever);
        let mut writer = match taken_off {
            Ok(writer) => writer,
            Err(AlreadyCached(found)) => {
                self.arrived(identity, found.flight());
                return arrivals.pass_over().await.map(|()| None);
            }
        };
        let flight = Arc::clone(writer.flight());
        // Followers see the flight once it holds its first bytes, because only then it is known
        // whether it passes by.
        let mut unseen = Some(identity);
        loop {
            match arrivals.chunk().await {
                Ok(Some(chunk)) => {
                    tally.fetched_bytes.inc_by(chunk.len() as u64);
                    let pushed = writer.push(chunk, patience).await;
                    if let Some(digest) = arrivals.digest_so_far() {
                        writer.mark(digest);
                    }
                    if let Some(identity) = unseen.take() {
                        self.may_outlive_readers(&flight);
                        self.arrived(identity, Some(&flight));
                    }
                    if pushed.is_err() {
                        writer.crash(body::Error::Abandoned);
                        return Ok(Some(flight));
                    }
                    if !flight.will_be_kept() {
                        // A follower that joins now could not read the answer from the start.
                        retriever.crossings.remove(self);
                    }
                    // Nothing more is read from the source before this has been passed on.
                    if arrivals.is_dry() {
                        self.pace.hand_over().await;
                    }
                }
                Ok(None) => return writer.land().await.map(|()| Some(flight)),
                Err(error) => {
                    if let Some(identity) = unseen.take() {
                        self.arrived(identity, Some(&flight));
                    }
                    writer.crash(error.clone());
                    return Err(error);
                }
            }
            self.pause(patience).await?;
        }
    }

    /// Lets a crossing for one instance continue without readers if the instance will be kept.
    fn may_outlive_readers(&self, flight: &Flight) {
        if matches!(self.question.target, Target::Instance(..)) {
            self.pace.keep_rest(flight.length);
            // A purge may have run meanwhile.
            if !flight.will_be_kept() {
                self.pace.drop_rest();
            }
        }
    }

    fn take_off(
        &self,
        identity: &Identity,
        length: Option<u64>,
        arrivals: &Arrivals,
        retriever: &Retriever,
    ) -> Result<Writer, AlreadyCached> {
        let question = &self.question;
        let key = Key::of(&question.source, identity, question.representation);
        let freshness = question.source.freshness;
        let is_one = matches!(question.target, Target::Instance(..));
        let terms = Terms {
            lifetime: freshness.lifetime,
            etag: arrivals.etag().filter(|_| is_one),
            is_no_store: self.is_no_store(arrivals),
        };
        let description = Description {
            identity: identity.clone(),
            length,
        };
        retriever
            .cache
            .take_off(key, description, &terms, &self.pace)
    }

    async fn pause(&self, patience: Duration) -> Result<(), body::Error> {
        let is_awaited = self.pace.is_awaited();
        // No follower waits for this crossing, but another request waits for its seat.
        if !is_awaited && self.question.source.is_waited_for() {
            return Err(body::Error::Abandoned);
        }
        let patience = if is_awaited {
            patience
        } else {
            patience.min(AHEAD_PATIENCE)
        };
        let going_on = self.pace.go_on(patience).await;
        going_on.map_err(|halt| match halt {
            Halt::Unwanted | Halt::Stalled => body::Error::Abandoned,
        })
    }

    fn has_seen(&self, identity: &Identity) -> bool {
        self.log().has_seen(identity)
    }

    fn arrived(&self, identity: Identity, flight: Option<&Arc<Flight>>) {
        let mut log = self.log();
        // No instance has been delivered yet: the other followers start again, each with its own
        // crossing.
        let is_first = log.count() == 0;
        if is_first && flight.is_some_and(|flight| !flight.will_be_kept()) {
            log.is_sole = true;
            log.wake_all();
        }
        let is_awaited = log.add(identity, flight, &self.pace);
        drop(log);
        // All followers wait for other instances.
        if let Some(flight) = flight
            && !is_awaited
            && !self.pace.is_read()
            && flight.is_of(&self.pace)
        {
            flight.pass_over();
        }
    }

    fn log(&self) -> MutexGuard<'_, Log> {
        self.log.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits until `look` finds something in the log, for a follower that `event` wakes. It drives
    /// the transfer meanwhile.
    async fn until<T>(
        self: &Arc<Self>,
        follower: u64,
        event: Awaited,
        mut look: impl FnMut(&mut Log) -> Option<T>,
    ) -> T {
        poll_fn(|context| {
            self.log().wait_no_more(follower);
            loop {
                if let Some(found) = look(&mut self.log()) {
                    return Poll::Ready(found);
                }
                if !self.pace.drive(context) {
                    break;
                }
            }
            let mut log = self.log();
            match look(&mut log) {
                Some(found) => Poll::Ready(found),
                None => {
                    log.wait(follower, event, context.waker());
                    Poll::Pending
                }
            }
        })
        .await
    }
}
