//! A lost or damaged file of a manifest costs that manifest only, and registering it again restores
//! it.

use std::fs;
use std::path::Path;

use http::StatusCode;

use crate::rig::origin::Origin;
use crate::rig::study::{Study, at};
use crate::rig::{AS_STORED, Rig};

fn document(directory: &Path, id: &str) -> std::path::PathBuf {
    directory.join("manifests").join(format!("{id}.manifest"))
}

#[tokio::test]
async fn a_lost_document_is_told_and_restored_by_registering_it_again() {
    let directory = tempfile::tempdir().expect("a directory");
    let lost = Study::new(1).with(2, at(10));
    let other = Study::new(2).with(1, at(10));
    let origin = Origin::of(&lost).await;
    let locations = origin.location(10);
    let first = Rig::start_in(directory.path(), &locations);
    let registered = first.register(lost.fhir()).await;
    let kept = first.register(other.fhir()).await;
    first.stopped().await;

    let file = document(directory.path(), &registered.id);
    for damage in ["deleted", "cut", "changed"] {
        let mut bytes = fs::read(&file).expect("a document");
        match damage {
            "deleted" => fs::remove_file(&file).expect("removed"),
            "cut" => fs::write(&file, &bytes[..100]).expect("written"),
            _ => {
                bytes[100] ^= 1;
                fs::write(&file, &bytes).expect("written");
            }
        }
        let rig = Rig::start_in(directory.path(), &locations);
        let path = format!("/manifests/{}", registered.id);
        let study = format!("{}{}", registered.root, lost.path());
        for path in [&path, &study] {
            let answer = rig.get(path, &[AS_STORED]).await;
            let answer = match path == &study {
                true => answer,
                false => rig.get(path, &[]).await,
            };
            assert_eq!(answer.status, StatusCode::GONE, "{damage}: {path}");
            let problem = answer.problem();
            assert!(problem.contains("registering it again"), "{problem}");
        }
        // Nothing else suffers.
        let list = rig.get("/manifests", &[]).await.json();
        assert_eq!(list["manifests"].as_array().map(Vec::len), Some(2));
        let path = format!("/manifests/{}", kept.id);
        assert_eq!(rig.get(&path, &[]).await.status, StatusCode::OK);
        let found = rig.get("/dicomweb/instances", &[]).await;
        assert_eq!(found.json().as_array().map(Vec::len), Some(1));
        assert!(found.field("warning").contains("cannot be read"));

        let again = rig.post("/manifests", &[], lost.fhir()).await;
        assert_eq!(again.status, StatusCode::OK, "{damage}: {again:?}");
        assert_eq!(again.json()["id"], registered.id.as_str());
        let answer = rig.get(&study, &[AS_STORED]).await;
        assert_eq!(answer.status, StatusCode::OK, "{damage}");
        assert_eq!(answer.parts().len(), 2);
        rig.stopped().await;
    }
}

#[tokio::test]
async fn a_manifest_whose_document_is_lost_can_be_deleted() {
    let directory = tempfile::tempdir().expect("a directory");
    let rig = Rig::start_in(directory.path(), "");
    let registered = rig.register(Study::new(1).with(1, at(10)).fhir()).await;
    fs::remove_file(document(directory.path(), &registered.id)).expect("removed");
    let path = format!("/manifests/{}", registered.id);
    assert_eq!(rig.delete(&path).await.status, StatusCode::NO_CONTENT);
    let files = fs::read_dir(directory.path().join("manifests")).expect("files");
    assert_eq!(files.count(), 0);
}
