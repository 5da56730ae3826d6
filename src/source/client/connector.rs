//! Connects to servers, with or without TLS.

use std::error::Error as StdError;
use std::future::poll_fn;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use http::Uri;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioIo;
use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use tokio::io::BufReader;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tokio_util::either::Either;
use tower_service::Service;

use crate::source::resolver::Resolver;

/// The read buffer below TLS. rustls reads 4 KiB at a time, so each record of 16 KiB would take
/// about five system calls.
const READ_BUFFER: usize = 128 << 10;

/// Connects to servers.
#[derive(Debug, Clone)]
pub(super) struct Connector {
    tcp: HttpConnector<Resolver>,
    tls: Arc<ClientConfig>,
}

/// A connection.
pub(super) type Stream = TokioIo<Either<TcpStream, TlsStream<BufReader<TcpStream>>>>;

/// Why there is no connection.
pub(super) type Error = Box<dyn StdError + Send + Sync>;

impl Connector {
    /// A connector that takes at most this long for TCP.
    pub(super) fn new(names: Resolver, tls: ClientConfig, longest: Duration) -> Self {
        let mut tcp = HttpConnector::new_with_resolver(names);
        tcp.enforce_http(false);
        tcp.set_nodelay(true);
        tcp.set_connect_timeout(Some(longest));
        let tls = Arc::new(tls);
        Self { tcp, tls }
    }

    /// A connection to the server of a URL.
    pub(super) async fn connect(&self, uri: &Uri) -> Result<Stream, Error> {
        let mut tcp = self.tcp.clone();
        poll_fn(|context| tcp.poll_ready(context)).await?;
        let stream = tcp.call(uri.clone()).await?.into_inner();
        let stream = match uri.scheme_str() {
            Some("https") => Either::Right(self.shake_hands(uri, stream).await?),
            Some(_) | None => Either::Left(stream),
        };
        Ok(TokioIo::new(stream))
    }

    async fn shake_hands(
        &self,
        uri: &Uri,
        stream: TcpStream,
    ) -> io::Result<TlsStream<BufReader<TcpStream>>> {
        let name = server_name(uri.host().unwrap_or_default())?;
        let stream = BufReader::with_capacity(READ_BUFFER, stream);
        let tls = TlsConnector::from(Arc::clone(&self.tls));
        tls.connect(name, stream).await
    }
}

/// The name in a server's certificate.
pub(in crate::source) fn server_name(host: &str) -> io::Result<ServerName<'static>> {
    let host = host.trim_start_matches('[').trim_end_matches(']');
    ServerName::try_from(host.to_owned()).map_err(io::Error::other)
}
