//! Listeners: accept connections, serve them within limits, and shut down without cutting streams
//! that can still end.

mod activity;
mod connection;
mod cores;
mod descriptors;
mod handshake;
mod listener;
mod operator;
mod proof;
mod review;
mod seats;
mod settings;
mod wire;

use std::future::Future;
use std::net::TcpListener;
use std::sync::Arc;
use std::time::Duration;

use tokio_util::sync::CancellationToken;

pub use cores::Cores;
pub use descriptors::raise_limit;
pub use settings::{GatewaySettings, Settings};

use crate::access::{Door, Peer};
use crate::credentials::{self, ServerFiles, ServerTls, Watched};
use crate::gateway::{Gateway, Proxies};
use crate::metrics::Metrics;
use activity::Patience;
use listener::Listener;
use operator::Operator;
use seats::Numbers;

/// The current TLS credentials of a server.
pub type Tls = Arc<Watched<ServerTls>>;

/// Loads the TLS credentials of a listener.
///
/// # Errors
/// The error in the files.
pub fn tls(listener: &str, files: ServerFiles) -> Result<Tls, credentials::Error> {
    let paths = files.paths().cloned().collect();
    let tls = Watched::load(listener, paths, move || files.load())?;
    Ok(Arc::new(tls))
}

/// A listening socket with its TLS and limits.
#[derive(Debug)]
pub struct Entrance {
    socket: TcpListener,
    tls: Option<Tls>,
    numbers: Numbers,
    request_head: Duration,
}

/// The bound listeners.
#[derive(Debug)]
pub struct Listeners {
    /// For viewers.
    pub public: Entrance,
    /// For partners, if they have a listener of their own.
    pub gateways: Option<Entrance>,
    /// For operators.
    pub operator: TcpListener,
    /// The runtimes of connections, except those of operators.
    pub cores: Cores,
}

const OPERATOR_CONNECTIONS: usize = 32;
const OPERATOR_CONNECTIONS_PER_CLIENT: usize = 16;
/// Reserved for connections from this machine.
const OPERATOR_CONNECTIONS_HERE: usize = 8;
const OPERATOR_REQUEST_HEAD: Duration = Duration::from_secs(10);
/// Responses to operators are short.
const OPERATOR_SILENCE: Duration = Duration::from_secs(10);
const OPERATOR_DRAIN: Duration = Duration::from_millis(500);

/// Serves until `shutdown` is ready, then until the open streams have ended or `drain` is over. The
/// health check reports `not ready` from the moment of the shutdown.
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
    let gateway = Arc::new(gateway);
    let operator = Operator::new(Arc::clone(&gateway), metrics.clone(), stopping.clone());
    let operator = Arc::new(operator);
    let shared = Shared {
        stopping: stopping.clone(),
        drain,
        cores: Arc::new(listeners.cores),
    };
    let public = shared.clients("public", Door::Public, listeners.public, &gateway);
    let partners = listeners
        .gateways
        .map(|entrance| shared.clients("gateway", Door::Gateway, entrance, &gateway));
    let operators = operators(listeners.operator, stopped.clone(), gateway.largest_head());
    let serve_clients = async {
        let answer = move |peer: Arc<Peer>, request| {
            let gateway = Arc::clone(&gateway);
            async move { gateway.answer(&peer, request).await }
        };
        let serve_partners = async {
            if let Some(partners) = &partners {
                partners.serve(&metrics, answer.clone()).await;
            }
        };
        tokio::join!(public.serve(&metrics, answer.clone()), serve_partners);
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

/// What the listeners for viewers and partners share: the runtimes, and their end.
struct Shared {
    stopping: CancellationToken,
    drain: Duration,
    cores: Arc<Cores>,
}

impl Shared {
    /// A listener for viewers or partners.
    fn clients(
        &self,
        name: &'static str,
        door: Door,
        entrance: Entrance,
        gateway: &Gateway,
    ) -> Listener {
        Listener {
            name,
            door,
            patience: Patience {
                idle: entrance.request_head,
                client_silence: gateway.client_silence(),
            },
            entrance,
            stopping: self.stopping.clone(),
            drain: self.drain,
            largest_head: gateway.largest_head(),
            keeps_descriptors_free: true,
            cores: Arc::clone(&self.cores),
        }
    }
}

/// The listener for operators. It stops last, so that health checks see the shutdown.
fn operators(socket: TcpListener, stopped: CancellationToken, largest_head: usize) -> Listener {
    Listener {
        name: "operator",
        door: Door::Public,
        entrance: Entrance {
            socket,
            tls: None,
            numbers: Numbers {
                all: OPERATOR_CONNECTIONS,
                per_client: OPERATOR_CONNECTIONS_PER_CLIENT,
                for_this_machine: OPERATOR_CONNECTIONS_HERE,
                proxies: Proxies::default(),
            },
            request_head: OPERATOR_REQUEST_HEAD,
        },
        patience: Patience {
            idle: OPERATOR_REQUEST_HEAD,
            client_silence: OPERATOR_SILENCE,
        },
        stopping: stopped,
        drain: OPERATOR_DRAIN,
        largest_head,
        keeps_descriptors_free: false,
        cores: Arc::new(Cores::of_this_task()),
    }
}
