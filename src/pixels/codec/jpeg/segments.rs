//! The marker segments of a JPEG (ISO 10918-1 annex B).

use super::super::samples::damaged;
use super::block::ZIGZAG;
use super::entropy::{Bits, Huffman};
use crate::pixels::{Error, Geometry};

/// The header of a frame.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Frame {
    pub(super) process: u8,
    pub(super) precision: u8,
    pub(super) rows: u16,
    pub(super) columns: u16,
    pub(super) components: Vec<Component>,
}

impl Frame {
    /// Checks that the image has the size of the frame.
    pub(super) fn check_size(&self, geometry: &Geometry) -> Result<(), Error> {
        let (rows, columns) = (u32::from(self.rows), u32::from(self.columns));
        if (rows, columns) != (geometry.rows, geometry.columns) {
            return Err(damaged("the JPEG and the image differ in size"));
        }
        // B.2.2: a frame has components.
        if self.components.is_empty() {
            return Err(short());
        }
        Ok(())
    }
}

/// A component of a frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Component {
    pub(super) id: u8,
    /// Horizontal and vertical sampling factors.
    pub(super) sampling: (u8, u8),
    pub(super) quantization: u8,
}

/// A JPEG that is read scan by scan.
pub(super) struct Stream<'a> {
    segments: Segments<'a>,
    frame: Option<Frame>,
    tables: Tables,
    has_scans: bool,
    is_jfif: bool,
    adobe_transform: Option<u8>,
}

#[derive(Default)]
pub(super) struct Tables {
    quantization: [Option<[u16; 64]>; 4],
    /// DC tables are the first four, AC tables the others.
    huffman: [Option<Huffman>; 8],
    /// MCUs between two restart markers; 0 without markers.
    pub(super) restart_interval: usize,
}

/// The header of a scan, and its data.
pub(super) struct Scan<'a> {
    pub(super) components: Vec<ScanComponent>,
    /// The predictor of a lossless JPEG.
    pub(super) selection: u8,
    /// The high and the low bit position, or the point transform of a lossless JPEG.
    pub(super) approximation: (u8, u8),
    pub(super) data: &'a [u8],
}

/// A component of a scan.
#[derive(Debug, Clone, Copy)]
pub(super) struct ScanComponent {
    /// Its place in the frame.
    pub(super) place: usize,
    dc: u8,
    ac: u8,
}

impl<'a> Stream<'a> {
    pub(super) fn new(jpeg: &'a [u8]) -> Self {
        Self {
            segments: Segments { rest: jpeg },
            frame: None,
            tables: Tables::default(),
            has_scans: false,
            is_jfif: false,
            adobe_transform: None,
        }
    }

    /// Whether no scan has been read.
    pub(super) fn is_before_scans(&self) -> bool {
        !self.has_scans
    }

    /// Whether a segment says that the stream is JFIF (ISO 10918-5).
    pub(super) fn is_jfif(&self) -> bool {
        self.is_jfif
    }

    /// The colour transform in Adobe's segment (ISO 10918-6, 6.5.3).
    pub(super) fn adobe_transform(&self) -> Option<u8> {
        self.adobe_transform
    }

    /// Reads up to the data of the next scan.
    pub(super) fn next_scan(&mut self) -> Result<Scan<'a>, Error> {
        while let Some((marker, content)) = self.segments.next() {
            match marker {
                0xdb => quantization_tables(content, &mut self.tables.quantization)?,
                0xc4 => huffman_tables(content, &mut self.tables.huffman)?,
                0xdd => {
                    let interval = content.first_chunk().ok_or_else(short)?;
                    self.tables.restart_interval = usize::from(u16::from_be_bytes(*interval));
                }
                0xe0 => self.is_jfif |= content.starts_with(b"JFIF\0"),
                0xee if content.starts_with(b"Adobe") => {
                    self.adobe_transform = content.get(11).copied();
                }
                0xda => {
                    self.has_scans = true;
                    return scan(self.frame()?, content, self.segments.rest);
                }
                _ if self.frame.is_none() => self.frame = frame(marker, content),
                _ => {}
            }
        }
        Err(damaged("the JPEG has no scan"))
    }

    /// Goes on behind the data of a scan.
    pub(super) fn resume(&mut self, bits: Bits<'a>) {
        self.segments.rest = bits.into_rest();
    }

    pub(super) fn frame(&self) -> Result<&Frame, Error> {
        self.frame.as_ref().ok_or_else(|| damaged("no JPEG header"))
    }

    pub(super) fn tables(&self) -> &Tables {
        &self.tables
    }
}

impl Tables {
    pub(super) fn dc(&self, component: ScanComponent) -> Result<&Huffman, Error> {
        let table = self.huffman.get(usize::from(component.dc));
        let table = table.filter(|_| component.dc < 4);
        table.and_then(Option::as_ref).ok_or_else(missing)
    }

    pub(super) fn ac(&self, component: ScanComponent) -> Result<&Huffman, Error> {
        let table = self.huffman.get(usize::from(component.ac) + 4);
        table.and_then(Option::as_ref).ok_or_else(missing)
    }

    pub(super) fn quantization(&self, component: Component) -> Result<&[u16; 64], Error> {
        let table = self.quantization.get(usize::from(component.quantization));
        table.and_then(Option::as_ref).ok_or_else(missing)
    }
}

fn missing() -> Error {
    damaged("the scan names a missing table")
}

fn scan<'a>(frame: &Frame, header: &[u8], data: &'a [u8]) -> Result<Scan<'a>, Error> {
    let (&count, rest) = header.split_first().ok_or_else(short)?;
    let (pairs, rest) = rest
        .split_at_checked(2 * usize::from(count))
        .ok_or_else(short)?;
    let &[selection, _, approximation, ..] = rest else {
        return Err(short());
    };
    let (pairs, _) = pairs.as_chunks::<2>();
    let components = pairs.iter().map(|[id, tables]| {
        let place = frame.components.iter().position(|one| one.id == *id);
        Some(ScanComponent {
            place: place?,
            dc: tables >> 4,
            ac: tables & 0x0f,
        })
    });
    let components: Option<Vec<_>> = components.collect();
    let differ = || damaged("the scan and the frame differ in components");
    Ok(Scan {
        components: components
            .filter(|all| !all.is_empty() && all.len() <= frame.components.len())
            .ok_or_else(differ)?,
        selection,
        approximation: (approximation >> 4, approximation & 0x0f),
        data,
    })
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
pub(super) fn header(jpeg: &[u8]) -> Option<Frame> {
    let mut segments = Segments { rest: jpeg };
    segments.find_map(|(marker, content)| frame(marker, content))
}

fn frame(marker: u8, content: &[u8]) -> Option<Frame> {
    // C4, C8 and CC do not start frames.
    if !matches!(marker, 0xc0..=0xcf) || matches!(marker, 0xc4 | 0xc8 | 0xcc) {
        return None;
    }
    let &[precision, y0, y1, x0, x1, count, ref each @ ..] = content else {
        return None;
    };
    let (each, _) = each.get(..3 * usize::from(count))?.as_chunks::<3>();
    let components = each.iter().map(|&[id, sampling, quantization]| Component {
        id,
        sampling: (sampling >> 4, sampling & 0x0f),
        quantization,
    });
    Some(Frame {
        process: marker,
        precision,
        rows: u16::from_be_bytes([y0, y1]),
        columns: u16::from_be_bytes([x0, x1]),
        components: components.collect(),
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
