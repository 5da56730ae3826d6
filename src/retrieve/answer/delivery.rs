//! Where what is fetched goes: into the stream of one answer, at the pace of its reader.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::sync::mpsc;
use tokio::time::timeout;

use crate::body;
use crate::instance::{Given, Instance};
use crate::retrieve::tally::Tally;

/// The stream of one answer, to which several may give.
#[derive(Clone)]
pub(crate) struct Delivery {
    stream: mpsc::Sender<Given>,
    /// How often the client took something, from anybody.
    taken: Arc<AtomicU64>,
    client_silence: Duration,
}

/// Why somebody stops giving before the time.
pub(crate) enum Stop {
    /// The client is gone, or does not read.
    ClientLeft,
    /// Something that was promised cannot be given any more.
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

    /// Runs `work` until nobody takes what it gives any more.
    pub(crate) async fn while_taken(&self, work: impl Future<Output = ()>) {
        tokio::select! {
            () = self.stream.closed() => {}
            () = work => {}
        }
    }

    /// Gives an instance, whose bytes are still to come.
    pub(crate) async fn instance(&self, instance: Instance, tally: &Tally) -> Result<(), Stop> {
        self.give(Ok(Some(tally.delivering(instance)))).await
    }

    pub(crate) async fn give(&self, given: Given) -> Result<(), Stop> {
        let delivery = self.stream.send(given);
        self.taken(async { delivery.await.map_err(|_left| Stop::ClientLeft) })
            .await
    }

    /// Waits until the client takes something. It may be busy with what somebody else gives; only
    /// when it takes nothing from anybody for too long is it given up.
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
