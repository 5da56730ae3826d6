//! Frames and bulk data made of instances.

use http::StatusCode;

use crate::derived::case::{ANY_FRAME, Case, OCTETS};
use crate::rig::pixels::{encapsulated, image, native};
use crate::rig::study::{EXPLICIT, JPEG_LOSSLESS, long, text};

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
        // The gateway ignores an offset table that contradicts the fragments.
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
    // The failures do not affect a good request.
    assert_eq!(case.frames(0, "2").await, [&[1; 8][..]]);
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
    // Frames that cannot be decoded have stand-ins, since a part was already sent.
    let decoded = case
        .rig
        .get(&format!("{series}/pixeldata"), &[OCTETS])
        .await;
    let kinds: Vec<_> = decoded
        .parts()
        .iter()
        .map(|part| part.head.content_type() == Some("application/problem+json"))
        .collect();
    assert_eq!(kinds, [false, true, true], "{decoded:?}");
}
