//! What is known of a registered manifest without reading its document.

use std::fs;
use std::io;
use std::path::Path;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::files::{DOCUMENT, write_whole};
use super::{outlines, random_id};
use crate::dicom::SeriesInstanceUid;
use crate::ihe::HomeCommunityId;
use crate::manifest::outline::Outline;
use crate::manifest::registered::{Registered, Registration};

/// What is known of a registered manifest without reading it.
#[derive(Debug, Clone)]
pub struct Record {
    /// Seconds since 1970 when it was registered.
    pub registered_at: u64,
    /// `application/dicom` or `application/fhir+json`.
    pub media_type: String,
    pub(super) registration: Registration,
    pub(super) studies: Vec<Arc<Outline>>,
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
    /// The first records did not have it.
    #[serde(default)]
    studies: Option<Vec<Arc<Outline>>>,
    /// SHA-256 of document and options, in hexadecimal.
    digest: String,
    length: u64,
}

pub(super) fn read_record(path: &Path) -> io::Result<Record> {
    let stored: StoredRecord = serde_json::from_slice(&fs::read(path)?)?;
    let damaged = || io::Error::from(io::ErrorKind::InvalidData);
    if !path.with_extension(DOCUMENT).exists() {
        return Err(io::ErrorKind::NotFound.into());
    }
    let is_complete = stored.studies.is_some();
    let mut record = Record::try_from(stored).map_err(|_damaged| damaged())?;
    if !is_complete {
        let document = fs::read(path.with_extension(DOCUMENT))?;
        let manifest = crate::manifest::read(&document).map_err(io::Error::other)?;
        let registration = record.registration.clone();
        let registered = Registered::new(random_id()?, registration, manifest);
        record.studies = outlines(&registered.map_err(io::Error::other)?.holding);
        write_whole(path, &serde_json::to_vec(&StoredRecord::from(&record))?)?;
    }
    Ok(record)
}

impl From<&Record> for StoredRecord {
    fn from(record: &Record) -> Self {
        let registration = &record.registration;
        Self {
            registered_at: record.registered_at,
            media_type: record.media_type.clone(),
            home_community_id: registration
                .home_community_id
                .as_ref()
                .map(ToString::to_string),
            series: registration
                .series
                .iter()
                .map(ToString::to_string)
                .collect(),
            studies: Some(record.studies.clone()),
            digest: record
                .digest
                .iter()
                .map(|byte| format!("{byte:02x}"))
                .collect(),
            length: record.length,
        }
    }
}

pub(super) struct Damaged;

impl TryFrom<StoredRecord> for Record {
    type Error = Damaged;

    fn try_from(stored: StoredRecord) -> Result<Self, Damaged> {
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
            media_type: stored.media_type,
            registration: Registration {
                home_community_id: home.map_err(|_not_an_oid| Damaged)?,
                series: series
                    .collect::<Result<_, _>>()
                    .map_err(|_not_a_uid| Damaged)?,
            },
            studies: stored.studies.unwrap_or_default(),
            digest: parse_digest(&stored.digest).ok_or(Damaged)?,
            length: stored.length,
        })
    }
}

fn parse_digest(text: &str) -> Option<[u8; 32]> {
    let mut digest = [0; 32];
    if text.len() != 64 {
        return None;
    }
    for (byte, at) in digest.iter_mut().zip((0..64).step_by(2)) {
        *byte = u8::from_str_radix(text.get(at..at + 2)?, 16).ok()?;
    }
    Some(digest)
}
