//! The attributes of a data set that reveal missing pixel data.

use dicom_core::Tag;

use super::verdict::NotWhole;
use crate::dicom::dataset::Syntax;

const NUMBER_OF_FRAMES: Tag = Tag(0x0028, 0x0008);
const ROWS: Tag = Tag(0x0028, 0x0010);
const COLUMNS: Tag = Tag(0x0028, 0x0011);
const BITS_ALLOCATED: Tag = Tag(0x0028, 0x0100);
const PIXEL_DATA_PROVIDER_URL: Tag = Tag(0x0028, 0x7FE0);
const EXTENDED_OFFSET_TABLE: Tag = Tag(0x7FE0, 0x0001);
const FLOAT_PIXEL_DATA: Tag = Tag(0x7FE0, 0x0008);
const DOUBLE_FLOAT_PIXEL_DATA: Tag = Tag(0x7FE0, 0x0009);
const PIXEL_DATA: Tag = Tag(0x7FE0, 0x0010);

/// The longest value of a number: IS has 12 characters (PS3.5 6.2).
const LONGEST_NUMBER: usize = 16;

/// Buffers a short value while it passes.
#[derive(Debug)]
pub(super) struct ValueBuffer<const LONGEST: usize> {
    bytes: [u8; LONGEST],
    filled: usize,
    /// The length of the value; 0 if none is buffered.
    length: usize,
}

impl<const LONGEST: usize> Default for ValueBuffer<LONGEST> {
    fn default() -> Self {
        Self {
            bytes: [0; LONGEST],
            filled: 0,
            length: 0,
        }
    }
}

impl<const LONGEST: usize> ValueBuffer<LONGEST> {
    /// Starts to buffer the next value, unless it is too long.
    pub(super) fn expect(&mut self, length: u32) {
        let length = usize::try_from(length).unwrap_or(usize::MAX);
        self.filled = 0;
        self.length = if length <= LONGEST { length } else { 0 };
    }

    pub(super) fn is_expecting(&self) -> bool {
        self.length > 0
    }

    /// Takes bytes of the value, and returns it once it is complete.
    pub(super) fn take(&mut self, bytes: &[u8]) -> Option<&[u8]> {
        if self.length == 0 || bytes.is_empty() {
            return None;
        }
        let end = (self.filled + bytes.len()).min(self.length);
        self.bytes[self.filled..end].copy_from_slice(&bytes[..end - self.filled]);
        self.filled = end;
        if end < self.length {
            return None;
        }
        self.length = 0;
        Some(&self.bytes[..end])
    }
}

/// The attributes at the top level of a data set that declare pixels.
#[derive(Debug, Default)]
pub(super) struct PixelDeclaration {
    kept: ValueBuffer<LONGEST_NUMBER>,
    /// The element of the buffered value.
    of: Option<Tag>,
    has_rows: bool,
    has_columns: bool,
    has_bits: bool,
    has_pixels: bool,
    frames: Option<u64>,
    /// Entries of an offset table.
    offsets: Option<u64>,
    fragments: u64,
    has_table: bool,
}

impl PixelDeclaration {
    /// An element begins.
    pub(super) fn element(&mut self, tag: Tag, length: Option<u32>) {
        match (tag, length) {
            (NUMBER_OF_FRAMES | ROWS | COLUMNS | BITS_ALLOCATED, Some(length)) => {
                self.of = Some(tag);
                self.kept.expect(length);
            }
            (EXTENDED_OFFSET_TABLE, Some(length)) => self.offsets = Some(u64::from(length) / 8),
            (
                FLOAT_PIXEL_DATA | DOUBLE_FLOAT_PIXEL_DATA | PIXEL_DATA | PIXEL_DATA_PROVIDER_URL,
                _,
            ) => self.has_pixels = true,
            _ => {}
        }
    }

    /// Whether the current value must be read.
    pub(super) fn is_reading(&self) -> bool {
        self.kept.is_expecting()
    }

    /// Takes bytes of the current value.
    pub(super) fn value(&mut self, bytes: &[u8], syntax: Syntax) {
        let Some(value) = self.kept.take(bytes) else {
            return;
        };
        let is_set = value.iter().any(|byte| *byte != 0);
        match self.of {
            Some(NUMBER_OF_FRAMES) => self.frames = number(value, syntax),
            Some(ROWS) => self.has_rows = is_set,
            Some(COLUMNS) => self.has_columns = is_set,
            Some(BITS_ALLOCATED) => self.has_bits = is_set,
            Some(_) | None => {}
        }
    }

    /// Counts an item of the encapsulated pixel data. The first one is the basic offset table; an
    /// empty one holds no frame.
    pub(super) fn fragment(&mut self, length: u32) {
        if std::mem::replace(&mut self.has_table, true) {
            self.fragments += u64::from(length > 0);
        } else if length > 0 {
            self.offsets = Some(u64::from(length) / 4);
        }
    }

    /// Whether there are as many fragments as frames, so that none is missing.
    pub(super) fn has_all_fragments(&self) -> bool {
        let frames = self.frames.or(self.offsets).unwrap_or(1);
        self.fragments == frames && frames > 0
    }

    /// A data set truncated before its pixel data describes pixels without having them. Spectra
    /// have rows and columns too, but no Bits Allocated (PS3.3 C.8.14).
    pub(super) fn check(&self) -> Result<(), NotWhole> {
        let describes_pixels = self.has_rows && self.has_columns && self.has_bits;
        if describes_pixels && !self.has_pixels {
            return Err(NotWhole::NoPixelData);
        }
        Ok(())
    }
}

/// Parses a number as text, with any suffix (`4`, `4.0`, `4\4`), or as two bytes.
fn number(value: &[u8], syntax: Syntax) -> Option<u64> {
    let text = value.trim_ascii();
    let digits = text.iter().take_while(|byte| byte.is_ascii_digit()).count();
    match (digits, value) {
        (0, [a, b]) => Some(syntax.u16([*a, *b]).into()),
        (0, _) => None,
        (_, _) => std::str::from_utf8(&text[..digits]).ok()?.parse().ok(),
    }
}
