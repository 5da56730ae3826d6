//! The HTTP client for sources: one pool for each, TLS, limits. It follows no redirects, uses no
//! proxies from the environment, and forwards nothing of a client's request but its [`Hop`].

use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::header::{ACCEPT, AUTHORIZATION, HeaderValue, IF_NONE_MATCH, RETRY_AFTER, USER_AGENT};
use http::{HeaderMap, Request, StatusCode, Uri};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::{TokioExecutor, TokioTimer};
use rustls::ClientConfig;
use serde::Deserialize;
use tokio::time::timeout;

use super::Error;
use super::connector::Connector;
use super::patience::Patience;
use super::resolver::Resolver;
use crate::body;
use crate::credentials::{self, Certificate, ClientFiles, Loaded, TokenSource, Watched};
use crate::hop::Hop;
use crate::metrics::Metrics;
use crate::network::Network;

// The read buffer of a connection, and therefore the largest response head.
const READ_BUFFER: usize = 128 << 10;
const MOST_HEADER_FIELDS: usize = 64;
const MOST_IDLE: usize = 32;
const IDLE: Duration = Duration::from_secs(30);
// HTTP/2 windows: the defaults are too small for bulk data. A window bounds the bytes of one round
// trip, and the cost of a stalled client.
const STREAM_WINDOW: u32 = 2 << 20;
// Space for all streams: streams of stalled clients must not block the others.
const CONNECTION_WINDOW: u32 = 128 * STREAM_WINDOW;
const FRAME: u32 = 64 << 10;
const HEADER_LIST: u32 = 64 << 10;
const KEEP_ALIVE: Duration = Duration::from_secs(20);

/// The connection settings of a source.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Settings {
    /// Seconds to connect.
    pub connect_seconds: u64,
    /// Seconds until the answer begins, without connecting.
    pub first_byte_seconds: u64,
    /// Seconds of silence in an answer.
    pub silence_seconds: u64,
    /// The lowest rate of an answer, in bytes per second, while a reader waits; 0: no limit. It may
    /// be slower for `silence_seconds`.
    pub slowest_bytes_per_second: u64,
    /// PEM file of the authorities for the server's certificate; the system's when absent.
    pub authorities: Option<PathBuf>,
    /// PEM file of our client certificate and its intermediates.
    pub certificate: Option<PathBuf>,
    /// PEM file of its private key.
    pub private_key: Option<PathBuf>,
    /// Internal networks that its name may resolve to.
    pub allow_networks: Vec<Network>,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            connect_seconds: 5,
            first_byte_seconds: 60,
            silence_seconds: 30,
            slowest_bytes_per_second: 1024,
            authorities: None,
            certificate: None,
            private_key: None,
            allow_networks: Vec::new(),
        }
    }
}

impl Settings {
    /// All paths, mutable.
    pub fn files_mut(&mut self) -> impl Iterator<Item = &mut PathBuf> {
        let files = [
            &mut self.authorities,
            &mut self.certificate,
            &mut self.private_key,
        ];
        files.into_iter().flatten()
    }

    /// The files for TLS.
    #[must_use]
    pub fn credentials(&self) -> ClientFiles {
        ClientFiles {
            authorities: self.authorities.clone(),
            certificate: self.certificate.clone(),
            private_key: self.private_key.clone(),
        }
    }
}

/// The HTTP version for a server.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(try_from = "u8")]
pub enum HttpVersion {
    /// HTTP/1.1, over several connections.
    #[default]
    Http1,
    /// HTTP/2, over one connection.
    Http2,
}

/// An unknown HTTP version.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the HTTP version must be 1 or 2")]
pub struct UnknownVersion;

impl TryFrom<u8> for HttpVersion {
    type Error = UnknownVersion;

    fn try_from(number: u8) -> Result<Self, UnknownVersion> {
        match number {
            1 => Ok(Self::Http1),
            2 => Ok(Self::Http2),
            _ => Err(UnknownVersion),
        }
    }
}

/// A client for one source.
#[derive(Debug, Clone)]
pub struct Client {
    pool: Arc<Watched<Pool>>,
    resolver: Resolver,
    pub(super) connect: Duration,
    pub(super) first_byte: Duration,
    patience: Patience,
}

/// Connections with the same credentials.
#[derive(Debug)]
struct Pool {
    connections: legacy::Client<HttpsConnector<Connector>, Full<Bytes>>,
    authorization: Option<HeaderValue>,
    tls: Arc<ClientConfig>,
}

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
}

impl Client {
    /// A client with its own connection pool, over HTTP/1.1 and without a token. Metrics and logs
    /// name its credentials `name`.
    ///
    /// # Errors
    /// The error in the credentials.
    pub fn new(name: &str, settings: &Settings) -> Result<Self, credentials::Error> {
        Self::open(name, settings, HttpVersion::default(), None)
    }

    /// A client for this HTTP version that sends this token.
    ///
    /// # Errors
    /// As [`Client::new`].
    pub fn open(
        name: &str,
        settings: &Settings,
        version: HttpVersion,
        token: Option<TokenSource>,
    ) -> Result<Self, credentials::Error> {
        let resolver = Resolver::new(&settings.allow_networks);
        Self::resolving(resolver, name, settings, version, token)
    }

    fn resolving(
        resolver: Resolver,
        name: &str,
        settings: &Settings,
        version: HttpVersion,
        token: Option<TokenSource>,
    ) -> Result<Self, credentials::Error> {
        let files = settings.credentials();
        let names = resolver.clone();
        let connect = Duration::from_secs(settings.connect_seconds);
        let paths = files
            .paths()
            .chain(token.iter().filter_map(TokenSource::file));
        let pool = Watched::load(name, paths.cloned().collect(), move || {
            pool(&names, &files, connect, version, token.as_ref())
        })?;
        Ok(Self {
            pool: Arc::new(pool),
            resolver,
            connect,
            first_byte: Duration::from_secs(settings.first_byte_seconds),
            patience: Patience::new(
                Duration::from_secs(settings.silence_seconds),
                settings.slowest_bytes_per_second,
            ),
        })
    }

    /// Watches its credentials, and uses new ones for new connections.
    pub fn watch(&self, metrics: &Metrics) {
        self.pool.watch(metrics);
    }

    /// The resolver for its server's name.
    #[must_use]
    pub fn resolver(&self) -> &Resolver {
        &self.resolver
    }

    /// Its client certificate, if it has one.
    #[must_use]
    pub fn certificate(&self) -> Option<Certificate> {
        self.pool.current().certificate.clone()
    }

    /// Its TLS configuration.
    pub(super) fn tls(&self) -> Arc<ClientConfig> {
        Arc::clone(&self.pool.current().value.tls)
    }

    /// Sends a GET request, conditional if `had` names entity tags.
    ///
    /// # Errors
    /// [`Error::Unreachable`], [`Error::HungUp`] or [`Error::TimedOut`]; a status is never an error
    /// here.
    pub async fn get(
        &self,
        uri: &Uri,
        accept: &HeaderValue,
        had: Option<&HeaderValue>,
        hop: Option<&Hop>,
    ) -> Result<Response, Error> {
        let mut request = Request::new(Full::default());
        *request.uri_mut() = uri.clone();
        let headers = request.headers_mut();
        headers.insert(ACCEPT, accept.clone());
        headers.extend(had.map(|had| (IF_NONE_MATCH, had.clone())));
        headers.extend(hop.into_iter().flat_map(Hop::fields));
        self.send(request).await
    }

    /// Sends a request that contains nothing of a client's.
    ///
    /// # Errors
    /// As [`Client::get`].
    pub async fn send(&self, mut request: Request<Full<Bytes>>) -> Result<Response, Error> {
        let headers = request.headers_mut();
        headers.insert(USER_AGENT, HeaderValue::from_static(AGENT));
        let current = self.pool.current();
        let pool = &current.value;
        headers.extend(
            pool.authorization
                .clone()
                .map(|value| (AUTHORIZATION, value)),
        );
        // A server can close an idle connection just as it is reused, and some servers crash on a
        // request and restart. One retry is cheap, because no byte has been delivered yet.
        let again = request.clone();
        let response = match self.try_send(pool, request).await {
            Err(Error::Unreachable | Error::HungUp) => self.try_send(pool, again).await?,
            other => other?,
        };
        let (head, incoming) = response.into_parts();
        let body = ResponseBody {
            incoming,
            patience: self.patience,
        };
        Ok(Response {
            status: head.status,
            headers: head.headers,
            body,
        })
    }

    async fn try_send(
        &self,
        pool: &Pool,
        request: Request<Full<Bytes>>,
    ) -> Result<http::Response<Incoming>, Error> {
        // The connect time-out bounds TCP; this one also covers TLS.
        let sending = pool.connections.request(request);
        match timeout(self.connect + self.first_byte, sending).await {
            Ok(Ok(response)) => Ok(response),
            Ok(Err(error)) => Err(why(&error)),
            Err(_elapsed) => Err(Error::TimedOut),
        }
    }
}

const AGENT: &str = concat!("xcwado/", env!("CARGO_PKG_VERSION"));

fn why(error: &legacy::Error) -> Error {
    let mut cause: Option<&(dyn std::error::Error + 'static)> = Some(error);
    while let Some(error) = cause {
        if error
            .downcast_ref::<io::Error>()
            .is_some_and(|e| e.kind() == io::ErrorKind::TimedOut)
        {
            return Error::TimedOut;
        }
        cause = error.source();
    }
    if error.is_connect() {
        tracing::debug!("a source cannot be reached");
        return Error::Unreachable;
    }
    tracing::debug!("a source closed the connection");
    Error::HungUp
}

/// The `Retry-After` of a server in seconds (RFC 9110 10.2.3).
pub(super) fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    let seconds = headers
        .get(RETRY_AFTER)?
        .to_str()
        .ok()?
        .trim()
        .parse()
        .ok()?;
    Some(Duration::from_secs(seconds))
}

impl ResponseBody {
    /// The next bytes; `None` at the end.
    ///
    /// # Errors
    /// [`body::Error::Silent`], [`body::Error::TooSlow`] or [`body::Error::Disconnected`].
    pub async fn chunk(&mut self) -> Result<Option<Bytes>, body::Error> {
        let began = Instant::now();
        let chunk = timeout(self.patience.left(), self.data())
            .await
            .map_err(|_elapsed| self.patience.failure())??;
        if let Some(chunk) = &chunk {
            self.patience.received(chunk.len(), began.elapsed());
        }
        Ok(chunk)
    }

    /// The next bytes. Empty frames do not reset the time-out.
    async fn data(&mut self) -> Result<Option<Bytes>, body::Error> {
        loop {
            match self.incoming.frame().await {
                None => return Ok(None),
                Some(Err(_broken)) => return Err(body::Error::Disconnected),
                // Trailers are ignored.
                Some(Ok(frame)) => match frame.into_data() {
                    Ok(bytes) if !bytes.is_empty() => return Ok(Some(bytes)),
                    Ok(_) | Err(_) => {}
                },
            }
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

fn pool(
    names: &Resolver,
    files: &ClientFiles,
    connect: Duration,
    version: HttpVersion,
    token: Option<&TokenSource>,
) -> Result<Loaded<Pool>, credentials::Error> {
    let tls = files.load()?;
    let authorization = token.map(TokenSource::load).transpose()?;
    let mut tcp = HttpConnector::new_with_resolver(names.clone());
    tcp.enforce_http(false);
    tcp.set_nodelay(true);
    tcp.set_connect_timeout(Some(connect));
    let tcp = Connector::new(tcp);
    let connector = HttpsConnectorBuilder::new()
        .with_tls_config(tls.value.clone())
        .https_or_http();
    let connector = match version {
        HttpVersion::Http1 => connector.enable_http1().wrap_connector(tcp),
        HttpVersion::Http2 => connector.enable_http2().wrap_connector(tcp),
    };
    let pool = Pool {
        connections: builder(version).build(connector),
        authorization: authorization.map(|token| token.authorization()),
        tls: Arc::new(tls.value),
    };
    Ok(Loaded {
        value: pool,
        certificate: tls.certificate,
    })
}

fn builder(version: HttpVersion) -> legacy::Builder {
    let mut builder = legacy::Client::builder(TokioExecutor::new());
    builder
        .pool_timer(TokioTimer::new())
        .pool_idle_timeout(IDLE)
        .pool_max_idle_per_host(MOST_IDLE)
        .http1_max_buf_size(READ_BUFFER)
        .http1_max_headers(MOST_HEADER_FIELDS)
        .timer(TokioTimer::new())
        .http2_only(version == HttpVersion::Http2)
        .http2_initial_stream_window_size(STREAM_WINDOW)
        .http2_initial_connection_window_size(CONNECTION_WINDOW)
        .http2_max_frame_size(FRAME)
        .http2_max_header_list_size(HEADER_LIST)
        .http2_keep_alive_interval(KEEP_ALIVE)
        .http2_keep_alive_timeout(KEEP_ALIVE);
    builder
}

#[cfg(test)]
mod tests {
    use std::net::IpAddr;

    use tokio::net::TcpListener;

    use super::*;

    /// Sends a request to a server by name; returns whether it connected.
    async fn dials(name: &str, allowed: &[&str]) -> bool {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let port = listener.local_addr().expect("an address").port();
        let allowed: Vec<_> = allowed
            .iter()
            .map(|text| Network::try_from((*text).to_owned()).expect("a network"))
            .collect();
        let here = vec![IpAddr::from([127, 0, 0, 1])];
        let resolver = Resolver::fixed(here, &allowed);
        let settings = Settings {
            first_byte_seconds: 0,
            ..Settings::default()
        };
        let client = Client::resolving(resolver, "x", &settings, HttpVersion::Http1, None);
        let client = client.expect("a client");
        let uri = format!("http://{name}:{port}/").parse().expect("a URI");
        let accept = HeaderValue::from_static("*/*");
        let asking = tokio::spawn(async move { client.get(&uri, &accept, None, None).await });
        tokio::select! {
            _ = listener.accept() => true,
            _ = asking => false,
        }
    }

    #[tokio::test]
    async fn a_name_that_leads_to_this_machine_is_not_dialled_unless_settings_allow_it() {
        assert!(!dials("pacs.example", &[]).await);
        assert!(!dials("pacs.example", &["10.0.0.0/8"]).await);
        assert!(dials("pacs.example", &["127.0.0.0/8"]).await);
        assert!(dials("localhost", &[]).await);
        assert!(dials("127.0.0.1", &[]).await);
    }
}
