//! The journal saves time and decides nothing.

use super::*;
use crate::library::journal::LEAST;

/// A store with enough records for a journal, each with a document of its own.
struct Case {
    directory: tempfile::TempDir,
    ids: Vec<Id>,
}

impl Case {
    fn new() -> Self {
        let directory = tempfile::tempdir().expect("a directory");
        let first = register(&store(directory.path())).0.id;
        let mut case = Self {
            directory,
            ids: vec![first],
        };
        for number in 1..LEAST {
            let mut bits = [0; 16];
            bits[..8].copy_from_slice(&number.to_be_bytes());
            let id = Id::from_random(bits);
            for name in ["json", "manifest"] {
                fs::copy(case.path(first, name), case.path(id, name)).expect("copied");
            }
            case.ids.push(id);
        }
        assert!(!case.journal().exists());
        assert_eq!(case.listed(), LEAST);
        assert!(case.journal().exists());
        case
    }

    fn path(&self, id: Id, name: &str) -> PathBuf {
        self.directory.path().join(format!("{id}.{name}"))
    }

    fn journal(&self) -> PathBuf {
        self.directory.path().join("records.journal")
    }

    /// The number of manifests after a start.
    fn listed(&self) -> usize {
        let store = store(self.directory.path());
        let listed = store.list(&View::everything(), None, usize::MAX).0.len();
        assert_eq!(listed, store.count());
        assert_eq!(store.of_study(&study(), &View::everything()).len(), listed);
        listed
    }

    /// The number of records that a start reads from their own files.
    fn read_one_by_one(&self) -> usize {
        opening::read_one_by_one(self.directory.path()).expect("a directory")
    }
}

#[test]
fn a_start_reads_the_records_from_the_journal() {
    let case = Case::new();
    assert_eq!(case.read_one_by_one(), 0);
    assert_eq!(case.listed(), LEAST);
    // A new registration is appended; a deleted one stays, without effect.
    let library = store(case.directory.path());
    let new = submit(&library, narrowed("1.2.2"), 8)
        .expect("registered")
        .0
        .id;
    library.forget(case.ids[7]).expect("forgotten");
    assert_eq!(case.read_one_by_one(), 0);
    assert_eq!(case.listed(), LEAST);
    let again = store(case.directory.path());
    assert!(again.load(new).expect("readable").is_some());
    assert!(!again.is_registered(case.ids[7]));
}

#[test]
fn records_that_were_deleted_damaged_or_changed_are_noticed() {
    let case = Case::new();
    fs::remove_file(case.path(case.ids[1], "json")).expect("removed");
    fs::write(case.path(case.ids[2], "json"), "{").expect("written");
    // The same length as before.
    let path = case.path(case.ids[3], "json");
    let record = fs::read_to_string(&path).expect("a record");
    let changed = record.replace("\"registered_at\":7", "\"registered_at\":9");
    assert!(changed != record && changed.len() == record.len());
    fs::write(&path, changed).expect("written");
    let library = store(case.directory.path());
    assert_eq!(library.count(), LEAST - 2);
    let registered_at = |id| library.record(id).map(|record| record.registered_at);
    assert_eq!(registered_at(case.ids[1]), None);
    assert_eq!(registered_at(case.ids[2]), None);
    assert_eq!(registered_at(case.ids[3]), Some(9));
    assert!(
        !case.path(case.ids[1], "manifest").exists(),
        "half a registration"
    );
    assert!(case.path(case.ids[2], "json").exists());
}

#[test]
fn a_journal_that_is_cut_or_damaged_is_written_anew() {
    let case = Case::new();
    let whole = fs::read(case.journal()).expect("a journal");
    let mut flipped = whole.clone();
    flipped[whole.len() / 2] ^= 1;
    let damaged = [
        whole[..whole.len() - 1].to_vec(),
        whole[..whole.len() / 3].to_vec(),
        flipped,
        Vec::new(),
        vec![0xFF; 64],
    ];
    for damage in damaged {
        fs::write(case.journal(), &damage).expect("written");
        assert!(case.read_one_by_one() > 0);
        assert_eq!(case.listed(), LEAST);
        assert_eq!(case.read_one_by_one(), 0, "written anew");
    }
    fs::remove_file(case.journal()).expect("removed");
    assert_eq!(case.listed(), LEAST);
    assert_eq!(case.read_one_by_one(), 0);
}

#[test]
fn records_that_a_kill_kept_out_of_the_journal_are_read_and_appended() {
    let case = Case::new();
    let journal = fs::read(case.journal()).expect("a journal");
    let library = store(case.directory.path());
    let new = submit(&library, narrowed("1.2.2"), 8)
        .expect("registered")
        .0
        .id;
    fs::write(case.journal(), journal).expect("written");
    assert_eq!(case.read_one_by_one(), 1);
    assert!(store(case.directory.path()).is_registered(new));
    assert_eq!(case.read_one_by_one(), 0);
}

#[test]
fn what_is_no_journal_of_ours_is_left_alone() {
    let case = Case::new();
    fs::remove_file(case.journal()).expect("removed");
    pipe(&case.journal());
    assert_eq!(case.listed(), LEAST);
    let library = store(case.directory.path());
    submit(&library, narrowed("1.2.2"), 8).expect("registered");
    let kind = fs::symlink_metadata(case.journal())
        .expect("it is there")
        .file_type();
    assert!(!kind.is_file());
}

#[test]
fn nothing_of_a_deleted_manifest_stays_in_the_journal() {
    let case = Case::new();
    let has = |id: Id| {
        let journal = fs::read(case.journal()).expect("a journal");
        journal.windows(16).any(|bytes| bytes == id.bits())
    };
    let library = store(case.directory.path());
    let new = submit(&library, narrowed("1.2.2"), 8)
        .expect("registered")
        .0
        .id;
    let [first, second] = [case.ids[1], case.ids[2]];
    assert!(has(first) && has(second) && has(new));
    for id in [first, new] {
        library.forget(id).expect("forgotten");
        assert!(!has(id));
    }
    // By hand, or by a kill in the middle.
    fs::remove_file(case.path(second, "json")).expect("removed");
    assert_eq!(case.listed(), LEAST - 2);
    assert!(!has(second));
    assert_eq!(case.read_one_by_one(), 0);
}

#[test]
fn a_journal_of_blank_entries_is_written_anew() {
    let case = Case::new();
    for id in &case.ids[1..] {
        for name in ["json", "manifest"] {
            fs::remove_file(case.path(*id, name)).expect("removed");
        }
    }
    let length = || fs::metadata(case.journal()).expect("a journal").len();
    let before = length();
    let library = store(case.directory.path());
    let register = |series| {
        submit(&library, narrowed(series), 8)
            .expect("registered")
            .0
            .id
    };
    register("1.2.2");
    let grown = length();
    assert!(before < grown);
    // Each leaves a blank entry.
    for _ in 0..8 {
        library.forget(register("1.2.3")).expect("forgotten");
    }
    assert!(length() < before, "{} of {before} bytes", length());
}
