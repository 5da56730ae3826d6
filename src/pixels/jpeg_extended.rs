//! JPEG with twelve bits (ISO 10918-1, extended sequential with Huffman coding), which no decoder
//! in Rust reads. In safe Rust; one component, as PS3.5 §8.2.1 has it for more than eight bits.

use std::f32::consts::{FRAC_1_SQRT_2, PI};

use super::decode::{Samples, damaged};
use super::{Error, Geometry};

const BLOCK: usize = 8;
/// Where the coefficients of a block stand, in the order in which they are coded.
const ZIGZAG: [u8; 64] = zigzag();

/// What the header of a frame says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Frame {
    process: u8,
    precision: u8,
    rows: u16,
    columns: u16,
    components: u8,
    quantization: u8,
}

impl Frame {
    /// Whether this is what is decoded here.
    pub(super) fn is_extended(self) -> bool {
        self.process == 0xc1 && self.precision == 12
    }
}

/// The segments of a JPEG, up to and with the first scan's.
struct Segments<'a> {
    rest: &'a [u8],
}

impl<'a> Iterator for Segments<'a> {
    /// A marker and what its segment says.
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
                    let said = after.get(2..length)?;
                    self.rest = &after[length..];
                    return Some((*marker, said));
                }
            }
        }
    }
}

/// What a JPEG says of itself.
pub(super) fn header(jpeg: &[u8]) -> Option<Frame> {
    let mut segments = Segments { rest: jpeg };
    segments.find_map(|(marker, said)| frame(marker, said))
}

fn frame(marker: u8, said: &[u8]) -> Option<Frame> {
    // C4, C8 and CC are no frames.
    if !matches!(marker, 0xc0..=0xcf) || matches!(marker, 0xc4 | 0xc8 | 0xcc) {
        return None;
    }
    let &[precision, y0, y1, x0, x1, components, ref each @ ..] = said else {
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

pub(super) fn decode(geometry: &Geometry, jpeg: &[u8]) -> Result<Samples, Error> {
    let mut quantization = [const { None }; 4];
    let mut huffman = [const { None }; 8];
    let mut interval = 0;
    let mut found = None;
    let mut segments = Segments { rest: jpeg };
    let scan = loop {
        let Some((marker, said)) = segments.next() else {
            return Err(damaged("the JPEG has no scan"));
        };
        match marker {
            0xdb => quantization_tables(said, &mut quantization)?,
            0xc4 => huffman_tables(said, &mut huffman)?,
            0xdd => {
                let said = said.first_chunk().ok_or_else(short)?;
                interval = usize::from(u16::from_be_bytes(*said));
            }
            0xda => break said,
            _ => found = found.or(frame(marker, said)),
        }
    };
    let frame = found.ok_or_else(|| damaged("no JPEG header"))?;
    if (u32::from(frame.rows), u32::from(frame.columns)) != (geometry.rows, geometry.columns) {
        return Err(damaged("the JPEG has another size than the image"));
    }
    if frame.components != 1 || geometry.samples != 1 {
        return Err(Error::Unsupported(
            "colours in a JPEG of 12 bits".to_owned(),
        ));
    }
    let &[1, _, tables, ..] = scan else {
        return Err(damaged("the scan has another number of components"));
    };
    let table = |at: u8| huffman.get(usize::from(at)).and_then(Option::as_ref);
    let missing = || damaged("the scan names a table that is not there");
    let (dc, ac) = (tables >> 4, tables & 0x0f);
    let dc = table(dc).filter(|_| dc < 4).ok_or_else(missing)?;
    let ac = table(ac + 4).ok_or_else(missing)?;
    let quantization = quantization
        .get(usize::from(frame.quantization))
        .and_then(Option::as_ref)
        .ok_or_else(missing)?;

    let (rows, columns) = (usize::from(frame.rows), usize::from(frame.columns));
    let (down, across) = (rows.div_ceil(BLOCK), columns.div_ceil(BLOCK));
    let transform = Transform::new();
    let mut bits = Bits::new(segments.rest);
    let mut samples = vec![0; rows * columns * 2];
    let mut predicted = 0;
    for at in 0..down * across {
        if interval > 0 && at > 0 && at % interval == 0 {
            bits.restart()?;
            predicted = 0;
        }
        let mut block = coefficients(&mut bits, dc, ac, &mut predicted)?;
        for (coefficient, step) in block.iter_mut().zip(quantization) {
            *coefficient *= f32::from(*step);
        }
        transform.invert(&mut block);
        let (top, left) = (at / across * BLOCK, at % across * BLOCK);
        let width = BLOCK.min(columns - left);
        for (row, line) in (top..rows).zip(block.chunks_exact(BLOCK)) {
            let from = (row * columns + left) * 2;
            let (out, _) = samples[from..from + width * 2].as_chunks_mut::<2>();
            for (sample, value) in out.iter_mut().zip(line) {
                // A cast of a float stays within its type.
                *sample = ((value.round() as i32 + 2048).clamp(0, 4095) as u16).to_le_bytes();
            }
        }
    }
    Ok(Samples {
        bytes: samples,
        bits: 16,
        is_rgb: false,
    })
}

fn short() -> Error {
    damaged("a segment of the JPEG is too short")
}

fn quantization_tables(mut said: &[u8], tables: &mut [Option<[u16; 64]>; 4]) -> Result<(), Error> {
    while let [what, rest @ ..] = said {
        let width = if what >> 4 == 0 { 1 } else { 2 };
        let steps = rest.get(..64 * width).ok_or_else(short)?;
        let mut table = [0; 64];
        for (step, &place) in steps.chunks_exact(width).zip(&ZIGZAG) {
            table[usize::from(place)] = step.iter().fold(0, |all, &b| all << 8 | u16::from(b));
        }
        let slot = tables.get_mut(usize::from(what & 0x0f)).ok_or_else(short)?;
        *slot = Some(table);
        said = &rest[64 * width..];
    }
    Ok(())
}

/// DC tables are the first four, AC tables the others.
fn huffman_tables(mut said: &[u8], tables: &mut [Option<Huffman>; 8]) -> Result<(), Error> {
    while let [what, rest @ ..] = said {
        let counts: &[u8; 16] = rest.first_chunk().ok_or_else(short)?;
        let total: usize = counts.iter().map(|&count| usize::from(count)).sum();
        let values = rest.get(16..16 + total).ok_or_else(short)?;
        let at = usize::from(what >> 4) * 4 + usize::from(what & 0x0f);
        let slot = tables.get_mut(at).filter(|_| what & 0x0f < 4);
        *slot.ok_or_else(short)? = Some(Huffman::new(counts, values)?);
        said = &rest[16 + total..];
    }
    Ok(())
}

/// A code: for each length, the first code and where its value stands.
struct Huffman {
    /// For each length from one: the first code, how many there are, where their values begin.
    lengths: [(u32, u32, usize); 16],
    values: Vec<u8>,
}

impl Huffman {
    fn new(counts: &[u8; 16], values: &[u8]) -> Result<Self, Error> {
        let mut lengths = [(0, 0, 0); 16];
        let (mut code, mut begin) = (0, 0);
        for (length, &count) in counts.iter().enumerate() {
            lengths[length] = (code, u32::from(count), begin);
            code += u32::from(count);
            begin += usize::from(count);
            if code > 2 << length {
                return Err(damaged("a Huffman table has more codes than fit"));
            }
            code <<= 1;
        }
        Ok(Self {
            lengths,
            values: values.to_vec(),
        })
    }

    fn read(&self, bits: &mut Bits<'_>) -> Result<u8, Error> {
        let mut code = 0;
        for (first, count, begin) in self.lengths {
            code = code << 1 | bits.take(1)?;
            // Codes of a length follow one another, and all shorter ones come before.
            if code >= first && code - first < count {
                return Ok(self.values[begin + (code - first) as usize]);
            }
        }
        Err(damaged("a code that is in no Huffman table"))
    }
}

/// The bits of a scan.
struct Bits<'a> {
    rest: &'a [u8],
    held: u32,
    count: u32,
}

impl<'a> Bits<'a> {
    fn new(rest: &'a [u8]) -> Self {
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
                // A byte of ones is followed by one of zeros, so that it is no marker.
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

    /// A number of so many bits, as JPEG writes differences (F.2.2.1).
    fn difference(&mut self, bits: u8) -> Result<i32, Error> {
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

    /// Goes on behind a restart marker.
    fn restart(&mut self) -> Result<(), Error> {
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

/// The coefficients of a block, in rows.
fn coefficients(
    bits: &mut Bits<'_>,
    dc: &Huffman,
    ac: &Huffman,
    predicted: &mut i32,
) -> Result<[f32; 64], Error> {
    let too_large = || damaged("a coefficient of more bits than there are");
    let mut block = [0.0; 64];
    let size = dc.read(bits)?;
    if size > 15 {
        return Err(too_large());
    }
    *predicted = predicted.wrapping_add(bits.difference(size)?);
    block[0] = *predicted as f32;
    let mut at = 1;
    while at < 64 {
        let code = ac.read(bits)?;
        let (zeros, size) = (usize::from(code >> 4), code & 0x0f);
        match (zeros, size) {
            (15, 0) => at += 16,
            (_, 0) => break,
            _ => {
                at += zeros;
                let place = ZIGZAG.get(at).ok_or_else(|| damaged("a block overflows"))?;
                block[usize::from(*place)] = bits.difference(size)? as f32;
                at += 1;
            }
        }
    }
    Ok(block)
}

/// The inverse cosine transform (A.3.3), row by row and then column by column.
struct Transform {
    /// For each place in a line, what each coefficient adds.
    basis: [[f32; BLOCK]; BLOCK],
}

impl Transform {
    fn new() -> Self {
        let weight = |place: usize, coefficient: usize| {
            let scale = if coefficient == 0 { FRAC_1_SQRT_2 } else { 1.0 };
            let angle = (2 * place + 1) as f32 * coefficient as f32 * PI / 16.0;
            scale * angle.cos() / 2.0
        };
        let line = |place| std::array::from_fn(|coefficient| weight(place, coefficient));
        Self {
            basis: std::array::from_fn(line),
        }
    }

    fn invert(&self, block: &mut [f32; 64]) {
        for row in block.as_chunks_mut::<BLOCK>().0 {
            *row = self.line(row);
        }
        for column in 0..BLOCK {
            let of_column = self.line(&std::array::from_fn(|row| block[row * BLOCK + column]));
            for (row, value) in of_column.into_iter().enumerate() {
                block[row * BLOCK + column] = value;
            }
        }
    }

    fn line(&self, coefficients: &[f32; BLOCK]) -> [f32; BLOCK] {
        self.basis.map(|weights| {
            let each = weights.iter().zip(coefficients);
            each.map(|(weight, coefficient)| weight * coefficient).sum()
        })
    }
}

/// Diagonals, up and down by turns.
const fn zigzag() -> [u8; 64] {
    let mut order = [0; 64];
    let (mut row, mut column, mut at) = (0_u8, 0_u8, 0);
    while at < 64 {
        order[at] = row * 8 + column;
        at += 1;
        let goes_up = (row + column).is_multiple_of(2);
        match (goes_up, row, column) {
            (true, _, 7) => row += 1,
            (true, 0, _) => column += 1,
            (true, ..) => (row, column) = (row - 1, column + 1),
            (false, 7, _) => column += 1,
            (false, _, 0) => row += 1,
            (false, ..) => (row, column) = (row + 1, column - 1),
        }
    }
    order
}

#[cfg(test)]
mod tests {
    use super::*;

    fn geometry(rows: u32, columns: u32) -> Geometry {
        Geometry::grey(rows, columns, 16, 12)
    }

    /// Codes of eight bits, one for each value.
    fn table(what: u8, values: impl Iterator<Item = u8>) -> Vec<u8> {
        let values: Vec<u8> = values.collect();
        let mut said = vec![what, 0, 0, 0, 0, 0, 0, 0];
        said.push(u8::try_from(values.len()).expect("few"));
        said.extend([0; 8]);
        said.extend(values);
        said
    }

    /// Runs of zeros, and of how many bits the number behind them is.
    fn runs() -> impl Iterator<Item = u8> {
        (0..=0xff).filter(|run| matches!(run & 0x0f, 1..=14) || matches!(run, 0 | 0xf0))
    }

    fn code_of(run: u8) -> u32 {
        let place = runs().position(|other| other == run);
        u32::try_from(place.expect("a run")).expect("small")
    }

    #[derive(Default)]
    struct Written {
        bytes: Vec<u8>,
        held: u64,
        count: u32,
    }

    impl Written {
        fn put(&mut self, value: u32, bits: u32) {
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

        fn number(&mut self, value: i32) -> (u32, u32) {
            let size = 32 - value.unsigned_abs().leading_zeros();
            let coded = if value < 0 { value - 1 } else { value };
            (size, coded.cast_unsigned() & ((1 << size) - 1))
        }

        fn end(&mut self) {
            while self.count > 0 {
                self.put(1, 1);
            }
        }
    }

    /// A JPEG of twelve bits whose coefficients lose nothing but what rounding takes.
    fn encoded(
        rows: usize,
        columns: usize,
        interval: u16,
        value: impl Fn(usize, usize) -> u16,
    ) -> Vec<u8> {
        let segment = |marker: u8, said: &[u8]| {
            let length = u16::try_from(said.len() + 2).expect("short").to_be_bytes();
            [&[0xff, marker], &length[..], said].concat()
        };
        let (high, wide) = (rows.to_be_bytes(), columns.to_be_bytes());
        let mut jpeg = vec![0xff, 0xd8];
        jpeg.extend(segment(0xdb, &[&[0][..], &[1; 64]].concat()));
        jpeg.extend(segment(
            0xc1,
            &[12, high[6], high[7], wide[6], wide[7], 1, 1, 0x11, 0],
        ));
        jpeg.extend(segment(0xc4, &table(0x00, 0..16)));
        jpeg.extend(segment(0xc4, &table(0x11, runs())));
        jpeg.extend(segment(0xdd, &interval.to_be_bytes()));
        jpeg.extend(segment(0xda, &[1, 1, 0x01, 0, 63, 0]));
        let transform = Transform::new();
        let mut out = Written::default();
        let (mut before, mut at) = (0, 0_u16);
        for top in (0..rows).step_by(8) {
            for left in (0..columns).step_by(8) {
                if interval > 0 && at > 0 && at.is_multiple_of(interval) {
                    out.end();
                    let which = (at / interval - 1) % 8;
                    out.bytes.extend([0xff, 0xd0 + which as u8]);
                    before = 0;
                }
                at += 1;
                let mut wanted = [0.0; 64];
                for (place, coefficient) in wanted.iter_mut().enumerate() {
                    let (v, u) = (place / 8, place % 8);
                    for y in 0..8 {
                        for x in 0..8 {
                            let (row, column) =
                                ((top + y).min(rows - 1), (left + x).min(columns - 1));
                            let sample = f32::from(value(row, column)) - 2048.0;
                            *coefficient += sample * transform.basis[y][v] * transform.basis[x][u];
                        }
                    }
                }
                let in_order = ZIGZAG.map(|place| wanted[usize::from(place)].round() as i32);
                let (size, coded) = out.number(in_order[0] - before);
                before = in_order[0];
                out.put(size, 8);
                out.put(coded, size);
                let mut zeros = 0;
                for number in &in_order[1..] {
                    if *number == 0 {
                        zeros += 1;
                        continue;
                    }
                    for _ in 0..zeros / 16 {
                        out.put(code_of(0xf0), 8);
                    }
                    let (size, coded) = out.number(*number);
                    out.put(code_of((zeros % 16) << 4 | size as u8), 8);
                    out.put(coded, size);
                    zeros = 0;
                }
                if zeros > 0 {
                    out.put(code_of(0), 8);
                }
            }
        }
        out.end();
        jpeg.extend(out.bytes);
        jpeg.extend([0xff, 0xd9]);
        jpeg
    }

    fn slope(row: usize, column: usize) -> u16 {
        ((row * 97 + column * 61 + row * column) % 4096) as u16
    }

    #[test]
    fn gives_back_what_was_written() {
        for (rows, columns, interval) in [(8, 8, 0), (17, 23, 0), (24, 40, 1), (24, 40, 4)] {
            let jpeg = encoded(rows, columns, interval, slope);
            let header = header(&jpeg).expect("a header");
            assert!(header.is_extended());
            let samples = decode(&geometry(rows as u32, columns as u32), &jpeg).expect("samples");
            assert_eq!(samples.bits, 16);
            let (numbers, _) = samples.bytes.as_chunks::<2>();
            assert_eq!(numbers.len(), rows * columns);
            for (at, number) in numbers.iter().enumerate() {
                let (got, wanted) = (
                    u16::from_le_bytes(*number),
                    slope(at / columns, at % columns),
                );
                assert!(got.abs_diff(wanted) <= 3, "{at}: {got} for {wanted}");
            }
        }
    }

    #[test]
    fn what_is_damaged_ends_with_an_error() {
        let jpeg = encoded(16, 16, 2, slope);
        let geometry = geometry(16, 16);
        // The end of the image itself is not needed.
        for length in 0..jpeg.len() - 12 {
            assert!(decode(&geometry, &jpeg[..length]).is_err(), "{length}");
        }
        for at in 0..jpeg.len() {
            for change in [0x01, 0x80, 0xff] {
                let mut other = jpeg.clone();
                other[at] ^= change;
                // Whatever comes of it, it comes.
                let _ = decode(&geometry, &other);
            }
        }
    }

    #[test]
    fn another_size_or_colours_are_refused() {
        let jpeg = encoded(8, 8, 0, slope);
        assert!(decode(&geometry(9, 8), &jpeg).is_err());
        let colour = Geometry {
            samples: 3,
            ..geometry(8, 8)
        };
        assert!(matches!(decode(&colour, &jpeg), Err(Error::Unsupported(_))));
    }
}
