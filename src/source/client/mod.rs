//! The HTTP client for sources: one pool for each, TLS, limits. It follows no redirects, uses no
//! proxies from the environment, and forwards nothing of a client's request but its [`Hop`].

mod authorization;
mod connector;
mod document;
mod error;
mod http1;
mod http2;
mod patience;
mod pool;
mod response;
mod settings;
mod shelves;
mod spares;
#[cfg(test)]
mod tests;

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::header::{ACCEPT, AUTHORIZATION, HeaderValue, IF_NONE_MATCH, RETRY_AFTER, USER_AGENT};
use http::{HeaderMap, Method, Request, StatusCode, Uri};
use http_body_util::Full;
use rustls::ClientConfig;
use tokio::time::{Instant, timeout};

pub use authorization::{Failure, Proof, ProofSettings, User, pause_after};
pub use document::{Document, Endpoint, Form};
pub use response::{Response, ResponseBody};
pub use settings::{
    AuthorizationSettings, Basic, ClientCredentials, HttpVersion, Settings, TokenExchange,
    UnknownVersion, WithoutUser,
};

pub(super) use connector::server_name;

use super::Error;
use super::resolver::Resolver;
use crate::credentials::{self, Certificate, Loaded, RevocationList, TokenSource, Watched};
use crate::hop::Hop;
use crate::metrics::Metrics;
use authorization::{Authorization, Purse, Shown};
use connector::Connector;
use patience::Patience;
use pool::Pool;
use response::Incoming;

/// A client for one source.
#[derive(Clone)]
pub struct Client {
    access: Arc<Watched<Access>>,
    purse: Arc<Purse>,
    /// For whom requests are sent, if the server decides for each user.
    user: Option<Arc<User>>,
    resolver: Resolver,
    pub(super) connect: Duration,
    pub(super) first_byte: Duration,
    patience: Patience,
}

/// Credentials, and the connections that were opened with them.
#[derive(Debug)]
struct Access {
    pool: Pool,
    authorization: Authorization,
    tls: Arc<ClientConfig>,
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
        let keeps_spare = settings.keeps_spare;
        let authorization = settings.authorization.clone();
        let authorization = authorization.or_else(|| token.map(AuthorizationSettings::Token));
        let secrets = authorization.iter().flat_map(AuthorizationSettings::paths);
        let paths = files.paths().chain(secrets).cloned().collect();
        let purse = Arc::new(Purse::new(name));
        let shared = Arc::clone(&purse);
        let access = Watched::load(name, paths, move || {
            let mut tls = files.load()?;
            let authorization = Authorization::load(authorization.as_ref(), &shared)?;
            tls.revocation_lists
                .extend(authorization.revocation_lists());
            Ok(Loaded {
                certificate: tls.certificate,
                revocation_lists: tls.revocation_lists,
                value: Access {
                    pool: Pool::new(
                        version,
                        Connector::new(names.clone(), version.offered(&tls.value), connect),
                        connect,
                        keeps_spare,
                    ),
                    authorization,
                    tls: Arc::new(tls.value),
                },
            })
        })?;
        Ok(Self {
            access: Arc::new(access),
            purse,
            user: None,
            resolver,
            connect,
            first_byte: Duration::from_secs(settings.first_byte_seconds),
            patience: Patience::new(
                Duration::from_secs(settings.silence_seconds),
                settings.slowest_bytes_per_second,
            ),
        })
    }

    /// Watches its credentials, and uses new ones for new connections. Fetches the first access
    /// token, if the server needs one.
    pub fn watch(&self, metrics: &Metrics) {
        self.access.watch(metrics);
        self.purse.watch(metrics);
        self.access.current().value.authorization.prepare();
    }

    /// The same client for the requests of a user.
    #[must_use]
    pub fn of_user(&self, user: Arc<User>) -> Self {
        Self {
            user: Some(user),
            ..self.clone()
        }
    }

    /// Whether what it sends depends on the user.
    #[must_use]
    pub fn is_per_user(&self) -> bool {
        self.access.current().value.authorization.is_per_user()
    }

    /// The resolver for its server's name.
    #[must_use]
    pub fn resolver(&self) -> &Resolver {
        &self.resolver
    }

    /// Its client certificate, if it has one.
    #[must_use]
    pub fn certificate(&self) -> Option<Certificate> {
        self.access.current().certificate.clone()
    }

    /// The certificate revocation lists for its server's certificate.
    #[must_use]
    pub fn revocation_lists(&self) -> Vec<RevocationList> {
        self.access.current().revocation_lists.clone()
    }

    /// Its TLS configuration.
    pub(super) fn tls(&self) -> Arc<ClientConfig> {
        Arc::clone(&self.access.current().value.tls)
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

    /// Asks what a server offers: `OPTIONS`, for an answer in JSON (PS3.18 8.9).
    ///
    /// # Errors
    /// As [`Client::get`].
    pub async fn options(&self, uri: &Uri, hop: &Hop) -> Result<Response, Error> {
        let mut request = Request::new(Full::default());
        *request.method_mut() = Method::OPTIONS;
        *request.uri_mut() = uri.clone();
        let headers = request.headers_mut();
        headers.insert(ACCEPT, HeaderValue::from_static("application/json"));
        headers.extend(hop.fields());
        self.send(request).await
    }

    /// Sends a request that contains nothing of a client's. A rejected access token is replaced
    /// once, and the request repeated once.
    ///
    /// # Errors
    /// As [`Client::get`]; [`Error::NoToken`] without an access token.
    pub async fn send(&self, mut request: Request<Full<Bytes>>) -> Result<Response, Error> {
        let headers = request.headers_mut();
        headers.insert(USER_AGENT, HeaderValue::from_static(AGENT));
        let current = self.access.current();
        let Access {
            pool,
            authorization,
            ..
        } = &current.value;
        let Shown { value, token } = authorization.show(self.user.as_ref()).await?;
        let repeated = token.map(|_issued| request.clone());
        let response = self.send_as(value, pool, request).await?;
        match repeated {
            Some(again) if response.status == StatusCode::UNAUTHORIZED => {
                // It is boxed because every request has a place for it, and few need it.
                let renewing = Box::pin(authorization.renew(self.user.as_ref(), token));
                match renewing.await {
                    Some(renewed) => Box::pin(self.send_as(renewed.value, pool, again)).await,
                    None => Ok(response),
                }
            }
            Some(_) | None => Ok(response),
        }
    }

    async fn send_as(
        &self,
        authorization: Option<HeaderValue>,
        pool: &Pool,
        mut request: Request<Full<Bytes>>,
    ) -> Result<Response, Error> {
        let headers = request.headers_mut();
        headers.extend(authorization.map(|value| (AUTHORIZATION, value)));
        // A server can close an idle connection just as it is reused, and some servers crash on a
        // request and restart. One retry is cheap, because no byte has been delivered yet.
        let again = request.clone();
        let began = Instant::now();
        let response = match self.try_send(pool, request, None).await {
            Err(Error::Unreachable | Error::HungUp) => {
                self.try_send(pool, again, Some(began)).await?
            }
            other => other?,
        };
        let (head, incoming) = response.into_parts();
        Ok(Response {
            status: head.status,
            headers: head.headers,
            body: ResponseBody::new(incoming, self.patience),
        })
    }

    async fn try_send(
        &self,
        pool: &Pool,
        request: Request<Full<Bytes>>,
        since: Option<Instant>,
    ) -> Result<http::Response<Incoming>, Error> {
        // The connect time-out bounds TCP; this one also covers TLS.
        let sending = pool.send(request, since);
        match timeout(self.connect + self.first_byte, sending).await {
            Ok(outcome) => Ok(outcome?),
            Err(_elapsed) => Err(Error::TimedOut),
        }
    }
}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Client")
            .field("access", &self.access)
            .finish_non_exhaustive()
    }
}

const AGENT: &str = concat!("xcwado/", env!("CARGO_PKG_VERSION"));

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
