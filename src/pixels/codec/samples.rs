//! The samples of a decoded frame, as every codec gives them.

use crate::pixels::{Error, Geometry};

/// Samples of a frame, pixel by pixel.
#[derive(Debug)]
pub(in crate::pixels) struct Samples {
    /// In little endian.
    pub(in crate::pixels) bytes: Vec<u8>,
    /// The bits of a sample: 1, 8, 16, 32 or 64.
    pub(in crate::pixels) bits: u32,
    /// The bits that the compressed frame declares for a sample, which are the lowest; `None` if
    /// samples lie as the attributes say.
    pub(in crate::pixels) precision: Option<u32>,
    /// Whether the codec has converted them to red, green and blue.
    pub(in crate::pixels) is_rgb: bool,
}

impl Samples {
    /// The same samples where the attributes say that they lie, with copies of their sign above
    /// them.
    ///
    /// # Errors
    /// [`Error::Damaged`] if Bits Allocated are too few for them.
    pub(super) fn placed(self, geometry: &Geometry) -> Result<Self, Error> {
        let allocated = geometry.bits_allocated.max(8).next_power_of_two();
        if self.bits > allocated || self.precision.is_some_and(|bits| bits > allocated) {
            return Err(damaged("the compressed frame has more bits than the image"));
        }
        // A stream of whole words has what lies beside the stored bits too.
        let stored = self.precision.filter(|&bits| bits == geometry.bits_stored);
        let shift = stored.map_or(0, |_| geometry.lowest_bit());
        let is_extended = geometry.is_signed && stored.is_some_and(|bits| bits + shift < allocated);
        if !is_extended && shift == 0 && self.bits == allocated {
            return Ok(self);
        }
        let spare = stored.filter(|_| is_extended).map_or(0, |bits| 64 - bits);
        let (from, to) = (self.bits as usize / 8, allocated as usize / 8);
        let mut bytes = Vec::with_capacity(self.bytes.len() / from * to);
        for sample in self.bytes.chunks_exact(from) {
            let mut whole = [0; 8];
            whole[..from].copy_from_slice(sample);
            let value = i64::from_le_bytes(whole) << spare >> spare << shift;
            bytes.extend_from_slice(&value.to_le_bytes()[..to]);
        }
        Ok(Self {
            bytes,
            bits: allocated,
            ..self
        })
    }
}

pub(in crate::pixels) fn damaged(why: impl ToString) -> Error {
    Error::Damaged(why.to_string())
}

#[cfg(test)]
#[path = "samples_tests.rs"]
mod tests;
