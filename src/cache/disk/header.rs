//! The first page of a file, its header, and the table of digests at its end.
//!
//! ```text
//! 0      magic, header as JSON, blanks, digest of all that
//! 4096   body
//! …      a digest for each leaf of the body; the header has the digest of this table
//! ```

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::Mutex;
use std::sync::atomic::AtomicU64;
use std::time::{Duration, UNIX_EPOCH};

use data_encoding::{HEXLOWER, HEXLOWER_PERMISSIVE};
use serde::{Deserialize, Serialize};

use super::leaves::{BODY_AT, DIGEST, Digests, StoredFile, count, digests};
use super::name::{self, Name};
use super::{Key, Stored, Validity};
use crate::dicom::part10::Identity;
use crate::dicom::{
    SeriesInstanceUid, SopClassUid, SopInstanceUid, StudyInstanceUid, TransferSyntax,
};
use crate::source::Representation;

// Ends with the version of the format. Files of other versions are deleted at the start.
const MAGIC: &[u8; 8] = b"XCWADO\x00\x02";

#[derive(Debug, Serialize, Deserialize)]
struct Header {
    place: String,
    representation: StoredRepresentation,
    study: String,
    series: String,
    sop_instance: String,
    sop_class: String,
    transfer_syntax: String,
    length: u64,
    sha256: String,
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
pub(super) fn page(stored: &Stored, table: &[u8]) -> io::Result<Vec<u8>> {
    let since = stored.stored_at.duration_since(UNIX_EPOCH);
    let (key, seal) = (&stored.key, stored.name().seal());
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
        length: stored.length,
        sha256: HEXLOWER.encode(&stored.sha256),
        digests: HEXLOWER.encode(&seal.table(table).to_le_bytes()),
        stored_at: since.map_or(0, |since| since.as_secs()),
        etag: stored.validity.etag().map(Into::into),
    };
    let mut page = MAGIC.to_vec();
    serde_json::to_writer(&mut page, &header)?;
    let size = usize::try_from(BODY_AT - DIGEST).map_err(io::Error::other)?;
    if page.len() > size {
        return Err(io::Error::other("its entity tag is too long"));
    }
    page.resize(size, b' ');
    let digest = seal.page(&page);
    page.extend(digest.to_le_bytes());
    Ok(page)
}

/// The entry of a file, from its header only; `None` if it is damaged, incomplete or of another
/// version.
pub(super) fn read(path: &Path, name: Name) -> Option<Stored> {
    let file = name::open(path).ok()?;
    let header = header(&file, name)?;
    let length = header.length;
    let stored = header.stored(name.generation)?;
    (is_whole(&file, length) && stored.name() == name).then_some(stored)
}

/// Opens a file of the index.
///
/// # Errors
/// If the file has changed, or cannot be read.
pub(super) fn open(path: &Path, stored: &Stored) -> io::Result<StoredFile> {
    let (name, damaged) = (stored.name(), || {
        io::Error::from(io::ErrorKind::InvalidData)
    });
    let file = name::open(path)?;
    let header = header(&file, name).ok_or_else(damaged)?;
    let is_same =
        header.length == stored.length && header.sha256 == HEXLOWER.encode(&stored.sha256);
    if !is_same || !is_whole(&file, stored.length) {
        return Err(damaged());
    }
    let digests = table(&file, &header, name).ok_or_else(damaged)?;
    Ok(StoredFile::new(file, name.seal(), stored.length, digests))
}

/// The size of a file with a body of this length.
pub(super) fn size(length: u64) -> u64 {
    BODY_AT + length + count(length) * DIGEST
}

fn is_whole(file: &File, length: u64) -> bool {
    file.metadata()
        .is_ok_and(|found| found.len() == size(length))
}

fn header(file: &File, name: Name) -> Option<Header> {
    let mut page = vec![0; usize::try_from(BODY_AT).ok()?];
    file.read_exact_at(&mut page, 0).ok()?;
    let (page, digest) = page.split_last_chunk::<16>()?;
    if name.seal().page(page) != u128::from_le_bytes(*digest) {
        return None;
    }
    serde_json::from_slice(page.strip_prefix(MAGIC)?).ok()
}

fn table(file: &File, header: &Header, name: Name) -> Option<Digests> {
    let mut table = vec![0; usize::try_from(count(header.length) * DIGEST).ok()?];
    file.read_exact_at(&mut table, BODY_AT + header.length)
        .ok()?;
    let digest = HEXLOWER.encode(&name.seal().table(&table).to_le_bytes());
    (digest == header.digests).then(|| digests(&table))
}

impl Header {
    fn stored(self, generation: u64) -> Option<Stored> {
        let identity = Identity {
            sop_class: SopClassUid::parse(&self.sop_class).ok()?,
            sop_instance: SopInstanceUid::parse(&self.sop_instance).ok()?,
            study: StudyInstanceUid::parse(&self.study).ok()?,
            series: SeriesInstanceUid::parse(&self.series).ok()?,
            transfer_syntax: TransferSyntax::parse(&self.transfer_syntax).ok()?,
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
        let sha256 = HEXLOWER_PERMISSIVE.decode(self.sha256.as_bytes()).ok()?;
        Some(Stored {
            key,
            sop_class: identity.sop_class,
            transfer_syntax: identity.transfer_syntax,
            length: self.length,
            sha256: sha256.try_into().ok()?,
            stored_at,
            validity,
            generation,
            used: AtomicU64::new(0),
            opened: Mutex::default(),
        })
    }
}
