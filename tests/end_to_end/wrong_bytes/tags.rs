//! An entity tag identifies one representation: a client that holds one does not get `304` for
//! another.

use http::StatusCode;

use crate::rig::origin::Origin;
use crate::rig::pixels::{encapsulated, native, study};
use crate::rig::study::EXPLICIT;
use crate::rig::{AS_STORED, Answer, Rig};

const RLE: &str = "1.2.840.10008.1.2.5";
const PLAIN_ALONE: (&str, &str) = (
    "accept",
    "application/dicom; transfer-syntax=1.2.840.10008.1.2.1",
);
const ALONE: (&str, &str) = ("accept", "application/dicom; transfer-syntax=*");
const IN_PARTS: (&str, &str) = (
    "accept",
    "multipart/related; type=\"application/dicom\"; transfer-syntax=1.2.840.10008.1.2.1",
);

struct Case {
    rig: Rig,
    /// The paths of an instance that is not compressed, and of one that is.
    paths: [String; 2],
    _origin: Origin,
}

impl Case {
    async fn new() -> Self {
        let mut compressed = vec![1, 0, 0, 0, 64, 0, 0, 0];
        compressed.resize(64, 0);
        compressed.extend([7, 1, 2, 3, 4, 5, 6, 7, 8, 0]);
        let study = study(&[
            (EXPLICIT, native(1, 8, &[7; 8])),
            (RLE, encapsulated(1, &[], &[&compressed])),
        ]);
        let origin = Origin::of(&study).await;
        let rig = Rig::start(&origin.location(10));
        let root = rig.register(study.fhir()).await.root;
        let instances = study.instances();
        let paths = [0, 1].map(|at| format!("{root}{}", instances[at].path()));
        for path in &paths {
            // From now on it is kept, and its digest is known.
            assert!(rig.get(path, &[AS_STORED]).await.is_whole());
        }
        Self {
            rig,
            paths,
            _origin: origin,
        }
    }

    /// None of these forms of what is at a path is taken for another one.
    async fn are_told_apart(&self, path: &str, forms: &[&[(&str, &str)]]) {
        let mut tags: Vec<String> = Vec::new();
        for form in forms {
            let answer = self.rig.get(path, form).await;
            assert_eq!(answer.status, StatusCode::OK, "{path} {form:?}: {answer:?}");
            let tag = answer.field("etag").to_owned();
            assert!(
                tag.ends_with('"') && tag.len() > 20,
                "{path} {form:?}: {tag:?}"
            );
            tags.push(tag);
        }
        for (at, form) in forms.iter().enumerate() {
            let whole = self.rig.get(path, form).await;
            for (of, tag) in tags.iter().enumerate() {
                let mut fields = form.to_vec();
                fields.push(("if-none-match", tag));
                let answer = self.rig.get(path, &fields).await;
                let expected = if at == of { 304 } else { 200 };
                assert_eq!(answer.status, expected, "{path} {form:?} {tag}");
                if at == of {
                    is_of_the_same_head(&answer, &whole);
                }
            }
            let mut fields = form.to_vec();
            fields.push(("if-none-match", "*"));
            let answer = self.rig.get(path, &fields).await;
            assert_eq!(answer.status, 304, "{path} {form:?} *");
            is_of_the_same_head(&answer, &whole);
        }
    }
}

// RFC 9110 15.4.5.
fn is_of_the_same_head(not_modified: &Answer, whole: &Answer) {
    assert!(not_modified.body.is_empty());
    for name in ["etag", "vary", "cache-control", "content-location"] {
        assert_eq!(not_modified.field(name), whole.field(name), "{name}");
        assert!(name == "etag" || !whole.field(name).is_empty(), "{name}");
    }
    assert_eq!(not_modified.field("content-type"), "");
}

#[tokio::test]
async fn forms_of_an_instance_have_tags_of_their_own() {
    let case = Case::new().await;
    for path in &case.paths {
        case.are_told_apart(path, &[&[ALONE], &[AS_STORED]]).await;
    }
    let forms: [&[(&str, &str)]; 4] = [&[ALONE], &[AS_STORED], &[PLAIN_ALONE], &[IN_PARTS]];
    case.are_told_apart(&case.paths[1], &forms).await;
    // What is stored has the tag that other gateways ask by.
    let stored = case.rig.get(&case.paths[1], &[ALONE]).await;
    assert!(stored.field("etag").starts_with('"') && stored.field("etag").len() == 66);
    let parts = case.rig.get(&case.paths[1], &[AS_STORED]).await;
    assert!(parts.field("etag").starts_with("W/\""));
}

#[tokio::test]
async fn forms_of_metadata_have_tags_of_their_own() {
    let case = Case::new().await;
    let path = format!("{}/metadata", case.paths[0]);
    let xml = (
        "accept",
        "multipart/related; type=\"application/dicom+xml\"",
    );
    let forms: [&[(&str, &str)]; 3] = [&[], &[("accept-encoding", "gzip")], &[xml]];
    case.are_told_apart(&path, &forms).await;
    let some = format!("{path}?includefield=PatientName");
    let (all, some) = (case.rig.get(&path, &[]), case.rig.get(&some, &[]));
    assert_ne!(all.await.field("etag"), some.await.field("etag"));
}

#[tokio::test]
async fn forms_of_frames_and_values_have_tags_of_their_own() {
    let case = Case::new().await;
    let stored = (
        "accept",
        "multipart/related; type=application/octet-stream; transfer-syntax=*",
    );
    let plain = ("accept", "multipart/related; type=application/octet-stream");
    let alone = ("accept", "application/octet-stream");
    let path = format!("{}/frames/1", case.paths[1]);
    case.are_told_apart(&path, &[&[stored], &[plain], &[alone]])
        .await;
    let path = format!("{}/bulkdata/7FE00010", case.paths[0]);
    case.are_told_apart(&path, &[&[plain], &[alone]]).await;
}

#[tokio::test]
async fn forms_of_pictures_have_tags_of_their_own() {
    let case = Case::new().await;
    let forms = ["image/jpeg", "image/png", "image/gif"].map(|form| [("accept", form)]);
    let forms = forms.each_ref().map(|form| &form[..]);
    for what in ["rendered", "thumbnail", "frames/1/rendered"] {
        let path = format!("{}/{what}", case.paths[0]);
        case.are_told_apart(&path, &forms).await;
    }
    let tag = async |query: &str| {
        let path = format!("{}/rendered{query}", case.paths[0]);
        case.rig.get(&path, &[]).await.field("etag").to_owned()
    };
    assert_ne!(tag("").await, tag("?viewport=2,2").await);
    assert_ne!(tag("").await, tag("?window=1,2,linear").await);
    assert_ne!(tag("").await, tag("?quality=3").await);
}

#[tokio::test]
async fn what_depends_on_accept_says_so() {
    let case = Case::new().await;
    for rest in [
        "",
        "/metadata",
        "/frames/1",
        "/rendered",
        "/bulkdata/7FE00010",
    ] {
        let answer = case.rig.get(&format!("{}{rest}", case.paths[0]), &[]).await;
        let vary = answer.field("vary");
        assert!(vary.starts_with("accept"), "{rest}: {vary}");
        assert_eq!(vary.contains("accept-encoding"), rest == "/metadata");
    }
}
