//! A gateway in this process, on ports of its own, and a client that tells how answers end.

pub(crate) mod authority;
pub(crate) mod detour;
pub(crate) mod origin;
pub(crate) mod program;
pub(crate) mod study;
pub(crate) mod tls_client;

use std::net::{SocketAddr, TcpListener};
use std::path::Path;
use std::thread::JoinHandle;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http::{HeaderMap, Method, Request, StatusCode};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::client::conn::{http1, http2};
use hyper_util::rt::{TokioExecutor, TokioIo};
use serde_json::Value;
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};
use tokio::sync::oneshot;
use tokio_util::sync::CancellationToken;
use xcwado::access::Access;
use xcwado::cache::{Cache, LookAhead};
use xcwado::community::Registry;
use xcwado::config::Config;
use xcwado::dicom::MediaType;
use xcwado::gateway::{Assembly, Gateway};
use xcwado::manifest::Store;
use xcwado::metrics::Metrics;
use xcwado::multipart::{Boundary, Event, Limits, PartHead, Splitter};
use xcwado::pixels::Pool;
use xcwado::retrieve::Retriever;
use xcwado::server::{self, Listeners};

/// The community of gateways that are not told another one.
pub(crate) const HERE: &str = "1.3.6.1.4.1.99999.1";

/// As a client asks for what is stored.
pub(crate) const AS_STORED: (&str, &str) = (
    "accept",
    r#"multipart/related; type="application/dicom"; transfer-syntax=*"#,
);

/// A gateway that runs. It is told to stop when this is dropped.
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

/// A manifest that the gateway has registered.
pub(crate) struct Registered {
    /// Its name.
    pub(crate) id: String,
    /// The path of its DICOMweb root, with a slash at its end.
    pub(crate) root: String,
    /// What the gateway says of it.
    pub(crate) summary: Value,
}

impl Registered {
    /// What the answer to a registration tells.
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
        let mut rig = Self::start_of(community, directory.path(), settings);
        rig.directory = Some(directory);
        rig
    }

    /// A gateway that keeps its manifests in `directory`, where an earlier one may have left some.
    pub(crate) fn start_in(directory: &Path, settings: &str) -> Self {
        Self::start_of(HERE, directory, settings)
    }

    fn start_of(community: &str, directory: &Path, settings: &str) -> Self {
        let (public_socket, public) = bind();
        let (operator_socket, operator) = bind();
        let text = format!(
            "home_community_id = \"{community}\"\n\
             public_url = \"http://{public}\"\n\
             {settings}"
        );
        let mut config = Config::parse(&text).expect("settings without problems");
        // What a test leaves behind is not waited for.
        config.listen.drain_seconds = config.listen.drain_seconds.min(10);
        // Most tests look at what exactly a source is asked for.
        if !settings.contains("look_ahead") {
            config.cache.look_ahead = LookAhead::Off;
        }
        if !settings.contains("repair_seconds") {
            config.retrieve.repair_seconds = 1;
        }
        let gateway_socket = config.gateway_listen.as_mut().map(|listen| {
            let (socket, address) = bind();
            listen.address = address;
            (socket, address)
        });
        let gateways = gateway_socket.as_ref().map(|(_, address)| *address);
        let tls = config.listen.credentials().expect("certificate and key");
        let tls = tls.map(|files| server::tls("listen", files).expect("credentials"));
        let gateway_tls = config.gateway_listen.as_ref().map(|listen| {
            server::tls("gateway_listen", listen.credentials()).expect("credentials")
        });
        let metrics = Metrics::new();
        let registry = Registry::open(&config.registry()).expect("locations without problems");
        let access = Access::new(&config.communities).expect("communities without problems");
        let manifests = Store::open(&directory.join("manifests"), config.manifests.clone())
            .expect("a store of manifests");
        let cache = Cache::open(&config.cache, &directory.join("instances"), &metrics);
        let cache = cache.expect("a folder for instances");
        let retriever = Retriever::new(config.retrieve.clone(), cache, metrics.clone());
        let gateway = Gateway::new(Assembly {
            public_url: config.public_url(),
            gateway_url: config.gateway_url(),
            edge: config.listen.edge(),
            xc_wado: config.xc_wado.clone(),
            access,
            registry,
            manifests,
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
        });
        let stopping = CancellationToken::new();
        let stop = stopping.clone();
        // A runtime of its own: the client in a test never stands in the gateway's way.
        let thread = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_multi_thread()
                .worker_threads(2)
                .enable_all()
                .build()
                .expect("a runtime");
            runtime.block_on(async move {
                let gateways = config.gateway_listen.as_ref();
                let gateways = gateways.zip(gateway_tls).zip(gateway_socket);
                let listeners = Listeners {
                    public: config.listen.entrance(listener(public_socket), tls),
                    gateways: gateways
                        .map(|((listen, tls), (socket, _))| listen.entrance(listener(socket), tls)),
                    operator: listener(operator_socket),
                };
                let shutdown = stop.cancelled_owned();
                let drain = Duration::from_secs(config.listen.drain_seconds);
                server::run(listeners, gateway, metrics, drain, shutdown).await;
            });
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

    /// Sends a request and gives the answer once its head is there, its body still unread.
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

    /// What the operator listener says.
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

fn bind() -> (TcpListener, SocketAddr) {
    let socket = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let address = socket.local_addr().expect("an address");
    (socket, address)
}

fn listener(socket: TcpListener) -> tokio::net::TcpListener {
    socket.set_nonblocking(true).expect("a socket of its own");
    tokio::net::TcpListener::from_std(socket).expect("a listener")
}

pub(crate) fn request(
    method: Method,
    path: &str,
    fields: &[(&str, &str)],
    host: SocketAddr,
    body: Bytes,
) -> Request<Full<Bytes>> {
    let mut request = Request::builder().method(method).uri(path);
    if !fields.iter().any(|(name, _)| *name == "host") {
        request = request.header("host", host.to_string());
    }
    if method_has_body(request.method_ref())
        && !fields.iter().any(|(name, _)| *name == "content-type")
    {
        request = request.header("content-type", "application/octet-stream");
    }
    for (name, value) in fields {
        request = request.header(*name, *value);
    }
    request.body(Full::new(body)).expect("a request")
}

/// The status that some bytes are answered with; `None` if the connection ends without an answer.
pub(crate) async fn raw_status(address: SocketAddr, request: &[u8]) -> Option<u16> {
    let mut socket = TcpStream::connect(address).await.expect("a connection");
    // What is refused early may not be read to its end.
    let _ = socket.write_all(request).await;
    let mut line = [0; 12];
    socket.read_exact(&mut line).await.ok()?;
    String::from_utf8_lossy(&line[9..]).parse().ok()
}

fn method_has_body(method: Option<&Method>) -> bool {
    method == Some(&Method::POST)
}

/// Sends a request as the client 127.0.0.`last`.
pub(crate) async fn open_as(
    last: u8,
    address: SocketAddr,
    request: Request<Full<Bytes>>,
) -> Stream {
    let socket = connect_as(last, address).await;
    try_open(socket, request).await.expect("an answer")
}

/// A connection of the client 127.0.0.`last`.
pub(crate) async fn connect_as(last: u8, address: SocketAddr) -> TcpStream {
    let socket = TcpSocket::new_v4().expect("a socket");
    let own = SocketAddr::from(([127, 0, 0, last], 0));
    socket.bind(own).expect("an address of this machine");
    socket.connect(address).await.expect("a connection")
}

/// Sends a request over a connection of its own.
pub(crate) async fn open(address: SocketAddr, request: Request<Full<Bytes>>) -> Stream {
    let socket = TcpStream::connect(address).await.expect("a connection");
    try_open(socket, request).await.expect("an answer")
}

/// Sends a request; `None` if the connection ends without an answer.
pub(crate) async fn try_open(socket: TcpStream, request: Request<Full<Bytes>>) -> Option<Stream> {
    let (mut sender, connection) = http1::handshake(TokioIo::new(socket))
        .await
        .expect("HTTP/1.1");
    tokio::spawn(connection);
    Some(Stream::new(sender.send_request(request).await.ok()?))
}

/// An answer whose body is still to be read.
pub(crate) struct Stream {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    body: Incoming,
    read: BytesMut,
}

impl Stream {
    pub(crate) fn new(response: http::Response<Incoming>) -> Self {
        let (head, body) = response.into_parts();
        Self {
            status: head.status,
            headers: head.headers,
            body,
            read: BytesMut::new(),
        }
    }

    /// Reads on until at least `length` bytes of the body were read in all.
    pub(crate) async fn read_at_least(&mut self, length: usize) -> &[u8] {
        while self.read.len() < length {
            let frame = self.body.frame().await.expect("more bytes");
            let frame = frame.expect("a whole stream so far");
            self.read
                .extend_from_slice(&frame.into_data().unwrap_or_default());
        }
        &self.read
    }

    /// Reads to the end, whichever it is.
    pub(crate) async fn read(mut self) -> Answer {
        let end = loop {
            match self.body.frame().await {
                None => break End::Whole,
                Some(Err(error)) => break End::BrokeOff(Broken::of(&error)),
                Some(Ok(frame)) => self
                    .read
                    .extend_from_slice(&frame.into_data().unwrap_or_default()),
            }
        };
        Answer {
            status: self.status,
            headers: self.headers,
            body: self.read.freeze(),
            end,
        }
    }
}

/// An answer, read to its end.
#[derive(Debug, Clone)]
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
    pub(crate) end: End,
}

/// How HTTP says that a body ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum End {
    Whole,
    BrokeOff(Broken),
}

/// How HTTP says that a body is not whole.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Broken {
    /// HTTP/1.1: the connection ended before the body did.
    ConnectionClosed,
    /// HTTP/2: the stream was reset.
    StreamReset,
}

impl Broken {
    fn of(error: &hyper::Error) -> Self {
        if error.is_incomplete_message() || error.is_closed() || is_io(error) {
            Self::ConnectionClosed
        } else {
            Self::StreamReset
        }
    }
}

fn is_io(error: &hyper::Error) -> bool {
    use std::error::Error;
    error
        .source()
        .is_some_and(|cause| cause.is::<std::io::Error>())
}

/// One part of a multipart answer.
#[derive(Debug, Clone)]
pub(crate) struct Part {
    pub(crate) head: PartHead,
    pub(crate) bytes: Bytes,
}

impl Answer {
    /// The value of a header field; empty if it is not there.
    pub(crate) fn field(&self, name: &str) -> &str {
        self.headers
            .get(name)
            .map_or("", |value| value.to_str().expect("text"))
    }

    pub(crate) fn text(&self) -> String {
        String::from_utf8(self.body.to_vec()).expect("text")
    }

    /// The value of a metric in what operators are told, 0 if it is not there.
    pub(crate) fn metric(&self, named: &str) -> f64 {
        let text = self.text();
        text.lines()
            .find_map(|line| line.strip_prefix(named)?.strip_prefix(' '))
            .map_or(0.0, |value| value.parse().expect("a number"))
    }

    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.body).expect("JSON")
    }

    /// Whether all of it came.
    pub(crate) fn is_whole(&self) -> bool {
        self.end == End::Whole
    }

    /// The parts of an answer that must be a whole `multipart/related`.
    pub(crate) fn parts(&self) -> Vec<Part> {
        assert_eq!(self.end, End::Whole, "the answer broke off");
        let (parts, is_closed) = self.split();
        assert!(is_closed, "the closing boundary is missing");
        parts
    }

    /// The parts that are in it to their ends, and whether the closing boundary is.
    pub(crate) fn split(&self) -> (Vec<Part>, bool) {
        let content_type = self.field("content-type");
        let media_type = MediaType::parse(content_type).expect("a media type");
        assert_eq!(media_type.essence(), "multipart/related", "{self:?}");
        let boundary = media_type.parameter("boundary").expect("a boundary");
        let boundary = Boundary::parse(boundary).expect("a valid boundary");
        let mut splitter = Splitter::new(&boundary, Limits::default());
        splitter.push(self.body.clone());
        let (mut parts, mut open) = (Vec::new(), None);
        while let Some(event) = splitter.next().expect("the gateway writes good multipart") {
            match event {
                Event::Part(head) => open = Some((head, BytesMut::new())),
                Event::Data(bytes) => {
                    let (_, data) = open.as_mut().expect("data belongs to a part");
                    data.extend_from_slice(&bytes);
                }
                Event::PartEnd => {
                    let (head, data) = open.take().expect("a part that ends has begun");
                    let bytes = data.freeze();
                    parts.push(Part { head, bytes });
                }
            }
        }
        (parts, splitter.is_closed())
    }

    /// The bytes of the parts, sorted: the order of an answer is not promised.
    pub(crate) fn instances(&self) -> Vec<Bytes> {
        sorted(self.parts().into_iter().map(|part| part.bytes))
    }

    /// The sentence of a problem document, which everything but its status is checked of here.
    pub(crate) fn problem(&self) -> String {
        assert_eq!(
            self.field("content-type"),
            "application/problem+json",
            "{self:?}"
        );
        let problem = self.json();
        assert_eq!(problem["status"], self.status.as_u16());
        let detail = problem["detail"].as_str().expect("a sentence").to_owned();
        assert!(!detail.is_empty() && detail.len() < 200, "{detail}");
        detail
    }
}

/// The path of something at a location of a community, as RAD-160 asks for it.
pub(crate) fn rad_160(community: &str, location: &str, path: &str) -> String {
    format!("/wado-rs/homeCommunityId/{community}/RetrieveLocationUID/{location}/{path}")
}

pub(crate) fn sorted(instances: impl IntoIterator<Item = Bytes>) -> Vec<Bytes> {
    let mut instances: Vec<_> = instances.into_iter().collect();
    instances.sort();
    instances
}
