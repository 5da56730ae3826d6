//! Parses Part 10 files (PS3.10 7): file meta information, then a data set. All bytes from outside
//! enter here.

use std::borrow::Cow;

use dicom_core::Tag;
use flate2::{Decompress, FlushDecompress, Status};

use super::dataset::{self, DataSet};
use super::patient::{PatientElements, PatientIds};
use super::transfer_syntax::{Encoding, TransferSyntax};
use super::uid::{SeriesInstanceUid, SopClassUid, SopInstanceUid, StudyInstanceUid};
use super::value_representation;

/// The limit of a file that is read as a whole, and of the inflated size of a deflated one.
pub const MAX_FILE: usize = 64 << 20;

/// The most bytes before the Series Instance UID. An instance without identifying UIDs in them is
/// refused.
pub const MAX_HEAD: usize = 1 << 20;

const PREAMBLE: usize = 128;
const MAGIC: &[u8; 4] = b"DICM";
const TRANSFER_SYNTAX_UID: Tag = Tag(0x0002, 0x0010);
const PIXEL_DATA: Tag = Tag(0x7FE0, 0x0010);
const SOP_CLASS_UID: Tag = Tag(0x0008, 0x0016);
const SOP_INSTANCE_UID: Tag = Tag(0x0008, 0x0018);
const STUDY_INSTANCE_UID: Tag = Tag(0x0020, 0x000D);
const SERIES_INSTANCE_UID: Tag = Tag(0x0020, 0x000E);

/// Why bytes are not a usable Part 10 file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// It does not begin with file meta information, with or without a preamble and `DICM`.
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
        DataSet::new(&self.bytes, self.transfer_syntax.encoding()).without_tail()
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
        if let Some(transfer_syntax) = bare(prefix) {
            let encoding = transfer_syntax.encoding();
            return Self::of(DataSet::new(prefix, encoding), transfer_syntax);
        }
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
        let mut found = Uids::default();
        let mut patient = PatientElements::default();
        for element in set.elements() {
            let element = element?;
            let text = element.ascii().unwrap_or_default();
            let no_uid = |_malformed| Error::Unidentified;
            match element.tag {
                SOP_CLASS_UID => {
                    found.sop_class = SopClassUid::parse(text).map(Some).map_err(no_uid)?
                }
                SOP_INSTANCE_UID => {
                    found.sop_instance = SopInstanceUid::parse(text).map(Some).map_err(no_uid)?;
                }
                STUDY_INSTANCE_UID => {
                    found.study = StudyInstanceUid::parse(text).map(Some).map_err(no_uid)?;
                }
                SERIES_INSTANCE_UID => {
                    found.series = SeriesInstanceUid::parse(text).map(Some).map_err(no_uid)?;
                }
                PIXEL_DATA => return Err(Error::Unidentified),
                // Elements are sorted (PS3.5 7.1), but not by every writer.
                // Patient ID is lower than Series Instance UID where elements are sorted; where
                // they are not, what comes later does not count.
                _ => {
                    patient.note(element);
                    continue;
                }
            }
            if found.is_whole() {
                let patient = PatientIds::read(&set, &patient);
                let identity = found.identity(transfer_syntax).ok_or(Error::Unidentified)?;
                return Ok(Self {
                    patient,
                    ..identity
                });
            }
        }
        // The prefix ended between two elements.
        Err(dataset::Error::Truncated.into())
    }
}

/// The transfer syntax of a data set without file meta information, as some servers send it, by its
/// first bytes: group 8, and a value representation or a length. `None` if they are something else.
///
/// Such a data set cannot say that it is compressed.
#[must_use]
pub fn bare(bytes: &[u8]) -> Option<TransferSyntax> {
    const LONGEST_FIRST: u32 = 1 << 16;
    let [g, h, _, _, a, b, c, d] = *bytes.first_chunk()?;
    let has_representation = value_representation([a, b]).is_some();
    let length = u32::from_le_bytes([a, b, c, d]);
    let uid = match ([g, h], has_representation) {
        ([8, 0], true) => TransferSyntax::EXPLICIT_VR_LITTLE_ENDIAN,
        ([0, 8], true) => TransferSyntax::EXPLICIT_VR_BIG_ENDIAN,
        ([8, 0], false) if length < LONGEST_FIRST => TransferSyntax::IMPLICIT_VR_LITTLE_ENDIAN,
        _ => return None,
    };
    TransferSyntax::parse(uid).ok()
}

/// The preamble and the file meta information of an instance whose data set came without (PS3.10
/// 7.1).
#[must_use]
pub fn head_of(identity: &Identity) -> Vec<u8> {
    let uids = [
        (2, identity.sop_class.as_str()),
        (3, identity.sop_instance.as_str()),
        (0x10, identity.transfer_syntax.as_str()),
        (0x12, IMPLEMENTATION_CLASS),
    ];
    let mut elements = b"\x02\0\x01\0OB\0\0\x02\0\0\0\0\x01".to_vec();
    for (element, uid) in uids {
        let mut value = uid.as_bytes().to_vec();
        value.resize(value.len().next_multiple_of(2), 0);
        let length = u16::try_from(value.len()).unwrap_or_default();
        elements.extend([2, 0, element, 0, b'U', b'I']);
        elements.extend(length.to_le_bytes());
        elements.extend(value);
    }
    let length = u32::try_from(elements.len()).unwrap_or_default();
    let group_length = [&b"\x02\0\0\0UL\x04\0"[..], &length.to_le_bytes()].concat();
    [&[0; PREAMBLE][..], MAGIC, &group_length, &elements].concat()
}

/// Implementation Class UID (0002,0012).
const IMPLEMENTATION_CLASS: &str = "2.25.5260584752800091357059910238462748676.7";

/// The UIDs of an instance, as far as they have been found.
#[derive(Default)]
struct Uids {
    sop_class: Option<SopClassUid>,
    sop_instance: Option<SopInstanceUid>,
    study: Option<StudyInstanceUid>,
    series: Option<SeriesInstanceUid>,
}

impl Uids {
    fn is_whole(&self) -> bool {
        self.sop_class.is_some()
            && self.sop_instance.is_some()
            && self.study.is_some()
            && self.series.is_some()
    }

    fn identity(self, transfer_syntax: TransferSyntax) -> Option<Identity> {
        Some(Identity {
            sop_class: self.sop_class?,
            sop_instance: self.sop_instance?,
            study: self.study?,
            series: self.series?,
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
    /// The offset of the first element.
    start: usize,
    encoding: Encoding,
}

impl Meta {
    /// Parses the file meta information in the first bytes of a file.
    ///
    /// # Errors
    /// [`dataset::Error::Truncated`] if it does not end in them, or why it is malformed.
    // PS3.10 7.1. The group length (0002,0000) is ignored: some writers get it wrong.
    pub fn read(bytes: &[u8]) -> Result<Self, Error> {
        let head = bytes.first_chunk().ok_or(dataset::Error::Truncated)?;
        let start = start_of_meta(head).ok_or(Error::NotPart10)?;
        let encoding = encoding_of_meta(&bytes[start..]).ok_or(dataset::Error::Truncated)?;
        let mut end = start;
        let mut transfer_syntax = None;
        let meta = DataSet::new(&bytes[start..], encoding);
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
            start,
            encoding,
        })
    }

    /// Its elements, in the file that it was read from.
    #[must_use]
    pub fn elements<'b>(&self, file: &'b [u8]) -> DataSet<'b> {
        let bytes = file.get(self.start..self.end).unwrap_or_default();
        DataSet::new(bytes, self.encoding)
    }
}

/// The first bytes of a file, which tell where its file meta information starts.
pub(super) const START: usize = PREAMBLE + MAGIC.len();

/// Where the file meta information starts. Some files have no preamble, or nothing before it.
pub(super) fn start_of_meta(file: &[u8; START]) -> Option<usize> {
    match file {
        _ if file.ends_with(MAGIC) => Some(START),
        _ if file.starts_with(MAGIC) => Some(MAGIC.len()),
        // Group length, version, SOP class and instance, or transfer syntax.
        [2, 0, 0..=3 | 0x10, 0, ..] => Some(0),
        _ => None,
    }
}

/// The encoding of file meta information; `None` if its first head has not arrived. It ought to be
/// explicit; some is implicit.
pub(super) fn encoding_of_meta(bytes: &[u8]) -> Option<Encoding> {
    let [_, _, _, _, a, b, c, d] = *bytes.first_chunk::<8>()?;
    let is_length = value_representation([a, b]).is_none() && [c, d] == [0, 0];
    Some(if is_length {
        Encoding::ImplicitLittle
    } else {
        Encoding::ExplicitLittle
    })
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
