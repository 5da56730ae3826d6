//! JPEG (ISO 10918-1): jpeg-decoder, in safe Rust, for all but twelve bits.

use std::io::Cursor;

use jpeg_decoder::{ColorTransform, Decoder, PixelFormat};

use super::jpeg_extended;
use super::samples::{Samples, damaged};
use crate::pixels::{Error, Geometry, MOST_BYTES};

pub(super) fn decode(geometry: &Geometry, frame: &[u8]) -> Result<Samples, Error> {
    if jpeg_extended::header(frame).is_some_and(jpeg_extended::Frame::is_extended) {
        let samples = jpeg_extended::decode(geometry, frame)?;
        return Ok(widened(samples, geometry.bits_allocated));
    }
    let mut decoder = Decoder::new(Cursor::new(frame));
    decoder.set_max_decoding_buffer_size(usize::try_from(MOST_BYTES).unwrap_or(usize::MAX));
    decoder.read_info().map_err(damaged)?;
    let info = decoder.info().ok_or_else(|| damaged("no JPEG header"))?;
    let (width, height) = (u32::from(info.width), u32::from(info.height));
    if (width, height) != (geometry.columns, geometry.rows) {
        return Err(damaged("the JPEG and the image differ in size"));
    }
    let is_colour = geometry.samples == 3;
    let is_ybr = geometry.photometric.starts_with("YBR");
    if is_colour {
        // The attributes decide, not the guess of the library.
        decoder.set_color_transform(if is_ybr {
            ColorTransform::YCbCr
        } else {
            ColorTransform::RGB
        });
    }
    let pixels = decoder.decode().map_err(damaged)?;
    let (bytes, bits) = match (info.pixel_format, geometry.samples) {
        (PixelFormat::L8, 1) | (PixelFormat::RGB24, 3) => (pixels, 8),
        // The library returns numbers in native byte order.
        (PixelFormat::L16, 1) => {
            let (numbers, _) = pixels.as_chunks::<2>();
            let numbers = numbers.iter().map(|number| u16::from_ne_bytes(*number));
            (numbers.flat_map(u16::to_le_bytes).collect(), 16)
        }
        _ => {
            return Err(damaged(
                "the JPEG and the image differ in samples per pixel",
            ));
        }
    };
    let is_rgb = is_colour && is_ybr;
    let samples = Samples {
        bytes,
        bits,
        is_rgb,
    };
    Ok(widened(samples, geometry.bits_allocated))
}

/// Converts samples to the width of Bits Allocated.
pub(super) fn widened(samples: Samples, bits_allocated: u32) -> Samples {
    match (samples.bits, bits_allocated) {
        (8, 16) => Samples {
            bytes: samples.bytes.iter().flat_map(|&byte| [byte, 0]).collect(),
            bits: 16,
            ..samples
        },
        (16, 8) => Samples {
            bytes: samples.bytes.iter().step_by(2).copied().collect(),
            bits: 8,
            ..samples
        },
        _ => samples,
    }
}
