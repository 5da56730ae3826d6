//! A bounded document at a configured URL of a server that is no source: tokens, keys and
//! introspections of authorization servers.

use std::time::Duration;

use bytes::Bytes;
use http::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE, HeaderMap, HeaderValue, USER_AGENT};
use http::{Method, Request, StatusCode, Uri};
use http_body_util::Full;
use tokio::time::Instant;

use super::connector::Connector;
use super::patience::Patience;
use super::pool::Pool;
use super::response::ResponseBody;
use super::settings::HttpVersion;
use crate::credentials::{ClientFiles, Error, RevocationList};
use crate::network::Network;
use crate::source;
use crate::source::resolver::Resolver;

const CONNECT: Duration = Duration::from_secs(5);
const SILENCE: Duration = Duration::from_secs(5);
const FORM: &str = "application/x-www-form-urlencoded";

/// A configured URL, and how to connect to its server.
#[derive(Debug)]
pub struct Endpoint {
    uri: Uri,
    pool: Pool,
    revocation_lists: Vec<RevocationList>,
}

/// A form for an endpoint.
pub struct Form {
    /// Its fields, encoded.
    pub fields: String,
    /// The `Authorization` field beside it.
    pub authorization: Option<HeaderValue>,
}

/// The answer of an endpoint; redirects are not followed.
#[derive(Debug)]
pub struct Document {
    /// Its status.
    pub status: StatusCode,
    /// Its header fields.
    pub headers: HeaderMap,
    /// Its bytes; `None` if the connection broke, or if there are too many.
    pub body: Option<Vec<u8>>,
}

impl Endpoint {
    /// The endpoint at a URL, with these TLS files; its name may resolve to these internal networks.
    ///
    /// # Errors
    /// If the URL or the files are unusable.
    pub fn open(url: &str, files: &ClientFiles, networks: &[Network]) -> Result<Self, Error> {
        let uri: Uri = url.parse().map_err(|_invalid| Error::NotAUrl)?;
        if !matches!(uri.scheme_str(), Some("http" | "https")) || uri.host().is_none() {
            return Err(Error::NotAUrl);
        }
        let tls = files.load()?;
        let connector = Connector::new(Resolver::new(networks), tls.value, CONNECT);
        Ok(Self {
            uri,
            pool: Pool::new(HttpVersion::Http1, connector, CONNECT, false),
            revocation_lists: tls.revocation_lists,
        })
    }

    /// The certificate revocation lists for its server's certificate.
    #[must_use]
    pub fn revocation_lists(&self) -> &[RevocationList] {
        &self.revocation_lists
    }

    /// Fetches a document of at most `largest` bytes. The caller bounds the time.
    ///
    /// # Errors
    /// [`source::Error::Unreachable`], [`source::Error::HungUp`] or [`source::Error::TimedOut`].
    pub async fn get(&self, largest: usize) -> Result<Document, source::Error> {
        self.exchange(Request::new(Full::default()), largest).await
    }

    /// Posts a form, and fetches the answer of at most `largest` bytes.
    ///
    /// # Errors
    /// As [`Endpoint::get`].
    pub async fn post(&self, form: Form, largest: usize) -> Result<Document, source::Error> {
        let mut request = Request::new(Full::from(form.fields));
        *request.method_mut() = Method::POST;
        let headers = request.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static(FORM));
        headers.extend(form.authorization.map(|value| (AUTHORIZATION, value)));
        self.exchange(request, largest).await
    }

    async fn exchange(
        &self,
        mut request: Request<Full<Bytes>>,
        largest: usize,
    ) -> Result<Document, source::Error> {
        *request.uri_mut() = self.uri.clone();
        let headers = request.headers_mut();
        headers.insert(ACCEPT, HeaderValue::from_static("application/json"));
        headers.insert(USER_AGENT, HeaderValue::from_static(super::AGENT));
        // A connection of its own: the server may close an idle one at any time.
        let response = self.pool.send(request, Some(Instant::now())).await?;
        let (head, incoming) = response.into_parts();
        let body = ResponseBody::new(incoming, Patience::new(SILENCE, 0));
        Ok(Document {
            status: head.status,
            headers: head.headers,
            body: body.collect(largest).await.ok(),
        })
    }
}
