//! Search, answered from manifests alone.

use http::StatusCode;
use serde_json::Value;

use crate::rig::origin::Origin;
use crate::rig::study::{PATIENT_ID, PATIENT_NAME, Study, at};
use crate::rig::{Answer, Registered, Rig};

/// A gateway and a manifest of two series, 3 and 5 instances; the source must not be asked.
struct Case {
    rig: Rig,
    origin: Origin,
    manifest: Registered,
    study: Study,
}

impl Case {
    async fn new() -> Self {
        let study = Study::new(1).with(3, at(10)).with(5, at(10));
        let origin = Origin::of(&study).await;
        let rig = Rig::start(&origin.location(10));
        let manifest = rig.register(study.fhir()).await;
        Self {
            rig,
            origin,
            manifest,
            study,
        }
    }

    async fn ask(&self, rest: &str) -> Answer {
        let path = format!("{}{rest}", self.manifest.root);
        self.rig.get(&path, &[]).await
    }

    async fn found(&self, rest: &str) -> Vec<Value> {
        let answer = self.ask(rest).await;
        assert_eq!(answer.status, StatusCode::OK, "{rest}: {answer:?}");
        assert_eq!(answer.field("content-type"), "application/dicom+json");
        assert!(answer.is_whole(), "{rest}");
        answer.json().as_array().expect("a list").clone()
    }
}

fn value<'a>(row: &'a Value, tag: &str) -> &'a Value {
    &row[tag]["Value"][0]
}

#[tokio::test]
async fn a_manifest_answers_at_every_level_without_its_source() {
    let case = Case::new().await;
    let study = &case.study.uid;
    let series = &case.study.series[1].uid;
    for (rest, count) in [
        ("studies".to_owned(), 1),
        (format!("studies/{study}/series"), 2),
        (format!("studies/{study}/instances"), 8),
        (format!("studies/{study}/series/{series}/instances"), 5),
        ("series".to_owned(), 2),
        ("instances".to_owned(), 8),
        (format!("instances?SeriesInstanceUID={series}"), 5),
        (format!("series?0020000E={series}&includefield=00201209"), 1),
        (format!("studies?StudyInstanceUID=9.9,{study}"), 1),
        (format!("studies?PatientID={PATIENT_ID}"), 1),
        (
            format!("studies?PatientName={}*", &PATIENT_NAME[..5].to_lowercase()),
            1,
        ),
        ("instances?limit=3&offset=7".to_owned(), 1),
        ("studies?PatientID=somebody-else".to_owned(), 0),
        ("studies/1.2.3.4/series".to_owned(), 0),
    ] {
        assert_eq!(case.found(&rest).await.len(), count, "{rest}");
    }
    let found = case.found("studies").await;
    let public = case.rig.public;
    assert_eq!(
        value(&found[0], "00081190"),
        &Value::from(format!(
            "http://{public}{}studies/{study}",
            case.manifest.root
        ))
    );
    assert_eq!(value(&found[0], "00201208"), &Value::from(8));
    let found = case.found(&format!("studies/{study}/series")).await;
    let counts: Vec<_> = found
        .iter()
        .map(|row| value(row, "00201209").clone())
        .collect();
    assert_eq!(counts, [3, 5]);
    // What stands in the path is not repeated; what does not is.
    assert!(found[0].get("00100020").is_none());
    assert!(case.found("instances").await[0].get("00100020").is_some());
    assert!(case.origin.asked().is_empty(), "the source was asked");
}

#[tokio::test]
async fn what_only_instances_know_is_added_once_it_is_known() {
    let case = Case::new().await;
    let series = case.study.series_path(0);
    let of_series = format!("{series}/instances?includefield=00080060");
    let of_all = format!("{series}/instances?includefield=all");
    for rest in [&of_series, &of_all] {
        let before = case.found(rest).await;
        assert!(before.iter().all(|row| row.get("00080060").is_none()));
    }
    assert!(
        case.origin.asked().is_empty(),
        "for a search nobody is asked"
    );
    assert_eq!(
        case.ask(&format!("{series}/metadata")).await.status,
        StatusCode::OK
    );
    let asked = case.origin.asked().len();
    for row in case.found(&of_series).await {
        assert_eq!(value(&row, "00080060"), "CT");
        assert!(row.get("00100010").is_none(), "that was not asked for");
    }
    for row in case.found(&of_all).await {
        assert!(row.get("00100010").is_some() && row.get("7FE00010").is_none());
    }
    // Of the other series nothing is known yet.
    let other = format!("{}/instances?includefield=all", case.study.series_path(1));
    let other = case.found(&other).await;
    assert!(other.iter().all(|row| row.get("00080060").is_none()));
    assert_eq!(case.origin.asked().len(), asked);
}

#[tokio::test]
async fn only_what_a_manifest_was_narrowed_to_is_found() {
    let case = Case::new().await;
    let series = &case.study.series[1].uid;
    let path = format!("/manifests?series={series}");
    let answer = case.rig.post(&path, &[], case.study.fhir()).await;
    let narrowed = Registered::of(&answer);
    let found = case
        .rig
        .get(&format!("{}series", narrowed.root), &[])
        .await
        .json();
    assert_eq!(found.as_array().map(Vec::len), Some(1));
    assert_eq!(value(&found[0], "0020000E"), &Value::from(series.as_str()));
    let study = case
        .rig
        .get(&format!("{}studies", narrowed.root), &[])
        .await
        .json();
    assert_eq!(value(&study[0], "00201206"), &Value::from(1));
    assert_eq!(value(&study[0], "00201208"), &Value::from(5));
}

#[tokio::test]
async fn what_is_left_off_or_not_understood_is_said() {
    let case = Case::new().await;
    for (rest, said) in [
        ("instances?limit=5", "There are 3 additional results"),
        (
            "studies?fuzzymatching=true",
            "fuzzymatching parameter is not supported",
        ),
        ("studies?orderby=x", "ignored"),
    ] {
        let answer = case.ask(rest).await;
        assert!(answer.field("warning").contains(said), "{rest}: {answer:?}");
    }
    for rest in [
        "studies?limit=-1",
        "studies?offset=a",
        "studies?fuzzymatching=1",
    ] {
        assert_eq!(
            case.ask(rest).await.status,
            StatusCode::BAD_REQUEST,
            "{rest}"
        );
    }
    let path = format!("{}studies", case.manifest.root);
    let answer = case.rig.get(&path, &[("accept", "image/png")]).await;
    assert_eq!(answer.status, StatusCode::NOT_ACCEPTABLE);
}

#[tokio::test]
async fn results_come_as_xml_and_compressed_where_that_is_wanted() {
    let case = Case::new().await;
    let path = format!("{}series", case.manifest.root);
    let xml = (
        "accept",
        r#"multipart/related; type="application/dicom+xml""#,
    );
    let parts = case.rig.get(&path, &[xml]).await.parts();
    assert_eq!(parts.len(), 2);
    assert_eq!(parts[0].head.content_type(), Some("application/dicom+xml"));
    let text = String::from_utf8_lossy(&parts[0].bytes);
    assert!(text.contains("keyword=\"SeriesInstanceUID\""), "{text}");
    let answer = case.rig.get(&path, &[("accept-encoding", "gzip")]).await;
    assert_eq!(answer.field("content-encoding"), "gzip");
    let mut json = String::new();
    let mut decoder = flate2::read::GzDecoder::new(&answer.body[..]);
    std::io::Read::read_to_string(&mut decoder, &mut json).expect("gzip");
    let found: Value = serde_json::from_str(&json).expect("JSON");
    assert_eq!(found.as_array().map(Vec::len), Some(2));
}

/// What OHIF's list of studies sends when somebody types into it.
#[tokio::test]
async fn a_filter_narrows_the_list_to_the_studies_that_tell_the_attribute() {
    let rig = Rig::start("");
    for (number, description, modality) in [
        (1, "Thorax nativ", "CT"),
        (2, "KNEE left", "MR"),
        (3, "", "US"),
    ] {
        let mut document = Study::new(number).with(1, vec![]).fhir_document();
        let study = &mut document["entry"][0]["resource"];
        study["series"][0]["modality"]["code"] = modality.into();
        if !description.is_empty() {
            study["description"] = description.into();
            study["series"][0]["description"] = description.into();
        }
        rig.register(document.to_string().into_bytes()).await;
    }
    let of_one = Rig::start("");
    let bare = of_one.register(Study::new(3).with(1, vec![]).fhir()).await;
    for (path, expected) in [
        ("/dicomweb/studies", 3),
        ("/dicomweb/studies?StudyDescription=", 3),
        ("/dicomweb/studies?StudyDescription=*", 3),
        ("/dicomweb/studies?StudyDescription=*THORAX*", 1),
        ("/dicomweb/studies?StudyDescription=thorax%20nativ", 1),
        ("/dicomweb/studies?00081030=*e*", 1),
        ("/dicomweb/studies?StudyDescription=*pelvis*", 0),
        ("/dicomweb/series?SeriesDescription=knee*", 1),
        ("/dicomweb/series?StudyDescription=knee*", 1),
        ("/dicomweb/instances?SeriesDescription=KNEE*", 1),
        ("/dicomweb/instances?NumberOfFrames=5", 0),
        // No study tells it, and no result has it.
        ("/dicomweb/studies?InstitutionName=x", 3),
        ("/dicomweb/studies?ModalitiesInStudy=CT", 1),
        ("/dicomweb/studies?ModalitiesInStudy=CT,MR", 2),
        ("/dicomweb/studies?ModalitiesInStudy=CT%5CMR", 2),
        (
            "/dicomweb/studies?ModalitiesInStudy=CT&ModalitiesInStudy=US",
            2,
        ),
        ("/dicomweb/studies?ModalitiesInStudy=CT&00080061=", 3),
        (
            "/dicomweb/studies?ModalitiesInStudy=CT,MR&StudyDescription=*t*",
            2,
        ),
        ("/dicomweb/studies?ModalitiesInStudy=XA", 0),
        ("/dicomweb/series?Modality=CT,US", 2),
    ] {
        let answer = rig.get(path, &[]).await;
        assert_eq!(answer.status, StatusCode::OK, "{path}: {answer:?}");
        let found = answer.json().as_array().map(Vec::len);
        assert_eq!(found, Some(expected), "{path}");
    }
    let path = format!("{}studies?StudyDescription=x", bare.root);
    let found = of_one.get(&path, &[]).await.json();
    assert_eq!(found, Value::Array(Vec::new()));
}
