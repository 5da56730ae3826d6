//! Small instances whose pixels other readers decode rightly.

use http::StatusCode;

use super::Instances;
use crate::rig::origin::Origin;
use crate::rig::pixels::{encapsulated, native, study};
use crate::rig::{Answer, Rig};

const DECODED: &str =
    "multipart/related; type=\"application/octet-stream\"; transfer-syntax=1.2.840.10008.1.2.1";
const STORED: &str = "multipart/related; type=application/octet-stream; transfer-syntax=*";
const EXPLICIT: &str = "application/dicom; transfer-syntax=1.2.840.10008.1.2.1";
const GREY: [u8; 6] = [0, 51, 102, 153, 204, 255];
/// Red, green and blue of the six pixels of the palettes.
const COLOURS: [u8; 18] = [
    0, 250, 7, 50, 200, 17, 100, 150, 27, 150, 100, 37, 200, 50, 47, 250, 0, 57,
];

impl Instances {
    /// The bytes of a frame.
    async fn frame(&self, number: u32, frame: u32, accept: &str) -> Vec<u8> {
        let answer = self.get(number, &format!("/frames/{frame}"), accept).await;
        assert_eq!(answer.status, StatusCode::OK, "{number}: {answer:?}");
        let parts = answer.parts();
        assert_eq!(parts.len(), 1, "{number}");
        parts[0].bytes.to_vec()
    }

    /// The bytes of the picture of an instance.
    async fn picture(&self, number: u32) -> Vec<u8> {
        let answer = self.get(number, "/rendered", "image/png").await;
        assert_eq!(answer.status, StatusCode::OK, "{number}: {answer:?}");
        levels(&answer)
    }
}

fn levels(picture: &Answer) -> Vec<u8> {
    let decoder = png::Decoder::new(std::io::Cursor::new(&picture.body));
    let mut reader = decoder.read_info().expect("a PNG");
    let size = reader.output_buffer_size().expect("a size");
    let mut bytes = vec![0; size];
    reader.next_frame(&mut bytes).expect("pixels");
    bytes
}

/// The samples of the lossless pictures: 24 columns and 32 rows of 12 bits.
fn samples(change: impl Fn(u16) -> u16) -> Vec<u8> {
    let places = (0..32u16).flat_map(|y| (0..24u16).map(move |x| (97 * x + 53 * y) % 4096));
    places
        .flat_map(|sample| change(sample).to_le_bytes())
        .collect()
}

/// The value of Pixel Data, the last element.
fn pixel_data(answer: &Answer, length: usize) -> &[u8] {
    assert_eq!(answer.status, StatusCode::OK, "{answer:?}");
    let head = [
        &[0xE0, 0x7F, 0x10, 0][..],
        b"OB\0\0",
        &(length as u32).to_le_bytes(),
    ]
    .concat();
    let at = memchr::memmem::find(&answer.body, &head).expect("pixel data");
    &answer.body[at + head.len()..]
}

#[tokio::test]
async fn lossless_jpeg_has_restart_intervals_and_point_transforms() {
    let Some(instances) = Instances::open().await else {
        return;
    };
    assert_eq!(
        instances.frame(4, 1, DECODED).await,
        samples(|sample| sample)
    );
    let halved = samples(|sample| sample & !1);
    assert_eq!(instances.frame(5, 1, DECODED).await, halved);
}

#[tokio::test]
async fn frames_are_found_where_offset_tables_and_fragments_mislead() {
    let Some(instances) = Instances::open().await else {
        return;
    };
    for frame in 1..=4 {
        let level = [40, 90, 140, 190][frame as usize - 1];
        let found = instances.frame(10, frame, DECODED).await;
        assert_eq!(found.len(), 64);
        assert_eq!(found[0], level, "{frame}");
        assert!(found.iter().all(|&sample| sample == level), "{frame}");
    }
    assert_eq!(instances.frame(11, 4, DECODED).await, [190; 64]);
    for number in [10, 11, 12] {
        let whole = instances.get(number, "", EXPLICIT).await;
        assert_eq!(pixel_data(&whole, 256).len(), 256, "{number}");
    }
}

#[tokio::test]
async fn a_number_of_frames_that_is_no_clean_integer_shortens_nothing() {
    let Some(instances) = Instances::open().await else {
        return;
    };
    let whole = instances.get(12, "", EXPLICIT).await;
    assert_eq!(pixel_data(&whole, 256).len(), 256);
    let four = b"\x28\0\x08\0IS\x02\x004 ";
    assert!(memchr::memmem::find(&whole.body, four).is_some());
    assert_eq!(instances.frame(12, 4, DECODED).await.len(), 64);
}

#[tokio::test]
async fn stored_bits_lie_where_high_bit_says() {
    let Some(instances) = Instances::open().await else {
        return;
    };
    assert_eq!(instances.picture(13).await, [0, 31, 62, 125, 187, 255]);
}

#[tokio::test]
async fn tables_begin_below_zero_and_palettes_come_in_segments() {
    let Some(instances) = Instances::open().await else {
        return;
    };
    assert_eq!(instances.picture(14).await, GREY);
    assert_eq!(instances.picture(15).await, COLOURS);
    assert_eq!(instances.picture(16).await, COLOURS);
}

#[tokio::test]
async fn what_others_are_lenient_about_is_shown_as_it_is_meant() {
    let Some(instances) = Instances::open_arguable().await else {
        return;
    };
    // No delimiter behind the last fragment.
    assert!(!instances.frame(21, 1, STORED).await.is_empty());
    let signed = samples(|sample| sample.wrapping_sub(2048));
    assert_eq!(instances.frame(22, 1, DECODED).await, signed);
    // YBR_FULL_422 with all samples.
    assert_eq!(instances.frame(23, 2, STORED).await.len(), 72);
    assert_eq!(instances.picture(24).await, GREY);
    assert_eq!(instances.picture(25).await, GREY);
    assert!(
        instances
            .picture(26)
            .await
            .iter()
            .all(|&level| level == 255)
    );
    let low: Vec<u8> = samples(|sample| sample)
        .iter()
        .step_by(2)
        .copied()
        .collect();
    assert_eq!(instances.frame(27, 1, DECODED).await, low);
    // One sample short.
    assert_eq!(instances.picture(28).await.last(), Some(&0));
}

/// An RLE frame of eight pixels of this level.
fn rle(level: u8) -> Vec<u8> {
    let mut bytes = vec![0; 66];
    (bytes[0], bytes[4]) = (1, 64);
    (bytes[64], bytes[65]) = (0xF9, level);
    bytes
}

/// An instance with this Number of Frames: a value representation and a value of even length.
fn numbered(mut instance: Vec<u8>, vr: &[u8; 2], value: &[u8]) -> Vec<u8> {
    let head = b"\x28\0\x08\0IS";
    let at = memchr::memmem::find(&instance, head).expect("Number of Frames");
    let length = u16::from_le_bytes([instance[at + 6], instance[at + 7]]);
    let element = [&head[..4], vr, &(value.len() as u16).to_le_bytes(), value].concat();
    instance.splice(at..at + 8 + usize::from(length), element);
    instance
}

fn unnumbered(instance: Vec<u8>) -> Vec<u8> {
    let mut instance = numbered(instance, b"IS", b"");
    let at = memchr::memmem::find(&instance, b"\x28\0\x08\0IS").expect("Number of Frames");
    instance.drain(at..at + 8);
    instance
}

#[tokio::test]
async fn frames_are_counted_where_their_number_is_none() {
    const RLE: &str = "1.2.840.10008.1.2.5";
    let frames = [10, 20, 30, 40].map(rle);
    let fragments: Vec<&[u8]> = frames.iter().map(Vec::as_slice).collect();
    let two = [&fragments[0][..64], &fragments[0][64..]];
    let offsets: Vec<u32> = (0..4).map(|number| number * 74).collect();
    let mut instances = Vec::new();
    for table in [&offsets[..], &[]] {
        let four = || encapsulated(4, table, &fragments);
        instances.extend([
            numbered(four(), b"IS", b"4.0 "),
            numbered(four(), b"IS", b"four"),
            numbered(four(), b"IS", b"4\\4 "),
            numbered(four(), b"IS", b""),
            numbered(four(), b"IS", b"0 "),
            numbered(four(), b"IS", b"-4"),
            numbered(four(), b"US", &[4, 0]),
            numbered(four(), b"IS", b" +4 "),
            unnumbered(four()),
        ]);
    }
    let count = instances.len();
    // Not told, and one: in two fragments, although RLE has one for each frame.
    instances.push(unnumbered(encapsulated(1, &[], &two)));
    let compressed = instances.into_iter().map(|bytes| (RLE, bytes));
    let levels: Vec<u8> = [10, 20, 30, 40]
        .iter()
        .flat_map(|&level| [level; 8])
        .collect();
    let plain = [
        numbered(native(4, 8, &levels), b"IS", b"four"),
        numbered(native(4, 8, &levels), b"US", &[4, 0]),
        numbered(native(4, 8, &levels), b"IS", b"4.0 "),
    ];
    let plain = plain
        .into_iter()
        .map(|bytes| ("1.2.840.10008.1.2.1", bytes));
    let study = study(&compressed.chain(plain).collect::<Vec<_>>());
    let origin = Origin::of(&study).await;
    let rig = Rig::start(&origin.location(10));
    let root = rig.register(study.fhir()).await.root;
    for (number, instance) in study.instances().into_iter().enumerate() {
        let url = format!("{root}{}", instance.path());
        let is_one = number == count;
        let (last, level) = if is_one { (1, 10) } else { (4, 40) };
        let frame = rig
            .get(&format!("{url}/frames/{last}"), &[("accept", DECODED)])
            .await;
        assert_eq!(frame.status, StatusCode::OK, "{number}: {frame:?}");
        assert_eq!(&frame.parts()[0].bytes[..], [level; 8], "{number}");
        let behind = rig
            .get(
                &format!("{url}/frames/{}", last + 1),
                &[("accept", DECODED)],
            )
            .await;
        assert_eq!(behind.status, StatusCode::NOT_FOUND, "{number}");
        let whole = rig.get(&url, &[("accept", EXPLICIT)]).await;
        assert_eq!(whole.status, StatusCode::OK, "{number}: {whole:?}");
        let expected = if is_one { &levels[..8] } else { &levels[..] };
        assert!(whole.body.ends_with(expected), "{number}: {whole:?}");
        if number < count {
            let four = b"\x28\0\x08\0IS\x02\x004 ";
            assert!(
                memchr::memmem::find(&whole.body, four).is_some(),
                "{number}"
            );
        }
    }
}

#[tokio::test]
async fn offset_tables_that_are_false_are_not_believed() {
    const RLE: &str = "1.2.840.10008.1.2.5";
    let frames = [10, 20, 30].map(rle);
    let fragments: Vec<&[u8]> = frames.iter().map(Vec::as_slice).collect();
    let with_empty = [&fragments[..], &[&[]]].concat();
    let tables: [&[u32]; 7] = [
        &[0, 74, 148],
        &[0, 66, 132],
        &[8, 82, 156],
        &[0, 75, 149],
        &[0, 0, 0],
        &[0, 74],
        &[0, 4000, 9000],
    ];
    let instances: Vec<_> = tables
        .iter()
        .flat_map(|table| [&fragments, &with_empty].map(|all| (RLE, encapsulated(3, table, all))))
        .collect();
    let study = study(&instances);
    let origin = Origin::of(&study).await;
    let rig = Rig::start(&origin.location(10));
    let root = rig.register(study.fhir()).await.root;
    for (number, instance) in study.instances().into_iter().enumerate() {
        let url = format!("{root}{}/frames/1,2,3", instance.path());
        let answer = rig.get(&url, &[("accept", DECODED)]).await;
        assert_eq!(answer.status, StatusCode::OK, "{number}: {answer:?}");
        let parts = answer.parts();
        let levels: Vec<_> = parts
            .iter()
            .map(|part| (part.bytes.len(), part.bytes[0]))
            .collect();
        assert_eq!(levels, [(8, 10), (8, 20), (8, 30)], "{number}");
    }
}
