//! Writes what is coded in entropy-coded segments (ISO 10918-1 F.1.2), for tests.

#[derive(Default)]
pub(super) struct BitWriter {
    pub(super) bytes: Vec<u8>,
    held: u64,
    count: u32,
}

impl BitWriter {
    pub(super) fn put(&mut self, value: u32, bits: u32) {
        self.held = self.held << bits | u64::from(value);
        self.count += bits;
        while self.count >= 8 {
            self.count -= 8;
            let byte = (self.held >> self.count & 0xff) as u8;
            self.bytes.push(byte);
            if byte == 0xff {
                self.bytes.push(0);
            }
        }
    }

    /// Fills the last byte.
    pub(super) fn end(&mut self) {
        while self.count > 0 {
            self.put(1, 1);
        }
    }
}

/// How many bits a number takes, and these bits.
pub(super) fn in_bits(value: i32) -> (u32, u32) {
    let size = 32 - value.unsigned_abs().leading_zeros();
    let coded = if value < 0 { value - 1 } else { value };
    (size, coded.cast_unsigned() & ((1 << size) - 1))
}
