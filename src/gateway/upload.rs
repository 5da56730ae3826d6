//! Reading the body of a request into memory, within bounds that hold for all requests together.

use std::sync::Arc;
use std::time::Duration;

use bytes::{Buf, Bytes};
use http::HeaderMap;
use http::header::CONTENT_LENGTH;
use http_body_util::BodyExt;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::timeout;

use super::Error;
use crate::manifest::{MAX_MANIFEST, store};

const MEBIBYTE: usize = 1 << 20;
/// Memory that all bodies under way may take.
const ROOM: usize = 256;
const SILENCE: Duration = Duration::from_secs(30);

/// The memory set aside for bodies of requests.
#[derive(Debug)]
pub(super) struct Room(Arc<Semaphore>);

/// A body that was read, and the room it takes.
#[derive(Debug)]
pub(super) struct Upload {
    pub(super) bytes: Vec<u8>,
    room: Vec<OwnedSemaphorePermit>,
}

impl Room {
    pub(super) fn new() -> Self {
        Self(Arc::new(Semaphore::new(ROOM)))
    }

    /// Reads a body of at most [`MAX_MANIFEST`] bytes.
    pub(super) async fn read<B>(&self, headers: &HeaderMap, mut body: B) -> Result<Upload, Error>
    where
        B: http_body::Body<Data = Bytes> + Unpin,
    {
        if declared(headers).is_some_and(|length| length > MAX_MANIFEST as u64) {
            return Err(store::Error::TooLarge.into());
        }
        let mut upload = Upload {
            bytes: Vec::new(),
            room: Vec::new(),
        };
        loop {
            let frame = timeout(SILENCE, body.frame())
                .await
                .map_err(|_el| Error::UploadSilent)?;
            let Some(frame) = frame else {
                return Ok(upload);
            };
            let frame = frame.map_err(|_broken| Error::Upload)?;
            if let Ok(data) = frame.into_data() {
                self.add(&mut upload, data.chunk())?;
            }
        }
    }

    fn add(&self, upload: &mut Upload, chunk: &[u8]) -> Result<(), Error> {
        let length = upload.bytes.len() + chunk.len();
        if length > MAX_MANIFEST {
            return Err(store::Error::TooLarge.into());
        }
        while upload.room.len() * MEBIBYTE < length {
            let permit = Arc::clone(&self.0)
                .try_acquire_owned()
                .map_err(|_full| Error::Busy)?;
            upload.room.push(permit);
        }
        upload.bytes.extend_from_slice(chunk);
        Ok(())
    }
}

fn declared(headers: &HeaderMap) -> Option<u64> {
    headers.get(CONTENT_LENGTH)?.to_str().ok()?.parse().ok()
}
