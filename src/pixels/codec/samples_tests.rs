use super::*;

fn placed(geometry: &Geometry, precision: u32, bytes: &[u8]) -> Result<Vec<u8>, Error> {
    let samples = Samples {
        bytes: bytes.to_vec(),
        bits: if precision <= 8 { 8 } else { 16 },
        precision: Some(precision),
        is_rgb: false,
    };
    samples.placed(geometry).map(|samples| samples.bytes)
}

fn signed(geometry: Geometry) -> Geometry {
    Geometry {
        is_signed: true,
        ..geometry
    }
}

#[test]
fn signs_are_extended_to_the_allocated_bits() {
    let geometry = signed(Geometry::grey(1, 2, 16, 12));
    let bytes = placed(&geometry, 12, &[0x00, 0x08, 0xFF, 0x07]);
    assert_eq!(bytes, Ok(vec![0x00, 0xF8, 0xFF, 0x07]));
    let narrow = signed(Geometry::grey(1, 2, 16, 8));
    assert_eq!(
        placed(&narrow, 8, &[0x80, 0x7F]),
        Ok(vec![0x80, 0xFF, 0x7F, 0])
    );
    // A stream of whole words has its own signs.
    let words = placed(&geometry, 16, &[0x00, 0x08, 0xFF, 0x07]);
    assert_eq!(words, Ok(vec![0x00, 0x08, 0xFF, 0x07]));
    let unsigned = Geometry::grey(1, 2, 16, 12);
    assert_eq!(placed(&unsigned, 12, &[0, 8, 0, 0]), Ok(vec![0, 8, 0, 0]));
}

#[test]
fn samples_are_moved_to_where_high_bit_says() {
    let high = Geometry {
        high_bit: 15,
        ..Geometry::grey(1, 1, 16, 12)
    };
    assert_eq!(placed(&high, 12, &[0xBC, 0x0A]), Ok(vec![0xC0, 0xAB]));
    // They lie there already in whole words.
    assert_eq!(placed(&high, 16, &[0xC0, 0xAB]), Ok(vec![0xC0, 0xAB]));
    let between = signed(Geometry {
        high_bit: 12,
        ..high
    });
    assert_eq!(placed(&between, 12, &[0x00, 0x08]), Ok(vec![0x00, 0xF0]));
}

#[test]
fn samples_get_all_their_bytes_and_lose_none() {
    let wide = Geometry::grey(1, 2, 32, 8);
    assert_eq!(placed(&wide, 8, &[7, 9]), Ok(vec![7, 0, 0, 0, 9, 0, 0, 0]));
    let narrow = Geometry::grey(1, 1, 8, 8);
    assert!(placed(&narrow, 12, &[1, 2]).is_err());
    assert!(placed(&narrow, 9, &[1, 0]).is_err());
}

#[test]
fn a_high_bit_that_is_impossible_is_none() {
    let high = |high_bit, bits_allocated, bits_stored| {
        Geometry {
            high_bit,
            ..Geometry::grey(1, 1, bits_allocated, bits_stored)
        }
        .lowest_bit()
    };
    assert_eq!(high(11, 16, 12), 0);
    assert_eq!(high(12, 16, 12), 1);
    assert_eq!(high(15, 16, 12), 4);
    assert_eq!(high(7, 16, 12), 0);
    assert_eq!(high(16, 16, 12), 0);
    assert_eq!(high(65535, 16, 12), 0);
}
