//! File names of the disk tier: `ab/abcdef….1f`, with `.new` at the end while they grow.
//!
//! The name consists of a hash of the key and a generation that is used once: a new file never has
//! the path of an older one, so deleting the old one cannot hit the new one. Files with other
//! names, and anything but plain files, belong to others: the tier neither opens nor deletes them.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use data_encoding::HEXLOWER;
use rustix::fs::OFlags;
use sha2::{Digest, Sha256};

use super::Key;
use super::leaves::Seal;
use crate::source::Representation;

const NEW: &str = ".new";

/// The name of a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Name {
    /// A hash of the key.
    pub(super) key: [u8; 16],
    /// Unique across all files, past and present.
    pub(super) generation: u64,
}

impl Name {
    /// The name of a file for a key.
    pub(super) fn new(key: &Key, generation: u64) -> Self {
        Self {
            key: hash(key),
            generation,
        }
    }

    /// Parses a file name; `true` if the file is incomplete.
    pub(super) fn parse(text: &str) -> Option<(Self, bool)> {
        let (text, is_new) = match text.strip_suffix(NEW) {
            Some(text) => (text, true),
            None => (text, false),
        };
        let (hash, number) = text.split_once('.')?;
        if !number.bytes().all(is_digit) {
            return None;
        }
        let key = HEXLOWER.decode(hash.as_bytes()).ok()?.try_into().ok()?;
        let generation = u64::from_str_radix(number, 16).ok()?;
        let name = Self { key, generation };
        // Only the canonical spelling is a name.
        (name.text() == text).then_some((name, is_new))
    }

    fn text(&self) -> String {
        format!("{}.{:x}", HEXLOWER.encode(&self.key), self.generation)
    }

    /// The name of its folder.
    pub(super) fn folder(&self) -> String {
        HEXLOWER.encode(&self.key[..1])
    }

    /// Its path below a folder.
    pub(super) fn path(&self, below: &Path) -> PathBuf {
        below.join(self.folder()).join(self.text())
    }

    /// Its temporary path.
    pub(super) fn path_while_new(&self, below: &Path) -> PathBuf {
        below.join(self.folder()).join(self.text() + NEW)
    }

    /// The seal of its digests.
    pub(super) fn seal(&self) -> Seal {
        Seal::new(self.key, self.generation)
    }
}

/// Whether a folder name belongs to this tier.
pub(super) fn is_folder(text: &str) -> bool {
    text.len() == 2 && text.bytes().all(is_digit)
}

fn is_digit(byte: u8) -> bool {
    matches!(byte, b'0'..=b'9' | b'a'..=b'f')
}

/// The hash of a key, which reveals nothing of it.
pub(super) fn hash(key: &Key) -> [u8; 16] {
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
    let mut short = [0; 16];
    short.copy_from_slice(&Sha256::digest(parts.join("\n"))[..16]);
    short
}

/// Creates the folder of a file, unless it exists. A symbolic link does not count.
pub(super) fn make_folder(folder: &Path) -> io::Result<()> {
    match fs::symlink_metadata(folder) {
        Ok(found) if found.is_dir() => Ok(()),
        Ok(_) => Err(io::ErrorKind::NotADirectory.into()),
        Err(_not_there) => match DirBuilder::new().mode(0o700).create(folder) {
            // Another writer has created it.
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
            made => made,
        },
    }
}

/// Creates a new file, in its folder.
pub(super) fn create(path: &Path) -> io::Result<File> {
    let flags = OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let mut options = OpenOptions::new();
    options.read(true).write(true).create_new(true).mode(0o600);
    options.custom_flags(flags.bits().cast_signed());
    options.open(path)
}

/// Deletes a regular file.
pub(super) fn delete(path: &Path) {
    if fs::symlink_metadata(path).is_ok_and(|found| found.is_file()) {
        // If the deletion fails, the file stays out of the index.
        let _ = fs::remove_file(path);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cache::test::key;

    #[test]
    fn a_name_is_read_as_it_was_written_and_nothing_else_is_one() {
        let name = Name::new(&key(1), 0x1f);
        let path = name.path(Path::new("/x"));
        let text = path
            .file_name()
            .and_then(|name| name.to_str())
            .expect("a name");
        assert_eq!(Name::parse(text), Some((name, false)));
        let new = name.path_while_new(Path::new("/x"));
        let new = new
            .file_name()
            .and_then(|name| name.to_str())
            .expect("a name");
        assert_eq!(Name::parse(new), Some((name, true)));
        for other in [
            "",
            "notes.txt",
            "lost+found",
            &text.to_uppercase(),
            &text.replace(".1f", ".01f"),
            &text.replace(".1f", "."),
            &text.replace(".1f", ".1f.bak"),
            &text.replace(".1f", ".1g"),
            &text[1..],
            &format!("0{text}"),
            &format!("{text}.new.new"),
        ] {
            assert_eq!(Name::parse(other), None, "{other}");
        }
        assert!(is_folder("0a") && !is_folder("new") && !is_folder("0A") && !is_folder(".."));
    }
}
