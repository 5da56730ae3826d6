//! The set of crossings that are under way.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::{Duration, Instant};

use tokio::sync::futures::Notified;
use tokio::sync::{Notify, Semaphore};

use super::question::Name;
use super::{Crossing, Ending, Follower, Question, SkippedInstances, follower};
use crate::body;
use crate::cache::pace::Pace;
use crate::instance::Listing;
use crate::retrieve::Retriever;
use crate::source::{self, Representation, Seat, Source};

/// The retry time when the limit of fetches is reached.
const SOON: Duration = Duration::from_secs(5);

/// The crossings that are under way.
#[derive(Debug, Clone)]
pub(in crate::retrieve) struct Crossings {
    all: Arc<Mutex<HashMap<Name, Weak<Crossing>>>>,
    permits: Arc<Semaphore>,
    /// Notified when a crossing begins.
    begun: Arc<Notify>,
}

impl Crossings {
    /// A set of at most `most` crossings.
    pub(in crate::retrieve) fn new(most: usize) -> Self {
        Self {
            all: Arc::default(),
            permits: Arc::new(Semaphore::new(most.clamp(1, Semaphore::MAX_PERMITS))),
            begun: Arc::default(),
        }
    }

    /// Waits until another crossing begins.
    pub(in crate::retrieve) fn begun(&self) -> Notified<'_> {
        self.begun.notified()
    }

    /// The crossing that already answers a question, if it can be joined.
    pub(in crate::retrieve) fn find(&self, question: &Question) -> Option<Follower> {
        Self::find_in(&self.all(), question)
    }

    fn find_in(all: &HashMap<Name, Weak<Crossing>>, question: &Question) -> Option<Follower> {
        let crossing = all.get(&question.name())?.upgrade()?;
        if !crossing.question.means_the_same(question) {
            return None;
        }
        // A follower with a manifest notices released instances and requests them individually.
        let is_listed = question.listing.is_some();
        let follower = Follower::join(crossing, |log| is_listed || log.is_complete())?;
        follower.crossing.pace.read_for(question.request());
        Some(follower)
    }

    /// Joins the crossing that already answers a question, or begins it.
    pub(in crate::retrieve) fn follow(
        &self,
        question: Question,
        seat: Seat,
        retriever: &Retriever,
    ) -> Follower {
        // The lock spans both steps: two simultaneous requests must not both find no crossing.
        let mut all = self.all();
        if let Some(follower) = Self::find_in(&all, &question) {
            return follower;
        }
        let name = question.name();
        let is_shared = retriever.shares(&question.source);
        let crossing = Arc::new(Crossing {
            question,
            pace: Arc::new(Pace::new()),
            log: Mutex::default(),
            is_listed: AtomicBool::new(is_shared),
            began: Instant::now(),
            own_fetches: Arc::new(Semaphore::new(follower::OWN_FETCHES)),
        });
        crossing.pace.read_for(crossing.question.request());
        let follower = Follower::first(Arc::clone(&crossing));
        let Ok(permit) = Arc::clone(&self.permits).try_acquire_owned() else {
            let refused = &retriever.metrics.refused;
            refused.with_label_values(&["fetches"]).inc();
            let retry_after = SOON;
            crossing.log().end = Some(Err(source::Error::Crowded { retry_after }));
            return follower;
        };
        let ending = Ending {
            crossing: Arc::clone(&crossing),
            retriever: retriever.clone(),
            skipped: SkippedInstances::default(),
            outcome: Err(body::Error::Abandoned.into()),
            _held: (seat, permit),
        };
        // Others find it only once there is something to drive: whoever does drives it, or gives
        // it a task.
        crossing.pace.hold(ending.run());
        if is_shared {
            all.insert(name, Arc::downgrade(&crossing));
        }
        drop(all);
        self.begun.notify_waiters();
        follower
    }

    /// The crossing that fetches a whole series as stored, if there is one.
    pub(in crate::retrieve) fn bringing(
        &self,
        source: &Source,
        listing: &Arc<Listing>,
    ) -> Option<Follower> {
        let name = (source.key(), listing.target(), Representation::AsStored);
        let crossing = self.all().get(&name)?.upgrade()?;
        let is_same = |other: &Arc<Listing>| Arc::ptr_eq(other, listing) || other == listing;
        let is_meant = crossing.question.listing.as_ref().is_some_and(is_same);
        is_meant.then(|| Follower::join(crossing, |_log| true))?
    }

    pub(super) fn remove(&self, crossing: &Arc<Crossing>) {
        if !crossing.is_listed.swap(false, Ordering::AcqRel) {
            return;
        }
        let mut all = self.all();
        let name = crossing.question.name();
        let is_this = |known: &Weak<Crossing>| known.as_ptr() == Arc::as_ptr(crossing);
        if all.get(&name).is_some_and(is_this) {
            all.remove(&name);
        }
    }

    fn all(&self) -> MutexGuard<'_, HashMap<Name, Weak<Crossing>>> {
        self.all.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
