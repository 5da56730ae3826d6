//! The connections to a source, over one version of HTTP.

use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::Full;
use tokio::time::Instant;

use super::connector::Connector;
use super::error::Error;
use super::response::Incoming;
use super::settings::HttpVersion;
use super::{http1, http2};

/// Connections with the same credentials.
#[derive(Debug)]
pub(super) enum Pool {
    Http1(http1::Pool),
    Http2(Box<http2::Pool>),
}

impl Pool {
    pub(super) fn new(
        version: HttpVersion,
        connector: Connector,
        connect: Duration,
        keeps_spare: bool,
    ) -> Self {
        match version {
            HttpVersion::Http1 => Self::Http1(http1::Pool::new(connector, keeps_spare)),
            HttpVersion::Http2 => {
                let pool = http2::Pool::new(connector, connect, keeps_spare);
                Self::Http2(Box::new(pool))
            }
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
