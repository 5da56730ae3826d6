//! TCP connections to servers, with a buffer below TLS.
//!
//! rustls reads 4 KiB at a time, so each record of 16 KiB would take about five system calls.

use std::future::Future;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use http::Uri;
use hyper::rt;
use hyper_util::client::legacy::connect::{Connected, Connection, HttpConnector};
use hyper_util::rt::TokioIo;
use tokio::io::BufReader;
use tokio::net::TcpStream;
use tower_service::Service;

use super::resolver::Resolver;

/// The read buffer of a TLS connection.
const READ_BUFFER: usize = 128 << 10;

/// Connects to servers.
#[derive(Debug, Clone)]
pub(super) struct Connector(HttpConnector<Resolver>);

/// A connection.
#[derive(Debug)]
pub(super) struct Stream(TokioIo<BufReader<TcpStream>>);

impl Connector {
    pub(super) fn new(tcp: HttpConnector<Resolver>) -> Self {
        Self(tcp)
    }
}

type Connecting = Pin<Box<dyn Future<Output = Result<Stream, Error>> + Send>>;
type Error = <HttpConnector<Resolver> as Service<Uri>>::Error;

impl Service<Uri> for Connector {
    type Response = Stream;
    type Error = Error;
    type Future = Connecting;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Error>> {
        self.0.poll_ready(context)
    }

    fn call(&mut self, uri: Uri) -> Connecting {
        // Without TLS, hyper reads large blocks itself and bypasses a smaller buffer.
        let is_tls = uri.scheme_str() == Some("https");
        let buffer = if is_tls { READ_BUFFER } else { 1 };
        let connecting = self.0.call(uri);
        Box::pin(async move {
            let stream = connecting.await?.into_inner();
            let stream = BufReader::with_capacity(buffer, stream);
            Ok(Stream(TokioIo::new(stream)))
        })
    }
}

impl Connection for Stream {
    fn connected(&self) -> Connected {
        self.0.inner().get_ref().connected()
    }
}

impl rt::Read for Stream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: rt::ReadBufCursor<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_read(context, buffer)
    }
}

impl rt::Write for Stream {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_shutdown(context)
    }

    fn is_write_vectored(&self) -> bool {
        self.0.is_write_vectored()
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_write_vectored(context, bytes)
    }
}
