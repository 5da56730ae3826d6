//! TLS with whoever connects, and what they prove in it.

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

/// A connection that requests can come over.
pub(super) enum Stream {
    Plain(Wire),
    Tls(Box<TlsStream<Wire>>),
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
    wire: Wire,
    tls: &ServerTls,
    limit: Duration,
    occupant: &Occupant,
) -> Result<(TlsStream<Wire>, Option<Arc<Certificate>>), Error> {
    let shaking = TlsAcceptor::from(Arc::clone(&tls.config)).accept(wire);
    let stream = timeout(limit, shaking)
        .await
        .map_err(|_elapsed| Error::TimedOut)??;
    let Some(chain) = stream.get_ref().1.peer_certificates() else {
        return Ok((stream, None));
    };
    // Whoever shows something that cannot be read must not pass for somebody who shows nothing.
    let shown = chain.first().and_then(Certificate::read);
    let shown = shown.ok_or(Error::Unreadable)?;
    // Nobody has set it before.
    let _first = occupant.proof.set(Proof::new(chain));
    Ok((stream, Some(Arc::new(shown))))
}
