//! An instance that a manifest declares and does not list is reported as missing.

use http::StatusCode;
use serde_json::{Value, json};

use super::disagreements::case;
use crate::rig::origin::Origin;
use crate::rig::study::{Study, at};
use crate::rig::{AS_STORED, Answer, Registered, Rig};

/// The Bundle of a study whose second series declares so many instances and lists so many.
fn promising(study: &Study, declared: Option<u32>, listed: usize) -> Vec<u8> {
    let mut document = study.fhir_document();
    let series = &mut document["entry"][0]["resource"]["series"][1];
    let instances = series["instance"].as_array_mut().expect("a list");
    instances.truncate(listed);
    if listed == 0 {
        series
            .as_object_mut()
            .expect("an object")
            .remove("instance");
    }
    if let Some(declared) = declared {
        series["numberOfInstances"] = json!(declared);
    }
    document.to_string().into_bytes()
}

struct Case {
    rig: Rig,
    study: Study,
    origin: Origin,
}

impl Case {
    async fn new() -> Self {
        let study = Study::new(1).with(3, at(10)).with(2, at(10));
        let origin = Origin::of(&study).await;
        Self {
            rig: Rig::start(&origin.location(10)),
            study,
            origin,
        }
    }

    async fn get(&self, root: &str, path: &str) -> Answer {
        self.rig.get(&format!("{root}{path}"), &[AS_STORED]).await
    }

    /// The number that a search tells at `tag`.
    async fn count(&self, manifest: &Registered, path: &str, tag: &str) -> Value {
        let path = format!("{}{path}", manifest.root);
        self.rig.get(&path, &[]).await.json()[0][tag]["Value"][0].clone()
    }
}

const BEYOND: &str = "299 xcwado \"2 more instances are declared than listed\"";

fn warning(missing: usize, selected: usize) -> String {
    format!("299 xcwado \"{missing} of {selected} instances cannot be given\"")
}

#[tokio::test]
async fn a_series_that_lists_none_of_its_instances_is_missing_from_the_study() {
    let case = Case::new().await;
    let manifest = case.rig.register(promising(&case.study, Some(2), 0)).await;
    let warnings = manifest.summary["warnings"].to_string();
    assert!(warnings.contains(&case.study.series[1].uid), "{warnings}");
    assert!(warnings.contains("2 instances"), "{warnings}");
    for root in [&*manifest.root, "/dicomweb/"] {
        let whole = case.get(root, &case.study.path()).await;
        assert_eq!(whole.status, StatusCode::PARTIAL_CONTENT, "{root}");
        assert_eq!(whole.field("warning"), warning(2, 5));
        assert_eq!(whole.parts().len(), 3);
        let listed = case.get(root, &case.study.series_path(0)).await;
        assert_eq!((listed.status, listed.parts().len()), (StatusCode::OK, 3));
        let series = case.get(root, &case.study.series_path(1)).await;
        assert_eq!(series.status, StatusCode::NOT_FOUND);
        let problem = series.problem();
        assert!(problem.contains("does not list"), "{problem}");
        let path = format!("{root}{}/metadata", case.study.path());
        let metadata = case.rig.get(&path, &[]).await;
        assert_eq!(metadata.status, StatusCode::PARTIAL_CONTENT, "{root}");
        assert_eq!(metadata.json().as_array().map(Vec::len), Some(3));
    }
    let asked = case.origin.paths().concat();
    assert!(!asked.contains(&case.study.series[1].uid), "{asked}");
    let uid = &case.study.series[1].uid;
    let series = format!("series?SeriesInstanceUID={uid}");
    assert_eq!(case.count(&manifest, &series, "00201209").await, 2);
    assert_eq!(case.count(&manifest, "studies", "00201208").await, 5);
    let found = case.rig.get("/dicomweb/studies", &[]).await.json();
    assert_eq!(found[0]["00201208"]["Value"][0], 5);
}

#[tokio::test]
async fn a_series_that_declares_more_than_it_lists_is_given_with_a_warning() {
    let case = Case::new().await;
    let manifest = case.rig.register(promising(&case.study, Some(4), 2)).await;
    let warnings = manifest.summary["warnings"].to_string();
    assert!(warnings.contains('4'), "{warnings}");
    for (path, given) in [(case.study.path(), 5), (case.study.series_path(1), 2)] {
        let answer = case.get(&manifest.root, &path).await;
        assert_eq!(answer.status, StatusCode::OK, "{path}");
        assert_eq!(answer.field("warning"), BEYOND);
        assert_eq!(answer.parts().len(), given);
    }
    let listed = case.get(&manifest.root, &case.study.series_path(0)).await;
    assert!(!listed.headers.contains_key("warning"));
    let path = case.study.series[1].instances[0].path();
    let one = case.get(&manifest.root, &path).await;
    assert_eq!(one.status, StatusCode::OK);
}

#[tokio::test]
async fn a_series_without_instances_and_without_a_count_is_missing_too() {
    let case = Case::new().await;
    let manifest = case.rig.register(promising(&case.study, None, 0)).await;
    let whole = case.get(&manifest.root, &case.study.path()).await;
    assert_eq!(whole.status, StatusCode::PARTIAL_CONTENT);
    assert_eq!(whole.field("warning"), warning(1, 4));
    // None is what it says: then nothing is missing.
    let manifest = case.rig.register(promising(&case.study, Some(0), 0)).await;
    let whole = case.get(&manifest.root, &case.study.path()).await;
    assert_eq!(whole.status, StatusCode::OK);
    assert_eq!(whole.parts().len(), 3);
}

#[tokio::test]
async fn another_manifest_that_lists_them_completes_the_study() {
    let case = Case::new().await;
    case.rig.register(promising(&case.study, Some(2), 0)).await;
    case.rig.register(promising(&case.study, Some(2), 1)).await;
    let whole = case.get("/dicomweb/", &case.study.path()).await;
    assert_eq!((whole.status, whole.parts().len()), (StatusCode::OK, 4));
    assert!(whole.field("warning").contains("more instances"));
    case.rig.register(case.study.fhir()).await;
    let whole = case.get("/dicomweb/", &case.study.path()).await;
    assert_eq!((whole.status, whole.parts().len()), (StatusCode::OK, 5));
}

#[tokio::test]
async fn what_is_not_listed_does_not_hinder_a_registration_that_fetches() {
    let study = Study::new(1).with(3, at(10)).with(2, at(10));
    let origin = Origin::of(&study).await;
    let settings = "[cache]\nlook_ahead = \"registration\"\n";
    let rig = Rig::start(&format!("{settings}{}", origin.location(10)));
    let manifest = rig.register(promising(&study, Some(2), 0)).await;
    let path = format!("{}{}", manifest.root, study.path());
    let whole = rig.get(&path, &[AS_STORED]).await;
    assert_eq!(whole.status, StatusCode::PARTIAL_CONTENT);
}

#[tokio::test]
async fn the_bundle_that_declares_a_series_and_lists_none_is_registered_with_a_warning() {
    let Some(bundle) = case("fhir-series-without-instances.json") else {
        return;
    };
    let rig = Rig::start("");
    let manifest = rig.register(bundle).await;
    let warnings = manifest.summary["warnings"].to_string();
    let series = "2.25.43009822764311522847385858555290418873";
    assert!(
        warnings.contains("2 instances are declared") && warnings.contains(series),
        "{warnings}"
    );
    let path = format!("{}series?SeriesInstanceUID={series}", manifest.root);
    let found = rig.get(&path, &[]).await.json();
    assert_eq!(found[0]["00201209"]["Value"][0], 2);
}
