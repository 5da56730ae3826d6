//! JPEG-LS (ISO 14495-1, LOCO-I), which no library in safe Rust decodes.
//!
//! Names are those of the standard: A, B, C and N are the counters of a context, T1 to T3 the
//! thresholds of the gradients, NEAR is how far a sample may be off.

mod bits;
mod coder;
mod context;
mod header;
mod template;

use super::samples::{Samples, damaged};
use crate::pixels::{Error, Geometry};
use bits::Bits;
use coder::Coder;
use header::{Interleave, Preset, frame_header, marker, parameters, scan_header, segment};

pub(super) fn decode(geometry: &Geometry, frame: &[u8]) -> Result<Samples, Error> {
    let (precision, planes) = planes(geometry, frame)?;
    let pixels = geometry.rows as usize * geometry.columns as usize;
    let bits = if geometry.bits_allocated <= 8 { 8 } else { 16 };
    let mut bytes = Vec::with_capacity(pixels * planes.len() * bits as usize / 8);
    for pixel in 0..pixels {
        for plane in &planes {
            let [low, high] = plane[pixel].to_le_bytes();
            bytes.push(low);
            if bits == 16 {
                bytes.push(high);
            }
        }
    }
    Ok(Samples {
        bytes,
        bits,
        precision: Some(precision),
        is_rgb: false,
    })
}

/// The bits of a sample, and the samples of each component.
fn planes(geometry: &Geometry, frame: &[u8]) -> Result<(u32, Vec<Vec<u16>>), Error> {
    let components = geometry.samples as usize;
    let (width, height) = (geometry.columns as usize, geometry.rows as usize);
    let mut planes = vec![Vec::new(); components];
    let mut preset = Preset::default();
    let mut precision = None;
    let mut done = 0;
    let mut at = 0;
    while done < components {
        let marker = marker(frame, &mut at)?;
        if marker == 0xD8 {
            continue;
        }
        let segment = segment(frame, &mut at)?;
        match marker {
            0xF7 => precision = Some(frame_header(segment, geometry)?),
            0xF8 => preset = parameters(segment)?,
            0xDA => {
                let bits = precision.ok_or_else(|| damaged("a scan precedes the frame header"))?;
                let scan = scan_header(segment)?;
                let (count, interleave) = (scan.components, scan.interleave);
                if count > components - done || (interleave == Interleave::None && count != 1) {
                    return Err(damaged("the scans and the frame differ in components"));
                }
                let mut coder = Coder::new(bits, scan.near, preset)?;
                let mut bits = Bits::new(&frame[at..]);
                let of_scan = &mut planes[done..done + count];
                coder.scan(&mut bits, of_scan, width, height, interleave)?;
                done += count;
                at += bits.position();
            }
            // A restart interval divides scans.
            0xDD => return Err(damaged("restart intervals are not supported")),
            // Application data and comments.
            _ => {}
        }
    }
    let precision = precision.ok_or_else(|| damaged("the JPEG-LS stream has no frame header"))?;
    Ok((precision, planes))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn geometry(rows: u32, columns: u32) -> Geometry {
        Geometry::grey(rows, columns, 8, 8)
    }

    // ISO 14495-1 annex H.3: four by four samples, with their code.
    #[test]
    fn decodes_the_example_of_the_standard() {
        let stream = [
            0xFF, 0xD8, 0xFF, 0xF7, 0x00, 0x0B, 0x08, 0x00, 0x04, 0x00, 0x04, 0x01, 0x01, 0x11,
            0x00, 0xFF, 0xDA, 0x00, 0x08, 0x01, 0x01, 0x00, 0x00, 0x00, 0x00, 0xC0, 0x00, 0x00,
            0x6C, 0x80, 0x20, 0x8E, 0x01, 0xC0, 0x00, 0x00, 0x57, 0x40, 0x00, 0x00, 0x6E, 0xE6,
            0x00, 0x00, 0x01, 0xBC, 0x18, 0x00, 0x00, 0x05, 0xD8, 0x00, 0x00, 0x91, 0x60, 0xFF,
            0xD9,
        ];
        let samples = decode(&geometry(4, 4), &stream).expect("samples");
        assert_eq!(
            samples.bytes,
            [
                0, 0, 90, 74, 68, 50, 43, 205, 64, 145, 145, 145, 100, 145, 145, 145
            ]
        );
    }

    #[test]
    fn junk_ends_with_an_error() {
        let stream = [
            0xFF, 0xD8, 0xFF, 0xF7, 0x00, 0x0B, 0x08, 0x00, 0x04, 0x00, 0x04, 0x01, 0x01, 0x11,
            0x00, 0xFF, 0xDA, 0x00, 0x08, 0x01, 0x01, 0x00, 0x00, 0x00, 0x00,
        ];
        for tail in 0..=255u8 {
            let mut bytes = stream.to_vec();
            bytes.extend([tail, tail ^ 0x5A, 0, tail]);
            // Whatever comes of it, it comes.
            let _ = decode(&geometry(4, 4), &bytes);
            assert!(decode(&geometry(5, 4), &bytes).is_err());
        }
        assert!(decode(&geometry(4, 4), &stream).is_err());
        assert!(decode(&geometry(4, 4), &[]).is_err());
    }
}
