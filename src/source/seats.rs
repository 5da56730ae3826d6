//! Seats of a source: concurrent requests, the queue for them, and the share of look-ahead.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use tokio::sync::futures::Notified;
use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore};
use tokio::time::timeout;

use super::{Error, Terms};

/// The time that a request waits for a seat.
const WAIT: Duration = Duration::from_secs(30);
/// The same for an answer that has begun; without a seat it would break off.
const LONGEST_WAIT: Duration = Duration::from_secs(300);
/// One extra repair seat for this many seats.
const SEATS_FOR_A_REPAIR: usize = 4;
/// `Retry-After` when the queue is full.
const SOON: Duration = Duration::from_secs(5);
/// The share of seats for look-ahead.
const AHEAD: usize = 2;

/// The seats of a source; clones share them.
#[derive(Debug, Clone)]
pub(super) struct Seats(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    connections: usize,
    queue: usize,
    free: Arc<Semaphore>,
    ahead: Arc<Semaphore>,
    repairs: Arc<Semaphore>,
    /// Waiting requests whose answer has not begun.
    queued: AtomicUsize,
    waiting: AtomicUsize,
    /// Notified when a request begins to wait.
    called: Notify,
}

/// The purpose of a seat.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Claim {
    /// An answer that has not begun. It can still be refused.
    New,
    /// An answer that has begun. Their number is at most that of the running answers.
    Begun,
    /// A repair. The broken answer holds seats until the repair ends, so repairs have seats of
    /// their own: they never wait for an answer that waits for a repair itself.
    Repair,
}

/// A permit for one connection to a source; released on drop.
#[derive(Debug)]
pub struct Seat {
    seat: OwnedSemaphorePermit,
    #[expect(dead_code, reason = "it is held, not looked at")]
    ahead: Option<OwnedSemaphorePermit>,
}

impl Seats {
    pub(super) fn new(terms: Terms) -> Self {
        let connections = terms.connections.max(1);
        Self(Arc::new(Shared {
            connections,
            queue: terms.queue,
            free: Arc::new(Semaphore::new(connections)),
            ahead: Arc::new(Semaphore::new(AHEAD)),
            repairs: Arc::new(Semaphore::new(connections.div_ceil(SEATS_FOR_A_REPAIR))),
            queued: AtomicUsize::new(0),
            waiting: AtomicUsize::new(0),
            called: Notify::new(),
        }))
    }

    pub(super) async fn wait(&self, claim: Claim) -> Result<Seat, Error> {
        if let Some(seat) = self.free() {
            return Ok(seat);
        }
        let _waiting = Count::among(&self.0.waiting);
        self.0.called.notify_waiters();
        match claim {
            Claim::New => {
                let queued = Count::among(&self.0.queued);
                if queued.before >= self.0.queue {
                    return Err(Error::Crowded { retry_after: SOON });
                }
                of(&self.0.free, WAIT).await
            }
            Claim::Begun => of(&self.0.free, LONGEST_WAIT).await,
            Claim::Repair => of(&self.0.repairs, WAIT).await,
        }
    }

    pub(super) fn free_now(&self) -> usize {
        self.0.free.available_permits()
    }

    pub(super) fn free(&self) -> Option<Seat> {
        let seat = Arc::clone(&self.0.free).try_acquire_owned().ok()?;
        Some(Seat { seat, ahead: None })
    }

    /// A seat for look-ahead: half of the seats stay free, and waiting requests come first.
    pub(super) fn ahead(&self) -> Option<Seat> {
        let is_quiet = self.0.free.available_permits() > self.0.connections / 2;
        if !is_quiet || self.is_waited_for() {
            return None;
        }
        let ahead = Arc::clone(&self.0.ahead).try_acquire_owned().ok()?;
        let Seat { seat, .. } = self.free()?;
        Some(Seat {
            seat,
            ahead: Some(ahead),
        })
    }

    /// Waits until a request begins to wait for a seat.
    pub(super) fn called(&self) -> Notified<'_> {
        self.0.called.notified()
    }

    /// Whether a request waits for a seat.
    pub(super) fn is_waited_for(&self) -> bool {
        self.0.waiting.load(Ordering::Acquire) > 0
    }
}

async fn of(seats: &Arc<Semaphore>, wait: Duration) -> Result<Seat, Error> {
    match timeout(wait, Arc::clone(seats).acquire_owned()).await {
        Ok(Ok(seat)) => Ok(Seat { seat, ahead: None }),
        Ok(Err(_)) | Err(_) => Err(Error::Crowded { retry_after: SOON }),
    }
}

/// Counts one while it lives.
struct Count<'a> {
    number: &'a AtomicUsize,
    before: usize,
}

impl<'a> Count<'a> {
    fn among(number: &'a AtomicUsize) -> Self {
        let before = number.fetch_add(1, Ordering::AcqRel);
        Self { number, before }
    }
}

impl Drop for Count<'_> {
    fn drop(&mut self) {
        self.number.fetch_sub(1, Ordering::AcqRel);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures_util::FutureExt;

    fn seats(connections: usize, queue: usize) -> Seats {
        Seats::new(Terms {
            connections,
            queue,
            ..Terms::default()
        })
    }

    #[tokio::test]
    async fn who_finds_the_queue_full_is_told_at_once() {
        let seats = seats(1, 1);
        let first = seats.wait(Claim::New).await.expect("it is free");
        let mut second = Box::pin(seats.wait(Claim::New));
        assert!((&mut second).now_or_never().is_none());
        assert!(seats.is_waited_for());
        let third = seats.wait(Claim::New).now_or_never().expect("at once");
        let told = Error::Crowded { retry_after: SOON };
        assert_eq!(third.expect_err("no room"), told);
        drop(first);
        assert!(second.await.is_ok());
        assert!(!seats.is_waited_for());
    }

    #[tokio::test]
    async fn looking_ahead_leaves_half_of_the_seats_free() {
        let seats = seats(4, 10);
        let (one, two) = (seats.ahead(), seats.ahead());
        assert!(one.is_some() && two.is_some());
        assert!(seats.ahead().is_none());
        drop(one);
        let _somebody = [seats.free(), seats.free()];
        assert!(seats.ahead().is_none(), "only one is left");
    }

    #[tokio::test]
    async fn who_waits_comes_before_what_nobody_waits_for() {
        let seats = seats(1, 10);
        let ahead = seats.ahead().expect("no seat is taken");
        let mut waiting = Box::pin(seats.wait(Claim::New));
        assert!((&mut waiting).now_or_never().is_none());
        assert!(seats.is_waited_for());
        drop(ahead);
        assert!(seats.ahead().is_none());
        assert!(waiting.await.is_ok());
    }

    #[tokio::test]
    async fn what_has_begun_is_not_refused_and_a_repair_does_not_wait_for_the_others() {
        let seats = seats(1, 0);
        let first = seats.wait(Claim::New).await.expect("it is free");
        let refused = seats.wait(Claim::New).now_or_never().expect("at once");
        assert!(refused.is_err());
        let mut begun = Box::pin(seats.wait(Claim::Begun));
        assert!((&mut begun).now_or_never().is_none());
        let repair = seats.wait(Claim::Repair).now_or_never().expect("at once");
        let repair = repair.expect("a seat of its own");
        let mut other = Box::pin(seats.wait(Claim::Repair));
        assert!((&mut other).now_or_never().is_none());
        drop(repair);
        assert!(other.await.is_ok());
        drop(first);
        assert!(begun.await.is_ok());
        assert!(!seats.is_waited_for());
    }
}
