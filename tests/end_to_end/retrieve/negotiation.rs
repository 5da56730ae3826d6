//! Content negotiation: what clients accept, and the requests to sources that follow from it.

use bytes::Bytes;
use http::StatusCode;

use crate::rig::origin::{Asked, Origin, Reply, honest};
use crate::rig::study::{EXPLICIT, IMPLICIT, Instance, JPEG_LOSSLESS, JPEG_XL, Study, at};
use crate::rig::{AS_STORED, Answer, Rig, sorted};

const STORED: &str = r#"multipart/related; type="application/dicom"; transfer-syntax=*"#;
const DECODED: &str =
    r#"multipart/related; type="application/dicom"; transfer-syntax=1.2.840.10008.1.2.1"#;

struct Case {
    rig: Rig,
    origin: Origin,
    root: String,
}

impl Case {
    /// The study behind a server that answers as `script` says.
    async fn new(
        study: &Study,
        script: impl Fn(&[Instance], &Asked) -> Reply + Send + Sync + 'static,
    ) -> Self {
        let held = study.instances();
        let origin = Origin::start(move |asked| script(&held, asked)).await;
        let rig = Rig::start(&origin.location(10));
        let root = rig.register(study.fhir()).await.root;
        Self { rig, origin, root }
    }

    async fn get(&self, path: &str, accept: &str) -> Answer {
        let fields = [("accept", accept)];
        let fields = if accept.is_empty() { &[][..] } else { &fields };
        self.rig.get(&format!("{}{path}", self.root), fields).await
    }
}

/// Two uncompressed slices and two compressed ones, in one series.
fn mixed() -> Study {
    let sizes = [
        (EXPLICIT, 900),
        (JPEG_XL, 1000),
        (EXPLICIT, 1100),
        (JPEG_XL, 1200),
    ];
    Study::new(4).with_series(at(10), sizes.to_vec())
}

/// A server that cannot decode.
fn refuses(held: &[Instance], asked: &Asked, status: u16) -> Reply {
    if asked.field("accept") == DECODED {
        Reply::status(status)
    } else {
        honest(held, asked)
    }
}

#[tokio::test]
async fn whoever_takes_everything_gets_what_is_stored() {
    let case = Case::new(&mixed(), honest).await;
    for accept in [
        STORED,
        "multipart/related; type=application/dicom; transfer-syntax=*",
        "multipart/related;type=\"application/dicom\";transfer-syntax=\"*\"",
        "image/png, multipart/related; type=\"application/dicom\"; transfer-syntax=*; q=0.1",
        "multipart/related; type=\"application/dicom\"; transfer-syntax=1.2.840.10008.1.2.4.110, multipart/related; type=\"application/dicom\"",
    ] {
        let answer = case.get(&mixed().path(), accept).await;
        assert_eq!(answer.status, 200, "{accept}");
        assert_eq!(answer.instances(), mixed().bytes(), "{accept}");
    }
    assert!(
        case.origin
            .asked()
            .iter()
            .all(|asked| asked.field("accept") == STORED)
    );
}

#[tokio::test]
async fn what_is_not_accepted_as_stored_is_asked_for_decoded_one_by_one() {
    for accept in [
        "",
        "*/*",
        "multipart/related",
        "multipart/related; type=\"application/dicom\"",
    ] {
        let case = Case::new(&mixed(), honest).await;
        let answer = case.get(&mixed().path(), accept).await;
        assert_eq!(answer.status, 200, "{accept}");
        let mut left = mixed().instances();
        for part in answer.parts() {
            let content_type = part.head.content_type().expect("a type").to_owned();
            assert!(content_type.contains(EXPLICIT), "{content_type}");
            let is_it = |i: &Instance| i.bytes == part.bytes || i.decoded().bytes == part.bytes;
            left.remove(left.iter().position(is_it).expect("one of ours, once"));
        }
        assert!(left.is_empty(), "{accept}");
        let asked = case.origin.asked();
        assert_eq!(asked[0].field("accept"), STORED);
        assert!(!asked[0].is_instance());
        assert!(asked.len() > 1);
        for asked in &asked[1..] {
            assert!(
                asked.is_instance() && asked.field("accept") == DECODED,
                "{asked:?}"
            );
        }
    }
}

#[tokio::test]
async fn one_instance_is_decoded_when_it_has_to_be() {
    let case = Case::new(&mixed(), honest).await;
    let instances = mixed().instances();
    let plain = case.get(&instances[0].path(), "").await;
    assert_eq!(plain.instances(), [instances[0].bytes.clone()]);
    let compressed = case.get(&instances[1].path(), "").await;
    assert_eq!(compressed.instances(), [instances[1].decoded().bytes]);
}

#[tokio::test]
async fn what_nobody_can_decode_is_not_acceptable() {
    // There is no decoder for the one at hand; what claims to be the other one is not.
    for (status, syntax) in [
        (400, JPEG_XL),
        (406, JPEG_LOSSLESS),
        (406, JPEG_XL),
        (415, JPEG_LOSSLESS),
        (500, JPEG_XL),
        (501, JPEG_XL),
    ] {
        let study = Study::new(4).with_series(at(10), vec![(syntax, 900); 3]);
        let case = Case::new(&study, move |held, asked| refuses(held, asked, status)).await;
        for path in [
            study.instances()[0].path(),
            study.series_path(0),
            study.path(),
        ] {
            let answer = case.get(&path, "").await;
            assert_eq!(answer.status, 406, "{status} for {path}");
            answer.problem();
        }
        // It can still be had as it is.
        assert_eq!(
            case.get(&study.path(), STORED).await.instances(),
            study.bytes()
        );
    }
}

#[tokio::test]
async fn a_study_of_which_some_cannot_be_decoded_tells_it_in_their_place_and_then_in_its_head() {
    let case = Case::new(&mixed(), |held, asked| {
        let path = asked.path.clone();
        let is_compressed = held
            .iter()
            .any(|i| i.transfer_syntax == JPEG_XL && path.ends_with(&i.path()));
        if is_compressed {
            refuses(held, asked, 406)
        } else {
            honest(held, asked)
        }
    })
    .await;
    let first = case.get(&mixed().path(), "").await;
    // The first slice was promised before it was known.
    let parts = first.parts();
    let stand_ins = parts
        .iter()
        .filter(|part| part.head.content_type() == Some("application/problem+json"));
    assert_eq!((first.status.as_u16(), parts.len()), (200, 4));
    assert_eq!(stand_ins.count(), 2, "{first:?}");
    let second = case.get(&mixed().path(), "").await;
    assert_eq!(second.status, 206);
    assert_eq!(
        second.field("warning"),
        "299 xcwado \"2 of 4 instances cannot be given\""
    );
    let parts = second.parts();
    assert_eq!(parts.len(), 2);
    // What was remembered does not keep it from those who take it as it is.
    assert_eq!(
        case.get(&mixed().path(), STORED).await.instances(),
        mixed().bytes()
    );
}

#[tokio::test]
async fn one_instance_may_come_alone() {
    let case = Case::new(&mixed(), honest).await;
    let instance = mixed().instances()[1].clone();
    let stored = case
        .get(&instance.path(), "application/dicom; transfer-syntax=*")
        .await;
    assert_eq!(
        (stored.status.as_u16(), &stored.body),
        (200, &instance.bytes)
    );
    assert!(
        stored
            .field("content-type")
            .starts_with("application/dicom")
    );
    assert!(stored.field("content-type").contains(JPEG_XL));
    let decoded = case.get(&instance.path(), "application/dicom").await;
    assert_eq!(decoded.body, instance.decoded().bytes);
    assert!(decoded.field("content-type").contains(EXPLICIT));
    // More than one cannot.
    for path in [mixed().path(), mixed().series_path(0)] {
        assert_eq!(case.get(&path, "application/dicom").await.status, 406);
    }
}

#[tokio::test]
async fn the_query_parameter_counts_before_the_header_field() {
    let case = Case::new(&mixed(), honest).await;
    let query = "accept=multipart/related%3Btype%3D%22application/dicom%22%3Btransfer-syntax%3D*";
    for accept in ["", "image/png", "application/dicom"] {
        let answer = case
            .get(&format!("{}?{query}", mixed().path()), accept)
            .await;
        assert_eq!(answer.instances(), mixed().bytes(), "{accept}");
    }
    let nothing = case
        .get(&format!("{}?accept=image/png", mixed().path()), "")
        .await;
    assert_eq!(nothing.status, 406);
    let header = case
        .get(&format!("{}?accept=image/png", mixed().path()), STORED)
        .await;
    assert_eq!(header.instances(), mixed().bytes());
}

#[tokio::test]
async fn what_is_no_form_of_instances_is_not_acceptable_and_nobody_is_asked() {
    let case = Case::new(&mixed(), honest).await;
    for accept in [
        "image/jpeg",
        "text/html",
        "application/dicom+json",
        "multipart/related; type=\"image/jpeg\"",
        "multipart/related; type=\"application/octet-stream\"; transfer-syntax=*",
        "multipart/related; type=\"application/dicom\"; q=0",
        "*/*;q=0",
        "nonsense",
    ] {
        let answer = case.get(&mixed().path(), accept).await;
        assert_eq!(answer.status, 406, "{accept}");
        answer.problem();
    }
    assert!(case.origin.asked().is_empty());
}

#[tokio::test]
async fn a_transfer_syntax_that_is_not_there_is_not_acceptable() {
    let case = Case::new(&mixed(), honest).await;
    let accept = |syntax: &str| {
        format!("multipart/related; type=\"application/dicom\"; transfer-syntax={syntax}")
    };
    let hevc = accept("1.2.840.10008.1.2.4.107");
    assert_eq!(case.get(&mixed().path(), &hevc).await.status, 406);
    // The one that two of the four are in: the others are missing, and it is told.
    let compressed = accept(JPEG_XL);
    let instance = mixed().instances()[1].clone();
    assert_eq!(
        case.get(&instance.path(), &compressed).await.instances(),
        [instance.bytes]
    );
    let answer = case.get(&mixed().path(), &compressed).await;
    let given = answer.parts();
    let stored = given.iter().filter(|part| {
        let content_type = part.head.content_type();
        content_type.is_some_and(|content_type| content_type.contains(JPEG_XL))
    });
    assert_eq!(stored.count(), 2, "{answer:?}");
    assert!(answer.status == 206 || given.len() == 4, "{answer:?}");
}

#[tokio::test]
async fn a_server_that_ignores_what_it_is_asked_for_is_not_believed() {
    // It sends what is stored, whatever is asked for.
    let study = Study::new(4).with_series(at(10), vec![(JPEG_XL, 900); 2]);
    let held = study.instances();
    let case = Case::new(&study, move |_held, asked| {
        let found = held
            .iter()
            .filter(|i| i.path().starts_with(&asked.path[4..]))
            .cloned();
        Reply::multipart(&found.collect::<Vec<_>>())
    })
    .await;
    let answer = case.get(&study.path(), "").await;
    assert!(!answer.status.is_success(), "{answer:?}");
    let stored = case
        .rig
        .get(&format!("{}{}", case.root, study.path()), &[AS_STORED])
        .await;
    assert_eq!(stored.instances(), sorted(study.bytes()));
}

#[tokio::test]
async fn implicit_vr_never_leaves_and_no_source_is_asked_to_change_it() {
    let study = Study::new(1).with_series(at(10), vec![(IMPLICIT, 300_000), (EXPLICIT, 5000)]);
    let origin = Origin::of(&study).await;
    let rig = Rig::start(&origin.location(10));
    let root = rig.register(study.fhir()).await.root;
    let instances = study.instances();
    let expected = Instance::new(
        [&instances[0].study, &instances[0].series, &instances[0].uid],
        EXPLICIT,
        300_000,
    );
    let path = format!("{root}{}", instances[0].path());
    for accept in [
        "application/dicom",
        "application/dicom; transfer-syntax=*",
        "multipart/related; type=\"application/dicom\"; transfer-syntax=*",
    ] {
        let answer = rig.get(&path, &[("accept", accept)]).await;
        assert_eq!(answer.status, StatusCode::OK, "{accept}: {answer:?}");
        let (content_type, bytes) = if accept.starts_with("multipart") {
            let part = &answer.parts()[0];
            let content_type = part.head.content_type().expect("a type").to_owned();
            (content_type, part.bytes.clone())
        } else {
            (answer.field("content-type").to_owned(), answer.body.clone())
        };
        assert_eq!(
            content_type,
            format!("application/dicom; transfer-syntax={EXPLICIT}")
        );
        // The head is written anew; the data set is what it would be.
        let set = |bytes: &Bytes| {
            let at = memchr::memmem::find(bytes, &[8, 0, 0x16, 0]).expect("a data set");
            bytes.slice(at..)
        };
        assert!(set(&bytes) == set(&expected.bytes), "{accept}");
    }
    let whole = rig
        .get(&format!("{root}{}", study.path()), &[AS_STORED])
        .await;
    assert_eq!(whole.parts().len(), 2);
    assert!(
        origin
            .asked()
            .iter()
            .all(|asked| asked.field("accept").contains("transfer-syntax=*"))
    );
}
