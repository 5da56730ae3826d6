//! A step-by-step connection test for operators: TCP, TLS, and the server's certificate.

use std::io;

use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use url::Url;

use super::client::{Client, server_name};
use super::resolver;
use crate::credentials::Certificate;

/// The result of a connection test.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Greeting {
    /// The TLS session; `None` for plain HTTP.
    pub tls: Option<Tls>,
}

/// A TLS session.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tls {
    /// Its version, as rustls names it.
    pub version: String,
    /// The server's certificate.
    pub certificate: Option<Certificate>,
}

/// The failed step.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The name cannot be resolved, or resolves to a refused network.
    #[error(transparent)]
    Name(#[from] resolver::Error),
    /// The connection failed.
    #[error("{0}")]
    Tcp(io::Error),
    /// The TLS handshake failed.
    #[error("{0}")]
    Tls(io::Error),
}

impl Client {
    /// Connects to a server without a request.
    ///
    /// # Errors
    /// The failed step.
    pub async fn greet(&self, server: &Url) -> Result<Greeting, Error> {
        let late = |_elapsed| io::Error::from(io::ErrorKind::TimedOut);
        let addresses = timeout(self.connect, self.resolver().addresses(server));
        let addresses = addresses.await.map_err(late).map_err(Error::Tcp)??;
        let connecting = timeout(self.connect, TcpStream::connect(&*addresses));
        let connected = connecting.await.map_err(late).flatten();
        let stream = connected.map_err(Error::Tcp)?;
        if server.scheme() != "https" {
            return Ok(Greeting { tls: None });
        }
        let shaking = timeout(self.first_byte, self.shake_hands(server, stream));
        let tls = shaking.await.map_err(late).flatten().map_err(Error::Tls)?;
        Ok(Greeting { tls: Some(tls) })
    }

    async fn shake_hands(&self, server: &Url, stream: TcpStream) -> io::Result<Tls> {
        let name = server_name(server.host_str().unwrap_or_default())?;
        let connector = TlsConnector::from(self.tls());
        let stream = connector.connect(name, stream).await?;
        let session = stream.get_ref().1;
        let shown = session.peer_certificates().and_then(<[_]>::first);
        Ok(Tls {
            version: session
                .protocol_version()
                .map_or(String::new(), |version| format!("{version:?}")),
            certificate: shown.and_then(Certificate::read),
        })
    }
}
