//! Where what is fetched goes: into the stream of one answer, at the pace of its reader.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use prometheus::IntCounter;
use tokio::sync::mpsc;
use tokio::time::timeout;

use crate::body::{self, End};
use crate::instance::{Given, Instance};
use crate::metrics::Metrics;
use crate::source::Source;

/// The stream of one answer, to which several may give.
#[derive(Clone)]
pub(crate) struct Giving {
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

/// What is counted of a source.
#[derive(Clone)]
pub(crate) struct Tally {
    pub(crate) fetched_instances: IntCounter,
    pub(crate) fetched_bytes: IntCounter,
    pub(crate) trailing_bytes: IntCounter,
    delivered_instances: IntCounter,
}

impl Tally {
    pub(crate) fn of(source: &Source, metrics: &Metrics) -> Self {
        let alias = &[&*source.alias];
        Self {
            fetched_instances: metrics.fetched_instances.with_label_values(alias),
            fetched_bytes: metrics.fetched_bytes.with_label_values(alias),
            trailing_bytes: metrics.trailing_bytes.with_label_values(alias),
            delivered_instances: metrics.delivered_instances.with_label_values(alias),
        }
    }
}

impl Tally {
    /// The instance, counted once it has been read to its end.
    pub(crate) fn delivering(&self, mut instance: Instance) -> Instance {
        let delivered = self.delivered_instances.clone();
        instance.body = instance.body.watched(
            |_bytes| {},
            move |_bytes, end| {
                if end == End::Complete {
                    delivered.inc();
                }
            },
        );
        instance
    }
}

impl Giving {
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
        let giving = self.stream.send(given);
        self.taken(async { giving.await.map_err(|_left| Stop::ClientLeft) })
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
