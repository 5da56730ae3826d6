//! Reads of files with and without waiting for the device.

use std::fs::{File, OpenOptions};
use std::io::{self, IoSliceMut};
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::Path;

use rustix::fs::{CWD, Mode, OFlags, ResolveFlags, openat2};
use rustix::io::{ReadWriteFlags, preadv, preadv2};

/// Whether a read may wait for the device.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wait {
    /// The read blocks until the device has answered.
    ForDevice,
    /// The read fails with [`io::ErrorKind::WouldBlock`] unless the page cache has everything, or
    /// if the file system cannot tell. It is quick enough for a thread that answers requests.
    Never,
}

impl Wait {
    /// The way to read the files of a folder at once. Those of a memory file system never wait,
    /// although it cannot tell.
    #[must_use]
    pub fn never_below(folder: &Path) -> Self {
        match rustix::fs::statfs(folder) {
            Ok(found) if found.f_type == TMPFS => Self::ForDevice,
            Ok(_) | Err(_) => Self::Never,
        }
    }

    /// The same for the files of a folder with this way to read them at once.
    #[must_use]
    pub fn with(self, at_once: Self) -> Self {
        match self {
            Self::ForDevice => self,
            Self::Never => at_once,
        }
    }

    /// Opens a file for reading. A pipe does not block, and a symbolic link is not followed.
    ///
    /// # Errors
    /// If it cannot be opened.
    pub fn open(self, path: &Path) -> io::Result<File> {
        let flags = OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
        match self {
            Self::ForDevice => {
                let mut options = OpenOptions::new();
                options.read(true).custom_flags(flags.bits().cast_signed());
                options.open(path)
            }
            Self::Never => {
                let opened = openat2(CWD, path, flags, Mode::empty(), ResolveFlags::CACHED);
                opened.map(File::from).map_err(would_block)
            }
        }
    }

    /// Fills all buffers with the bytes from `at` on, in one call if possible.
    ///
    /// # Errors
    /// If the file ends before, or cannot be read.
    pub fn read_exact_at(
        self,
        file: &File,
        buffers: &mut [IoSliceMut<'_>],
        at: u64,
    ) -> io::Result<()> {
        let length: usize = buffers.iter().map(|buffer| buffer.len()).sum();
        let read = match self {
            Self::ForDevice => preadv(file, buffers, at),
            Self::Never => preadv2(file, buffers, at, ReadWriteFlags::NOWAIT),
        };
        match (self, read) {
            (_, Ok(read)) if read == length => Ok(()),
            (Self::Never, Ok(_)) => Err(io::ErrorKind::WouldBlock.into()),
            (Self::Never, Err(error)) => Err(would_block(error)),
            (Self::ForDevice, Ok(_) | Err(_)) => one_by_one(file, buffers, at),
        }
    }
}

// The f_type of statfs(2).
const TMPFS: i64 = 0x0102_1994;

/// Whatever the reason is, a read that may wait finds it out.
fn would_block(_error: rustix::io::Errno) -> io::Error {
    io::ErrorKind::WouldBlock.into()
}

fn one_by_one(file: &File, buffers: &mut [IoSliceMut<'_>], mut at: u64) -> io::Result<()> {
    for buffer in buffers {
        file.read_exact_at(buffer, at)?;
        at += buffer.len() as u64;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fills_all_buffers_or_fails() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("file");
        std::fs::write(&path, b"0123456789").expect("written");
        let never = Wait::never_below(folder.path());
        for wait in [Wait::ForDevice, never, Wait::Never] {
            let Ok(file) = wait.open(&path) else {
                assert_eq!(wait, Wait::Never, "the file system cannot tell");
                continue;
            };
            let (mut one, mut two) = ([0; 3], [0; 4]);
            let mut read = |at| {
                let mut buffers = [IoSliceMut::new(&mut one), IoSliceMut::new(&mut two)];
                wait.read_exact_at(&file, &mut buffers, at)
            };
            assert!(read(4).is_err(), "it ends before");
            match read(2) {
                Ok(()) => assert_eq!((&one, &two), (b"234", b"5678")),
                Err(error) => {
                    let is_declined = error.kind() == io::ErrorKind::WouldBlock;
                    assert!(is_declined && wait == Wait::Never, "{error}");
                }
            }
        }
    }
}
