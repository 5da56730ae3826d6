//! The one streaming body type: bytes that arrive, and how they end.
//!
//! A body either ends or fails. If its producer disappears, it fails: a body that ends is complete.

mod file;
mod generate;
pub mod handover;
mod revoke;
mod skip;
#[cfg(test)]
mod tests;
mod wait;
mod watch;

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http_body::{Frame, SizeHint};
use tokio::time::Sleep;

pub use file::{Content, Elsewhere};
pub use generate::Emitter;
pub use skip::Skip;
pub use wait::Wait;
pub use watch::End;

use crate::budget;
use crate::dicom::walk::NotWhole;
use file::Span;
use generate::{Producer, poll_generated};
use handover::Taker;
use revoke::Revocation;
use watch::Watch;

/// Why a body broke off.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// The source sent nothing for as long as settings allow.
    #[error("the source went silent")]
    Silent,
    /// The source sends less in a second than settings allow.
    #[error("the source sends too slowly")]
    TooSlow,
    /// The connection to the source broke.
    #[error("the connection to the source broke")]
    Disconnected,
    /// The source's answer ended before its end.
    #[error("the source's answer ended early")]
    Truncated,
    /// The source's answer breaks its format.
    #[error("the source's answer is malformed: {0}")]
    Malformed(&'static str),
    /// The bytes of an instance end before its data set does. Nothing else of an answer is wrong.
    #[error("an instance is not whole: {0}")]
    NotWhole(#[from] NotWhole),
    /// One answer held two instances with the same UID and different bytes.
    #[error("the source gave one instance with different bytes")]
    Conflicting,
    /// Instances that were promised did not arrive.
    #[error("{0} of the selected instances did not arrive")]
    Missing(usize),
    /// A file could not be read.
    #[error("a file of the source could not be read")]
    Unreadable,
    /// The budget has no memory for the next bytes.
    #[error(transparent)]
    Memory(#[from] budget::Error),
    /// The right to read it was revoked.
    #[error("the right to read the answer was revoked")]
    Revoked,
    /// The producer of the bytes is gone.
    #[error("the producer of the bytes is gone")]
    Abandoned,
}

/// When a body fails, hyper drops the bytes that it has not flushed, even the head of the response.
/// The pause lets it flush, so that the client sees a good beginning and an aborted end.
const FLUSH: Duration = Duration::from_millis(20);

// 4 KiB reads cost fifteen times the processor time of these.
const CHUNK: usize = 256 << 10;

/// A stream of bytes that ends, or fails.
pub struct Body {
    kind: Kind,
    /// Exact number of bytes, where known.
    length: Option<u64>,
    /// Where it is, if it is that of a file.
    file: Option<Span>,
    /// How its producer passes over bytes, if it can, and how much is behind.
    skip: Option<(Skip, u64)>,
    watches: Vec<Watch>,
    revocation: Option<Revocation>,
}

enum Kind {
    Full(Option<Bytes>),
    Generated {
        producer: Producer,
        emitted: Taker<Bytes>,
    },
    /// It is about to fail with this.
    Failing(Error, Pin<Box<Sleep>>),
    Ended,
}

impl Body {
    /// No bytes.
    #[must_use]
    pub fn empty() -> Self {
        Self::full(Bytes::new())
    }

    /// These bytes.
    #[must_use]
    pub fn full(bytes: impl Into<Bytes>) -> Self {
        let bytes: Bytes = bytes.into();
        let length = Some(bytes.len() as u64);
        Self::new(Kind::Full((!bytes.is_empty()).then_some(bytes)), length)
    }

    fn into_kind(mut self) -> Kind {
        std::mem::replace(&mut self.kind, Kind::Ended)
    }

    fn new(kind: Kind, length: Option<u64>) -> Self {
        Self {
            kind,
            length,
            file: None,
            skip: None,
            watches: Vec::new(),
            revocation: None,
        }
    }

    /// The exact number of bytes, where known.
    #[must_use]
    pub fn length(&self) -> Option<u64> {
        self.length
    }

    /// The next bytes; `None` at the end.
    ///
    /// # Errors
    /// Why it broke off.
    pub async fn chunk(&mut self) -> Result<Option<Bytes>, Error> {
        std::future::poll_fn(|context| self.poll_chunk(context))
            .await
            .transpose()
    }

    fn poll_chunk(&mut self, context: &mut Context<'_>) -> Poll<Option<Result<Bytes, Error>>> {
        let is_revoked = self.is_revoked(context);
        let next = match &mut self.kind {
            _ if is_revoked => Poll::Ready(Some(Err(Error::Revoked))),
            Kind::Full(bytes) => Poll::Ready(next_of(bytes).map(Ok)),
            Kind::Generated { producer, emitted } => poll_generated(producer, emitted, context),
            Kind::Failing(error, pause) => pause
                .as_mut()
                .poll(context)
                .map(|()| Some(Err(error.clone()))),
            Kind::Ended => Poll::Ready(None),
        };
        if matches!(next, Poll::Ready(None | Some(Err(_)))) {
            self.kind = Kind::Ended;
        }
        if let (Poll::Ready(Some(Ok(bytes))), Some(span)) = (&next, &mut self.file) {
            span.read += bytes.len() as u64;
        }
        if let (Poll::Ready(Some(Ok(bytes))), Some((_, passed))) = (&next, &mut self.skip) {
            *passed += bytes.len() as u64;
        }
        if let Poll::Ready(read) = &next {
            for watch in &mut self.watches {
                watch.observe(read.as_ref());
            }
        }
        next
    }
}

/// A number of bytes, of so many that are there.
fn within(wanted: u64, there: usize) -> usize {
    usize::try_from(wanted).map_or(there, |wanted| wanted.min(there))
}

/// The next chunk of bytes that are all in memory. A connection holds a chunk until it is sent, so
/// chunks are small.
fn next_of(all: &mut Option<Bytes>) -> Option<Bytes> {
    let left = all.as_mut()?;
    if left.len() > CHUNK {
        return Some(left.split_to(CHUNK));
    }
    all.take()
}

impl http_body::Body for Body {
    type Data = Bytes;
    type Error = Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Error>>> {
        let has_paused = matches!(self.kind, Kind::Failing(..));
        let mut next = self.poll_chunk(context);
        if let (Poll::Ready(Some(Err(error))), false) = (&next, has_paused) {
            self.kind = Kind::Failing(error.clone(), Box::pin(tokio::time::sleep(FLUSH)));
            next = self.poll_chunk(context);
        }
        next.map(|next| next.map(|chunk| chunk.map(Frame::data)))
    }

    fn is_end_stream(&self) -> bool {
        matches!(self.kind, Kind::Ended | Kind::Full(None))
    }

    fn size_hint(&self) -> SizeHint {
        match (&self.kind, self.length) {
            (Kind::Ended | Kind::Full(None), _) => SizeHint::with_exact(0),
            (Kind::Full(Some(bytes)), _) => SizeHint::with_exact(bytes.len() as u64),
            // Only asked for before the first chunk.
            (Kind::Generated { .. } | Kind::Failing(..), Some(length)) => {
                SizeHint::with_exact(length)
            }
            (Kind::Generated { .. } | Kind::Failing(..), None) => SizeHint::default(),
        }
    }
}

impl fmt::Debug for Body {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Body")
            .field("length", &self.length)
            .finish_non_exhaustive()
    }
}
