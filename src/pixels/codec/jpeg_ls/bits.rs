//! The bits of a scan and the Golomb codes in them.

use super::super::samples::damaged;
use super::header::short;
use crate::pixels::Error;

/// The bits of a scan. The byte after 0xFF has seven bits (9.1).
pub(super) struct Bits<'a> {
    bytes: &'a [u8],
    at: usize,
    held: u64,
    count: u32,
    was_ff: bool,
}

impl<'a> Bits<'a> {
    pub(super) fn new(bytes: &'a [u8]) -> Self {
        Self {
            bytes,
            at: 0,
            held: 0,
            count: 0,
            was_ff: false,
        }
    }

    pub(super) fn position(&self) -> usize {
        self.at
    }

    fn fill(&mut self) {
        while self.count <= 48 {
            let Some(&byte) = self.bytes.get(self.at) else {
                return;
            };
            // A marker ends the scan.
            if self.was_ff && byte >= 0x80 {
                return;
            }
            if byte == 0xFF && self.bytes.get(self.at + 1).is_none_or(|&next| next >= 0x80) {
                return;
            }
            let width = if self.was_ff { 7 } else { 8 };
            self.held = self.held << width | u64::from(byte);
            self.count += width;
            self.was_ff = byte == 0xFF;
            self.at += 1;
        }
    }

    pub(super) fn read(&mut self, count: u32) -> Result<u32, Error> {
        if count == 0 {
            return Ok(0);
        }
        if self.count < count {
            self.fill();
            if self.count < count {
                return Err(short());
            }
        }
        self.count -= count;
        Ok((self.held >> self.count) as u32 & ((1 << count) - 1))
    }

    /// A.5.3: Golomb code of limited length.
    pub(super) fn golomb(&mut self, k: u32, limit: u32, qbpp: u32) -> Result<i32, Error> {
        let mut zeros = 0;
        while self.read(1)? == 0 {
            zeros += 1;
            if zeros > limit {
                return Err(damaged("a code is too long"));
            }
        }
        let value = if zeros < limit - qbpp - 1 {
            (zeros << k) + self.read(k)?
        } else {
            self.read(qbpp)? + 1
        };
        i32::try_from(value).map_err(|_large| damaged("a prediction error is too large"))
    }
}
