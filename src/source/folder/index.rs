//! The index of a folder: its instances and their files.

use std::collections::HashMap;
use std::fs::{self, DirEntry, File};
use std::io::{self, Read};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use crate::dicom::part10::{self, Identity};
use crate::dicom::{SeriesInstanceUid, SopInstanceUid, StudyInstanceUid, TransferSyntax};
use crate::resource::Target;

const FIRST_READ: usize = 8 << 10;
const MAX_DEPTH: usize = 16;

/// The index of a folder.
#[derive(Debug, Default)]
pub(super) struct Index {
    files: HashMap<PathBuf, FileRecord>,
    /// Folders with their modification times.
    folders: Vec<(PathBuf, Option<SystemTime>)>,
    /// Whether a file was skipped because it was still changing.
    is_unsettled: bool,
    series: BySeries,
    /// The number of instances in all series: each request updates the metric.
    instances: usize,
}

/// The state of a file; `identity` is `None` for a file that is not a DICOM instance.
#[derive(Debug, Clone)]
struct FileRecord {
    modified: SystemTime,
    length: u64,
    identity: Option<Identity>,
}

/// The file of an instance.
#[derive(Debug, Clone)]
pub(super) struct Entry {
    pub(super) path: PathBuf,
    pub(super) transfer_syntax: TransferSyntax,
}

impl Index {
    /// Indexes all files below `root`, and parses only those that are new or changed since `old`.
    pub(super) fn read(root: &Path, old: &Self, settle: Duration) -> io::Result<Self> {
        let mut index = Self::default();
        let mut folders = vec![(root.to_owned(), 0)];
        while let Some((folder, depth)) = folders.pop() {
            // Taken before the folder is read: later changes are found the next time.
            let modified = modified(&folder);
            let entries = match fs::read_dir(&folder) {
                Ok(entries) => entries,
                Err(error) if depth == 0 => return Err(error),
                Err(_gone) => continue,
            };
            for entry in entries.flatten() {
                match entry.file_type() {
                    Ok(kind) if kind.is_dir() && depth < MAX_DEPTH => {
                        folders.push((entry.path(), depth + 1));
                    }
                    Ok(kind) if kind.is_file() => index.add(&entry, old, settle),
                    Ok(_) | Err(_) => {}
                }
            }
            index.folders.push((folder, modified));
        }
        index.series = by_series(&index.files);
        index.instances = index.series.values().map(HashMap::len).sum();
        Ok(index)
    }

    /// Whether files have been added or removed. A file overwritten in place is not detected here.
    pub(super) fn is_stale(&self) -> bool {
        self.is_unsettled
            || self
                .folders
                .iter()
                .any(|(folder, at)| modified(folder) != *at)
    }

    /// The number of instances.
    pub(super) fn instances(&self) -> usize {
        self.instances
    }

    fn add(&mut self, entry: &DirEntry, old: &Self, settle: Duration) {
        let Ok(metadata) = entry.metadata() else {
            return;
        };
        let Ok(modified) = metadata.modified() else {
            return;
        };
        let (path, length) = (entry.path(), metadata.len());
        let known = match old.files.get(&path) {
            Some(known) if known.modified == modified && known.length == length => known.clone(),
            // A clock that runs behind must not hide a file forever.
            Some(_) | None if modified.elapsed().is_ok_and(|age| age < settle) => {
                self.is_unsettled = true;
                return;
            }
            Some(_) | None => {
                let identity = File::open(&path).and_then(|file| identify(&file));
                let identity = identity.ok().flatten();
                FileRecord {
                    modified,
                    length,
                    identity,
                }
            }
        };
        self.files.insert(path, known);
    }

    /// The files for a request.
    pub(super) fn entries(&self, target: &Target) -> Vec<Entry> {
        let all = |instances: &HashMap<_, Entry>| instances.values().cloned().collect::<Vec<_>>();
        let series = |study: &StudyInstanceUid, series: &SeriesInstanceUid| {
            self.series.get(&(study.clone(), series.clone()))
        };
        match target {
            Target::Study(study) => {
                let of_study = self.series.iter().filter(|((of, _), _)| of == study);
                of_study.flat_map(|(_, instances)| all(instances)).collect()
            }
            Target::Series(study, uid) => series(study, uid).map(all).unwrap_or_default(),
            Target::Instance(study, uid, instance) => {
                let found = series(study, uid).and_then(|instances| instances.get(instance));
                found.cloned().into_iter().collect()
            }
        }
    }
}

type BySeries = HashMap<(StudyInstanceUid, SeriesInstanceUid), HashMap<SopInstanceUid, Entry>>;

fn by_series(files: &HashMap<PathBuf, FileRecord>) -> BySeries {
    let mut series = BySeries::new();
    for (path, known) in files {
        let Some(identity) = &known.identity else {
            continue;
        };
        let key = (identity.study.clone(), identity.series.clone());
        let entry = Entry {
            path: path.clone(),
            transfer_syntax: identity.transfer_syntax.clone(),
        };
        let instances = series.entry(key).or_default();
        // Of two files with the same instance, the first by name is always served.
        match instances.get(&identity.sop_instance) {
            Some(other) if other.path <= *path => {}
            Some(_) | None => {
                instances.insert(identity.sop_instance.clone(), entry);
            }
        }
    }
    series
}

fn modified(path: &Path) -> Option<SystemTime> {
    fs::metadata(path)
        .and_then(|metadata| metadata.modified())
        .ok()
}

/// Whether a file is a data set without file meta information.
pub(super) fn is_bare(file: &File) -> bool {
    let mut first = [0; 8];
    let read = file.read_exact_at(&mut first, 0);
    read.is_ok() && part10::bare(&first).is_some()
}

/// The identity of a file.
pub(super) fn identify(mut file: &File) -> io::Result<Option<Identity>> {
    let mut prefix = Vec::new();
    let mut want = FIRST_READ;
    loop {
        let before = prefix.len();
        (&mut file)
            .take((want - before) as u64)
            .read_to_end(&mut prefix)?;
        match Identity::read(&prefix) {
            Ok(Some(identity)) => return Ok(Some(identity)),
            Err(_no_instance) => return Ok(None),
            Ok(None) if prefix.len() == before => return Ok(None),
            Ok(None) => want = (want * 4).min(part10::MAX_HEAD + 1),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(last: u32) -> Vec<u8> {
        let mut bytes = vec![0; 128];
        bytes.extend(b"DICM");
        for (tag, uid) in [
            ([2, 0, 0x10, 0], "1.2.840.10008.1.2.1".to_owned()),
            ([8, 0, 0x16, 0], "1.2.840.10008.5.1.4.1.1.2".to_owned()),
            ([8, 0, 0x18, 0], format!("1.2.3.{last}")),
            ([0x20, 0, 0x0D, 0], "1.2.1".to_owned()),
            ([0x20, 0, 0x0E, 0], "1.2.2".to_owned()),
        ] {
            bytes.extend(tag);
            bytes.extend(b"UI");
            bytes.extend(u16::try_from(uid.len()).expect("short").to_le_bytes());
            bytes.extend(uid.as_bytes());
        }
        bytes
    }

    fn series() -> Target {
        let study = StudyInstanceUid::parse("1.2.1").expect("a uid");
        Target::Series(study, SeriesInstanceUid::parse("1.2.2").expect("a uid"))
    }

    #[test]
    fn finds_instances_by_what_is_in_the_files() {
        let folder = tempfile::tempdir().expect("a folder");
        fs::create_dir(folder.path().join("deep")).expect("made");
        fs::write(folder.path().join("deep/a"), file(1)).expect("written");
        fs::write(folder.path().join("b.txt"), file(2)).expect("written");
        fs::write(folder.path().join("notes.dcm"), "no DICOM").expect("written");
        fs::write(folder.path().join("copy"), file(2)).expect("written");
        let index = Index::read(folder.path(), &Index::default(), Duration::ZERO).expect("read");
        assert_eq!(index.instances(), 2);
        assert_eq!(index.entries(&series()).len(), 2);
    }

    #[test]
    fn notices_what_comes_and_goes() {
        let folder = tempfile::tempdir().expect("a folder");
        fs::write(folder.path().join("a"), file(1)).expect("written");
        let first = Index::read(folder.path(), &Index::default(), Duration::ZERO).expect("read");
        assert!(!first.is_stale());
        fs::write(folder.path().join("b"), file(2)).expect("written");
        fs::remove_file(folder.path().join("a")).expect("removed");
        // File systems keep time in ticks of some milliseconds.
        let later = SystemTime::now() + Duration::from_secs(5);
        let opened = File::open(folder.path()).expect("opened");
        opened.set_modified(later).expect("set");
        assert!(first.is_stale());
        let second = Index::read(folder.path(), &first, Duration::ZERO).expect("read");
        let found = second.entries(&series());
        assert_eq!(
            found.iter().map(|e| e.path.clone()).collect::<Vec<_>>(),
            [folder.path().join("b")]
        );
    }

    #[test]
    fn passes_over_what_may_still_be_being_written() {
        let folder = tempfile::tempdir().expect("a folder");
        fs::write(folder.path().join("a"), file(1)).expect("written");
        let hour = Duration::from_secs(3600);
        let index = Index::read(folder.path(), &Index::default(), hour).expect("read");
        assert_eq!(index.instances(), 0);
        assert!(index.is_stale(), "it is looked for again");
    }
}
