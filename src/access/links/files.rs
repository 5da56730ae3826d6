//! The files of links: one for each, which only the owner can read.

use std::collections::HashMap;
use std::fs::{self, DirBuilder};
use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use data_encoding::HEXLOWER;
use serde::{Deserialize, Serialize};
use tokio_util::sync::CancellationToken;

use super::grant::{Grant, LinkId, State};
use crate::dicom::SeriesInstanceUid;
use crate::library::files;
use crate::manifest::{Id, Owner};

/// The largest file of a link: one of a manifest with many series.
const LARGEST: u64 = 16 << 20;
const EXTENSION: &str = "link";

/// A link as it is on disk.
#[derive(Serialize, Deserialize)]
struct StoredGrant {
    manifest: String,
    series: Vec<String>,
    purpose: Option<String>,
    made: u64,
    expires: u64,
    uses: Option<u32>,
    owner: Option<String>,
    digest: String,
    state: State,
}

pub(super) fn read_all(directory: &Path, now: u64) -> io::Result<HashMap<[u8; 32], Arc<Grant>>> {
    let mut found = HashMap::new();
    let entries = match fs::read_dir(directory) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(found),
        entries => entries?,
    };
    let mut damaged = 0;
    for entry in entries {
        let path = entry?.path();
        let Some(id) = id_of(&path) else { continue };
        match read(&path, id) {
            Some(grant) if grant.expires <= now => drop(fs::remove_file(&path)),
            Some(grant) => drop(found.insert(grant.digest, Arc::new(grant))),
            // Nobody gets in by it.
            None => damaged += 1,
        }
    }
    if damaged > 0 {
        tracing::warn!(
            damaged,
            "files of links are damaged: these links open nothing"
        );
    }
    Ok(found)
}

fn id_of(path: &Path) -> Option<LinkId> {
    if path.extension()? != EXTENSION {
        return None;
    }
    LinkId::parse(path.file_stem()?.to_str()?)
}

fn read(path: &Path, id: LinkId) -> Option<Grant> {
    let metadata = fs::symlink_metadata(path).ok()?;
    if !metadata.is_file() || metadata.len() > LARGEST {
        return None;
    }
    let stored: StoredGrant = serde_json::from_slice(&fs::read(path).ok()?).ok()?;
    let series = stored
        .series
        .iter()
        .map(|uid| SeriesInstanceUid::parse(uid));
    let owner = match stored.owner {
        Some(text) => Some(Owner(bytes(&text)?)),
        None => None,
    };
    Some(Grant {
        id,
        manifest: Id::parse(&stored.manifest)?,
        series: series.collect::<Result<_, _>>().ok()?,
        purpose: stored.purpose.map(Into::into),
        made: stored.made,
        expires: stored.expires,
        uses: stored.uses,
        owner,
        revoked: CancellationToken::new(),
        digest: bytes(&stored.digest)?,
        state: Mutex::new(stored.state),
    })
}

fn bytes<const N: usize>(text: &str) -> Option<[u8; N]> {
    HEXLOWER.decode(text.as_bytes()).ok()?.try_into().ok()
}

pub(super) fn write(directory: &Path, grant: &Grant) -> io::Result<()> {
    let mut builder = DirBuilder::new();
    builder.recursive(true).mode(0o700).create(directory)?;
    let stored = StoredGrant {
        manifest: grant.manifest.to_string(),
        series: grant.series.iter().map(ToString::to_string).collect(),
        purpose: grant.purpose.as_deref().map(str::to_owned),
        made: grant.made,
        expires: grant.expires,
        uses: grant.uses,
        owner: grant.owner.map(|owner| HEXLOWER.encode(&owner.0)),
        digest: HEXLOWER.encode(&grant.digest),
        state: grant.with_state(|state| state.clone()),
    };
    files::write_whole(&path(directory, grant.id), &serde_json::to_vec(&stored)?)?;
    files::sync(directory)
}

pub(super) fn remove(directory: &Path, id: LinkId) -> io::Result<()> {
    files::remove(&path(directory, id))
}

fn path(directory: &Path, id: LinkId) -> PathBuf {
    directory.join(format!("{id}.{EXTENSION}"))
}
