//! The first page of a file: what it holds.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::atomic::AtomicBool;
use std::sync::{Mutex, Weak};
use std::time::{Duration, UNIX_EPOCH};

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::{Key, Stored, Validity};
use crate::cache::hex;
use crate::dicom::part10::Identity;
use crate::dicom::{
    SeriesInstanceUid, SopClassUid, SopInstanceUid, StudyInstanceUid, TransferSyntax,
};
use crate::source::Representation;

/// Where the body begins.
pub const BODY_AT: u64 = 4096;

// Ends in the version of the format.
const MAGIC: &[u8; 8] = b"XCWADO\x00\x01";

#[derive(Debug, Serialize, Deserialize)]
struct Header {
    place: String,
    representation: Form,
    study: String,
    series: String,
    sop_instance: String,
    sop_class: String,
    transfer_syntax: String,
    length: u64,
    sha256: String,
    /// Seconds since 1970.
    stored_at: u64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    etag: Option<String>,
}

#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Form {
    AsStored,
    ExplicitVrLittleEndian,
}

/// What a key is called as a file: nothing of it can be read from that.
pub(super) fn hash(key: &Key) -> String {
    let form = match key.representation {
        Representation::AsStored => "0",
        Representation::ExplicitVrLittleEndian => "1",
    };
    let parts = [
        &*key.place,
        key.study.as_str(),
        key.series.as_str(),
        key.instance.as_str(),
        form,
    ];
    hex(&Sha256::digest(parts.join("\n"))[..16])
}

/// The page.
pub(super) fn page(stored: &Stored) -> io::Result<Vec<u8>> {
    let since = stored.stored_at.duration_since(UNIX_EPOCH);
    let Stored { key, identity, .. } = stored;
    let header = Header {
        place: (*key.place).to_owned(),
        representation: match key.representation {
            Representation::AsStored => Form::AsStored,
            Representation::ExplicitVrLittleEndian => Form::ExplicitVrLittleEndian,
        },
        study: key.study.as_str().to_owned(),
        series: key.series.as_str().to_owned(),
        sop_instance: key.instance.as_str().to_owned(),
        sop_class: identity.sop_class.as_str().to_owned(),
        transfer_syntax: identity.transfer_syntax.as_str().to_owned(),
        length: stored.length,
        sha256: hex(&stored.sha256),
        stored_at: since.map_or(0, |since| since.as_secs()),
        etag: stored.validity.etag().map(Into::into),
    };
    let mut page = MAGIC.to_vec();
    serde_json::to_writer(&mut page, &header)?;
    let size = usize::try_from(BODY_AT).map_err(io::Error::other)?;
    if page.len() > size {
        return Err(io::Error::other("the place has too long a name"));
    }
    page.resize(size, b' ');
    Ok(page)
}

/// What a file holds; `None` if it is none of ours, or not whole.
pub(super) fn read(path: &Path) -> Option<Stored> {
    let file = File::open(path).ok()?;
    let mut page = vec![0; usize::try_from(BODY_AT).ok()?];
    file.read_exact_at(&mut page, 0).ok()?;
    let header: Header = serde_json::from_slice(page.strip_prefix(MAGIC)?).ok()?;
    let stored = header.stored(path)?;
    let name = path.file_stem()?.to_str()?;
    let is_whole = file.metadata().ok()?.len() == BODY_AT + stored.length;
    (is_whole && name == hash(&stored.key)).then_some(stored)
}

impl Header {
    fn stored(self, path: &Path) -> Option<Stored> {
        let identity = Identity {
            sop_class: SopClassUid::parse(&self.sop_class).ok()?,
            sop_instance: SopInstanceUid::parse(&self.sop_instance).ok()?,
            study: StudyInstanceUid::parse(&self.study).ok()?,
            series: SeriesInstanceUid::parse(&self.series).ok()?,
            transfer_syntax: TransferSyntax::parse(&self.transfer_syntax).ok()?,
        };
        let stored_at = UNIX_EPOCH.checked_add(Duration::from_secs(self.stored_at))?;
        Some(Stored {
            validity: Validity::since(stored_at, self.etag.as_deref()),
            key: Key {
                place: self.place.into(),
                study: identity.study.clone(),
                series: identity.series.clone(),
                instance: identity.sop_instance.clone(),
                representation: match self.representation {
                    Form::AsStored => Representation::AsStored,
                    Form::ExplicitVrLittleEndian => Representation::ExplicitVrLittleEndian,
                },
            },
            identity,
            length: self.length,
            sha256: unhex(&self.sha256)?,
            stored_at,
            path: path.to_owned(),
            is_verified: AtomicBool::new(false),
            file: Mutex::new(Weak::new()),
        })
    }
}

fn unhex(text: &str) -> Option<[u8; 32]> {
    let mut bytes = [0; 32];
    if text.len() != 64 || !text.is_ascii() {
        return None;
    }
    for (byte, at) in bytes.iter_mut().zip((0..).step_by(2)) {
        *byte = u8::from_str_radix(text.get(at..at + 2)?, 16).ok()?;
    }
    Some(bytes)
}
