//! One connection, from its first request to its end.

use std::convert::Infallible;
use std::error::Error as StdError;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use futures_util::FutureExt;
use http::{Request, Response, Version};
use hyper::body::Incoming;
use hyper::rt::{Read, Write};
use hyper::server::conn::{http1, http2};
use hyper::service::{HttpService, service_fn};
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio_rustls::server::TlsStream;
use tokio_util::sync::CancellationToken;

use super::activity::{CountedBody, Patience, Verdict};
use super::handshake::Stream;
use super::seats::{Occupant, Reason};
use super::wire::{Cork, Corked, Wire};
use crate::access::Peer;
use crate::body::Body;

/// The time for a client to agree to the end of a connection.
const FAREWELL: Duration = Duration::from_secs(1);
/// The idle time after which a connection gives its buffers back.
const RESTS: Duration = Duration::from_millis(50);
/// The interval between two checks while requests are open.
const LOOK: Duration = Duration::from_secs(5);

/// The terms of service of connections.
#[derive(Debug, Clone)]
pub(super) struct Terms {
    pub(super) http1: http1::Builder,
    pub(super) http2: http2::Builder<TokioExecutor>,
    pub(super) patience: Patience,
    /// Cancelled when the listener stops.
    pub(super) stopping: CancellationToken,
}

/// Why the gateway closed a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Closed {
    /// It did not: the client closed it, or both agreed.
    ByClient,
    /// It did not: the connection waits for its next request.
    Rests,
    Idle,
    Stalled,
    Displaced,
    Certificate,
}

impl Closed {
    /// The metric label.
    pub(super) fn name(self) -> Option<&'static str> {
        match self {
            Self::ByClient | Self::Rests => None,
            Self::Idle => Some("idle"),
            Self::Stalled => Some("stalled"),
            Self::Displaced => Some("displaced"),
            Self::Certificate => Some("certificate"),
        }
    }
}

/// Serves a connection until it ends. One without TLS that waits for a request is a socket and
/// little else: HTTP begins when bytes have come.
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
    let activity = Arc::clone(&occupant.activity);
    let service = service_fn(move |request| {
        let exchange = activity.begin();
        let response = answer(Arc::clone(&peer), request);
        // It is boxed because HTTP/1.1 keeps the place of a response while there is none.
        Box::pin(
            response
                .map(|response| Ok::<_, Infallible>(response.map(|body| exchange.answering(body)))),
        )
    });
    let mut seated = Seated {
        occupant,
        terms,
        ending: Ending::default(),
    };
    match stream {
        Stream::Plain(wire) => seated.plain(wire, service).await,
        Stream::Tls(stream) if is_http_2(&stream) => {
            let (stream, cork) = corked(stream);
            let http = terms.http2.serve_connection(TokioIo::new(stream), service);
            let mut http = boxed(Uncorking {
                http: boxed(http),
                cork,
            });
            seated.serve(http.as_mut(), |_idle| false).await
        }
        Stream::Tls(stream) => {
            let mut http = boxed(terms.http1.serve_connection(TokioIo::new(stream), service));
            seated.serve(http.as_mut(), |_idle| false).await
        }
    }
}

/// A variable, even one that has been moved away, would be a part of each connection's task.
fn boxed<H: Http>(http: H) -> Pin<Box<H>> {
    Box::pin(http)
}

fn corked(mut stream: Box<TlsStream<Wire>>) -> (Corked<Box<TlsStream<Wire>>>, Arc<Cork>) {
    let cork = Arc::<Cork>::default();
    stream.get_mut().0.cork(Arc::clone(&cork));
    (Corked::new(stream, Arc::clone(&cork)), cork)
}

/// A connection whose cork is in while it is polled.
struct Uncorking<H> {
    http: Pin<Box<H>>,
    cork: Arc<Cork>,
}

impl<H: Http> Future for Uncorking<H> {
    type Output = hyper::Result<()>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let Self { http, cork } = &mut *self;
        cork.while_in(|| http.as_mut().poll(context))
    }
}

impl<H: Http> Http for Uncorking<H> {
    fn shut_down(mut self: Pin<&mut Self>) {
        self.http.as_mut().shut_down();
    }
}

fn is_http_2(stream: &TlsStream<Wire>) -> bool {
    stream.get_ref().1.alpn_protocol() == Some(b"h2")
}

/// A connection of either version of HTTP.
trait Http: Future<Output = hyper::Result<()>> {
    fn shut_down(self: Pin<&mut Self>);
}

impl<S, I> Http for http1::Connection<I, S>
where
    S: HttpService<Incoming, ResBody = CountedBody>,
    S::Error: Into<Box<dyn StdError + Send + Sync>>,
    I: Read + Write + Unpin + 'static,
{
    fn shut_down(self: Pin<&mut Self>) {
        self.graceful_shutdown();
    }
}

impl<S, I> Http for http2::Connection<I, S, TokioExecutor>
where
    S: HttpService<Incoming, ResBody = CountedBody>,
    S::Error: Into<Box<dyn StdError + Send + Sync>>,
    S::Future: Send + 'static,
    I: Read + Write + Unpin + 'static,
{
    fn shut_down(self: Pin<&mut Self>) {
        self.graceful_shutdown();
    }
}

/// A connection with its seat and the progress of its end.
struct Seated<'a> {
    occupant: &'a Occupant,
    terms: &'a Terms,
    ending: Ending,
}

impl Seated<'_> {
    /// Serves a connection without TLS. While it waits for a request, it holds no buffers.
    async fn plain<S>(&mut self, mut wire: Wire, service: S) -> Closed
    where
        S: HttpService<Incoming, ResBody = CountedBody, Error = Infallible> + Clone + Send,
        S::Future: Send + 'static,
    {
        loop {
            let version = match self.first_bytes(&mut wire).await {
                Ok(version) => version,
                Err(closed) => return closed,
            };
            // A part of a head is waited for with its buffer.
            let may_rest = !wire.has_unread();
            let io = TokioIo::new(wire);
            if version == Version::HTTP_2 {
                let mut http = boxed(self.terms.http2.serve_connection(io, service));
                return self.serve(http.as_mut(), |_idle| false).await;
            }
            let mut http = boxed(self.terms.http1.serve_connection(io, service.clone()));
            let closed = self
                .serve(http.as_mut(), |idle| may_rest && idle >= RESTS)
                .await;
            if closed != Closed::Rests {
                return closed;
            }
            let parts = Pin::into_inner(http).into_parts();
            wire = parts.io.into_inner();
            wire.put_back(parts.read_buf);
        }
    }

    /// Waits for the first bytes of a request, and finds out their version of HTTP.
    async fn first_bytes(&mut self, wire: &mut Wire) -> Result<Version, Closed> {
        loop {
            tokio::select! {
                version = wire.version() => {
                    return version.map_err(|_closed| self.ending.reason.unwrap_or(Closed::ByClient));
                }
                step = self.ending.next(self.occupant, self.terms) => match step {
                    Step::Look => {}
                    Step::Shutdown => return Err(self.ending.reason.unwrap_or(Closed::ByClient)),
                    Step::Drop(reason) => return Err(reason),
                },
            }
        }
    }

    /// Serves HTTP until the connection ends, or has been idle for long enough to rest.
    async fn serve(
        &mut self,
        mut http: Pin<&mut impl Http>,
        may_rest: impl Fn(Duration) -> bool,
    ) -> Closed {
        loop {
            tokio::select! {
                // The first look at a new connection is before its request: it may rest soon.
                biased;
                step = self.ending.next(self.occupant, self.terms) => match step {
                    Step::Shutdown => http.as_mut().shut_down(),
                    Step::Look if self.occupant.activity.rests_for().is_some_and(&may_rest) => {
                        return Closed::Rests;
                    }
                    Step::Look => {}
                    // Unsent bytes are discarded.
                    Step::Drop(reason) => return reason,
                },
                // An aborted response ends here too; it has been counted at its origin.
                ended = &mut http => {
                    if let Err(error) = ended {
                        tracing::debug!(%error, "a connection ended");
                    }
                    return self.ending.reason.unwrap_or(Closed::ByClient);
                }
            }
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
            (None, Verdict::Fine(left)) if activity.idle_for().is_some_and(|idle| idle < RESTS) => {
                left.min(RESTS)
            }
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
