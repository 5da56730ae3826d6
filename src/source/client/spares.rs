//! One spare connection for each core and address that was used lately: a request that comes while
//! all others are busy need not wait for a handshake, which takes two or three round trips.

use std::collections::HashMap;
use std::future::Future;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use http::Uri;
use tokio::runtime::Handle;
use tokio::sync::Notify;
use tokio::time::{Instant, sleep, timeout};

use super::shelves::Place;

/// The time after an answer in which a spare is kept.
const LATELY: Duration = Duration::from_secs(60);
/// A connection that is back within this time is the next spare. Handshakes with a server that
/// answers sooner cost little.
const GRACE: Duration = Duration::from_millis(10);
/// The time after which a spare is looked at: the server may have closed it.
const LOOK: Duration = Duration::from_secs(5);
/// The time without a spare after a server has refused one, or closed it early.
const REST: Duration = Duration::from_secs(30);

/// Opens the connections of which one is spare.
pub(super) trait Opener: Send + Sync + 'static {
    /// Whether a connection waits for a request at a place.
    fn look(&self, place: &Place) -> Spare;

    /// Opens one; whether it is there.
    fn open(&self, uri: &Uri, place: &Place) -> impl Future<Output = bool> + Send;
}

/// Whether there is a spare connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Spare {
    /// One waits for a request.
    Waits,
    /// All are busy.
    Taken,
    /// The server has closed it.
    Closed,
}

/// The spare connections of a client.
#[derive(Debug)]
pub(super) struct Spares<O> {
    opener: O,
    is_kept: bool,
    used: Mutex<HashMap<Place, Use>>,
}

/// The latest use of a place.
#[derive(Debug)]
struct Use {
    last: Instant,
    /// Notified when its spare may have been taken.
    taken: Arc<Notify>,
}

impl<O: Opener> Spares<O> {
    /// A spare connection at each place, if one is to be kept.
    pub(super) fn new(opener: O, is_kept: bool) -> Arc<Self> {
        Arc::new(Self {
            opener,
            is_kept,
            used: Mutex::default(),
        })
    }

    pub(super) fn opener(&self) -> &O {
        &self.opener
    }

    /// A server has answered, so a spare connection to it is kept for a while.
    pub(super) fn answered(self: &Arc<Self>, uri: &Uri, place: &Place) {
        if !self.is_kept {
            return;
        }
        let last = Instant::now();
        let mut all = self.lock();
        if let Some(used) = all.get_mut(place) {
            used.last = last;
            return;
        }
        let Ok(here) = Handle::try_current() else {
            return;
        };
        let taken = Arc::new(Notify::new());
        let keeper = Keeper {
            spares: Arc::downgrade(self),
            uri: uri.clone(),
            place: place.clone(),
            taken: Arc::clone(&taken),
        };
        all.insert(place.clone(), Use { last, taken });
        drop(all);
        here.spawn(keeper.keep());
    }

    /// A request has taken the last connection of a place, or has found none.
    pub(super) fn taken(&self, place: &Place) {
        if let Some(used) = self.lock().get(place) {
            used.taken.notify_one();
        }
    }

    fn is_used(&self, place: &Place) -> bool {
        let all = self.lock();
        all.get(place)
            .is_some_and(|used| used.last.elapsed() < LATELY)
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<Place, Use>> {
        self.used.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Keeps one spare connection at a place.
struct Keeper<O: Opener> {
    spares: Weak<Spares<O>>,
    uri: Uri,
    place: Place,
    taken: Arc<Notify>,
}

impl<O: Opener> Keeper<O> {
    async fn keep(self) {
        let mut opened: Option<Instant> = None;
        loop {
            sleep(GRACE).await;
            let Some(spares) = self.spares.upgrade().filter(|all| all.is_used(&self.place)) else {
                return;
            };
            let is_here = self.has_spare(&spares.opener, &mut opened).await;
            if !is_here {
                drop(spares);
                opened = None;
                sleep(REST).await;
                continue;
            }
            drop(spares);
            // Whether it is taken or time has passed: both are reasons to look.
            let _ = timeout(LOOK, self.taken.notified()).await;
        }
    }

    /// Whether a spare connection is there, perhaps a new one.
    async fn has_spare(&self, opener: &O, opened: &mut Option<Instant>) -> bool {
        match opener.look(&self.place) {
            Spare::Waits => return true,
            // A server that closes a connection that nobody has used wants none.
            Spare::Closed if opened.is_some_and(|opened| opened.elapsed() < LOOK) => return false,
            Spare::Closed | Spare::Taken => {}
        }
        *opened = Some(Instant::now());
        opener.open(&self.uri, &self.place).await
    }
}

impl<O: Opener> Drop for Keeper<O> {
    fn drop(&mut self) {
        if let Some(spares) = self.spares.upgrade() {
            spares.lock().remove(&self.place);
        }
    }
}
