//! JPEG 2000 and HTJ2K (ISO 15444-1 and -15), by the Rust port of OpenJPEG. The port is translated
//! from C and not safe, so decoders run in processes of their own.

use jpeg2k::{ColorSpace, Image};

use super::samples::{Samples, damaged};
use crate::pixels::{Error, Geometry};

pub(super) fn decode(geometry: &Geometry, frame: &[u8]) -> Result<Samples, Error> {
    if size_of(frame) != Some((geometry.columns, geometry.rows)) {
        return Err(damaged("the codestream and the image differ in size"));
    }
    let image = Image::from_bytes(frame).map_err(damaged)?;
    let components = image.components();
    let pixels = geometry.rows as usize * geometry.columns as usize;
    if components.len() != geometry.samples as usize
        || components.iter().any(|one| one.data().len() != pixels)
    {
        return Err(damaged("the codestream and the image differ in components"));
    }
    let bits = if geometry.bits_allocated <= 8 { 8 } else { 16 };
    if components.iter().any(|one| one.precision() > bits) {
        return Err(damaged("the codestream has more bits than the image"));
    }
    let precision = components.iter().map(|one| one.precision()).max();
    let planes: Vec<&[i32]> = components.iter().map(|one| one.data()).collect();
    let mut bytes = Vec::with_capacity(pixels * planes.len() * bits as usize / 8);
    for pixel in 0..pixels {
        for (plane, component) in planes.iter().zip(components) {
            // Two's complement, as the attributes declare, even if the codestream differs.
            let spare = 32 - component.precision().clamp(1, 32);
            let value = if geometry.is_signed {
                plane[pixel] << spare >> spare
            } else {
                plane[pixel]
            };
            let [low, high, ..] = value.to_le_bytes();
            bytes.push(low);
            if bits == 16 {
                bytes.push(high);
            }
        }
    }
    let is_rgb = matches!(image.color_space(), ColorSpace::SRGB)
        || matches!(geometry.photometric.as_str(), "YBR_RCT" | "YBR_ICT");
    Ok(Samples {
        bytes,
        bits,
        precision,
        is_rgb: is_rgb && geometry.samples == 3,
    })
}

/// Columns and rows in the SIZ marker segment. They are compared with the attributes before the
/// library allocates memory for them.
fn size_of(frame: &[u8]) -> Option<(u32, u32)> {
    let at = memchr::memmem::find(frame, &[0xFF, 0x4F, 0xFF, 0x51])?;
    let number = |offset: usize| {
        let bytes = frame.get(at + 8 + offset..)?.first_chunk()?;
        Some(u32::from_be_bytes(*bytes))
    };
    let (x, y, left, top) = (number(0)?, number(4)?, number(8)?, number(12)?);
    Some((x.checked_sub(left)?, y.checked_sub(top)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    // The pixels of `value`, encoded by OpenJPH 0.31: reversible, 16 bits.
    #[rustfmt::skip]
    const HTJ2K: [u8; 218] = [
        0xFF, 0x4F, 0xFF, 0x51, 0x00, 0x29, 0x40, 0x00, 0x00, 0x00, 0x00, 0x0D, 0x00, 0x00,
        0x00, 0x0B, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x0D,
        0x00, 0x00, 0x00, 0x0B, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x01,
        0x0F, 0x01, 0x01, 0xFF, 0x50, 0x00, 0x08, 0x00, 0x02, 0x00, 0x00, 0x00, 0x0A, 0xFF,
        0x52, 0x00, 0x0C, 0x00, 0x02, 0x00, 0x01, 0x00, 0x05, 0x04, 0x04, 0x40, 0x01, 0xFF,
        0x5C, 0x00, 0x13, 0x20, 0x88, 0x90, 0x90, 0x90, 0x90, 0x90, 0x90, 0x90, 0x90, 0x90,
        0x90, 0x90, 0x90, 0x88, 0x88, 0x88, 0xFF, 0x64, 0x00, 0x17, 0x00, 0x01, 0x4F, 0x70,
        0x65, 0x6E, 0x4A, 0x50, 0x48, 0x20, 0x56, 0x65, 0x72, 0x20, 0x30, 0x2E, 0x33, 0x31,
        0x2E, 0x30, 0x2E, 0xFF, 0x90, 0x00, 0x0A, 0x00, 0x00, 0x00, 0x00, 0x00, 0x65, 0x00,
        0x01, 0xFF, 0x93, 0xC0, 0x00, 0x26, 0xD9, 0xD3, 0x05, 0x07, 0x74, 0x00, 0x00, 0xC0,
        0x00, 0x13, 0x40, 0x00, 0x13, 0x40, 0x00, 0x13, 0x00, 0x4A, 0xF9, 0x03, 0x87, 0x74,
        0x00, 0xF8, 0xC2, 0x04, 0x87, 0x74, 0x00, 0x2C, 0xFC, 0x02, 0x87, 0x74, 0x00, 0xC0,
        0x00, 0x15, 0x50, 0x00, 0x04, 0xF0, 0x00, 0x04, 0x80, 0x00, 0x00, 0x00, 0x94, 0x58,
        0xF8, 0x01, 0x82, 0xB4, 0x00, 0xE7, 0x1D, 0xF8, 0x00, 0x82, 0x34, 0x00, 0xFD, 0x11,
        0x33, 0x00, 0xA0, 0x00, 0x0A, 0xD0, 0x42, 0x2F, 0xFB, 0x22, 0x50, 0x12, 0xFE, 0xC0,
        0x73, 0x01, 0xBE, 0xB6, 0x00, 0x00, 0xFF, 0xD9,
    ];

    fn value(at: u32) -> u16 {
        let (x, y) = (at % 13, at / 13);
        (y * 977 + x * 331 + x * y * 7) as u16
    }

    #[test]
    fn high_throughput_gives_back_what_another_encoder_was_given() {
        let samples = decode(&Geometry::grey(11, 13, 16, 16), &HTJ2K).expect("samples");
        let wanted: Vec<u8> = (0..143).flat_map(|at| value(at).to_le_bytes()).collect();
        assert_eq!(samples.bytes, wanted);
        assert_eq!(samples.bits, 16);
    }

    #[test]
    fn a_codestream_that_was_cut_is_no_picture_even_if_it_was_closed_again() {
        let whole = decode(&Geometry::grey(11, 13, 16, 16), &HTJ2K).expect("samples");
        let mut accepted = Vec::new();
        for length in 60..HTJ2K.len() - 2 {
            for end in [&[][..], &[0xFF, 0xD9]] {
                let cut = [&HTJ2K[..length], end].concat();
                let decoded = decode(&Geometry::grey(11, 13, 16, 16), &cut);
                if decoded.is_ok_and(|samples| samples.bytes != whole.bytes) {
                    accepted.push((length, end.len()));
                }
            }
        }
        assert_eq!(accepted, []);
    }

    #[test]
    fn what_is_damaged_or_of_another_size_is_no_picture() {
        assert!(decode(&Geometry::grey(11, 14, 16, 16), &HTJ2K).is_err());
        assert!(decode(&Geometry::grey(11, 13, 8, 8), &HTJ2K).is_err());
        assert!(decode(&Geometry::grey(11, 13, 16, 16), &HTJ2K[..60]).is_err());
    }
}
