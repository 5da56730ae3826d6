//! The entropy coding of a scan: Huffman codes and the bits behind them (ISO 10918-1 annex F).

use super::super::samples::damaged;
use crate::pixels::Error;

/// A Huffman table.
pub(super) struct Huffman {
    /// For each length from one bit.
    lengths: [Length; 16],
    values: Vec<u8>,
    /// For each byte, the code that it begins with, if that has at most eight bits.
    short: Vec<Option<Short>>,
}

/// A code of at most eight bits.
#[derive(Debug, Clone, Copy)]
struct Short {
    bits: u32,
    value: u8,
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
        let mut table = Self {
            lengths,
            values: values.to_vec(),
            short: Vec::new(),
        };
        table.short = (0..=u8::MAX).map(|byte| table.short(byte)).collect();
        Ok(table)
    }

    /// The code that a byte begins with.
    fn short(&self, byte: u8) -> Option<Short> {
        let lengths = self.lengths.iter().take(8).zip(1..);
        lengths
            .filter_map(|(length, bits)| {
                let value = self.value(*length, u32::from(byte) >> (8 - bits))?;
                Some(Short { bits, value })
            })
            .next()
    }

    /// The value of a code of this length. Codes are numbered upwards, from the shortest to the
    /// longest.
    fn value(&self, length: Length, code: u32) -> Option<u8> {
        let at = code.checked_sub(length.first_code)?;
        let place = length.first_value + at as usize;
        (at < length.count).then(|| self.values.get(place).copied())?
    }

    pub(super) fn read(&self, bits: &mut Bits<'_>) -> Result<u8, Error> {
        let short = bits.peek().and_then(|byte| self.short[usize::from(byte)]);
        if let Some(Short {
            bits: length,
            value,
        }) = short
        {
            bits.count -= length;
            return Ok(value);
        }
        let mut code = 0;
        for length in self.lengths {
            code = code << 1 | bits.take(1)?;
            if let Some(value) = self.value(length, code) {
                return Ok(value);
            }
        }
        Err(damaged("a code is not in its Huffman table"))
    }
}

const ENDS_EARLY: &str = "the scan ends early";

/// The fault of a scan that has less data than its blocks need.
pub(super) fn ends_early() -> Error {
    damaged(ENDS_EARLY)
}

/// Whether it is that fault.
pub(super) fn is_early_end(error: &Error) -> bool {
    matches!(error, Error::Damaged(reason) if reason == ENDS_EARLY)
}

/// The bits of a scan.
pub(super) struct Bits<'a> {
    rest: &'a [u8],
    held: u64,
    count: u32,
    /// How many restart markers have been read.
    restarts: u8,
}

impl<'a> Bits<'a> {
    pub(super) fn new(rest: &'a [u8]) -> Self {
        Self {
            rest,
            held: 0,
            count: 0,
            restarts: 0,
        }
    }

    /// Holds as many bits as possible; a marker ends them.
    fn fill(&mut self) {
        while self.count <= u64::BITS - 8 {
            let (byte, length) = match self.rest {
                // A zero byte is stuffed behind 0xFF to tell it from a marker.
                [0xff, 0x00, ..] => (0xff, 2),
                [0xff, ..] | [] => return,
                [byte, ..] => (*byte, 1),
            };
            self.rest = &self.rest[length..];
            self.held = self.held << 8 | u64::from(byte);
            self.count += 8;
        }
    }

    /// The next eight bits, which stay; `None` if there are fewer.
    fn peek(&mut self) -> Option<u8> {
        if self.count < 8 {
            self.fill();
        }
        let left = self.count.checked_sub(8)?;
        Some((self.held >> left & 0xff) as u8)
    }

    /// The next bits, at most sixteen.
    fn take(&mut self, wanted: u32) -> Result<u32, Error> {
        if self.count < wanted {
            self.fill();
        }
        let left = self.count.checked_sub(wanted);
        self.count = left.ok_or_else(ends_early)?;
        Ok((self.held >> self.count) as u32 & ((1 << wanted) - 1))
    }

    /// Reads a difference of so many bits, at most fifteen (F.2.2.1).
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

    /// Skips a restart marker; they are numbered from 0 to 7, again and again (E.1.4).
    pub(super) fn restart(&mut self) -> Result<(), Error> {
        // What is left of the last byte is padding.
        if self.count >= 8 {
            return Err(damaged("a restart interval is too long"));
        }
        self.count = 0;
        while let [0xff, 0xff, ..] = self.rest {
            self.rest = &self.rest[1..];
        }
        if matches!(self.rest, [] | [0xff, 0xd9, ..]) {
            return Err(ends_early());
        }
        let [0xff, marker @ 0xd0..=0xd7, after @ ..] = self.rest else {
            return Err(damaged("a restart marker is missing"));
        };
        if marker & 7 != self.restarts & 7 {
            return Err(damaged("a restart interval is missing"));
        }
        self.restarts = self.restarts.wrapping_add(1);
        self.rest = after;
        Ok(())
    }

    /// The bytes behind the scan, from its next marker on.
    pub(super) fn into_rest(self) -> &'a [u8] {
        let mut pairs = self.rest.windows(2);
        let end = pairs.position(|pair| pair[0] == 0xff && !matches!(pair[1], 0 | 0xff));
        &self.rest[end.unwrap_or(self.rest.len())..]
    }
}
