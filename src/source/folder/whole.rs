//! Whether a file is whole, checked without reading its large values.

use std::collections::HashSet;
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::sync::{Mutex, PoisonError};

use crate::dicom::walk::Walk;

/// The block size of reads: it covers the elements before the pixel data of most files.
const BLOCK: usize = 16 << 10;
/// Remembered whole files, 32 bytes each.
const MOST: usize = 8192;

/// The state of a file: its path, its inode, its length and times.
pub(super) type Stamp = [u8; 32];

/// Files known to be whole.
#[derive(Debug, Default)]
pub(super) struct WholeFiles(Mutex<HashSet<Stamp>>);

impl WholeFiles {
    /// Whether a file of this length is whole. It is checked once while its stamp stays the same.
    pub(super) fn include(&self, stamp: Stamp, file: &File, length: u64) -> io::Result<bool> {
        if self.known().contains(&stamp) {
            return Ok(true);
        }
        let is_whole = is_whole(file, length)?;
        if is_whole {
            let mut known = self.known();
            if known.len() >= MOST {
                known.clear();
            }
            known.insert(stamp);
        }
        Ok(is_whole)
    }

    fn known(&self) -> std::sync::MutexGuard<'_, HashSet<Stamp>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn is_whole(file: &File, length: u64) -> io::Result<bool> {
    let mut walk = Walk::new();
    let mut block = vec![0; BLOCK];
    let mut at = 0;
    while at < length {
        let unread = walk.unread().min(length - at);
        walk.pass_over(unread);
        at += unread;
        let wanted = usize::try_from(length - at).unwrap_or(BLOCK).min(BLOCK);
        let read = file.read_at(&mut block[..wanted], at)?;
        if (read == 0 && wanted > 0) || walk.push(&block[..read]).is_err() {
            return Ok(false);
        }
        at += read as u64;
    }
    Ok(walk.finish().is_ok())
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    /// A file whose pixel data are larger than a block.
    fn bytes() -> Vec<u8> {
        let element = |tag: [u8; 4], head: &[u8], value: &[u8]| [&tag[..], head, value].concat();
        let pixels = vec![7; 3 * BLOCK];
        let length = u32::try_from(pixels.len()).expect("short").to_le_bytes();
        [
            &[0; 128][..],
            b"DICM",
            &element([2, 0, 0x10, 0], b"UI\x14\0", b"1.2.840.10008.1.2.1\0"),
            &element([8, 0, 0x60, 0], b"CS\x02\0", b"CT"),
            &element([0xE0, 0x7F, 0x10, 0], b"OW\0\0", &length),
            &pixels,
        ]
        .concat()
    }

    fn file_of(folder: &Path, bytes: &[u8]) -> File {
        let path = folder.join("file.dcm");
        std::fs::write(&path, bytes).expect("written");
        File::open(path).expect("a file")
    }

    #[test]
    fn a_file_is_whole_to_its_last_byte() {
        let folder = tempfile::tempdir().expect("a folder");
        let bytes = bytes();
        for length in [bytes.len(), bytes.len() - 1, 2 * BLOCK, 171, 140, 0] {
            let file = file_of(folder.path(), &bytes[..length]);
            let is_whole = is_whole(&file, length as u64).expect("readable");
            assert_eq!(is_whole, length == bytes.len(), "{length}");
        }
        let more = file_of(folder.path(), &[&bytes[..], &[0; 100]].concat());
        assert!(is_whole(&more, bytes.len() as u64 + 100).expect("readable"));
    }

    #[test]
    fn it_is_looked_at_again_once_its_stamp_changes() {
        let folder = tempfile::tempdir().expect("a folder");
        let (whole, files) = (bytes(), WholeFiles::default());
        let length = whole.len() as u64;
        let good = file_of(folder.path(), &whole);
        assert!(files.include([1; 32], &good, length).expect("readable"));
        let cut = file_of(folder.path(), &whole[..1000]);
        assert!(files.include([1; 32], &cut, 1000).expect("readable"));
        assert!(!files.include([2; 32], &cut, 1000).expect("readable"));
        assert!(!files.include([2; 32], &cut, 1000).expect("readable"));
    }
}
