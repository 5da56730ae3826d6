//! A response, and its body as it arrives.

use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http::{HeaderMap, StatusCode};
use http_body::{Body as _, Frame};
use tokio::time::{Instant, Sleep, sleep_until};

use super::http1;
use super::http2;
use super::patience::Patience;
use crate::body;

/// A response whose body has not been read yet.
#[derive(Debug)]
pub struct Response {
    /// Its status.
    pub status: StatusCode,
    /// Its header fields.
    pub headers: HeaderMap,
    /// Its body.
    pub body: ResponseBody,
}

/// The body of a response.
#[derive(Debug)]
pub struct ResponseBody {
    incoming: Incoming,
    patience: Patience,
    /// Runs out when patience does, or earlier. It is made when a chunk is waited for, and set
    /// anew only when it has run out: most chunks need no timer.
    timer: Option<Pin<Box<Sleep>>>,
}

/// A body, with the connection that it arrives on.
#[derive(Debug)]
pub(super) enum Incoming {
    Http1(http1::Incoming),
    Http2(http2::Incoming),
}

impl Incoming {
    fn poll_frame(
        &mut self,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        match self {
            Self::Http1(incoming) => incoming.poll_frame(context),
            Self::Http2(incoming) => Pin::new(&mut incoming.body).poll_frame(context),
        }
    }
}

impl ResponseBody {
    pub(super) fn new(incoming: Incoming, patience: Patience) -> Self {
        Self {
            incoming,
            patience,
            timer: None,
        }
    }

    /// The next bytes; `None` at the end.
    ///
    /// # Errors
    /// [`body::Error::Silent`], [`body::Error::TooSlow`] or [`body::Error::Disconnected`].
    pub async fn chunk(&mut self) -> Result<Option<Bytes>, body::Error> {
        // A caller that gives up and asks again later begins a new wait.
        let mut began = None;
        std::future::poll_fn(|context| self.poll_chunk(&mut began, context)).await
    }

    fn poll_chunk(
        &mut self,
        began: &mut Option<Instant>,
        context: &mut Context<'_>,
    ) -> Poll<Result<Option<Bytes>, body::Error>> {
        if let Poll::Ready(chunk) = self.poll_data(context) {
            if let Ok(Some(chunk)) = &chunk {
                let waited = began.map(|began| began.elapsed()).unwrap_or_default();
                self.patience.received(chunk.len(), waited);
            }
            return Poll::Ready(chunk);
        }
        let began = *began.get_or_insert_with(Instant::now);
        ready!(self.poll_timer(began + self.patience.left(), context));
        Poll::Ready(Err(self.patience.failure()))
    }

    /// The next bytes. Empty frames do not reset the time-out.
    fn poll_data(&mut self, context: &mut Context<'_>) -> Poll<Result<Option<Bytes>, body::Error>> {
        loop {
            match ready!(self.incoming.poll_frame(context)) {
                None => return Poll::Ready(Ok(None)),
                Some(Err(_broken)) => return Poll::Ready(Err(body::Error::Disconnected)),
                // Trailers are ignored.
                Some(Ok(frame)) => match frame.into_data() {
                    Ok(bytes) if !bytes.is_empty() => return Poll::Ready(Ok(Some(bytes))),
                    Ok(_) | Err(_) => {}
                },
            }
        }
    }

    fn poll_timer(&mut self, deadline: Instant, context: &mut Context<'_>) -> Poll<()> {
        let timer = self
            .timer
            .get_or_insert_with(|| Box::pin(sleep_until(deadline)));
        if timer.deadline() > deadline {
            timer.as_mut().reset(deadline);
        }
        loop {
            ready!(timer.as_mut().poll(context));
            if timer.deadline() >= deadline {
                return Poll::Ready(());
            }
            timer.as_mut().reset(deadline);
        }
    }

    /// The entire body, up to `limit` bytes.
    ///
    /// # Errors
    /// As [`ResponseBody::chunk`]; [`body::Error::Malformed`] if the body is longer.
    pub async fn collect(mut self, limit: usize) -> Result<Vec<u8>, body::Error> {
        let mut all = Vec::new();
        while let Some(chunk) = self.chunk().await? {
            if all.len() + chunk.len() > limit {
                return Err(body::Error::Malformed("it is too long"));
            }
            all.extend_from_slice(&chunk);
        }
        Ok(all)
    }
}
