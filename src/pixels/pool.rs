//! The processes that decode, as the gateway sees them.

use std::path::PathBuf;
use std::process::Stdio;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use serde::Deserialize;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::process::{Child, ChildStdin, ChildStdout, Command};
use tokio::sync::Semaphore;
use tokio::time::timeout;

use super::worker::{header, lengths};
use super::{Error, MOST_BYTES, Made, Task};

/// `[rendering]`.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Settings {
    /// Frames that are decoded at the same time, each in a process of its own.
    pub processes: usize,
    /// Frames that wait for one of them at most.
    pub queue: usize,
    /// Seconds that one frame may take.
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

/// Processes that wait for something to decode.
#[derive(Debug, Clone)]
pub struct Pool(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    program: PathBuf,
    settings: Settings,
    seats: Semaphore,
    waiting: Semaphore,
    idle: Mutex<Vec<Worker>>,
}

#[derive(Debug)]
struct Worker {
    // Ends with its handle.
    _child: Child,
    input: ChildStdin,
    output: ChildStdout,
}

/// What a program is called with to decode.
pub const COMMAND: &str = "decode-frames";

impl Pool {
    /// Processes of this program, which calls [`super::run`] for [`COMMAND`]. None is started before
    /// it is needed.
    #[must_use]
    pub fn new(program: PathBuf, settings: Settings) -> Self {
        let processes = settings.processes.max(1);
        Self(Arc::new(Inner {
            seats: Semaphore::new(processes),
            waiting: Semaphore::new(processes + settings.queue),
            idle: Mutex::default(),
            program,
            settings,
        }))
    }

    /// Makes of a frame what the task says.
    ///
    /// # Errors
    /// Why there is nothing to give.
    pub async fn make(&self, task: &Task, frame: &[u8]) -> Result<Made, Error> {
        task.geometry.check()?;
        if frame.len() as u64 > MOST_BYTES {
            return Err(Error::TooLarge);
        }
        let pool = &self.0;
        let _place = pool.waiting.try_acquire().map_err(|_full| Error::Busy)?;
        let _seat = pool.seats.acquire().await.map_err(|_closed| Error::Busy)?;
        let idle = || pool.idle.lock().unwrap_or_else(PoisonError::into_inner);
        let worker = idle().pop();
        let mut worker = match worker {
            Some(worker) => worker,
            None => Worker::start(&pool.program).ok_or(Error::Busy)?,
        };
        let time = Duration::from_secs(pool.settings.seconds);
        match timeout(time, worker.ask(task, frame)).await {
            Ok(Ok(outcome)) => {
                idle().push(worker);
                outcome
            }
            // It has ended, or does not come to an end: it is dropped, and so killed.
            Ok(Err(_)) | Err(_) => Err(Error::Exhausted),
        }
    }
}

impl Worker {
    fn start(program: &PathBuf) -> Option<Self> {
        let mut child = Command::new(program)
            .arg(COMMAND)
            .env_clear()
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .kill_on_drop(true)
            .spawn()
            .inspect_err(|error| tracing::error!(%error, "a decoder cannot be started"))
            .ok()?;
        Some(Self {
            input: child.stdin.take()?,
            output: child.stdout.take()?,
            _child: child,
        })
    }

    async fn ask(&mut self, task: &Task, frame: &[u8]) -> std::io::Result<Result<Made, Error>> {
        let json = serde_json::to_vec(task)?;
        self.input
            .write_all(&header(json.len(), frame.len()))
            .await?;
        self.input.write_all(&json).await?;
        self.input.write_all(frame).await?;
        self.input.flush().await?;
        let mut head = [0; 8];
        self.output.read_exact(&mut head).await?;
        let (json, bytes) = lengths(head);
        if json as u64 + bytes as u64 > 2 * MOST_BYTES {
            return Err(std::io::ErrorKind::InvalidData.into());
        }
        let mut said = vec![0; json];
        self.output.read_exact(&mut said).await?;
        let mut made = vec![0; bytes];
        self.output.read_exact(&mut made).await?;
        let outcome: Result<bool, Error> = serde_json::from_slice(&said)?;
        let bytes = made.into();
        Ok(outcome.map(|is_rgb| Made { bytes, is_rgb }))
    }
}
