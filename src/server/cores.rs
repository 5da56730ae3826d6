//! One current-thread runtime for each core.
//!
//! A connection belongs to the core that had the fewest when it was accepted. Its requests, their
//! fetches and their responses run there, and wake no other thread.

use std::future::Future;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use futures_util::FutureExt;
use tokio::runtime::{Builder, Handle, Runtime};
use tokio_util::sync::CancellationToken;

/// Threads of one runtime for work that blocks.
const BLOCKING_THREADS: usize = 256;
/// The time for blocking work to end when the runtimes end.
const FAREWELL: Duration = Duration::from_millis(200);

/// The runtimes, which end with this value.
#[derive(Debug)]
pub struct Cores {
    all: Vec<Core>,
    ending: CancellationToken,
}

#[derive(Debug)]
struct Core {
    runtime: Handle,
    connections: Arc<AtomicUsize>,
    thread: Option<JoinHandle<()>>,
}

/// The place of a connection on a core, until it is dropped.
#[derive(Debug)]
pub(super) struct Place {
    runtime: Handle,
    connections: Arc<AtomicUsize>,
}

impl Cores {
    /// Starts `threads` runtimes; 0: one for each core of this machine.
    ///
    /// # Errors
    /// If the system has no threads or descriptors left.
    pub fn start(threads: usize) -> io::Result<Self> {
        let threads = match threads {
            0 => thread::available_parallelism().map_or(1, Into::into),
            threads => threads,
        };
        let mut cores = Self {
            all: Vec::with_capacity(threads),
            ending: CancellationToken::new(),
        };
        for number in 0..threads {
            let core = Core::start(number, cores.ending.clone())?;
            cores.all.push(core);
        }
        Ok(cores)
    }

    /// The runtime of the current task alone, for connections that cost little.
    pub(super) fn of_this_task() -> Self {
        let core = Core {
            runtime: Handle::current(),
            connections: Arc::default(),
            thread: None,
        };
        Self {
            all: vec![core],
            ending: CancellationToken::new(),
        }
    }

    /// A place on the core with the fewest connections; `None` only without cores.
    pub(super) fn place(&self) -> Option<Place> {
        let load = |core: &&Core| core.connections.load(Ordering::Relaxed);
        let core = self.all.iter().min_by_key(load)?;
        core.connections.fetch_add(1, Ordering::Relaxed);
        Some(Place {
            runtime: core.runtime.clone(),
            connections: Arc::clone(&core.connections),
        })
    }
}

impl Core {
    fn start(number: usize, ending: CancellationToken) -> io::Result<Self> {
        let runtime = Builder::new_current_thread()
            .enable_all()
            .max_blocking_threads(BLOCKING_THREADS)
            .build()?;
        let handle = runtime.handle().clone();
        let thread = thread::Builder::new()
            .name(format!("core-{number}"))
            .spawn(move || run(runtime, &ending))?;
        Ok(Self {
            runtime: handle,
            connections: Arc::default(),
            thread: Some(thread),
        })
    }
}

fn run(runtime: Runtime, ending: &CancellationToken) {
    runtime.block_on(ending.cancelled());
    runtime.shutdown_timeout(FAREWELL);
}

impl Drop for Cores {
    fn drop(&mut self) {
        self.ending.cancel();
        for core in &mut self.all {
            // A thread that has panicked has reported that itself.
            let _ = core.thread.take().map(JoinHandle::join);
        }
    }
}

impl Place {
    /// Runs a connection on its core.
    pub(super) fn run(self, connection: impl Future<Output = ()> + Send + 'static) {
        let runtime = self.runtime.clone();
        // An `async` block that awaits it would have two places for it in each connection's task.
        runtime.spawn(connection.map(move |()| drop(self)));
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.connections.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use std::thread::ThreadId;

    use tokio::sync::oneshot;

    use super::*;

    /// The thread that runs a connection, which stays open until the sender is dropped.
    fn open(cores: &Cores) -> (ThreadId, oneshot::Sender<()>) {
        let (close, closed) = oneshot::channel::<()>();
        let (told, thread) = std::sync::mpsc::channel();
        let place = cores.place().expect("a core");
        place.run(async move {
            told.send(thread::current().id()).expect("a reader");
            let _ = closed.await;
        });
        (thread.recv().expect("a thread"), close)
    }

    #[test]
    fn a_connection_goes_to_the_core_with_the_fewest() {
        let cores = Cores::start(2).expect("two threads");
        let opened: Vec<_> = (0..6).map(|_| open(&cores)).collect();
        let on_first = opened.iter().filter(|(id, _)| *id == opened[0].0).count();
        assert_eq!(
            on_first, 3,
            "six connections are three for each of two cores"
        );
    }

    #[test]
    fn a_closed_connection_leaves_its_place() {
        let cores = Cores::start(2).expect("two threads");
        let (first, close) = open(&cores);
        let (second, _other) = open(&cores);
        assert_ne!(first, second);
        drop(close);
        while cores
            .all
            .iter()
            .all(|core| core.connections.load(Ordering::Relaxed) > 0)
        {
            thread::yield_now();
        }
        let (third, _close) = open(&cores);
        assert_eq!(third, first);
    }
}
