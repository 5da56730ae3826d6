use super::super::bit_writer::{BitWriter, in_bits};
use super::super::block::{Transform, ZIGZAG};
use super::super::segments::header;
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

impl BitWriter {
    /// Writes the coefficients of a block, the first as its difference from the block before.
    fn block(&mut self, coefficients: &[i32; 64], before: &mut i32) {
        let (size, coded) = in_bits(coefficients[0] - *before);
        *before = coefficients[0];
        self.put(size, 8);
        self.put(coded, size);
        let mut zeros = 0;
        for number in &coefficients[1..] {
            if *number == 0 {
                zeros += 1;
                continue;
            }
            for _ in 0..zeros / 16 {
                self.put(code_of(0xf0), 8);
            }
            let (size, coded) = in_bits(*number);
            self.put(code_of((zeros % 16) << 4 | size as u8), 8);
            self.put(coded, size);
            zeros = 0;
        }
        if zeros > 0 {
            self.put(code_of(0), 8);
        }
    }
}

/// The coefficients of a block (A.3.3), in the order in which they are coded.
fn coefficients_of(transform: &Transform, sample: impl Fn(usize, usize) -> f32) -> [i32; 64] {
    let mut coefficients = [0.0; 64];
    for (place, coefficient) in coefficients.iter_mut().enumerate() {
        let (v, u) = (place / 8, place % 8);
        for y in 0..8 {
            for x in 0..8 {
                *coefficient += sample(y, x) * transform.basis[y][v] * transform.basis[x][u];
            }
        }
    }
    ZIGZAG.map(|place| coefficients[usize::from(place)].round() as i32)
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
    let mut out = BitWriter::default();
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
            let sample = |y: usize, x: usize| {
                let (row, column) = ((top + y).min(rows - 1), (left + x).min(columns - 1));
                f32::from(value(row, column)) - 2048.0
            };
            out.block(&coefficients_of(&transform, sample), &mut before);
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
