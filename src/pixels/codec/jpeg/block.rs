//! Blocks of eight by eight samples: decodes coefficients and transforms them into samples.

use std::f32::consts::{FRAC_1_SQRT_2, PI};

use super::super::samples::damaged;
use super::entropy::{Bits, Huffman};
use crate::pixels::Error;

/// The side of a block, in samples.
pub(super) const BLOCK: usize = 8;
/// The place of each coefficient in a block, in the order of the code.
pub(super) const ZIGZAG: [u8; 64] = zigzag();

/// Decodes the coefficients of a block, in rows.
pub(super) fn coefficients(
    bits: &mut Bits<'_>,
    dc: &Huffman,
    ac: &Huffman,
    predicted: &mut i32,
) -> Result<[f32; 64], Error> {
    let mut block = [0.0; 64];
    let difference = each_coefficient(bits, dc, ac, |place, value| block[place] = value as f32)?;
    *predicted = predicted.wrapping_add(difference);
    block[0] = *predicted as f32;
    Ok(block)
}

/// Reads a block: gives the place and the value of each coefficient but the first, and returns the
/// difference of the first from that of the block before.
#[inline]
pub(super) fn each_coefficient(
    bits: &mut Bits<'_>,
    dc: &Huffman,
    ac: &Huffman,
    mut give: impl FnMut(usize, i32),
) -> Result<i32, Error> {
    let size = dc.read(bits)?;
    if size > 15 {
        return Err(damaged("a coefficient has too many bits"));
    }
    let difference = bits.difference(size)?;
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
                give(usize::from(*place), bits.difference(size)?);
                at += 1;
            }
        }
    }
    Ok(difference)
}

/// The inverse cosine transform (A.3.3), row by row and then column by column.
pub(super) struct Transform {
    /// For each place in a line, the weight of each coefficient.
    pub(super) basis: [[f32; BLOCK]; BLOCK],
}

impl Transform {
    pub(super) fn new() -> Self {
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

    pub(super) fn invert(&self, block: &mut [f32; 64]) {
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

/// Diagonals, alternately up and down.
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
