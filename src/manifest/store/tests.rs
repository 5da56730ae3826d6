use std::os::unix::fs::PermissionsExt;

use super::*;
use crate::dicom::SeriesInstanceUid;
use crate::instance::Target;

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

fn store(directory: &Path) -> Store {
    Store::open(directory, Settings::default()).expect("a store")
}

fn register(store: &Store) -> (Arc<Registered>, bool) {
    store
        .register(BUNDLE.as_bytes(), Registration::default(), 7)
        .expect("registered")
}

fn narrowed(series: &str) -> Registration {
    let series = vec![SeriesInstanceUid::parse(series).expect("a uid")];
    Registration {
        home_community_id: None,
        series,
    }
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
    let (other, is_new) = store
        .register(BUNDLE.as_bytes(), narrowed("1.2.2"), 8)
        .expect("registered");
    assert!(is_new && other.id != first.id);
    assert_eq!(store.count(), 2);
}

#[test]
fn narrowing_hides_the_other_series() {
    let directory = tempfile::tempdir().expect("a directory");
    let store = store(directory.path());
    let (manifest, _) = store
        .register(BUNDLE.as_bytes(), narrowed("1.2.2"), 8)
        .expect("registered");
    assert!(selects(&manifest, ["1.2.1", "1.2.2"]));
    assert!(!selects(&manifest, ["1.2.1", "1.2.3"]));
    let refused = store.register(BUNDLE.as_bytes(), narrowed("1.2.9"), 8);
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
fn a_study_has_the_manifests_that_list_it_newest_first() {
    let directory = tempfile::tempdir().expect("a directory");
    let bytes = BUNDLE.as_bytes();
    let ids = {
        let store = store(directory.path());
        let register = |registration, now| store.register(bytes, registration, now);
        let all = [
            register(narrowed("1.2.2"), 8),
            register(Registration::default(), 7),
            register(narrowed("1.2.3"), 9),
        ];
        all.map(|one| one.expect("registered").0.id)
    };
    let store = store(directory.path());
    assert_eq!(store.of_study(&study()), [ids[2], ids[0], ids[1]]);
    let [known] = &store.studies()[..] else {
        panic!("one study");
    };
    assert_eq!((known.outline.series, known.outline.instances), (1, 1));
    assert_eq!(known.manifests.len(), 3);
    for id in ids {
        store.forget(id).expect("forgotten");
    }
    assert!(store.of_study(&study()).is_empty() && store.studies().is_empty());
}

#[test]
fn a_record_of_an_earlier_version_is_completed() {
    let directory = tempfile::tempdir().expect("a directory");
    let id = register(&store(directory.path())).0.id;
    let path = directory.path().join(format!("{id}.json"));
    let text = fs::read_to_string(&path).expect("a record");
    let mut record: serde_json::Value = serde_json::from_str(&text).expect("JSON");
    record["studies"].take();
    fs::write(&path, record.to_string()).expect("written");
    for _ in 0..2 {
        let store = store(directory.path());
        assert_eq!(store.of_study(&study()), [id]);
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
    for name in [format!("{half}.manifest"), ".aside-abc".into()] {
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
    let store = Store::open(directory.path(), settings).expect("a store");
    let refused = store.register(BUNDLE.as_bytes(), Registration::default(), 7);
    assert!(matches!(refused, Err(Error::Full)));
    assert_eq!(fs::read_dir(directory.path()).expect("files").count(), 0);
}
