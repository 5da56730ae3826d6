//! JPEG with twelve bits (ISO 10918-1, extended sequential with Huffman coding), which no Rust
//! library decodes. It has one component, as PS3.5 §8.2.1 requires for more than eight bits.

use super::super::samples::Samples;
use super::block::{BLOCK, Transform, coefficients};
use super::entropy::Bits;
use super::segments::{Frame, Scan, Stream, Tables};
use crate::pixels::{Error, Geometry};

impl Frame {
    /// Whether this module decodes the frame.
    pub(super) fn is_extended(&self) -> bool {
        self.process == 0xc1 && self.precision == 12
    }
}

pub(super) fn decode(geometry: &Geometry, jpeg: &[u8]) -> Result<Samples, Error> {
    let mut stream = Stream::new(jpeg);
    let scan = stream.next_scan()?;
    let frame = stream.frame()?;
    frame.check_size(geometry)?;
    if frame.components.len() != 1 || geometry.samples != 1 {
        return Err(Error::Unsupported(
            "colours in a JPEG of 12 bits".to_owned(),
        ));
    }
    Ok(Samples {
        bytes: samples(frame, &scan, stream.tables())?,
        bits: 16,
        precision: Some(12),
        is_rgb: false,
    })
}

/// Decodes the blocks of a scan, from left to right and from top to bottom.
fn samples(frame: &Frame, scan: &Scan<'_>, tables: &Tables) -> Result<Vec<u8>, Error> {
    let component = scan.components[0];
    let (dc, ac) = (tables.dc(component)?, tables.ac(component)?);
    let quantization = tables.quantization(frame.components[component.place])?;
    let (rows, columns) = (usize::from(frame.rows), usize::from(frame.columns));
    let (down, across) = (rows.div_ceil(BLOCK), columns.div_ceil(BLOCK));
    let interval = tables.restart_interval;
    let transform = Transform::new();
    let mut bits = Bits::new(scan.data);
    let mut samples = vec![0; rows * columns * 2];
    let mut predicted = 0;
    for at in 0..down * across {
        if interval > 0 && at > 0 && at % interval == 0 {
            bits.restart()?;
            predicted = 0;
        }
        let mut block = coefficients(&mut bits, dc, ac, &mut predicted)?;
        for (coefficient, step) in block.iter_mut().zip(quantization) {
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

#[cfg(test)]
#[path = "extended_tests.rs"]
mod tests;
