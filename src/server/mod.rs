//! Listening: accepts connections, serves them within limits, and stops without cutting streams
//! that can still end.

mod operator;

use std::future::Future;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use http::{Request, Response};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use hyper_util::server::graceful::{GracefulShutdown, Watcher};
use serde::Deserialize;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use crate::body::Body;
use crate::gateway::Gateway;
use crate::metrics::Metrics;
use operator::Operator;

/// `[listen]`.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Settings {
    /// Where viewers connect.
    pub address: SocketAddr,
    /// Where operators connect: metrics and health.
    pub operator_address: SocketAddr,
    /// Connections of viewers at once; more are turned away.
    pub connections: usize,
    /// Seconds for a request's head to arrive, and for which a connection may be idle.
    pub request_head_seconds: u64,
    /// Seconds that streams under way have to end when the gateway is told to stop.
    pub drain_seconds: u64,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            address: SocketAddr::from(([127, 0, 0, 1], 8080)),
            operator_address: SocketAddr::from(([127, 0, 0, 1], 9090)),
            connections: 1024,
            request_head_seconds: 30,
            drain_seconds: 30,
        }
    }
}

/// Two listeners that are bound already.
#[derive(Debug)]
pub struct Listeners {
    /// For viewers.
    pub public: TcpListener,
    /// For operators.
    pub operator: TcpListener,
}

// What one connection may hold unsent; and so the largest request head.
const BUFFER: usize = 128 << 10;
const MOST_HEADER_FIELDS: usize = 100;
const OPERATOR_CONNECTIONS: usize = 32;
// Bulk data over HTTP/2 crawls with the defaults.
const STREAM_WINDOW: u32 = 1 << 20;
const CONNECTION_WINDOW: u32 = 4 << 20;
const FRAME: u32 = 64 << 10;
const SEND_BUFFER: usize = 256 << 10;
const STREAMS: u32 = 128;

/// Serves until `shutdown` is ready, then until the streams under way have ended or their time is
/// up. Health says `not ready` from the moment of the shutdown.
pub async fn run(
    listeners: Listeners,
    gateway: Gateway,
    metrics: Metrics,
    settings: &Settings,
    shutdown: impl Future<Output = ()>,
) {
    let stopping = CancellationToken::new();
    let stopped = CancellationToken::new();
    let operator = Arc::new(Operator::new(metrics.clone(), stopping.clone()));
    let operators = Listener {
        name: "operator",
        socket: listeners.operator,
        connections: OPERATOR_CONNECTIONS,
        stopping: stopped.clone(),
        drain: Duration::from_millis(500),
    };
    let public = Listener {
        name: "public",
        socket: listeners.public,
        connections: settings.connections,
        stopping: stopping.clone(),
        drain: Duration::from_secs(settings.drain_seconds),
    };
    let gateway = Arc::new(gateway);
    let head = Duration::from_secs(settings.request_head_seconds);
    let serve_public = async {
        public
            .serve(&metrics, head, move |request| {
                let gateway = Arc::clone(&gateway);
                async move { gateway.answer(request).await }
            })
            .await;
        stopped.cancel();
    };
    let serve_operators = operators.serve(&metrics, head, move |request| {
        let response = operator.answer(&request);
        async move { response }
    });
    let stop = async {
        shutdown.await;
        tracing::info!("stopping");
        stopping.cancel();
    };
    tokio::join!(stop, serve_public, serve_operators);
}

/// One listening socket.
struct Listener {
    name: &'static str,
    socket: TcpListener,
    connections: usize,
    stopping: CancellationToken,
    drain: Duration,
}

impl Listener {
    async fn serve<F, A>(&self, metrics: &Metrics, head: Duration, answer: F)
    where
        F: Fn(Request<Incoming>) -> A + Clone + Send + 'static,
        A: Future<Output = Response<Body>> + Send + 'static,
    {
        let builder = builder(head);
        let graceful = GracefulShutdown::new();
        let room = Arc::new(Semaphore::new(self.connections));
        while let Some(stream) = self.accept().await {
            let Ok(place) = Arc::clone(&room).try_acquire_owned() else {
                metrics
                    .refused_connections
                    .with_label_values(&[self.name])
                    .inc();
                continue;
            };
            let open = metrics.open_connections.with_label_values(&[self.name]);
            let (builder, answer, watcher) = (builder.clone(), answer.clone(), graceful.watcher());
            tokio::spawn(async move {
                open.inc();
                connection(stream, builder, answer, watcher).await;
                open.dec();
                drop(place);
            });
        }
        if timeout(self.drain, graceful.shutdown()).await.is_err() {
            tracing::warn!(
                listener = self.name,
                "streams were cut off at the end of their time"
            );
        }
    }

    /// The next connection; `None` when the gateway is to stop.
    async fn accept(&self) -> Option<TcpStream> {
        let mut has_told = false;
        loop {
            let accepted = tokio::select! {
                () = self.stopping.cancelled() => return None,
                accepted = self.socket.accept() => accepted,
            };
            match accepted {
                Ok((stream, _peer)) => return Some(stream),
                // Out of file descriptors, or the peer is gone already. The pause keeps the first
                // from becoming a busy loop, and it is told once, not twenty times a second.
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

fn builder(head: Duration) -> auto::Builder<TokioExecutor> {
    let mut builder = auto::Builder::new(TokioExecutor::new());
    builder
        .http1()
        // Without a timer the limit below does nothing.
        .timer(TokioTimer::new())
        .header_read_timeout(head)
        .max_headers(MOST_HEADER_FIELDS)
        .max_buf_size(BUFFER);
    builder
        .http2()
        .timer(TokioTimer::new())
        .initial_stream_window_size(STREAM_WINDOW)
        .initial_connection_window_size(CONNECTION_WINDOW)
        .max_frame_size(FRAME)
        .max_send_buf_size(SEND_BUFFER)
        .max_concurrent_streams(STREAMS)
        .keep_alive_interval(Duration::from_secs(30));
    builder
}

async fn connection<F, A>(
    stream: TcpStream,
    builder: auto::Builder<TokioExecutor>,
    answer: F,
    watcher: Watcher,
) where
    F: Fn(Request<Incoming>) -> A + Clone + Send + 'static,
    A: Future<Output = Response<Body>> + Send + 'static,
{
    if let Err(error) = stream.set_nodelay(true) {
        tracing::debug!(%error, "a connection cannot be set up");
    }
    let service = service_fn(move |request| {
        let response = answer(request);
        async move { Ok::<_, std::convert::Infallible>(response.await) }
    });
    let served = builder
        .serve_connection(TokioIo::new(stream), service)
        .into_owned();
    // An answer that broke off ends here too: it was counted where it happened.
    if let Err(error) = watcher.watch(served).await {
        tracing::debug!(%error, "a connection ended");
    }
}
