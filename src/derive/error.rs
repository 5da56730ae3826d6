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

impl Error {
    /// Whether a response of several instances goes on without the one that this error is about:
    /// its bytes are at fault, rather than their way here, the memory or the gateway. The log says
    /// so.
    pub(super) fn is_passed_over(&self) -> bool {
        let is_of_instance = self.is_of_instance();
        if is_of_instance {
            tracing::warn!(error = %self, "a part of an answer cannot be read or decoded");
        }
        is_of_instance
    }

    /// Whether the bytes of the instance are at fault.
    pub(super) fn is_of_instance(&self) -> bool {
        match self {
            Self::NotAcceptable(_) => true,
            Self::Instance(error) => of_object(error),
            Self::Pixels(error) => *error != pixels::Error::Busy,
            Self::BrokeOff(error) => matches!(error, body::Error::Malformed(_)),
            Self::OfInstancesOnly | Self::Retrieve(_) | Self::Memory(_) | Self::Internal => false,
        }
    }
}

fn of_object(error: &object::Error) -> bool {
    match error {
        object::Error::Body(error) => matches!(error, body::Error::Malformed(_)),
        object::Error::Memory(_) => false,
        object::Error::Part10(_)
        | object::Error::DataSet(_)
        | object::Error::TooLarge
        | object::Error::NoPixelData
        | object::Error::NoFrame(_)
        | object::Error::Pixels(_)
        | object::Error::Offsets
        | object::Error::NoValue => true,
    }
}

/// How a response ends whose head has left: its body breaks off.
impl From<Error> for body::Error {
    fn from(error: Error) -> Self {
        match error {
            Error::BrokeOff(error) => error,
            Error::Memory(error) => error.into(),
            Error::Instance(error) => error.into(),
            Error::Pixels(ref fault) if *fault != pixels::Error::Busy => {
                tracing::info!(%error, "an instance cannot be decoded");
                Self::Malformed("a frame cannot be decoded")
            }
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
