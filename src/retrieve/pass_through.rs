//! Pass-through of resources other than instances to a client that may be slow.

use std::time::Instant;

use url::Url;

use super::Retriever;

use crate::body::{self, Body, Emitter};
use crate::dicom::MediaType;
use crate::source::{self, Answer, Claim, ResourceRequest, Seat, Source};

/// A response body that a source has begun to send, unchanged.
#[derive(Debug)]
pub struct Forwarded {
    /// The base URL of its relative links.
    pub document: Url,
    /// The media type of the body.
    pub media_type: MediaType,
    /// Whether the source declares the response partial.
    pub is_partial: bool,
    /// The bytes.
    pub body: Body,
}

impl Retriever {
    /// Requests a resource other than instances. Returns once the source begins to answer.
    ///
    /// # Errors
    /// The failure of the source.
    pub async fn forward(
        &self,
        source: &Source,
        wanted: &ResourceRequest<'_>,
    ) -> Result<Forwarded, source::Error> {
        let seat = self.seat_at(source, Claim::New).await?;
        let began = Instant::now();
        let answer = source.ask_for(wanted).await;
        self.count(source, began, answer.as_ref().err());
        let answer = answer?;
        let (document, media_type) = (answer.document.clone(), answer.media_type.clone());
        Ok(Forwarded {
            document,
            media_type,
            is_partial: answer.is_partial,
            body: Body::generate(answer.length, |out| pump(answer, seat, out)),
        })
    }
}

/// Passes the bytes on. The seat is held until the end.
async fn pump(mut answer: Answer, seat: Seat, out: Emitter) -> Result<(), body::Error> {
    while let Some(chunk) = answer.chunk().await? {
        out.emit(chunk).await?;
    }
    drop(seat);
    Ok(())
}
