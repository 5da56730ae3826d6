use jpeg_encoder::{ColorType, Encoder, SamplingFactor};

use super::super::decode;
use super::*;

const ROWS: u16 = 21;
const COLUMNS: u16 = 19;

/// An image of grey or coloured pixels, with restart markers every so many blocks.
struct Image {
    rows: u16,
    columns: u16,
    colour: ColorType,
    interval: u16,
}

impl Image {
    /// As a JFIF stream.
    fn encoded(&self, sampling: SamplingFactor) -> Vec<u8> {
        let mut jpeg = Vec::new();
        let mut encoder = Encoder::new(&mut jpeg, 95);
        encoder.set_sampling_factor(sampling);
        if self.interval > 0 {
            encoder.set_restart_interval(self.interval);
        }
        let channels = if matches!(self.colour, ColorType::Luma) {
            1
        } else {
            3
        };
        let pixels: Vec<u8> = (0..usize::from(self.rows) * usize::from(self.columns) * channels)
            .map(|at| (at * 37 % 251) as u8)
            .collect();
        let written = encoder.encode(&pixels, self.columns, self.rows, self.colour);
        written.expect("a JPEG");
        jpeg
    }
}

fn encoded(colour: ColorType, sampling: SamplingFactor, interval: u16) -> Vec<u8> {
    let image = Image {
        rows: ROWS,
        columns: COLUMNS,
        colour,
        interval,
    };
    image.encoded(sampling)
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
fn a_stream_that_was_cut_and_closed_again_is_damaged() {
    for (jpeg, geometry) in streams() {
        let scan = memchr::memmem::find(&jpeg, &[0xff, 0xda]).expect("a scan");
        let open = jpeg.strip_suffix(&END).expect("an end");
        assert!(decode(&geometry, &jpeg).is_ok(), "whole");
        // The last byte may be padding, and a lone 0xFF takes in the marker.
        for length in scan + 14..open.len() - 1 {
            let closed = [&open[..length], &END].concat();
            assert!(
                decode(&geometry, &closed).is_err(),
                "{length} of {}",
                open.len()
            );
            let padded = [&open[..length], &END, &[0]].concat();
            assert!(decode(&geometry, &padded).is_err(), "{length}, padded");
        }
    }
}

#[test]
fn whole_streams_of_every_size_and_sampling_are_decoded() {
    let samplings = [
        SamplingFactor::F_1_1,
        SamplingFactor::F_2_1,
        SamplingFactor::F_1_2,
        SamplingFactor::F_2_2,
        SamplingFactor::F_4_1,
        SamplingFactor::F_4_2,
        SamplingFactor::F_1_4,
        SamplingFactor::F_2_4,
    ];
    for (rows, columns) in [(1, 1), (7, 9), (8, 8), (16, 17), (33, 31), (64, 40)] {
        for sampling in samplings {
            for colour in [ColorType::Luma, ColorType::Rgb] {
                for interval in [0, 1, 4] {
                    let image = Image {
                        rows,
                        columns,
                        colour,
                        interval,
                    };
                    let jpeg = image.encoded(sampling);
                    let samples = if matches!(colour, ColorType::Luma) {
                        1
                    } else {
                        3
                    };
                    let geometry = Geometry {
                        samples,
                        photometric: if samples == 1 {
                            "MONOCHROME2"
                        } else {
                            "YBR_FULL"
                        }
                        .to_owned(),
                        ..Geometry::grey(rows.into(), columns.into(), 8, 8)
                    };
                    let decoded = decode(&geometry, &jpeg);
                    assert!(
                        decoded.is_ok(),
                        "{rows} {columns} {sampling:?} {interval}: {decoded:?}"
                    );
                }
            }
        }
    }
}

#[test]
fn whole_progressive_streams_are_decoded() {
    for colour in [ColorType::Luma, ColorType::Rgb] {
        let mut jpeg = Vec::new();
        let mut encoder = Encoder::new(&mut jpeg, 90);
        encoder.set_progressive(true);
        let samples = if matches!(colour, ColorType::Luma) {
            1
        } else {
            3
        };
        let pixels = vec![90; usize::from(ROWS) * usize::from(COLUMNS) * samples as usize];
        let written = encoder.encode(&pixels, COLUMNS, ROWS, colour);
        written.expect("a JPEG");
        let name = if samples == 1 {
            "MONOCHROME2"
        } else {
            "YBR_FULL"
        };
        assert!(decode(&geometry(samples, name), &jpeg).is_ok(), "{name}");
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
