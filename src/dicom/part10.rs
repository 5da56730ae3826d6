//! Parses Part 10 files (PS3.10 7): file meta information, then a data set. All bytes from outside
//! enter here.

use std::borrow::Cow;

use dicom_core::Tag;
use flate2::{Decompress, FlushDecompress, Status};

use super::dataset::{self, DataSet};
use super::patient::{PatientElements, PatientIds};
use super::transfer_syntax::{Encoding, TransferSyntax};
use super::uid::{SeriesInstanceUid, SopClassUid, SopInstanceUid, StudyInstanceUid};

/// The limit of a file that is read as a whole, and of the inflated size of a deflated one.
pub const MAX_FILE: usize = 64 << 20;

/// The most bytes before the Series Instance UID. An instance without identifying UIDs in them is
/// refused.
pub const MAX_HEAD: usize = 1 << 20;

const PREAMBLE: usize = 128;
const TRANSFER_SYNTAX_UID: Tag = Tag(0x0002, 0x0010);
const SOP_CLASS_UID: Tag = Tag(0x0008, 0x0016);
const SOP_INSTANCE_UID: Tag = Tag(0x0008, 0x0018);
const STUDY_INSTANCE_UID: Tag = Tag(0x0020, 0x000D);
const SERIES_INSTANCE_UID: Tag = Tag(0x0020, 0x000E);

/// Why bytes are not a usable Part 10 file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// The preamble is not followed by `DICM`.
    #[error("not a DICOM Part 10 file")]
    NotPart10,
    /// The file meta information names no transfer syntax.
    #[error("the file meta information names no transfer syntax")]
    NoTransferSyntax,
    /// The file is larger than [`MAX_FILE`], or inflates to more.
    #[error("larger than {} MiB", MAX_FILE >> 20)]
    TooLarge,
    /// The deflated data set cannot be inflated.
    #[error("the deflated data set is damaged")]
    Deflate,
    /// An identifying UID is missing or malformed, or follows [`MAX_HEAD`] bytes.
    #[error("the instance lacks an identifying UID in its first bytes")]
    Unidentified,
    /// The data set is malformed.
    #[error(transparent)]
    DataSet(#[from] dataset::Error),
}

/// A whole Part 10 file.
#[derive(Debug)]
pub struct File<'a> {
    transfer_syntax: TransferSyntax,
    bytes: Cow<'a, [u8]>,
}

impl<'a> File<'a> {
    /// Opens a file and validates all of it: its size, its nesting, and every length. A deflated
    /// file takes memory for its inflated bytes, [`MAX_FILE`] at most; others take none beside
    /// `bytes`.
    ///
    /// # Errors
    /// Why the file is malformed.
    pub fn open(bytes: &'a [u8]) -> Result<Self, Error> {
        if bytes.len() > MAX_FILE {
            return Err(Error::TooLarge);
        }
        let meta = Meta::read(bytes)?;
        let rest = &bytes[meta.end..];
        let bytes = match meta.transfer_syntax.encoding() {
            Encoding::Deflated => Cow::Owned(inflate(rest, MAX_FILE)?),
            Encoding::ImplicitLittle | Encoding::ExplicitLittle | Encoding::ExplicitBig => {
                Cow::Borrowed(rest)
            }
        };
        let file = Self {
            transfer_syntax: meta.transfer_syntax,
            bytes,
        };
        file.data_set().check()?;
        Ok(file)
    }

    /// Its data set.
    #[must_use]
    pub fn data_set(&self) -> DataSet<'_> {
        DataSet::new(&self.bytes, self.transfer_syntax.encoding())
    }
}

/// The identity of an instance, as its bytes declare it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Identity {
    /// SOP Class UID (0008,0016).
    pub sop_class: SopClassUid,
    /// SOP Instance UID (0008,0018).
    pub sop_instance: SopInstanceUid,
    /// Study Instance UID (0020,000D).
    pub study: StudyInstanceUid,
    /// Series Instance UID (0020,000E).
    pub series: SeriesInstanceUid,
    /// Transfer syntax (0002,0010).
    pub transfer_syntax: TransferSyntax,
    /// Patient ID (0010,0020) and Other Patient IDs Sequence (0010,1002), with their issuers.
    pub patient: PatientIds,
}

impl Identity {
    /// Parses the identity from the first bytes of an instance. `None`: more bytes are needed.
    ///
    /// # Errors
    /// Why they are malformed; [`Error::Unidentified`] if [`MAX_HEAD`] bytes lack a UID.
    pub fn read(prefix: &[u8]) -> Result<Option<Self>, Error> {
        // Bytes behind the head must not change the result.
        let head = &prefix[..prefix.len().min(MAX_HEAD)];
        match Self::try_read(head) {
            Err(Error::DataSet(dataset::Error::Truncated)) if head.len() < MAX_HEAD => Ok(None),
            Err(Error::DataSet(dataset::Error::Truncated)) => Err(Error::Unidentified),
            other => other.map(Some),
        }
    }

    fn try_read(prefix: &[u8]) -> Result<Self, Error> {
        let meta = Meta::read(prefix)?;
        let rest = &prefix[meta.end..];
        match meta.transfer_syntax.encoding() {
            Encoding::Deflated => {
                let inflated = inflate_prefix(rest, MAX_HEAD)?;
                Self::of(
                    DataSet::new(&inflated, Encoding::Deflated),
                    meta.transfer_syntax,
                )
            }
            encoding @ (Encoding::ImplicitLittle
            | Encoding::ExplicitLittle
            | Encoding::ExplicitBig) => {
                Self::of(DataSet::new(rest, encoding), meta.transfer_syntax)
            }
        }
    }

    fn of(set: DataSet<'_>, transfer_syntax: TransferSyntax) -> Result<Self, Error> {
        let (mut sop_class, mut sop_instance, mut study) = (None, None, None);
        let mut patient = PatientElements::default();
        for element in set.elements() {
            let element = element?;
            let text = || element.ascii().unwrap_or_default();
            match element.tag {
                SOP_CLASS_UID => sop_class = SopClassUid::parse(text()).ok(),
                SOP_INSTANCE_UID => sop_instance = SopInstanceUid::parse(text()).ok(),
                STUDY_INSTANCE_UID => study = StudyInstanceUid::parse(text()).ok(),
                SERIES_INSTANCE_UID => {
                    // Elements are sorted (PS3.5 7.1), so the others came earlier.
                    let series = SeriesInstanceUid::parse(text()).ok();
                    let patient = PatientIds::read(&set, &patient);
                    return Self::whole(sop_class, sop_instance, study, series, transfer_syntax)
                        .map(|identity| Self {
                            patient,
                            ..identity
                        })
                        .ok_or(Error::Unidentified);
                }
                tag if tag > SERIES_INSTANCE_UID => return Err(Error::Unidentified),
                _ => patient.note(element),
            }
        }
        // The prefix ended between two elements.
        Err(dataset::Error::Truncated.into())
    }

    fn whole(
        sop_class: Option<SopClassUid>,
        sop_instance: Option<SopInstanceUid>,
        study: Option<StudyInstanceUid>,
        series: Option<SeriesInstanceUid>,
        transfer_syntax: TransferSyntax,
    ) -> Option<Self> {
        Some(Self {
            sop_class: sop_class?,
            sop_instance: sop_instance?,
            study: study?,
            series: series?,
            transfer_syntax,
            patient: PatientIds::default(),
        })
    }
}

/// The file meta information.
#[derive(Debug, Clone)]
pub struct Meta {
    /// Transfer syntax (0002,0010).
    pub transfer_syntax: TransferSyntax,
    /// The offset of the data set.
    pub end: usize,
}

impl Meta {
    /// Parses the file meta information in the first bytes of a file.
    ///
    /// # Errors
    /// [`dataset::Error::Truncated`] if it does not end in them, or why it is malformed.
    // PS3.10 7.1. The group length (0002,0000) is ignored: some writers get it wrong.
    pub fn read(bytes: &[u8]) -> Result<Self, Error> {
        let head = bytes.get(..PREAMBLE + 4).ok_or_else(|| short(bytes))?;
        if &head[PREAMBLE..] != b"DICM" {
            return Err(Error::NotPart10);
        }
        let start = PREAMBLE + 4;
        let mut end = start;
        let mut transfer_syntax = None;
        let meta = DataSet::new(&bytes[start..], Encoding::ExplicitLittle);
        for element in meta.elements() {
            // The data set may have another encoding, so only its first tag is read.
            if bytes.get(end..end + 2).is_some_and(|group| group != [2, 0]) {
                break;
            }
            let element = element?;
            end = offset_in(bytes, element.bytes()) + element.bytes().len();
            if element.tag == TRANSFER_SYNTAX_UID {
                transfer_syntax = element
                    .ascii()
                    .and_then(|uid| TransferSyntax::parse(uid).ok());
            }
        }
        if bytes.len() < end + 2 {
            return Err(dataset::Error::Truncated.into());
        }
        let transfer_syntax = transfer_syntax.ok_or(Error::NoTransferSyntax)?;
        Ok(Self {
            transfer_syntax,
            end,
        })
    }
}

fn short(bytes: &[u8]) -> Error {
    match bytes.get(PREAMBLE..) {
        Some(magic) if !b"DICM".starts_with(magic) => Error::NotPart10,
        Some(_) | None => dataset::Error::Truncated.into(),
    }
}

fn offset_in(whole: &[u8], part: &[u8]) -> usize {
    part.as_ptr().addr() - whole.as_ptr().addr()
}

fn inflate(deflated: &[u8], limit: usize) -> Result<Vec<u8>, Error> {
    let (bytes, status) = inflate_up_to(deflated, limit)?;
    match status {
        Status::StreamEnd => Ok(bytes),
        Status::Ok | Status::BufError if bytes.len() >= limit => Err(Error::TooLarge),
        Status::Ok | Status::BufError => Err(dataset::Error::Truncated.into()),
    }
}

fn inflate_prefix(deflated: &[u8], limit: usize) -> Result<Vec<u8>, Error> {
    inflate_up_to(deflated, limit).map(|(bytes, _status)| bytes)
}

// PS3.5 A.5: raw deflate, RFC 1951.
fn inflate_up_to(deflated: &[u8], limit: usize) -> Result<(Vec<u8>, Status), Error> {
    let mut inflater = Decompress::new(false);
    let mut out = Vec::new();
    loop {
        let room = limit.saturating_sub(out.len()).min(out.len().max(16 << 10));
        if room == 0 {
            return Ok((out, Status::BufError));
        }
        out.reserve_exact(room);
        let used = usize::try_from(inflater.total_in()).map_err(|_too_big| Error::TooLarge)?;
        let before = out.len();
        let status = inflater
            .decompress_vec(&deflated[used..], &mut out, FlushDecompress::None)
            .map_err(|_damaged| Error::Deflate)?;
        let at_end = usize::try_from(inflater.total_in()).is_ok_and(|n| n == deflated.len());
        if status == Status::StreamEnd || (at_end && out.len() == before) {
            return Ok((out, status));
        }
        if out.len() == before && status == Status::BufError {
            return Ok((out, status));
        }
    }
}

#[cfg(test)]
#[path = "part10_tests.rs"]
mod tests;
