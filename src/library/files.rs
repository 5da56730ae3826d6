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
pub(super) use tempfile::NamedTempFile as Aside;

use crate::manifest::Id;

/// The extension of a record.
pub(super) const RECORD: &str = "json";
/// The extension of a document.
pub(super) const DOCUMENT: &str = "manifest";
/// The name of the [journal](super::journal).
pub(super) const JOURNAL: &str = "records.journal";
/// The prefix of files that are being written.
const ASIDE: &str = ".aside-";
/// The number of random letters and digits after the prefix.
const RANDOM: usize = 6;

/// The kind of a file, by its name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Name {
    Record(Id),
    Document(Id),
    Journal,
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
        if name == JOURNAL {
            return Some(Self::Journal);
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

/// Opens a file that may have been replaced by a link or a pipe: it neither follows the one nor
/// blocks on the other.
pub(super) fn open(path: &Path, options: &mut OpenOptions) -> io::Result<File> {
    let flags = (OFlags::NOFOLLOW | OFlags::NONBLOCK).bits().cast_signed();
    let file = options.custom_flags(flags).open(path)?;
    match file.metadata()?.is_file() {
        true => Ok(file),
        false => Err(io::ErrorKind::InvalidData.into()),
    }
}

/// Reads a file of at most so many bytes.
pub(super) fn read(path: &Path, at_most: u64) -> io::Result<Vec<u8>> {
    let file = open(path, OpenOptions::new().read(true))?;
    let metadata = file.metadata()?;
    if metadata.len() > at_most {
        return Err(io::ErrorKind::InvalidData.into());
    }
    let mut bytes = Vec::with_capacity(usize::try_from(metadata.len()).unwrap_or(0));
    file.take(at_most).read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// Begins a file that becomes visible when it is complete.
pub(super) fn aside(directory: &Path) -> io::Result<Aside> {
    tempfile::Builder::new()
        .prefix(ASIDE)
        .rand_bytes(RANDOM)
        .permissions(fs::Permissions::from_mode(0o600))
        .tempfile_in(directory)
}

/// Writes a file that is on the device, but not visible yet.
pub(super) fn write_aside(directory: &Path, bytes: &[u8]) -> io::Result<Aside> {
    let mut file = aside(directory)?;
    file.write_all(bytes)?;
    file.as_file().sync_all()?;
    Ok(file)
}

/// Writes a file atomically. It stays after [`sync`], however the machine ends.
pub(crate) fn write_whole(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let file = write_aside(path.parent().unwrap_or(Path::new(".")), bytes)?;
    file.persist(path).map_err(|error| error.error)?;
    Ok(())
}

/// Writes the names of a directory to the device.
pub(crate) fn sync(directory: &Path) -> io::Result<()> {
    File::open(directory)?.sync_all()
}

/// Removes a file. It may be gone already; a folder, link or pipe in its place is left alone.
pub(crate) fn remove(path: &Path) -> io::Result<()> {
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
        assert_eq!(name("records.journal"), Some(Name::Journal));
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
