//! File descriptors: the system's limit, and a reserve that client connections cannot use.

use std::net::TcpStream;
use std::os::fd::AsRawFd;

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// The limit of an unlimited system, and the largest reserve: sources, files and operators need no
/// more.
const MANY: u64 = 1024;

/// The file descriptors of client connections.
#[derive(Debug, Clone, Copy)]
pub(super) struct Descriptors {
    /// The bound of a client connection's descriptor.
    most: u64,
}

/// Raises the limit on file descriptors to the system's maximum, and returns it.
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
    /// The limit of this process.
    pub(super) fn of_process() -> Self {
        let most = getrlimit(Resource::Nofile).current;
        Self {
            most: most.map_or(u64::MAX, |most| most - (most / 4).min(MANY)),
        }
    }

    /// Whether another client connection is allowed. The system assigns the lowest free number, so
    /// a high number shows how many descriptors are in use.
    pub(super) fn allow(self, socket: &TcpStream) -> bool {
        u64::try_from(socket.as_raw_fd()).is_ok_and(|number| number < self.most)
    }
}
