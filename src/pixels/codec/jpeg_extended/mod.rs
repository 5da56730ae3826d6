//! JPEG with twelve bits (ISO 10918-1, extended sequential with Huffman coding), which no Rust
//! library decodes. It has one component, as PS3.5 §8.2.1 requires for more than eight bits.

mod block;
mod entropy;
mod segments;
#[cfg(test)]
mod tests;

use super::samples::{Samples, damaged};
use crate::pixels::{Error, Geometry};
use block::{BLOCK, Transform, coefficients};
use entropy::Bits;
use segments::{Headers, Scan};

pub(super) use segments::{Frame, header};

pub(super) fn decode(geometry: &Geometry, jpeg: &[u8]) -> Result<Samples, Error> {
    let headers = Headers::read(jpeg)?;
    let frame = headers.frame;
    if (u32::from(frame.rows), u32::from(frame.columns)) != (geometry.rows, geometry.columns) {
        return Err(damaged("the JPEG and the image differ in size"));
    }
    if frame.components != 1 || geometry.samples != 1 {
        return Err(Error::Unsupported(
            "colours in a JPEG of 12 bits".to_owned(),
        ));
    }
    Ok(Samples {
        bytes: samples(frame, &headers.scan()?, headers.data)?,
        bits: 16,
        is_rgb: false,
    })
}

/// Decodes the blocks of a scan, from left to right and from top to bottom.
fn samples(frame: Frame, scan: &Scan<'_>, data: &[u8]) -> Result<Vec<u8>, Error> {
    let (rows, columns) = (usize::from(frame.rows), usize::from(frame.columns));
    let (down, across) = (rows.div_ceil(BLOCK), columns.div_ceil(BLOCK));
    let interval = scan.restart_interval;
    let transform = Transform::new();
    let mut bits = Bits::new(data);
    let mut samples = vec![0; rows * columns * 2];
    let mut predicted = 0;
    for at in 0..down * across {
        if interval > 0 && at > 0 && at % interval == 0 {
            bits.restart()?;
            predicted = 0;
        }
        let mut block = coefficients(&mut bits, scan.dc, scan.ac, &mut predicted)?;
        for (coefficient, step) in block.iter_mut().zip(scan.quantization) {
            *coefficient *= f32::from(*step);
        }
        transform.invert(&mut block);
        let (top, left) = (at / across * BLOCK, at % across * BLOCK);
        let width = BLOCK.min(columns - left);
        for (row, line) in (top..rows).zip(block.chunks_exact(BLOCK)) {
            let from = (row * columns + left) * 2;
            let (out, _) = samples[from..from + width * 2].as_chunks_mut::<2>();
            for (sample, value) in out.iter_mut().zip(line) {
                // A cast of a float stays within its type.
                *sample = ((value.round() as i32 + 2048).clamp(0, 4095) as u16).to_le_bytes();
            }
        }
    }
    Ok(samples)
}
