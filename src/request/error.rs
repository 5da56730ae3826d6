use super::xc_wado;

/// Why a path or a query names nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// The resource does not exist.
    #[error("the resource does not exist")]
    Unknown,
    /// A path segment is not a UID where the grammar has one.
    #[error("{0} is not a UID")]
    NotAUid(&'static str),
    /// A list of frames is none.
    #[error("frames are named by distinct numbers from 1 on, separated by commas")]
    Frames,
    /// A query parameter cannot be read.
    #[error("the query parameter {0} cannot be read")]
    Query(&'static str),
    /// A query parameter is not known here.
    #[error("there is a query parameter that is not known here")]
    UnknownParameter,
    /// The body of a request is not what it has to be: this.
    #[error("the body of the request has to be: {0}")]
    Body(&'static str),
    /// It is below the path of RAD-160 and not in its grammar.
    #[error(transparent)]
    XcWado(#[from] xc_wado::Error),
}
