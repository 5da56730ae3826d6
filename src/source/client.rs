//! The HTTP client for configured sources: a pool for each, TLS, limits; no redirects, no proxies
//! from the environment, nothing of a caller's request.

use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::header::{ACCEPT, HeaderValue, USER_AGENT};
use http::{HeaderMap, Request, StatusCode, Uri};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::{TokioExecutor, TokioTimer};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use rustls::{ClientConfig, RootCertStore};
use serde::Deserialize;
use tokio::time::timeout;

use super::Error;
use crate::body;

// What one connection may read ahead of us, and so also the largest response head.
const READ_BUFFER: usize = 128 << 10;
const MOST_HEADER_FIELDS: usize = 64;
const MOST_IDLE: usize = 32;
const IDLE: Duration = Duration::from_secs(30);

/// How a source is talked to.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Settings {
    /// Seconds to make a connection.
    pub connect_seconds: u64,
    /// Seconds until the answer begins, connecting not included.
    pub first_byte_seconds: u64,
    /// Seconds of silence that an answer may have.
    pub silence_seconds: u64,
    /// PEM file of the authorities that may have signed the server's certificate; the system's
    /// when absent.
    pub authorities: Option<PathBuf>,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            connect_seconds: 5,
            first_byte_seconds: 60,
            silence_seconds: 30,
            authorities: None,
        }
    }
}

/// Why a client cannot be made.
#[derive(Debug, thiserror::Error)]
pub enum SetupError {
    /// The authorities cannot be read.
    #[error("cannot read {path}: {error}")]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// What went wrong.
        error: io::Error,
    },
    /// The authorities are no PEM certificates.
    #[error("{path} holds no PEM certificates")]
    NoCertificates {
        /// The file.
        path: PathBuf,
    },
    /// The TLS library refuses the configuration.
    #[error("TLS cannot be set up: {0}")]
    Tls(#[from] rustls::Error),
}

/// A client for one source.
#[derive(Debug, Clone)]
pub struct Client {
    pool: legacy::Client<HttpsConnector<HttpConnector>, Full<Bytes>>,
    connect: Duration,
    first_byte: Duration,
    silence: Duration,
}

/// An answer whose body is still to come.
#[derive(Debug)]
pub struct Response {
    /// Its status.
    pub status: StatusCode,
    /// Its header fields.
    pub headers: HeaderMap,
    /// Its body.
    pub body: ResponseBody,
}

/// The body of an answer.
#[derive(Debug)]
pub struct ResponseBody {
    incoming: Incoming,
    silence: Duration,
}

impl Client {
    /// A client with a connection pool of its own.
    ///
    /// # Errors
    /// What is wrong with the authorities.
    pub fn new(settings: &Settings) -> Result<Self, SetupError> {
        let connect = Duration::from_secs(settings.connect_seconds);
        let mut tcp = HttpConnector::new();
        tcp.enforce_http(false);
        tcp.set_nodelay(true);
        tcp.set_connect_timeout(Some(connect));
        let connector = HttpsConnectorBuilder::new()
            .with_tls_config(tls(settings)?)
            .https_or_http()
            .enable_http1()
            .wrap_connector(tcp);
        let pool = legacy::Client::builder(TokioExecutor::new())
            .pool_timer(TokioTimer::new())
            .pool_idle_timeout(IDLE)
            .pool_max_idle_per_host(MOST_IDLE)
            .http1_max_buf_size(READ_BUFFER)
            .http1_max_headers(MOST_HEADER_FIELDS)
            .build(connector);
        Ok(Self {
            pool,
            connect,
            first_byte: Duration::from_secs(settings.first_byte_seconds),
            silence: Duration::from_secs(settings.silence_seconds),
        })
    }

    /// Asks for `uri`.
    ///
    /// # Errors
    /// [`Error::Unreachable`] or [`Error::TimedOut`]; a status is never an error here.
    pub async fn get(&self, uri: &Uri, accept: &HeaderValue) -> Result<Response, Error> {
        let mut request = Request::new(Full::default());
        *request.uri_mut() = uri.clone();
        request.headers_mut().insert(ACCEPT, accept.clone());
        self.send(request).await
    }

    /// Sends a request whose head and body are of our own making.
    ///
    /// # Errors
    /// As [`Client::get`].
    pub async fn send(&self, mut request: Request<Full<Bytes>>) -> Result<Response, Error> {
        request
            .headers_mut()
            .insert(USER_AGENT, HeaderValue::from_static(AGENT));
        // A server may close a kept connection just when it is used again, and some die over a
        // request and come back: one more try costs little and nothing has been delivered yet.
        let again = request.clone();
        let response = match self.try_send(request).await {
            Err(Error::Unreachable) => self.try_send(again).await?,
            other => other?,
        };
        let (head, incoming) = response.into_parts();
        let body = ResponseBody {
            incoming,
            silence: self.silence,
        };
        Ok(Response {
            status: head.status,
            headers: head.headers,
            body,
        })
    }

    async fn try_send(
        &self,
        request: Request<Full<Bytes>>,
    ) -> Result<http::Response<Incoming>, Error> {
        // The limit on connecting bounds TCP; what TLS takes on top falls under this one.
        match timeout(self.connect + self.first_byte, self.pool.request(request)).await {
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
    tracing::debug!(
        is_connect = error.is_connect(),
        "a source cannot be reached"
    );
    Error::Unreachable
}

impl ResponseBody {
    /// The next bytes; `None` at the end.
    ///
    /// # Errors
    /// [`body::Error::Silent`] or [`body::Error::Disconnected`].
    pub async fn chunk(&mut self) -> Result<Option<Bytes>, body::Error> {
        loop {
            let frame = timeout(self.silence, self.incoming.frame())
                .await
                .map_err(|_elapsed| body::Error::Silent)?;
            match frame {
                None => return Ok(None),
                Some(Err(_broken)) => return Err(body::Error::Disconnected),
                // Trailers say nothing that matters here.
                Some(Ok(frame)) => match frame.into_data() {
                    Ok(bytes) if !bytes.is_empty() => return Ok(Some(bytes)),
                    Ok(_) | Err(_) => {}
                },
            }
        }
    }

    /// All of it, if that is not more than `limit` bytes.
    ///
    /// # Errors
    /// As [`ResponseBody::chunk`]; [`body::Error::Malformed`] if there is more.
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

fn tls(settings: &Settings) -> Result<ClientConfig, SetupError> {
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .with_root_certificates(authorities(settings)?)
        .with_no_client_auth();
    Ok(config)
}

fn authorities(settings: &Settings) -> Result<RootCertStore, SetupError> {
    let mut roots = RootCertStore::empty();
    let certificates = match &settings.authorities {
        None => rustls_native_certs::load_native_certs().certs,
        Some(path) => read_certificates(path)?,
    };
    roots.add_parsable_certificates(certificates);
    Ok(roots)
}

fn read_certificates(path: &PathBuf) -> Result<Vec<CertificateDer<'static>>, SetupError> {
    let pem = std::fs::read(path).map_err(|error| SetupError::Unreadable {
        path: path.clone(),
        error,
    })?;
    let certificates: Vec<_> = CertificateDer::pem_slice_iter(&pem)
        .filter_map(Result::ok)
        .collect();
    if certificates.is_empty() {
        return Err(SetupError::NoCertificates { path: path.clone() });
    }
    Ok(certificates)
}
