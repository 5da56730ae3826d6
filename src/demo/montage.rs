//! The colour picture of the study: three views of the phantom, and a legend of the colours.

use super::font;
use super::phantom::{self, Plane};

/// Rows, and columns, of the picture.
pub(super) const SIDE: u16 = 512;

/// The picture, as rows of RGB triplets.
pub(super) fn draw() -> Vec<u8> {
    let mut canvas = Canvas::new();
    for view in &VIEWS {
        canvas.view(view);
    }
    canvas.cross();
    canvas.legend();
    canvas.pixels.concat()
}

type Rgb = [u8; 3];

/// One of the three cuts through the middle of the head.
struct View {
    name: &'static str,
    corner: [usize; 2],
    row: [f64; 3],
    column: [f64; 3],
}

impl View {
    fn plane(&self) -> Plane {
        let half = SPACING * (QUARTER as f64 - 1.0) / 2.0;
        let origin = std::array::from_fn(|axis| -half * (self.row[axis] + self.column[axis]));
        Plane {
            origin,
            row: self.row,
            column: self.column,
            spacing: SPACING,
            side: QUARTER,
        }
    }
}

struct Canvas {
    pixels: Vec<Rgb>,
}

impl Canvas {
    fn new() -> Self {
        Self {
            pixels: vec![NIGHT; WIDTH * WIDTH],
        }
    }

    fn fill(&mut self, [x, y]: [usize; 2], [width, height]: [usize; 2], colour: Rgb) {
        for row in self.pixels.chunks_exact_mut(WIDTH).skip(y).take(height) {
            row.iter_mut()
                .skip(x)
                .take(width)
                .for_each(|pixel| *pixel = colour);
        }
    }

    fn text(&mut self, [x, y]: [usize; 2], scale: usize, text: &str, colour: Rgb) {
        for [column, row] in font::dots(text) {
            self.fill([x + column * scale, y + row * scale], [scale; 2], colour);
        }
    }

    fn view(&mut self, view: &View) {
        let [left, top] = view.corner;
        for (index, value) in phantom::slice(&view.plane()).into_iter().enumerate() {
            self.fill(
                [left + index % QUARTER, top + index / QUARTER],
                [1, 1],
                colour(value),
            );
        }
        self.text([left + 10, top + QUARTER - 20], 2, view.name, PALE);
    }

    fn cross(&mut self) {
        self.fill([QUARTER, 0], [1, WIDTH], DUSK);
        self.fill([0, QUARTER], [WIDTH, 1], DUSK);
    }

    fn legend(&mut self) {
        let left = QUARTER + 20;
        self.text([left, QUARTER + 22], 3, "XCWADO DEMO", WHITE);
        self.text(
            [left, QUARTER + 50],
            1,
            "3-D SHEPP-LOGAN HEAD PHANTOM",
            PALE,
        );
        for (index, (name, value)) in TISSUES.iter().enumerate() {
            self.tissue([left, QUARTER + 78 + 26 * index], name, *value);
        }
        self.text(
            [left, QUARTER + 222],
            1,
            "SYNTHETIC - NOT FOR DIAGNOSIS",
            PALE,
        );
    }

    fn tissue(&mut self, [left, top]: [usize; 2], name: &str, value: f64) {
        self.fill([left - 1, top - 1], [34, 18], DUSK);
        self.fill([left, top], [32, 16], colour(value));
        self.text([left + 46, top + 1], 2, name, WHITE);
        let number = format!("{value:>5} HU");
        self.text([left + 134, top + 5], 1, &number, PALE);
    }
}

// Between two stops, a mixture.
fn colour(hounsfield: f64) -> Rgb {
    let above = COLOURS
        .iter()
        .position(|(stop, _)| *stop > hounsfield)
        .unwrap_or(COLOURS.len());
    match (COLOURS.get(above.wrapping_sub(1)), COLOURS.get(above)) {
        (Some(low), Some(high)) => mix(low.1, high.1, (hounsfield - low.0) / (high.0 - low.0)),
        (Some(end), None) | (None, Some(end)) => end.1,
        (None, None) => NIGHT,
    }
}

fn mix(low: Rgb, high: Rgb, share: f64) -> Rgb {
    let part = |low: u8, high: u8| f64::from(low) * (1.0 - share) + f64::from(high) * share;
    std::array::from_fn(|index| part(low[index], high[index]).round() as u8)
}

const WIDTH: usize = SIDE as usize;
const QUARTER: usize = WIDTH / 2;
const SPACING: f64 = 0.86;

const NIGHT: Rgb = [9, 12, 24];
const DUSK: Rgb = [52, 60, 84];
const PALE: Rgb = [150, 162, 190];
const WHITE: Rgb = [240, 243, 250];

const COLOURS: [(f64, Rgb); 7] = [
    (-1000.0, NIGHT),
    (-100.0, [14, 24, 62]),
    (0.0, [35, 84, 172]),
    (40.0, [38, 166, 154]),
    (60.0, [250, 190, 66]),
    (200.0, [232, 214, 180]),
    (1000.0, [250, 246, 236]),
];

const TISSUES: [(&str, f64); 5] = [
    ("BONE", 1000.0),
    ("LESION", 60.0),
    ("BRAIN", 40.0),
    ("FLUID", 0.0),
    ("AIR", -1000.0),
];

const VIEWS: [View; 3] = [
    View {
        name: "AXIAL",
        corner: [0, 0],
        row: [1.0, 0.0, 0.0],
        column: [0.0, 1.0, 0.0],
    },
    View {
        name: "CORONAL",
        corner: [QUARTER, 0],
        row: [1.0, 0.0, 0.0],
        column: [0.0, 0.0, -1.0],
    },
    View {
        name: "SAGITTAL",
        corner: [0, QUARTER],
        row: [0.0, 1.0, 0.0],
        column: [0.0, 0.0, -1.0],
    },
];

#[cfg(test)]
mod tests {
    use super::*;

    fn pixel(picture: &[u8], x: usize, y: usize) -> Rgb {
        let start = (y * WIDTH + x) * 3;
        [picture[start], picture[start + 1], picture[start + 2]]
    }

    #[test]
    fn shows_air_outside_and_bone_around_the_brain() {
        let picture = draw();
        assert_eq!(picture.len(), WIDTH * WIDTH * 3);
        assert_eq!(pixel(&picture, 2, 2), NIGHT);
        assert_eq!(pixel(&picture, 128, 138), colour(40.0));
        assert!((0..128).any(|y| pixel(&picture, 128, y) == colour(1000.0)));
    }

    #[test]
    fn colours_follow_their_stops() {
        for (stop, expected) in COLOURS {
            assert_eq!(colour(stop), expected, "{stop}");
        }
        assert_eq!(colour(-3000.0), NIGHT);
        assert_eq!(colour(3000.0), [250, 246, 236]);
        assert_eq!(colour(20.0), [37, 125, 163]);
    }
}
