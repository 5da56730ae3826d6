//! Pass-through of resources other than instances to a client that may be slow.

use tokio::time::timeout;
use url::Url;

use super::{CHUNKS_AHEAD, Retriever};
use crate::body::{Body, Sender};
use crate::dicom::MediaType;
use crate::source::{self, Answer, Claim, ResourceRequest, Source};

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
        let answer = self.counted(source, source.ask_for(wanted)).await?;
        let (sender, body) = Body::channel(CHUNKS_AHEAD, answer.length);
        let forwarded = Forwarded {
            document: answer.document.clone(),
            media_type: answer.media_type.clone(),
            is_partial: answer.is_partial,
            body,
        };
        let retriever = self.clone();
        tokio::spawn(async move {
            retriever.pump(answer, sender).await;
            drop(seat);
        });
        Ok(forwarded)
    }

    async fn pump(&self, mut answer: Answer, sender: Sender) {
        loop {
            match answer.chunk().await {
                Ok(Some(chunk)) => {
                    let sending = timeout(self.client_silence(), sender.send(chunk));
                    if !matches!(sending.await, Ok(Ok(()))) {
                        return;
                    }
                }
                Ok(None) => return sender.end().await.unwrap_or(()),
                Err(error) => return sender.fail(error).await,
            }
        }
    }
}
