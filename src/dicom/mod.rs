//! DICOM identifiers, media types, data sets and Part 10 files. Pure: no I/O, no clock.

mod charset;
pub mod dataset;
pub mod explicit;
pub mod from_json;
pub mod json;
pub mod media_type;
pub mod part10;
mod patient;
mod tag;
mod transfer_syntax;
mod uid;
mod vr;
pub mod walk;

pub use charset::CharacterSet;
pub use json::most_written;
pub use media_type::MediaType;
pub use patient::{Comparison, Pair, PatientId, PatientIds};
pub use tag::{digits, is_address, tag};
pub use transfer_syntax::{Encoding, TransferSyntax, TransferSyntaxes};
pub use uid::{NotAUid, SeriesInstanceUid, SopClassUid, SopInstanceUid, StudyInstanceUid, Uid};
pub use vr::value_representation;
