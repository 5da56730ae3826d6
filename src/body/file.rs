//! Bodies of files: read from any offset on, and continued from elsewhere if they cannot be read.

use std::fmt;
use std::fs::File;
use std::future::Future;
use std::io::{self, IoSliceMut};
use std::pin::Pin;
use std::sync::Arc;

use bytes::{Buf, Bytes};
use tokio::task::spawn_blocking;

use super::{Body, CHUNK, Error, Kind, Wait, within};

/// Bytes that can be read from any place on, as those of a file.
pub trait Content: fmt::Debug + Send + Sync {
    /// At least one and at most `most` bytes from `at` on.
    ///
    /// # Errors
    /// If they cannot be read, or fail their verification; [`io::ErrorKind::WouldBlock`] if they
    /// cannot be read without waiting.
    fn read(&self, at: u64, most: usize, wait: Wait) -> io::Result<Bytes>;

    /// The bytes from `at` on, from elsewhere: they cannot be read here.
    fn elsewhere(self: Arc<Self>, at: u64) -> Elsewhere;
}

/// Gives the body with which another one continues.
pub type Elsewhere = Pin<Box<dyn Future<Output = Result<Body, Error>> + Send>>;

impl Content for File {
    fn read(&self, at: u64, most: usize, wait: Wait) -> io::Result<Bytes> {
        let mut chunk = vec![0; most.min(CHUNK)];
        wait.read_exact_at(self, &mut [IoSliceMut::new(&mut chunk)], at)?;
        Ok(chunk.into())
    }

    fn elsewhere(self: Arc<Self>, _at: u64) -> Elsewhere {
        Box::pin(std::future::ready(Err(Error::Unreadable)))
    }
}

/// A place in a file.
pub(super) struct Span {
    file: Arc<dyn Content>,
    /// Where the body begins.
    offset: u64,
    /// How much of it is behind.
    pub(super) read: u64,
}

/// Reads here if the page cache has the bytes: waking another thread costs as much as the read.
async fn read_chunk(
    file: &Arc<dyn Content>,
    at: u64,
    most: usize,
) -> Result<io::Result<Bytes>, Error> {
    match file.read(at, most, Wait::Never) {
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
            let file = Arc::clone(file);
            let reading = spawn_blocking(move || file.read(at, most, Wait::ForDevice));
            reading.await.map_err(|_panic| Error::Abandoned)
        }
        read => Ok(read),
    }
}

impl Body {
    /// `length` bytes of a file, from `offset` on. If the file cannot be read, the body continues
    /// with bytes from elsewhere.
    #[must_use]
    pub fn file(file: Arc<dyn Content>, offset: u64, length: u64) -> Self {
        let of = Arc::clone(&file);
        let mut body = Self::generate(Some(length), move |out| async move {
            let mut read = 0;
            while read < length {
                let at = offset + read;
                let wanted = usize::try_from(length - read).unwrap_or(CHUNK).min(CHUNK);
                let Ok(chunk) = read_chunk(&of, at, wanted).await? else {
                    let rest = Arc::clone(&of).elsewhere(at).await?;
                    return rest.emit_to(&out, length - read).await;
                };
                read += chunk.len() as u64;
                out.emit(chunk).await?;
            }
            Ok(())
        });
        body.file = Some(Span {
            file,
            offset,
            read: 0,
        });
        body
    }

    /// Passes over the next bytes without reading them, if they are of a file or their producer can
    /// do so; whether it did. Beyond a known end there is nothing.
    pub fn pass_over(&mut self, length: u64) -> bool {
        if let Some((skip, passed)) = &mut self.skip {
            let end = passed.saturating_add(length);
            if self.length.is_some_and(|length| end > length) || matches!(self.kind, Kind::Ended) {
                return false;
            }
            *passed = end;
            skip.add(length);
            return true;
        }
        let (Some(span), Some(whole)) = (&self.file, self.length) else {
            return false;
        };
        let passed = span.read.saturating_add(length);
        let Some(rest) = whole.checked_sub(passed) else {
            return false;
        };
        let (file, offset) = (Arc::clone(&span.file), span.offset);
        self.kind = Self::file(Arc::clone(&file), offset + passed, rest).into_kind();
        self.file = Some(Span {
            file,
            offset,
            read: passed,
        });
        true
    }

    /// `length` of the bytes that are still to be read, after `skipped` of them. Watches see that
    /// the reader left.
    #[must_use]
    pub fn slice(mut self, skipped: u64, length: u64) -> Self {
        let skipped = if self.skip.is_some() && self.pass_over(skipped) {
            0
        } else {
            skipped
        };
        if let Some(span) = self.file.take() {
            return Self::file(span.file, span.offset + span.read + skipped, length);
        }
        Self::generate(Some(length), move |out| async move {
            let mut skipped = skipped;
            while skipped > 0 {
                let Some(mut chunk) = self.chunk().await? else {
                    return Err(Error::Truncated);
                };
                let passed = within(skipped, chunk.len());
                skipped -= passed as u64;
                chunk.advance(passed);
                if !chunk.is_empty() {
                    self = self.after(chunk);
                }
            }
            self.emit_to(&out, length).await
        })
    }
}
