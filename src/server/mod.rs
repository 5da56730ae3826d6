//! Listening: accepts connections, serves them within limits, and stops without cutting streams
//! that can still end.

mod handshake;
mod operator;

use std::future::Future;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use http::{Request, Response};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use hyper_util::server::graceful::{GracefulShutdown, Watcher};
use rustls::ServerConfig;
use serde::Deserialize;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use url::Url;

use crate::access::{Door, Peer};
use crate::body::Body;
use crate::credentials::{self, ServerFiles, Watched};
use crate::gateway::Gateway;
use crate::metrics::Metrics;
use handshake::Stream;
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
    /// PEM file of the certificate that viewers are shown; without one there is no TLS.
    pub certificate: Option<PathBuf>,
    /// PEM file of its private key.
    pub private_key: Option<PathBuf>,
    /// PEM file of the authorities that must have signed the certificate of whoever connects.
    pub client_authorities: Option<PathBuf>,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            address: SocketAddr::from(([127, 0, 0, 1], 8080)),
            operator_address: SocketAddr::from(([127, 0, 0, 1], 9090)),
            connections: 1024,
            request_head_seconds: 30,
            drain_seconds: 30,
            certificate: None,
            private_key: None,
            client_authorities: None,
        }
    }
}

/// `[gateway_listen]`: a listener for other communities' gateways, with mutual TLS.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct GatewaySettings {
    /// Where partners connect.
    pub address: SocketAddr,
    /// How they reach it; `https://` and the address when absent.
    pub public_url: Option<Url>,
    /// PEM file of the certificate that partners are shown.
    pub certificate: PathBuf,
    /// PEM file of its private key.
    pub private_key: PathBuf,
    /// PEM file of the authorities that must have signed the certificate of a partner.
    pub client_authorities: PathBuf,
    /// Connections of partners at once; more are turned away.
    #[serde(default = "connections")]
    pub connections: usize,
    /// Seconds for a handshake, for a request's head to arrive, and for which a connection may be
    /// idle.
    #[serde(default = "request_head_seconds")]
    pub request_head_seconds: u64,
}

fn connections() -> usize {
    Settings::default().connections
}

fn request_head_seconds() -> u64 {
    Settings::default().request_head_seconds
}

impl Settings {
    /// What TLS towards viewers needs, if there is to be TLS.
    ///
    /// # Errors
    /// [`credentials::Error::Half`].
    pub fn credentials(&self) -> Result<Option<ServerFiles>, credentials::Error> {
        match (&self.certificate, &self.private_key) {
            (Some(certificate), Some(private_key)) => Ok(Some(ServerFiles {
                certificate: certificate.clone(),
                private_key: private_key.clone(),
                client_authorities: self.client_authorities.clone(),
            })),
            (None, None) if self.client_authorities.is_none() => Ok(None),
            (None | Some(_), _) => Err(credentials::Error::Half),
        }
    }

    /// The entrance of viewers, on a socket that is bound already.
    #[must_use]
    pub fn entrance(&self, socket: TcpListener, tls: Option<Tls>) -> Entrance {
        Entrance {
            socket,
            tls,
            connections: self.connections,
            request_head: Duration::from_secs(self.request_head_seconds),
        }
    }
}

impl GatewaySettings {
    /// What TLS towards partners needs.
    #[must_use]
    pub fn credentials(&self) -> ServerFiles {
        ServerFiles {
            certificate: self.certificate.clone(),
            private_key: self.private_key.clone(),
            client_authorities: Some(self.client_authorities.clone()),
        }
    }

    /// The entrance of partners, on a socket that is bound already.
    #[must_use]
    pub fn entrance(&self, socket: TcpListener, tls: Tls) -> Entrance {
        Entrance {
            socket,
            tls: Some(tls),
            connections: self.connections,
            request_head: Duration::from_secs(self.request_head_seconds),
        }
    }
}

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
    let operator = Arc::new(Operator::new(metrics.clone(), stopping.clone()));
    gateway.watch();
    let gateway = Arc::new(gateway);
    let listener = |name, door, entrance| Listener {
        name,
        door,
        entrance,
        stopping: stopping.clone(),
        drain,
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
    let serve_operators = operators.serve(&metrics, move |_peer, request| {
        let response = operator.answer(&request);
        async move { response }
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
        request_head: Duration::from_secs(request_head_seconds()),
    }
}

/// One listening socket.
struct Listener {
    name: &'static str,
    door: Door,
    entrance: Entrance,
    stopping: CancellationToken,
    drain: Duration,
}

impl Listener {
    async fn serve<F, A>(&self, metrics: &Metrics, answer: F)
    where
        F: Fn(Arc<Peer>, Request<Incoming>) -> A + Clone + Send + 'static,
        A: Future<Output = Response<Body>> + Send + 'static,
    {
        let builder = builder(self.entrance.request_head);
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
        let request_head = self.entrance.request_head;
        let failed = metrics.failed_handshakes.with_label_values(&[listener]);
        async move {
            if let Err(error) = stream.set_nodelay(true) {
                tracing::debug!(%error, "a connection cannot be set up");
            }
            let Some(tls) = tls else {
                let certificate = None;
                return Some((Stream::Plain(stream), Peer { door, certificate }));
            };
            match handshake::accept(stream, Arc::clone(&tls.value), request_head).await {
                Ok((stream, certificate)) => {
                    Some((Stream::Tls(Box::new(stream)), Peer { door, certificate }))
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
