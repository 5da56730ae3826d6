//! Frames and other large values (PS3.18 10.4.1.1.3 to 10.4.1.1.6): one alone, or several in a
//! `multipart/related`.

use std::future::Future;

use super::Presented;
use crate::body::{self, Body};
use crate::dicom::TransferSyntax;
use crate::multipart::{Boundary, Joiner};

/// One of the parts.
#[derive(Debug)]
pub struct Part<T> {
    /// What opens it.
    pub what: T,
    /// Where it is.
    pub location: String,
}

/// `media_type` with the transfer syntax of what comes in it.
#[must_use]
pub fn with_syntax(media_type: &str, transfer_syntax: &TransferSyntax) -> String {
    format!("{media_type}; transfer-syntax={transfer_syntax}")
}

/// All parts, each opened when it is its turn. `content_type` is that of each, `first` is the body of
/// the first of them.
pub fn multipart<T, O, F>(
    parts: Vec<Part<T>>,
    first: Body,
    open: O,
    (boundary, media_type, content_type): (Boundary, &str, String),
) -> Presented
where
    T: Send + Sync + 'static,
    O: Fn(&T) -> F + Send + Sync + 'static,
    F: Future<Output = Result<Body, body::Error>> + Send,
{
    let mut joiner = Joiner::new(boundary);
    let whole = joiner.content_type(media_type);
    let mut first = Some(first);
    // Viewers that show progress, and some that do not, want to know the length of one frame.
    let only = match (parts.as_slice(), first.as_ref().and_then(Body::length)) {
        ([part], Some(length)) => {
            let head = head(&mut joiner, part, &content_type, Some(length));
            Some((head, length))
        }
        _ => None,
    };
    if let (Some((head, length)), Some(mut body)) = (only, first.take_if(|_| parts.len() == 1)) {
        let close = joiner.close();
        let all = head.len() as u64 + length + close.len() as u64;
        let body = Body::generate(Some(all), |out| async move {
            out.emit(head).await?;
            while let Some(chunk) = body.chunk().await? {
                out.emit(chunk).await?;
            }
            out.emit(close).await
        });
        return Presented {
            content_type: whole,
            body,
        };
    }
    let body = Body::generate(None, |out| async move {
        for part in &parts {
            let mut body = match first.take() {
                Some(first) => first,
                None => open(&part.what).await?,
            };
            let head = head(&mut joiner, part, &content_type, body.length());
            out.emit(head).await?;
            while let Some(chunk) = body.chunk().await? {
                out.emit(chunk).await?;
            }
        }
        out.emit(joiner.close()).await
    });
    Presented {
        content_type: whole,
        body,
    }
}

// Viewers look for `Content-Type` first, in exactly this spelling.
fn head<T>(
    joiner: &mut Joiner,
    part: &Part<T>,
    content_type: &str,
    length: Option<u64>,
) -> bytes::Bytes {
    let length = length.map(|length| length.to_string());
    let mut fields = vec![("Content-Type", content_type)];
    fields.extend(length.as_deref().map(|length| ("Content-Length", length)));
    fields.push(("Content-Location", &part.location));
    joiner.part(&fields)
}
