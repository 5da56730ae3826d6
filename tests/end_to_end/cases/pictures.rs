//! Small instances whose pixels other readers decode rightly.

use http::StatusCode;

use super::Instances;
use crate::rig::Answer;

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
