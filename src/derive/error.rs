use crate::request::accept;
use crate::{body, budget, object, pixels, retrieve};

/// Why something cannot be made of an instance.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The resource exists below single instances only.
    #[error("this resource exists for single instances only")]
    OfInstancesOnly,
    /// No source gives the instance.
    #[error(transparent)]
    Retrieve(#[from] retrieve::Error),
    /// The client accepts no representation that can be made.
    #[error(transparent)]
    NotAcceptable(#[from] accept::NotAcceptable),
    /// The budget has no memory for it.
    #[error(transparent)]
    Memory(#[from] budget::Error),
    /// The data set of the instance does not permit it.
    #[error(transparent)]
    Instance(#[from] object::Error),
    /// A frame cannot be decoded or rendered.
    #[error(transparent)]
    Pixels(#[from] pixels::Error),
    /// The instance broke off.
    #[error(transparent)]
    BrokeOff(#[from] body::Error),
    /// A fault of the gateway itself.
    #[error("something went wrong in the gateway")]
    Internal,
}

/// How a response ends whose head has left: its body breaks off.
impl From<Error> for body::Error {
    fn from(error: Error) -> Self {
        match error {
            Error::BrokeOff(error) => error,
            Error::Memory(error) => error.into(),
            Error::Instance(error) => error.into(),
            Error::OfInstancesOnly
            | Error::Retrieve(_)
            | Error::NotAcceptable(_)
            | Error::Pixels(_)
            | Error::Internal => {
                tracing::info!(%error, "an instance cannot be opened again");
                Self::Disconnected
            }
        }
    }
}
