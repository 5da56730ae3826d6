//! The socket of a connection, below TLS: its writes, and its blocking, are activity.

mod cork;

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http::Version;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;

use super::activity::Activity;
pub(super) use cork::{Cork, Corked};

/// A socket that reports its writes.
#[derive(Debug)]
pub(super) struct Wire {
    socket: TcpStream,
    activity: Arc<Activity>,
    /// What holds short writes back, if something does.
    cork: Option<Arc<Cork>>,
    /// Bytes that have been read, and put back.
    unread: Bytes,
}

/// The first bytes of an HTTP/2 connection (RFC 9113 3.4).
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
/// The pause before a part of the preface is looked at again.
const PAUSE: Duration = Duration::from_millis(10);

impl Wire {
    pub(super) fn new(socket: TcpStream, activity: Arc<Activity>) -> Self {
        Self {
            socket,
            activity,
            cork: None,
            unread: Bytes::new(),
        }
    }

    /// Lets a cork hold short writes back.
    pub(super) fn cork(&mut self, cork: Arc<Cork>) {
        self.cork = Some(cork);
    }

    /// Whether so many bytes are not sent yet. Nobody is woken: the connection is polled again.
    fn is_corked(&self, bytes: usize) -> bool {
        self.cork.as_ref().is_some_and(|cork| cork.holds(bytes))
    }

    /// Puts bytes back that have been read.
    pub(super) fn put_back(&mut self, bytes: Bytes) {
        self.unread = bytes;
    }

    /// Whether there are bytes that have been put back.
    pub(super) fn has_unread(&self) -> bool {
        !self.unread.is_empty()
    }

    /// Waits for the first bytes of a request, and leaves them there. Returns their version of
    /// HTTP: 1.1 for whatever is not the preface of HTTP/2.
    ///
    /// # Errors
    /// If the client has closed the connection.
    pub(super) async fn version(&self) -> io::Result<Version> {
        if !self.unread.is_empty() {
            return Ok(Version::HTTP_11);
        }
        let mut first = [0; PREFACE.len()];
        loop {
            let seen = self.socket.peek(&mut first).await?;
            if seen == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            if !PREFACE.starts_with(&first[..seen]) {
                return Ok(Version::HTTP_11);
            }
            if seen == PREFACE.len() {
                return Ok(Version::HTTP_2);
            }
            tokio::time::sleep(PAUSE).await;
        }
    }

    fn tell(&self, written: Poll<io::Result<usize>>) -> Poll<io::Result<usize>> {
        match &written {
            Poll::Pending => {
                self.activity.is_blocked();
                if let Some(cork) = &self.cork {
                    cork.leave();
                }
            }
            Poll::Ready(Ok(bytes)) => self.activity.wrote(*bytes),
            Poll::Ready(Err(_broken)) => {}
        }
        written
    }
}

impl AsyncRead for Wire {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if !self.unread.is_empty() {
            let length = self.unread.len().min(buffer.remaining());
            buffer.put_slice(&self.unread.split_to(length));
            return Poll::Ready(Ok(()));
        }
        Pin::new(&mut self.socket).poll_read(context, buffer)
    }
}

impl AsyncWrite for Wire {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        if self.is_corked(bytes.len()) {
            return Poll::Pending;
        }
        let written = Pin::new(&mut self.socket).poll_write(context, bytes);
        self.tell(written)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        if self.is_corked(bytes.iter().map(|slice| slice.len()).sum()) {
            return Poll::Pending;
        }
        let written = Pin::new(&mut self.socket).poll_write_vectored(context, bytes);
        self.tell(written)
    }

    fn is_write_vectored(&self) -> bool {
        self.socket.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.socket).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.socket).poll_shutdown(context)
    }
}
