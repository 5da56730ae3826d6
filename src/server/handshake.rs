//! TLS handshakes, and the client certificates in them.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::timeout;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

use super::proof::Proof;
use super::seats::Occupant;
use super::wire::Wire;
use crate::credentials::{Certificate, ServerTls};

/// Encrypted bytes that wait for the socket: an instance of a CT is one write. The default of
/// 64 KiB makes three.
const WRITE_BUFFER: usize = 256 << 10;

/// A connection ready for requests.
pub(super) enum Stream {
    Plain(Wire),
    Tls(Box<TlsStream<Wire>>),
}

/// Why a handshake failed.
#[derive(Debug, thiserror::Error)]
pub(super) enum Error {
    #[error(transparent)]
    Failed(#[from] io::Error),
    #[error("the handshake timed out")]
    TimedOut,
    #[error("the certificate cannot be read")]
    Unreadable,
}

/// Performs the handshake; returns the client certificate, if one was requested.
pub(super) async fn accept(
    wire: Wire,
    tls: &ServerTls,
    limit: Duration,
    occupant: &Occupant,
) -> Result<(TlsStream<Wire>, Option<Arc<Certificate>>), Error> {
    let shaking = TlsAcceptor::from(Arc::clone(&tls.config)).accept(wire);
    let mut stream = timeout(limit, shaking)
        .await
        .map_err(|_elapsed| Error::TimedOut)??;
    stream.get_mut().1.set_buffer_limit(Some(WRITE_BUFFER));
    let Some(chain) = stream.get_ref().1.peer_certificates() else {
        return Ok((stream, None));
    };
    // A client with an unreadable certificate must not pass for a client without one.
    let shown = chain.first().and_then(Certificate::read);
    let shown = shown.ok_or(Error::Unreadable)?;
    // It is set only here.
    let _first = occupant.proof.set(Proof::new(chain));
    Ok((stream, Some(Arc::new(shown))))
}
