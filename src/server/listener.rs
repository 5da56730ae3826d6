//! One listening socket: accepts connections while seats are free.

use std::future::Future;
use std::io;
use std::net::{self, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use http::{Request, Response};
use hyper::body::Incoming;
use hyper::server::conn::{http1, http2};
use hyper_util::rt::{TokioExecutor, TokioTimer};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::Entrance;
use super::activity::Patience;
use super::connection::{self, Terms};
use super::cores::Cores;
use super::descriptors::Descriptors;
use super::handshake::{self, Stream};
use super::review::review;
use super::seats::{Seat, Seats};
use super::wire::Wire;
use crate::access::{Door, Peer};
use crate::body::Body;
use crate::metrics::Metrics;

// The send buffer of a connection.
const BUFFER: usize = 256 << 10;
const MOST_HEADER_FIELDS: usize = 100;
// The handshake time-out: a client without a certificate must not hold a seat for longer.
const HANDSHAKE: Duration = Duration::from_secs(10);
// HTTP/2 windows: the defaults are too small for bulk data.
const STREAM_WINDOW: u32 = 1 << 20;
const CONNECTION_WINDOW: u32 = 4 << 20;
const FRAME: u32 = 64 << 10;
const SEND_BUFFER: usize = 256 << 10;
const STREAMS: u32 = 128;

/// One listening socket.
pub(super) struct Listener {
    pub(super) name: &'static str,
    pub(super) door: Door,
    pub(super) entrance: Entrance,
    pub(super) patience: Patience,
    pub(super) stopping: CancellationToken,
    pub(super) drain: Duration,
    pub(super) largest_head: usize,
    /// Whether it reserves some file descriptors for other uses.
    pub(super) keeps_descriptors_free: bool,
    /// The runtimes of its connections.
    pub(super) cores: Arc<Cores>,
}

impl Listener {
    pub(super) async fn serve<F, A>(&self, metrics: &Metrics, answer: F)
    where
        F: Fn(Arc<Peer>, Request<Incoming>) -> A + Clone + Send + 'static,
        A: Future<Output = Response<Body>> + Send + 'static,
    {
        let seats = Arc::new(Seats::new(self.entrance.numbers.clone()));
        let tasks = TaskTracker::new();
        let accepting = self.accept_all(metrics, answer, &seats, &tasks);
        match &self.entrance.tls {
            None => accepting.await,
            Some(tls) => {
                tls.watch(metrics);
                tokio::select! {
                    () = accepting => {}
                    () = review(&seats, tls) => {}
                }
            }
        }
        tasks.close();
        if timeout(self.drain, tasks.wait()).await.is_err() {
            tracing::warn!(
                listener = self.name,
                "streams were aborted at the end of the drain time"
            );
        }
    }

    /// Accepts connections until the listener stops.
    async fn accept_all<F, A>(
        &self,
        metrics: &Metrics,
        answer: F,
        seats: &Arc<Seats>,
        tasks: &TaskTracker,
    ) where
        F: Fn(Arc<Peer>, Request<Incoming>) -> A + Clone + Send + 'static,
        A: Future<Output = Response<Body>> + Send + 'static,
    {
        let terms = Arc::new(self.terms());
        let refused = metrics.refused_connections.with_label_values(&[self.name]);
        let descriptors = Descriptors::of_process();
        let Some(socket) = self.socket() else { return };
        while let Some((stream, address)) = self.accept(&socket).await {
            let is_allowed = !self.keeps_descriptors_free || descriptors.allow(&stream);
            let seat = is_allowed.then(|| seats.take(address.ip())).flatten();
            let Some((seat, place)) = seat.zip(self.cores.place()) else {
                refused.inc();
                continue;
            };
            // A handshake needs much more memory than the connection after it.
            let greeting = Box::pin(self.greeting(stream, &seat, metrics));
            let (terms, answer, name) = (Arc::clone(&terms), answer.clone(), self.name);
            let open = metrics.open_connections.with_label_values(&[name]);
            let closed = metrics.closed_connections.clone();
            place.run(tasks.track_future(async move {
                open.inc();
                let occupant = &seat.occupant;
                // It can be displaced before its first request.
                let greeted = tokio::select! {
                    greeted = greeting => greeted,
                    _reason = occupant.dismissed() => None,
                };
                if let Some((stream, peer)) = greeted {
                    let peer = Arc::new(peer);
                    let end = connection::serve(stream, peer, occupant, &terms, answer).await;
                    if let Some(reason) = end.name() {
                        closed.with_label_values(&[name, reason]).inc();
                    }
                }
                open.dec();
            }));
        }
    }

    fn terms(&self) -> Terms {
        Terms {
            http1: http1(self.entrance.request_head, self.largest_head),
            http2: http2(self.largest_head),
            patience: self.patience,
            stopping: self.stopping.clone(),
        }
    }

    /// The steps before the first request: the TLS handshake, if TLS is on.
    fn greeting(
        &self,
        stream: net::TcpStream,
        seat: &Seat,
        metrics: &Metrics,
    ) -> impl Future<Output = Option<(Stream, Peer)>> + Send + 'static {
        let (listener, door) = (self.name, self.door);
        let tls = self.entrance.tls.as_ref().map(|tls| tls.current());
        let limit = self.entrance.request_head.min(HANDSHAKE);
        let failed = metrics.failed_handshakes.with_label_values(&[listener]);
        let occupant = Arc::clone(&seat.occupant);
        async move {
            // It is registered here, with the runtime of its core.
            let stream = TcpStream::from_std(stream).ok()?;
            let address = stream.peer_addr().ok()?.ip();
            if let Err(error) = stream.set_nodelay(true) {
                tracing::debug!(%error, "a connection cannot be set up");
            }
            let wire = Wire::new(stream, Arc::clone(&occupant.activity));
            let peer = Peer {
                door,
                address,
                certificate: None,
                ours: None,
            };
            let Some(tls) = tls else {
                return Some((Stream::Plain(wire), peer));
            };
            match handshake::accept(wire, &tls.value, limit, &occupant).await {
                Ok((stream, certificate)) => {
                    let peer = Peer {
                        certificate,
                        ours: tls.certificate.clone().map(Arc::new),
                        ..peer
                    };
                    Some((Stream::Tls(Box::new(stream)), peer))
                }
                Err(error) => {
                    failed.inc();
                    tracing::info!(
                        target: "xcwado::security", event = "handshake_failed",
                        listener, %address, %error, "a handshake failed"
                    );
                    None
                }
            }
        }
    }

    /// The listening socket, registered with the runtime of this task.
    fn socket(&self) -> Option<TcpListener> {
        let socket = self
            .entrance
            .socket
            .try_clone()
            .and_then(TcpListener::from_std);
        let failed = |error: &io::Error| {
            let listener = self.name;
            tracing::error!(listener, %error, "the listener cannot be used");
        };
        socket.inspect_err(failed).ok()
    }

    /// The next connection; `None` when the gateway stops.
    async fn accept(&self, socket: &TcpListener) -> Option<Accepted> {
        let mut has_told = false;
        loop {
            let accepted = tokio::select! {
                () = self.stopping.cancelled() => return None,
                accepted = socket.accept() => accepted,
            };
            let unregistered =
                |(stream, address): (TcpStream, _)| Ok((stream.into_std()?, address));
            match accepted.and_then(unregistered) {
                Ok(accepted) => return Some(accepted),
                // Out of file descriptors, or the client has disconnected. The pause prevents a
                // busy loop in the first case, and the error is logged once, not twenty times a
                // second.
                Err(error) => {
                    if !std::mem::replace(&mut has_told, true) {
                        let listener = self.name;
                        tracing::warn!(listener, %error, "connections cannot be accepted");
                    }
                    tokio::time::sleep(Duration::from_millis(50)).await;
                }
            }
        }
    }
}

/// A connection that no runtime watches yet, and the client's address.
type Accepted = (net::TcpStream, SocketAddr);

fn http1(head: Duration, largest_head: usize) -> http1::Builder {
    let mut builder = http1::Builder::new();
    builder
        // Without a timer the time-out below has no effect.
        .timer(TokioTimer::new())
        .header_read_timeout(head)
        .max_headers(MOST_HEADER_FIELDS)
        .max_buf_size(BUFFER.max(largest_head));
    builder
}

fn http2(largest_head: usize) -> http2::Builder<TokioExecutor> {
    // HPACK counts more bytes for each field than HTTP/1.1 sends (RFC 7541 4.1). The gateway
    // refuses heads between the two limits.
    let header_list = largest_head + 32 * MOST_HEADER_FIELDS;
    let mut builder = http2::Builder::new(TokioExecutor::new());
    builder
        .timer(TokioTimer::new())
        .initial_stream_window_size(STREAM_WINDOW)
        .initial_connection_window_size(CONNECTION_WINDOW)
        .max_frame_size(FRAME)
        .max_send_buf_size(SEND_BUFFER)
        .max_concurrent_streams(STREAMS)
        .max_header_list_size(header_list.try_into().unwrap_or(u32::MAX))
        .keep_alive_interval(Duration::from_secs(30));
    builder
}
