//! The DICOMweb root over all manifests.

use http::StatusCode;
use serde_json::Value;

use crate::rig::origin::Origin;
use crate::rig::study::{Study, at};
use crate::rig::{Answer, Registered, Rig, sorted};

/// Two studies; the first at two places, with a manifest for each of its series.
struct Case {
    rig: Rig,
    first: Study,
    second: Study,
    manifests: [Registered; 3],
    _origins: [Origin; 3],
}

impl Case {
    async fn new() -> Self {
        let first = Study::new(1).with(3, at(10)).with(5, at(11));
        let second = Study::new(2).with(2, at(12));
        let here = Origin::of(&first).await;
        let there = Origin::of(&first).await;
        let other = Origin::of(&second).await;
        let settings = [here.location(10), there.location(11), other.location(12)];
        let rig = Rig::start(&settings.concat());
        let mut manifests = Vec::new();
        for series in &first.series {
            let path = format!("/manifests?series={}", series.uid);
            manifests.push(Registered::of(&rig.post(&path, &[], first.fhir()).await));
        }
        manifests.push(rig.register(second.fhir()).await);
        let manifests = manifests.try_into().ok().expect("three");
        Self {
            rig,
            first,
            second,
            manifests,
            _origins: [here, there, other],
        }
    }

    async fn ask(&self, rest: &str) -> Answer {
        self.rig.get(&format!("/dicomweb/{rest}"), &[]).await
    }

    async fn found(&self, rest: &str) -> Vec<Value> {
        let answer = self.ask(rest).await;
        assert_eq!(answer.status, StatusCode::OK, "{rest}: {answer:?}");
        answer.json().as_array().expect("a list").clone()
    }
}

fn value<'a>(row: &'a Value, tag: &str) -> &'a Value {
    &row[tag]["Value"][0]
}

#[tokio::test]
async fn all_manifests_are_searched_and_those_of_one_study_are_one() {
    let case = Case::new().await;
    let (first, second) = (&case.first.uid, &case.second.uid);
    let series = &case.first.series[1].uid;
    for (rest, count) in [
        ("studies".to_owned(), 2),
        (format!("studies?StudyInstanceUID={first}"), 1),
        ("studies?PatientID=somebody-else".to_owned(), 0),
        ("studies?limit=1&offset=1".to_owned(), 1),
        ("studies?offset=2".to_owned(), 0),
        ("series".to_owned(), 3),
        (format!("series?SeriesInstanceUID={series}"), 1),
        (format!("series?StudyInstanceUID={second}"), 1),
        ("instances".to_owned(), 10),
        ("instances?limit=4&offset=8".to_owned(), 2),
        (format!("studies/{first}/series"), 2),
        (format!("studies/{first}/instances"), 8),
        (format!("studies/{first}/series/{series}/instances"), 5),
        ("studies/1.2.3.4/series".to_owned(), 0),
    ] {
        assert_eq!(case.found(&rest).await.len(), count, "{rest}");
    }
    let study = case
        .found(&format!("studies?StudyInstanceUID={first}"))
        .await;
    assert_eq!(value(&study[0], "00201206"), &Value::from(2));
    assert_eq!(value(&study[0], "00201208"), &Value::from(8));
    let link = format!("http://{}/dicomweb/studies/{first}", case.rig.public);
    assert_eq!(value(&study[0], "00081190"), &Value::from(link));
    let answer = case.ask("instances?limit=4").await;
    let warning = answer.field("warning");
    assert!(warning.contains("additional results"), "{warning}");
    let link = format!("http://{}/dicomweb/studies/{second}", case.rig.public);
    let found = case.found(&format!("studies?RetrieveURL={link}")).await;
    assert_eq!(found.len(), 1);
    // By its link, whatever else is above it.
    let link = format!(
        "http://{}/dicomweb/studies/{first}/series/{series}",
        case.rig.public
    );
    let found = case.found(&format!("series?RetrieveURL={link}")).await;
    assert_eq!(found.len(), 1);
}

#[tokio::test]
async fn a_study_is_retrieved_from_everywhere_that_its_manifests_say() {
    let case = Case::new().await;
    let path = case.first.path();
    let answer = case.ask(&path).await;
    assert_eq!(answer.status, StatusCode::OK, "{answer:?}");
    assert!(answer.is_whole());
    assert_eq!(sorted(answer.instances()), sorted(case.first.bytes()));
    let series = case.first.series_path(1);
    let metadata = case.found(&format!("{series}/metadata")).await;
    assert_eq!(metadata.len(), 5);
    let one = case.first.series[0].instances[0].path();
    let answer = case.ask(&one).await;
    assert_eq!(
        answer.instances(),
        [case.first.series[0].instances[0].bytes.clone()]
    );
    let location = format!("http://{}/dicomweb/{one}", case.rig.public);
    assert_eq!(answer.field("content-location"), location);
}

#[tokio::test]
async fn what_is_deleted_is_gone_from_the_whole_too() {
    let case = Case::new().await;
    let series = case.first.series_path(1);
    assert_eq!(case.ask(&series).await.status, StatusCode::OK);
    let of = |manifest: &Registered| manifest.root.trim_end_matches("dicomweb/").to_owned();
    let gone = of(&case.manifests[1]);
    let deleted = case.rig.delete(gone.trim_end_matches('/')).await;
    assert_eq!(deleted.status, StatusCode::NO_CONTENT);
    assert_eq!(case.ask(&series).await.status, StatusCode::NOT_FOUND);
    let study = case.found("studies?limit=2&offset=1").await;
    assert_eq!(value(&study[0], "00201206"), &Value::from(1));
    let gone = of(&case.manifests[0]);
    case.rig.delete(gone.trim_end_matches('/')).await;
    let found = case.found("studies").await;
    assert_eq!(found.len(), 1);
    let path = case.first.path();
    assert_eq!(case.ask(&path).await.status, StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn it_says_what_it_can_even_when_it_holds_nothing() {
    let rig = Rig::start("");
    assert_eq!(rig.get("/dicomweb/studies", &[]).await.text(), "[]");
    let answer = rig.ask(
        http::Method::OPTIONS,
        "/dicomweb/",
        &[],
        bytes::Bytes::new(),
    );
    let answer = answer.await;
    assert_eq!(answer.status, StatusCode::OK);
}
