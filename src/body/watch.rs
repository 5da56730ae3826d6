//! Observers of a body: they see each chunk, and once its end.

use bytes::Bytes;

use super::{Body, Error};

/// How a body ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum End {
    /// All of it was read.
    Complete,
    /// It broke off.
    Failed(Error),
    /// Its reader left before the end.
    ReaderLeft,
}

/// An observer of each chunk, and once of the end.
pub(super) struct Watch {
    read: u64,
    on_chunk: Box<dyn Fn(usize) + Send>,
    on_end: Option<Box<dyn FnOnce(u64, End) + Send>>,
}

impl Body {
    /// The same body with an observer: of each chunk that is read and, once, of the number of bytes
    /// read and the end.
    #[must_use]
    pub fn watched(
        mut self,
        on_chunk: impl Fn(usize) + Send + 'static,
        on_end: impl FnOnce(u64, End) + Send + 'static,
    ) -> Self {
        let (on_chunk, on_end) = (Box::new(on_chunk), Box::new(on_end));
        self.watches.push(Watch {
            read: 0,
            on_chunk,
            on_end: Some(on_end),
        });
        self
    }
}

impl Watch {
    pub(super) fn observe(&mut self, read: Option<&Result<Bytes, Error>>) {
        match read {
            Some(Ok(bytes)) => {
                self.read += bytes.len() as u64;
                (self.on_chunk)(bytes.len());
            }
            Some(Err(error)) => self.end(End::Failed(error.clone())),
            None => self.end(End::Complete),
        }
    }

    fn end(&mut self, end: End) {
        if let Some(on_end) = self.on_end.take() {
            on_end(self.read, end);
        }
    }
}

impl Drop for Body {
    fn drop(&mut self) {
        for watch in &mut self.watches {
            // A reader that knows the length does not poll for the end.
            let is_whole = self.length == Some(watch.read);
            watch.end(if is_whole {
                End::Complete
            } else {
                End::ReaderLeft
            });
        }
    }
}
