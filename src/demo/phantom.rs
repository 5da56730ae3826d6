//! The 3-D Shepp-Logan head phantom, as a CT scanner would see it: ten ellipsoids in Hounsfield
//! units.
//!
//! Shapes and contrast are those of the modified phantom (P. Toft, 1996), which makes soft tissue
//! distinguishable. Only the density steps are replaced by steps in Hounsfield units.

/// One square slice of voxels, in the patient coordinate system (PS3.3 C.7.6.2.1.1: x to the left,
/// y to the back, z to the head), in mm.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Plane {
    /// Centre of the first voxel.
    pub(super) origin: [f64; 3],
    /// Unit vector along a row.
    pub(super) row: [f64; 3],
    /// Unit vector down a column.
    pub(super) column: [f64; 3],
    /// Distance of neighbouring voxels.
    pub(super) spacing: f64,
    /// Voxels in a row, and in a column.
    pub(super) side: usize,
}

impl Plane {
    fn start_of_row(&self, row: usize) -> [f64; 3] {
        let down = self.spacing * row as f64;
        std::array::from_fn(|axis| self.origin[axis] + down * self.column[axis])
    }

    fn step(&self) -> [f64; 3] {
        self.row.map(|part| part * self.spacing)
    }
}

/// The phantom in a slice, in Hounsfield units, row by row.
pub(super) fn slice(plane: &Plane) -> Vec<f64> {
    let step = to_phantom(plane.step());
    let edge = plane.spacing / MM_PER_UNIT;
    (0..plane.side)
        .flat_map(|row| {
            let lines = lines(to_phantom(plane.start_of_row(row)), step, edge);
            (0..plane.side).map(move |column| AIR + sum(&lines, column as f64))
        })
        .collect()
}

/// The same with the grain of a real scan, in whole Hounsfield units. Each slice has its own
/// `seed`; equal seeds give equal grain.
pub(super) fn scan(plane: &Plane, seed: u32) -> Vec<i16> {
    let grain = Grain::new(plane.side, seed);
    slice(plane)
        .into_iter()
        .enumerate()
        .map(|(index, value)| (value + grain.at(index)).round().clamp(LOWEST, HIGHEST) as i16)
        .collect()
}

// The phantom's own axes: y to the front, and the head within -1..1.
fn to_phantom([x, y, z]: [f64; 3]) -> [f64; 3] {
    [x, -y, z].map(|part| part / MM_PER_UNIT)
}

/// One ellipsoid of the phantom, with the value that it adds to every point inside.
struct Ellipsoid {
    step: f64,
    half_axes: [f64; 3],
    centre: [f64; 3],
    /// Turn about z.
    degrees: f64,
}

impl Ellipsoid {
    /// Transforms a vector to the frame in which this ellipsoid is the unit sphere.
    fn unit_frame(&self, [x, y, z]: [f64; 3]) -> [f64; 3] {
        let (sin, cos) = self.degrees.to_radians().sin_cos();
        let [a, b, c] = self.half_axes;
        [(x * cos + y * sin) / a, (y * cos - x * sin) / b, z / c]
    }

    fn line(&self, start: [f64; 3], step: [f64; 3], edge: f64) -> Line {
        let from_centre = std::array::from_fn(|axis| start[axis] - self.centre[axis]);
        let (start, step) = (self.unit_frame(from_centre), self.unit_frame(step));
        Line {
            added: self.step,
            squared: dot(step, step),
            linear: 2.0 * dot(start, step),
            constant: dot(start, start),
            softness: edge / self.half_axes.iter().copied().fold(f64::INFINITY, f64::min),
        }
    }
}

/// An ellipsoid along a row of voxels: the squared distance from its centre (1 on its surface) is a
/// polynomial of the column.
struct Line {
    added: f64,
    squared: f64,
    linear: f64,
    constant: f64,
    /// Width of the surface, as a voxel blurs it.
    softness: f64,
}

impl Line {
    fn value(&self, column: f64) -> f64 {
        let squared = (self.squared * column + self.linear) * column + self.constant;
        if squared > self.outer() {
            0.0
        } else {
            self.added * self.share(squared)
        }
    }

    /// The fraction of a voxel inside: partial volume, as in a real scan.
    fn share(&self, squared: f64) -> f64 {
        (0.5 + (1.0 - squared.sqrt()) / self.softness).clamp(0.0, 1.0)
    }

    fn outer(&self) -> f64 {
        let reach = 1.0 + self.softness / 2.0;
        reach * reach
    }

    fn is_touched(&self) -> bool {
        self.constant - self.linear * self.linear / (4.0 * self.squared) <= self.outer()
    }
}

fn lines(start: [f64; 3], step: [f64; 3], edge: f64) -> Vec<Line> {
    HEAD.iter()
        .map(|ellipsoid| ellipsoid.line(start, step, edge))
        .filter(Line::is_touched)
        .collect()
}

fn sum(lines: &[Line], column: f64) -> f64 {
    lines.iter().map(|line| line.value(column)).sum()
}

fn dot(a: [f64; 3], b: [f64; 3]) -> f64 {
    a[0] * b[0] + a[1] * b[1] + a[2] * b[2]
}

/// Reproducible noise, slightly correlated between neighbours like that of a CT.
struct Grain {
    white: Vec<f64>,
    side: usize,
}

impl Grain {
    fn new(side: usize, seed: u32) -> Self {
        let cells = (side + 1) * (side + 1);
        let white = (0..cells as u32)
            .map(|cell| white(cell ^ scramble(seed)))
            .collect();
        Self { white, side }
    }

    fn at(&self, index: usize) -> f64 {
        let stride = self.side + 1;
        let cell = index / self.side * stride + index % self.side;
        let corners = [cell, cell + 1, cell + stride, cell + stride + 1];
        corners
            .iter()
            .filter_map(|&corner| self.white.get(corner))
            .sum::<f64>()
            / 2.0
            * GRAIN
    }
}

// The sum of four independent bytes is nearly normal; their deviation is 73.9 each.
fn white(cell: u32) -> f64 {
    let bytes = scramble(cell).to_le_bytes();
    (bytes.iter().copied().map(f64::from).sum::<f64>() - 510.0) / 147.8
}

// An integer hash (xor, shift, multiply) that leaves no pattern in neighbouring numbers.
fn scramble(number: u32) -> u32 {
    let mixed = (number ^ (number >> 16)).wrapping_mul(0x7feb_352d);
    let mixed = (mixed ^ (mixed >> 15)).wrapping_mul(0x846c_a68b);
    mixed ^ (mixed >> 16)
}

const MM_PER_UNIT: f64 = 105.0;
const AIR: f64 = -1000.0;
/// Standard deviation of the noise, in Hounsfield units.
const GRAIN: f64 = 4.0;
const LOWEST: f64 = -1024.0;
const HIGHEST: f64 = 3071.0;

const BONE: f64 = 1000.0;
const BRAIN: f64 = 40.0;
const LESION: f64 = 20.0;
const FLUID: f64 = -40.0;

const HEAD: [Ellipsoid; 10] = [
    ellipsoid(BONE - AIR, [0.69, 0.92, 0.81], [0.0, 0.0, 0.0], 0.0),
    ellipsoid(
        BRAIN - BONE,
        [0.6624, 0.874, 0.78],
        [0.0, -0.0184, 0.0],
        0.0,
    ),
    ellipsoid(FLUID, [0.11, 0.31, 0.22], [0.22, 0.0, 0.0], -18.0),
    ellipsoid(FLUID, [0.16, 0.41, 0.28], [-0.22, 0.0, 0.0], 18.0),
    ellipsoid(LESION, [0.21, 0.25, 0.41], [0.0, 0.35, -0.15], 0.0),
    ellipsoid(LESION, [0.046, 0.046, 0.05], [0.0, 0.1, 0.25], 0.0),
    ellipsoid(LESION, [0.046, 0.046, 0.05], [0.0, -0.1, 0.25], 0.0),
    ellipsoid(LESION, [0.046, 0.023, 0.05], [-0.08, -0.605, 0.0], 0.0),
    ellipsoid(LESION, [0.023, 0.023, 0.02], [0.0, -0.606, 0.0], 0.0),
    ellipsoid(LESION, [0.023, 0.046, 0.02], [0.06, -0.605, 0.0], 0.0),
];

const fn ellipsoid(step: f64, half_axes: [f64; 3], centre: [f64; 3], degrees: f64) -> Ellipsoid {
    Ellipsoid {
        step,
        half_axes,
        centre,
        degrees,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    // A slice of one voxel.
    fn voxel(origin: [f64; 3]) -> Plane {
        Plane {
            origin,
            row: [1.0, 0.0, 0.0],
            column: [0.0, 1.0, 0.0],
            spacing: 0.5,
            side: 1,
        }
    }

    fn value_at(x: f64, y: f64, z: f64) -> f64 {
        slice(&voxel([x, y, z]))[0]
    }

    fn axial(side: usize) -> Plane {
        let spacing = 230.4 / side as f64;
        let corner = -spacing * (side as f64 - 1.0) / 2.0;
        Plane {
            origin: [corner, corner, 0.0],
            spacing,
            side,
            ..voxel([0.0; 3])
        }
    }

    #[test]
    fn has_the_tissues_where_the_phantom_has_them() {
        let places = [
            ("air beside the head", [110.0, 0.0, 0.0], -1000.0),
            ("bone of the forehead", [0.0, -94.5, 0.0], 1000.0),
            ("brain", [0.0, 5.0, -10.0], 40.0),
            ("fluid on the left", [23.0, 0.0, 0.0], 0.0),
            ("the large lesion, in front", [0.0, -40.0, -20.0], 60.0),
            ("a small lesion at the back", [0.0, 63.6, 0.0], 60.0),
        ];
        for (place, [x, y, z], expected) in places {
            assert!(
                (value_at(x, y, z) - expected).abs() < 1e-6,
                "{place}: {}",
                value_at(x, y, z)
            );
        }
    }

    #[test]
    fn the_larger_ventricle_is_on_the_right_and_leans_outwards_in_front() {
        let row = |x: f64, y: f64| value_at(x, y, 0.0);
        assert_eq!((row(-36.0, 0.0), row(36.0, 0.0)), (0.0, 40.0));
        assert_eq!((row(-33.0, -30.0), row(-33.0, 30.0)), (0.0, 40.0));
    }

    #[test]
    fn a_row_of_voxels_agrees_with_each_voxel_alone() {
        let plane = axial(16);
        let whole = slice(&plane);
        for (index, value) in whole.iter().enumerate() {
            let [x, y, z] = plane.start_of_row(index / 16);
            let alone = Plane {
                origin: [x + (index % 16) as f64 * plane.spacing, y, z],
                side: 1,
                ..plane
            };
            assert!((value - slice(&alone)[0]).abs() < 1e-6, "voxel {index}");
        }
    }

    #[test]
    fn the_grain_is_gentle_and_repeats() {
        let plane = axial(64);
        let differences: Vec<f64> = scan(&plane, 7)
            .into_iter()
            .zip(slice(&plane))
            .filter(|(_, clean)| *clean > -900.0)
            .map(|(scanned, clean)| f64::from(scanned) - clean)
            .collect();
        let count = differences.len() as f64;
        let mean = differences.iter().sum::<f64>() / count;
        let deviation = (differences.iter().map(|d| d * d).sum::<f64>() / count).sqrt();
        assert!(mean.abs() < 0.6, "mean {mean}");
        assert!((3.5..4.5).contains(&deviation), "deviation {deviation}");
        assert_eq!(scan(&plane, 7), scan(&plane, 7));
        assert_ne!(scan(&plane, 7), scan(&plane, 8));
    }
}
