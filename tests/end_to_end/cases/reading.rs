//! Small instances whose elements other readers read.

use std::path::Path;

use http::StatusCode;
use serde_json::{Value, json};

use super::Instances;
use crate::rig::{Answer, End, Rig};

const JSON: &str = "application/dicom+json";
const XML: &str = "multipart/related; type=\"application/dicom+xml\"";
const EXPLICIT: &str = "application/dicom; transfer-syntax=1.2.840.10008.1.2.1";
const STORED: &str = "multipart/related; type=application/octet-stream; transfer-syntax=*";
const DECODED: &str = "multipart/related; type=\"application/octet-stream\"; \
                       transfer-syntax=1.2.840.10008.1.2.1";
const OCTETS: &str = "multipart/related; type=\"application/octet-stream\"";

/// What an answer must hold, besides being whole with status 200.
enum Right {
    /// An element of the metadata.
    Element(&'static str, Value),
    /// A piece of the text.
    Text(&'static str),
    /// The length of the body.
    Length(usize),
    /// A part of so many bytes, all the same.
    Samples(usize, u8),
    /// Nothing else.
    Whole,
}

impl Right {
    fn check(&self, answer: &Answer, row: &str) {
        assert_eq!(answer.status, StatusCode::OK, "{row}: {answer:?}");
        assert_eq!(answer.end, End::Whole, "{row}");
        let body = &answer.body[..];
        match self {
            Self::Element(tag, expected) => {
                let metadata: Value = serde_json::from_slice(body).expect("JSON");
                assert_eq!(&metadata[0][tag], expected, "{row}");
            }
            Self::Text(text) => {
                let body = String::from_utf8_lossy(body);
                assert!(body.contains(text), "{row}: {body}");
            }
            Self::Length(length) => assert_eq!(body.len(), *length, "{row}"),
            Self::Samples(count, sample) => {
                let parts = answer.parts();
                let expected = vec![*sample; *count];
                assert_eq!(parts[0].bytes, expected, "{row}");
            }
            Self::Whole => {}
        }
    }
}

#[tokio::test]
async fn every_instance_is_read_as_other_readers_read_it() {
    let Some(instances) = Instances::open().await else {
        return;
    };
    let smallest = || Right::Element("00280120", json!({"vr": "US", "Value": [0]}));
    let references = json!({"vr": "SQ", "Value": [{
        "00081150": {"vr": "UI", "Value": ["1.2.840.10008.5.1.4.1.1.7"]},
        "00081155": {"vr": "UI", "Value": ["2.25.79.1"]},
    }]});
    let distance = json!({"vr": "DS", "Value": ["1e400"]});
    for (number, rest, accept, right) in [
        (
            1,
            "/metadata",
            JSON,
            Right::Element("00280010", json!({"vr": "US", "Value": [2]})),
        ),
        (1, "", EXPLICIT, Right::Whole),
        (2, "", EXPLICIT, Right::Whole),
        (2, "/metadata", JSON, Right::Whole),
        (6, "/metadata", JSON, smallest()),
        (6, "/rendered", "image/png", Right::Whole),
        (7, "/metadata", JSON, smallest()),
        (7, "/rendered", "image/png", Right::Whole),
        (8, "/metadata", JSON, Right::Element("00081140", references)),
        (8, "/rendered", "image/png", Right::Whole),
        (9, "/metadata", JSON, Right::Element("00181151", distance)),
        (
            9,
            "/metadata",
            XML,
            Right::Text("<Value number=\"1\">1e400</Value>"),
        ),
        (9, "/bulkdata", OCTETS, Right::Whole),
        (10, "/frames/1", DECODED, Right::Samples(64, 40)),
        (10, "/frames/3", DECODED, Right::Samples(64, 140)),
        (10, "", EXPLICIT, Right::Whole),
        (11, "/frames/4", DECODED, Right::Samples(64, 190)),
        (17, "/rendered", "text/xml", Right::Length(2000)),
        (18, "/rendered", "text/xml", Right::Length(1537)),
        (18, "/bulkdata/00420011", "*/*", Right::Length(1537)),
        (19, "/rendered", "text/xml", Right::Length(400)),
        (20, "/rendered", "model/stl", Right::Length(2084)),
    ] {
        let answer = instances.get(number, rest, accept).await;
        right.check(&answer, &format!("{number}{rest} {accept}"));
    }
}

#[tokio::test]
async fn what_is_arguable_is_read_as_lenient_readers_read_it() {
    let Some(instances) = Instances::open_arguable().await else {
        return;
    };
    for (number, rest, accept) in [
        (3, "", EXPLICIT),
        (3, "/metadata", JSON),
        (21, "/frames/1", STORED),
        (21, "/metadata", JSON),
        (21, "", "application/dicom; transfer-syntax=*"),
    ] {
        let answer = instances.get(number, rest, accept).await;
        Right::Whole.check(&answer, &format!("{number}{rest}"));
    }
}

#[tokio::test]
async fn ranges_of_a_stored_frame_fit_together() {
    let Some(instances) = Instances::open().await else {
        return;
    };
    for (number, rest, accept) in [
        (10, "/frames/2", STORED),
        (
            10,
            "/frames/2",
            "application/octet-stream; transfer-syntax=*",
        ),
        (20, "/bulkdata/00420011", "*/*"),
    ] {
        let whole = instances.get(number, rest, accept).await;
        assert_eq!(whole.status, StatusCode::OK, "{rest}");
        let length = whole.body.len();
        assert_eq!(whole.field("content-length"), length.to_string(), "{rest}");
        assert_eq!(whole.field("accept-ranges"), "bytes", "{rest}");
        let ask = async |range: &str, more: (&str, &str)| {
            let fields = [("accept", accept), ("range", range), more];
            instances.get_with(number, rest, &fields).await
        };
        let nothing = ("x-none", "x");
        let first = ask("bytes=0-9", nothing).await;
        let other = ask("bytes=10-", nothing).await;
        assert_eq!(first.status, StatusCode::PARTIAL_CONTENT, "{rest} {accept}");
        assert_eq!(first.field("content-range"), format!("bytes 0-9/{length}"));
        assert_eq!(
            [&first.body[..], &other.body].concat(),
            &whole.body[..],
            "{rest}"
        );
        let beyond = ask(&format!("bytes={length}-"), nothing).await;
        assert_eq!(beyond.status, StatusCode::RANGE_NOT_SATISFIABLE);
        assert_eq!(beyond.field("content-range"), format!("bytes */{length}"));
        let changed = ask("bytes=0-9", ("if-range", "\"other\"")).await;
        assert_eq!(changed.status, StatusCode::OK);
        let tag = whole.field("etag").to_owned();
        if !tag.starts_with("W/") {
            let same = ask("bytes=0-9", ("if-range", &tag)).await;
            assert_eq!(same.status, StatusCode::PARTIAL_CONTENT, "{rest} {tag}");
        }
    }
}

const MPEG: &str = "1.2.840.10008.1.2.4.102";

/// A series of a folder: whole, broken inside, a video, whole.
fn write_series(folder: &Path) -> Vec<u8> {
    let small = |n: u32| {
        element(
            [0x10, 0, 0x20, 0],
            b"LO",
            n.to_string().repeat(2).as_bytes(),
        )
    };
    let broken = element([0x40, 0, 0x75, 2], b"SQ", b"no item at all..");
    let stream = [
        &[0xFE, 0xFF, 0, 0xE0, 4, 0, 0, 0, 1, 2, 3, 4][..],
        &[0xFE, 0xFF, 0xDD, 0xE0, 0, 0, 0, 0],
    ];
    let video = [
        &[0xE0, 0x7F, 0x10, 0][..],
        b"OB\0\0\xFF\xFF\xFF\xFF\xFE\xFF\0\xE0\0\0\0\0",
        &stream.concat(),
    ]
    .concat();
    let explicit = "1.2.840.10008.1.2.1";
    let rows = [
        (explicit, small(1)),
        (explicit, broken),
        (MPEG, video),
        (explicit, small(4)),
    ];
    for (number, (syntax, more)) in (1..).zip(rows) {
        std::fs::write(
            folder.join(format!("{number}.dcm")),
            file(number, syntax, &more),
        )
        .expect("written");
    }
    let instances: Vec<Value> = (1..=4)
        .map(|n| json!({"uid": format!("2.25.80.{n}"), "sopClass": {"code": "urn:oid:1.2.840.10008.5.1.4.1.1.7"}}))
        .collect();
    json!({"resourceType": "Bundle", "type": "collection", "entry": [
        {"fullUrl": "urn:uuid:s", "resource": {
            "resourceType": "ImagingStudy", "status": "available",
            "identifier": [{"system": "urn:dicom:uid", "value": "urn:oid:2.25.81"}],
            "subject": {"reference": "urn:uuid:p"},
            "series": [{"uid": "2.25.82", "modality": {"code": "OT"},
                "endpoint": [{"reference": "urn:uuid:e"}], "instance": instances}],
        }},
        {"fullUrl": "urn:uuid:e", "resource": {
            "resourceType": "Endpoint", "status": "active", "address": "http://files.example/rs",
            "connectionType": {"system": "http://terminology.hl7.org/CodeSystem/endpoint-connection-type", "code": "dicom-wado-rs"},
        }},
        {"fullUrl": "urn:uuid:p", "resource": {"resourceType": "Patient"}},
    ]})
    .to_string()
    .into_bytes()
}

fn element(tag: [u8; 4], vr: &[u8; 2], value: &[u8]) -> Vec<u8> {
    let length = u32::try_from(value.len()).expect("short").to_le_bytes();
    let head = match vr {
        b"SQ" => [&tag[..], vr, &[0, 0], &length].concat(),
        _ => [&tag[..], vr, &length[..2]].concat(),
    };
    [&head[..], value].concat()
}

fn file(number: u32, syntax: &str, more: &[u8]) -> Vec<u8> {
    let uid = |tag, uid: &str| {
        let mut value = uid.as_bytes().to_vec();
        value.resize(value.len().next_multiple_of(2), 0);
        element(tag, b"UI", &value)
    };
    [
        vec![0; 128],
        b"DICM".to_vec(),
        uid([2, 0, 0x10, 0], syntax),
        uid([8, 0, 0x16, 0], "1.2.840.10008.5.1.4.1.1.7"),
        uid([8, 0, 0x18, 0], &format!("2.25.80.{number}")),
        uid([0x20, 0, 0x0D, 0], "2.25.81"),
        uid([0x20, 0, 0x0E, 0], "2.25.82"),
        more.to_vec(),
    ]
    .concat()
}

#[tokio::test]
async fn one_bad_instance_does_not_close_its_series() {
    let folder = tempfile::tempdir().expect("a folder");
    let manifest = write_series(folder.path());
    let rig = Rig::start(&format!(
        "[[location]]\nretrieve_location_uid = \"1.3.6.1.4.1.99999.1.10\"\n\
         retrieve_urls = [\"http://files.example/rs\"]\nfolder = {:?}\n",
        folder.path()
    ));
    let root = rig.register(manifest).await.root;
    let series = format!("{root}studies/2.25.81/series/2.25.82");
    let answer = rig
        .get(&format!("{series}/metadata"), &[("accept", JSON)])
        .await;
    assert_eq!((answer.status, answer.end), (StatusCode::OK, End::Whole));
    let metadata: Value = serde_json::from_slice(&answer.body).expect("JSON");
    let metadata = metadata.as_array().expect("an array");
    let unavailable: Vec<_> = metadata
        .iter()
        .filter(|instance| instance["00080056"]["Value"][0] == "UNAVAILABLE")
        .map(|instance| &instance["00080018"]["Value"][0])
        .collect();
    assert_eq!(
        (metadata.len(), unavailable),
        (4, vec![&json!("2.25.80.2")])
    );
    let answer = rig
        .get(&format!("{series}/metadata"), &[("accept", XML)])
        .await;
    assert_eq!((answer.status, answer.parts().len()), (StatusCode::OK, 4));
    // By default, a video leaves as it is stored; it has no other form.
    let accept = "multipart/related; type=\"application/dicom\"";
    let answer = rig.get(&series, &[("accept", accept)]).await;
    assert_eq!(answer.status, StatusCode::OK);
    let parts = answer.parts();
    let videos = parts
        .iter()
        .filter(|part| part.bytes.windows(MPEG.len()).any(|w| w == MPEG.as_bytes()));
    assert_eq!((parts.len(), videos.count()), (4, 1));
    // One that is bad by itself is an error of its own.
    let one = format!("{series}/instances/2.25.80.2/metadata");
    let answer = rig.get(&one, &[("accept", JSON)]).await;
    assert_eq!(answer.status, StatusCode::UNPROCESSABLE_ENTITY);
}
