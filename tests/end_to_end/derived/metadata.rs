//! Metadata, frames and bulk data that the gateway makes of instances, over sources that give nothing
//! but instances.

use std::time::Duration;

use bytes::Bytes;
use http::StatusCode;
use serde_json::{Value, json};
use tokio::time::timeout;

use crate::rig::origin::{Gate, Origin, honest};
use crate::rig::study::{
    CT, EXPLICIT, IMPLICIT, Instance, JPEG_LOSSLESS, Study, at, long, part10, sequence, text,
};
use crate::rig::{AS_STORED, Answer, Rig};

const ANY_FRAME: (&str, &str) = (
    "accept",
    "multipart/related; type=application/octet-stream; transfer-syntax=*",
);

/// A study of one series with these instances: transfer syntax, and what follows the UIDs.
pub(crate) fn study(instances: &[(&str, Vec<u8>)]) -> Study {
    let mut study = Study::new(1).with(0, at(10));
    let (study_uid, series_uid) = (study.uid.clone(), study.series[0].uid.clone());
    for (number, (syntax, rest)) in instances.iter().enumerate() {
        let uid = format!("{series_uid}.{}", number + 1);
        let set = [
            text(0x0008_0005, b"CS", "ISO_IR 100"),
            text(0x0008_0016, b"UI", CT),
            text(0x0008_0018, b"UI", &uid),
            long_text(0x0010_0010, b"PN", b"M\xFCller^Eva "),
            text(0x0020_000D, b"UI", &study_uid),
            text(0x0020_000E, b"UI", &series_uid),
            rest.clone(),
        ];
        study.series[0].instances.push(Instance {
            study: study_uid.clone(),
            series: series_uid.clone(),
            transfer_syntax: (*syntax).to_owned(),
            bytes: part10(CT, &uid, syntax, &set.concat()).into(),
            uid,
        });
    }
    study
}

fn long_text(tag: u32, vr: &[u8; 2], value: &[u8]) -> Vec<u8> {
    let mut bytes = text(tag, vr, "");
    let length = bytes.len();
    bytes[length - 2..].copy_from_slice(&(value.len() as u16).to_le_bytes());
    bytes.extend(value);
    bytes
}

pub(crate) fn number(tag: u32, value: u16) -> Vec<u8> {
    long_text(tag, b"US", &value.to_le_bytes())
}

/// The attributes of an image of 4 by 2 pixels.
pub(crate) fn image(frames: usize, bits: u16) -> Vec<u8> {
    [
        number(0x0028_0002, 1),
        text(0x0028_0004, b"CS", "MONOCHROME2"),
        text(0x0028_0008, b"IS", &frames.to_string()),
        number(0x0028_0010, 2),
        number(0x0028_0011, 4),
        number(0x0028_0100, bits),
        number(0x0028_0101, bits),
        number(0x0028_0103, 0),
    ]
    .concat()
}

pub(crate) fn native(frames: usize, bits: u16, pixels: &[u8]) -> Vec<u8> {
    [image(frames, bits), long(0x7FE0_0010, b"OW", pixels)].concat()
}

/// Encapsulated pixel data: an offset table, and fragments.
pub(crate) fn encapsulated(frames: usize, table: &[u32], fragments: &[&[u8]]) -> Vec<u8> {
    let mut bytes = image(frames, 8);
    bytes.extend([
        0xE0, 0x7F, 0x10, 0, b'O', b'B', 0, 0, 0xFF, 0xFF, 0xFF, 0xFF,
    ]);
    let table: Vec<u8> = table
        .iter()
        .flat_map(|offset| offset.to_le_bytes())
        .collect();
    for item in std::iter::once(&table[..]).chain(fragments.iter().copied()) {
        bytes.extend([0xFE, 0xFF, 0, 0xE0]);
        bytes.extend((item.len() as u32).to_le_bytes());
        bytes.extend(item);
    }
    bytes.extend([0xFE, 0xFF, 0xDD, 0xE0, 0, 0, 0, 0]);
    bytes
}

struct Case {
    rig: Rig,
    origin: Origin,
    study: Study,
    root: String,
}

impl Case {
    async fn of(instances: &[(&str, Vec<u8>)]) -> Self {
        let study = study(instances);
        let origin = Origin::of(&study).await;
        let rig = Rig::start(&origin.location(10));
        let root = rig.register(study.fhir()).await.root;
        Self {
            rig,
            origin,
            study,
            root,
        }
    }

    async fn get(&self, instance: usize, rest: &str, fields: &[(&str, &str)]) -> Answer {
        let path = self.study.instances()[instance].path();
        self.rig
            .get(&format!("{}{path}/{rest}", self.root), fields)
            .await
    }

    /// What cannot be given is refused with this status, in a sentence.
    async fn is_refused(&self, instance: usize, rest: &str, status: u16) {
        let answer = self.get(instance, rest, &[]).await;
        assert_eq!(
            answer.status.as_u16(),
            status,
            "{instance} {rest}: {answer:?}"
        );
        assert!(!answer.problem().is_empty(), "{rest}");
    }

    /// The frames of an answer.
    async fn frames(&self, instance: usize, list: &str) -> Vec<Bytes> {
        let answer = self
            .get(instance, &format!("frames/{list}"), &[ANY_FRAME])
            .await;
        assert_eq!(answer.status, StatusCode::OK, "{list}: {answer:?}");
        let parts = answer.parts();
        parts.into_iter().map(|part| part.bytes).collect()
    }
}

#[tokio::test]
async fn metadata_have_every_element_and_links_that_resolve() {
    let large = vec![7; 5000];
    let nested = long(0x5400_1010, b"OW", &large);
    let rest = [
        number(0x0028_0010, 2),
        text(0x0029_0010, b"LO", "PRIVATE"),
        long(0x0029_1001, b"UN", &[1, 2]),
        sequence(0x5400_0100, [nested]),
        long(0x7FE0_0010, b"OW", &[1; 16]),
    ];
    let case = Case::of(&[(EXPLICIT, rest.concat())]).await;
    let answer = case.get(0, "metadata", &[]).await;
    assert_eq!(answer.status, StatusCode::OK, "{answer:?}");
    let all = answer.json();
    let one = &all[0];
    assert_eq!(one["00080005"]["Value"], json!(["ISO_IR 192"]));
    assert_eq!(
        one["00100010"]["Value"],
        json!([{"Alphabetic": "Müller^Eva"}])
    );
    assert_eq!(one["00291001"]["InlineBinary"], "AQI=");
    assert!(one.get("00020010").is_none(), "group 2");
    for (link, expected) in [
        (&one["7FE00010"]["BulkDataURI"], &vec![1; 16]),
        (
            &one["54000100"]["Value"][0]["54001010"]["BulkDataURI"],
            &large,
        ),
    ] {
        let link = link.as_str().expect("a link");
        let prefix = format!("http://{}{}", case.rig.public, case.root);
        assert!(link.starts_with(&prefix), "{link}");
        let path = &link[link.find("/manifests").expect("a path")..];
        let bulk = case.rig.get(path, &[]).await;
        assert_eq!(&bulk.body[..], &expected[..], "{link}");
        let range = case.rig.get(path, &[("range", "bytes=2-4")]).await;
        assert_eq!(range.status, StatusCode::PARTIAL_CONTENT);
        assert_eq!(&range.body[..], &expected[2..5]);
    }
}

#[tokio::test]
async fn the_second_answer_costs_no_source_anything() {
    let case = Case::of(&vec![(EXPLICIT, native(1, 8, &[1; 8])); 5]).await;
    let series = format!("{}{}/metadata", case.root, case.study.series_path(0));
    let first = case.rig.get(&series, &[]).await;
    assert_eq!(first.json().as_array().map(Vec::len), Some(5));
    let asked = case.origin.asked().len();
    let second = case.rig.get(&series, &[]).await;
    assert_eq!(second.json().as_array().map(Vec::len), Some(5));
    assert_eq!(case.frames(0, "1").await, [&[1; 8][..]]);
    assert_eq!(case.origin.asked().len(), asked);
}

#[tokio::test]
async fn some_attributes_alone_and_xml_are_given_where_asked_for() {
    let case = Case::of(&[(EXPLICIT, native(1, 8, &[1; 8]))]).await;
    let some = case
        .get(0, "metadata?includefields=PatientName", &[])
        .await
        .json();
    let tags: Vec<&String> = some[0].as_object().expect("one").keys().collect();
    assert_eq!(
        tags,
        [
            "00080005", "00080016", "00080018", "00100010", "0020000D", "0020000E"
        ]
    );
    let xml = (
        "accept",
        r#"multipart/related; type="application/dicom+xml""#,
    );
    let answer = case.get(0, "metadata", &[xml]).await;
    let text = String::from_utf8_lossy(&answer.parts()[0].bytes).into_owned();
    assert!(text.contains("<FamilyName>Müller</FamilyName>"), "{text}");
    assert!(text.contains("<BulkData uri=\"http"), "{text}");
}

/// The first instance is described before the source has sent the second.
#[tokio::test]
async fn metadata_are_written_while_the_series_arrives() {
    let study = study(&vec![(EXPLICIT, native(1, 8, &[1; 8])); 2]);
    let gate = Gate::new();
    let (held, opened) = (study.instances(), gate.clone());
    let origin = Origin::start(move |asked| {
        let reply = honest(&held, asked);
        let whole = reply.whole_body();
        // After the head of the second part.
        let second = memchr::memmem::rfind(&whole, b"DICM").expect("two parts") - 128;
        reply.held_at(second, &opened)
    })
    .await;
    let rig = Rig::start(&origin.location(10));
    let root = rig.register(study.fhir()).await.root;
    let path = format!("{root}{}/metadata", study.series_path(0));
    let mut stream = rig.open(&path, &[]).await;
    let first = timeout(Duration::from_secs(10), stream.read_at_least(100)).await;
    let first = String::from_utf8_lossy(first.expect("it comes")).into_owned();
    assert!(
        first.starts_with("[{") && first.contains(&study.instances()[0].uid),
        "{first}"
    );
    gate.open();
    let rest = stream.read().await;
    let all: Value = serde_json::from_slice(&rest.body).expect("JSON");
    assert_eq!(all.as_array().map(Vec::len), Some(2));
}

#[tokio::test]
async fn frames_come_as_they_are_stored() {
    let soi = |byte: u8| [0xFF, 0xD8, 0xFF, byte];
    let (a, b, c) = (soi(1), soi(2), [9, 9]);
    let case = Case::of(&[
        (EXPLICIT, native(2, 16, &(0..32).collect::<Vec<u8>>())),
        // Three frames of eight bits that are single: not on the edges of bytes in general.
        (EXPLICIT, native(3, 1, &[0b1010_0101, 0xFF, 0x0F, 0])),
        // One fragment a frame, without a table.
        (JPEG_LOSSLESS, encapsulated(2, &[], &[&a, &b])),
        // Two fragments of the first frame, with and without a table.
        (JPEG_LOSSLESS, encapsulated(2, &[0, 22], &[&a, &c, &b])),
        (JPEG_LOSSLESS, encapsulated(2, &[], &[&a, &c, &b])),
        // A table that cannot be true is not believed.
        (JPEG_LOSSLESS, encapsulated(2, &[0, 3], &[&a, &b])),
        (JPEG_LOSSLESS, encapsulated(1, &[], &[&a, &c])),
    ])
    .await;
    let long: Vec<u8> = (0..32).collect();
    let joined = [&a[..], &c[..]].concat();
    for (instance, list, expected) in [
        (0, "1", vec![&long[..16]]),
        (0, "2,1", vec![&long[16..], &long[..16]]),
        (1, "1,2,3", vec![&[0b1010_0101], &[0xFF], &[0x0F]]),
        (2, "1,2", vec![&a, &b]),
        (3, "1,2", vec![&joined[..], &b]),
        (4, "2,1", vec![&b, &joined[..]]),
        (5, "1,2", vec![&a, &b]),
        (6, "1", vec![&joined[..]]),
    ] {
        assert_eq!(
            case.frames(instance, list).await,
            expected,
            "{instance}: {list}"
        );
    }
    let answer = case.get(2, "frames/1", &[ANY_FRAME]).await;
    let part = &answer.parts()[0];
    assert_eq!(
        part.head.content_type(),
        Some("application/octet-stream; transfer-syntax=1.2.840.10008.1.2.4.70")
    );
    assert!(
        part.head
            .content_location()
            .is_some_and(|at| at.ends_with("/frames/1"))
    );
    let alone = case
        .get(0, "frames/1", &[("accept", "application/octet-stream")])
        .await;
    assert_eq!(&alone.body[..], &long[..16]);
    assert_eq!(alone.field("content-length"), "16");
    let jpeg = ("accept", "multipart/related; type=\"image/jpeg\"");
    let own = case.get(2, "frames/1", &[jpeg]).await;
    assert!(own.field("content-type").contains("image/jpeg"), "{own:?}");
}

#[tokio::test]
async fn what_is_not_there_is_said_in_a_sentence() {
    let broken = {
        let mut bytes = image(3, 8);
        bytes.extend(long(0x7FE0_0010, b"OB", &[1; 8]));
        bytes
    };
    let huge = {
        let mut bytes = native(1, 8, &[0; 8]);
        // Rows and columns that would be four gigapixels.
        let at = bytes.len() - 8 - 12 - 10 * 3 - 20;
        bytes[at + 8..at + 10].copy_from_slice(&[0xFF, 0xFF]);
        bytes
    };
    let mut cut = encapsulated(2, &[], &[&[1; 4], &[2; 4]]);
    cut.truncate(cut.len() - 14);
    let case = Case::of(&[
        (EXPLICIT, native(2, 8, &[1; 16])),
        (EXPLICIT, text(0x0040_A040, b"CS", "TEXT")),
        (EXPLICIT, broken),
        (EXPLICIT, huge),
        (JPEG_LOSSLESS, cut),
    ])
    .await;
    for (instance, rest, status) in [
        (0, "frames/0", 400),
        (0, "frames/1,1", 400),
        (0, "frames/junk", 400),
        (0, "frames/1,", 400),
        (0, "frames/3", 404),
        (0, "frames/1,2,99", 404),
        (0, "bulkdata/00090001", 404),
        (0, "bulkdata/00280010/1", 404),
        (0, "bulkdata/junk", 404),
        (1, "frames/1", 404),
        (1, "pixeldata", 404),
        (2, "frames/1", 422),
        (3, "frames/1", 422),
    ] {
        case.is_refused(instance, rest, status).await;
    }
    let cut = case.get(4, "frames/2", &[ANY_FRAME]).await;
    assert!(!cut.is_whole() || cut.status != StatusCode::OK, "{cut:?}");
    for accept in [
        "image/png",
        "*/*;q=0",
        "multipart/related; type=\"image/jls\"",
    ] {
        let answer = case.get(0, "frames/1", &[("accept", accept)]).await;
        assert_eq!(answer.status, StatusCode::NOT_ACCEPTABLE, "{accept}");
    }
    // Nothing of it stands in anybody's way.
    assert_eq!(case.frames(0, "2").await, [&[1; 8][..]]);
}

#[tokio::test]
async fn another_manifest_has_nothing_to_do_with_it() {
    let case = Case::of(&[(EXPLICIT, native(1, 8, &[1; 8]))]).await;
    let other = Study::new(2).with(1, at(10));
    let root = case.rig.register(other.fhir()).await.root;
    let path = case.study.instances()[0].path();
    for rest in ["metadata", "frames/1", "bulkdata/7FE00010"] {
        let answer = case.rig.get(&format!("{root}{path}/{rest}"), &[]).await;
        assert_eq!(answer.status, StatusCode::NOT_FOUND, "{rest}");
    }
}

#[tokio::test]
async fn the_values_of_a_series_come_each_in_a_part() {
    let pixels = |from: u8| native(2, 8, &(from..from + 16).collect::<Vec<u8>>());
    let case = Case::of(&[(EXPLICIT, pixels(0)), (EXPLICIT, pixels(100))]).await;
    let series = format!("{}{}", case.root, case.study.series_path(0));
    let study = &series[..series.find("/series/").expect("a study")];
    for rest in ["pixeldata", "bulkdata"] {
        for below in [study, &series] {
            let all = case.rig.get(&format!("{below}/{rest}"), &[]).await;
            assert_eq!(all.status, StatusCode::OK, "{rest}: {all:?}");
            let parts = all.parts();
            assert_eq!(parts.len(), 2, "{rest}");
            for (part, from) in parts.iter().zip([0, 100]) {
                let wanted: Vec<u8> = (from..from + 16).collect();
                assert_eq!(part.bytes, wanted, "{rest}");
            }
        }
        // Of one instance too, and then only its own.
        let one = case.get(0, rest, &[OCTETS]).await;
        assert_eq!(one.parts().len(), 1, "{rest}");
        let refused = case
            .rig
            .get(&format!("{series}/{rest}"), &[("accept", "image/jpeg")])
            .await;
        assert_eq!(refused.status, StatusCode::NOT_ACCEPTABLE, "{rest}");
    }
}

#[tokio::test]
async fn compressed_values_of_a_series_come_frame_by_frame() {
    const RLE: &str = "1.2.840.10008.1.2.5";
    let pixels = encapsulated(2, &[], &[b"AAAA", b"BBBB"]);
    let case = Case::of(&[(EXPLICIT, native(1, 8, &[7; 8])), (RLE, pixels)]).await;
    let series = format!("{}{}", case.root, case.study.series_path(0));
    let any = (
        "accept",
        "multipart/related; type=\"application/octet-stream\"; transfer-syntax=*",
    );
    let all = case.rig.get(&format!("{series}/pixeldata"), &[any]).await;
    assert_eq!(all.status, StatusCode::OK, "{all:?}");
    let parts = all.parts();
    let bytes: Vec<_> = parts.iter().map(|part| &part.bytes[..]).collect();
    assert_eq!(bytes, [&[7; 8][..], b"AAAA", b"BBBB"]);
    let locations = parts.iter().filter_map(|part| part.head.content_location());
    let of_frames = locations.filter(|location| location.contains("/frames/"));
    assert_eq!(of_frames.count(), 2);
    // What cannot be decoded ends the answer without its end: it must not look complete.
    let broken = case
        .rig
        .get(&format!("{series}/pixeldata"), &[OCTETS])
        .await;
    assert!(!broken.is_whole(), "{broken:?}");
}

const OCTETS: (&str, &str) = (
    "accept",
    "multipart/related; type=\"application/octet-stream\"",
);

/// Width and height of a PNG.
fn png_size(png: &[u8]) -> (u32, u32) {
    assert_eq!(&png[..8], b"\x89PNG\r\n\x1a\n");
    let number = |at: usize| u32::from_be_bytes(png[at..at + 4].try_into().expect("four bytes"));
    (number(16), number(20))
}

const PNG: (&str, &str) = ("accept", "image/png");

#[tokio::test]
async fn pictures_and_thumbnails_are_made_of_frames() {
    let grey = |from: u8| native(2, 8, &(from..from + 16).collect::<Vec<u8>>());
    let case = Case::of(&[(EXPLICIT, grey(0)), (EXPLICIT, grey(100))]).await;
    let picture = case.get(0, "rendered", &[]).await;
    assert_eq!(picture.field("content-type"), "image/jpeg");
    assert_eq!(&picture.body[..3], &[0xFF, 0xD8, 0xFF]);
    assert_eq!(
        picture.field("content-length"),
        picture.body.len().to_string()
    );
    for (rest, size) in [
        ("rendered", (4, 2)),
        ("rendered?viewport=8,8", (8, 4)),
        ("rendered?viewport=8,8,0,0,2,2", (8, 8)),
        ("rendered?window=40,400,linear", (4, 2)),
        ("frames/2/rendered", (4, 2)),
        ("frames/1/thumbnail?viewport=2,2", (2, 1)),
        // Never larger than the frame.
        ("thumbnail", (4, 2)),
    ] {
        let picture = case.get(0, rest, &[PNG]).await;
        assert_eq!(picture.status, StatusCode::OK, "{rest}: {picture:?}");
        assert_eq!(png_size(&picture.body), size, "{rest}");
    }
    // What it says of the patient is written into it where that is wanted, and nowhere else.
    let plain = case.get(0, "rendered?viewport=256,128", &[PNG]).await;
    let rest = "rendered?viewport=256,128&annotation=patient,technique";
    let lettered = case.get(0, rest, &[PNG]).await;
    assert_eq!(lettered.status, StatusCode::OK, "{lettered:?}");
    assert_eq!(png_size(&lettered.body), (256, 128));
    assert_ne!(lettered.body, plain.body);
    let thumbnail = case.get(0, "thumbnail", &[PNG]).await;
    let asked = case.get(0, "thumbnail?annotation=patient", &[PNG]).await;
    assert_eq!(asked.body, thumbnail.body);
    let several = case.get(0, "frames/2,1/rendered", &[PNG]).await;
    assert_eq!(several.parts().len(), 2);
    let gif = case.get(0, "rendered", &[("accept", "image/gif")]).await;
    let mut moving = gif::DecodeOptions::new()
        .read_info(&gif.body[..])
        .expect("a GIF");
    let mut seen = Vec::new();
    while let Some(frame) = moving.read_next_frame().expect("a frame") {
        seen.push((frame.width, frame.height, frame.delay));
    }
    assert_eq!(
        seen,
        [(4, 2, 10); 2],
        "both frames, a tenth of a second each"
    );
    let series = format!("{}{}", case.root, case.study.series_path(0));
    let all = case.rig.get(&format!("{series}/rendered"), &[PNG]).await;
    assert_eq!(all.parts().len(), 2);
    for level in [series, format!("{}{}", case.root, case.study.path())] {
        let one = case.rig.get(&format!("{level}/thumbnail"), &[]).await;
        assert_eq!(one.field("content-type"), "image/jpeg", "{level}");
    }
}

#[tokio::test]
async fn pictures_that_cannot_be_made_are_refused_and_stall_nobody() {
    // A JPEG that says that it is 65535 pixels wide and high.
    let liar = [
        0xFF, 0xD8, 0xFF, 0xC0, 0, 11, 8, 0xFF, 0xFF, 0xFF, 0xFF, 1, 1, 0x11, 0, 0xFF, 0xDA, 0, 8,
        1, 1, 0, 0, 63, 0, 0xFF, 0xD9,
    ];
    let mut huge = image(1, 16);
    for at in (0..huge.len() - 8).step_by(2) {
        if huge[at..at + 4] == [0x28, 0, 0x10, 0] || huge[at..at + 4] == [0x28, 0, 0x11, 0] {
            huge[at + 8..at + 10].copy_from_slice(&[0xFF, 0xFF]);
        }
    }
    huge.extend([
        0xE0, 0x7F, 0x10, 0, b'O', b'B', 0, 0, 0xFF, 0xFF, 0xFF, 0xFF,
    ]);
    huge.extend([
        0xFE, 0xFF, 0, 0xE0, 0, 0, 0, 0, 0xFE, 0xFF, 0, 0xE0, 4, 0, 0, 0, 1, 2, 3, 4,
    ]);
    huge.extend([0xFE, 0xFF, 0xDD, 0xE0, 0, 0, 0, 0]);
    const JPEG_2000: &str = "1.2.840.10008.1.2.4.90";
    const JPEG_LS: &str = "1.2.840.10008.1.2.4.80";
    const RLE: &str = "1.2.840.10008.1.2.5";
    const UNKNOWN: &str = "1.2.840.10008.1.2.4.999";
    let junk: Vec<u8> = (0..200).map(|n| (n * 7) as u8).collect();
    let case = Case::of(&[
        (EXPLICIT, native(1, 8, &[1; 8])),
        (EXPLICIT, text(0x0040_A040, b"CS", "TEXT")),
        (JPEG_LOSSLESS, encapsulated(1, &[], &[&liar])),
        (JPEG_LOSSLESS, huge),
        (JPEG_2000, encapsulated(1, &[], &[&junk])),
        (JPEG_LS, encapsulated(1, &[], &[&junk])),
        (RLE, encapsulated(1, &[], &[&junk])),
        (UNKNOWN, encapsulated(1, &[], &[&junk])),
    ])
    .await;
    for (instance, rest, status) in [
        (0, "rendered?viewport=0,0", 400),
        (0, "rendered?viewport=100000,100000", 400),
        (0, "rendered?window=40,0,linear", 400),
        (0, "rendered?quality=0", 400),
        (0, "rendered?annotation=everything", 400),
        (0, "frames/2/rendered", 404),
        (1, "rendered", 404),
        (1, "thumbnail", 404),
        (2, "rendered", 422),
        (3, "rendered", 422),
        (3, "frames/1", 422),
        (4, "rendered", 422),
        (5, "rendered", 422),
        (6, "rendered", 422),
        (6, "frames/1", 422),
        (7, "rendered", 406),
        (7, "frames/1", 406),
    ] {
        case.is_refused(instance, rest, status).await;
    }
    let answer = case.get(0, "rendered", &[("accept", "text/html")]).await;
    assert_eq!(answer.status, StatusCode::NOT_ACCEPTABLE);
    assert_eq!(case.get(0, "rendered", &[]).await.status, StatusCode::OK);
}

#[tokio::test]
async fn documents_and_videos_come_as_they_are() {
    const PDF: &str = "1.2.840.10008.5.1.4.1.1.104.1";
    const H264: &str = "1.2.840.10008.1.2.4.102";
    let document = long(0x0042_0011, b"OB", &b"%PDF-1.4 x".repeat(300));
    let pdf = [text(0x0042_0012, b"LO", "application/pdf"), document];
    let pdf = [pdf[1].clone(), pdf[0].clone()].concat();
    let mut study = study(&[
        (EXPLICIT, pdf),
        (H264, encapsulated(90, &[], &[b"0123", b"4567"])),
    ]);
    let first = &mut study.series[0].instances[0];
    let bytes = String::from_utf8_lossy(&first.bytes).len();
    assert!(bytes > 3000);
    let at = memchr::memmem::find(&first.bytes[200..], CT.as_bytes()).expect("a class") + 200;
    let mut changed = first.bytes.to_vec();
    let length = CT.len() + CT.len() % 2;
    changed.splice(
        at..at + length,
        PDF.bytes().chain(std::iter::repeat_n(0, PDF.len() % 2)),
    );
    changed[at - 2..at].copy_from_slice(&(PDF.len() as u16 + PDF.len() as u16 % 2).to_le_bytes());
    first.bytes = changed.into();
    let origin = Origin::of(&study).await;
    let rig = Rig::start(&origin.location(10));
    let root = rig.register(study.fhir()).await.root;
    let rendered =
        |instance: usize| format!("{root}{}/rendered", study.instances()[instance].path());
    // As a browser asks for a page.
    let page = ("accept", "text/html,application/xhtml+xml,*/*;q=0.8");
    let pdf = rig.get(&rendered(0), &[page]).await;
    assert_eq!(pdf.field("content-type"), "application/pdf", "{pdf:?}");
    assert_eq!((&pdf.body[..5], pdf.body.len()), (&b"%PDF-"[..], 3000));
    let part = rig.get(&rendered(0), &[("range", "bytes=1-3")]).await;
    assert_eq!(
        (part.status, &part.body[..]),
        (StatusCode::PARTIAL_CONTENT, &b"PDF"[..])
    );
    let video = rig.get(&rendered(1), &[]).await;
    assert_eq!(video.field("content-type"), "video/mp4");
    assert_eq!(&video.body[..], b"01234567");
    let picture = rig.get(&rendered(1), &[PNG]).await;
    assert_eq!(picture.status, StatusCode::NOT_ACCEPTABLE);
}

#[tokio::test]
async fn wado_uri_gives_one_part() {
    let case = Case::of(&[(EXPLICIT, native(2, 8, &(0..16).collect::<Vec<u8>>()))]).await;
    let instance = &case.study.instances()[0];
    let which = format!(
        "requestType=WADO&studyUID={}&seriesUID={}&objectUID={}",
        instance.study, instance.series, instance.uid
    );
    let manifest = case.root.trim_end_matches("dicomweb/");
    // As OHIF asks.
    let viewer = [ANY_FRAME];
    for base in [format!("{manifest}wado"), format!("{}wado", case.root)] {
        let path = format!("{base}?{which}&contentType=application%2Fdicom&transferSyntax=*");
        let answer = case.rig.get(&path, &viewer).await;
        assert_eq!(answer.status, StatusCode::OK, "{answer:?}");
        assert!(
            answer
                .field("content-type")
                .starts_with("application/dicom")
        );
        assert_eq!(answer.body, instance.bytes);
    }
    for (rest, size) in [
        ("&contentType=image/png", (4, 2)),
        (
            "&contentType=image/png&rows=8&columns=8&frameNumber=2",
            (8, 4),
        ),
        ("&contentType=image/png&region=0.5,0,1,1", (2, 2)),
        (
            "&contentType=image/png&windowCenter=8&windowWidth=16",
            (4, 2),
        ),
    ] {
        let answer = case
            .rig
            .get(&format!("{manifest}wado?{which}{rest}"), &[])
            .await;
        assert_eq!(answer.status, StatusCode::OK, "{rest}: {answer:?}");
        assert_eq!(png_size(&answer.body), size, "{rest}");
    }
    let answer = case.rig.get(&format!("{manifest}wado?{which}"), &[]).await;
    assert_eq!(answer.field("content-type"), "image/jpeg");
    let other = which.replace(&instance.uid, "1.2.3.4");
    for (query, status) in [
        ("requestType=WADO".to_owned(), 400),
        (format!("{which}&frameNumber=0"), 400),
        (format!("{which}&frameNumber=9"), 404),
        (format!("{which}&contentType=text/html"), 406),
        (other, 404),
    ] {
        let answer = case.rig.get(&format!("{manifest}wado?{query}"), &[]).await;
        assert_eq!(answer.status.as_u16(), status, "{query}: {answer:?}");
    }
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

/// What lacks a series never looks whole.
#[tokio::test]
async fn what_cannot_be_located_is_told_in_everything_that_is_made_of_a_study() {
    let mut study = study(&[(EXPLICIT, native(1, 8, &[1; 8]))]);
    let elsewhere = Study::new(1).with(1, at(10)).with(2, at(77));
    study.series.push(elsewhere.series[1].clone());
    let origin = Origin::of(&study).await;
    let rig = Rig::start(&origin.location(10));
    let manifest = rig.register(study.fhir()).await;
    let whole = format!("{}{}", manifest.root, study.path());
    for rest in ["metadata", "rendered"] {
        let answer = rig.get(&format!("{whole}/{rest}"), &[]).await;
        assert_eq!(
            answer.status,
            StatusCode::PARTIAL_CONTENT,
            "{rest}: {answer:?}"
        );
        assert!(
            answer.field("warning").contains("2 of 3"),
            "{rest}: {answer:?}"
        );
    }
    let series = format!("{}{}", manifest.root, study.series_path(1));
    for rest in ["metadata", "rendered", "thumbnail"] {
        let answer = rig.get(&format!("{series}/{rest}"), &[]).await;
        assert_eq!(answer.status, StatusCode::NOT_FOUND, "{rest}: {answer:?}");
    }
}
