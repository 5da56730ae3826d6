use std::fs::{File, OpenOptions};
use std::os::unix::fs::{FileExt, PermissionsExt, symlink};
use std::path::PathBuf;

use tempfile::TempDir;

use super::*;
use crate::cache::test::{identity, key};

const DAY: Duration = Duration::from_secs(24 * 60 * 60);

fn begin(disk: &Disk, at: usize) -> io::Result<FileWriter> {
    disk.begin(disk.pending(&key(at)), &identity(at), Validity::now(None))
}

fn limits(bytes: u64) -> Limits {
    Limits {
        bytes,
        age: DAY,
        index: 1 << 20,
    }
}

fn open_within(folder: &Path, limits: Limits) -> Disk {
    Disk::open(folder, limits, &Metrics::new()).expect("a folder")
}

fn open(folder: &TempDir, bytes: u64) -> Disk {
    open_within(folder.path(), limits(bytes))
}

fn store(disk: &Disk, at: usize, body: &[u8]) -> Arc<Stored> {
    // Small ones in one piece, as from memory; others as they arrive.
    if body.len() < 100_000 {
        let landed = Landed {
            identity: &identity(at),
            validity: Validity::now(None),
            bytes: body,
            blake3: blake3::hash(body).into(),
        };
        disk.store(&disk.pending(&key(at)), landed).expect("room")
    } else {
        grown(disk, at, body)
    }
}

fn grown(disk: &Disk, at: usize, body: &[u8]) -> Arc<Stored> {
    let mut writing = begin(disk, at).expect("room");
    for chunk in body.chunks(1000) {
        writing.append(chunk).expect("room");
    }
    writing.finish().expect("room")
}

fn path(disk: &Disk, stored: &Stored) -> PathBuf {
    stored.name().path(&disk.folder)
}

fn body_of(disk: &Disk, stored: &Stored) -> Vec<u8> {
    let whole = disk.read_whole(stored, Wait::ForDevice).expect("a file");
    assert_eq!(read(disk, stored).expect("a file"), whole);
    whole.to_vec()
}

/// The body, read in parts.
fn read(disk: &Disk, stored: &Stored) -> io::Result<Vec<u8>> {
    let opened = disk.open_file(stored, Wait::ForDevice)?;
    let mut body = Vec::new();
    while (body.len() as u64) < opened.length() {
        body.extend(opened.read(body.len() as u64, u64::MAX, Wait::ForDevice)?);
    }
    Ok(body)
}

/// Waits until the files of all removed entries are deleted.
fn deleted(disk: &Disk) {
    while disk.remover.waiting() > 0 {
        std::thread::yield_now();
    }
}

fn files(folder: &TempDir) -> Vec<PathBuf> {
    let folders = fs::read_dir(folder.path()).expect("a folder");
    let folders = folders.map(|entry| entry.expect("an entry").path());
    folders
        .filter(|path| path.is_dir())
        .flat_map(|folder| fs::read_dir(folder).expect("a folder"))
        .map(|entry| entry.expect("an entry").path())
        .collect()
}

fn mode(path: &Path) -> u32 {
    fs::metadata(path).expect("a file").permissions().mode() & 0o777
}

/// Bytes that say where they are.
fn bytes(length: usize) -> Vec<u8> {
    (0..length).map(|at| (at / 251 + at * 7) as u8).collect()
}

#[test]
fn gives_back_what_was_stored_also_after_a_restart() {
    for length in [0, 1, 1000, 65_535, 65_536, 65_537, 300_000] {
        let folder = TempDir::new().expect("a folder");
        let body = bytes(length);
        store(&open(&folder, 1 << 20), 1, &body);
        let disk = open(&folder, 1 << 20);
        let stored = disk.find(&key(1)).expect("it is kept");
        assert_eq!(stored.identity(), identity(1));
        assert!(body_of(&disk, &stored) == body);
        assert!(disk.find(&key(2)).is_none());
    }
}

#[test]
fn any_part_is_read_as_it_was_written() {
    let folder = TempDir::new().expect("a folder");
    let disk = open(&folder, 1 << 20);
    let body = bytes(300_000);
    let opened = disk
        .open_file(&store(&disk, 1, &body), Wait::ForDevice)
        .expect("a file");
    for at in [
        0, 1, 65_535, 65_536, 65_537, 200_000, 262_143, 262_144, 299_999,
    ] {
        for most in [1, 2, 65_536, 100_000, u64::MAX] {
            let read = opened.read(at, most, Wait::ForDevice).expect("bytes");
            assert!(!read.is_empty() && read.len() as u64 <= most);
            let at = usize::try_from(at).expect("small");
            assert!(read == body[at..at + read.len()]);
        }
    }
    assert!(opened.read(300_000, 1, Wait::ForDevice).is_err());
}

#[test]
fn nobody_else_can_read_it_and_no_name_tells_anything() {
    let folder = TempDir::new().expect("a folder");
    let instances = folder.path().join("instances");
    let disk = open_within(&instances, limits(1 << 20));
    let path = path(&disk, &store(&disk, 1, b"body"));
    assert_eq!(mode(&instances), 0o700);
    assert_eq!(mode(path.parent().expect("a folder")), 0o700);
    assert_eq!(mode(&path), 0o600);
    let name = path.file_name().expect("a name").to_string_lossy();
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

// Every single byte matters, wherever it is in the file.
#[test]
fn damage_is_found_before_anything_wrong_is_given() {
    let folder = TempDir::new().expect("a folder");
    let disk = open(&folder, 1 << 20);
    let body = bytes(150_000);
    let stored = store(&disk, 1, &body);
    let path = path(&disk, &stored);
    let file = File::options()
        .read(true)
        .write(true)
        .open(&path)
        .expect("a file");
    let length = file.metadata().expect("a file").len();
    let places = (0..4096).step_by(97).chain((4096..length).step_by(3331));
    for at in places.chain([0, 4095, 4096, length - 1]) {
        let mut byte = [0];
        file.read_exact_at(&mut byte, at).expect("a byte");
        file.write_all_at(&[byte[0] ^ 1], at).expect("written");
        assert!(read(&disk, &stored).is_err(), "byte {at}");
        let whole = disk.read_whole(&stored, Wait::ForDevice);
        assert!(whole.is_err(), "byte {at}");
        file.write_all_at(&byte, at).expect("written");
    }
    assert!(body_of(&disk, &stored) == body);
}

#[test]
fn what_is_left_of_a_damaged_file_can_still_be_read() {
    let folder = TempDir::new().expect("a folder");
    let disk = open(&folder, 1 << 20);
    let body = bytes(150_000);
    let stored = store(&disk, 1, &body);
    let opened = disk.open_file(&stored, Wait::ForDevice).expect("a file");
    let read = |at, most| opened.read(at, most, Wait::ForDevice);
    let file = OpenOptions::new().write(true).open(path(&disk, &stored));
    file.expect("a file")
        .write_all_at(b"X", BODY_AT + 70_000)
        .expect("written");
    assert!(read(0, LEAF).expect("the first leaf") == body[..65_536]);
    assert!(read(65_536, 1).is_err());
    assert!(opened.is_leaf(1, &body[65_536..131_072]) && !opened.is_leaf(1, &body[..65_536]));
    assert!(opened.is_leaf(2, &body[131_072..]) && opened.leaf_size(2) == 150_000 - 131_072);
}

#[test]
fn whatever_takes_the_place_of_a_file_is_not_believed() {
    type Harm = fn(&Path, &Path);
    let harms: [(&str, Harm); 8] = [
        ("shorter", |path, _| {
            let file = OpenOptions::new().write(true).open(path).expect("a file");
            file.set_len(BODY_AT + 10).expect("shorter");
        }),
        ("empty", |path, _| drop(File::create(path).expect("a file"))),
        ("gone", |path, _| fs::remove_file(path).expect("deleted")),
        ("another", |path, other| {
            assert!(fs::copy(other, path).expect("copied") > 0)
        }),
        ("a folder", |path, _| {
            fs::remove_file(path).expect("deleted");
            fs::create_dir(path).expect("a folder");
        }),
        ("a link to itself elsewhere", |path, _| {
            let aside = path.with_extension("aside");
            fs::rename(path, &aside).expect("moved");
            symlink(&aside, path).expect("a link");
        }),
        ("a pipe", |path, _| {
            fs::remove_file(path).expect("deleted");
            pipe(path);
        }),
        ("the body of another", |path, other| {
            let mut both = fs::read(path).expect("a file");
            both[4096..].copy_from_slice(&fs::read(other).expect("a file")[4096..]);
            fs::write(path, both).expect("written");
        }),
    ];
    for (name, harm) in harms {
        let folder = TempDir::new().expect("a folder");
        let disk = open(&folder, 1 << 20);
        let (one, two) = (store(&disk, 1, &[7; 5000]), store(&disk, 2, &[8; 5000]));
        harm(&path(&disk, &one), &path(&disk, &two));
        assert!(read(&disk, &one).is_err(), "{name}");
        let whole = disk.read_whole(&one, Wait::ForDevice);
        assert!(whole.is_err(), "{name}");
        disk.discard(&one);
        assert!(disk.find(&key(1)).is_none(), "{name}");
        assert_eq!(body_of(&disk, &two), [8; 5000], "{name}");
        // Another one can take its place, and after a start both are there.
        store(&disk, 1, &[9; 5000]);
        let disk = open(&folder, 1 << 20);
        assert_eq!(
            body_of(&disk, &disk.find(&key(1)).expect("kept")),
            [9; 5000]
        );
    }
}

#[test]
fn what_is_not_ours_is_left_alone_and_keeps_nothing_from_starting() {
    let folder = TempDir::new().expect("a folder");
    let disk = open(&folder, 1 << 20);
    let stored = store(&disk, 1, b"body");
    let path = path(&disk, &stored);
    let (below, ours) = (
        path.parent().expect("a folder"),
        path.file_name().expect("a name"),
    );
    let ours = ours.to_str().expect("text");
    fs::create_dir(folder.path().join("new")).expect("a folder");
    let name = |letter: &str| format!("{}{}.5", &ours[..2], letter.repeat(30));
    let planted = [
        folder.path().join("notes.txt"),
        folder.path().join("new").join("notes.txt"),
        below.join("notes.txt"),
        below.join(format!("{ours}.bak")),
        // As ours are called, but in another folder.
        folder.path().join("new").join("x.1"),
    ];
    for path in &planted {
        fs::write(path, "somebody's").expect("written");
    }
    fs::create_dir(below.join(name("a"))).expect("a folder");
    pipe(&below.join(name("b")));
    symlink("/etc/hostname", below.join(name("c"))).expect("a link");
    symlink("/nowhere", folder.path().join("0f")).expect("a link");
    let before = files(&folder).len();
    let disk = open(&folder, 1 << 20);
    assert_eq!(body_of(&disk, &disk.find(&key(1)).expect("kept")), b"body");
    assert_eq!(files(&folder).len(), before);
    assert!(planted.iter().all(|path| path.exists()));
}

fn pipe(path: &Path) {
    let made = std::process::Command::new("mkfifo").arg(path).status();
    assert!(made.expect("mkfifo").success());
}

// A kill interrupts the one call that writes a file.
#[test]
fn what_was_written_in_part_is_gone_after_a_start() {
    let body = bytes(90_000);
    for kept in [0, 1, 4095, 4096, 4097, 50_000, 94_096, 94_127] {
        let folder = TempDir::new().expect("a folder");
        let disk = open(&folder, 1 << 20);
        let path = path(&disk, &store(&disk, 1, &body));
        let file = OpenOptions::new().write(true).open(&path);
        let file = file.expect("a file");
        assert_eq!(file.metadata().expect("a file").len(), 94_128);
        file.set_len(kept).expect("shorter");
        let disk = open(&folder, 1 << 20);
        assert!(disk.find(&key(1)).is_none() && !path.exists(), "{kept}");
    }
}

#[test]
fn a_file_is_written_again_if_its_folder_has_disappeared() {
    let folder = TempDir::new().expect("a folder");
    let disk = open(&folder, 1 << 20);
    fs::remove_dir_all(path(&disk, &store(&disk, 1, b"old")).parent().expect("one")).expect("gone");
    assert_eq!(body_of(&disk, &store(&disk, 1, b"new")), b"new");
}

#[test]
fn a_read_that_does_not_wait_gives_the_same_or_declines() {
    let folder = TempDir::new().expect("a folder");
    let disk = open(&folder, 1 << 20);
    for length in [0, 1, 70_000, 300_000] {
        let body = bytes(length);
        let stored = store(&disk, 1, &body);
        match disk.read_whole(&stored, Wait::Never) {
            Ok(whole) => assert!(whole == body),
            Err(error) => assert_eq!(error.kind(), io::ErrorKind::WouldBlock),
        }
    }
    let large = store(&disk, 1, &bytes(2 << 20));
    let whole = disk.read_whole(&large, Wait::Never);
    let error = whole.expect_err("it takes too long");
    assert_eq!(error.kind(), io::ErrorKind::WouldBlock);
}

#[test]
fn a_file_of_an_earlier_format_is_deleted() {
    for version in [1, 2] {
        is_deleted(version);
    }
}

fn is_deleted(version: u8) {
    let folder = TempDir::new().expect("a folder");
    let disk = open(&folder, 1 << 20);
    let path = path(&disk, &store(&disk, 1, b"body"));
    let new = folder.path().join("new");
    fs::create_dir(&new).expect("a folder");
    let half = new.join(path.file_name().expect("a name"));
    fs::write(&half, "half").expect("written");
    // As it is, but for the version.
    let mut earlier = fs::read(&path).expect("a file");
    earlier[7] = version;
    let seal = Name::parse(
        path.file_name()
            .and_then(|name| name.to_str())
            .expect("a name"),
    );
    let (seal, _is_new) = seal.expect("a name");
    let digest = seal.seal().page(&earlier[..4080]).to_le_bytes();
    earlier[4080..4096].copy_from_slice(&digest);
    fs::write(&path, earlier).expect("written");
    let disk = open(&folder, 1 << 20);
    assert!(disk.find(&key(1)).is_none());
    assert!(!path.exists() && !new.exists());
}

#[test]
fn a_file_under_the_name_of_another_is_not_believed() {
    let folder = TempDir::new().expect("a folder");
    let disk = open(&folder, 1 << 20);
    let (one, other) = (store(&disk, 1, b"one"), store(&disk, 2, b"two"));
    fs::copy(path(&disk, &one), path(&disk, &other)).expect("copied");
    let disk = open(&folder, 1 << 20);
    assert!(disk.find(&key(2)).is_none());
    assert_eq!(body_of(&disk, &disk.find(&key(1)).expect("kept")), b"one");
}

#[test]
fn stays_within_its_bytes_and_deletes_what_leaves() {
    let folder = TempDir::new().expect("a folder");
    let disk = open(&folder, 100 << 10);
    for at in 0..30 {
        store(&disk, at, &vec![0; (16 << 10) - 16]);
        disk.observe();
    }
    deleted(&disk);
    let files = files(&folder);
    let bytes: u64 = files
        .iter()
        .map(|f| f.metadata().expect("a file").len())
        .sum();
    assert!(bytes <= 100 << 10, "{bytes}");
    assert_eq!(files.len(), 5);
    assert!(disk.find(&key(29)).is_some() && disk.find(&key(0)).is_none());
}

#[test]
fn a_new_generation_survives_the_end_of_the_old_one() {
    let folder = TempDir::new().expect("a folder");
    let disk = open(&folder, 1 << 20);
    let old = store(&disk, 1, b"old");
    let reader = disk.open_file(&old, Wait::ForDevice).expect("a file");
    for round in 0..50_u8 {
        store(&disk, 1, &[round; 100]);
    }
    deleted(&disk);
    assert_eq!(files(&folder).len(), 1);
    assert_eq!(
        body_of(&disk, &disk.find(&key(1)).expect("kept")),
        [49; 100]
    );
    let first = reader.read(0, 3, Wait::ForDevice);
    assert_eq!(first.expect("still open"), "old");
}

#[test]
fn what_is_forgotten_while_it_is_written_does_not_appear_and_nothing_else_is_lost() {
    let folder = TempDir::new().expect("a folder");
    let disk = open(&folder, 1 << 20);
    let begun = |at| {
        let mut writing = begin(&disk, at).expect("room");
        writing.append(b"body").expect("room");
        writing
    };
    let (one, two, three) = (begun(1), begun(2), begun(3));
    assert_eq!(disk.forget(&|of| *of == key(1)), 0);
    disk.forget_one(&key(2));
    assert!(one.finish().is_err() && two.finish().is_err());
    three.finish().expect("nobody forgot it");
    assert!(disk.find(&key(1)).is_none() && disk.find(&key(2)).is_none());
    assert_eq!(files(&folder).len(), 1);
    // What begins later is another matter.
    begun(1).finish().expect("room");
    assert_eq!(disk.forget(&|of| *of == key(3)), 1);
    assert!(disk.find(&key(1)).is_some() && disk.find(&key(3)).is_none());
    assert_eq!(files(&folder).len(), 1);
    assert!(disk.index().is_idle());
}

#[test]
fn what_is_too_old_is_dropped_at_the_start_and_later() {
    let folder = TempDir::new().expect("a folder");
    store(&open(&folder, 1 << 20), 1, b"body");
    let old = Limits {
        age: Duration::ZERO,
        ..limits(1 << 20)
    };
    let disk = open_within(folder.path(), old);
    assert!(disk.find(&key(1)).is_none() && files(&folder).is_empty());
    store(&disk, 2, b"body");
    assert!(disk.find(&key(2)).is_none());
    disk.observe();
    deleted(&disk);
    assert!(files(&folder).is_empty());
}

#[test]
fn the_index_stays_within_its_memory() {
    let folder = TempDir::new().expect("a folder");
    let narrow = Limits {
        index: 20 << 10,
        ..limits(1 << 30)
    };
    let disk = open_within(folder.path(), narrow);
    for at in 0..200 {
        store(&disk, at, b"body");
        assert!(disk.find(&key(0)).is_some(), "it was used at {at}");
        assert!(disk.index().sizes().1 <= 20 << 10);
    }
    let (_, memory, entries) = disk.index().sizes();
    assert!(entries > 20 && entries < 100, "{entries} in {memory}");
    deleted(&disk);
    assert_eq!(files(&folder).len(), entries);
    assert!(disk.find(&key(199)).is_some() && disk.find(&key(100)).is_none());
    // And when it is read.
    let disk = open_within(
        folder.path(),
        Limits {
            index: 10 << 10,
            ..narrow
        },
    );
    assert!(disk.index().sizes().2 <= entries / 2 + 1);
    deleted(&disk);
    assert_eq!(files(&folder).len(), disk.index().sizes().2);
}

#[test]
fn what_cannot_wait_for_a_disk_leaves_its_file_to_another_thread() {
    let folder = TempDir::new().expect("a folder");
    let disk = open(&folder, 1 << 20);
    for at in 0..20 {
        store(&disk, at, &[0; 10_000]);
    }
    for at in 0..20 {
        disk.forget_one(&key(at));
        assert!(disk.find(&key(at)).is_none());
    }
    // Bytes that are still there are counted.
    deleted(&disk);
    assert!(files(&folder).is_empty());
    assert_eq!(disk.index().sizes(), (0, 0, 0));
}

#[test]
fn a_reader_follows_a_file_that_grows_and_sees_damage_to_it() {
    let folder = TempDir::new().expect("a folder");
    let disk = open(&folder, 1 << 20);
    let mut writing = begin(&disk, 1).expect("room");
    let file = writing.file();
    assert!(file.read(0, 1).is_err());
    let body = bytes(200_000);
    let mut length = 0;
    for chunk in body.chunks(7001) {
        writing.append(chunk).expect("room");
        length += chunk.len();
        for at in [0, length / 3, length - 1] {
            let read = file.read(at as u64, u64::MAX).expect("written");
            assert!(read == body[at..at + read.len()], "{at} of {length}");
        }
    }
    let [path] = &files(&folder)[..] else {
        panic!("one file");
    };
    let spoilt = OpenOptions::new().write(true).open(path).expect("a file");
    spoilt
        .write_all_at(b"X", BODY_AT + 199_000)
        .expect("written");
    assert!(file.read(150_000, 10).is_ok() && file.read(199_990, 10).is_err());
    spoilt.set_len(BODY_AT + 100_000).expect("shorter");
    assert!(file.read(10, 10).is_ok() && file.read(150_000, 10).is_err());
    let stored = writing.finish().expect("room");
    assert!(read(&disk, &stored).is_err());
}
