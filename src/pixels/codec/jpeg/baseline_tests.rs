use jpeg_encoder::{ColorType, Encoder, SamplingFactor};

use super::super::decode;
use super::*;

const ROWS: u16 = 21;
const COLUMNS: u16 = 19;

/// A JFIF stream of grey or coloured pixels, with restart markers every so many blocks.
fn encoded(colour: ColorType, sampling: SamplingFactor, interval: u16) -> Vec<u8> {
    let mut jpeg = Vec::new();
    let mut encoder = Encoder::new(&mut jpeg, 95);
    encoder.set_sampling_factor(sampling);
    if interval > 0 {
        encoder.set_restart_interval(interval);
    }
    let channels = if matches!(colour, ColorType::Luma) {
        1
    } else {
        3
    };
    let pixels: Vec<u8> = (0..usize::from(ROWS) * usize::from(COLUMNS) * channels)
        .map(|at| (at * 37 % 251) as u8)
        .collect();
    let written = encoder.encode(&pixels, COLUMNS, ROWS, colour);
    written.expect("a JPEG");
    jpeg
}

fn geometry(samples: u32, photometric: &str) -> Geometry {
    Geometry {
        samples,
        photometric: photometric.to_owned(),
        ..Geometry::grey(ROWS.into(), COLUMNS.into(), 8, 8)
    }
}

/// Streams of every kind of scan, with their attributes.
fn streams() -> Vec<(Vec<u8>, Geometry)> {
    let mut streams = Vec::new();
    for interval in [0, 3] {
        let grey = encoded(ColorType::Luma, SamplingFactor::F_1_1, interval);
        streams.push((grey, geometry(1, "MONOCHROME2")));
        for sampling in [
            SamplingFactor::F_1_1,
            SamplingFactor::F_2_1,
            SamplingFactor::F_2_2,
        ] {
            let colours = encoded(ColorType::Rgb, sampling, interval);
            streams.push((colours, geometry(3, "YBR_FULL_422")));
        }
    }
    streams
}

#[test]
fn a_stream_without_its_end_is_decoded_if_no_block_is_missing() {
    for (jpeg, geometry) in streams() {
        let whole = decode(&geometry, &jpeg).expect("samples");
        let open = jpeg.strip_suffix(&END).expect("an end");
        assert_eq!(decode(&geometry, open).expect("samples").bytes, whole.bytes);
        // A fragment of odd length is padded.
        let padded = [open, &[0]].concat();
        assert_eq!(
            decode(&geometry, &padded).expect("samples").bytes,
            whole.bytes
        );
        // The last byte may be padding; everything before it is not.
        for length in (0..open.len() - 1).rev().step_by(11) {
            assert!(decode(&geometry, &open[..length]).is_err(), "{length}");
        }
    }
}

#[test]
fn whatever_is_damaged_it_ends() {
    for (jpeg, geometry) in streams() {
        let open = jpeg.strip_suffix(&END).expect("an end");
        for at in (0..open.len()).step_by(19) {
            for change in [0x01, 0x80, 0xff] {
                let mut other = open.to_vec();
                other[at] ^= change;
                let _ = decode(&geometry, &other);
            }
        }
    }
}

#[test]
fn a_jfif_stream_is_ybr_whatever_its_label() {
    let jpeg = encoded(ColorType::Rgb, SamplingFactor::F_1_1, 0);
    let labelled = decode(&geometry(3, "RGB"), &jpeg).expect("samples");
    let ybr = decode(&geometry(3, "YBR_FULL"), &jpeg).expect("samples");
    assert!(labelled.is_rgb);
    assert_eq!(labelled.bytes, ybr.bytes);
    // Without a segment that says so, the attributes decide.
    let at = memchr::memmem::find(&jpeg, b"JFIF").expect("JFIF");
    let mut silent = jpeg.clone();
    silent[at] = b'X';
    let as_said = decode(&geometry(3, "RGB"), &silent).expect("samples");
    assert!(!as_said.is_rgb);
    assert_ne!(as_said.bytes, ybr.bytes);
}
