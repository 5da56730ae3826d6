//! One SOP instance as it arrives: its data set without what is large, and where its pixels are.
//!
//! Whatever the size of an instance, little of it is in memory: large values are passed over, and
//! where the instance is a file, they are not even read.

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

/// The memory that reading a data set begins with; most need no more.
pub const LEAST_KEPT: u64 = 32 << 10;
/// Most that the data set of an instance may take without its large values.
pub const MOST_KEPT: usize = 64 << 20;

/// Why an instance cannot be used for something.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// Its bytes broke off.
    #[error(transparent)]
    Body(#[from] body::Error),
    /// It is no Part 10 file.
    #[error(transparent)]
    Part10(#[from] part10::Error),
    /// It has no data set, or not all of it.
    #[error(transparent)]
    DataSet(#[from] dataset::Error),
    /// Its data set is larger than [`MOST_KEPT`] without its large values.
    #[error("the data set is larger than {} MiB without its pixel data", MOST_KEPT >> 20)]
    TooLarge,
    /// There is no memory for it.
    #[error(transparent)]
    Memory(#[from] budget::Error),
    /// It has no pixel data.
    #[error("the instance has no pixel data")]
    NoPixelData,
    /// It has fewer frames than that.
    #[error("the instance has {0} frames only")]
    NoFrame(u32),
    /// Its pixel data are not what its attributes say.
    #[error("the pixel data do not fit their description: {0}")]
    Pixels(&'static str),
    /// There is no such value in it.
    #[error("the instance has no such value")]
    NoValue,
}

/// What is wrong with an instance, where it is too late for anything but to break off.
impl From<Error> for body::Error {
    fn from(error: Error) -> Self {
        match error {
            Error::Body(error) => error,
            Error::Part10(_) | Error::DataSet(_) => Self::Malformed("an instance cannot be read"),
            Error::TooLarge => Self::Malformed("a data set is too large"),
            Error::Memory(error) => Self::Memory(error),
            Error::NoPixelData | Error::NoFrame(_) | Error::Pixels(_) | Error::NoValue => {
                Self::Malformed("an instance has no such frame")
            }
        }
    }
}
