//! Look-ahead: fetching instances before a client requests them. The manifest predicts the
//! requests: a viewer that opens one instance of a series continues with the others.
//!
//! A look-ahead is a crossing without a waiting client. It is bounded in bytes, in concurrent
//! crossings, and in seats at each source: it never takes a seat for which a request waits. Each
//! series is fetched ahead only once in a while; otherwise every request would fetch again a series
//! that the cache cannot store.

use std::sync::Arc;
use std::time::Duration;

use moka::sync::Cache as Recent;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::crossing::Question;
use super::learned::SourceTrait;
use super::{Job, Plan, Retriever};
use crate::cache::LookAhead;
use crate::dicom::{SeriesInstanceUid, SopInstanceUid};
use crate::hop::Hop;
use crate::instance::Listing;
use crate::resource::Target;
use crate::source::{Kind, Representation, Seat};

/// Concurrent look-ahead crossings, in total.
const AT_ONCE: usize = 4;
/// Manifests whose series wait to be fetched ahead; the series of further manifests are fetched on
/// request.
const MOST_MANIFESTS: usize = 256;
/// Time before the same series may be fetched ahead again.
const AGAIN: Duration = Duration::from_secs(120);
const MOST_RECENT: u64 = 10_000;
/// Instances of a series that are looked up in the cache to decide whether it is already there.
/// This bounds the cost for a request for one instance, however long the series is.
const SAMPLE: usize = 64;
/// Missing instances of the sample that justify a look-ahead; fewer are fetched one by one.
const WANTING: usize = 2;
/// Series of one request whose pictures are fetched first.
const SERIES_WITH_PICTURES: usize = 4;
/// The instances of a series whose middle is far from its beginning.
const LONG: usize = 16;
/// Pause before a busy source is tried again for a seat.
const PAUSE: Duration = Duration::from_millis(200);

/// The look-ahead mode and its limits.
#[derive(Debug, Clone)]
pub(super) struct Ahead {
    mode: LookAhead,
    /// Bytes by which a crossing may run ahead of its followers.
    bytes: u64,
    at_once: Arc<Semaphore>,
    manifests: Arc<Semaphore>,
    recent: Recent<(Arc<str>, SeriesInstanceUid), ()>,
}

impl Ahead {
    pub(super) fn new(mode: LookAhead, bytes: u64) -> Self {
        Self {
            mode,
            bytes,
            at_once: Arc::new(Semaphore::new(AT_ONCE)),
            manifests: Arc::new(Semaphore::new(MOST_MANIFESTS)),
            recent: Recent::builder()
                .max_capacity(MOST_RECENT)
                .time_to_live(AGAIN)
                .build(),
        }
    }
}

impl Retriever {
    /// Fetches what viewers show first: the instance in the middle of each series, of which its
    /// thumbnail is made, and the first one. They do not wait for the rest of their series, which is
    /// to be asked for next. Returns at once.
    pub fn pictures_first(&self, plan: &Plan) {
        if self.ahead.mode == LookAhead::Off {
            return;
        }
        for job in plan.jobs.iter().take(SERIES_WITH_PICTURES) {
            let listing = &job.listing;
            let is_under_way = || self.crossings.bringing(&job.source, listing).is_some();
            if listing.instances.len() < LONG || !self.is_kept_here(job) || is_under_way() {
                continue;
            }
            for uid in [listing.middle(), listing.numbered(0)]
                .into_iter()
                .flatten()
            {
                self.one_ahead(job, uid, &plan.hop);
            }
        }
    }

    fn one_ahead(&self, job: &Job, uid: &SopInstanceUid, hop: &Arc<Hop>) {
        let form = Representation::AsStored;
        let key = super::kept::key(&job.source, &job.listing, uid, form);
        if self.holds(&job.source, &key) {
            return;
        }
        let Ok(permit) = Arc::clone(&self.ahead.at_once).try_acquire_owned() else {
            return;
        };
        let Some(seat) = job.source.seat_ahead() else {
            return;
        };
        let target = job.listing.instance(uid);
        drop(self.ask_ahead(job, target, hop, seat, permit));
    }

    /// Fetches the job's series ahead after a request for one of its instances. Returns at once,
    /// and does nothing if no permit or seat is free.
    pub fn look_ahead(&self, job: &Job, hop: &Arc<Hop>) {
        if self.ahead.mode == LookAhead::Off || !self.is_worth_it(job) {
            return;
        }
        if self.crossings.bringing(&job.source, &job.listing).is_some() {
            return;
        }
        let Ok(permit) = Arc::clone(&self.ahead.at_once).try_acquire_owned() else {
            return;
        };
        let Some(seat) = job.source.seat_ahead() else {
            return;
        };
        drop(self.cross_ahead(job, hop, seat, permit));
    }

    /// Whether manifests are fetched as soon as they are registered.
    #[must_use]
    pub fn fetches_what_is_registered(&self) -> bool {
        self.ahead.mode == LookAhead::Registration
    }

    /// Fetches the instances of a plan ahead, one series after the other.
    pub fn fetch_ahead(&self, plan: Plan) {
        let Ok(place) = Arc::clone(&self.ahead.manifests).try_acquire_owned() else {
            return;
        };
        let retriever = self.clone();
        tokio::spawn(async move {
            for job in &plan.jobs {
                retriever.series_ahead(job, &plan.hop).await;
            }
            drop(place);
        });
    }

    async fn series_ahead(&self, job: &Job, hop: &Arc<Hop>) {
        let Ok(permit) = Arc::clone(&self.ahead.at_once).acquire_owned().await else {
            return;
        };
        let seat = loop {
            if let Some(seat) = job.source.seat_ahead() {
                break seat;
            }
            tokio::time::sleep(PAUSE).await;
        };
        if self.is_worth_it(job) {
            // The task only delays the next series; its outcome does not matter.
            let _ = self.cross_ahead(job, hop, seat, permit).await;
        }
    }

    /// Whether the cache stores instances of the job's source.
    fn is_kept_here(&self, job: &Job) -> bool {
        let is_far = !matches!(job.source.kind, Kind::Folder(_));
        is_far
            && !job.source.freshness.lifetime.is_zero()
            && self.cache.keeps_something()
            && !self.traits.has(&job.source, SourceTrait::NoStore)
    }

    /// Whether instances are missing from the cache, and the cache can store them.
    fn is_worth_it(&self, job: &Job) -> bool {
        let listing = &job.listing;
        let form = Representation::AsStored;
        let name = (job.source.key(), listing.series.clone());
        let is_wanting = |uid: &SopInstanceUid| {
            let key = super::kept::key(&job.source, listing, uid, form);
            !self.holds(&job.source, &key)
        };
        self.is_kept_here(job)
            && !self.traits.has(&job.source, SourceTrait::InstancesOnly)
            && listing.instances.len() > 1
            && !self.ahead.recent.contains_key(&name)
            && lacks_some(listing, is_wanting)
    }

    fn cross_ahead(
        &self,
        job: &Job,
        hop: &Arc<Hop>,
        seat: Seat,
        permit: OwnedSemaphorePermit,
    ) -> tokio::task::JoinHandle<()> {
        let listing = &job.listing;
        let name = (job.source.key(), listing.series.clone());
        self.ahead.recent.insert(name, ());
        self.ask_ahead(job, listing.target(), hop, seat, permit)
    }

    fn ask_ahead(
        &self,
        job: &Job,
        target: Target,
        hop: &Arc<Hop>,
        seat: Seat,
        permit: OwnedSemaphorePermit,
    ) -> tokio::task::JoinHandle<()> {
        let listing = &job.listing;
        let question = Question {
            source: Arc::clone(&job.source),
            target,
            representation: Representation::AsStored,
            listing: Some(Arc::clone(listing)),
            hop: Arc::clone(hop),
            had: None,
            is_repair: false,
        };
        let follower = self.begin(&question, seat);
        let ended = follower.runs_ahead(self.ahead.bytes);
        tokio::spawn(async move {
            ended.await;
            drop(permit);
        })
    }
}

/// Whether the sample shows that enough instances of the series are missing.
fn lacks_some(listing: &Listing, is_wanting: impl Fn(&SopInstanceUid) -> bool) -> bool {
    let sample = listing.instances.keys().take(SAMPLE);
    let wanting = sample.filter(|uid| is_wanting(uid));
    wanting.take(WANTING).count() == WANTING
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use super::*;
    use crate::retrieve::answer::progress::test::listing;

    #[test]
    fn a_request_for_one_instance_looks_at_a_sample_of_its_series() {
        let listing = listing(100_000);
        for (is_here, most, lacks) in [(true, SAMPLE, false), (false, WANTING, true)] {
            let looks = Cell::new(0);
            let is_wanting = |_: &SopInstanceUid| {
                looks.set(looks.get() + 1);
                !is_here
            };
            assert_eq!(lacks_some(&listing, is_wanting), lacks);
            assert_eq!(looks.get(), most);
        }
        // A short series is checked in full.
        for (instances, lacks) in [(0, false), (1, false), (2, true)] {
            assert_eq!(
                lacks_some(
                    &crate::retrieve::answer::progress::test::listing(instances),
                    |_| { true }
                ),
                lacks
            );
        }
    }
}
