//! Asking a source: a question joins a crossing that already answers it, or waits for a seat and
//! begins one.

use std::time::Instant;

use super::Retriever;
use super::crossing::{Follower, Question};
use super::learned::SourceTrait;
use crate::body;
use crate::source::{self, Arrivals, Claim, InstanceRequest, Seat, Source};

impl Retriever {
    /// Asks a source when its turn comes, or joins a crossing with the same question. Returns once
    /// the source begins to answer, with whether the source declares its answer partial.
    pub(super) async fn follow(
        &self,
        question: &Question,
        claim: Claim,
    ) -> Result<(Follower, bool), source::Error> {
        self.follow_from(question, claim, None).await
    }

    /// As [`Retriever::follow`], with a seat if the caller already holds one.
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
                // All other followers left just as this one joined.
                Err(source::Error::BrokeOff(body::Error::Abandoned)) if follower.has_joined => {}
                Err(error) => return Err(error),
            }
        }
    }

    /// Asks a source, or joins a crossing with the same question. The crossing owns the seat.
    pub(super) fn begin(&self, question: &Question, seat: Seat) -> Follower {
        self.crossings.follow(question.clone(), seat, self)
    }

    /// Requests instances from a source.
    pub(super) async fn open(
        &self,
        source: &Source,
        ask: &InstanceRequest<'_>,
    ) -> Result<Arrivals, source::Error> {
        let began = Instant::now();
        let opened = source.open(ask).await;
        self.count(source, began, opened.as_ref().err());
        self.count_instances(source);
        opened
    }

    /// Counts the outcome of a request to a source. It does not take the request: a future that is
    /// a parameter has a second place in the future of the function, and all of them move.
    pub(super) fn count(&self, source: &Source, began: Instant, error: Option<&source::Error>) {
        let location = &*source.alias;
        let Some(error) = error else {
            let metrics = self.metrics.of_source(&source.alias);
            metrics.answered.inc();
            let seconds = began.elapsed().as_secs_f64();
            metrics.first_byte_seconds.observe(seconds);
            return;
        };
        let requests = &self.metrics.source_requests;
        requests.with_label_values(&[location, error.name()]).inc();
        tracing::info!(location, %error, "a request to a source failed");
    }

    /// A seat for asking a source; `None` once another request asks the same question. A worker
    /// that waits for a seat holds no other seat.
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

    /// Whether several answers can share one transfer from a source: only the cache lets each of
    /// them read at its own pace.
    pub(super) fn shares(&self, source: &Source) -> bool {
        self.cache.keeps_something() && !self.traits.has(source, SourceTrait::NoStore)
    }
}
