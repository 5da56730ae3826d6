//! Listening: accepts connections, serves them within limits, and stops without cutting streams
//! that can still end.

mod handshake;
mod operator;
mod settings;

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use http::{Request, Response};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use hyper_util::server::graceful::{GracefulShutdown, Watcher};
use rustls::ServerConfig;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

pub use settings::{GatewaySettings, Settings};

use crate::access::{Door, Peer};
use crate::body::Body;
use crate::credentials::{self, ServerFiles, Watched};
use crate::gateway::Gateway;
use crate::metrics::Metrics;
use handshake::Stream;
use operator::Operator;

/// What a server needs for TLS, as it is now.
pub type Tls = Arc<Watched<Arc<ServerConfig>>>;

/// Loads what a listener needs for TLS.
///
/// # Errors
/// What is wrong with the files.
pub fn tls(listener: &str, files: ServerFiles) -> Result<Tls, credentials::Error> {
    let paths = files.paths().cloned().collect();
    let tls = Watched::load(listener, paths, move || files.load())?;
    Ok(Arc::new(tls))
}

/// Where connections come in.
#[derive(Debug)]
pub struct Entrance {
    socket: TcpListener,
    tls: Option<Tls>,
    connections: usize,
    request_head: Duration,
}

/// The listeners, bound already.
#[derive(Debug)]
pub struct Listeners {
    /// For viewers.
    pub public: Entrance,
    /// For other communities' gateways, if they have one of their own.
    pub gateways: Option<Entrance>,
    /// For operators.
    pub operator: TcpListener,
}

// What one connection may hold unsent.
const BUFFER: usize = 128 << 10;
const MOST_HEADER_FIELDS: usize = 100;
// Whoever has not shown a certificate yet holds a place no longer than this.
const HANDSHAKE: Duration = Duration::from_secs(10);
const OPERATOR_CONNECTIONS: usize = 32;
const OPERATOR_REQUEST_HEAD: Duration = Duration::from_secs(30);
// Bulk data over HTTP/2 crawls with the defaults.
const STREAM_WINDOW: u32 = 1 << 20;
const CONNECTION_WINDOW: u32 = 4 << 20;
const FRAME: u32 = 64 << 10;
const SEND_BUFFER: usize = 256 << 10;
const STREAMS: u32 = 128;

/// Serves until `shutdown` is ready, then until the streams under way have ended or `drain` is over.
/// Health says `not ready` from the moment of the shutdown.
pub async fn run(
    listeners: Listeners,
    gateway: Gateway,
    metrics: Metrics,
    drain: Duration,
    shutdown: impl Future<Output = ()>,
) {
    let stopping = CancellationToken::new();
    let stopped = CancellationToken::new();
    gateway.watch();
    let largest_head = gateway.largest_head();
    let gateway = Arc::new(gateway);
    let of_gateway = Arc::clone(&gateway);
    let operator = Operator::new(of_gateway, metrics.clone(), stopping.clone());
    let operator = Arc::new(operator);
    let listener = |name, door, entrance| Listener {
        name,
        door,
        entrance,
        stopping: stopping.clone(),
        drain,
        largest_head,
    };
    let public = listener("public", Door::Public, listeners.public);
    let gateways = listeners.gateways;
    let gateways = gateways.map(|entrance| listener("gateway", Door::Gateway, entrance));
    let operators = Listener {
        stopping: stopped.clone(),
        drain: Duration::from_millis(500),
        ..listener("operator", Door::Public, operators(listeners.operator))
    };
    let serve_clients = async {
        let answer = move |peer: Arc<Peer>, request| {
            let gateway = Arc::clone(&gateway);
            async move { gateway.answer(&peer, request).await }
        };
        let serve_gateways = async {
            if let Some(gateways) = &gateways {
                gateways.serve(&metrics, answer.clone()).await;
            }
        };
        tokio::join!(public.serve(&metrics, answer.clone()), serve_gateways);
        stopped.cancel();
    };
    let serve_operators = operators.serve(&metrics, move |peer: Arc<Peer>, request| {
        let operator = Arc::clone(&operator);
        async move { operator.answer(&peer, request).await }
    });
    let stop = async {
        shutdown.await;
        tracing::info!("stopping");
        stopping.cancel();
    };
    tokio::join!(stop, serve_clients, serve_operators);
}

fn operators(socket: TcpListener) -> Entrance {
    Entrance {
        socket,
        tls: None,
        connections: OPERATOR_CONNECTIONS,
        request_head: OPERATOR_REQUEST_HEAD,
    }
}

/// One listening socket.
struct Listener {
    name: &'static str,
    door: Door,
    entrance: Entrance,
    stopping: CancellationToken,
    drain: Duration,
    largest_head: usize,
}

impl Listener {
    async fn serve<F, A>(&self, metrics: &Metrics, answer: F)
    where
        F: Fn(Arc<Peer>, Request<Incoming>) -> A + Clone + Send + 'static,
        A: Future<Output = Response<Body>> + Send + 'static,
    {
        let builder = builder(self.entrance.request_head, self.largest_head);
        let graceful = GracefulShutdown::new();
        let room = Arc::new(Semaphore::new(self.entrance.connections));
        if let Some(tls) = &self.entrance.tls {
            tls.watch(metrics);
        }
        while let Some(stream) = self.accept().await {
            let Ok(place) = Arc::clone(&room).try_acquire_owned() else {
                metrics
                    .refused_connections
                    .with_label_values(&[self.name])
                    .inc();
                continue;
            };
            let open = metrics.open_connections.with_label_values(&[self.name]);
            let greeting = self.greeting(stream, metrics);
            let (builder, answer, watcher) = (builder.clone(), answer.clone(), graceful.watcher());
            tokio::spawn(async move {
                open.inc();
                if let Some((stream, peer)) = greeting.await {
                    connection(stream, Arc::new(peer), builder, answer, watcher).await;
                }
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

    /// What comes before the first request: the handshake, if there is to be one.
    fn greeting(
        &self,
        stream: TcpStream,
        metrics: &Metrics,
    ) -> impl Future<Output = Option<(Stream, Peer)>> + Send + 'static {
        let (listener, door) = (self.name, self.door);
        let tls = self.entrance.tls.as_ref().map(|tls| tls.current());
        let limit = self.entrance.request_head.min(HANDSHAKE);
        let failed = metrics.failed_handshakes.with_label_values(&[listener]);
        async move {
            // A connection that is gone already has no address any more.
            let address = stream.peer_addr().ok()?.ip();
            if let Err(error) = stream.set_nodelay(true) {
                tracing::debug!(%error, "a connection cannot be set up");
            }
            let Some(tls) = tls else {
                let peer = Peer {
                    door,
                    address,
                    certificate: None,
                    ours: None,
                };
                return Some((Stream::Plain(stream), peer));
            };
            match handshake::accept(stream, Arc::clone(&tls.value), limit).await {
                Ok((stream, certificate)) => {
                    let peer = Peer {
                        door,
                        address,
                        certificate,
                        ours: tls.certificate.clone().map(Arc::new),
                    };
                    Some((Stream::Tls(Box::new(stream)), peer))
                }
                Err(error) => {
                    failed.inc();
                    tracing::info!(listener, %error, "a handshake failed");
                    None
                }
            }
        }
    }

    /// The next connection; `None` when the gateway is to stop.
    async fn accept(&self) -> Option<TcpStream> {
        let mut has_told = false;
        loop {
            let accepted = tokio::select! {
                () = self.stopping.cancelled() => return None,
                accepted = self.entrance.socket.accept() => accepted,
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

fn builder(head: Duration, largest_head: usize) -> auto::Builder<TokioExecutor> {
    // HPACK counts more for each field than HTTP/1.1 writes (RFC 7541 4.1). What lies between is refused
    // by the gateway.
    let header_list = largest_head + 32 * MOST_HEADER_FIELDS;
    let mut builder = auto::Builder::new(TokioExecutor::new());
    builder
        .http1()
        // Without a timer the limit below does nothing.
        .timer(TokioTimer::new())
        .header_read_timeout(head)
        .max_headers(MOST_HEADER_FIELDS)
        .max_buf_size(BUFFER.max(largest_head));
    builder
        .http2()
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

async fn connection<F, A>(
    stream: Stream,
    peer: Arc<Peer>,
    builder: auto::Builder<TokioExecutor>,
    answer: F,
    watcher: Watcher,
) where
    F: Fn(Arc<Peer>, Request<Incoming>) -> A + Clone + Send + 'static,
    A: Future<Output = Response<Body>> + Send + 'static,
{
    let service = service_fn(move |request| {
        let response = answer(Arc::clone(&peer), request);
        async move { Ok::<_, std::convert::Infallible>(response.await) }
    });
    // An answer that broke off ends here too: it was counted where it happened.
    let ended = match stream {
        Stream::Plain(stream) => {
            let served = builder.serve_connection(TokioIo::new(stream), service);
            watcher.watch(served.into_owned()).await
        }
        Stream::Tls(stream) => {
            let served = builder.serve_connection(TokioIo::new(stream), service);
            watcher.watch(served.into_owned()).await
        }
    };
    if let Err(error) = ended {
        tracing::debug!(%error, "a connection ended");
    }
}
