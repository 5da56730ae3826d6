//! JPEG (ISO 10918-1): jpeg-decoder, in safe Rust, for eight bits, lossy; own code for the rest.

mod baseline;
#[cfg(test)]
mod bit_writer;
mod block;
mod entropy;
mod extended;
mod lossless;
mod segments;

use super::samples::{Samples, damaged};
use crate::pixels::{Error, Geometry};
use segments::header;

pub(super) fn decode(geometry: &Geometry, jpeg: &[u8]) -> Result<Samples, Error> {
    match header(jpeg) {
        Some(frame) if frame.is_extended() => extended::decode(geometry, jpeg),
        Some(frame) if frame.is_lossless() => lossless::decode(geometry, jpeg),
        Some(frame) => baseline::decode(geometry, jpeg, &frame),
        None => Err(damaged("no JPEG header")),
    }
}
