mod journal;
mod search;
mod view;

use std::os::unix::fs::PermissionsExt;

use super::*;
use crate::dicom::SeriesInstanceUid;
use crate::manifest::Registration;
use crate::resource::Target;
use crate::search::Query;

const BUNDLE: &str = r#"{
  "resourceType": "Bundle", "type": "collection",
  "entry": [
    {"fullUrl": "urn:uuid:1", "resource": {"resourceType": "ImagingStudy", "status": "available",
      "identifier": [{"system": "urn:dicom:uid", "value": "urn:oid:1.2.1"}],
      "series": [
        {"uid": "1.2.2", "endpoint": [{"reference": "urn:uuid:2"}],
         "instance": [{"uid": "1.2.2.1", "sopClass": {"code": "urn:oid:1.2.840.10008.5.1.4.1.1.2"}}]},
        {"uid": "1.2.3", "endpoint": [{"reference": "urn:uuid:2"}],
         "instance": [{"uid": "1.2.3.1", "sopClass": {"code": "urn:oid:1.2.840.10008.5.1.4.1.1.2"}}]}
      ]}},
    {"fullUrl": "urn:uuid:2", "resource": {"resourceType": "Endpoint", "status": "active",
      "connectionType": {"code": "dicom-wado-rs"}, "address": "http://127.0.0.1:1/rs/",
      "extension": [{"url": "https://profiles.ihe.net/RAD/MADO/StructureDefinition/MadoRetrieveLocationUIDExtension", "valueString": "1.2.9"}]}}
  ]
}"#;

fn store(directory: &Path) -> Library {
    Library::open(directory, Settings::default()).expect("a store")
}

fn register(store: &Library) -> (Arc<Registered>, bool) {
    submit(store, Registration::default(), 7).expect("registered")
}

fn submit(
    store: &Library,
    registration: Registration,
    now: u64,
) -> Result<(Arc<Registered>, bool), Error> {
    let submission = Submission {
        registration,
        ..Submission::default()
    };
    store.register(BUNDLE.as_bytes(), submission, now, &alone())
}

/// Nothing is compared with what is registered.
fn alone() -> Neighbours<'static> {
    Neighbours {
        view: Box::leak(Box::new(View::everything())),
        locate: &|_, _| None,
    }
}

fn narrowed(series: &str) -> Registration {
    let series = vec![SeriesInstanceUid::parse(series).expect("a uid")];
    Registration {
        series,
        ..Registration::default()
    }
}

fn studies(store: &Library) -> Vec<KnownStudy> {
    store
        .studies(&Query::default(), &View::everything(), None, 99)
        .studies
}

fn selects(manifest: &Registered, path: [&str; 2]) -> bool {
    let [study, series] = path;
    let study = StudyInstanceUid::parse(study).expect("a uid");
    let series = SeriesInstanceUid::parse(series).expect("a uid");
    manifest
        .holding
        .select(&Target::Series(study, series))
        .is_some()
}

#[test]
fn the_same_bytes_and_options_are_the_same_manifest() {
    let directory = tempfile::tempdir().expect("a directory");
    let store = store(directory.path());
    let (first, is_new) = register(&store);
    assert!(is_new);
    let (again, is_new) = register(&store);
    assert!(!is_new && again.id == first.id);
    let (other, is_new) = submit(&store, narrowed("1.2.2"), 8).expect("registered");
    assert!(is_new && other.id != first.id);
    assert_eq!(store.count(), 2);
}

#[test]
fn narrowing_hides_the_other_series() {
    let directory = tempfile::tempdir().expect("a directory");
    let store = store(directory.path());
    let (manifest, _) = submit(&store, narrowed("1.2.2"), 8).expect("registered");
    assert!(selects(&manifest, ["1.2.1", "1.2.2"]));
    assert!(!selects(&manifest, ["1.2.1", "1.2.3"]));
    let refused = submit(&store, narrowed("1.2.9"), 8);
    assert!(matches!(refused, Err(Error::UnknownSeries(_))));
}

#[test]
fn manifests_survive_a_restart_and_deletion_is_for_good() {
    let directory = tempfile::tempdir().expect("a directory");
    let id = register(&store(directory.path())).0.id;
    let again = store(directory.path());
    assert!(again.loaded(id).is_none(), "nothing is parsed at the start");
    let manifest = again.load(id).expect("readable").expect("registered");
    assert!(selects(&manifest, ["1.2.1", "1.2.2"]) && selects(&manifest, ["1.2.1", "1.2.3"]));
    assert!(!register(&again).1, "it is still the same manifest");
    assert!(again.forget(id).expect("forgotten"));
    assert!(!again.forget(id).expect("nothing to forget"));
    assert!(again.load(id).expect("no error").is_none());
    assert!(
        store(directory.path())
            .load(id)
            .expect("no error")
            .is_none()
    );
}

fn study() -> StudyInstanceUid {
    StudyInstanceUid::parse("1.2.1").expect("a uid")
}

#[test]
fn a_study_has_the_manifests_that_list_it_in_the_order_of_registration() {
    let directory = tempfile::tempdir().expect("a directory");
    let ids = {
        let store = store(directory.path());
        let register = |registration, now| submit(&store, registration, now);
        let all = [
            register(narrowed("1.2.2"), 8),
            register(Registration::default(), 7),
            register(narrowed("1.2.3"), 9),
        ];
        all.map(|one| one.expect("registered").0.id)
    };
    let store = store(directory.path());
    // Whatever the clock said.
    assert_eq!(store.of_study(&study(), &View::everything()), ids);
    let [known] = &studies(&store)[..] else {
        panic!("one study");
    };
    let outline = known.outline.unpack();
    assert_eq!((outline.series, outline.instances), (1, 1));
    assert_eq!(known.manifests.len(), 3);
    for id in ids {
        store.forget(id).expect("forgotten");
    }
    assert!(store.of_study(&study(), &View::everything()).is_empty() && studies(&store).is_empty());
}

#[test]
fn a_record_of_an_earlier_version_is_completed() {
    let directory = tempfile::tempdir().expect("a directory");
    let id = register(&store(directory.path())).0.id;
    let path = directory.path().join(format!("{id}.json"));
    let text = fs::read_to_string(&path).expect("a record");
    let mut record: serde_json::Value = serde_json::from_str(&text).expect("JSON");
    record["studies"].take();
    record.as_object_mut().expect("an object").remove("version");
    fs::write(&path, record.to_string()).expect("written");
    for _ in 0..2 {
        let store = store(directory.path());
        assert_eq!(store.of_study(&study(), &View::everything()), [id]);
    }
    assert_eq!(fs::read_to_string(&path).expect("a record"), text);
}

#[test]
fn files_are_for_their_owner_only() {
    let directory = tempfile::tempdir().expect("a directory");
    let inside = directory.path().join("manifests");
    register(&store(&inside));
    let mode = |path: &Path| fs::metadata(path).expect("metadata").permissions().mode() & 0o777;
    assert_eq!(mode(&inside), 0o700);
    let files: Vec<_> = fs::read_dir(&inside).expect("files").flatten().collect();
    assert_eq!(files.len(), 2);
    assert!(files.iter().all(|file| mode(&file.path()) == 0o600));
}

#[test]
fn a_damaged_record_does_not_hide_the_others() {
    let directory = tempfile::tempdir().expect("a directory");
    let id = register(&store(directory.path())).0.id;
    let other = Id::from_random([7; 16]);
    fs::write(directory.path().join(format!("{other}.json")), "{").expect("written");
    fs::write(directory.path().join(format!("{other}.manifest")), "{").expect("written");
    let store = store(directory.path());
    assert_eq!(store.count(), 1);
    assert!(store.load(id).expect("readable").is_some());
}

#[test]
fn what_a_crash_leaves_behind_is_cleared_away() {
    let directory = tempfile::tempdir().expect("a directory");
    let half = Id::from_random([7; 16]);
    for name in [format!("{half}.manifest"), ".aside-aBc123".into()] {
        fs::write(directory.path().join(name), "{").expect("written");
    }
    assert_eq!(store(directory.path()).count(), 0);
    assert_eq!(fs::read_dir(directory.path()).expect("files").count(), 0);
}

#[test]
fn a_full_store_refuses() {
    let directory = tempfile::tempdir().expect("a directory");
    let settings = Settings {
        most: 0,
        ..Settings::default()
    };
    let store = Library::open(directory.path(), settings).expect("a store");
    let refused = submit(&store, Registration::default(), 7);
    assert!(matches!(refused, Err(Error::Full)));
    assert_eq!(fs::read_dir(directory.path()).expect("files").count(), 0);
}

#[test]
fn outlines_of_an_earlier_version_are_made_anew() {
    let directory = tempfile::tempdir().expect("a directory");
    let id = register(&store(directory.path())).0.id;
    let path = directory.path().join(format!("{id}.json"));
    let text = fs::read_to_string(&path).expect("a record");
    let mut record: serde_json::Value = serde_json::from_str(&text).expect("JSON");
    // It had the patient of another study.
    record["studies"][0]["patient"]["name"] = "Somebody^Else".into();
    // Neither had it accession numbers of several orders, nor codes.
    let study = record["studies"][0].as_object_mut().expect("a study");
    for member in [
        "accessions",
        "referring_physician",
        "study_id",
        "procedures",
        "regions",
    ] {
        assert!(study.remove(member).is_some(), "{member}");
    }
    study.insert("accession".into(), "A1".into());
    record.as_object_mut().expect("an object").remove("version");
    fs::write(&path, record.to_string()).expect("written");
    let store = store(directory.path());
    assert_eq!(studies(&store)[0].outline.unpack().patient.name, None);
    assert_eq!(fs::read_to_string(&path).expect("a record"), text);
}

#[test]
fn the_order_of_registration_survives_a_clock_that_goes_back_and_a_restart() {
    let directory = tempfile::tempdir().expect("a directory");
    let register = |store: &Library, series: &str, now| {
        let registered = submit(store, narrowed(series), now);
        registered.expect("registered").0.id
    };
    let first = register(&store(directory.path()), "1.2.2", 9);
    let again = store(directory.path());
    let second = register(&again, "1.2.3", 5);
    for store in [again, store(directory.path())] {
        assert_eq!(
            store.of_study(&study(), &View::everything()),
            [first, second]
        );
        let listed = |before, looks| {
            let (listed, next) = store.list(&View::everything(), before, looks);
            let ids: Vec<Id> = listed.iter().map(|one| one.id).collect();
            (ids, next)
        };
        assert_eq!(listed(None, 9), (vec![second, first], None));
        assert_eq!(listed(None, 2), (vec![second, first], None));
        let (page, next) = listed(None, 1);
        assert_eq!(page, [second]);
        assert_eq!(listed(next, 1), (vec![first], None));
    }
}

type Damage<'a> = (&'static str, Box<dyn Fn() + 'a>);

/// What happens to a document on disk.
fn damages(path: &Path) -> [Damage<'_>; 4] {
    let changed = move || {
        let mut bytes = fs::read(path).expect("readable");
        bytes[40] ^= 1;
        fs::write(path, bytes).expect("written");
    };
    [
        (
            "deleted",
            Box::new(move || fs::remove_file(path).expect("removed")),
        ),
        (
            "emptied",
            Box::new(move || fs::write(path, "").expect("written")),
        ),
        ("changed", Box::new(changed)),
        (
            "a pipe",
            Box::new(move || {
                fs::remove_file(path).expect("removed");
                pipe(path);
            }),
        ),
    ]
}

fn pipe(path: &Path) {
    let (kind, mode) = (rustix::fs::FileType::Fifo, rustix::fs::Mode::RUSR);
    rustix::fs::mknodat(rustix::fs::CWD, path, kind, mode, 0).expect("a pipe");
}

#[test]
fn a_lost_document_is_told_and_restored_by_registering_it_again() {
    let directory = tempfile::tempdir().expect("a directory");
    let id = register(&store(directory.path())).0.id;
    let path = directory.path().join(format!("{id}.manifest"));
    for (what, damage) in damages(&path) {
        damage();
        let store = store(directory.path());
        assert!(matches!(store.load(id), Err(Error::Lost)), "{what}");
        assert!(matches!(store.document(id), Err(Error::Lost)), "{what}");
        assert_eq!(
            store.list(&View::everything(), None, 9).0[0].id,
            id,
            "{what}"
        );
        let (restored, is_new) = register(&store);
        assert_eq!((restored.id, is_new), (id, false), "{what}");
        let document = store.document(id).expect("readable");
        assert_eq!(document.as_deref(), Some(BUNDLE.as_bytes()), "{what}");
    }
    assert!(
        store(directory.path())
            .load(id)
            .expect("readable")
            .is_some()
    );
}

#[test]
fn a_document_that_is_lost_while_it_is_in_memory_is_restored_too() {
    let directory = tempfile::tempdir().expect("a directory");
    let store = store(directory.path());
    let id = register(&store).0.id;
    let [record, document] =
        ["json", "manifest"].map(|name| directory.path().join(format!("{id}.{name}")));
    for lost in [&record, &document] {
        fs::remove_file(lost).expect("removed");
    }
    assert_eq!(register(&store).0.id, id);
    assert!(record.exists() && document.exists());
}

#[test]
fn a_manifest_whose_files_are_gone_can_be_forgotten() {
    let directory = tempfile::tempdir().expect("a directory");
    let store = store(directory.path());
    let id = register(&store).0.id;
    fs::remove_file(directory.path().join(format!("{id}.manifest"))).expect("removed");
    assert!(store.forget(id).expect("forgotten"));
    assert_eq!(fs::read_dir(directory.path()).expect("files").count(), 0);
}

#[test]
fn what_is_not_the_stores_own_is_neither_opened_nor_removed() {
    let directory = tempfile::tempdir().expect("a directory");
    let id = register(&store(directory.path())).0.id;
    let at = |name: &str| directory.path().join(name);
    let other = Id::from_random([7; 16]);
    let elsewhere = tempfile::tempdir().expect("a directory");
    let target = elsewhere.path().join("precious");
    fs::write(&target, "{}").expect("written");
    for name in [
        "notes.txt",
        ".aside-notes.txt",
        "x.manifest",
        ".aside-é12345",
    ] {
        fs::write(at(name), "{}").expect("written");
    }
    let named = [
        format!("{other}.json"),
        format!("{}.manifest", Id::from_random([8; 16])),
        ".aside-aaaaaa".to_owned(),
    ];
    pipe(&at(&named[0]));
    fs::create_dir(at(&named[1])).expect("a folder");
    std::os::unix::fs::symlink(&target, at(&named[2])).expect("a link");
    // A document beside a record that is no file of ours: whose it is cannot be told.
    fs::write(at(&format!("{other}.manifest")), "{}").expect("written");
    let names = || {
        let files = fs::read_dir(directory.path()).expect("files");
        let names = files.map(|file| file.expect("a file").file_name());
        let mut names: Vec<_> = names.collect();
        names.sort();
        names
    };
    let before = names();
    let store = store(directory.path());
    assert_eq!(store.count(), 1);
    assert!(store.load(id).expect("readable").is_some());
    assert_eq!(names(), before);
    assert!(target.exists());
}
