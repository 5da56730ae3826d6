use std::os::unix::fs::PermissionsExt;

use tempfile::TempDir;

use super::*;
use crate::cache::test::{identity, key};

const DAY: Duration = Duration::from_secs(24 * 60 * 60);

fn begin(disk: &Disk, at: usize) -> io::Result<Writing> {
    disk.begin(&key(at), &identity(at), Validity::now(None), disk.epoch())
}

fn open(folder: &TempDir, bytes: u64) -> Disk {
    let limits = Limits { bytes, age: DAY };
    Disk::open(folder.path(), limits, &Metrics::new()).expect("a folder")
}

fn store(disk: &Disk, at: usize, body: &[u8]) -> Arc<Stored> {
    let mut writing = begin(disk, at).expect("room");
    for chunk in body.chunks(1000) {
        writing.append(chunk).expect("room");
    }
    writing.finish().expect("room")
}

fn body_of(stored: &Stored) -> Vec<u8> {
    let file = stored.open().expect("a file");
    let mut body = Vec::new();
    while (body.len() as u64) < stored.length {
        let at = body.len() as u64;
        body.extend_from_slice(&read(&file, at, stored.length - at).expect("bytes"));
    }
    body
}

fn files(folder: &TempDir) -> Vec<PathBuf> {
    let folders = fs::read_dir(folder.path()).expect("a folder");
    let folders = folders.map(|entry| entry.expect("an entry").path());
    folders
        .flat_map(|folder| fs::read_dir(folder).expect("a folder"))
        .map(|entry| entry.expect("an entry").path())
        .collect()
}

fn mode(path: &Path) -> u32 {
    fs::metadata(path).expect("a file").permissions().mode() & 0o777
}

#[test]
fn gives_back_what_was_stored_also_after_a_restart() {
    let folder = TempDir::new().expect("a folder");
    let body: Vec<u8> = (0..300_000_u32).map(|n| (n % 251) as u8).collect();
    store(&open(&folder, 1 << 20), 1, &body);
    let disk = open(&folder, 1 << 20);
    let stored = disk.find(&key(1)).expect("it is kept");
    assert_eq!(stored.identity, identity(1));
    assert_eq!(body_of(&stored), body);
    assert!(stored.verify().expect("readable"));
    assert!(disk.find(&key(2)).is_none());
}

#[test]
fn nobody_else_can_read_it_and_no_name_tells_anything() {
    let folder = TempDir::new().expect("a folder");
    let instances = folder.path().join("instances");
    let limits = Limits {
        bytes: 1 << 20,
        age: DAY,
    };
    let disk = Disk::open(&instances, limits, &Metrics::new()).expect("a folder");
    let stored = store(&disk, 1, b"body");
    assert_eq!(mode(&instances), 0o700);
    assert_eq!(mode(&stored.path), 0o600);
    let name = stored.path.file_name().expect("a name").to_string_lossy();
    assert!(!name.contains("1.2"), "{name}");
}

#[test]
fn what_was_not_finished_is_gone() {
    let folder = TempDir::new().expect("a folder");
    let disk = open(&folder, 1 << 20);
    let mut writing = begin(&disk, 1).expect("room");
    writing.append(b"half").expect("room");
    std::mem::forget(writing); // as a kill does
    assert_eq!(files(&folder).len(), 1);
    let disk = open(&folder, 1 << 20);
    assert!(files(&folder).is_empty());
    drop(begin(&disk, 1).expect("room"));
    assert!(files(&folder).is_empty());
}

#[test]
fn damage_is_found_before_anything_is_given() {
    type Harm = fn(&Path);
    let harms: [(&str, Harm); 4] = [
        ("truncated", |path| {
            let file = OpenOptions::new().write(true).open(path).expect("a file");
            file.set_len(BODY_AT + 10).expect("shorter");
        }),
        ("a bit of the body", |path| {
            let file = OpenOptions::new().write(true).open(path).expect("a file");
            file.write_all_at(b"X", BODY_AT + 100).expect("written");
        }),
        ("no header", |path| {
            let file = OpenOptions::new().write(true).open(path).expect("a file");
            file.write_all_at(&[0; 4096], 0).expect("written");
        }),
        ("empty", |path| {
            File::create(path).expect("a file");
        }),
    ];
    for (name, harm) in harms {
        let folder = TempDir::new().expect("a folder");
        let path = store(&open(&folder, 1 << 20), 1, &[7; 5000]).path.clone();
        harm(&path);
        let disk = open(&folder, 1 << 20);
        let found = disk.find(&key(1));
        let is_whole = found
            .as_ref()
            .is_some_and(|stored| stored.verify().unwrap_or(false));
        assert!(!is_whole, "{name}");
        if let Some(stored) = found {
            disk.discard(&stored);
        }
        disk.observe();
        assert!(
            disk.find(&key(1)).is_none() && files(&folder).is_empty(),
            "{name}"
        );
    }
}

#[test]
fn a_file_under_the_name_of_another_is_not_believed() {
    let folder = TempDir::new().expect("a folder");
    let disk = open(&folder, 1 << 20);
    let (one, other) = (store(&disk, 1, b"one"), store(&disk, 2, b"two"));
    fs::copy(&one.path, &other.path).expect("copied");
    let disk = open(&folder, 1 << 20);
    assert!(disk.find(&key(2)).is_none());
    assert_eq!(body_of(&disk.find(&key(1)).expect("kept")), b"one");
}

#[test]
fn stays_within_its_bytes_and_deletes_what_leaves() {
    let folder = TempDir::new().expect("a folder");
    let disk = open(&folder, 100 << 10);
    for at in 0..30 {
        store(&disk, at, &vec![0; 16 << 10]);
        disk.observe();
    }
    let files = files(&folder);
    let bytes: u64 = files
        .iter()
        .map(|f| f.metadata().expect("a file").len())
        .sum();
    assert!(bytes <= 100 << 10, "{bytes}");
    assert_eq!(files.len(), 5);
    assert!(disk.find(&key(29)).is_some() && disk.find(&key(0)).is_none());
}

// moka tells of the old value when the new one can already be seen (its issue 601).
#[test]
fn a_new_generation_survives_the_end_of_the_old_one() {
    let folder = TempDir::new().expect("a folder");
    let disk = open(&folder, 1 << 20);
    let old = store(&disk, 1, b"old");
    let reader = old.open().expect("a file");
    for round in 0..50_u8 {
        store(&disk, 1, &[round; 100]);
    }
    disk.observe();
    assert_eq!(files(&folder).len(), 1);
    assert_eq!(body_of(&disk.find(&key(1)).expect("kept")), [49; 100]);
    assert_eq!(read(&reader, 0, 3).expect("still open"), "old");
}

#[test]
fn what_is_forgotten_while_it_is_written_does_not_appear() {
    let folder = TempDir::new().expect("a folder");
    let disk = open(&folder, 1 << 20);
    let mut writing = begin(&disk, 1).expect("room");
    writing.append(b"body").expect("room");
    assert_eq!(disk.forget(&|_| true), 0);
    assert!(writing.finish().is_err());
    disk.observe();
    assert!(disk.find(&key(1)).is_none() && files(&folder).is_empty());
    store(&disk, 2, b"two");
    store(&disk, 3, b"three");
    assert_eq!(disk.forget(&|of| *of == key(2)), 1);
    assert!(disk.find(&key(2)).is_none() && disk.find(&key(3)).is_some());
    assert_eq!(files(&folder).len(), 1);
}

#[test]
fn what_is_too_old_is_dropped() {
    let folder = TempDir::new().expect("a folder");
    store(&open(&folder, 1 << 20), 1, b"body");
    let limits = Limits {
        bytes: 1 << 20,
        age: Duration::ZERO,
    };
    let disk = Disk::open(folder.path(), limits, &Metrics::new()).expect("a folder");
    assert!(disk.find(&key(1)).is_none() && files(&folder).is_empty());
}

#[test]
fn a_reader_follows_a_file_that_grows() {
    let folder = TempDir::new().expect("a folder");
    let disk = open(&folder, 1 << 20);
    let mut writing = begin(&disk, 1).expect("room");
    let file = writing.file();
    writing.append(b"begin").expect("room");
    assert_eq!(read(&file, 1, 4).expect("written"), "egin");
    writing.append(b"end").expect("room");
    let stored = writing.finish().expect("room");
    assert_eq!(read(&file, 5, 3).expect("written"), "end");
    assert_eq!(stored.length, 8);
}
