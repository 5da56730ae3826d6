//! One place between producers and a consumer that one task polls: neither wakes the other.

use std::future::poll_fn;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

/// The producer's end; one for each producer.
#[derive(Debug)]
pub struct Giver<T>(Arc<Place<T>>);

/// The consumer's end.
#[derive(Debug)]
pub struct Taker<T>(Arc<Place<T>>);

#[derive(Debug)]
struct Place<T>(Mutex<Content<T>>);

#[derive(Debug)]
struct Content<T> {
    item: Option<T>,
    has_left: bool,
    /// A producer that another task polls, or a part of this one with a waker of its own.
    elsewhere: Option<Waker>,
}

/// The consumer has left.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ConsumerLeft;

/// A place for one item.
#[must_use]
pub fn place<T>() -> (Giver<T>, Taker<T>) {
    let place = Arc::new(Place(Mutex::new(Content {
        item: None,
        has_left: false,
        elsewhere: None,
    })));
    (Giver(Arc::clone(&place)), Taker(place))
}

impl<T> Place<T> {
    fn content(&self) -> MutexGuard<'_, Content<T>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<T> Giver<T> {
    /// Gives an item, and waits until the consumer asks for the next one.
    ///
    /// # Errors
    /// [`ConsumerLeft`].
    pub async fn give(&self, item: T) -> Result<(), ConsumerLeft> {
        let mut item = Some(item);
        poll_fn(|context| self.poll_give(&mut item, context)).await
    }

    fn poll_give(
        &self,
        item: &mut Option<T>,
        context: &mut Context<'_>,
    ) -> Poll<Result<(), ConsumerLeft>> {
        let mut content = self.0.content();
        if content.has_left {
            return Poll::Ready(Err(ConsumerLeft));
        }
        if content.item.is_none() {
            match item.take() {
                Some(item) => content.item = Some(item),
                None => return Poll::Ready(Ok(())),
            }
        }
        let known = content.elsewhere.as_ref();
        if known.is_none_or(|known| !known.will_wake(context.waker())) {
            content.elsewhere = Some(context.waker().clone());
        }
        Poll::Pending
    }
}

impl<T> Clone for Giver<T> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<T> Taker<T> {
    /// The given item.
    pub fn take(&self) -> Option<T> {
        self.0.content().item.take()
    }

    /// Asks for the next item. The consumer polls its producers next; this wakes one that is polled
    /// elsewhere.
    pub fn ask(&self, consumer: &Waker) {
        let mut content = self.0.content();
        let elsewhere = content
            .elsewhere
            .take_if(|elsewhere| !elsewhere.will_wake(consumer));
        drop(content);
        if let Some(elsewhere) = elsewhere {
            elsewhere.wake();
        }
    }

    /// Whether no producer is left.
    #[must_use]
    pub fn is_abandoned(&self) -> bool {
        Arc::strong_count(&self.0) == 1
    }
}

impl<T> Drop for Taker<T> {
    fn drop(&mut self) {
        self.0.content().has_left = true;
    }
}
