//! The marker segments of a JPEG-LS stream (annex C).

use super::super::samples::damaged;
use crate::pixels::{Error, Geometry};

/// How a scan interleaves components (C.2.3, ILV).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Interleave {
    /// Each component has a scan of its own.
    None,
    /// Line by line.
    Line,
    /// Pixel by pixel.
    Sample,
}

/// C.2.4.1: parameters of the coder; 0: the default.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Preset {
    pub(super) maxval: i32,
    pub(super) t1: i32,
    pub(super) t2: i32,
    pub(super) t3: i32,
    pub(super) reset: i32,
}

pub(super) fn short() -> Error {
    damaged("the JPEG-LS stream ends early")
}

/// The next marker, behind fill bytes and, between scans, bytes that the coder left unread.
pub(super) fn marker(frame: &[u8], at: &mut usize) -> Result<u8, Error> {
    loop {
        let pair = frame.get(*at..*at + 2).ok_or_else(short)?;
        *at += 1;
        if pair[0] == 0xFF && pair[1] != 0xFF && pair[1] >= 0x80 {
            *at += 1;
            return Ok(pair[1]);
        }
    }
}

pub(super) fn segment<'a>(frame: &'a [u8], at: &mut usize) -> Result<&'a [u8], Error> {
    let length = frame.get(*at..*at + 2).ok_or_else(short)?;
    let length = usize::from(u16::from_be_bytes([length[0], length[1]]));
    let segment = frame.get(*at + 2..*at + length.max(2)).ok_or_else(short)?;
    *at += length;
    Ok(segment)
}

/// C.2.2: precision, lines, samples in a line, components.
pub(super) fn frame_header(segment: &[u8], geometry: &Geometry) -> Result<u32, Error> {
    let &[bits, y1, y0, x1, x0, components, ..] = segment else {
        return Err(short());
    };
    let (rows, columns) = (u16::from_be_bytes([y1, y0]), u16::from_be_bytes([x1, x0]));
    let is_same = u32::from(rows) == geometry.rows
        && u32::from(columns) == geometry.columns
        && u32::from(components) == geometry.samples;
    if !is_same || !(2..=16).contains(&bits) || u32::from(bits) > geometry.bits_allocated.max(8) {
        return Err(damaged("the JPEG-LS frame contradicts the image"));
    }
    Ok(u32::from(bits))
}

pub(super) fn parameters(segment: &[u8]) -> Result<Preset, Error> {
    let (&id, rest) = segment.split_first().ok_or_else(short)?;
    if id != 1 {
        return Err(damaged("mapping tables are not supported"));
    }
    let (numbers, _) = rest.as_chunks::<2>();
    let numbers: Vec<i32> = numbers
        .iter()
        .map(|n| i32::from(u16::from_be_bytes(*n)))
        .collect();
    let &[maxval, t1, t2, t3, reset, ..] = numbers.as_slice() else {
        return Err(short());
    };
    Ok(Preset {
        maxval,
        t1,
        t2,
        t3,
        reset,
    })
}

/// C.2.3.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct ScanHeader {
    /// Number of components.
    pub(super) components: usize,
    pub(super) near: i32,
    pub(super) interleave: Interleave,
}

pub(super) fn scan_header(segment: &[u8]) -> Result<ScanHeader, Error> {
    let count = usize::from(*segment.first().ok_or_else(short)?);
    let rest = segment.get(1 + 2 * count..).ok_or_else(short)?;
    let &[near, interleave, ..] = rest else {
        return Err(short());
    };
    let interleave = match interleave {
        0 => Interleave::None,
        1 => Interleave::Line,
        2 => Interleave::Sample,
        _ => return Err(damaged("unknown interleave mode")),
    };
    if count == 0 || count > 4 {
        return Err(damaged("a scan has no components, or too many"));
    }
    // A single component is not interleaved.
    let interleave = if count == 1 {
        Interleave::None
    } else {
        interleave
    };
    Ok(ScanHeader {
        components: count,
        near: i32::from(near),
        interleave,
    })
}
