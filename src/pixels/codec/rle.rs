//! RLE Lossless (PS3.5 annex G): byte planes, each run-length encoded.

use super::samples::{Samples, damaged};
use crate::pixels::{Error, Geometry};

const HEADER: usize = 64;

pub(super) fn decode(geometry: &Geometry, frame: &[u8]) -> Result<Samples, Error> {
    if geometry.bits_allocated == 1 {
        return single_bits(geometry, frame);
    }
    let pixels = geometry.rows as usize * geometry.columns as usize;
    let width = geometry.bits_allocated.div_ceil(8) as usize;
    let wanted = geometry.samples as usize * width;
    let mut bytes = vec![0; pixels * wanted];
    for (segment, packed) in segments(frame, wanted)?.into_iter().enumerate() {
        // G.4: the planes of a sample start with its most significant byte.
        let (sample, byte) = (segment / width, width - 1 - segment % width);
        let count = unpack(packed, pixels, |pixel, value| {
            bytes[pixel * wanted + sample * width + byte] = value;
        });
        if count < pixels {
            return Err(damaged("an RLE segment is too short"));
        }
    }
    Ok(Samples {
        bytes,
        bits: width as u32 * 8,
        precision: None,
        is_rgb: false,
    })
}

/// Single bits: some writers compress a byte for each pixel, others eight pixels in a byte.
fn single_bits(geometry: &Geometry, frame: &[u8]) -> Result<Samples, Error> {
    let samples = u64::from(geometry.rows) * u64::from(geometry.columns);
    let samples = (samples * u64::from(geometry.samples)) as usize;
    let mut unpacked = Vec::new();
    for packed in segments(frame, 1)? {
        unpack(packed, samples, |_, value| unpacked.push(value));
    }
    let packed = samples.div_ceil(8);
    let bytes = if unpacked.len() == samples {
        let eights = unpacked.chunks(8);
        let bits = |eight: &[u8]| {
            let set = eight.iter().enumerate().filter(|(_, value)| **value != 0);
            set.fold(0, |byte, (at, _)| byte | 1 << at)
        };
        eights.map(bits).collect()
    } else if unpacked.len() >= packed {
        unpacked.truncate(packed);
        unpacked
    } else {
        return Err(damaged("an RLE segment is too short"));
    };
    Ok(Samples {
        bytes,
        bits: 1,
        precision: None,
        is_rgb: false,
    })
}

/// The segments of a frame, of which there must be so many.
fn segments(frame: &[u8], wanted: usize) -> Result<Vec<&[u8]>, Error> {
    let header = frame
        .get(..HEADER)
        .ok_or_else(|| damaged("no RLE header"))?;
    let (numbers, _) = header.as_chunks::<4>();
    let numbers = numbers.iter().map(|n| u32::from_le_bytes(*n) as usize);
    let numbers: Vec<usize> = numbers.collect();
    if numbers[0] != wanted || wanted > 15 {
        return Err(damaged(
            "the number of RLE segments differs from the bytes of a pixel",
        ));
    }
    let segment = |at: usize| {
        let start = numbers[1 + at];
        let end = match numbers.get(2 + at) {
            Some(&end) if at + 1 < wanted => end,
            _ => frame.len(),
        };
        let packed = frame.get(start..end);
        packed.ok_or_else(|| damaged("an RLE segment is missing"))
    };
    (0..wanted).map(segment).collect()
}

// G.3.2. Bytes after the last pixel are padding. Gives the number of bytes.
fn unpack(packed: &[u8], most: usize, mut put: impl FnMut(usize, u8)) -> usize {
    let mut rest = packed;
    let mut done = 0;
    while done < most {
        let [control, after @ ..] = rest else { break };
        rest = after;
        match (*control, after) {
            (0..=127, _) => {
                let count = usize::from(*control) + 1;
                let Some((literal, after)) = rest.split_at_checked(count) else {
                    break;
                };
                for &value in literal.iter().take(most - done) {
                    put(done, value);
                    done += 1;
                }
                rest = after;
            }
            (128, _) => {}
            (129..=255, [value, after @ ..]) => {
                for _ in 0..(257 - usize::from(*control)).min(most - done) {
                    put(done, *value);
                    done += 1;
                }
                rest = after;
            }
            (129..=255, []) => break,
        }
    }
    done
}
