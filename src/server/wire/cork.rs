//! The cork of an HTTP/2 connection with TLS: h2 flushes after each frame of 16 KiB, which would be
//! a call to the system and a short record of its own. While the connection is polled, encrypted
//! bytes stay where TLS keeps them, until there are many or the connection has no more for now.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// The bytes that are sent at once, whether more follow or not. It is below the bound on what TLS
/// keeps.
const MANY: usize = 128 << 10;

/// What a connection and its socket share. Only the task of the connection uses it.
#[derive(Debug, Default)]
pub(in crate::server) struct Cork {
    is_in: AtomicBool,
    /// Whether bytes are left: held back, or because the socket was full.
    has_left: AtomicBool,
}

impl Cork {
    /// Polls a connection. What it held back is sent by a second poll, which also sees to it that
    /// the task is woken if the socket is full.
    pub(in crate::server) fn while_in<T>(&self, mut poll: impl FnMut() -> Poll<T>) -> Poll<T> {
        self.is_in.store(true, Ordering::Relaxed);
        let polled = poll();
        self.is_in.store(false, Ordering::Relaxed);
        match self.has_left.swap(false, Ordering::Relaxed) && polled.is_pending() {
            true => poll(),
            false => polled,
        }
    }

    /// Whether the socket holds so many bytes back.
    pub(super) fn holds(&self, bytes: usize) -> bool {
        let holds = self.is_in.load(Ordering::Relaxed) && bytes < MANY;
        if holds {
            self.leave();
        }
        holds
    }

    /// Bytes are left: the next poll sends them, also if the connection has nothing to add.
    pub(super) fn leave(&self) {
        self.has_left.store(true, Ordering::Relaxed);
    }
}

/// A stream whose flushes wait while the cork is in.
#[derive(Debug)]
pub(in crate::server) struct Corked<S> {
    stream: S,
    cork: Arc<Cork>,
}

impl<S> Corked<S> {
    pub(in crate::server) fn new(stream: S, cork: Arc<Cork>) -> Self {
        Self { stream, cork }
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Corked<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(context, buffer)
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Corked<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(context, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(context, bytes)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.cork.is_in.load(Ordering::Relaxed) {
            true => Poll::Ready(Ok(())),
            false => Pin::new(&mut self.stream).poll_flush(context),
        }
    }

    /// The end is sent with everything before it.
    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.cork.is_in.store(false, Ordering::Relaxed);
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    use super::*;

    #[test]
    fn few_bytes_are_held_while_it_is_in_and_lead_to_a_second_poll() {
        let cork = Cork::default();
        assert!(!cork.holds(1));
        let mut polls = 0;
        let polled: Poll<()> = cork.while_in(|| {
            polls += 1;
            let (few, many) = (cork.holds(1), cork.holds(MANY));
            assert_eq!((few, many), (polls == 1, false));
            Poll::Pending
        });
        assert!(polled.is_pending());
        assert_eq!(polls, 2);
        // Nothing is held: one poll is enough.
        let mut polls = 0;
        let polled: Poll<()> = cork.while_in(|| {
            polls += 1;
            assert!(!cork.holds(MANY));
            Poll::Pending
        });
        assert!(polled.is_pending());
        assert_eq!(polls, 1);
        let polled = cork.while_in(|| {
            assert!(cork.holds(1));
            Poll::Ready(())
        });
        assert!(polled.is_ready(), "the end has sent what was held");
        // The socket was full: the next poll goes on.
        cork.leave();
        let mut polls = 0;
        let polled: Poll<()> = cork.while_in(|| {
            polls += 1;
            Poll::Pending
        });
        assert!(polled.is_pending());
        assert_eq!(polls, 2);
    }

    #[tokio::test]
    async fn a_flush_waits_for_the_cork_and_the_end_does_not() {
        let (ours, mut theirs) = tokio::io::duplex(64);
        let cork = Arc::new(Cork::default());
        let mut corked = Corked::new(tokio::io::BufWriter::new(ours), Arc::clone(&cork));
        cork.is_in.store(true, Ordering::Relaxed);
        corked.write_all(b"one").await.expect("written");
        corked.flush().await.expect("flushed");
        let mut seen = [0; 8];
        let nothing =
            tokio::time::timeout(std::time::Duration::from_millis(20), theirs.read(&mut seen));
        assert!(nothing.await.is_err());
        corked.shutdown().await.expect("ended");
        let mut all = Vec::new();
        theirs.read_to_end(&mut all).await.expect("read");
        assert_eq!(all, b"one");
    }
}
