//! Lookup tables: Modality LUT, VOI LUT and palettes (PS3.3 C.11.1.1, C.11.2.1.1, C.7.6.3.1.5).

use dicom_core::{Tag, VR};

use super::segmented::expanded;
use crate::dicom::dataset::{DataSet, Element};
use crate::pixels::{Geometry, Lut};

/// The values that a table maps, from the least to the largest.
#[derive(Debug, Clone, Copy)]
pub(super) struct Input {
    pub(super) least: f64,
    pub(super) largest: f64,
}

impl Input {
    /// The stored values of a frame.
    pub(super) fn stored(geometry: &Geometry) -> Self {
        let count = 2f64.powi(i32::try_from(geometry.bits_stored.min(64)).unwrap_or(64));
        let (least, largest) = match (geometry.is_float, geometry.is_signed) {
            (true, _) => (f64::MIN, f64::MAX),
            (false, true) => (-count / 2.0, count / 2.0 - 1.0),
            (false, false) => (0.0, count - 1.0),
        };
        Self { least, largest }
    }

    /// The same values behind a modality transformation.
    pub(super) fn transformed(self, lut: Option<&Lut>, rescale: Option<(f64, f64)>) -> Self {
        if let Some(lut) = lut {
            let largest = lut.entries.iter().max().copied().unwrap_or(0);
            return Self {
                least: 0.0,
                largest: largest.into(),
            };
        }
        let (slope, intercept) = rescale.unwrap_or((1.0, 0.0));
        let ends = [self.least, self.largest].map(|end| end * slope + intercept);
        Self {
            least: ends[0].min(ends[1]),
            largest: ends[0].max(ends[1]),
        }
    }

    /// Whether a table of `count` entries from `first` on maps any of the values.
    fn meets(self, first: i32, count: usize) -> bool {
        f64::from(first) <= self.largest && f64::from(first) + count as f64 > self.least
    }
}

/// The palette of an image, as it is or in segments.
pub(super) fn palette(set: &DataSet<'_>, geometry: &Geometry) -> Option<[Lut; 3]> {
    let lut = |colour: u16| {
        let descriptor = set.element(Tag(0x0028, 0x1100 + colour))?;
        let descriptor = Descriptor::read(&descriptor, Input::stored(geometry))?;
        let of = |group: u16| set.element(Tag(0x0028, group + colour));
        let data = of(0x1200).filter(|data| !data.bytes().is_empty());
        let entries = match data {
            Some(data) => descriptor.entries(&data),
            None => descriptor.expanded(&of(0x1220)?)?,
        };
        descriptor.table(entries)
    };
    Some([lut(1)?, lut(2)?, lut(3)?])
}

/// The table in an item of Modality LUT Sequence or VOI LUT Sequence.
pub(super) fn lut(item: &DataSet<'_>, input: Input) -> Option<Lut> {
    let descriptor = item.element(Tag(0x0028, 0x3002))?;
    let data = item.element(Tag(0x0028, 0x3006))?;
    let descriptor = Descriptor::read(&descriptor, input)?;
    descriptor.table(descriptor.entries(&data))
}

/// A LUT Descriptor.
#[derive(Debug, Clone, Copy)]
struct Descriptor {
    count: usize,
    first: i32,
    bits: u16,
}

impl Descriptor {
    fn read(element: &Element<'_>, input: Input) -> Option<Self> {
        let [count, first, bits] = numbers(element).try_into().ok()?;
        let count = if count == 0 {
            1 << 16
        } else {
            usize::from(count)
        };
        let (plain, signed) = (i32::from(first), i32::from(first.cast_signed()));
        // The first value has the sign of the mapped ones, whether its value representation says
        // so (SS) or not.
        let is_signed = if element.vr() == Some(VR::SS) {
            input.meets(signed, count) || !input.meets(plain, count)
        } else {
            input.meets(signed, count) && !input.meets(plain, count)
        };
        Some(Self {
            count,
            first: if is_signed { signed } else { plain },
            bits,
        })
    }

    fn entries(self, data: &Element<'_>) -> Vec<u16> {
        let length = data.bytes().len();
        if length == self.count || (self.bits <= 8 && length < 2 * self.count) {
            bytes(data).into_iter().map(u16::from).collect()
        } else {
            numbers(data)
        }
    }

    /// The entries of a segmented table, which has neither more nor fewer.
    fn expanded(self, data: &Element<'_>) -> Option<Vec<u16>> {
        let is_bytes = self.bits <= 8;
        let data = if is_bytes {
            bytes(data).into_iter().map(u16::from).collect()
        } else {
            numbers(data)
        };
        expanded(&data, is_bytes, self.count)
    }

    fn table(self, entries: Vec<u16>) -> Option<Lut> {
        (!entries.is_empty()).then_some(Lut {
            first: self.first,
            bits: u32::from(self.bits),
            entries,
        })
    }
}

/// The bytes of an element in their order, which words of a big-endian data set turn round.
fn bytes(element: &Element<'_>) -> Vec<u8> {
    let mut bytes = element.bytes().to_vec();
    let is_words = matches!(element.vr(), Some(VR::OW | VR::US | VR::SS));
    if element.is_big_endian() && is_words {
        bytes.chunks_exact_mut(2).for_each(<[u8]>::reverse);
    }
    bytes
}

pub(super) fn numbers(element: &Element<'_>) -> Vec<u16> {
    let (numbers, _) = element.bytes().as_chunks::<2>();
    let is_big = element.is_big_endian();
    let number = |bytes: &[u8; 2]| {
        if is_big {
            u16::from_be_bytes(*bytes)
        } else {
            u16::from_le_bytes(*bytes)
        }
    };
    numbers.iter().map(number).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn input(least: f64, largest: f64) -> Input {
        Input { least, largest }
    }

    /// The first mapped value of a descriptor of 16 entries, as it is read.
    fn first(vr: &[u8; 2], first: u16, input: Input) -> i32 {
        let [low, high] = first.to_le_bytes();
        let bytes = [
            0x28, 0, 0x02, 0x30, vr[0], vr[1], 6, 0, 16, 0, low, high, 16, 0,
        ];
        let set = DataSet::new(&bytes, crate::dicom::Encoding::ExplicitLittle);
        let element = set.element(Tag(0x0028, 0x3002)).expect("an element");
        Descriptor::read(&element, input)
            .expect("a descriptor")
            .first
    }

    #[test]
    fn first_values_have_the_sign_of_the_values_that_they_map() {
        let hounsfield = input(-1024.0, 3071.0);
        assert_eq!(first(b"SS", 0xFC00, hounsfield), -1024);
        assert_eq!(first(b"US", 0xFC00, hounsfield), -1024);
        let unsigned = input(0.0, 65535.0);
        assert_eq!(first(b"US", 0xFC00, unsigned), 0xFC00);
        assert_eq!(first(b"SS", 0xFC00, unsigned), 0xFC00);
        assert_eq!(first(b"SS", 0xFFFE, unsigned), -2);
        assert_eq!(first(b"US", 7, hounsfield), 7);
    }

    #[test]
    fn modality_transformations_move_the_values() {
        let moved = input(0.0, 4095.0).transformed(None, Some((-2.0, 10.0)));
        assert_eq!((moved.least, moved.largest), (-8180.0, 10.0));
    }
}
