//! Frames and other large values (PS3.18 10.4.1.1.3 to 10.4.1.1.6) in a `multipart/related`.

use std::future::Future;

use bytes::Bytes;

use super::Presented;
use crate::body::{self, Body, Emitter};
use crate::dicom::TransferSyntax;
use crate::multipart::{Boundary, Joiner};

/// A part of the message.
#[derive(Debug)]
pub struct Part<T> {
    /// The argument that opens the body.
    pub content: T,
    /// `Content-Location`.
    pub location: String,
}

/// `media_type` with the transfer syntax of its content.
#[must_use]
pub fn with_syntax(media_type: &str, transfer_syntax: &TransferSyntax) -> String {
    format!("{media_type}; transfer-syntax={transfer_syntax}")
}

/// The `multipart/related` that parts go into.
#[derive(Debug)]
pub struct Related<'a> {
    /// The boundary between parts.
    pub boundary: Boundary,
    /// The `type` parameter.
    pub media_type: &'a str,
    /// `Content-Type` of each part.
    pub content_type: String,
}

/// A message of all parts, each opened when it is its turn. `first` is the body of the first part.
pub fn multipart<T, O, F>(
    parts: Vec<Part<T>>,
    first: Body,
    open: O,
    related: Related<'_>,
) -> Presented
where
    T: Send + Sync + 'static,
    O: Fn(&T) -> F + Send + Sync + 'static,
    F: Future<Output = Result<Body, body::Error>> + Send,
{
    let mut joiner = Joiner::new(related.boundary);
    let whole = joiner.content_type(related.media_type);
    let content_type = related.content_type;
    // Viewers need the length of a single frame, among others to show progress.
    let body = match (parts.as_slice(), first.length()) {
        ([part], Some(length)) => {
            let head = head(&mut joiner, part, &content_type, Some(length));
            only(head, first, length, joiner)
        }
        _ => Body::generate(None, |out| async move {
            let mut first = Some(first);
            for part in &parts {
                let body = match first.take() {
                    Some(first) => first,
                    None => open(&part.content).await?,
                };
                let head = head(&mut joiner, part, &content_type, body.length());
                out.emit(head).await?;
                pass(body, &out).await?;
            }
            out.emit(joiner.close()).await
        }),
    };
    Presented {
        content_type: whole,
        body,
    }
}

/// A message of one part, whose length is known.
fn only(head: Bytes, part: Body, length: u64, joiner: Joiner) -> Body {
    let close = joiner.close();
    let all = head.len() as u64 + length + close.len() as u64;
    Body::generate(Some(all), |out| async move {
        out.emit(head).await?;
        pass(part, &out).await?;
        out.emit(close).await
    })
}

async fn pass(mut body: Body, out: &Emitter) -> Result<(), body::Error> {
    while let Some(chunk) = body.chunk().await? {
        out.emit(chunk).await?;
    }
    Ok(())
}

// Viewers expect `Content-Type` first, in exactly this spelling.
fn head<T>(joiner: &mut Joiner, part: &Part<T>, content_type: &str, length: Option<u64>) -> Bytes {
    let length = length.map(|length| length.to_string());
    let mut fields = vec![("Content-Type", content_type)];
    fields.extend(length.as_deref().map(|length| ("Content-Length", length)));
    fields.push(("Content-Location", &part.location));
    joiner.part(&fields)
}
