//! JPEG 2000 and HTJ2K (ISO 15444-1 and -15), by the Rust port of OpenJPEG: translated from C, so not
//! safe, which is why decoders have a process of their own.

use jpeg2k::{ColorSpace, Image};

use super::decode::{Samples, damaged};
use super::{Error, Geometry};

pub(super) fn decode(geometry: &Geometry, frame: &[u8]) -> Result<Samples, Error> {
    if size_of(frame) != Some((geometry.columns, geometry.rows)) {
        return Err(damaged(
            "the JPEG 2000 codestream has another size than the image",
        ));
    }
    let image = Image::from_bytes(frame).map_err(damaged)?;
    let components = image.components();
    let pixels = geometry.rows as usize * geometry.columns as usize;
    if components.len() != geometry.samples as usize
        || components.iter().any(|one| one.data().len() != pixels)
    {
        return Err(damaged(
            "the codestream has other components than the image",
        ));
    }
    let bits = if geometry.bits_allocated <= 8 { 8 } else { 16 };
    if components.iter().any(|one| one.precision() > bits) {
        return Err(damaged("the codestream has more bits than the image"));
    }
    let planes: Vec<&[i32]> = components.iter().map(|one| one.data()).collect();
    let mut bytes = Vec::with_capacity(pixels * planes.len() * bits as usize / 8);
    for pixel in 0..pixels {
        for (plane, component) in planes.iter().zip(components) {
            // Two's complement, as the attributes have it, whatever the codestream says.
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
        is_rgb: is_rgb && geometry.samples == 3,
    })
}

/// Columns and rows by the SIZ marker segment, so that nothing is made room for on the word of a
/// codestream alone.
fn size_of(frame: &[u8]) -> Option<(u32, u32)> {
    let at = memchr::memmem::find(frame, &[0xFF, 0x4F, 0xFF, 0x51])?;
    let number = |offset: usize| {
        let bytes = frame.get(at + 8 + offset..)?.first_chunk()?;
        Some(u32::from_be_bytes(*bytes))
    };
    let (x, y, left, top) = (number(0)?, number(4)?, number(8)?, number(12)?);
    Some((x.checked_sub(left)?, y.checked_sub(top)?))
}
