//! Small instances whose elements other readers read.

use http::StatusCode;
use serde_json::{Value, json};

use super::Instances;
use crate::rig::{Answer, End};

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
