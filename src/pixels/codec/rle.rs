//! RLE Lossless (PS3.5 annex G): byte planes, each run-length encoded.

use super::samples::{Samples, damaged};
use crate::pixels::{Error, Geometry};

const HEADER: usize = 64;

pub(super) fn decode(geometry: &Geometry, frame: &[u8]) -> Result<Samples, Error> {
    let pixels = geometry.rows as usize * geometry.columns as usize;
    let width = geometry.bits_allocated.div_ceil(8) as usize;
    let wanted = geometry.samples as usize * width;
    let header = frame
        .get(..HEADER)
        .ok_or_else(|| damaged("no RLE header"))?;
    let (numbers, _) = header.as_chunks::<4>();
    let numbers: Vec<usize> = numbers
        .iter()
        .map(|n| u32::from_le_bytes(*n) as usize)
        .collect();
    // G.4: the planes of a sample start with its most significant byte.
    if numbers[0] != wanted || wanted > 15 {
        return Err(damaged(
            "the number of RLE segments differs from the bytes of a pixel",
        ));
    }
    let mut bytes = vec![0; pixels * wanted];
    for segment in 0..wanted {
        let start = numbers[1 + segment];
        let end = match numbers.get(2 + segment) {
            Some(&end) if segment + 1 < wanted => end,
            _ => frame.len(),
        };
        let packed = frame
            .get(start..end)
            .ok_or_else(|| damaged("an RLE segment is missing"))?;
        let (sample, byte) = (segment / width, width - 1 - segment % width);
        unpack(packed, pixels, |pixel, value| {
            bytes[pixel * wanted + sample * width + byte] = value;
        })?;
    }
    Ok(Samples {
        bytes,
        bits: geometry.bits_allocated,
        is_rgb: false,
    })
}

// G.3.2. Bytes after the last pixel are padding.
fn unpack(packed: &[u8], pixels: usize, mut put: impl FnMut(usize, u8)) -> Result<(), Error> {
    let (mut at, mut pixel) = (0, 0);
    while pixel < pixels {
        let short = || damaged("an RLE segment is too short");
        let control = *packed.get(at).ok_or_else(short)?;
        at += 1;
        match control {
            0..=127 => {
                let count = usize::from(control) + 1;
                let literal = packed.get(at..at + count).ok_or_else(short)?;
                for &value in literal.iter().take(pixels - pixel) {
                    put(pixel, value);
                    pixel += 1;
                }
                at += count;
            }
            128 => {}
            129..=255 => {
                let value = *packed.get(at).ok_or_else(short)?;
                at += 1;
                for _ in 0..(257 - usize::from(control)).min(pixels - pixel) {
                    put(pixel, value);
                    pixel += 1;
                }
            }
        }
    }
    Ok(())
}
