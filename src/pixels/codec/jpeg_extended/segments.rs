//! The marker segments of a JPEG in front of its first scan (ISO 10918-1 annex B).

use super::super::samples::damaged;
use super::block::ZIGZAG;
use super::entropy::Huffman;
use crate::pixels::Error;

/// The header of a frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in super::super) struct Frame {
    process: u8,
    precision: u8,
    pub(super) rows: u16,
    pub(super) columns: u16,
    pub(super) components: u8,
    quantization: u8,
}

impl Frame {
    /// Whether this module decodes the frame.
    pub(in super::super) fn is_extended(self) -> bool {
        self.process == 0xc1 && self.precision == 12
    }
}

/// Everything in front of the data of the first scan.
pub(super) struct Headers<'a> {
    pub(super) frame: Frame,
    tables: Tables,
    /// The header of the scan.
    scan: &'a [u8],
    /// The data of the scan.
    pub(super) data: &'a [u8],
}

#[derive(Default)]
struct Tables {
    quantization: [Option<[u16; 64]>; 4],
    /// DC tables are the first four, AC tables the others.
    huffman: [Option<Huffman>; 8],
    restart_interval: usize,
}

/// The tables that decode a scan.
pub(super) struct Scan<'a> {
    pub(super) dc: &'a Huffman,
    pub(super) ac: &'a Huffman,
    pub(super) quantization: &'a [u16; 64],
    /// Blocks between two restart markers; 0 without markers.
    pub(super) restart_interval: usize,
}

impl<'a> Headers<'a> {
    pub(super) fn read(jpeg: &'a [u8]) -> Result<Self, Error> {
        let mut tables = Tables::default();
        let mut header = None;
        let mut segments = Segments { rest: jpeg };
        while let Some((marker, content)) = segments.next() {
            match marker {
                0xdb => quantization_tables(content, &mut tables.quantization)?,
                0xc4 => huffman_tables(content, &mut tables.huffman)?,
                0xdd => {
                    let interval = content.first_chunk().ok_or_else(short)?;
                    tables.restart_interval = usize::from(u16::from_be_bytes(*interval));
                }
                0xda => {
                    return Ok(Self {
                        frame: header.ok_or_else(|| damaged("no JPEG header"))?,
                        tables,
                        scan: content,
                        data: segments.rest,
                    });
                }
                _ => header = header.or(frame(marker, content)),
            }
        }
        Err(damaged("the JPEG has no scan"))
    }

    pub(super) fn scan(&self) -> Result<Scan<'_>, Error> {
        let &[1, _, tables, ..] = self.scan else {
            return Err(damaged("the scan and the frame differ in components"));
        };
        let Tables {
            quantization,
            huffman,
            restart_interval,
        } = &self.tables;
        let table = |at: u8| huffman.get(usize::from(at)).and_then(Option::as_ref);
        let missing = || damaged("the scan names a missing table");
        let (dc, ac) = (tables >> 4, tables & 0x0f);
        let quantization = quantization.get(usize::from(self.frame.quantization));
        Ok(Scan {
            dc: table(dc).filter(|_| dc < 4).ok_or_else(missing)?,
            ac: table(ac + 4).ok_or_else(missing)?,
            quantization: quantization.and_then(Option::as_ref).ok_or_else(missing)?,
            restart_interval: *restart_interval,
        })
    }
}

/// The marker segments of a JPEG, up to the first scan.
struct Segments<'a> {
    rest: &'a [u8],
}

impl<'a> Iterator for Segments<'a> {
    /// A marker and the content of its segment.
    type Item = (u8, &'a [u8]);

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            let [0xff, marker, after @ ..] = self.rest else {
                return None;
            };
            match marker {
                // Fill bytes.
                0xff => self.rest = &self.rest[1..],
                0x01 | 0xd0..=0xd8 => self.rest = after,
                _ => {
                    let length = usize::from(u16::from_be_bytes(*after.first_chunk()?));
                    let content = after.get(2..length)?;
                    self.rest = &after[length..];
                    return Some((*marker, content));
                }
            }
        }
    }
}

/// The frame header of a JPEG.
pub(in super::super) fn header(jpeg: &[u8]) -> Option<Frame> {
    let mut segments = Segments { rest: jpeg };
    segments.find_map(|(marker, content)| frame(marker, content))
}

fn frame(marker: u8, content: &[u8]) -> Option<Frame> {
    // C4, C8 and CC do not start frames.
    if !matches!(marker, 0xc0..=0xcf) || matches!(marker, 0xc4 | 0xc8 | 0xcc) {
        return None;
    }
    let &[precision, y0, y1, x0, x1, components, ref each @ ..] = content else {
        return None;
    };
    Some(Frame {
        process: marker,
        precision,
        rows: u16::from_be_bytes([y0, y1]),
        columns: u16::from_be_bytes([x0, x1]),
        components,
        quantization: *each.get(2)?,
    })
}

fn short() -> Error {
    damaged("a segment of the JPEG is too short")
}

fn quantization_tables(
    mut content: &[u8],
    tables: &mut [Option<[u16; 64]>; 4],
) -> Result<(), Error> {
    while let [class, rest @ ..] = content {
        let width = if class >> 4 == 0 { 1 } else { 2 };
        let steps = rest.get(..64 * width).ok_or_else(short)?;
        let mut table = [0; 64];
        for (step, &place) in steps.chunks_exact(width).zip(&ZIGZAG) {
            table[usize::from(place)] = step.iter().fold(0, |all, &b| all << 8 | u16::from(b));
        }
        let slot = tables
            .get_mut(usize::from(class & 0x0f))
            .ok_or_else(short)?;
        *slot = Some(table);
        content = &rest[64 * width..];
    }
    Ok(())
}

fn huffman_tables(mut content: &[u8], tables: &mut [Option<Huffman>; 8]) -> Result<(), Error> {
    while let [class, rest @ ..] = content {
        let counts: &[u8; 16] = rest.first_chunk().ok_or_else(short)?;
        let total: usize = counts.iter().map(|&count| usize::from(count)).sum();
        let values = rest.get(16..16 + total).ok_or_else(short)?;
        let at = usize::from(class >> 4) * 4 + usize::from(class & 0x0f);
        let slot = tables.get_mut(at).filter(|_| class & 0x0f < 4);
        *slot.ok_or_else(short)? = Some(Huffman::new(counts, values)?);
        content = &rest[16 + total..];
    }
    Ok(())
}
