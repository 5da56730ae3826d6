//! Files of the disk tier that are damaged while the gateway runs: no wrong byte is sent under the
//! old entity tag, and the source answers the same request.

use std::fs::{self, File, OpenOptions};
use std::os::unix::fs::{FileExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::time::Duration;

use futures_util::future::join_all;
use http::StatusCode;
use tempfile::TempDir;
use tokio::time::{sleep, timeout};

use crate::rig::origin::{Gate, Origin, honest};
use crate::rig::study::{CT, EXPLICIT, Instance, Study, at, long, part10, text};
use crate::rig::{AS_STORED, Answer, Rig, sorted};

const LONG: Duration = Duration::from_secs(120);
const SINGLE: (&str, &str) = ("accept", "application/dicom; transfer-syntax=*");
const FRAME: (&str, &str) = ("accept", "application/octet-stream; transfer-syntax=*");
/// The size of each of two frames: one instance fits in the memory tier, the other is read from disk.
const SMALL: usize = 2_000;
const LARGE: usize = 200_000;
const WITHOUT_RIGHTS: &str = "without any rights";
/// Instances that fill a memory tier of 1 MiB twice.
const FILLERS: usize = 300;

/// A harm that is done to the file of the first instance; the second file is that of another one.
type Harm = fn(&Path, &Path);

const HARMS: [(&str, Harm); 12] = [
    ("a bit near the end", |path, _| {
        let length = fs::metadata(path).expect("a file").len();
        flip(path, length * 9 / 10);
    }),
    ("a bit of the first bytes of the body", |path, _| {
        flip(path, 4096 + 140)
    }),
    ("a bit of the head", |path, _| flip(path, 60)),
    ("a bit of the last byte", |path, _| {
        flip(path, fs::metadata(path).expect("a file").len() - 1);
    }),
    ("overwritten", |path, _| {
        let length = fs::metadata(path).expect("a file").len();
        fs::write(path, vec![7; usize::try_from(length).expect("it fits")]).expect("written");
    }),
    ("replaced by that of another instance", |path, other| {
        fs::remove_file(path).expect("deleted");
        fs::copy(other, path).expect("copied");
    }),
    ("the body of another instance", |path, other| {
        let mut bytes = fs::read(path).expect("a file");
        let others = fs::read(other).expect("a file");
        let length = bytes.len().min(others.len());
        bytes[4096..length].copy_from_slice(&others[4096..length]);
        fs::write(path, bytes).expect("written");
    }),
    ("swapped within itself", |path, _| {
        let mut bytes = fs::read(path).expect("a file");
        let piece = ((bytes.len() - 4096) / 4).min(64 << 10);
        let (one, other) = bytes[4096..].split_at_mut(piece);
        one.swap_with_slice(&mut other[..piece]);
        fs::write(path, bytes).expect("written");
    }),
    ("truncated", |path, _| {
        let length = fs::metadata(path).expect("a file").len();
        let file = OpenOptions::new().write(true).open(path).expect("a file");
        file.set_len(length * 2 / 3).expect("shorter");
    }),
    ("deleted", |path, _| fs::remove_file(path).expect("deleted")),
    (WITHOUT_RIGHTS, |path, _| {
        fs::set_permissions(path, fs::Permissions::from_mode(0o000)).expect("ours");
    }),
    // Root may read everything, but no folder.
    ("a folder", |path, _| {
        fs::remove_file(path).expect("deleted");
        fs::create_dir(path).expect("a folder");
    }),
];

fn flip(path: &Path, at: u64) {
    let file = File::options()
        .read(true)
        .write(true)
        .open(path)
        .expect("a file");
    let mut byte = [0];
    file.read_exact_at(&mut byte, at).expect("a byte");
    file.write_all_at(&[byte[0] ^ 16], at).expect("written");
}

/// What is asked of an instance.
#[derive(Debug, Clone, Copy)]
enum Ask {
    Whole,
    Study,
    Range,
    Frame,
}

const ASKS: [Ask; 4] = [Ask::Whole, Ask::Study, Ask::Range, Ask::Frame];

/// Two instances of two frames each, at one source.
struct Case {
    rig: Rig,
    origin: Origin,
    study: Study,
    root: String,
    directory: TempDir,
    frame: usize,
    /// The root and the study of what drives others out of memory.
    filler: (String, Study),
}

fn instance(study: &Study, number: usize, frame: usize) -> Instance {
    let (study, series) = (study.uid.clone(), study.series[0].uid.clone());
    let uid = format!("{series}.{number}");
    let us = |tag, value: u16| {
        let mut bytes = text(tag, b"US", "");
        let length = bytes.len();
        bytes[length - 2] = 2;
        bytes.extend(value.to_le_bytes());
        bytes
    };
    let columns = u16::try_from(frame / 100).expect("a small frame");
    let pixels: Vec<u8> = (0..2 * frame)
        .map(|at| (at / 251 + at * 7 + number) as u8)
        .collect();
    let set = [
        text(0x0008_0016, b"UI", CT),
        text(0x0008_0018, b"UI", &uid),
        text(0x0020_000D, b"UI", &study),
        text(0x0020_000E, b"UI", &series),
        us(0x0028_0002, 1),
        text(0x0028_0004, b"CS", "MONOCHROME2"),
        text(0x0028_0008, b"IS", "2"),
        us(0x0028_0010, 100),
        us(0x0028_0011, columns),
        us(0x0028_0100, 8),
        us(0x0028_0101, 8),
        us(0x0028_0103, 0),
        long(0x7FE0_0010, b"OW", &pixels),
    ];
    Instance {
        study,
        series,
        transfer_syntax: EXPLICIT.into(),
        bytes: part10(CT, &uid, EXPLICIT, &set.concat()).into(),
        uid,
    }
}

impl Case {
    async fn new(frame: usize) -> Self {
        let mut study = Study::new(1).with(0, at(10));
        for number in 1..=2 {
            let instance = instance(&study, number, frame);
            study.series[0].instances.push(instance);
        }
        let filler = Study::new(2).with_series(at(10), vec![(EXPLICIT, 5000); FILLERS]);
        let held = [study.instances(), filler.instances()].concat();
        let origin = Origin::start(move |asked| honest(&held, asked)).await;
        let directory = tempfile::tempdir().expect("a directory");
        // An instance of more than 8 KiB is read from its file each time.
        let settings = format!("[cache]\nmemory = \"1 MiB\"\n{}", origin.location(10));
        let rig = Rig::start_in(directory.path(), &settings);
        let root = rig.register(study.fhir()).await.root;
        let filler = (rig.register(filler.fhir()).await.root, filler);
        let case = Self {
            rig,
            origin,
            study,
            root,
            directory,
            frame,
            filler,
        };
        case.out_of_memory().await;
        let warm = case.ask(Ask::Study, 0).await;
        assert_eq!(warm.instances(), sorted(case.study.bytes()));
        case.written(FILLERS + 2).await;
        // Where its frames are is known from now on, and what it is called.
        for at in 0..2 {
            case.is_right(Ask::Frame, at, &case.ask(Ask::Frame, at).await);
            case.is_right(Ask::Whole, at, &case.ask(Ask::Whole, at).await);
        }
        case
    }

    async fn written(&self, instances: usize) {
        let are_there = async {
            let entries = r#"xcwado_cache_entries{tier="disk"}"#;
            while self.rig.metric(entries).await < instances as f64 {
                sleep(Duration::from_millis(20)).await;
            }
        };
        timeout(LONG, are_there).await.expect("they are written");
    }

    /// Reads so much else that nothing of the study is left in memory.
    async fn out_of_memory(&self) {
        let path = format!("{}{}", self.filler.0, self.filler.1.path());
        let read = self.rig.get(&path, &[AS_STORED]).await;
        assert_eq!(read.instances().len(), FILLERS);
    }

    /// The file of an instance, found by what its first page says.
    fn file(&self, at: usize) -> PathBuf {
        let uid = format!("\"{}\"", self.study.instances()[at].uid);
        let mut files = files(self.directory.path());
        files.retain(|file| {
            let bytes = fs::read(file).expect("a file");
            let page = String::from_utf8_lossy(&bytes[..4096.min(bytes.len())]).into_owned();
            page.contains(&uid)
        });
        assert_eq!(files.len(), 1, "{files:?}");
        files.remove(0)
    }

    async fn ask(&self, ask: Ask, at: usize) -> Answer {
        let one = format!("{}{}", self.root, self.study.instances()[at].path());
        let study = format!("{}{}", self.root, self.study.path());
        match ask {
            Ask::Whole => self.rig.get(&one, &[SINGLE]).await,
            Ask::Study => self.rig.get(&study, &[AS_STORED]).await,
            Ask::Range => {
                let range = self.range();
                let range = format!("bytes={}-{}", range.start, range.end - 1);
                self.rig.get(&one, &[SINGLE, ("range", &range)]).await
            }
            Ask::Frame => self.rig.get(&format!("{one}/frames/2"), &[FRAME]).await,
        }
    }

    /// It lies within the second half, where most harm is done.
    fn range(&self) -> std::ops::Range<usize> {
        let length = self.study.instances()[0].bytes.len();
        length * 6 / 10 + 3..length - 5
    }

    fn is_right(&self, ask: Ask, at: usize, answer: &Answer) {
        let instance = &self.study.instances()[at];
        let bytes = &instance.bytes;
        match ask {
            Ask::Whole => {
                assert_eq!(answer.status, StatusCode::OK, "{answer:?}");
                assert!(answer.is_whole() && answer.body == bytes);
            }
            Ask::Study => assert!(answer.instances() == sorted(self.study.bytes())),
            // Without an entity tag there is no part to be given of what is arriving.
            Ask::Range if answer.status == StatusCode::OK => {
                assert!(answer.is_whole() && answer.body == bytes);
            }
            Ask::Range => {
                assert_eq!(answer.status, StatusCode::PARTIAL_CONTENT, "{answer:?}");
                assert!(answer.is_whole() && answer.body == bytes[self.range()]);
            }
            Ask::Frame => {
                assert_eq!(answer.status, StatusCode::OK, "{answer:?}");
                assert!(answer.is_whole());
                let from = bytes.len() - self.frame;
                assert!(answer.body == bytes[from..], "another frame");
            }
        }
    }
}

fn files(directory: &Path) -> Vec<PathBuf> {
    let folders = fs::read_dir(directory.join("instances")).expect("a folder");
    let folders = folders.map(|folder| folder.expect("a folder").path());
    let files = folders.flat_map(|folder| fs::read_dir(folder).expect("a folder"));
    let files = files.map(|file| file.expect("a file").path());
    files.filter(|path| path.is_file()).collect()
}

async fn is_found_and_fetched_again(frame: usize) {
    let case = Case::new(frame).await;
    for (name, harm) in HARMS {
        for ask in ASKS {
            case.out_of_memory().await;
            let damaged = case.rig.metric("xcwado_cache_damaged_total").await;
            let asked = case.origin.asked().len();
            harm(&case.file(0), &case.file(1));
            case.is_right(ask, 0, &case.ask(ask, 0).await);
            // What a part does not touch the whole does.
            case.is_right(Ask::Whole, 0, &case.ask(Ask::Whole, 0).await);
            let found = case.rig.metric("xcwado_cache_damaged_total").await - damaged;
            let is_root = name == WITHOUT_RIGHTS && fs::read(case.file(0)).is_ok();
            assert!(found == 1.0 || is_root, "{name}, {ask:?}");
            let more = case.origin.asked().len() - asked;
            let least = usize::from(found == 1.0);
            // Those who want a part let the rest of a large one go, so that it is not kept.
            let most = match ask {
                Ask::Whole | Ask::Study => least,
                Ask::Range | Ask::Frame => least + 3,
            };
            assert!((least..=most).contains(&more), "{more}: {name}, {ask:?}");
            let asked = asked + more;
            // It is whole again, and the source is left alone.
            case.written(FILLERS + 2).await;
            case.out_of_memory().await;
            case.is_right(Ask::Range, 0, &case.ask(Ask::Range, 0).await);
            assert_eq!(case.origin.asked().len(), asked, "{name}, {ask:?}");
            clear(case.directory.path());
        }
    }
}

/// Takes away the folders that were put in the place of files: the gateway leaves them alone.
fn clear(directory: &Path) {
    for folder in fs::read_dir(directory.join("instances")).expect("a folder") {
        for entry in fs::read_dir(folder.expect("a folder").path()).expect("a folder") {
            let path = entry.expect("an entry").path();
            if path.is_dir() {
                fs::remove_dir(path).expect("deleted");
            }
        }
    }
}

#[tokio::test]
async fn a_small_file_that_was_damaged_while_the_gateway_runs_is_found_and_fetched_again() {
    is_found_and_fetched_again(SMALL).await;
}

#[tokio::test]
async fn a_large_file_that_was_damaged_while_the_gateway_runs_is_found_and_fetched_again() {
    is_found_and_fetched_again(LARGE).await;
}

/// One large instance that is on disk.
async fn on_disk(
    size: usize,
    origin: impl AsyncFnOnce(&Study) -> Origin,
) -> (Rig, Origin, Study, String, TempDir) {
    let study = Study::new(1).with_series(at(10), vec![(EXPLICIT, size)]);
    let directory = tempfile::tempdir().expect("a directory");
    let origin = origin(&study).await;
    let rig = Rig::start_in(directory.path(), &origin.location(10));
    let root = rig.register(study.fhir()).await.root;
    let path = format!("{root}{}", study.instances()[0].path());
    let warm = rig.get(&path, &[SINGLE]).await;
    assert!(warm.body == study.instances()[0].bytes);
    (rig, origin, study, path, directory)
}

// What was given before the damage cannot be taken back, and need not be.
#[tokio::test]
async fn an_answer_goes_on_from_the_source_where_its_file_turns_out_to_be_damaged() {
    let (rig, origin, study, path, directory) =
        on_disk(40 << 20, async |s| Origin::of(s).await).await;
    let whole = &study.instances()[0].bytes;
    for fields in [&[SINGLE][..], &[SINGLE, ("range", "bytes=1000-")]] {
        let asked = origin.asked().len();
        let mut answer = rig.open(&path, fields).await;
        let tag = answer.headers.get("etag").cloned();
        answer.read_at_least(100_000).await;
        let [file] = &files(directory.path())[..] else {
            panic!("one file");
        };
        flip(file, 4096 + (39 << 20));
        let answer = answer.read().await;
        assert!(answer.is_whole());
        let expected = match answer.status {
            StatusCode::OK => &whole[..],
            _ => &whole[1000..],
        };
        assert!(answer.body == expected);
        assert_eq!(origin.asked().len(), asked + 1);
        let landed = async {
            while rig.metric("xcwado_flights_open").await > 0.0 {
                sleep(Duration::from_millis(20)).await;
            }
        };
        timeout(LONG, landed).await.expect("it lands");
        let again = rig.get(&path, &[SINGLE]).await;
        assert!(again.body == whole && again.headers.get("etag") == tag.as_ref());
        assert_eq!(origin.asked().len(), asked + 1, "it is kept again");
    }
}

#[tokio::test]
async fn where_the_source_has_something_else_by_now_the_answer_ends_uncleanly() {
    let other = Study::new(1).with_series(at(10), vec![(EXPLICIT, (40 << 20) - 2)]);
    let mut changed = other.instances();
    let mut bytes = changed[0].bytes.to_vec();
    let at = bytes.len() / 2;
    bytes[at] ^= 1;
    changed[0].bytes = bytes.into();
    let gate = Gate::new();
    let gone = gate.clone();
    let (rig, _origin, study, path, directory) = on_disk(40 << 20, async |study| {
        let held = study.instances();
        Origin::start(move |asked| match gone.is_open() {
            true => honest(&changed, asked),
            false => honest(&held, asked),
        })
        .await
    })
    .await;
    let whole = &study.instances()[0].bytes;
    let mut answer = rig.open(&path, &[SINGLE]).await;
    answer.read_at_least(100_000).await;
    gate.open();
    let [file] = &files(directory.path())[..] else {
        panic!("one file");
    };
    flip(file, 4096 + (39 << 20));
    let answer = answer.read().await;
    assert!(
        !answer.is_whole(),
        "something else was given as if it were the same"
    );
    assert!(whole.starts_with(&answer.body), "a wrong byte");
}

#[tokio::test]
async fn those_who_find_one_damaged_file_at_the_same_time_cost_its_source_one_answer() {
    let (rig, origin, study, path, directory) =
        on_disk(6 << 20, async |s| Origin::of(s).await).await;
    let asked = origin.asked().len();
    for file in files(directory.path()) {
        flip(&file, 4096 + (5 << 20));
    }
    let readers = (0..8).map(|_| rig.get(&path, &[SINGLE]));
    for answer in join_all(readers).await {
        assert!(answer.is_whole() && answer.body == study.instances()[0].bytes);
    }
    assert_eq!(origin.asked().len(), asked + 1);
}

// Readers of a large instance that is arriving follow the file that it goes to.
#[tokio::test]
async fn a_file_that_is_damaged_while_it_grows_gives_no_wrong_byte_and_is_not_kept() {
    // A source is not read further than 1 MiB ahead of its readers: they have not come so far.
    let unread = |path: &Path| fs::metadata(path).expect("a file").len() - (400 << 10);
    let cut = |path: &Path| {
        let file = OpenOptions::new().write(true).open(path);
        file.expect("a file")
            .set_len(unread(path))
            .expect("shorter");
    };
    for name in ["a bit", "truncated"] {
        let study = Study::new(1).with_series(at(10), vec![(EXPLICIT, 40 << 20)]);
        let (held, gate) = (study.instances(), Gate::new());
        let waits = gate.clone();
        let origin = Origin::start(move |asked| {
            let reply = honest(&held, asked);
            match waits.is_open() {
                true => reply,
                false => reply.held_at(30 << 20, &waits),
            }
        })
        .await;
        let directory = tempfile::tempdir().expect("a directory");
        let rig = Rig::start_in(directory.path(), &origin.location(10));
        let root = rig.register(study.fhir()).await.root;
        let path = format!("{root}{}", study.instances()[0].path());
        let whole = &study.instances()[0].bytes;
        let mut answer = rig.open(&path, &[SINGLE]).await;
        answer.read_at_least(1 << 20).await;
        let file = timeout(LONG, stalled(directory.path())).await;
        let file = file.expect("it goes to a file, until its reader is too far behind");
        match name {
            "truncated" => cut(&file),
            _ => flip(&file, unread(&file)),
        }
        gate.open();
        let answer = timeout(LONG, answer.read())
            .await
            .expect("it does not hang");
        assert!(whole.starts_with(&answer.body), "{name}: a wrong byte");
        assert!(!answer.is_whole() || answer.body == whole, "{name}");
        for _ in 0..2 {
            let again = timeout(LONG, rig.get(&path, &[SINGLE]))
                .await
                .expect("no loop");
            assert!(again.is_whole() && again.body == whole, "{name}");
        }
    }
}

/// The file that an instance goes to, once it does not grow any more.
async fn stalled(directory: &Path) -> PathBuf {
    let mut known = 0;
    loop {
        sleep(Duration::from_millis(500)).await;
        let Some(file) = files(directory).pop() else {
            continue;
        };
        let length = fs::metadata(&file).map_or(0, |file| file.len());
        if length > 4 << 20 && length == known {
            return file;
        }
        known = length;
    }
}
