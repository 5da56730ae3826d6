//! Maps stored values to grey levels (PS3.3 C.11.1, C.11.2; PS3.4 N.2).

use super::{Function, Geometry, Lut, Rendering, Window};

impl Lut {
    /// The entry of a value.
    fn of(&self, value: f64) -> f64 {
        // Values beyond the table have the entry at its end.
        let last = self.entries.len().saturating_sub(1);
        let at = (value - f64::from(self.first)).clamp(0.0, last as f64);
        f64::from(self.entries.get(at as usize).copied().unwrap_or(0))
    }

    /// The largest possible entry.
    fn largest(&self) -> f64 {
        f64::from((1u32 << self.bits.clamp(1, 16)) - 1)
    }

    /// The entry that is white. Tables of up to 14 bits that say 16 never reach the largest
    /// possible entry; their largest one is meant.
    fn white(&self) -> f64 {
        let largest = self.entries.iter().max().copied().unwrap_or(0);
        let is_narrow = self.bits >= 16 && (1..1 << 14).contains(&largest);
        if is_narrow {
            f64::from(largest)
        } else {
            self.largest()
        }
    }

    /// The entry of a value, scaled to eight bits.
    pub(super) fn level(&self, value: f64) -> u8 {
        // Some writers declare 16 bits and use eight.
        let is_eight = self.bits > 8 && self.entries.iter().all(|&entry| entry <= 0xFF);
        let largest = if is_eight { 255.0 } else { self.largest() };
        (self.of(value) / largest * 255.0).round() as u8
    }
}

impl Window {
    /// The grey level of a value, from 0 to 1.
    fn of(self, value: f64) -> f64 {
        let Self {
            center,
            width,
            function,
        } = self;
        match function {
            // C.11.2.1.2.1 forbids less than 1, and what is meant is C.11.2.1.3.2.
            Function::Linear if width < 1.0 => ((value - center) / width + 0.5).clamp(0.0, 1.0),
            Function::Linear if width <= 1.0 => f64::from(u8::from(value > center - 0.5)),
            Function::Linear => ((value - (center - 0.5)) / (width - 1.0) + 0.5).clamp(0.0, 1.0),
            Function::LinearExact => ((value - center) / width + 0.5).clamp(0.0, 1.0),
            Function::Sigmoid => 1.0 / (1.0 + (-4.0 * (value - center) / width).exp()),
        }
    }
}

/// Maps the stored values of a frame.
pub(super) struct Grey<'a> {
    rendering: &'a Rendering,
    window: Option<Window>,
    is_inverse: bool,
}

impl<'a> Grey<'a> {
    /// The mapping of a frame with these values.
    pub(super) fn new(
        rendering: &'a Rendering,
        geometry: &Geometry,
        values: impl Iterator<Item = f64>,
    ) -> Self {
        let mut grey = Self {
            rendering,
            window: rendering.window,
            is_inverse: rendering.is_inverse ^ (geometry.photometric == "MONOCHROME1"),
        };
        if grey.window.is_none() && rendering.voi_lut.is_none() {
            grey.window = Some(grey.whole(geometry, values));
        }
        grey
    }

    /// The window without one: eight bits are shown as they are, others from the least value of
    /// the frame to the largest.
    fn whole(&self, geometry: &Geometry, values: impl Iterator<Item = f64>) -> Window {
        let rendering = self.rendering;
        let is_plain = rendering
            .rescale
            .is_none_or(|rescale| rescale == (1.0, 0.0))
            && rendering.modality_lut.is_none();
        let is_eight = geometry.bits_stored <= 8 && !geometry.is_signed && !geometry.is_float;
        let (mut least, mut most) = (f64::INFINITY, f64::NEG_INFINITY);
        if is_plain && is_eight {
            (least, most) = (0.0, f64::from((1u32 << geometry.bits_stored.min(8)) - 1));
        } else {
            for value in values.filter(|value| value.is_finite()) {
                if self.is_padding(value) {
                    continue;
                }
                let value = self.modality(value);
                (least, most) = (least.min(value), most.max(value));
            }
        }
        let width = (most - least).max(f64::MIN_POSITIVE);
        Window {
            center: least + width / 2.0,
            width,
            function: Function::LinearExact,
        }
    }

    pub(super) fn level(&self, stored: f64) -> u8 {
        if self.is_padding(stored) {
            return 0;
        }
        let value = self.modality(stored);
        let shade = match (self.window, &self.rendering.voi_lut) {
            (Some(window), _) => window.of(value),
            (None, Some(lut)) => (lut.of(value) / lut.white()).min(1.0),
            (None, None) => 0.0,
        };
        let shade = if self.is_inverse { 1.0 - shade } else { shade };
        (shade * 255.0).round() as u8
    }

    fn modality(&self, stored: f64) -> f64 {
        match (&self.rendering.modality_lut, self.rendering.rescale) {
            (Some(lut), _) => lut.of(stored),
            (None, Some((slope, intercept))) => stored * slope + intercept,
            (None, None) => stored,
        }
    }

    fn is_padding(&self, stored: f64) -> bool {
        let padding = self.rendering.padding;
        padding.is_some_and(|(from, to)| (f64::from(from)..=f64::from(to)).contains(&stored))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn window(center: f64, width: f64, function: Function) -> Window {
        Window {
            center,
            width,
            function,
        }
    }

    // PS3.3 C.11.2.1.2.1 has this table for 8 bits out of c=2048, w=4096 and others.
    #[test]
    fn windows_follow_the_standard() {
        let linear = window(2048.0, 4096.0, Function::Linear);
        assert_eq!(linear.of(0.0), 0.0);
        assert_eq!(linear.of(4095.0), 1.0);
        let step = window(2048.0, 1.0, Function::Linear);
        assert_eq!((step.of(2047.0), step.of(2048.0)), (0.0, 1.0));
        let narrow = window(0.0, 100.0, Function::Linear);
        assert_eq!((narrow.of(-50.0), narrow.of(49.0)), (0.0, 1.0));
        let exact = window(0.0, 100.0, Function::LinearExact);
        assert_eq!(
            (exact.of(-50.0), exact.of(0.0), exact.of(50.0)),
            (0.0, 0.5, 1.0)
        );
        let sigmoid = window(10.0, 4.0, Function::Sigmoid);
        assert_eq!(sigmoid.of(10.0), 0.5);
        assert!(sigmoid.of(-1e9) < 1e-9 && sigmoid.of(1e9) > 0.999);
    }

    #[test]
    fn widths_below_one_are_exact() {
        let narrow = window(0.25, 0.5, Function::Linear);
        assert_eq!(
            (narrow.of(0.0), narrow.of(0.25), narrow.of(0.5)),
            (0.0, 0.5, 1.0)
        );
    }

    #[test]
    fn the_largest_entry_of_a_table_that_says_16_bits_is_white() {
        let white = |bits, largest| {
            let entries = vec![0, largest];
            let first = 0;
            let lut = Lut {
                first,
                bits,
                entries,
            };
            lut.white()
        };
        assert_eq!(white(16, 4095), 4095.0);
        assert_eq!(white(16, 60000), 65535.0);
        assert_eq!(white(12, 2000), 4095.0);
        assert_eq!(white(16, 0), 65535.0);
    }

    #[test]
    fn tables_go_on_beyond_their_ends() {
        let lut = Lut {
            first: -10,
            bits: 16,
            entries: vec![100, 200, 65535],
        };
        assert_eq!(lut.of(-99.0), 100.0);
        assert_eq!(lut.of(-9.0), 200.0);
        assert_eq!(lut.of(99.0), 65535.0);
        assert_eq!(lut.level(99.0), 255);
    }
}
