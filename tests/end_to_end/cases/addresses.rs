//! Metadata of a source that hide its addresses where readers seldom look.

use bytes::Bytes;
use serde_json::{Value, json};

use crate::cases::shared_cases;
use crate::rig::origin::{Asked, Origin, Reply};
use crate::rig::study::{CT, EXPLICIT, Instance, Series, Study, at, location_uid};
use crate::rig::{HERE, Rig, rad_160};

const OFFERS: &str = "offers = [\"instances\", \"metadata\"]\nalias";

/// The study that the case is about.
fn study() -> Study {
    let uid = |last: u32| format!("2.25.79.60.{last}");
    let (study, series, sop) = (uid(1), uid(2), uid(3));
    let instance = Instance {
        study: study.clone(),
        series: series.clone(),
        uid: sop,
        transfer_syntax: EXPLICIT.to_owned(),
        bytes: Bytes::new(),
    };
    let series = Series {
        uid: series,
        locations: at(10),
        instances: vec![instance],
    };
    Study {
        uid: study,
        series: vec![series],
    }
}

/// A server that describes the instance in these words, and has nothing else.
async fn describing(document: String) -> (Rig, Origin) {
    let origin = Origin::start(move |asked: &Asked| {
        if asked.path.ends_with("/metadata") {
            Reply::bytes("application/dicom+json", document.clone())
        } else {
            Reply::status(404)
        }
    })
    .await;
    let rig = Rig::start(&origin.location(10).replacen("alias", OFFERS, 1));
    (rig, origin)
}

/// The texts below a value.
fn texts(value: &Value) -> Vec<&str> {
    match value {
        Value::String(text) => vec![text],
        Value::Array(values) => values.iter().flat_map(texts).collect(),
        Value::Object(members) => members.values().flat_map(texts).collect(),
        Value::Null | Value::Bool(_) | Value::Number(_) => Vec::new(),
    }
}

#[tokio::test]
async fn a_value_in_fragments_becomes_a_link_to_the_gateway() {
    let Some(folder) = shared_cases("instances") else {
        return;
    };
    let document = std::fs::read_to_string(folder.join("metadata-data-fragment.json"));
    let (rig, origin) = describing(document.expect("a document")).await;
    let study = study();
    let root = rig.register(study.fhir()).await.root;
    for path in [study.path(), study.instances()[0].path()] {
        let url = format!("{root}{path}/metadata");
        let fields = [("accept", "application/dicom+json")];
        let answer = rig.get(&url, &fields).await;
        assert_eq!(answer.status, 200, "{answer:?}");
        let set = &answer.json()[0];
        let of = |tag: &str| {
            let own = format!("{root}{}", study.instances()[0].path());
            format!("{own}/bulkdata/{tag}")
        };
        let is_ours = |link: &Value, tag: &str| {
            let link = link.as_str().expect("a link");
            assert!(link.ends_with(&of(tag)), "{link}");
        };
        is_ours(&set["7FE00010"]["BulkDataURI"], "7FE00010");
        let nested = &set["00880200"]["Value"][0]["00091010"];
        is_ours(&nested["BulkDataURI"], "00880200/1/00091010");
        assert!(!answer.text().contains("inner.example"), "{set:#}");
        assert!(!answer.text().contains("DataFragment"), "{set:#}");
    }
    assert!(
        origin
            .paths()
            .iter()
            .all(|path| path.ends_with("/metadata"))
    );
}

#[tokio::test]
async fn no_address_of_a_source_leaves_between_communities_either() {
    let secret = "http://inner.example/secret";
    let fragments = json!([{ "BulkDataURI": secret }, { "InlineBinary": "AAE=" }]);
    let study = study();
    let one = &study.instances()[0];
    let document = format!(
        r#"[{{"00080016":{{"vr":"UI","Value":["{CT}"]}},"00080018":{{"vr":"UI","Value":["{}"]}},
            "0020000D":{{"vr":"UI","Value":["{}"]}},"0020000E":{{"vr":"UI","Value":["{}"]}},
            "00091001":{{"vr":"UR","Value":["{secret}"]}},
            "00091002":{{"Value":["{secret}"],"vr":"UR"}},
            "00091003":{{"vr":"LO","Value":["of the source"]}},
            "00091004":{{"vr":"SQ","Value":[{{"00091001":{{"vr":"UR","Value":["{secret}"]}}}}]}},
            "00081190":{{"vr":"UR","Value":["{secret}"]}},
            "7FE00010":{{"vr":"OB","DataFragment":{fragments}}}}}]"#,
        one.uid, one.study, one.series
    );
    let (rig, _origin) = describing(document).await;
    let root = rig.register(study.fhir()).await.root;
    let path = format!("{}/metadata", one.path());
    for url in [
        format!("{root}{path}"),
        rad_160(HERE, &location_uid(10), &path),
    ] {
        let fields = [("accept", "application/dicom+json")];
        let answer = rig.get(&url, &fields).await;
        assert_eq!(answer.status, 200, "{url}: {answer:?}");
        let json = answer.json();
        let secrets = texts(&json)
            .iter()
            .filter(|text| text.contains("inner"))
            .count();
        assert_eq!(secrets, 0, "{url}: {json:#}");
        assert_eq!(json[0]["00091003"]["Value"][0], "of the source", "{url}");
    }
}
