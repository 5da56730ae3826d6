//! The entropy coding of a scan: Huffman codes and the bits behind them (ISO 10918-1 annex F).

use super::super::samples::damaged;
use crate::pixels::Error;

/// A Huffman table.
pub(super) struct Huffman {
    /// For each length from one bit.
    lengths: [Length; 16],
    values: Vec<u8>,
}

/// The codes of one length, which follow one another.
#[derive(Debug, Clone, Copy, Default)]
struct Length {
    first_code: u32,
    count: u32,
    /// The index of the first code's value.
    first_value: usize,
}

impl Huffman {
    pub(super) fn new(counts: &[u8; 16], values: &[u8]) -> Result<Self, Error> {
        let mut lengths = [Length::default(); 16];
        let (mut first_code, mut first_value) = (0, 0);
        for (bits, &count) in counts.iter().enumerate() {
            lengths[bits] = Length {
                first_code,
                count: u32::from(count),
                first_value,
            };
            first_code += u32::from(count);
            first_value += usize::from(count);
            if first_code > 2 << bits {
                return Err(damaged("a Huffman table has too many codes"));
            }
            first_code <<= 1;
        }
        Ok(Self {
            lengths,
            values: values.to_vec(),
        })
    }

    pub(super) fn read(&self, bits: &mut Bits<'_>) -> Result<u8, Error> {
        let mut code = 0;
        for length in self.lengths {
            code = code << 1 | bits.take(1)?;
            // Codes are numbered upwards, from the shortest to the longest.
            let Some(at) = code.checked_sub(length.first_code) else {
                continue;
            };
            if at < length.count {
                return Ok(self.values[length.first_value + at as usize]);
            }
        }
        Err(damaged("a code is not in its Huffman table"))
    }
}

/// The bits of a scan.
pub(super) struct Bits<'a> {
    rest: &'a [u8],
    held: u32,
    count: u32,
}

impl<'a> Bits<'a> {
    pub(super) fn new(rest: &'a [u8]) -> Self {
        Self {
            rest,
            held: 0,
            count: 0,
        }
    }

    /// The next bits, at most sixteen.
    fn take(&mut self, wanted: u32) -> Result<u32, Error> {
        while self.count < wanted {
            let (byte, length) = match self.rest {
                // A zero byte is stuffed behind 0xFF to tell it from a marker.
                [0xff, 0x00, ..] => (0xff, 2),
                [0xff, ..] | [] => return Err(damaged("the scan ends in a block")),
                [byte, ..] => (*byte, 1),
            };
            self.rest = &self.rest[length..];
            self.held = self.held << 8 | u32::from(byte);
            self.count += 8;
        }
        self.count -= wanted;
        Ok(self.held >> self.count & ((1 << wanted) - 1))
    }

    /// Reads a difference of so many bits (F.2.2.1).
    pub(super) fn difference(&mut self, bits: u8) -> Result<i32, Error> {
        if bits == 0 {
            return Ok(0);
        }
        let bits = u32::from(bits);
        let value = self.take(bits)?.cast_signed();
        let is_negative = value < 1 << (bits - 1);
        Ok(if is_negative {
            value - (1 << bits) + 1
        } else {
            value
        })
    }

    /// Skips a restart marker.
    pub(super) fn restart(&mut self) -> Result<(), Error> {
        self.count = 0;
        while let [0xff, 0xff, ..] = self.rest {
            self.rest = &self.rest[1..];
        }
        let [0xff, 0xd0..=0xd7, after @ ..] = self.rest else {
            return Err(damaged("a restart marker is missing"));
        };
        self.rest = after;
        Ok(())
    }
}
