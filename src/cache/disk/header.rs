//! The first page of a file, its header, and the table of digests at its end.
//!
//! ```text
//! 0      magic, header as JSON, blanks, digest of all that
//! 4096   body
//! …      a digest for each leaf of the body; the header has the digest of this table
//! ```

use std::fs::{File, Metadata};
use std::io::{self, IoSliceMut};
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::time::{Duration, UNIX_EPOCH};

use data_encoding::HEXLOWER;
use serde::{Deserialize, Serialize};

use super::leaves::{BODY_AT, BodyDigests, DIGEST, Digests, StoredFile, count, digests};
use super::name::Name;
use super::{Key, Stored, Validity};
use crate::body::Wait;
use crate::dicom::part10::Identity;
use crate::dicom::{
    PatientIds, SeriesInstanceUid, SopClassUid, SopInstanceUid, StudyInstanceUid, TransferSyntax,
};
use crate::source::Representation;

// Ends with the version of the format. Files of other versions are deleted at the start.
const MAGIC: &[u8; 8] = b"XCWADO\x00\x04";

#[derive(Debug, Serialize, Deserialize)]
struct Header {
    place: String,
    representation: StoredRepresentation,
    study: String,
    series: String,
    sop_instance: String,
    sop_class: String,
    transfer_syntax: String,
    #[serde(default, skip_serializing_if = "PatientIds::is_empty")]
    patient: PatientIds,
    length: u64,
    blake3: String,
    /// The digest of the table of digests.
    digests: String,
    /// Seconds since 1970.
    stored_at: u64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    etag: Option<String>,
}

#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum StoredRepresentation {
    AsStored,
    ExplicitVrLittleEndian,
}

/// The header page of a file with this table.
pub(super) fn page(stored: &Stored, name: Name, table: &[u8]) -> io::Result<Vec<u8>> {
    let since = stored.stored_at.duration_since(UNIX_EPOCH);
    let (key, seal) = (&stored.key, name.seal());
    let header = Header {
        place: (*key.place).to_owned(),
        representation: match key.representation {
            Representation::AsStored => StoredRepresentation::AsStored,
            Representation::ExplicitVrLittleEndian => StoredRepresentation::ExplicitVrLittleEndian,
        },
        study: key.study.as_str().to_owned(),
        series: key.series.as_str().to_owned(),
        sop_instance: key.instance.as_str().to_owned(),
        sop_class: stored.sop_class.as_str().to_owned(),
        transfer_syntax: stored.transfer_syntax.as_str().to_owned(),
        patient: stored.patient.clone(),
        length: stored.length,
        blake3: HEXLOWER.encode(&stored.blake3),
        digests: HEXLOWER.encode(&seal.table(table).to_le_bytes()),
        stored_at: since.map_or(0, |since| since.as_secs()),
        etag: stored.validity.etag().map(Into::into),
    };
    let mut page = MAGIC.to_vec();
    serde_json::to_writer(&mut page, &header)?;
    let size = usize::try_from(BODY_AT - DIGEST).map_err(io::Error::other)?;
    if page.len() > size {
        return Err(io::Error::other(
            "its entity tag or the identifiers of its patient are too long",
        ));
    }
    page.resize(size, b' ');
    let digest = seal.page(&page);
    page.extend(digest.to_le_bytes());
    Ok(page)
}

/// The entry of a file, from its header only; `None` if it is damaged, incomplete or of another
/// version.
pub(super) fn read(path: &Path, name: Name) -> Option<Stored> {
    let file = Wait::ForDevice.open(path).ok()?;
    let found = file.metadata().ok().filter(Metadata::is_file)?;
    let mut page = first_page();
    file.read_exact_at(&mut page, 0).ok()?;
    let header = header(&page, name)?;
    let length = header.length;
    let stored = header.stored(name.generation)?;
    (found.len() == size(length) && stored.name() == name).then_some(stored)
}

/// Opens a file of the index, to read its body in parts. `at_once` reads it without waiting.
///
/// # Errors
/// If the file has changed, or cannot be read.
pub(super) fn open(path: &Path, stored: &Stored, reads: Reads) -> io::Result<StoredFile> {
    let (name, length) = (stored.name(), stored.length);
    let file = open_file(path, length, reads.now)?;
    let mut table = vec![0; usize::try_from(count(length) * DIGEST).map_err(io::Error::other)?];
    let mut page = first_page();
    let read = |into: &mut [u8], at| {
        let into = &mut [IoSliceMut::new(into)];
        reads.now.read_exact_at(&file, into, at)
    };
    read(&mut page, 0)?;
    read(&mut table, BODY_AT + length)?;
    let digests = verified(stored, name, &page, &table)?;
    let body = BodyDigests::new(length, digests);
    Ok(StoredFile::new(file, name.seal(), body, reads.at_once))
}

/// The way to read a file now, and the way to read it later without waiting.
#[derive(Debug, Clone, Copy)]
pub(super) struct Reads {
    pub(super) now: Wait,
    pub(super) at_once: Wait,
}

/// Opens a regular file with a body of this length.
pub(super) fn open_file(path: &Path, length: u64, wait: Wait) -> io::Result<File> {
    let file = wait.open(path)?;
    let found = file.metadata()?;
    if found.is_file() && found.len() == size(length) {
        Ok(file)
    } else {
        Err(io::ErrorKind::InvalidData.into())
    }
}

/// The digests of the leaves, if first page and table are those of the file that was stored.
pub(super) fn verified(
    stored: &Stored,
    name: Name,
    page: &[u8],
    table: &[u8],
) -> io::Result<Digests> {
    let header = header(page, name);
    let is_same = |header: &Header| {
        header.length == stored.length
            && header.blake3 == HEXLOWER.encode(&stored.blake3)
            && header.digests == HEXLOWER.encode(&name.seal().table(table).to_le_bytes())
    };
    match header.filter(is_same) {
        Some(_same) => Ok(digests(table)),
        None => Err(io::ErrorKind::InvalidData.into()),
    }
}

/// The size of a file with a body of this length.
pub(super) fn size(length: u64) -> u64 {
    BODY_AT + length + count(length) * DIGEST
}

fn first_page() -> Vec<u8> {
    vec![0; BODY_AT as usize]
}

fn header(page: &[u8], name: Name) -> Option<Header> {
    let (page, digest) = page.split_last_chunk::<16>()?;
    if name.seal().page(page) != u128::from_le_bytes(*digest) {
        return None;
    }
    serde_json::from_slice(page.strip_prefix(MAGIC)?).ok()
}

impl Header {
    fn stored(self, generation: u64) -> Option<Stored> {
        let identity = Identity {
            sop_class: SopClassUid::parse(&self.sop_class).ok()?,
            sop_instance: SopInstanceUid::parse(&self.sop_instance).ok()?,
            study: StudyInstanceUid::parse(&self.study).ok()?,
            series: SeriesInstanceUid::parse(&self.series).ok()?,
            transfer_syntax: TransferSyntax::parse(&self.transfer_syntax).ok()?,
            patient: self.patient,
        };
        let key = Key {
            place: self.place.into(),
            study: identity.study.clone(),
            series: identity.series.clone(),
            instance: identity.sop_instance.clone(),
            representation: match self.representation {
                StoredRepresentation::AsStored => Representation::AsStored,
                StoredRepresentation::ExplicitVrLittleEndian => {
                    Representation::ExplicitVrLittleEndian
                }
            },
        };
        let stored_at = UNIX_EPOCH.checked_add(Duration::from_secs(self.stored_at))?;
        let validity = Validity::since(stored_at, self.etag.as_deref());
        let blake3 = HEXLOWER.decode(self.blake3.as_bytes()).ok()?;
        Some(Stored {
            length: self.length,
            blake3: blake3.try_into().ok()?,
            stored_at,
            ..Stored::new(key, &identity, validity, generation)
        })
    }
}
