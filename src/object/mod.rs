//! Reads one SOP instance as it arrives: its data set without large values, and the layout of its
//! pixel data.
//!
//! Memory does not grow with the size of an instance: large values are skipped, and in a file they
//! are not even read.

mod inflate;
pub mod layout;
pub mod lettering;
mod reader;
mod shading;
mod skim;
mod transcode;

pub use layout::{Encapsulated, Layout, Native, Span, geometry};
pub use reader::Reader;
pub use shading::shading;
pub use skim::{Extent, Large, Skimmed, plain, skim};
pub use transcode::{DecodedPixels, decoded, explicit_little, is_rewritable};

use crate::body;
use crate::budget;
use crate::dicom::{dataset, part10};

/// The initial memory for a data set; most need no more.
pub const LEAST_KEPT: u64 = 32 << 10;
/// The most bytes of a data set without its large values.
pub const MOST_KEPT: usize = 64 << 20;

/// Why an instance was not read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// Its bytes were aborted.
    #[error(transparent)]
    Body(#[from] body::Error),
    /// It is not a Part 10 file.
    #[error(transparent)]
    Part10(#[from] part10::Error),
    /// Its data set is malformed or truncated.
    #[error(transparent)]
    DataSet(#[from] dataset::Error),
    /// Its data set is larger than [`MOST_KEPT`] without its large values.
    #[error("the data set is larger than {} MiB without its pixel data", MOST_KEPT >> 20)]
    TooLarge,
    /// The budget has no memory for it.
    #[error(transparent)]
    Memory(#[from] budget::Error),
    /// It has no pixel data.
    #[error("the instance has no pixel data")]
    NoPixelData,
    /// It has fewer frames than the requested number.
    #[error("the instance has only {0} frames")]
    NoFrame(u32),
    /// Its pixel data contradict its attributes.
    #[error("the pixel data contradict their attributes: {0}")]
    Pixels(&'static str),
    /// Its offset table leads elsewhere than to its frames.
    #[error("the offset table of the pixel data is false")]
    Offsets,
    /// It lacks the requested value.
    #[error("the instance has no such value")]
    NoValue,
}

/// For responses that have begun and can only be aborted.
impl From<Error> for body::Error {
    fn from(error: Error) -> Self {
        match error {
            Error::Body(error) => error,
            Error::Part10(_) | Error::DataSet(_) => Self::Malformed("an instance cannot be read"),
            Error::TooLarge => Self::Malformed("a data set is too large"),
            Error::Memory(error) => Self::Memory(error),
            Error::NoPixelData
            | Error::NoFrame(_)
            | Error::Pixels(_)
            | Error::Offsets
            | Error::NoValue => Self::Malformed("an instance has no such frame"),
        }
    }
}
