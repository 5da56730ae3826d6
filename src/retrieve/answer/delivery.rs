//! The delivery of instances into the stream of one answer, at the pace of its reader.

use crate::body;
use crate::body::handover::Giver;
use crate::instance::{Given, Instance, Item, StandIn};
use crate::retrieve::tally::Tally;

/// The stream of one answer, fed by one or more workers. They run only while its reader waits for
/// an instance.
#[derive(Clone)]
pub(crate) struct Delivery {
    stream: Giver<Given>,
}

/// Why a worker stops early.
pub(crate) enum Stop {
    /// The client disconnected.
    ClientLeft,
    /// An instance already promised cannot be delivered.
    Broken(body::Error),
}

impl Delivery {
    pub(crate) fn new(stream: Giver<Given>) -> Self {
        Self { stream }
    }

    /// Delivers an instance whose body is still to be read.
    pub(crate) async fn instance(&self, instance: Instance, tally: &Tally) -> Result<(), Stop> {
        let instance = Box::new(tally.delivering(instance));
        self.give(Ok(Some(Item::Instance(instance)))).await
    }

    /// Delivers a stand-in for an instance.
    pub(crate) async fn stand_in(&self, stand_in: StandIn) -> Result<(), Stop> {
        self.give(Ok(Some(Item::StandIn(Box::new(stand_in))))).await
    }

    pub(crate) async fn give(&self, given: Given) -> Result<(), Stop> {
        let given = self.stream.give(given).await;
        given.map_err(|_left| Stop::ClientLeft)
    }
}
