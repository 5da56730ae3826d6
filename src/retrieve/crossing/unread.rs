//! A crossing without readers: how long it keeps its seat.

use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::task::{Context, Poll};

use tokio::sync::futures::Notified;
use tokio::time::{Sleep, sleep};

use super::Crossing;
use crate::cache::pace::LINGER;

/// The wait for another reader.
struct Wait<'a> {
    /// The number of readers that have left.
    joined: usize,
    seat_is_wanted: Pin<Box<Notified<'a>>>,
    time: Pin<Box<Sleep>>,
}

impl Crossing {
    /// Waits until the crossing has had no reader for too long, or another request waits for its
    /// seat.
    pub(super) async fn is_left_alone(&self) {
        let mut wait = None;
        poll_fn(|context| self.poll_left_alone(&mut wait, context)).await;
    }

    fn poll_left_alone<'a>(
        &'a self,
        wait: &mut Option<Wait<'a>>,
        context: &mut Context<'_>,
    ) -> Poll<()> {
        // What has arrived whole is about to land.
        if self.pace.is_awaited() || self.pace.has_all() {
            *wait = None;
            return Poll::Pending;
        }
        let joined = self.pace.joined();
        let wait = match wait {
            Some(wait) if wait.joined == joined => wait,
            _ => wait.insert(self.wait(joined)),
        };
        // It is registered before the look, so that no request is missed.
        let is_called = wait.seat_is_wanted.as_mut().poll(context).is_ready();
        if is_called || self.question.source.is_waited_for() {
            return Poll::Ready(());
        }
        if self.pace.is_ahead() || self.pace.is_finishing() {
            return Poll::Pending;
        }
        wait.time.as_mut().poll(context)
    }

    fn wait(&self, joined: usize) -> Wait<'_> {
        Wait {
            joined,
            seat_is_wanted: Box::pin(self.question.source.called()),
            time: Box::pin(sleep(LINGER)),
        }
    }
}
