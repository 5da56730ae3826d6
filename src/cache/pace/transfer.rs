//! The transfer of a crossing: the future that brings its bytes, and the task that polls it.
//!
//! As long as one task alone reads a crossing, that task polls the transfer: a stream is one task
//! from socket to socket. A second task that reads gives the transfer a task of its own, because a
//! reader that pauses would otherwise hold up the others. So does a crossing that runs ahead.

use std::fmt;
use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, TryLockError};
use std::task::{Context, Poll, Waker};

use futures_util::task::AtomicWaker;
use tokio::runtime::Handle;

use super::Pace;

type Bringing = Pin<Box<dyn Future<Output = ()> + Send>>;

/// The transfer of one crossing.
#[derive(Default)]
pub(super) struct Transfer {
    held: Mutex<Option<Held>>,
    /// Whether another thread wanted to poll it while it was being polled.
    is_contended: AtomicBool,
    /// Whether it has stopped so that its driver reads what has arrived.
    has_paused: AtomicBool,
    has_task: AtomicBool,
    /// The task of its own.
    task: AtomicWaker,
}

/// A transfer without a task of its own.
struct Held {
    bringing: Bringing,
    /// The task that reads, and polls it.
    driver: Option<Waker>,
}

impl Transfer {
    /// Stops until the driver polls it again; a transfer with a task of its own continues.
    async fn pause(&self) {
        let mut is_over = false;
        poll_fn(|_driver| {
            if self.has_task.load(Ordering::Acquire) || std::mem::replace(&mut is_over, true) {
                return Poll::Ready(());
            }
            self.has_paused.store(true, Ordering::Release);
            Poll::Pending
        })
        .await;
    }

    fn lock(&self) -> MutexGuard<'_, Option<Held>> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The held transfer, unless another thread polls it now. That thread gives it a task then.
    fn try_lock(&self) -> Option<MutexGuard<'_, Option<Held>>> {
        let try_lock = || match self.held.try_lock() {
            Ok(held) => Some(held),
            Err(TryLockError::Poisoned(held)) => Some(held.into_inner()),
            Err(TryLockError::WouldBlock) => None,
        };
        try_lock().or_else(|| {
            self.is_contended.store(true, Ordering::SeqCst);
            // The other thread looks at the mark after it has unlocked: one of the two sees it.
            try_lock()
        })
    }
}

impl Pace {
    /// Holds the transfer of the crossing until a reader polls it.
    pub fn hold(&self, bringing: impl Future<Output = ()> + Send + 'static) {
        *self.transfer.lock() = Some(Held {
            bringing: Box::pin(bringing),
            driver: None,
        });
    }

    /// Lets the driver of the transfer read what has arrived.
    pub async fn hand_over(&self) {
        self.transfer.pause().await;
    }

    /// Polls the transfer on behalf of a reader that has nothing to read. Returns whether the
    /// reader has to look again, and to drive again if there is nothing for it: it is not woken
    /// otherwise.
    pub fn drive(self: &Arc<Self>, context: &mut Context<'_>) -> bool {
        let transfer = &self.transfer;
        if transfer.has_task.load(Ordering::Acquire) {
            return false;
        }
        let Some(mut held) = transfer.try_lock() else {
            return false;
        };
        let Some(Held { bringing, driver }) = &mut *held else {
            return false;
        };
        let known = driver.get_or_insert_with(|| context.waker().clone());
        if !known.will_wake(context.waker()) && Handle::try_current().is_ok() {
            drop(held);
            self.release();
            return true;
        }
        transfer.has_paused.store(false, Ordering::Release);
        let ended = match bringing.as_mut().poll(context) {
            Poll::Ready(()) => held.take(),
            Poll::Pending => None,
        };
        drop(held);
        if transfer.is_contended.swap(false, Ordering::SeqCst) {
            self.release();
        }
        ended.is_some() || transfer.has_paused.load(Ordering::Acquire)
    }

    /// Gives the transfer a task of its own.
    pub fn release(self: &Arc<Self>) {
        let Some(held) = self.transfer.lock().take() else {
            return;
        };
        self.run(held);
    }

    fn run(self: &Arc<Self>, held: Held) {
        self.transfer.has_task.store(true, Ordering::Release);
        let pace = Arc::clone(self);
        let mut bringing = held.bringing;
        tokio::spawn(poll_fn(move |context| {
            pace.transfer.task.register(context.waker());
            if !pace.is_wanted() {
                return Poll::Ready(());
            }
            bringing.as_mut().poll(context)
        }));
    }

    /// Gives the transfer a task of its own, or tells its task that no reader is left. `false`
    /// where no task can run.
    pub(super) fn outlive(self: &Arc<Self>) -> bool {
        if Handle::try_current().is_err() {
            return false;
        }
        // The last reader may hold a lock that the transfer needs, so it does not wait for it:
        // a thread that polls it now gives it a task.
        if let Some(held) = self.transfer.try_lock().and_then(|mut held| held.take()) {
            self.run(held);
        }
        self.transfer.task.wake();
        true
    }

    /// Ends the transfer: no reader is left.
    pub(super) fn abandon(&self) {
        self.transfer.task.wake();
        let Some(held) = self.transfer.try_lock().and_then(|mut held| held.take()) else {
            return;
        };
        // The last reader may hold a lock that the transfer needs for its end.
        match Handle::try_current() {
            Ok(runtime) => drop(runtime.spawn(async move { drop(held) })),
            Err(_none) => drop(held),
        }
    }
}

impl fmt::Debug for Transfer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Transfer")
            .field("has_task", &self.has_task)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
#[path = "transfer_tests.rs"]
mod tests;
