//! Bodies that a future writes while they are read, in no task of its own.

use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

use bytes::Bytes;

use super::{Body, Error, Kind, within};

pub(super) type Producer = Pin<Box<dyn Future<Output = Result<(), Error>> + Send>>;

/// The writing end of [`Body::generate`].
#[derive(Debug)]
pub struct Emitter(Arc<Emitted>);

/// The chunk that the producer has emitted and the reader has not taken yet. Both are polled by
/// one task, so neither wakes the other.
#[derive(Debug, Default)]
pub(super) struct Emitted(Mutex<Slot>);

#[derive(Debug, Default)]
struct Slot {
    chunk: Option<Bytes>,
    /// A producer that is polled by a task of its own, or by a part of one.
    emitter: Option<Waker>,
}

impl Body {
    /// Bytes that `write` emits, which runs while the body is read and in no task of its own.
    pub fn generate<F, P>(length: Option<u64>, write: F) -> Self
    where
        F: FnOnce(Emitter) -> P,
        P: Future<Output = Result<(), Error>> + Send + 'static,
    {
        let emitted = Arc::<Emitted>::default();
        let producer = Box::pin(write(Emitter(Arc::clone(&emitted))));
        Self::new(Kind::Generated { producer, emitted }, length)
    }

    /// These bytes, then this body. Its length is not known any more.
    #[must_use]
    pub fn after(mut self, bytes: Bytes) -> Self {
        Self::generate(None, |out| async move {
            out.emit(bytes).await?;
            while let Some(chunk) = self.chunk().await? {
                out.emit(chunk).await?;
            }
            Ok(())
        })
    }

    /// Emits the next `length` bytes of it.
    pub(super) async fn emit_to(mut self, out: &Emitter, length: u64) -> Result<(), Error> {
        let mut left = length;
        while left > 0 {
            let Some(mut chunk) = self.chunk().await? else {
                return Err(Error::Truncated);
            };
            chunk.truncate(within(left, chunk.len()));
            left -= chunk.len() as u64;
            if !chunk.is_empty() {
                out.emit(chunk).await?;
            }
        }
        Ok(())
    }

    /// Gives all of it to the reader of another body.
    ///
    /// # Errors
    /// Why it broke off, or that the reader has left.
    pub async fn give(mut self, out: &Emitter) -> Result<(), Error> {
        while let Some(chunk) = self.chunk().await? {
            out.emit(chunk).await?;
        }
        Ok(())
    }
}

impl Emitter {
    /// Gives bytes to the reader and waits until it polls for more.
    ///
    /// # Errors
    /// [`Error::Abandoned`] if the reader has left.
    pub async fn emit(&self, bytes: Bytes) -> Result<(), Error> {
        let mut bytes = Some(bytes);
        poll_fn(|context| self.poll_emit(&mut bytes, context)).await
    }

    fn poll_emit(
        &self,
        bytes: &mut Option<Bytes>,
        context: &mut Context<'_>,
    ) -> Poll<Result<(), Error>> {
        if Arc::strong_count(&self.0) == 1 {
            return Poll::Ready(Err(Error::Abandoned));
        }
        let mut slot = self.0.slot();
        if slot.chunk.is_none() {
            match bytes.take() {
                Some(bytes) => slot.chunk = Some(bytes),
                None => return Poll::Ready(Ok(())),
            }
        }
        let known = slot.emitter.as_ref();
        if known.is_none_or(|known| !known.will_wake(context.waker())) {
            slot.emitter = Some(context.waker().clone());
        }
        Poll::Pending
    }
}

impl Emitted {
    fn take(&self) -> Option<Bytes> {
        self.slot().chunk.take()
    }

    /// Wakes a producer that the reader does not poll directly.
    fn wake_others(&self, reader: &Waker) {
        let mut slot = self.slot();
        let other = slot.emitter.take_if(|emitter| !emitter.will_wake(reader));
        drop(slot);
        if let Some(other) = other {
            other.wake();
        }
    }

    fn slot(&self) -> MutexGuard<'_, Slot> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

pub(super) fn poll_generated(
    producer: &mut Producer,
    emitted: &Emitted,
    context: &mut Context<'_>,
) -> Poll<Option<Result<Bytes, Error>>> {
    emitted.wake_others(context.waker());
    let outcome = producer.as_mut().poll(context);
    // Emitted bytes come before the end; the next poll asks for the end again.
    if let Some(bytes) = emitted.take() {
        if let Poll::Ready(outcome) = outcome {
            *producer = Box::pin(std::future::ready(outcome));
        }
        return Poll::Ready(Some(Ok(bytes)));
    }
    match outcome {
        Poll::Ready(Ok(())) => Poll::Ready(None),
        Poll::Ready(Err(error)) => Poll::Ready(Some(Err(error))),
        Poll::Pending => Poll::Pending,
    }
}
