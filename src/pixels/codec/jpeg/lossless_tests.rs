use super::super::bit_writer::{BitWriter, in_bits};
use super::*;

/// A lossless JPEG to be written: what varies.
#[derive(Debug, Clone, Copy)]
struct Kind {
    rows: usize,
    columns: usize,
    components: usize,
    precision: u32,
    selection: u8,
    point_transform: u32,
    /// Rows between two restart markers.
    restart_rows: usize,
    is_interleaved: bool,
}

const KIND: Kind = Kind {
    rows: 7,
    columns: 5,
    components: 1,
    precision: 12,
    selection: 1,
    point_transform: 0,
    restart_rows: 0,
    is_interleaved: true,
};

impl Kind {
    fn geometry(self) -> Geometry {
        let allocated = if self.precision <= 8 { 8 } else { 16 };
        Geometry {
            samples: self.components as u32,
            ..Geometry::grey(
                self.rows as u32,
                self.columns as u32,
                allocated,
                self.precision,
            )
        }
    }

    fn sample(self, row: usize, column: usize, component: usize) -> u32 {
        let mixed = row * 7919 + column * 104_729 + component * 31 + row * row * column;
        // The largest and the smallest samples are neighbours now and then.
        match mixed % 5 {
            0 => 0,
            1 => (1 << self.precision) - 1,
            _ => ((mixed * 2_654_435_761) >> 7) as u32 & ((1 << self.precision) - 1),
        }
    }

    /// The samples without what the point transform takes.
    fn wanted(self) -> Vec<u8> {
        let mut bytes = Vec::new();
        for at in 0..self.rows * self.columns {
            for component in 0..self.components {
                let sample = self.sample(at / self.columns, at % self.columns, component);
                let sample = sample >> self.point_transform << self.point_transform;
                let width = if self.precision <= 8 { 1 } else { 2 };
                bytes.extend(&sample.to_le_bytes()[..width]);
            }
        }
        bytes
    }

    fn written(self) -> Vec<u8> {
        let [_, _, _, _, _, _, r0, r1] = (self.rows as u64).to_be_bytes();
        let [_, _, _, _, _, _, c0, c1] = (self.columns as u64).to_be_bytes();
        let mut frame = vec![self.precision as u8, r0, r1, c0, c1, self.components as u8];
        for component in 0..self.components {
            frame.extend([component as u8 + 1, 0x11, 0]);
        }
        let mut jpeg = vec![0xff, 0xd8];
        jpeg.extend(segment(0xc3, &frame));
        // Codes of five bits, one for each size.
        let table: Vec<u8> = (0..17).collect();
        let counts = [0, 0, 0, 0, 17, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
        jpeg.extend(segment(0xc4, &[&[0x01], &counts[..], &table].concat()));
        if self.restart_rows > 0 {
            let interval = (self.restart_rows * self.columns) as u16;
            jpeg.extend(segment(0xdd, &interval.to_be_bytes()));
        }
        let all: Vec<usize> = (0..self.components).collect();
        let each = if self.is_interleaved { all.len() } else { 1 };
        for components in all.chunks(each) {
            let mut scan = vec![components.len() as u8];
            scan.extend(components.iter().flat_map(|one| [*one as u8 + 1, 0x10]));
            scan.extend([self.selection, 0, self.point_transform as u8]);
            jpeg.extend(segment(0xda, &scan));
            jpeg.extend(self.scan(components));
        }
        jpeg.extend([0xff, 0xd9]);
        jpeg
    }

    fn scan(self, components: &[usize]) -> Vec<u8> {
        let mut out = BitWriter::default();
        let at = |row: usize, column: usize, component| {
            (self.sample(row, column, component) >> self.point_transform) as i32
        };
        let mut restarts = 0u8;
        for row in 0..self.rows {
            let is_restart =
                self.restart_rows > 0 && row > 0 && row.is_multiple_of(self.restart_rows);
            if is_restart {
                out.end();
                out.bytes.extend([0xff, 0xd0 + restarts % 8]);
                restarts += 1;
            }
            for column in 0..self.columns {
                for &component in components {
                    let first = row == 0 || is_restart;
                    let predicted = if first && column == 0 {
                        1 << (self.precision - self.point_transform - 1)
                    } else if first {
                        at(row, column - 1, component)
                    } else if column == 0 {
                        at(row - 1, 0, component)
                    } else {
                        let left = at(row, column - 1, component);
                        let above = at(row - 1, column, component);
                        let corner = at(row - 1, column - 1, component);
                        match self.selection {
                            1 => left,
                            2 => above,
                            3 => corner,
                            4 => left + above - corner,
                            5 => left + ((above - corner) >> 1),
                            6 => above + ((left - corner) >> 1),
                            7 => (left + above) >> 1,
                            other => panic!("predictor {other}"),
                        }
                    };
                    out.difference(at(row, column, component) - predicted);
                }
            }
        }
        out.end();
        out.bytes
    }
}

fn segment(marker: u8, content: &[u8]) -> Vec<u8> {
    let length = (content.len() as u16 + 2).to_be_bytes();
    [&[0xff, marker], &length[..], content].concat()
}

impl BitWriter {
    /// Writes a difference, modulo 2 to the power of 16.
    fn difference(&mut self, difference: i32) {
        let value = (difference & 0xffff) as u16;
        if value == 0x8000 {
            return self.put(16, 5);
        }
        let (size, coded) = in_bits(value.cast_signed().into());
        self.put(size, 5);
        self.put(coded, size);
    }
}

#[test]
fn gives_back_what_was_written() {
    for precision in 2..=16 {
        for selection in 1..=7 {
            for (components, is_interleaved) in [(1, true), (3, true), (3, false)] {
                for point_transform in [0, 1, precision - 1] {
                    for restart_rows in [0, 1, 3] {
                        let kind = Kind {
                            components,
                            precision,
                            selection,
                            point_transform,
                            restart_rows,
                            is_interleaved,
                            ..KIND
                        };
                        let samples = decode(&kind.geometry(), &kind.written());
                        let samples = samples.unwrap_or_else(|error| panic!("{kind:?}: {error}"));
                        assert_eq!(samples.bytes, kind.wanted(), "{kind:?}");
                        assert_eq!(samples.precision, Some(precision));
                    }
                }
            }
        }
    }
}

#[test]
fn any_size_is_decoded() {
    for (rows, columns) in [(1, 1), (1, 9), (9, 1), (40, 33), (2, 300)] {
        for restart_rows in [0, 1, 16] {
            let kind = Kind {
                rows,
                columns,
                selection: 6,
                restart_rows,
                ..KIND
            };
            let samples = decode(&kind.geometry(), &kind.written()).expect("samples");
            assert_eq!(samples.bytes, kind.wanted(), "{kind:?}");
        }
    }
}

#[test]
fn what_is_damaged_ends_with_an_error() {
    for restart_rows in [0, 2] {
        let kind = Kind {
            restart_rows,
            ..KIND
        };
        let (jpeg, geometry) = (kind.written(), kind.geometry());
        // The end of the image itself is not needed, nor is the padding before it.
        for length in 0..jpeg.len() - 3 {
            assert!(decode(&geometry, &jpeg[..length]).is_err(), "{length}");
        }
        for at in 0..jpeg.len() {
            for change in (1..=u8::MAX).step_by(6) {
                let mut other = jpeg.clone();
                other[at] ^= change;
                // Whatever comes of it, it comes.
                let _ = decode(&geometry, &other);
            }
        }
    }
}

#[test]
fn what_is_lost_between_restart_markers_is_missed() {
    let kind = Kind {
        restart_rows: 1,
        ..KIND
    };
    let jpeg = kind.written();
    let at = |number: u8| memchr::memmem::find(&jpeg, &[0xff, 0xd0 + number]).expect("a marker");
    let lost = [&jpeg[..at(1)], &jpeg[at(2)..]].concat();
    assert!(decode(&kind.geometry(), &lost).is_err());
}

#[test]
fn what_contradicts_the_image_is_refused() {
    let jpeg = KIND.written();
    let geometry = KIND.geometry();
    let refused = |geometry: Geometry| decode(&geometry, &jpeg).is_err();
    assert!(refused(Geometry {
        rows: 8,
        ..geometry.clone()
    }));
    assert!(refused(Geometry {
        samples: 3,
        ..geometry.clone()
    }));
    // Neither a predictor of 0 nor an interval within a row is lossless JPEG.
    let other = Kind {
        selection: 1,
        ..KIND
    };
    let mut hierarchical = other.written();
    let scan = memchr::memmem::find(&hierarchical, &[0xff, 0xda]).expect("a scan");
    hierarchical[scan + 7] = 0;
    assert!(decode(&geometry, &hierarchical).is_err());
    let mut within = Kind {
        restart_rows: 2,
        ..KIND
    }
    .written();
    let interval = memchr::memmem::find(&within, &[0xff, 0xdd]).expect("an interval");
    within[interval + 5] = 7;
    assert!(decode(&geometry, &within).is_err());
}
