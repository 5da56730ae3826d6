//! Bodies that a future writes while they are read, in no task of its own.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;

use super::handover::{self, Giver, Taker};
use super::{Body, Error, Kind, within};

pub(super) type Producer = Pin<Box<dyn Future<Output = Result<(), Error>> + Send>>;

/// The writing end of [`Body::generate`].
#[derive(Debug)]
pub struct Emitter(Giver<Bytes>);

impl Body {
    /// Bytes that `write` emits, which runs while the body is read and in no task of its own.
    pub fn generate<F, P>(length: Option<u64>, write: F) -> Self
    where
        F: FnOnce(Emitter) -> P,
        P: Future<Output = Result<(), Error>> + Send + 'static,
    {
        let (giver, emitted) = handover::place();
        let producer = Box::pin(write(Emitter(giver)));
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
        let given = self.0.give(bytes).await;
        given.map_err(|_left| Error::Abandoned)
    }
}

pub(super) fn poll_generated(
    producer: &mut Producer,
    emitted: &Taker<Bytes>,
    context: &mut Context<'_>,
) -> Poll<Option<Result<Bytes, Error>>> {
    emitted.ask(context.waker());
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
