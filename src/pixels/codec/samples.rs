//! The samples of a decoded frame, as every codec gives them.

use crate::pixels::Error;

/// Samples of a frame, pixel by pixel.
#[derive(Debug)]
pub(in crate::pixels) struct Samples {
    /// In little endian.
    pub(in crate::pixels) bytes: Vec<u8>,
    /// The bits of a sample: 1, 8, 16, 32 or 64.
    pub(in crate::pixels) bits: u32,
    /// Whether the codec has converted them to red, green and blue.
    pub(in crate::pixels) is_rgb: bool,
}

pub(in crate::pixels) fn damaged(why: impl ToString) -> Error {
    Error::Damaged(why.to_string())
}
