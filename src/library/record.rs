//! The record of a registered manifest: its attributes without its document.

use std::io;
use std::path::Path;

use data_encoding::{HEXLOWER, HEXLOWER_PERMISSIVE};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::files;
use super::postings::MOST_SEQUENCE;
use crate::credentials;
use crate::dicom::SeriesInstanceUid;
use crate::ihe::HomeCommunityId;
use crate::manifest::{Format, Holding, Outline, Owner, PackedOutline, Registration};

/// The version of the outlines in records; outlines of an older version are rebuilt.
const VERSION: u32 = 3;
/// Records that are read have at most so many bytes: 10,000 studies with long texts have fewer.
const LONGEST: u64 = 128 << 20;

const KOS: &str = "application/dicom";
const FHIR: &str = "application/fhir+json";

/// The current time, as records have it: seconds since 1970.
#[must_use]
pub fn now() -> u64 {
    credentials::now().try_into().unwrap_or_default()
}

/// The attributes of a registered manifest without its document.
#[derive(Debug, Clone)]
pub struct Record {
    /// Seconds since 1970 when it was registered.
    pub registered_at: u64,
    /// `application/dicom` or `application/fhir+json`.
    pub media_type: &'static str,
    /// The how-manyth registration it was: later ones have larger numbers.
    pub(super) sequence: u64,
    pub(super) registration: Registration,
    pub(super) studies: Box<[PackedOutline]>,
    pub(super) digest: [u8; 32],
    pub(super) length: u64,
}

/// A record as it is on disk.
#[derive(Serialize, Deserialize)]
pub(super) struct StoredRecord {
    registered_at: u64,
    media_type: String,
    home_community_id: Option<String>,
    series: Vec<String>,
    /// The digest of issuer and subject, in hexadecimal.
    #[serde(default)]
    owner: Option<String>,
    /// The first records did not have it.
    #[serde(default)]
    studies: Option<Vec<Outline>>,
    /// Which [`VERSION`] wrote it; the first records did not say.
    #[serde(default)]
    version: u32,
    #[serde(default)]
    sequence: u64,
    /// SHA-256 of document and options, in hexadecimal.
    digest: String,
    length: u64,
}

/// A record as it was found, and whether this version of the gateway wrote it.
pub(super) struct FoundRecord {
    pub(super) record: Record,
    pub(super) is_current: bool,
}

/// Reads a record.
pub(super) fn read_record(path: &Path) -> io::Result<FoundRecord> {
    let stored: StoredRecord = serde_json::from_slice(&files::read(path, LONGEST)?)?;
    FoundRecord::try_from(stored).map_err(|_damaged| io::ErrorKind::InvalidData.into())
}

impl TryFrom<StoredRecord> for FoundRecord {
    type Error = Damaged;

    fn try_from(stored: StoredRecord) -> Result<Self, Damaged> {
        let is_current = stored.version == VERSION && stored.studies.is_some();
        let record = Record::try_from(stored)?;
        Ok(Self { record, is_current })
    }
}

impl Record {
    /// The length of the document in bytes.
    #[must_use]
    pub fn length(&self) -> u64 {
        self.length
    }

    /// Writes the record.
    pub(super) fn write(&self, path: &Path) -> io::Result<()> {
        files::write_whole(path, &serde_json::to_vec(&StoredRecord::from(self))?)
    }

    /// The document that was registered; `None` if it is not there as it was.
    pub(super) fn document(&self, path: &Path) -> io::Result<Option<Vec<u8>>> {
        if files::length(path) != Some(self.length) {
            return Ok(None);
        }
        const LOST: [io::ErrorKind; 3] = [
            io::ErrorKind::NotFound,
            io::ErrorKind::InvalidData,
            io::ErrorKind::PermissionDenied,
        ];
        let document = match files::read(path, self.length) {
            Ok(document) => document,
            Err(error) if LOST.contains(&error.kind()) => return Ok(None),
            Err(error) => return Err(error),
        };
        Ok((digest(&document, &self.registration) == self.digest).then_some(document))
    }
}

impl From<&Record> for StoredRecord {
    fn from(record: &Record) -> Self {
        let registration = &record.registration;
        Self {
            registered_at: record.registered_at,
            media_type: record.media_type.to_owned(),
            home_community_id: registration
                .home_community_id
                .as_ref()
                .map(ToString::to_string),
            series: registration
                .series
                .iter()
                .map(ToString::to_string)
                .collect(),
            owner: registration.owner.map(|owner| HEXLOWER.encode(&owner.0)),
            studies: Some(record.studies.iter().map(PackedOutline::unpack).collect()),
            version: VERSION,
            sequence: record.sequence,
            digest: HEXLOWER.encode(&record.digest),
            length: record.length,
        }
    }
}

pub(super) struct Damaged;

impl TryFrom<StoredRecord> for Record {
    type Error = Damaged;

    fn try_from(stored: StoredRecord) -> Result<Self, Damaged> {
        if stored.sequence > MOST_SEQUENCE {
            return Err(Damaged);
        }
        let home = stored
            .home_community_id
            .as_deref()
            .map(HomeCommunityId::parse)
            .transpose();
        let series = stored
            .series
            .iter()
            .map(|uid| SeriesInstanceUid::parse(uid));
        Ok(Self {
            registered_at: stored.registered_at,
            media_type: known_media_type(&stored.media_type).ok_or(Damaged)?,
            sequence: stored.sequence,
            registration: Registration {
                home_community_id: home.map_err(|_not_an_oid| Damaged)?,
                series: series
                    .collect::<Result<_, _>>()
                    .map_err(|_not_a_uid| Damaged)?,
                owner: owner(stored.owner.as_deref())?,
            },
            studies: packed(&stored.studies.unwrap_or_default()),
            digest: parse_digest(&stored.digest).ok_or(Damaged)?,
            length: stored.length,
        })
    }
}

/// The outlines of the studies of a holding.
pub(super) fn outlines(holding: &Holding) -> Vec<Outline> {
    holding.studies.iter().map(Outline::of).collect()
}

/// The same in few bytes.
pub(super) fn packed(outlines: &[Outline]) -> Box<[PackedOutline]> {
    outlines.iter().map(PackedOutline::of).collect()
}

/// The media type of a format.
pub(super) fn media_type(format: Format) -> &'static str {
    match format {
        Format::Kos(_) => KOS,
        Format::FhirR4 | Format::FhirR5 => FHIR,
    }
}

fn known_media_type(text: &str) -> Option<&'static str> {
    [KOS, FHIR].into_iter().find(|known| *known == text)
}

/// The digest that identifies a registration: of its document and its options.
pub(super) fn digest(document: &[u8], registration: &Registration) -> [u8; 32] {
    let mut hash = Sha256::new();
    // Neither an OID nor a UID holds a line break: the options have one spelling.
    let home = registration
        .home_community_id
        .as_ref()
        .map_or("", HomeCommunityId::as_str);
    hash.update(format!("{home}\n"));
    for series in &registration.series {
        hash.update(format!("{series}\n"));
    }
    hash.update("\n");
    // The same document of two owners is two manifests: neither learns of the other's.
    if let Some(Owner(owner)) = registration.owner {
        hash.update(owner);
    }
    hash.update(document);
    hash.finalize().into()
}

/// An owner that cannot be read must not become none.
fn owner(text: Option<&str>) -> Result<Option<Owner>, Damaged> {
    let read = |text: &str| {
        let bytes = HEXLOWER_PERMISSIVE.decode(text.as_bytes()).ok()?;
        bytes.try_into().ok().map(Owner)
    };
    text.map(|text| read(text).ok_or(Damaged)).transpose()
}

fn parse_digest(text: &str) -> Option<[u8; 32]> {
    let digest = HEXLOWER_PERMISSIVE.decode(text.as_bytes()).ok()?;
    digest.try_into().ok()
}
