//! The connections to a source, over one version of HTTP.

use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::Full;
use rustls::ClientConfig;
use tokio::time::Instant;

use super::connector::Connector;
use super::error::Error;
use super::response::Incoming;
use super::settings::HttpVersion;
use super::{http1, http2};
use crate::source::resolver::Resolver;

/// Connections with the same credentials.
#[derive(Debug)]
pub(super) enum Pool {
    Http1(http1::Pool),
    Http2(Box<http2::Pool>),
}

impl Pool {
    pub(super) fn new(
        version: HttpVersion,
        names: Resolver,
        mut tls: ClientConfig,
        connect: Duration,
    ) -> Self {
        if version == HttpVersion::Http2 {
            tls.alpn_protocols = vec![b"h2".to_vec()];
        }
        let connector = Connector::new(names, tls, connect);
        match version {
            HttpVersion::Http1 => Self::Http1(http1::Pool::new(connector)),
            HttpVersion::Http2 => Self::Http2(Box::new(http2::Pool::new(connector, connect))),
        }
    }

    /// Sends a request, over a connection that was opened no earlier than `since`.
    pub(super) async fn send(
        &self,
        request: Request<Full<Bytes>>,
        since: Option<Instant>,
    ) -> Result<Response<Incoming>, Error> {
        match self {
            Self::Http1(pool) => {
                let response = pool.send(request, since).await?;
                Ok(response.map(Incoming::Http1))
            }
            Self::Http2(pool) => {
                let response = pool.send(request, since).await?;
                Ok(response.map(Incoming::Http2))
            }
        }
    }
}
