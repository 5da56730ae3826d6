//! The activity of a connection, and the decision whether it stays open.
//!
//! A connection is idle while it has no open request, regardless of other bytes: half a request, or
//! HTTP/2 acknowledgements. While requests are open, either the client or the gateway is slow; only
//! a stalled client costs the connection.

use std::pin::Pin;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http_body::{Frame, SizeHint};
use tokio::time::Instant;

use crate::body::{self, Body};

/// A smaller write is an HTTP/2 acknowledgement and not part of a response.
const PART_OF_AN_ANSWER: usize = 512;
const NEVER: u64 = u64::MAX;

/// The time-outs of a connection.
#[derive(Debug, Clone, Copy)]
pub(super) struct Patience {
    /// Without an open request.
    pub(super) idle: Duration,
    /// While the client reads nothing of an open response.
    pub(super) client_silence: Duration,
}

/// The verdict on a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Verdict {
    /// Keep it open at least for this time.
    Fine(Duration),
    /// Close it: it has no open request.
    Idle,
    /// Close it: the client reads nothing.
    Stalled,
    /// Accept no more requests: the client does not read one response, while others progress. Only
    /// the end of the connection ends that stream.
    Shut,
}

/// The activity of a connection. Times are milliseconds since it was accepted.
#[derive(Debug)]
pub(super) struct Activity {
    accepted: Instant,
    /// Requests without a complete response.
    open: AtomicUsize,
    /// Those of them that wait for the gateway and not for the client.
    for_us: AtomicUsize,
    /// All requests so far.
    requests: AtomicU64,
    /// The last start or end of a request, or read by the client.
    moved: AtomicU64,
    /// The time at which the socket blocked; [`NEVER`] if it is writable.
    blocked: AtomicU64,
    waits: Mutex<Vec<Arc<Wait>>>,
}

/// An open request, and its wait for the client.
#[derive(Debug)]
struct Wait {
    /// The time since when it waits; [`NEVER`] if it does not.
    since: AtomicU64,
    /// Its response; `None` before that, and after the client has lost it.
    body: Mutex<Option<Body>>,
}

impl Wait {
    fn body(&self) -> MutexGuard<'_, Option<Body>> {
        self.body.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A request, until the end of its response.
#[derive(Debug)]
pub(super) struct Exchange {
    activity: Arc<Activity>,
    is_for_us: bool,
    wait: Arc<Wait>,
}

/// A response body that counts its bytes as activity.
pub(super) struct CountedBody {
    exchange: Exchange,
}

impl Activity {
    pub(super) fn new() -> Self {
        Self {
            accepted: Instant::now(),
            open: AtomicUsize::new(0),
            for_us: AtomicUsize::new(0),
            requests: AtomicU64::new(0),
            moved: AtomicU64::new(0),
            blocked: AtomicU64::new(NEVER),
            waits: Mutex::default(),
        }
    }

    /// A request has arrived.
    pub(super) fn begin(self: &Arc<Self>) -> Exchange {
        self.open.fetch_add(1, Ordering::Relaxed);
        self.for_us.fetch_add(1, Ordering::Relaxed);
        self.requests.fetch_add(1, Ordering::Relaxed);
        self.touch();
        let wait = Arc::new(Wait {
            since: AtomicU64::new(NEVER),
            body: Mutex::default(),
        });
        self.waits().push(Arc::clone(&wait));
        Exchange {
            activity: Arc::clone(self),
            is_for_us: true,
            wait,
        }
    }

    /// The socket accepted bytes.
    pub(super) fn wrote(&self, bytes: usize) {
        self.blocked.store(NEVER, Ordering::Relaxed);
        if bytes >= PART_OF_AN_ANSWER {
            self.touch();
        }
    }

    /// The socket is blocked.
    pub(super) fn is_blocked(&self) {
        let now = self.now();
        // It may already have been blocked.
        let _earlier =
            self.blocked
                .compare_exchange(NEVER, now, Ordering::Relaxed, Ordering::Relaxed);
    }

    /// The idle time without an open request; `None` while one is open.
    pub(super) fn idle_for(&self) -> Option<Duration> {
        let is_idle = self.open.load(Ordering::Relaxed) == 0;
        is_idle.then(|| self.still_for())
    }

    /// The idle time, if all responses have been sent.
    pub(super) fn rests_for(&self) -> Option<Duration> {
        let is_blocked = self.blocked.load(Ordering::Relaxed) != NEVER;
        self.idle_for().filter(|_idle| !is_blocked)
    }

    /// Whether a request has ever arrived.
    pub(super) fn has_asked(&self) -> bool {
        self.requests.load(Ordering::Relaxed) > 0
    }

    /// The time since the last activity.
    pub(super) fn still_for(&self) -> Duration {
        self.since(self.moved.load(Ordering::Relaxed))
    }

    /// Whether it stays open.
    pub(super) fn verdict(&self, patience: Patience) -> Verdict {
        let blocked = self.blocked.load(Ordering::Relaxed);
        if blocked != NEVER && self.since(blocked) >= patience.client_silence {
            return Verdict::Stalled;
        }
        let is_idle = self.open.load(Ordering::Relaxed) == 0;
        let is_for_us = self.for_us.load(Ordering::Relaxed) > 0;
        let limit = match (is_idle, is_for_us) {
            (true, _) => patience.idle,
            (false, true) => return self.unless_shut(patience, patience.idle),
            (false, false) => patience.client_silence,
        };
        match limit.checked_sub(self.still_for()) {
            Some(left) if !left.is_zero() => self.unless_shut(patience, left),
            Some(_) | None if is_idle => Verdict::Idle,
            Some(_) | None => Verdict::Stalled,
        }
    }

    fn unless_shut(&self, patience: Patience, left: Duration) -> Verdict {
        let is_shut = |wait: &Arc<Wait>| self.is_shut(wait, patience);
        match self.waits().iter().any(is_shut) {
            true => Verdict::Shut,
            false => Verdict::Fine(left),
        }
    }

    fn is_shut(&self, wait: &Wait, patience: Patience) -> bool {
        let since = wait.since.load(Ordering::Relaxed);
        since != NEVER && self.since(since) >= patience.client_silence
    }

    /// Drops the responses that the client does not read, with all that they hold: seats at
    /// sources, memory, files.
    pub(super) fn abandon_unread(&self, patience: Patience) {
        let waits = self.waits().clone();
        let unread = waits.iter().filter(|wait| self.is_shut(wait, patience));
        for wait in unread {
            let unread = wait.body().take();
            drop(unread);
        }
    }

    fn waits(&self) -> MutexGuard<'_, Vec<Arc<Wait>>> {
        self.waits.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn touch(&self) {
        self.moved.store(self.now(), Ordering::Relaxed);
    }

    fn now(&self) -> u64 {
        let now = self.accepted.elapsed().as_millis();
        now.try_into().unwrap_or(NEVER - 1)
    }

    fn since(&self, then: u64) -> Duration {
        Duration::from_millis(self.now().saturating_sub(then))
    }
}

impl Exchange {
    fn is_for_us(&mut self, is_for_us: bool) {
        if std::mem::replace(&mut self.is_for_us, is_for_us) == is_for_us {
            return;
        }
        let for_us = &self.activity.for_us;
        match is_for_us {
            true => for_us.fetch_add(1, Ordering::Relaxed),
            false => for_us.fetch_sub(1, Ordering::Relaxed),
        };
    }

    /// A chunk is ready for the client, or the gateway is still working.
    fn moves(&self) {
        let since = if self.is_for_us {
            NEVER
        } else {
            self.activity.now()
        };
        self.wait.since.store(since, Ordering::Relaxed);
        self.activity.touch();
    }

    /// The client receives this chunk.
    pub(super) fn answering(mut self, body: Body) -> CountedBody {
        self.is_for_us(false);
        self.moves();
        *self.wait.body() = Some(body);
        CountedBody { exchange: self }
    }
}

impl Drop for Exchange {
    fn drop(&mut self) {
        self.is_for_us(false);
        self.activity.open.fetch_sub(1, Ordering::Relaxed);
        let wait = &self.wait;
        self.activity
            .waits()
            .retain(|other| !Arc::ptr_eq(other, wait));
        self.activity.touch();
    }
}

impl http_body::Body for CountedBody {
    type Data = Bytes;
    type Error = body::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, body::Error>>> {
        let next = match &mut *self.exchange.wait.body() {
            Some(body) => Pin::new(body).poll_frame(context),
            None => Poll::Ready(Some(Err(body::Error::Abandoned))),
        };
        // It is polled when the client can read more.
        self.exchange.is_for_us(next.is_pending());
        self.exchange.moves();
        next
    }

    fn is_end_stream(&self) -> bool {
        let body = self.exchange.wait.body();
        body.as_ref().is_some_and(http_body::Body::is_end_stream)
    }

    fn size_hint(&self) -> SizeHint {
        let body = self.exchange.wait.body();
        body.as_ref()
            .map_or_else(SizeHint::default, http_body::Body::size_hint)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PATIENCE: Patience = Patience {
        idle: Duration::from_secs(30),
        client_silence: Duration::from_secs(300),
    };

    async fn pass(seconds: u64) {
        tokio::time::advance(Duration::from_secs(seconds)).await;
    }

    #[tokio::test(start_paused = true)]
    async fn without_a_request_it_is_idle_whatever_is_acknowledged() {
        let activity = Arc::new(Activity::new());
        pass(20).await;
        activity.wrote(17);
        assert_eq!(
            activity.verdict(PATIENCE),
            Verdict::Fine(Duration::from_secs(10))
        );
        pass(10).await;
        activity.wrote(17);
        assert_eq!(activity.verdict(PATIENCE), Verdict::Idle);
        assert!(!activity.has_asked());
    }

    #[tokio::test(start_paused = true)]
    async fn while_the_gateway_is_waited_for_it_stays() {
        let activity = Arc::new(Activity::new());
        let exchange = activity.begin();
        pass(10_000).await;
        assert_eq!(activity.verdict(PATIENCE), Verdict::Fine(PATIENCE.idle));
        assert_eq!(activity.idle_for(), None);
        drop(exchange);
        assert_eq!(activity.idle_for(), Some(Duration::ZERO));
        pass(30).await;
        assert_eq!(activity.verdict(PATIENCE), Verdict::Idle);
    }

    #[tokio::test(start_paused = true)]
    async fn a_client_that_takes_nothing_stalls_it_and_one_that_is_waited_with_does_not() {
        let activity = Arc::new(Activity::new());
        let stuck = activity.begin().answering(Body::full("x"));
        let waiting = activity.begin();
        pass(299).await;
        assert_eq!(activity.verdict(PATIENCE), Verdict::Fine(PATIENCE.idle));
        pass(101).await;
        // Other requests progress, so the connection is not closed at once.
        assert_eq!(activity.verdict(PATIENCE), Verdict::Shut);
        activity.abandon_unread(PATIENCE);
        assert!(
            stuck.exchange.wait.body().is_none(),
            "it holds nothing any more"
        );
        drop(waiting);
        pass(299).await;
        assert_eq!(activity.verdict(PATIENCE), Verdict::Shut);
        pass(1).await;
        assert_eq!(activity.verdict(PATIENCE), Verdict::Stalled);
        activity.wrote(512);
        assert_ne!(activity.verdict(PATIENCE), Verdict::Stalled);
        drop(stuck);
        // A blocked socket outweighs any open request.
        let _waiting = activity.begin();
        activity.is_blocked();
        pass(299).await;
        activity.is_blocked();
        pass(1).await;
        assert_eq!(activity.verdict(PATIENCE), Verdict::Stalled);
        activity.wrote(1);
        assert_eq!(activity.verdict(PATIENCE), Verdict::Fine(PATIENCE.idle));
    }
}
