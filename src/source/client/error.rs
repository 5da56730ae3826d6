//! Why there is no response.

use std::io;

use super::connector;
use crate::source;

/// Why there is no response.
#[derive(Debug, thiserror::Error)]
pub(super) enum Error {
    #[error("there is no connection")]
    Connect(#[source] connector::Error),
    #[error("the connection broke")]
    Request(#[from] hyper::Error),
}

impl From<Error> for source::Error {
    fn from(error: Error) -> Self {
        if has_timed_out(&error) {
            return Self::TimedOut;
        }
        match error {
            Error::Connect(_) => {
                tracing::debug!("a source cannot be reached");
                Self::Unreachable
            }
            Error::Request(_) => {
                tracing::debug!("a source closed the connection");
                Self::HungUp
            }
        }
    }
}

fn has_timed_out(error: &Error) -> bool {
    let mut cause: Option<&(dyn std::error::Error + 'static)> = Some(error);
    while let Some(error) = cause {
        let io: Option<&io::Error> = error.downcast_ref();
        if io.is_some_and(|io| io.kind() == io::ErrorKind::TimedOut) {
            return true;
        }
        cause = error.source();
    }
    false
}
