//! One place between producers and a consumer. Where one task polls them all, neither wakes the
//! other; a producer that another task polls does, and is woken.

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
    consumer: Option<Waker>,
    /// The latest producer that waits for its item to be taken.
    producer: Option<Waker>,
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
        consumer: None,
        producer: None,
    })));
    (Giver(Arc::clone(&place)), Taker(place))
}

impl<T> Place<T> {
    fn content(&self) -> MutexGuard<'_, Content<T>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Keeps the waker, without a copy if it is known.
fn remember(known: &mut Option<Waker>, waker: &Waker) {
    if known.as_ref().is_none_or(|known| !known.will_wake(waker)) {
        *known = Some(waker.clone());
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
        remember(&mut content.producer, context.waker());
        let consumer = content
            .consumer
            .take_if(|consumer| !consumer.will_wake(context.waker()));
        drop(content);
        if let Some(consumer) = consumer {
            consumer.wake();
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

    /// Asks for the next item. The consumer polls its producers next; this wakes one that another
    /// task polls.
    pub fn ask(&self, consumer: &Waker) {
        let mut content = self.0.content();
        remember(&mut content.consumer, consumer);
        let producer = content
            .producer
            .take_if(|producer| !producer.will_wake(consumer));
        drop(content);
        if let Some(producer) = producer {
            producer.wake();
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
