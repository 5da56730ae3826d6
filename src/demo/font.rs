//! A font of 5 by 7 dots, with the characters that the picture of the study needs.

/// The dots of `text`, as column and row; a character without a glyph is blank.
pub(super) fn dots(text: &str) -> impl Iterator<Item = [usize; 2]> {
    text.chars().enumerate().flat_map(|(place, character)| {
        shape(character).map(move |[column, row]| [place * ADVANCE + column, row])
    })
}

/// From one character to the next, in dots.
const ADVANCE: usize = 6;
const WIDTH: usize = 5;

fn shape(character: char) -> impl Iterator<Item = [usize; 2]> {
    let rows = GLYPHS
        .iter()
        .find(|(of, _)| *of == character)
        .map_or(&BLANK, |(_, rows)| rows);
    rows.iter().enumerate().flat_map(|(row, bits)| {
        (0..WIDTH)
            .filter(move |column| bits >> (WIDTH - 1 - column) & 1 == 1)
            .map(move |column| [column, row])
    })
}

const BLANK: [u8; 7] = [0; 7];

#[rustfmt::skip]
const GLYPHS: [(char, [u8; 7]); 27] = [
    ('A', [0b01110, 0b10001, 0b10001, 0b11111, 0b10001, 0b10001, 0b10001]),
    ('B', [0b11110, 0b10001, 0b10001, 0b11110, 0b10001, 0b10001, 0b11110]),
    ('C', [0b01110, 0b10001, 0b10000, 0b10000, 0b10000, 0b10001, 0b01110]),
    ('D', [0b11110, 0b10001, 0b10001, 0b10001, 0b10001, 0b10001, 0b11110]),
    ('E', [0b11111, 0b10000, 0b10000, 0b11110, 0b10000, 0b10000, 0b11111]),
    ('F', [0b11111, 0b10000, 0b10000, 0b11110, 0b10000, 0b10000, 0b10000]),
    ('G', [0b01110, 0b10001, 0b10000, 0b10111, 0b10001, 0b10001, 0b01111]),
    ('H', [0b10001, 0b10001, 0b10001, 0b11111, 0b10001, 0b10001, 0b10001]),
    ('I', [0b01110, 0b00100, 0b00100, 0b00100, 0b00100, 0b00100, 0b01110]),
    ('L', [0b10000, 0b10000, 0b10000, 0b10000, 0b10000, 0b10000, 0b11111]),
    ('M', [0b10001, 0b11011, 0b10101, 0b10101, 0b10001, 0b10001, 0b10001]),
    ('N', [0b10001, 0b11001, 0b10101, 0b10011, 0b10001, 0b10001, 0b10001]),
    ('O', [0b01110, 0b10001, 0b10001, 0b10001, 0b10001, 0b10001, 0b01110]),
    ('P', [0b11110, 0b10001, 0b10001, 0b11110, 0b10000, 0b10000, 0b10000]),
    ('R', [0b11110, 0b10001, 0b10001, 0b11110, 0b10100, 0b10010, 0b10001]),
    ('S', [0b01111, 0b10000, 0b10000, 0b01110, 0b00001, 0b00001, 0b11110]),
    ('T', [0b11111, 0b00100, 0b00100, 0b00100, 0b00100, 0b00100, 0b00100]),
    ('U', [0b10001, 0b10001, 0b10001, 0b10001, 0b10001, 0b10001, 0b01110]),
    ('W', [0b10001, 0b10001, 0b10001, 0b10101, 0b10101, 0b11011, 0b10001]),
    ('X', [0b10001, 0b10001, 0b01010, 0b00100, 0b01010, 0b10001, 0b10001]),
    ('Y', [0b10001, 0b10001, 0b01010, 0b00100, 0b00100, 0b00100, 0b00100]),
    ('0', [0b01110, 0b10001, 0b10011, 0b10101, 0b11001, 0b10001, 0b01110]),
    ('1', [0b00100, 0b01100, 0b00100, 0b00100, 0b00100, 0b00100, 0b01110]),
    ('3', [0b11110, 0b00001, 0b00001, 0b01110, 0b00001, 0b00001, 0b11110]),
    ('4', [0b00010, 0b00110, 0b01010, 0b10010, 0b11111, 0b00010, 0b00010]),
    ('6', [0b01110, 0b10000, 0b10000, 0b11110, 0b10001, 0b10001, 0b01110]),
    ('-', [0b00000, 0b00000, 0b00000, 0b11111, 0b00000, 0b00000, 0b00000]),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_letter_stands_upright_and_reads_from_the_left() {
        let dots: Vec<_> = dots("L").collect();
        assert!((0..7).all(|row| dots.contains(&[0, row])));
        assert!((0..5).all(|column| dots.contains(&[column, 6])));
        assert_eq!(dots.len(), 11);
    }

    #[test]
    fn the_second_letter_stands_beside_the_first() {
        assert!(dots(" L").eq(dots("L").map(|[column, row]| [column + 6, row])));
    }
}
