//! The ground: DICOM identifiers and Part 10 bytes. Pure: no I/O, no clock.

mod transfer_syntax;
mod uid;

pub use transfer_syntax::{Encoding, TransferSyntax};
pub use uid::{NotAUid, SeriesInstanceUid, SopClassUid, SopInstanceUid, StudyInstanceUid, Uid};
