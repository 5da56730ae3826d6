//! The pool of decoder processes, on the gateway's side.

use std::io;
use std::os::unix::process::ExitStatusExt;
use std::path::PathBuf;
use std::process::Stdio;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;

use rustix::process::Signal;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::process::{Child, ChildStdin, ChildStdout, Command};
use tokio::time::error::Elapsed;
use tokio::time::timeout;

use super::worker::{header, lengths};
use super::{Error, MOST_BYTES, Product, Sandbox, Task};
use crate::budget::{self, Bounds, Fair, Share};

/// `[rendering]`.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Settings {
    /// Decoder processes; each decodes one frame at a time.
    pub processes: usize,
    /// The most frames in the queue for a process; half as many of one client.
    pub queue: usize,
    /// The time-out of one frame, in seconds.
    pub seconds: u64,
}

impl Default for Settings {
    fn default() -> Self {
        let processes = std::thread::available_parallelism().map_or(2, std::num::NonZero::get);
        Self {
            processes,
            queue: 256,
            seconds: 10,
        }
    }
}

/// The most bytes of JSON in the reply of a decoder.
const MOST_REPLY_JSON: u64 = 64 << 10;
/// How long the kernel may take to end a process that has closed its output.
const END: Duration = Duration::from_secs(1);

/// A pool of decoder processes.
#[derive(Debug, Clone)]
pub struct Pool(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    program: PathBuf,
    settings: Settings,
    /// One for each process; clients take turns.
    seats: Fair,
    idle: Mutex<Vec<Worker>>,
    /// That of the first process, once it is in the log.
    sandbox: OnceLock<Sandbox>,
}

#[derive(Debug)]
struct Worker {
    // Killed on drop.
    child: Child,
    input: ChildStdin,
    output: ChildStdout,
}

/// Why a process did not reply.
enum Failure {
    /// The process has exited, or its reply is malformed.
    Ended,
    /// The kernel has killed the process for a system call.
    Forbidden,
    /// The process exceeded the time-out.
    Late,
    /// The budget has no memory for the reply.
    NoMemory(budget::Error),
    /// The decoder refused the frame.
    Frame(Error),
}

/// The command-line argument that starts a decoder; the ID of the parent process follows.
pub const COMMAND: &str = "decode-frames";

impl Pool {
    /// A pool of processes of `program`, which calls [`super::run`] for [`COMMAND`]. Processes
    /// start on demand.
    #[must_use]
    pub fn new(program: PathBuf, settings: Settings) -> Self {
        let processes = settings.processes.max(1) as u64;
        Self(Arc::new(Inner {
            seats: Fair::new(Bounds {
                total: processes,
                each: processes,
                waiting: settings.queue,
                waiting_each: settings.queue.div_ceil(2),
            }),
            idle: Mutex::default(),
            sandbox: OnceLock::new(),
            program,
            settings,
        }))
    }

    /// Runs a task on a frame. `share` holds the memory of the frame and of the output.
    ///
    /// # Errors
    /// Why the frame was not decoded or rendered.
    pub async fn decode(
        &self,
        task: &Task,
        frame: Vec<u8>,
        mut share: Share,
    ) -> Result<Product, Error> {
        task.geometry.check()?;
        if frame.len() as u64 > MOST_BYTES {
            return Err(Error::TooLarge);
        }
        let client = share.account().client();
        // Each seat is freed within `seconds`, so the wait for one is bounded.
        let seat = self.0.seats.take(client, 1, Duration::MAX).await;
        let _seat = seat.map_err(|_full| Error::Busy)?;
        let product = self.dispatch(task, &frame, &mut share).await?;
        drop(frame);
        Ok(Product {
            bytes: share.hold(product.bytes),
            ..product
        })
    }

    /// An idle process may have exited for reasons of its own, so its failure is retried in a new
    /// process. Only the exit of a process that was started for the frame is blamed on the frame.
    async fn dispatch(
        &self,
        task: &Task,
        frame: &[u8],
        share: &mut Share,
    ) -> Result<Product, Error> {
        if let Some(worker) = self.idle() {
            match self.run_on(worker, task, frame, share).await {
                Err(Failure::Ended) => tracing::info!("an idle decoder has exited"),
                outcome => return outcome.map_err(Failure::error),
            }
        }
        let worker = self.start().await?;
        let outcome = self.run_on(worker, task, frame, share).await;
        outcome.map_err(Failure::error)
    }

    /// Starts a process, which enters its sandbox before it reads a frame.
    async fn start(&self) -> Result<Worker, Error> {
        let mut worker = Worker::start(&self.0.program).ok_or(Error::Busy)?;
        let time = Duration::from_secs(self.0.settings.seconds);
        let said = timeout(time, worker.reply::<Sandbox>()).await;
        let Ok(Ok((sandbox, 0))) = said else {
            tracing::error!("a decoder did not enter its sandbox");
            return Err(Error::Busy);
        };
        self.0.sandbox.get_or_init(|| {
            sandbox.log();
            sandbox
        });
        Ok(worker)
    }

    /// Starts a process to find out how the kernel confines it, unless that is known.
    ///
    /// # Errors
    /// [`Error::Busy`] if it does not start.
    pub async fn sandbox(&self) -> Result<Sandbox, Error> {
        if self.0.sandbox.get().is_none() {
            self.start().await?;
        }
        self.0.sandbox.get().cloned().ok_or(Error::Busy)
    }

    /// An idle process that has not exited.
    fn idle(&self) -> Option<Worker> {
        loop {
            let mut worker = self.all_idle().pop()?;
            if matches!(worker.child.try_wait(), Ok(None)) {
                return Some(worker);
            }
        }
    }

    fn all_idle(&self) -> MutexGuard<'_, Vec<Worker>> {
        self.0.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Runs a task on a process and returns the process to the pool. A process that fails is
    /// dropped, which kills it.
    async fn run_on(
        &self,
        mut worker: Worker,
        task: &Task,
        frame: &[u8],
        share: &mut Share,
    ) -> Result<Product, Failure> {
        let time = Duration::from_secs(self.0.settings.seconds);
        let (said, bytes) = match timeout(time, worker.ask(task, frame)).await? {
            Err(Failure::Ended) => return Err(worker.cause().await),
            outcome => outcome?,
        };
        let needed = (frame.len() + bytes) as u64;
        share.grow(needed).await.map_err(Failure::NoMemory)?;
        let mut made = vec![0; bytes];
        timeout(time, worker.output.read_exact(&mut made)).await??;
        self.all_idle().push(worker);
        let is_rgb = said.map_err(Failure::Frame)?;
        let bytes = made.into();
        Ok(Product { bytes, is_rgb })
    }
}

impl Failure {
    fn error(self) -> Error {
        match self {
            Self::Ended | Self::Late => Error::Exhausted,
            Self::Forbidden => Error::Forbidden,
            Self::NoMemory(budget::Error::Busy) => Error::Busy,
            Self::NoMemory(budget::Error::TooLarge) => Error::TooLarge,
            Self::Frame(error) => error,
        }
    }
}

impl From<io::Error> for Failure {
    fn from(_broken_pipe: io::Error) -> Self {
        Self::Ended
    }
}

impl From<Elapsed> for Failure {
    fn from(_late: Elapsed) -> Self {
        Self::Late
    }
}

impl Worker {
    fn start(program: &PathBuf) -> Option<Self> {
        let mut child = Command::new(program)
            .arg(COMMAND)
            .arg(std::process::id().to_string())
            .env_clear()
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .kill_on_drop(true)
            .spawn()
            .inspect_err(|error| tracing::error!(%error, "failed to start a decoder"))
            .ok()?;
        Some(Self {
            input: child.stdin.take()?,
            output: child.stdout.take()?,
            child,
        })
    }

    /// Sends a task. The reply says whether the samples are red, green and blue now, or why the
    /// decoder failed, and how many bytes follow.
    async fn ask(
        &mut self,
        task: &Task,
        frame: &[u8],
    ) -> Result<(Result<bool, Error>, usize), Failure> {
        let json = serde_json::to_vec(task).map_err(io::Error::from)?;
        self.input
            .write_all(&header(json.len(), frame.len()))
            .await?;
        self.input.write_all(&json).await?;
        self.input.write_all(frame).await?;
        self.input.flush().await?;
        self.reply().await
    }

    /// The head of a message: its JSON, and how many bytes follow.
    async fn reply<T: DeserializeOwned>(&mut self) -> Result<(T, usize), Failure> {
        let mut head = [0; 8];
        self.output.read_exact(&mut head).await?;
        let (json, bytes) = lengths(head);
        if json as u64 > MOST_REPLY_JSON || bytes as u64 > 2 * MOST_BYTES {
            return Err(Failure::Ended);
        }
        let mut said = vec![0; json];
        self.output.read_exact(&mut said).await?;
        let said = serde_json::from_slice(&said).map_err(io::Error::from)?;
        Ok((said, bytes))
    }

    /// Why a process has ended.
    async fn cause(mut self) -> Failure {
        let status = timeout(END, self.child.wait()).await;
        let signal = status
            .ok()
            .and_then(Result::ok)
            .and_then(|status| status.signal());
        if signal != Some(Signal::SYS.as_raw()) {
            return Failure::Ended;
        }
        tracing::error!("a decoder made a system call that decoders do not make, and was killed");
        Failure::Forbidden
    }
}
