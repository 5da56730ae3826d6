//! One instance that cannot be read or decoded costs the others of its series nothing, and shows.

use http::StatusCode;

use crate::derived::case::{ANY_FRAME, Case, OCTETS, PNG};
use crate::rig::origin::{Origin, Reply, honest};
use crate::rig::pixels::{encapsulated, native, study};
use crate::rig::study::{EXPLICIT, IMPLICIT, Instance, JPEG_LOSSLESS, JPEG_XL, Study, at};
use crate::rig::{Answer, Rig};

const JSON: (&str, &str) = ("accept", "application/dicom+json");
const XML: (&str, &str) = (
    "accept",
    "multipart/related; type=\"application/dicom+xml\"",
);
const DECODED: (&str, &str) = (
    "accept",
    "multipart/related; type=\"application/dicom\"; transfer-syntax=1.2.840.10008.1.2.1",
);
const PROBLEM: &str = "application/problem+json";
const RLE: &str = "1.2.840.10008.1.2.5";

/// A sequence that holds no items.
fn broken() -> Vec<u8> {
    let value = b"no item at all..";
    let head = [
        0x40,
        0,
        0x75,
        2,
        b'S',
        b'Q',
        0,
        0,
        value.len() as u8,
        0,
        0,
        0,
    ];
    [&head[..], value, &native(1, 8, &[9; 8])].concat()
}

fn good(level: u8) -> Vec<u8> {
    native(1, 8, &[level; 8])
}

/// A frame of eight samples in one segment.
fn rle(level: u8) -> Vec<u8> {
    let mut frame = vec![0; 64];
    (frame[0], frame[4]) = (1, 64);
    frame.extend([7, level, level, level, level, level, level, level, level, 0]);
    frame
}

impl Case {
    async fn of_series(&self, rest: &str, field: (&str, &str)) -> Answer {
        let series = self.study.series_path(0);
        self.rig
            .get(&format!("{}{series}{rest}", self.root), &[field])
            .await
    }

    fn uid(&self, at: usize) -> &str {
        &self.study.series[0].instances[at].uid
    }

    /// Checks that the parts are whole, and which of them are stand-ins.
    fn has_stand_ins(&self, answer: &Answer, expected: &[bool], row: &str) {
        assert_eq!(answer.status, StatusCode::OK, "{row}: {answer:?}");
        let parts = answer.parts();
        let is_stand_in = |head: &xcwado::multipart::PartHead| head.content_type() == Some(PROBLEM);
        let found: Vec<_> = parts.iter().map(|part| is_stand_in(&part.head)).collect();
        assert_eq!(found, expected, "{row}");
        for part in parts.iter().filter(|part| is_stand_in(&part.head)) {
            let problem: serde_json::Value = serde_json::from_slice(&part.bytes).expect("JSON");
            let detail = problem["detail"].as_str().expect("a sentence");
            assert!(!detail.is_empty() && !detail.contains("2.25."), "{detail}");
            let place = part.head.content_location().expect("a place");
            assert!(place.contains(&self.root), "{place}");
            assert!(place.contains(self.uid(1)), "{row}: {place}");
        }
    }

    /// Checks that the head states the first instance, and that `parts` others are there.
    fn lacks_the_first(&self, answer: &Answer, parts: usize, row: &str) {
        self.lacks(0, answer, parts, row);
    }

    /// Checks that the head states this instance, and that `parts` others are there.
    fn lacks(&self, at: usize, answer: &Answer, parts: usize, row: &str) {
        assert_eq!(answer.status, StatusCode::PARTIAL_CONTENT, "{row}");
        let warning = answer.field("warning");
        let expected = format!("1 instance cannot be read or decoded: {}", self.uid(at));
        assert!(warning.contains(&expected), "{row}: {warning}");
        assert_eq!(answer.field("cache-control"), "private, no-store", "{row}");
        let found = answer.parts();
        assert_eq!(found.len(), parts, "{row}");
        assert!(
            found
                .iter()
                .all(|part| part.head.content_type() != Some(PROBLEM))
        );
    }
}

#[tokio::test]
async fn metadata_say_in_their_head_that_the_first_cannot_be_read() {
    let case = Case::of(&[(EXPLICIT, broken()), (EXPLICIT, good(1))]).await;
    for accept in [JSON, XML] {
        let answer = case.of_series("/metadata", accept).await;
        assert_eq!(answer.status, StatusCode::PARTIAL_CONTENT, "{answer:?}");
        assert!(answer.is_whole());
        let warning = answer.field("warning");
        assert!(warning.contains("1 instance cannot be read"), "{warning}");
        assert_eq!(answer.field("cache-control"), "private, no-store");
    }
    let json = case.of_series("/metadata", JSON).await.json();
    assert_eq!(json.as_array().map(Vec::len), Some(2));
    assert_eq!(json[0]["00080056"]["Value"][0], "UNAVAILABLE");
    let xml = case.of_series("/metadata", XML).await;
    let parts = xml.parts();
    assert_eq!(parts.len(), 2);
    let text = String::from_utf8_lossy(&parts[0].bytes);
    assert!(text.contains("UNAVAILABLE"), "{text}");
}

#[tokio::test]
async fn bulk_data_of_the_others_are_given() {
    let short = || native(1, 8, &[1; 4]);
    let later = Case::of(&[
        (EXPLICIT, good(1)),
        (EXPLICIT, broken()),
        (EXPLICIT, good(3)),
    ])
    .await;
    let answer = later.of_series("/bulkdata", OCTETS).await;
    later.has_stand_ins(&answer, &[false, true, false], "/bulkdata");
    let first = Case::of(&[
        (EXPLICIT, broken()),
        (EXPLICIT, good(1)),
        (EXPLICIT, good(3)),
    ])
    .await;
    let answer = first.of_series("/bulkdata", OCTETS).await;
    first.lacks_the_first(&answer, 2, "/bulkdata");
    // Frames of compressed pixel data are parts of their own.
    let mut junk = rle(7);
    junk.truncate(10);
    let damaged = encapsulated(2, &[], &[&junk, &rle(8)]);
    let whole = || encapsulated(2, &[], &[&rle(1), &rle(2)]);
    let later = Case::of(&[(RLE, whole()), (RLE, damaged.clone()), (EXPLICIT, good(3))]).await;
    for rest in ["/bulkdata", "/pixeldata"] {
        let answer = later.of_series(rest, OCTETS).await;
        later.has_stand_ins(&answer, &[false, false, true, false, false], rest);
    }
    let first = Case::of(&[(RLE, damaged), (RLE, whole()), (EXPLICIT, short())]).await;
    for rest in ["/bulkdata", "/pixeldata"] {
        first.lacks_the_first(&first.of_series(rest, OCTETS).await, 3, rest);
    }
}

#[tokio::test]
async fn pictures_of_the_others_are_given() {
    let damaged = || encapsulated(1, &[], &[&[1, 2, 3, 4]]);
    // A short response is made before its head leaves.
    let later = Case::of(&[
        (EXPLICIT, good(1)),
        (JPEG_LOSSLESS, damaged()),
        (EXPLICIT, good(3)),
    ])
    .await;
    let answer = later.of_series("/rendered", PNG).await;
    later.lacks(1, &answer, 2, "/rendered");
    let mut many = vec![(EXPLICIT, good(1)); 12];
    many[1] = (JPEG_LOSSLESS, damaged());
    many[11] = (JPEG_LOSSLESS, damaged());
    let long = Case::of(&many).await;
    let answer = long.of_series("/rendered", PNG).await;
    assert_eq!(answer.status, StatusCode::PARTIAL_CONTENT, "{answer:?}");
    let parts = answer.parts();
    let stand_ins = parts
        .iter()
        .filter(|part| part.head.content_type() == Some(PROBLEM));
    assert_eq!((parts.len(), stand_ins.count()), (11, 1), "the last one");
    // The one from the middle does not stand for its series, another one does.
    let answer = later.of_series("/thumbnail", PNG).await;
    assert_eq!(answer.status, StatusCode::OK, "{answer:?}");
    let first = Case::of(&[(JPEG_LOSSLESS, damaged()), (EXPLICIT, good(1))]).await;
    first.lacks_the_first(&first.of_series("/rendered", PNG).await, 1, "/rendered");
    let none = Case::of(&[(JPEG_LOSSLESS, damaged()), (JPEG_LOSSLESS, damaged())]).await;
    for rest in ["/rendered", "/thumbnail"] {
        let answer = none.of_series(rest, PNG).await;
        assert_eq!(answer.status, StatusCode::UNPROCESSABLE_ENTITY, "{rest}");
    }
}

#[tokio::test]
async fn a_frame_that_cannot_be_decoded_leaves_the_other_frames() {
    let mut junk = rle(7);
    junk.truncate(10);
    let frames = [&rle(1)[..], &junk, &rle(3)];
    let case = Case::of(&[(EXPLICIT, good(1)), (RLE, encapsulated(3, &[], &frames))]).await;
    let answer = case.get(1, "frames/1,2,3", &[OCTETS]).await;
    case.has_stand_ins(&answer, &[false, true, false], "frames");
    let answer = case.get(1, "frames/1,2,3/rendered", &[PNG]).await;
    case.has_stand_ins(&answer, &[false, true, false], "rendered");
    // The first one has a status.
    let answer = case.get(1, "frames/2,3", &[OCTETS]).await;
    assert_eq!(answer.status, StatusCode::UNPROCESSABLE_ENTITY);
}

/// A gateway in front of a server that converts nothing.
async fn without_conversion(study: &Study) -> (Rig, Origin, String) {
    let held = study.instances();
    let origin = Origin::start(move |asked| {
        if asked.field("accept") == DECODED.1 {
            Reply::status(406)
        } else {
            honest(&held, asked)
        }
    })
    .await;
    let rig = Rig::start(&origin.location(10));
    let root = rig.register(study.fhir()).await.root;
    (rig, origin, root)
}

async fn unconvertible(instances: &[(&str, Vec<u8>)]) -> Case {
    let study = study(instances);
    let (rig, origin, root) = without_conversion(&study).await;
    Case {
        rig,
        origin,
        study,
        root,
    }
}

#[tokio::test]
async fn decoded_instances_of_a_series_are_given_without_the_one_that_is_not() {
    let damaged = || encapsulated(1, &[], &[&[1, 2, 3, 4]]);
    for syntax in [JPEG_LOSSLESS, JPEG_XL] {
        let case = unconvertible(&[
            (EXPLICIT, good(1)),
            (syntax, damaged()),
            (RLE, encapsulated(1, &[], &[&rle(3)])),
        ])
        .await;
        let first = case.of_series("", DECODED).await;
        assert_eq!(first.status, StatusCode::OK, "{first:?}");
        let parts = first.parts();
        let mut kinds: Vec<_> = parts.iter().filter_map(|p| p.head.content_type()).collect();
        kinds.sort_unstable();
        let explicit = "application/dicom; transfer-syntax=1.2.840.10008.1.2.1";
        assert_eq!(kinds, [explicit, explicit, PROBLEM], "{syntax}");
        let mut stand_ins = parts.iter();
        let stand_in = stand_ins.find(|part| part.head.content_type() == Some(PROBLEM));
        let stand_in = stand_in.expect("a stand-in");
        let place = stand_in.head.content_location().expect("a place");
        assert!(
            place.ends_with(&case.study.instances()[1].path()),
            "{place}"
        );
        // Now it is known before the first byte.
        let second = case.of_series("", DECODED).await;
        assert_eq!(second.status, StatusCode::PARTIAL_CONTENT, "{second:?}");
        assert_eq!(second.parts().len(), 2);
        assert!(!second.field("warning").is_empty());
        // As stored, nothing is missing.
        let stored = case.of_series("", crate::rig::AS_STORED).await;
        assert_eq!((stored.status, stored.parts().len()), (StatusCode::OK, 3));
    }
    let case = unconvertible(&[(JPEG_LOSSLESS, damaged()), (EXPLICIT, good(1))]).await;
    case.lacks_the_first(&case.of_series("", DECODED).await, 1, "decoded");
}

#[tokio::test]
async fn a_fault_inside_a_part_breaks_off_and_is_known_the_next_time() {
    let mut junk = rle(7);
    junk.truncate(10);
    let case = unconvertible(&[
        (EXPLICIT, good(1)),
        (RLE, encapsulated(2, &[], &[&rle(2), &junk])),
        (EXPLICIT, good(3)),
    ])
    .await;
    let first = case.of_series("", DECODED).await;
    assert_eq!(first.status, StatusCode::OK, "{first:?}");
    assert!(!first.is_whole(), "its second frame was not decoded before");
    let second = case.of_series("", DECODED).await;
    assert_eq!(second.status, StatusCode::PARTIAL_CONTENT, "{second:?}");
    assert_eq!(second.parts().len(), 2);
    let stored = case.of_series("", crate::rig::AS_STORED).await;
    assert_eq!((stored.status, stored.parts().len()), (StatusCode::OK, 3));
}

#[tokio::test]
async fn a_jpeg_that_was_cut_and_closed_again_is_no_picture() {
    const JPEG: &str = "1.2.840.10008.1.2.4.50";
    let mut whole = Vec::new();
    let encoder = jpeg_encoder::Encoder::new(&mut whole, 95);
    let pixels = [0, 200, 30, 170, 60, 140, 90, 255];
    let encoded = encoder.encode(&pixels, 4, 2, jpeg_encoder::ColorType::Luma);
    encoded.expect("a JPEG");
    let scan = memchr::memmem::find(&whole, &[0xFF, 0xDA]).expect("a scan") + 10;
    let end = whole.len() - 2;
    let cuts = [scan + 1, (scan + end) / 2, end - 2];
    let mut instances = vec![(JPEG, encapsulated(1, &[], &[&even(&whole)]))];
    for cut in cuts {
        let closed = even(&[&whole[..cut], &[0xFF, 0xD9]].concat());
        instances.push((JPEG, encapsulated(1, &[], &[&closed])));
    }
    let case = unconvertible(&instances).await;
    for (at, _) in instances.iter().enumerate() {
        let expected = if at == 0 {
            StatusCode::OK
        } else {
            StatusCode::UNPROCESSABLE_ENTITY
        };
        for (rest, field) in [("rendered", PNG), ("frames/1", OCTETS)] {
            let answer = case.get(at, rest, &[field]).await;
            assert_eq!(answer.status, expected, "{at} {rest}: {answer:?}");
        }
        let stored = case.get(at, "frames/1", &[ANY_FRAME]).await;
        assert_eq!(stored.status, StatusCode::OK, "as it is stored");
    }
}

/// A fragment has an even length.
fn even(bytes: &[u8]) -> Vec<u8> {
    let mut bytes = bytes.to_vec();
    bytes.resize(bytes.len().next_multiple_of(2), 0);
    bytes
}

#[tokio::test]
async fn instances_in_other_transfer_syntaxes_do_not_close_the_series_either() {
    let study = study(&[
        (JPEG_XL, encapsulated(1, &[], &[&[1, 2, 3, 4]])),
        (EXPLICIT, good(2)),
        (JPEG_XL, encapsulated(1, &[], &[&[5, 6, 7, 8]])),
    ]);
    let (rig, _origin, root) = without_conversion(&study).await;
    let accept =
        format!("multipart/related; type=\"application/dicom\"; transfer-syntax={JPEG_XL}");
    let series = format!("{root}{}", study.series_path(0));
    let answer = rig.get(&series, &[("accept", &accept)]).await;
    assert_eq!(answer.status, StatusCode::OK, "{answer:?}");
    let parts = answer.parts();
    let stand_ins = parts
        .iter()
        .filter(|part| part.head.content_type() == Some(PROBLEM));
    assert_eq!((parts.len(), stand_ins.count()), (3, 1));
}

#[tokio::test]
async fn an_implicit_instance_with_an_unreadable_sequence_leaves_with_its_bytes() {
    let mut study = Study::new(1).with_series(at(10), vec![(IMPLICIT, 900); 3]);
    let value = b"no item at all..";
    let element = [&[0x40, 0, 0x75, 2, value.len() as u8, 0, 0, 0][..], value].concat();
    let bad: &mut Instance = &mut study.series[0].instances[1];
    let pixels = memchr::memmem::find(&bad.bytes, &[0xE0, 0x7F, 0x10, 0]).expect("pixel data");
    bad.bytes = [&bad.bytes[..pixels], &element, &bad.bytes[pixels..]]
        .concat()
        .into();
    let origin = Origin::of(&study).await;
    let rig = Rig::start(&origin.location(10));
    let root = rig.register(study.fhir()).await.root;
    let path = format!("{root}{}", study.series_path(0));
    let answer = rig.get(&path, &[crate::rig::AS_STORED]).await;
    assert_eq!(answer.status, StatusCode::OK);
    let parts = answer.parts();
    assert_eq!(parts.len(), 3);
    let unknown = [
        &[0x40, 0, 0x75, 2, b'U', b'N', 0, 0, 16, 0, 0, 0][..],
        value,
    ]
    .concat();
    let with = parts
        .iter()
        .filter(|part| memchr::memmem::find(&part.bytes, &unknown).is_some());
    assert_eq!(with.count(), 1);
}
