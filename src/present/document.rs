//! Writes documents piece by piece: one chunk is in memory.

use serde_json::Value;

use crate::body::{self, Body, Emitter};

/// The size of a chunk.
pub const CHUNK: usize = 64 << 10;

/// Writes a document, and sends each full chunk to its reader.
#[derive(Debug)]
pub struct Writer {
    out: Emitter,
    gathered: Vec<u8>,
}

impl Writer {
    /// Writes the next piece, and waits for the reader when a chunk is full.
    ///
    /// # Errors
    /// [`body::Error::Abandoned`] if the reader is gone.
    pub async fn text(&mut self, piece: &str) -> Result<(), body::Error> {
        self.gathered.extend_from_slice(piece.as_bytes());
        if self.gathered.len() < CHUNK {
            return Ok(());
        }
        let chunk = std::mem::take(&mut self.gathered);
        self.out.emit(chunk.into()).await
    }

    /// Sends all of another body to the reader, after the pieces before it.
    ///
    /// # Errors
    /// Why the body was aborted, or as [`Writer::text`].
    pub async fn body(&mut self, body: Body) -> Result<(), body::Error> {
        if !self.gathered.is_empty() {
            let chunk = std::mem::take(&mut self.gathered);
            self.out.emit(chunk.into()).await?;
        }
        body.give(&self.out).await
    }

    /// Writes a value as JSON.
    ///
    /// # Errors
    /// As [`Writer::text`].
    pub async fn json(&mut self, value: &Value) -> Result<(), body::Error> {
        self.text(&value.to_string()).await
    }
}

/// A document that `write` writes while it is read. `write` returns the writer at the end.
pub fn document<W>(write: impl FnOnce(Writer) -> W) -> Body
where
    W: Future<Output = Result<Writer, body::Error>> + Send + 'static,
{
    Body::generate(None, |out| {
        let writing = write(Writer {
            out,
            gathered: Vec::new(),
        });
        async move {
            let Writer { out, gathered } = writing.await?;
            if gathered.is_empty() {
                return Ok(());
            }
            out.emit(gathered.into()).await
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_document_comes_in_chunks_and_whole() {
        let piece = "x".repeat(1000);
        let written = piece.clone();
        let mut body = document(|mut writer| async move {
            for _ in 0..1000 {
                writer.text(&written).await?;
            }
            Ok(writer)
        });
        let mut chunks = Vec::new();
        while let Some(chunk) = body.chunk().await.expect("it ends well") {
            chunks.push(chunk.len());
        }
        assert_eq!(chunks.iter().sum::<usize>(), 1_000_000);
        assert!(chunks.iter().all(|length| *length < CHUNK + piece.len()));
        assert_eq!(chunks.len(), 1_000_000_usize.div_ceil(CHUNK));
    }

    #[tokio::test]
    async fn a_document_that_cannot_be_written_to_its_end_fails() {
        let mut body = document(|mut writer| async move {
            writer.text("x").await?;
            Err(body::Error::Unreadable)
        });
        assert_eq!(body.chunk().await, Err(body::Error::Unreadable));
    }
}
