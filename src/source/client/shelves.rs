//! Idle connections, by core and address.
//!
//! A connection stays with the runtime that it was opened on: its socket is registered there, and
//! each core has a runtime of its own.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use http::Uri;
use http::uri::{Authority, Scheme};
use tokio::runtime::{self, Handle};
use tokio::time::{Instant, sleep_until};

/// The time that a connection without a request is kept.
pub(super) const IDLE: Duration = Duration::from_secs(30);

/// The place of a connection.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct Place {
    runtime: runtime::Id,
    is_tls: bool,
    authority: Option<Authority>,
}

impl Place {
    /// The place for a URL on the current runtime.
    pub(super) fn of(uri: &Uri) -> Self {
        Self {
            runtime: Handle::current().id(),
            is_tls: uri.scheme() == Some(&Scheme::HTTPS),
            authority: uri.authority().cloned(),
        }
    }
}

/// A connection that is closed some time after its last use.
pub(super) trait Perishable: Send + 'static {
    /// The moment from which it is not kept.
    fn perishes(&mut self, now: Instant) -> Instant;
}

/// The shelves of all places. The lock is never held while a connection is used or closed.
#[derive(Debug)]
pub(super) struct Shelves<T>(Mutex<HashMap<Place, Vec<T>>>);

impl<T: Perishable> Shelves<T> {
    pub(super) fn new() -> Arc<Self> {
        Arc::new(Self(Mutex::default()))
    }

    /// Changes the shelf of a place, if there is one.
    pub(super) fn with<R>(
        &self,
        place: &Place,
        change: impl FnOnce(&mut Vec<T>) -> R,
    ) -> Option<R> {
        self.lock().get_mut(place).map(change)
    }

    /// Puts a connection on the shelf of its place, at most so many. A connection of another runtime
    /// than the current one is closed.
    pub(super) fn put(self: &Arc<Self>, place: &Place, connection: T, most: usize) {
        let Ok(here) = Handle::try_current() else {
            return;
        };
        if here.id() != place.runtime {
            return;
        }
        let mut shelves = self.lock();
        if let Some(shelf) = shelves.get_mut(place) {
            if shelf.len() < most {
                shelf.push(connection);
            }
            return;
        }
        shelves.insert(place.clone(), vec![connection]);
        drop(shelves);
        let sweeper = Sweeper {
            shelves: Arc::downgrade(self),
            place: place.clone(),
        };
        here.spawn(sweeper.sweep());
    }

    /// Takes what has perished off a shelf; returns when to look again, if anything is left.
    fn sweep(&self, place: &Place) -> Option<Instant> {
        let now = Instant::now();
        let mut shelves = self.lock();
        let shelf = shelves.get_mut(place)?;
        let perished: Vec<T> = shelf
            .extract_if(.., |connection| connection.perishes(now) <= now)
            .collect();
        let next = shelf.iter_mut().map(|left| left.perishes(now)).min();
        if next.is_none() {
            shelves.remove(place);
        }
        drop(shelves);
        drop(perished);
        next
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<Place, Vec<T>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Sweeps one shelf as long as it exists. The shelf ends with it, so also with the runtime.
struct Sweeper<T: Perishable> {
    shelves: Weak<Shelves<T>>,
    place: Place,
}

impl<T: Perishable> Sweeper<T> {
    async fn sweep(self) {
        let mut next = Some(Instant::now() + IDLE);
        while let Some(moment) = next {
            sleep_until(moment).await;
            next = self
                .shelves
                .upgrade()
                .and_then(|shelves| shelves.sweep(&self.place));
        }
    }
}

impl<T: Perishable> Drop for Sweeper<T> {
    fn drop(&mut self) {
        let shelf = self
            .shelves
            .upgrade()
            .and_then(|shelves| shelves.lock().remove(&self.place));
        drop(shelf);
    }
}
