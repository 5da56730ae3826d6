//! Expands segmented palettes (PS3.3 C.7.9.2).

/// The entries of a table in segments of bytes or of words, of which there must be `count`; `None`
/// if the segments are malformed.
pub(super) fn expanded(data: &[u16], is_bytes: bool, count: usize) -> Option<Vec<u16>> {
    let mut table = Table {
        entries: Vec::with_capacity(count),
        count,
    };
    let mut reader = Reader { data, at: 0 };
    // Where segments that may be copied begin.
    let mut starts = Vec::new();
    while table.entries.len() < count {
        let start = reader.at;
        match reader.next()? {
            2 => {
                let copied = reader.next()?;
                let offset = reader.offset(is_bytes)?;
                let at = offset.place(is_bytes, &starts)?;
                let mut copies = Reader { data, at };
                for _ in 0..copied {
                    let operation = copies.next()?;
                    table.segment(operation, &mut copies)?;
                }
            }
            operation => {
                starts.push(start);
                table.segment(operation, &mut reader)?;
            }
        }
    }
    Some(table.entries)
}

struct Table {
    entries: Vec<u16>,
    count: usize,
}

impl Table {
    /// Adds the entries of a discrete or linear segment behind its operation.
    fn segment(&mut self, operation: u16, reader: &mut Reader<'_>) -> Option<()> {
        let length = usize::from(reader.next()?);
        if self.entries.len() + length > self.count {
            return None;
        }
        match operation {
            0 => {
                for _ in 0..length {
                    self.entries.push(reader.next()?);
                }
            }
            1 => {
                let end = reader.next()?;
                // It starts behind the entry before, so it cannot be the first.
                let start = f64::from(*self.entries.last()?);
                let step = (f64::from(end) - start) / length.max(1) as f64;
                let entry = |at: usize| (start + step * at as f64).round() as u16;
                self.entries.extend((1..=length).map(entry));
            }
            _ => return None,
        }
        Some(())
    }
}

/// An offset of 32 bits.
#[derive(Debug, Clone, Copy)]
struct Offset(usize);

impl Offset {
    /// The number of the segment's first element. It is in bytes, but some writers count words.
    fn place(self, is_bytes: bool, starts: &[usize]) -> Option<usize> {
        let Self(offset) = self;
        let places = if is_bytes {
            [Some(offset), None]
        } else {
            let in_bytes = offset.is_multiple_of(2).then_some(offset / 2);
            [in_bytes, Some(offset)]
        };
        let mut places = places.into_iter().flatten();
        places.find(|place| starts.binary_search(place).is_ok())
    }
}

/// Reads bytes or words.
struct Reader<'a> {
    data: &'a [u16],
    at: usize,
}

impl Reader<'_> {
    fn next(&mut self) -> Option<u16> {
        let next = self.data.get(self.at).copied()?;
        self.at += 1;
        Some(next)
    }

    /// The least significant part first.
    fn offset(&mut self, is_bytes: bool) -> Option<Offset> {
        let (parts, bits) = if is_bytes { (4, 8) } else { (2, 16) };
        let mut offset = 0;
        for part in 0..parts {
            offset |= usize::from(self.next()?) << (part * bits);
        }
        Some(Offset(offset))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn discrete_and_linear_segments_follow_one_another() {
        let data = [0, 2, 5, 7, 1, 3, 10, 0, 1, 1, 1, 2, 0];
        let entries = expanded(&data, false, 8);
        assert_eq!(entries, Some(vec![5, 7, 8, 9, 10, 1, 1, 0]));
        // Padding behind the last segment is of no interest.
        let padded = [&data[..], &[0]].concat();
        assert_eq!(expanded(&padded, true, 8), entries);
        assert_eq!(
            expanded(&[0, 1, 250, 1, 5, 0], true, 6),
            Some(vec![250, 200, 150, 100, 50, 0])
        );
    }

    #[test]
    fn indirect_segments_copy_segments_before_them() {
        // Two segments from the second on, which begins behind three words.
        let words = |offset| [0, 1, 9, 0, 2, 3, 4, 1, 2, 8, 2, 2, offset, 0];
        let wanted = Some(vec![9, 3, 4, 6, 8, 3, 4, 6, 8]);
        assert_eq!(expanded(&words(6), false, 9), wanted);
        assert_eq!(expanded(&words(3), false, 9), wanted, "counted in words");
        let bytes = [0, 1, 9, 0, 2, 3, 4, 1, 2, 8, 2, 2, 3, 0, 0, 0];
        assert_eq!(expanded(&bytes, true, 9), wanted);
        // A linear segment starts from the entry before it, wherever it is copied to.
        let copied = [0, 1, 0, 1, 2, 4, 0, 1, 8, 2, 1, 6, 0];
        assert_eq!(expanded(&copied, false, 6), Some(vec![0, 2, 4, 8, 6, 4]));
    }

    #[test]
    fn malformed_segments_are_none() {
        for (data, count) in [
            (&[][..], 1),
            (&[0], 1),
            (&[0, 2, 5], 2),
            (&[0, 2, 5, 6], 1),
            (&[0, 2, 5, 6], 3),
            (&[1, 2, 5], 2),
            (&[3, 1, 5], 1),
            (&[0, 1, 5, 1, 2], 3),
            (&[0, 1, 5, 2, 1, 2, 0], 2),
            (&[0, 1, 5, 2, 1, 0], 2),
            (&[2, 1, 0, 0, 0, 1, 5], 2),
            (&[0, 1, 5, 2, 1, 6, 0, 2, 1, 0, 0], 3),
            // These go on forever, unless somebody counts.
            (&[0, 0, 2, 0, 0, 0], 3),
        ] {
            assert_eq!(expanded(data, false, count), None, "{data:?}");
        }
        // Whatever the bytes are, it ends.
        for seed in 0..2000_u32 {
            let data: Vec<u16> = (0..40)
                .map(|at| (seed.wrapping_mul(2_654_435_761).rotate_left(at) % 7) as u16)
                .collect();
            let entries = expanded(&data, seed.is_multiple_of(2), 50);
            assert!(entries.is_none_or(|entries| entries.len() == 50));
        }
    }
}
