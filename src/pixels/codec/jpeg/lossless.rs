//! Lossless JPEG with Huffman coding (ISO 10918-1 annex H), of two to sixteen bits.
//!
//! Names are those of the standard: Ra is the sample to the left, Rb the one above, Rc the one
//! above and to the left.

use super::super::samples::{Samples, damaged};
use super::entropy::{Bits, Huffman};
use super::segments::{Frame, Scan, Stream, Tables};
use crate::pixels::{Error, Geometry};

impl Frame {
    /// Whether this module decodes the frame.
    pub(super) fn is_lossless(&self) -> bool {
        self.process == 0xc3
    }
}

pub(super) fn decode(geometry: &Geometry, jpeg: &[u8]) -> Result<Samples, Error> {
    let mut stream = Stream::new(jpeg);
    let mut scan = stream.next_scan()?;
    let mut picture = Picture::new(geometry, stream.frame()?)?;
    loop {
        let rest = picture.decode(&scan, stream.tables())?;
        if picture.is_whole() {
            return Ok(picture.into_samples());
        }
        stream.resume(rest);
        scan = stream.next_scan()?;
    }
}

/// The samples of a frame while its scans are decoded.
struct Picture {
    rows: usize,
    columns: usize,
    precision: u32,
    /// Whether the samples of each component are there.
    is_done: Vec<bool>,
    /// Bytes of a sample.
    width: usize,
    bytes: Vec<u8>,
}

impl Picture {
    fn new(geometry: &Geometry, frame: &Frame) -> Result<Self, Error> {
        frame.check_size(geometry)?;
        let components = frame.components.len();
        if components != geometry.samples as usize {
            return Err(damaged(
                "the JPEG and the image differ in samples per pixel",
            ));
        }
        let first = frame.components[0].sampling;
        if frame.components.iter().any(|one| one.sampling != first) {
            return Err(Error::Unsupported("a subsampled lossless JPEG".to_owned()));
        }
        let precision = u32::from(frame.precision);
        if !(2..=16).contains(&precision) {
            return Err(damaged("a lossless JPEG has two to sixteen bits"));
        }
        let (rows, columns) = (usize::from(frame.rows), usize::from(frame.columns));
        let width = if precision <= 8 { 1 } else { 2 };
        Ok(Self {
            rows,
            columns,
            precision,
            is_done: vec![false; components],
            width,
            bytes: vec![0; rows * columns * components * width],
        })
    }

    fn is_whole(&self) -> bool {
        self.is_done.iter().all(|&is_done| is_done)
    }

    fn into_samples(self) -> Samples {
        Samples {
            bytes: self.bytes,
            bits: self.width as u32 * 8,
            precision: Some(self.precision),
            is_rgb: false,
        }
    }

    /// Decodes a scan, row by row.
    fn decode<'a>(&mut self, scan: &Scan<'a>, tables: &Tables) -> Result<Bits<'a>, Error> {
        for component in &scan.components {
            if std::mem::replace(&mut self.is_done[component.place], true) {
                return Err(damaged("a component has several scans"));
            }
        }
        let (high, point_transform) = scan.approximation;
        let bits = self.precision.checked_sub(point_transform.into());
        let bits = bits.filter(|&bits| bits > 0 && high == 0 && (1..=7).contains(&scan.selection));
        let bits = bits.ok_or_else(|| damaged("the scan is not that of a lossless JPEG"))?;
        let interval = tables.restart_interval;
        // H.1.2.1: an interval is whole rows.
        if !interval.is_multiple_of(self.columns) {
            return Err(damaged("a restart interval is not whole rows"));
        }
        let huffman = scan.components.iter().map(|one| tables.dc(*one));
        let mut rows = Rows {
            bits: Bits::new(scan.data),
            huffman: huffman.collect::<Result<_, _>>()?,
            selection: scan.selection,
            range: 1 << bits,
            above: vec![vec![0; self.columns]; scan.components.len()],
            line: vec![vec![0; self.columns]; scan.components.len()],
        };
        for row in 0..self.rows {
            let is_restart =
                interval > 0 && row > 0 && (row * self.columns).is_multiple_of(interval);
            if is_restart {
                rows.bits.restart()?;
            }
            rows.next(row == 0 || is_restart)?;
            for (component, line) in scan.components.iter().zip(&rows.line) {
                self.put(row, component.place, line, point_transform);
            }
        }
        Ok(rows.bits)
    }

    fn put(&mut self, row: usize, component: usize, line: &[i32], point_transform: u8) {
        let pixel = self.is_done.len() * self.width;
        let row = &mut self.bytes[row * self.columns * pixel..];
        for (pixel, value) in row.chunks_exact_mut(pixel).zip(line) {
            let [low, high, ..] = (value << point_transform).to_le_bytes();
            match &mut pixel[component * self.width..][..self.width] {
                [one] => *one = low,
                [first, second, ..] => (*first, *second) = (low, high),
                [] => {}
            }
        }
    }
}

/// Decodes the rows of a scan.
struct Rows<'a, 't> {
    bits: Bits<'a>,
    /// The table of each component.
    huffman: Vec<&'t Huffman>,
    selection: u8,
    /// One more than the largest sample, before the point transform.
    range: i32,
    above: Vec<Vec<i32>>,
    line: Vec<Vec<i32>>,
}

impl Rows<'_, '_> {
    /// The next row of each component. `is_first` after the start of the scan and after a restart.
    fn next(&mut self, is_first: bool) -> Result<(), Error> {
        std::mem::swap(&mut self.above, &mut self.line);
        let columns = self.line.first().map_or(0, Vec::len);
        for x in 0..columns {
            for component in 0..self.line.len() {
                let difference = difference(&mut self.bits, self.huffman[component])?;
                let (line, above) = (&mut self.line[component], &self.above[component]);
                let predicted = match (is_first, x) {
                    (true, 0) => self.range / 2,
                    (true, _) => line[x - 1],
                    (false, 0) => above[0],
                    (false, _) => predicted(self.selection, line[x - 1], above[x], above[x - 1]),
                };
                // H.1.2.1: modulo 2 to the power of 16.
                let sample = (predicted + difference) & 0xffff;
                if sample >= self.range {
                    return Err(damaged("a sample has too many bits"));
                }
                line[x] = sample;
            }
        }
        Ok(())
    }
}

// Table H.2.
fn difference(bits: &mut Bits<'_>, huffman: &Huffman) -> Result<i32, Error> {
    match huffman.read(bits)? {
        size @ 0..16 => bits.difference(size),
        16 => Ok(1 << 15),
        _ => Err(damaged("a difference has too many bits")),
    }
}

// Table H.1.
fn predicted(selection: u8, ra: i32, rb: i32, rc: i32) -> i32 {
    match selection {
        1 => ra,
        2 => rb,
        3 => rc,
        4 => ra + rb - rc,
        5 => ra + ((rb - rc) >> 1),
        6 => rb + ((ra - rc) >> 1),
        _ => (ra + rb) >> 1,
    }
}

#[cfg(test)]
#[path = "lossless_tests.rs"]
mod tests;
