//! The files of the store: which ones are its own, and reading, writing and removing them.
//!
//! Whatever else lies in the directory is left alone: it is neither opened nor removed, so a pipe
//! cannot hold up the start, and a link leads nowhere.

use std::ffi::OsStr;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::Path;

use rustix::fs::OFlags;

use crate::manifest::Id;

/// The extension of a record.
pub(super) const RECORD: &str = "json";
/// The extension of a document.
pub(super) const DOCUMENT: &str = "manifest";
/// The prefix of files that are being written.
const ASIDE: &str = ".aside-";
/// The number of random letters and digits after the prefix.
const RANDOM: usize = 6;

/// The kind of a file, by its name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Name {
    Record(Id),
    Document(Id),
    /// A partial file that a killed process left behind.
    Aside,
}

impl Name {
    /// `None`: the store gives no such names.
    pub(super) fn parse(name: &OsStr) -> Option<Self> {
        let name = name.to_str()?;
        if let Some(random) = name.strip_prefix(ASIDE) {
            let is_ours =
                random.len() == RANDOM && random.bytes().all(|byte| byte.is_ascii_alphanumeric());
            return is_ours.then_some(Self::Aside);
        }
        let (id, extension) = name.split_once('.')?;
        let id = Id::parse(id)?;
        match extension {
            RECORD => Some(Self::Record(id)),
            DOCUMENT => Some(Self::Document(id)),
            _ => None,
        }
    }
}

/// Whether there is a file, and not a folder, a link or a pipe.
pub(super) fn is_file(path: &Path) -> bool {
    length(path).is_some()
}

/// How long a file is; `None` if there is none.
pub(super) fn length(path: &Path) -> Option<u64> {
    let metadata = fs::symlink_metadata(path).ok()?;
    metadata.is_file().then_some(metadata.len())
}

/// Reads a file of at most so many bytes.
pub(super) fn read(path: &Path, at_most: u64) -> io::Result<Vec<u8>> {
    // The file may have been replaced by a link or a pipe: neither follow the one nor block on the
    // other.
    let flags = (OFlags::NOFOLLOW | OFlags::NONBLOCK).bits().cast_signed();
    let file = OpenOptions::new()
        .read(true)
        .custom_flags(flags)
        .open(path)?;
    let metadata = file.metadata()?;
    if !metadata.is_file() || metadata.len() > at_most {
        return Err(io::ErrorKind::InvalidData.into());
    }
    let mut bytes = Vec::with_capacity(usize::try_from(metadata.len()).unwrap_or(0));
    file.take(at_most).read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// Writes a file atomically.
pub(super) fn write_whole(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let directory = path.parent().unwrap_or(Path::new("."));
    let mut file = tempfile::Builder::new()
        .prefix(ASIDE)
        .rand_bytes(RANDOM)
        .permissions(fs::Permissions::from_mode(0o600))
        .tempfile_in(directory)?;
    file.write_all(bytes)?;
    file.as_file().sync_all()?;
    file.persist(path).map_err(|error| error.error)?;
    File::open(directory)?.sync_all()
}

/// Removes a file. It may be gone already; a folder, link or pipe in its place is left alone.
pub(super) fn remove(path: &Path) -> io::Result<()> {
    if !is_file(path) {
        return Ok(());
    }
    match fs::remove_file(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        removed => removed,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_names_that_the_store_gives_are_its_own() {
        let id = Id::from_random([7; 16]);
        let name = |text: &str| Name::parse(OsStr::new(text));
        assert_eq!(name(&format!("{id}.json")), Some(Name::Record(id)));
        assert_eq!(name(&format!("{id}.manifest")), Some(Name::Document(id)));
        assert_eq!(name(".aside-aB3xY9"), Some(Name::Aside));
        for foreign in [
            "".to_owned(),
            format!("{id}"),
            format!("{id}.json.bak"),
            format!("{id}.JSON"),
            format!("x{id}.json"),
            format!("{}.json", id.to_string().to_uppercase().replace('7', "A")),
            ".aside-notes.txt".to_owned(),
            ".aside-abc".to_owned(),
            ".aside-".to_owned(),
            "notes.manifest".to_owned(),
        ] {
            assert_eq!(name(&foreign), None, "{foreign}");
        }
    }
}
