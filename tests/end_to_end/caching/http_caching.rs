//! HTTP caching for clients: entity tags, ranges, `Cache-Status`.

use bytes::Bytes;
use http::StatusCode;

use crate::rig::origin::Origin;
use crate::rig::study::{EXPLICIT, Study, at};
use crate::rig::{AS_STORED, Answer, Rig};

const ALONE: (&str, &str) = ("accept", "application/dicom; transfer-syntax=*");

/// A gateway in front of one instance, which has been fetched once.
struct Case {
    rig: Rig,
    origin: Origin,
    path: String,
    bytes: Bytes,
}

impl Case {
    async fn new(settings: &str, size: usize) -> Self {
        let study = Study::new(1).with_series(at(10), vec![(EXPLICIT, size)]);
        let origin = Origin::of(&study).await;
        let rig = Rig::start(&format!("{settings}{}", origin.location(10)));
        let root = rig.register(study.fhir()).await.root;
        let instance = &study.instances()[0];
        let case = Self {
            path: format!("{root}{}", instance.path()),
            bytes: instance.bytes.clone(),
            rig,
            origin,
        };
        let first = case.get(&[]).await;
        assert_eq!(first.field("cache-status"), "xcwado; fwd=miss; stored");
        assert_eq!(first.body, case.bytes);
        case
    }

    async fn get(&self, fields: &[(&str, &str)]) -> Answer {
        let fields: Vec<_> = fields.iter().copied().chain([ALONE]).collect();
        let answer = self.rig.get(&self.path, &fields).await;
        assert!(answer.is_whole() || answer.status == StatusCode::NOT_MODIFIED);
        answer
    }
}

// In memory; too large for it and so on disk.
const TIERS: [(&str, &str, usize); 2] = [
    ("", "xcwado; hit; detail=memory", 300_001),
    (
        "[cache]\nmemory = \"1 MiB\"\n",
        "xcwado; hit; detail=disk",
        1_300_001,
    ),
];

#[tokio::test]
async fn an_instance_that_the_client_has_is_not_sent_again() {
    for (settings, status, size) in TIERS {
        let case = Case::new(settings, size).await;
        let answer = case.get(&[]).await;
        assert_eq!(answer.field("cache-status"), status);
        assert_eq!(answer.field("cache-control"), "private, no-cache");
        let tag = answer.field("etag").to_owned();
        assert!(tag.starts_with('"') && tag.len() == 66, "{tag}");
        for had in [&*tag, &format!("\"x\", W/{tag}"), "*"] {
            let answer = case.get(&[("if-none-match", had)]).await;
            assert_eq!(answer.status, StatusCode::NOT_MODIFIED);
            assert_eq!(answer.field("etag"), tag);
            assert!(answer.body.is_empty());
        }
        let other = case.get(&[("if-none-match", "\"x\"")]).await;
        assert_eq!(
            (other.status, other.body),
            (StatusCode::OK, case.bytes.clone())
        );
        // In parts the boundaries are others each time.
        let parts = case.rig.get(&case.path, &[AS_STORED]).await;
        let weak = parts.field("etag").to_owned();
        assert!(weak.starts_with("W/\"") && !weak.contains(&tag), "{weak}");
        assert_eq!(parts.instances(), std::slice::from_ref(&case.bytes));
        let had = [AS_STORED, ("if-none-match", &weak)];
        let parts = case.rig.get(&case.path, &had).await;
        assert_eq!(parts.status, StatusCode::NOT_MODIFIED);
        assert_eq!(case.origin.asked().len(), 1);
    }
}

#[tokio::test]
async fn a_part_of_an_instance_is_given_alone() {
    for (settings, _, size) in TIERS {
        let case = Case::new(settings, size).await;
        let whole = case.bytes.len();
        let last = whole - 1;
        for (range, from, to) in [
            ("bytes=0-0".to_owned(), 0, 0),
            ("bytes=100-262200".to_owned(), 100, 262_200),
            (format!("bytes={last}-"), last, last),
            ("bytes=-5".to_owned(), whole - 5, last),
        ] {
            let answer = case.get(&[("range", &range)]).await;
            assert_eq!(answer.status, StatusCode::PARTIAL_CONTENT);
            let expected = format!("bytes {from}-{to}/{whole}");
            assert_eq!(answer.field("content-range"), expected);
            assert_eq!(answer.body, case.bytes.slice(from..=to));
        }
        let answer = case.get(&[("range", &format!("bytes={whole}-"))]).await;
        assert_eq!(answer.status, StatusCode::RANGE_NOT_SATISFIABLE);
        assert_eq!(answer.field("content-range"), format!("bytes */{whole}"));
        let tag = case.get(&[]).await.field("etag").to_owned();
        let range = ("range", "bytes=1-2");
        let answer = case.get(&[range, ("if-range", &tag)]).await;
        assert_eq!(answer.body, case.bytes.slice(1..=2));
        let answer = case.get(&[range, ("if-range", "\"x\"")]).await;
        assert_eq!(
            (answer.status, answer.body),
            (StatusCode::OK, case.bytes.clone())
        );
        // What was given is counted as complete: it is all of what was asked for.
        let partial = r#"xcwado_answers_total{outcome="partial",transaction="retrieve_instance"}"#;
        assert_eq!(case.rig.metric(partial).await, 0.0);
    }
}

#[tokio::test]
async fn head_says_what_get_would_and_costs_no_fetch() {
    let case = Case::new("", 300_001).await;
    let get = case.get(&[]).await;
    let head = case.rig.head(&case.path, &[ALONE]).await;
    for name in ["etag", "content-length", "accept-ranges", "cache-status"] {
        assert_eq!(head.field(name), get.field(name), "{name}");
    }
    assert_eq!(head.field("accept-ranges"), "bytes");
    assert_eq!(case.origin.asked().len(), 1);
}

#[tokio::test]
async fn what_clients_may_keep_is_a_setting() {
    let settings = "[cache]\ncache_control = \"private, max-age=60\"\n";
    let case = Case::new(settings, 1000).await;
    assert_eq!(
        case.get(&[]).await.field("cache-control"),
        "private, max-age=60"
    );
}
