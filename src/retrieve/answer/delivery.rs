//! The delivery of instances into the stream of one answer, at the pace of its reader.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::sync::mpsc;
use tokio::time::timeout;

use crate::body;
use crate::instance::{Given, Instance};
use crate::retrieve::tally::Tally;

/// The stream of one answer, fed by one or more workers.
#[derive(Clone)]
pub(crate) struct Delivery {
    stream: mpsc::Sender<Given>,
    /// Items that the client has received, from all workers.
    taken: Arc<AtomicU64>,
    client_silence: Duration,
}

/// Why a worker stops early.
pub(crate) enum Stop {
    /// The client disconnected, or does not read.
    ClientLeft,
    /// An instance already promised cannot be delivered.
    Broken(body::Error),
}

impl Delivery {
    pub(crate) fn new(stream: mpsc::Sender<Given>, client_silence: Duration) -> Self {
        Self {
            stream,
            taken: Arc::default(),
            client_silence,
        }
    }

    /// Runs `work` until the client disconnects.
    pub(crate) async fn while_taken(&self, work: impl Future<Output = ()>) {
        tokio::select! {
            () = self.stream.closed() => {}
            () = work => {}
        }
    }

    /// Delivers an instance whose body is still to be read.
    pub(crate) async fn instance(&self, instance: Instance, tally: &Tally) -> Result<(), Stop> {
        self.give(Ok(Some(tally.delivering(instance)))).await
    }

    pub(crate) async fn give(&self, given: Given) -> Result<(), Stop> {
        let delivery = self.stream.send(given);
        self.taken(async { delivery.await.map_err(|_left| Stop::ClientLeft) })
            .await
    }

    /// Waits until the client takes an item. The client may be busy with the items of another
    /// worker, so the delivery stops only if the client takes nothing from any worker for too long.
    async fn taken(&self, taking: impl Future<Output = Result<(), Stop>>) -> Result<(), Stop> {
        let mut taking = std::pin::pin!(taking);
        loop {
            let before = self.taken.load(Ordering::Relaxed);
            match timeout(self.client_silence, &mut taking).await {
                Ok(outcome) => {
                    self.taken.fetch_add(1, Ordering::Relaxed);
                    return outcome;
                }
                Err(_elapsed) if self.taken.load(Ordering::Relaxed) != before => {}
                Err(_elapsed) => return Err(Stop::ClientLeft),
            }
        }
    }
}
