//! File descriptors: as many as the system gives, and some of them for others than clients.

use std::os::fd::AsRawFd;

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tokio::net::TcpStream;

/// Where there is no limit, and the most that is kept free: sources, files and operators need no more.
const MANY: u64 = 1024;

/// How many file descriptors clients may have.
#[derive(Debug, Clone, Copy)]
pub(super) struct Descriptors {
    /// A client's connection gets a lower number than this.
    most: u64,
}

/// Raises the limit on file descriptors as far as the system lets us, and says what it is.
pub fn raise_limit() {
    let limit = getrlimit(Resource::Nofile);
    let raised = Rlimit {
        current: limit.maximum,
        maximum: limit.maximum,
    };
    if limit.current != limit.maximum
        && let Err(error) = setrlimit(Resource::Nofile, raised)
    {
        tracing::warn!(%error, "the limit on open files cannot be raised");
    }
    let limit = getrlimit(Resource::Nofile).current;
    tracing::info!(limit, "open files");
}

impl Descriptors {
    /// Those that the process may have now.
    pub(super) fn of_process() -> Self {
        let most = getrlimit(Resource::Nofile).current;
        Self {
            most: most.map_or(u64::MAX, |most| most - (most / 4).min(MANY)),
        }
    }

    /// Whether a client may have one more. The system gives the lowest number that is free, so a high one
    /// says how many are in use.
    pub(super) fn allow(self, socket: &TcpStream) -> bool {
        u64::try_from(socket.as_raw_fd()).is_ok_and(|number| number < self.most)
    }
}
