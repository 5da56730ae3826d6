//! The ground: DICOM identifiers and Part 10 bytes. Pure: no I/O, no clock.

mod charset;
pub mod dataset;
pub mod part10;
mod transfer_syntax;
mod uid;

pub use charset::CharacterSet;
pub use transfer_syntax::{Encoding, TransferSyntax};
pub use uid::{NotAUid, SeriesInstanceUid, SopClassUid, SopInstanceUid, StudyInstanceUid, Uid};
