//! TLS with whoever connects, and what they prove in it.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use rustls::ServerConfig;
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

use crate::credentials::Certificate;

/// A connection that requests can come over.
pub(super) enum Stream {
    Plain(TcpStream),
    Tls(Box<TlsStream<TcpStream>>),
}

/// Why there is no connection.
#[derive(Debug, thiserror::Error)]
pub(super) enum Error {
    #[error(transparent)]
    Failed(#[from] io::Error),
    #[error("it took too long")]
    TimedOut,
    #[error("the certificate cannot be read")]
    Unreadable,
}

/// Shakes hands; gives the certificate that was shown, if one was asked for.
pub(super) async fn accept(
    stream: TcpStream,
    config: Arc<ServerConfig>,
    limit: Duration,
) -> Result<(TlsStream<TcpStream>, Option<Arc<Certificate>>), Error> {
    let shaking = TlsAcceptor::from(config).accept(stream);
    let stream = timeout(limit, shaking)
        .await
        .map_err(|_elapsed| Error::TimedOut)??;
    let shown = stream.get_ref().1.peer_certificates();
    let certificate = match shown.and_then(<[_]>::first) {
        // Whoever shows something that cannot be read must not pass for somebody who shows nothing.
        Some(der) => Some(Arc::new(Certificate::read(der).ok_or(Error::Unreadable)?)),
        None => None,
    };
    Ok((stream, certificate))
}
