//! One reader of a flight.

use std::future::poll_fn;
use std::sync::Arc;

use bytes::Bytes;
use tokio::task::spawn_blocking;

use super::{Flight, Next};
use crate::body;
use crate::cache::disk::GrowingFile;
use crate::cache::pace::Interest;

/// A reader of a flight.
pub(super) struct Reader {
    pub(super) flight: Arc<Flight>,
    pub(super) reader: u64,
    pub(super) offset: u64,
    pub(super) _interest: Interest,
}

impl Drop for Reader {
    fn drop(&mut self) {
        self.flight.leave(self.reader);
    }
}

impl Reader {
    pub(super) async fn emit(
        mut self,
        out: body::Emitter,
        skip: body::Skip,
    ) -> Result<(), body::Error> {
        loop {
            self.offset += skip.take();
            let (flight, reader, offset) = (&self.flight, self.reader, self.offset);
            let next = poll_fn(|context| flight.poll_next(reader, offset, context)).await;
            let mut chunk = match next {
                Next::Chunk(chunk) => chunk,
                Next::InFile(file, arrived) => self.read(file, arrived).await?,
                Next::End => return Ok(()),
                Next::Failed(error) => return Err(error),
            };
            self.offset += chunk.len() as u64;
            skip.cut(&mut chunk);
            if !chunk.is_empty() {
                out.emit(chunk).await?;
            }
        }
    }

    async fn read(&self, file: Arc<GrowingFile>, arrived: u64) -> Result<Bytes, body::Error> {
        let (offset, length) = (self.offset, arrived - self.offset);
        let reading = spawn_blocking(move || file.read(offset, length));
        let read = reading.await.map_err(|_panic| body::Error::Abandoned)?;
        read.map_err(|_damaged| {
            self.flight.spoil();
            body::Error::Unreadable
        })
    }
}
