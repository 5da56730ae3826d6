//! One connection, from its first request to its end.

use std::convert::Infallible;
use std::future::Future;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use http::{Request, Response};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_util::sync::CancellationToken;

use super::activity::{Patience, Verdict};
use super::handshake::Stream;
use super::seats::{Occupant, Reason};
use crate::access::Peer;
use crate::body::Body;

/// The time for a client to agree to the end of a connection.
const FAREWELL: Duration = Duration::from_secs(1);
/// The interval between two checks while requests are open.
const LOOK: Duration = Duration::from_secs(5);

/// The terms of service of connections.
#[derive(Debug, Clone)]
pub(super) struct Terms {
    pub(super) builder: auto::Builder<TokioExecutor>,
    pub(super) patience: Patience,
    /// Cancelled when the listener stops.
    pub(super) stopping: CancellationToken,
}

/// Why the gateway closed a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Closed {
    /// It did not: the client closed it, or both agreed.
    ByClient,
    Idle,
    Stalled,
    Displaced,
    Certificate,
}

impl Closed {
    /// The metric label.
    pub(super) fn name(self) -> Option<&'static str> {
        match self {
            Self::ByClient => None,
            Self::Idle => Some("idle"),
            Self::Stalled => Some("stalled"),
            Self::Displaced => Some("displaced"),
            Self::Certificate => Some("certificate"),
        }
    }
}

/// Serves a connection until it ends.
pub(super) async fn serve<F, A>(
    stream: Stream,
    peer: Arc<Peer>,
    occupant: &Occupant,
    terms: &Terms,
    answer: F,
) -> Closed
where
    F: Fn(Arc<Peer>, Request<Incoming>) -> A + Clone + Send + 'static,
    A: Future<Output = Response<Body>> + Send + 'static,
{
    match stream {
        Stream::Plain(wire) => serve_over(wire, peer, occupant, terms, answer).await,
        Stream::Tls(stream) => serve_over(*stream, peer, occupant, terms, answer).await,
    }
}

async fn serve_over<S, F, A>(
    stream: S,
    peer: Arc<Peer>,
    occupant: &Occupant,
    terms: &Terms,
    answer: F,
) -> Closed
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    F: Fn(Arc<Peer>, Request<Incoming>) -> A + Clone + Send + 'static,
    A: Future<Output = Response<Body>> + Send + 'static,
{
    let activity = Arc::clone(&occupant.activity);
    let service = service_fn(move |request| {
        let exchange = activity.begin();
        let response = answer(Arc::clone(&peer), request);
        async move {
            let response = response.await;
            Ok::<_, Infallible>(response.map(|body| exchange.answering(body)))
        }
    });
    let served = terms
        .builder
        .serve_connection(TokioIo::new(stream), service);
    let mut served = pin!(served);
    let mut ending = Ending::default();
    loop {
        tokio::select! {
            // An aborted response ends here too; it has been counted at its origin.
            ended = &mut served => {
                if let Err(error) = ended {
                    tracing::debug!(%error, "a connection ended");
                }
                return ending.reason.unwrap_or(Closed::ByClient);
            }
            step = ending.next(occupant, terms) => match step {
                Step::Shutdown => served.as_mut().graceful_shutdown(),
                Step::Look => {}
                // Unsent bytes are discarded.
                Step::Drop(reason) => return reason,
            },
        }
    }
}

/// The progress of a connection's end.
#[derive(Debug, Default)]
struct Ending {
    /// Both sides have been notified.
    is_told: bool,
    reason: Option<Closed>,
}

/// The next step of a connection.
enum Step {
    /// Accept no more requests, and end after the open responses.
    Shutdown,
    Look,
    Drop(Closed),
}

impl Ending {
    /// Waits for the next step.
    async fn next(&mut self, occupant: &Occupant, terms: &Terms) -> Step {
        let activity = &occupant.activity;
        let wait = match (self.reason, activity.verdict(terms.patience)) {
            (Some(Closed::Certificate), _) => FAREWELL,
            (_, Verdict::Stalled) => return Step::Drop(Closed::Stalled),
            (None, Verdict::Idle) => return self.tell(Closed::Idle),
            (reason, Verdict::Shut) => {
                activity.abandon_unread(terms.patience);
                match reason {
                    None => return self.tell(Closed::Stalled),
                    Some(_) => LOOK,
                }
            }
            (Some(_), Verdict::Idle) => FAREWELL,
            (_, Verdict::Fine(left)) if activity.idle_for().is_some() => left,
            (_, Verdict::Fine(left)) => left.min(LOOK),
        };
        tokio::select! {
            () = terms.stopping.cancelled(), if !self.is_told => {
                self.is_told = true;
                Step::Shutdown
            }
            reason = occupant.dismissed(), if self.reason != Some(Closed::Certificate) => {
                match reason {
                    // It has no open request.
                    Reason::Displaced => Step::Drop(Closed::Displaced),
                    Reason::Certificate => self.tell(Closed::Certificate),
                }
            }
            () = tokio::time::sleep(wait) => self.look(occupant, terms),
        }
    }

    fn tell(&mut self, reason: Closed) -> Step {
        self.is_told = true;
        self.reason = Some(reason);
        Step::Shutdown
    }

    /// The next step after the notification.
    fn look(&self, occupant: &Occupant, terms: &Terms) -> Step {
        let activity = &occupant.activity;
        let Some(reason) = self.reason else {
            return Step::Look;
        };
        if reason == Closed::Certificate {
            return Step::Drop(reason);
        }
        // The last response may still be in transit: over HTTP/2, if the client's window is closed.
        let patience = match activity.has_asked() {
            true => terms.patience.client_silence,
            false => Duration::ZERO,
        };
        match activity.idle_for() {
            Some(idle) if idle >= patience => Step::Drop(reason),
            Some(_) | None => Step::Look,
        }
    }
}
