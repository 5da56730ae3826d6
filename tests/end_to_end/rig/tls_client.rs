//! A TLS client, with or without a certificate, that reports refused connections.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use bytes::Bytes;
use http::Method;
use hyper::client::conn::{http1, http2};
use hyper_util::rt::{TokioExecutor, TokioIo};
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, SupportedProtocolVersion};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use crate::rig::authority::{Authority, Issued};
use crate::rig::client::{Answer, Stream, request};

/// A client of one server.
pub(crate) struct TlsClient {
    address: SocketAddr,
    config: ClientConfig,
}

/// The server refused the handshake or did not answer the request.
#[derive(Debug)]
pub(crate) struct NoAnswer;

impl TlsClient {
    /// A client that trusts `authority` and shows a certificate or none.
    pub(crate) fn new(address: SocketAddr, authority: &Authority, shown: Option<&Issued>) -> Self {
        Self::of_versions(rustls::ALL_VERSIONS, address, authority, shown)
    }

    /// As [`TlsClient::new`], in these versions of TLS only.
    pub(crate) fn of_versions(
        versions: &[&'static SupportedProtocolVersion],
        address: SocketAddr,
        authority: &Authority,
        shown: Option<&Issued>,
    ) -> Self {
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let builder = ClientConfig::builder_with_provider(provider)
            .with_protocol_versions(versions)
            .expect("versions")
            .with_root_certificates(authority.roots());
        let config = match shown {
            None => builder.with_no_client_auth(),
            Some(shown) => builder
                .with_client_auth_cert(vec![shown.certificate.clone()], shown.private_key())
                .expect("a client"),
        };
        Self { address, config }
    }

    /// This client, which offers these protocols (ALPN).
    pub(crate) fn offering(mut self, protocols: &[&str]) -> Self {
        let protocols = protocols.iter().map(|name| name.as_bytes().to_vec());
        self.config.alpn_protocols = protocols.collect();
        self
    }

    /// Completes the handshake on this side; in TLS 1.3 the server may still refuse.
    pub(crate) async fn connect(&self) -> io::Result<TlsStream<TcpStream>> {
        let socket = TcpStream::connect(self.address).await?;
        let name = ServerName::from(self.address.ip());
        let connector = TlsConnector::from(Arc::new(self.config.clone()));
        connector.connect(name, socket).await
    }

    /// The certificate that the server shows.
    pub(crate) async fn server_certificate(&self) -> CertificateDer<'static> {
        let stream = self.connect().await.expect("a handshake");
        let chain = stream.get_ref().1.peer_certificates().expect("a server");
        chain[0].clone()
    }

    /// Sends a request; over HTTP/2 if that was agreed on.
    pub(crate) async fn open(
        &self,
        method: Method,
        path: &str,
        fields: &[(&str, &str)],
    ) -> Result<Stream, NoAnswer> {
        let stream = self.connect().await.map_err(|_refused| NoAnswer)?;
        let is_http2 = stream.get_ref().1.alpn_protocol() == Some(b"h2");
        let response = if is_http2 {
            let uri = format!("https://{}{path}", self.address);
            let request = request(method, &uri, fields, self.address, Bytes::new());
            let shaking = http2::handshake(TokioExecutor::new(), TokioIo::new(stream));
            let (mut sender, connection) = shaking.await.map_err(|_refused| NoAnswer)?;
            tokio::spawn(connection);
            sender.send_request(request).await
        } else {
            let request = request(method, path, fields, self.address, Bytes::new());
            let shaking = http1::handshake(TokioIo::new(stream));
            let (mut sender, connection) = shaking.await.map_err(|_refused| NoAnswer)?;
            tokio::spawn(connection);
            sender.send_request(request).await
        };
        Ok(Stream::new(response.map_err(|_refused| NoAnswer)?))
    }

    pub(crate) async fn get(
        &self,
        path: &str,
        fields: &[(&str, &str)],
    ) -> Result<Answer, NoAnswer> {
        Ok(self.open(Method::GET, path, fields).await?.read().await)
    }
}
