//! Reads the body of a request into memory, within bounds on the memory of all requests, on the
//! memory of each client, and on the pace of the body.

use std::sync::Arc;
use std::time::Duration;

use bytes::{Buf, Bytes};
use http::HeaderMap;
use http::header::CONTENT_LENGTH;
use http_body::Frame;
use http_body_util::BodyExt;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{Instant, timeout_at};

use crate::budget::Client;
use crate::gateway::Error;
use crate::gateway::edge::per_client::{PerClient, Share};
use crate::library;
use crate::manifest::MAX_MANIFEST;

/// Bytes of a block. Bodies reserve memory block by block as bytes arrive.
const BLOCK: usize = 4 << 10;
/// Most blocks of all bodies together.
const BUDGET: usize = (256 << 20) / BLOCK;
/// Most blocks of the bodies of one client.
const SHARE: usize = BUDGET / 2;

/// The slowest permitted pace of the body of a request.
#[derive(Debug, Clone, Copy)]
pub struct UploadPace {
    /// Fewest bytes in a second, on average over a period.
    pub bytes_per_second: u64,
    /// The length of a period. Periods follow each other from the start of the body.
    pub grace: Duration,
}

/// The memory reserved for bodies of requests.
#[derive(Debug)]
pub(crate) struct Budget {
    blocks: Arc<Semaphore>,
    shares: PerClient,
    pace: UploadPace,
}

/// The bytes of a body, and the memory that they hold.
#[derive(Debug)]
pub(crate) struct Upload {
    pub(crate) bytes: Vec<u8>,
    memory: Option<OwnedSemaphorePermit>,
    share: Share,
}

impl Budget {
    pub(crate) fn new(pace: UploadPace) -> Self {
        Self {
            blocks: Arc::new(Semaphore::new(BUDGET)),
            shares: PerClient::new(SHARE),
            pace,
        }
    }

    /// Reads a body of at most [`MAX_MANIFEST`] bytes from a client.
    pub(crate) async fn read<B>(
        &self,
        client: Client,
        headers: &HeaderMap,
        mut body: B,
    ) -> Result<Upload, Error>
    where
        B: http_body::Body<Data = Bytes> + Unpin,
    {
        if declared(headers).is_some_and(|length| length > MAX_MANIFEST as u64) {
            return Err(library::Error::TooLarge.into());
        }
        let mut upload = Upload {
            bytes: Vec::new(),
            memory: None,
            share: self.shares.take(client, 0).ok_or(Error::Busy)?,
        };
        let mut arrival = Arrival::new(self.pace);
        while let Some(frame) = arrival.next(&mut body).await? {
            if let Ok(data) = frame.into_data() {
                self.add(&mut upload, data.chunk())?;
            }
        }
        Ok(upload)
    }

    fn add(&self, upload: &mut Upload, chunk: &[u8]) -> Result<(), Error> {
        let length = upload.bytes.len() + chunk.len();
        if length > MAX_MANIFEST {
            return Err(library::Error::TooLarge.into());
        }
        let had = upload
            .memory
            .as_ref()
            .map_or(0, OwnedSemaphorePermit::num_permits);
        let more = length.div_ceil(BLOCK) - had;
        if more > 0 {
            if !upload.share.grow(more) {
                return Err(Error::Busy);
            }
            let more = u32::try_from(more).map_err(|_more_than_there_is| Error::Busy)?;
            let blocks = Arc::clone(&self.blocks).try_acquire_many_owned(more);
            let blocks = blocks.map_err(|_full| Error::Busy)?;
            match &mut upload.memory {
                Some(room) => room.merge(blocks),
                None => upload.memory = Some(blocks),
            }
        }
        upload.bytes.extend_from_slice(chunk);
        Ok(())
    }
}

/// A body on its way. Each period must bring the bytes that the pace demands, so the size of a body
/// bounds its time.
struct Arrival {
    pace: UploadPace,
    /// The end of this period.
    end: Instant,
    /// Bytes that arrived in this period.
    arrived: u64,
}

impl Arrival {
    fn new(pace: UploadPace) -> Self {
        Self {
            pace,
            end: Instant::now() + pace.grace,
            arrived: 0,
        }
    }

    /// The next frame; `None` at the end of the body.
    async fn next<B>(&mut self, body: &mut B) -> Result<Option<Frame<Bytes>>, Error>
    where
        B: http_body::Body<Data = Bytes> + Unpin,
    {
        loop {
            let next = timeout_at(self.end, body.frame()).await;
            if let Ok(Some(Ok(frame))) = &next {
                let bytes = frame.data_ref().map_or(0, Bytes::len) as u64;
                self.arrived = self.arrived.saturating_add(bytes);
            }
            if Instant::now() >= self.end {
                self.next_period()?;
            }
            if let Ok(frame) = next {
                return frame.transpose().map_err(|_broken| Error::Upload);
            }
        }
    }

    fn next_period(&mut self) -> Result<(), Error> {
        let seconds = self.pace.grace.as_secs_f64();
        let needed = (self.pace.bytes_per_second as f64 * seconds) as u64;
        // Silence is too slow at any pace.
        if self.arrived < needed.max(1) {
            return Err(Error::UploadSlow);
        }
        self.arrived = 0;
        self.end = Instant::now() + self.pace.grace;
        Ok(())
    }
}

fn declared(headers: &HeaderMap) -> Option<u64> {
    headers.get(CONTENT_LENGTH)?.to_str().ok()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::body::Body;

    const PACE: UploadPace = UploadPace {
        bytes_per_second: 100,
        grace: Duration::from_secs(10),
    };

    /// A body of which `chunk` bytes come in each second.
    fn dripping(chunk: usize, seconds: usize) -> Body {
        let drip = move |_second| async move {
            tokio::time::sleep(Duration::from_secs(1)).await;
            Bytes::from(vec![b' '; chunk])
        };
        Body::generate(None, move |out| async move {
            for second in 0..seconds {
                out.emit(drip(second).await).await?;
            }
            Ok(())
        })
    }

    async fn read(room: &Budget, body: Body) -> Result<usize, Error> {
        let upload = room
            .read(Client::at([127, 0, 0, 1].into()), &HeaderMap::new(), body)
            .await?;
        Ok(upload.bytes.len())
    }

    #[tokio::test(start_paused = true)]
    async fn what_comes_at_the_least_pace_is_taken_and_what_comes_slower_is_not() {
        let room = Budget::new(PACE);
        let taken = read(&room, dripping(101, 100)).await.expect("it is taken");
        assert_eq!(taken, 10_100);
        for slow in [0, 1, 90] {
            let began = Instant::now();
            let refused = read(&room, dripping(slow, 1000)).await;
            assert!(matches!(refused, Err(Error::UploadSlow)), "{slow}");
            assert!(began.elapsed() <= Duration::from_secs(11), "{slow}");
        }
        // A burst does not count for later seconds.
        let burst = Body::generate(None, |out| async move {
            out.emit(Bytes::from(vec![b' '; 1 << 20])).await?;
            tokio::time::sleep(Duration::from_secs(1000)).await;
            Ok(())
        });
        let began = Instant::now();
        assert!(matches!(read(&room, burst).await, Err(Error::UploadSlow)));
        assert!(began.elapsed() <= Duration::from_secs(21));
        // A short body may arrive slowly.
        assert_eq!(read(&room, dripping(1, 9)).await.ok(), Some(9));
        assert_eq!(room.blocks.available_permits(), BUDGET);
    }
}
