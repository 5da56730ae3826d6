//! `multipart/related` (PS3.18 8.6.1.2.1): instances, frames, values and pictures, each in a part.

use std::future::Future;

use bytes::Bytes;

use super::Presented;
use crate::body::{self, Body};
use crate::dicom::TransferSyntax;
use crate::multipart::{Boundary, Joiner};

/// A part that has been opened.
#[derive(Debug)]
pub struct Part {
    /// `Content-Type`.
    pub content_type: String,
    /// `Content-Location`.
    pub location: String,
    /// The bytes.
    pub body: Body,
}

impl Part {
    /// The part in the place of one that cannot be given: a client that counts parts, or reads their
    /// media types, sees what it lacks.
    #[must_use]
    pub fn stand_in(location: String, reason: &str) -> Self {
        let problem = serde_json::json!({ "type": "about:blank", "detail": reason });
        Self {
            content_type: PROBLEM.to_owned(),
            location,
            body: Body::full(problem.to_string()),
        }
    }
}

/// RFC 9457.
const PROBLEM: &str = "application/problem+json";

/// Parts of which each is opened when its turn comes.
pub trait Parts: Send + 'static {
    /// Opens the next part; `None` after the last one.
    fn next(&mut self) -> impl Future<Output = Result<Option<Part>, body::Error>> + Send;
}

/// `media_type` with the transfer syntax of the bytes.
#[must_use]
pub fn with_syntax(media_type: &str, transfer_syntax: &TransferSyntax) -> String {
    format!("{media_type}; transfer-syntax={transfer_syntax}")
}

/// `first`, then all of `rest`. The closing boundary is written only if every part ends well.
#[must_use]
pub fn multipart(
    boundary: Boundary,
    media_type: &str,
    first: Option<Part>,
    mut rest: impl Parts,
) -> Presented {
    let mut joiner = Joiner::new(boundary);
    let content_type = joiner.content_type(media_type);
    let body = Body::generate(None, |out| async move {
        let mut first = first;
        loop {
            let part = match first.take() {
                Some(part) => part,
                None => match rest.next().await? {
                    Some(part) => part,
                    None => break,
                },
            };
            out.emit(head(&mut joiner, &part)).await?;
            part.body.give(&out).await?;
        }
        out.emit(joiner.close()).await
    });
    Presented { content_type, body }
}

/// A single part. Viewers that show progress need the length of the whole.
#[must_use]
pub fn single_part(boundary: Boundary, media_type: &str, part: Part) -> Presented {
    let mut joiner = Joiner::new(boundary);
    let content_type = joiner.content_type(media_type);
    let (head, close) = (head(&mut joiner, &part), joiner.close());
    let around = (head.len() + close.len()) as u64;
    let length = part.body.length().map(|length| length + around);
    let body = Body::generate(length, |out| async move {
        out.emit(head).await?;
        part.body.give(&out).await?;
        out.emit(close).await
    });
    Presented { content_type, body }
}

// Viewers look for `Content-Type` first, in exactly this spelling.
fn head(joiner: &mut Joiner, part: &Part) -> Bytes {
    let length = part.body.length().map(|length| length.to_string());
    let mut fields = vec![("Content-Type", part.content_type.as_str())];
    fields.extend(length.as_deref().map(|length| ("Content-Length", length)));
    fields.push(("Content-Location", &part.location));
    joiner.part(&fields)
}
