//! A gateway in this process, on ports of its own.

use std::net::{SocketAddr, TcpListener};
use std::path::Path;
use std::thread::JoinHandle;
use std::time::Duration;

use bytes::Bytes;
use http::Method;
use hyper::client::conn::http2;
use hyper_util::rt::{TokioExecutor, TokioIo};
use serde_json::Value;
use tempfile::TempDir;
use tokio::net::TcpStream;
use tokio::sync::oneshot;
use tokio_util::sync::CancellationToken;
use tracing_subscriber::EnvFilter;
use xcwado::access::person::Logins;
use xcwado::access::{Access, Links};
use xcwado::cache::{Cache, LookAhead};
use xcwado::community::{Offered, Offers, Registry};
use xcwado::config::Config;
use xcwado::gateway::{Assembly, Gateway};
use xcwado::library::Library;
use xcwado::metrics::Metrics;
use xcwado::pixels::Pool;
use xcwado::retrieve::Retriever;
use xcwado::server::{self, Cores, Listeners};

use crate::rig::client::{Answer, Stream, open, request};

/// The community of a gateway unless a test names another.
pub(crate) const HERE: &str = "1.3.6.1.4.1.99999.1";

/// A running gateway, which stops when this is dropped.
pub(crate) struct Rig {
    /// Where viewers connect.
    pub(crate) public: SocketAddr,
    /// Where partners connect, if the settings say that they do.
    pub(crate) gateways: Option<SocketAddr>,
    /// Where operators connect.
    pub(crate) operator: SocketAddr,
    directory: Option<TempDir>,
    stopping: CancellationToken,
    thread: Option<JoinHandle<()>>,
}

/// A socket that listens, and where.
pub(crate) struct Bound {
    pub(crate) socket: TcpListener,
    pub(crate) address: SocketAddr,
}

/// A manifest that the gateway has registered.
pub(crate) struct Registered {
    /// Its name.
    pub(crate) id: String,
    /// The path of its DICOMweb root, with a slash at its end.
    pub(crate) root: String,
    /// Its summary.
    pub(crate) summary: Value,
}

impl Registered {
    /// The manifest in the answer to a registration.
    pub(crate) fn of(answer: &Answer) -> Self {
        assert!(answer.status.is_success(), "{answer:?}");
        let summary = answer.json();
        let id = summary["id"].as_str().expect("an id").to_owned();
        Self {
            root: format!("/manifests/{id}/dicomweb/"),
            id,
            summary,
        }
    }
}

impl Rig {
    /// A gateway with these settings, which are tables in TOML: `[[location]]` and others.
    pub(crate) fn start(settings: &str) -> Self {
        Self::start_as(HERE, settings)
    }

    /// A gateway of this community.
    pub(crate) fn start_as(community: &str, settings: &str) -> Self {
        let directory = tempfile::tempdir().expect("a directory");
        let mut rig = Self::start_of(community, bind(), None, directory.path(), settings);
        rig.directory = Some(directory);
        rig
    }

    /// A gateway whose data directory is `directory`, with the data of an earlier gateway.
    pub(crate) fn start_in(directory: &Path, settings: &str) -> Self {
        Self::start_of(HERE, bind(), None, directory, settings)
    }

    /// A gateway that clients reach at this URL.
    pub(crate) fn start_at(url: &str, settings: &str) -> Self {
        Self::start_on(bind(), url, settings)
    }

    /// A gateway that clients reach at this URL, on a socket that is bound already.
    pub(crate) fn start_on(socket: Bound, url: &str, settings: &str) -> Self {
        let directory = tempfile::tempdir().expect("a directory");
        let mut rig = Self::start_of(HERE, socket, Some(url), directory.path(), settings);
        rig.directory = Some(directory);
        rig
    }

    fn start_of(
        community: &str,
        socket: Bound,
        url: Option<&str>,
        directory: &Path,
        settings: &str,
    ) -> Self {
        show_log();
        let Bound {
            socket: public_socket,
            address: public,
        } = socket;
        let Bound {
            socket: operator_socket,
            address: operator,
        } = bind();
        let url = url.map_or_else(|| format!("http://{public}"), ToOwned::to_owned);
        let text =
            format!("home_community_id = \"{community}\"\npublic_url = \"{url}\"\n{settings}");
        let mut config = parse(&text);
        let gateway_socket = config.gateway_listen.as_mut().map(|listen| {
            let bound = bind();
            listen.address = bound.address;
            bound
        });
        let gateways = gateway_socket.as_ref().map(|bound| bound.address);
        let tls = config.listen.credentials().expect("certificate and key");
        let tls = tls.map(|files| server::tls("listen", files).expect("credentials"));
        let gateway_tls = config.gateway_listen.as_ref().map(|listen| {
            server::tls("gateway_listen", listen.credentials()).expect("credentials")
        });
        let metrics = Metrics::new();
        let gateway = assemble(&config, directory, &metrics);
        let stopping = CancellationToken::new();
        let stop = stopping.clone();
        let thread = run(async move {
            let gateways = config.gateway_listen.as_ref();
            let gateways = gateways.zip(gateway_tls).zip(gateway_socket);
            let listeners = Listeners {
                public: config.listen.entrance(public_socket, tls),
                gateways: gateways.map(|((listen, tls), bound)| listen.entrance(bound.socket, tls)),
                operator: operator_socket,
                cores: Cores::start(2).expect("two threads"),
            };
            let shutdown = stop.cancelled_owned();
            let drain = Duration::from_secs(config.listen.drain_seconds);
            server::run(listeners, gateway, metrics, drain, shutdown).await;
        });
        Self {
            public,
            gateways,
            operator,
            directory: None,
            stopping,
            thread: Some(thread),
        }
    }

    /// Registers a manifest that must be accepted.
    pub(crate) async fn register(&self, manifest: impl Into<Bytes>) -> Registered {
        Registered::of(&self.post("/manifests", &[], manifest).await)
    }

    pub(crate) async fn get(&self, path: &str, fields: &[(&str, &str)]) -> Answer {
        self.ask(Method::GET, path, fields, Bytes::new()).await
    }

    pub(crate) async fn head(&self, path: &str, fields: &[(&str, &str)]) -> Answer {
        self.ask(Method::HEAD, path, fields, Bytes::new()).await
    }

    pub(crate) async fn delete(&self, path: &str) -> Answer {
        self.ask(Method::DELETE, path, &[], Bytes::new()).await
    }

    pub(crate) async fn post(
        &self,
        path: &str,
        fields: &[(&str, &str)],
        body: impl Into<Bytes>,
    ) -> Answer {
        self.ask(Method::POST, path, fields, body.into()).await
    }

    pub(crate) async fn ask(
        &self,
        method: Method,
        path: &str,
        fields: &[(&str, &str)],
        body: Bytes,
    ) -> Answer {
        let request = request(method, path, fields, self.public, body);
        open(self.public, request).await.read().await
    }

    /// Sends a request and returns once the head of the answer has arrived.
    pub(crate) async fn open(&self, path: &str, fields: &[(&str, &str)]) -> Stream {
        let request = request(Method::GET, path, fields, self.public, Bytes::new());
        open(self.public, request).await
    }

    /// As [`Rig::get`], over HTTP/2 with prior knowledge.
    pub(crate) async fn get_over_http2(&self, path: &str, fields: &[(&str, &str)]) -> Answer {
        let socket = TcpStream::connect(self.public).await.expect("a connection");
        let (mut sender, connection) = http2::handshake(TokioExecutor::new(), TokioIo::new(socket))
            .await
            .expect("HTTP/2");
        tokio::spawn(connection);
        let uri = format!("http://{}{path}", self.public);
        let request = request(Method::GET, &uri, fields, self.public, Bytes::new());
        let response = sender.send_request(request).await.expect("an answer");
        Stream::new(response).read().await
    }

    /// The answer of the operator listener.
    pub(crate) async fn operator(&self, path: &str) -> Answer {
        let request = request(Method::GET, path, &[], self.operator, Bytes::new());
        open(self.operator, request).await.read().await
    }

    /// The value of a metric, 0 if it is not there; `named` is everything before the value:
    /// `xcwado_manifests`, `xcwado_answers_total{outcome="complete",transaction="…"}`.
    pub(crate) async fn metric(&self, named: &str) -> f64 {
        self.operator("/metrics").await.metric(named)
    }

    /// Tells the gateway to stop, without waiting.
    pub(crate) fn tell_to_stop(&self) {
        self.stopping.cancel();
    }

    /// Waits until the gateway has stopped.
    pub(crate) async fn stopped(mut self) {
        self.tell_to_stop();
        let thread = self.thread.take().expect("it stops once");
        let (tell, told) = oneshot::channel();
        std::thread::spawn(move || tell.send(thread.join()));
        let outcome = told.await.expect("it is told");
        assert!(outcome.is_ok(), "the gateway panicked");
    }
}

impl Drop for Rig {
    fn drop(&mut self) {
        self.tell_to_stop();
    }
}

/// Settings for a test: no look-ahead, sources that offer instances only, and short waits, unless the
/// text sets them.
fn parse(settings: &str) -> Config {
    let mut config = Config::parse(settings).expect("settings without problems");
    // A test does not wait for connections that it leaves open.
    config.listen.drain_seconds = config.listen.drain_seconds.min(10);
    // Most tests compare the exact requests to a source.
    if !settings.contains("look_ahead") {
        config.cache.look_ahead = LookAhead::Off;
    }
    if !settings.contains("offers") {
        let instances = || Offers::Listed(vec![Offered::Instances]);
        for location in &mut config.locations {
            location.offers = instances();
        }
        for community in &mut config.communities {
            community.offers = instances();
        }
    }
    if !settings.contains("repair_seconds") {
        config.retrieve.repair_seconds = 1;
    }
    config
}

fn assemble(config: &Config, directory: &Path, metrics: &Metrics) -> Gateway {
    let registry = Registry::open(&config.registry()).expect("locations without problems");
    let access = Access::new(&config.access()).expect("communities without problems");
    let logins = config.login.as_ref().map(|settings| {
        Logins::open(settings, &config.public_url()).expect("logins without problems")
    });
    let access = access.with_logins(logins);
    let manifests = Library::open(&directory.join("manifests"), config.manifests.clone())
        .expect("a store of manifests");
    let cache = Cache::open(&config.cache, &directory.join("instances"), metrics);
    let cache = cache.expect("a folder for instances");
    let retriever = Retriever::new(config.retrieve.clone(), cache, metrics.clone());
    Gateway::new(Assembly {
        public_url: config.public_url(),
        gateway_url: config.gateway_url(),
        edge: config.listen.edge(),
        xc_wado: config.xc_wado.clone(),
        access,
        links: Links::default(),
        registry,
        library: manifests,
        retriever,
        cache_control: config.cache.cache_control.clone(),
        decoders: Pool::new(
            env!("CARGO_BIN_EXE_xcwado").into(),
            config.rendering.clone(),
        ),
        limits: config.limits.clone(),
        cors: config.cors.clone(),
        viewers: config.viewers.clone(),
        metrics: metrics.clone(),
    })
}

/// Runs a gateway on a runtime of its own, so that the client in a test never delays it.
fn run(gateway: impl Future<Output = ()> + Send + 'static) -> JoinHandle<()> {
    std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .expect("a runtime");
        runtime.block_on(gateway);
    })
}

/// Writes the log into the output of the test, if `RUST_LOG` is set.
fn show_log() {
    if std::env::var_os(EnvFilter::DEFAULT_ENV).is_some() {
        let filter = EnvFilter::from_default_env();
        let log = tracing_subscriber::fmt()
            .with_env_filter(filter)
            .with_ansi(false);
        // Fails if another test of this process has already set up the log.
        let _ = log.with_test_writer().try_init();
    }
}

/// A free port of this machine.
pub(crate) fn bind() -> Bound {
    let socket = TcpListener::bind("127.0.0.1:0").expect("a free port");
    socket.set_nonblocking(true).expect("a socket of its own");
    let address = socket.local_addr().expect("an address");
    Bound { socket, address }
}
