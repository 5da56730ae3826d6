//! A question to a source: it joins a crossing that answers it already, or takes its turn for a seat and
//! begins one.

use std::time::Instant;

use super::Retriever;
use super::crossing::{Follower, Question};
use super::learned::SourceTrait;
use crate::body;
use crate::source::{self, Arrivals, Claim, InstanceRequest, Seat, Source};

impl Retriever {
    /// Asks a source in its turn, or joins those who have asked it already. Returns once it begins to
    /// answer, with whether it says that this is only some of what it was asked for.
    pub(super) async fn follow(
        &self,
        question: &Question,
        claim: Claim,
    ) -> Result<(Follower, bool), source::Error> {
        self.follow_from(question, claim, None).await
    }

    /// As [`Retriever::follow`], from a seat that is taken already, if there is one.
    pub(super) async fn follow_from(
        &self,
        question: &Question,
        claim: Claim,
        mut seat: Option<Seat>,
    ) -> Result<(Follower, bool), source::Error> {
        loop {
            let follower = match (self.crossings.find(question), seat.take()) {
                (Some(follower), _not_needed) => follower,
                (None, Some(seat)) => self.begin(question, seat),
                (None, None) => {
                    seat = self.turn(question, claim).await?;
                    continue;
                }
            };
            match follower.opened().await {
                Ok(is_partial) => return Ok((follower, is_partial)),
                // Everybody else had left it just when it was joined.
                Err(source::Error::BrokeOff(body::Error::Abandoned)) if follower.has_joined => {}
                Err(error) => return Err(error),
            }
        }
    }

    /// Asks a source, or joins those who have asked it already. The seat is the crossing's.
    pub(super) fn begin(&self, question: &Question, seat: Seat) -> Follower {
        self.crossings.follow(question.clone(), seat, self)
    }

    /// Asks a source for instances.
    pub(super) async fn open(
        &self,
        source: &Source,
        ask: &InstanceRequest<'_>,
    ) -> Result<Arrivals, source::Error> {
        let opened = self.counted(source, source.open(ask)).await;
        self.count_instances(source);
        opened
    }

    /// Asks a source, and counts that.
    pub(super) async fn counted<T>(
        &self,
        source: &Source,
        asking: impl Future<Output = Result<T, source::Error>>,
    ) -> Result<T, source::Error> {
        let location = &*source.alias;
        let began = Instant::now();
        let opened = asking.await;
        let outcome = match &opened {
            Ok(_) => "answered",
            Err(error) => error.name(),
        };
        let (requests, first_byte) = (
            &self.metrics.source_requests,
            &self.metrics.source_first_byte_seconds,
        );
        requests.with_label_values(&[location, outcome]).inc();
        match &opened {
            Ok(_) => first_byte
                .with_label_values(&[location])
                .observe(began.elapsed().as_secs_f64()),
            Err(error) => tracing::info!(location, %error, "a source gives nothing"),
        }
        opened
    }

    /// A seat from which a source is to be asked; none once somebody else asks it the same. A worker
    /// that waits for one holds none, neither here nor elsewhere.
    pub(super) async fn turn(
        &self,
        question: &Question,
        claim: Claim,
    ) -> Result<Option<Seat>, source::Error> {
        let seat = self.seat_at(&question.source, claim);
        let mut seat = std::pin::pin!(seat);
        loop {
            let begun = self.crossings.begun();
            let mut begun = std::pin::pin!(begun);
            begun.as_mut().enable();
            if self.crossings.find(question).is_some() {
                return Ok(None);
            }
            tokio::select! {
                biased;
                seat = &mut seat => return seat.map(Some),
                () = begun => {}
            }
        }
    }

    pub(super) async fn seat_at(
        &self,
        source: &Source,
        claim: Claim,
    ) -> Result<Seat, source::Error> {
        let seat = source.seat(claim).await;
        if seat.is_err() {
            self.metrics.refused.with_label_values(&["queue"]).inc();
        }
        seat
    }

    /// Whether several answers share what a source sends: only where it is kept can each of them read it
    /// at its own pace.
    pub(super) fn shares(&self, source: &Source) -> bool {
        self.cache.keeps_something() && !self.traits.has(source, SourceTrait::NoStore)
    }
}
