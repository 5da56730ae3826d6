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

#[cfg(test)]
mod tests {
    use super::*;

    /// A frame of one segment.
    fn frame(packed: &[u8]) -> Vec<u8> {
        let mut bytes = vec![0; HEADER];
        (bytes[0], bytes[4]) = (1, 64);
        bytes.extend_from_slice(packed);
        bytes
    }

    fn single(rows: u32, columns: u32) -> Geometry {
        Geometry::grey(rows, columns, 1, 1)
    }

    #[test]
    fn single_bits_come_in_bytes_of_their_own_or_eight_in_one() {
        // 1 0 1 1 0 0 0 0, 1 0: a byte for each, of 1 or of 255.
        let apart = frame(&[9, 1, 0, 255, 1, 0, 0, 0, 0, 1, 0]);
        let packed = frame(&[1, 0b0000_1101, 0b0000_0001]);
        for bytes in [apart, packed] {
            let samples = decode(&single(2, 5), &bytes).expect("samples");
            assert_eq!((samples.bits, &samples.bytes[..]), (1, &[0b1101, 1][..]));
        }
        assert!(decode(&single(2, 5), &frame(&[0, 7])).is_err());
    }

    #[test]
    fn numbers_of_twelve_allocated_bits_take_two_bytes() {
        let mut bytes = frame(&[1, 0x0A, 0x0B, 1, 0x34, 0x56]);
        (bytes[0], bytes[8]) = (2, 67);
        let samples = decode(&Geometry::grey(1, 2, 12, 12), &bytes).expect("samples");
        assert_eq!(
            (samples.bits, &samples.bytes[..]),
            (16, &[0x34, 0x0A, 0x56, 0x0B][..])
        );
    }

    #[test]
    fn what_is_damaged_ends_with_an_error() {
        let whole = frame(&[0xFD, 7, 128, 1, 8, 9, 0xFF, 3]);
        let geometry = Geometry::grey(2, 4, 8, 8);
        let samples = decode(&geometry, &whole).expect("samples");
        assert_eq!(samples.bytes, [7, 7, 7, 7, 8, 9, 3, 3]);
        for length in 0..whole.len() {
            assert!(decode(&geometry, &whole[..length]).is_err(), "{length}");
        }
        for at in 0..whole.len() {
            for change in 1..=u8::MAX {
                let mut other = whole.clone();
                other[at] ^= change;
                // Whatever comes of it, it comes.
                let _ = decode(&geometry, &other);
                let _ = decode(&single(2, 4), &other);
            }
        }
    }
}
