//! The decoder of a scan: regular mode and run mode (annex A).

use super::super::samples::damaged;
use super::bits::Bits;
use super::context::{Context, order};
use super::header::{Interleave, Preset};
use super::template::{Lines, Template};
use crate::pixels::Error;

/// A.7.1.2: orders of run lengths.
const J: [u32; 32] = [
    0, 0, 0, 0, 1, 1, 1, 1, 2, 2, 2, 2, 3, 3, 3, 3, 4, 4, 5, 5, 6, 6, 7, 7, 8, 9, 10, 11, 12, 13,
    14, 15,
];
const REGULAR_CONTEXTS: usize = 365;

/// The decoder of one scan.
pub(super) struct Coder {
    maxval: i32,
    near: i32,
    thresholds: [i32; 3],
    reset: i32,
    range: i32,
    qbpp: u32,
    limit: u32,
    contexts: Vec<Context>,
    /// A.7.2: of runs; `b` counts negative errors.
    runs: [Context; 2],
}

impl Coder {
    pub(super) fn new(bits: u32, near: i32, preset: Preset) -> Result<Self, Error> {
        let all = (1 << bits) - 1;
        let or = |value: i32, otherwise: i32| if value == 0 { otherwise } else { value };
        let maxval = or(preset.maxval, all);
        if maxval > all || near > maxval / 2 || near > 255 {
            return Err(damaged("invalid parameters"));
        }
        let [t1, t2, t3] = thresholds(maxval, near);
        let range = (maxval + 2 * near) / (2 * near + 1) + 1;
        let qbpp = ceil_log2(range);
        let bpp = ceil_log2(maxval + 1).max(2);
        let first = Context {
            a: ((range + 32) / 64).max(2),
            b: 0,
            c: 0,
            n: 1,
        };
        Ok(Self {
            maxval,
            near,
            thresholds: [or(preset.t1, t1), or(preset.t2, t2), or(preset.t3, t3)],
            reset: or(preset.reset, 64).max(3),
            range,
            qbpp,
            limit: 2 * (bpp + bpp.max(8)),
            contexts: vec![first; REGULAR_CONTEXTS],
            runs: [first; 2],
        })
    }

    pub(super) fn scan(
        &mut self,
        bits: &mut Bits<'_>,
        planes: &mut [Vec<u16>],
        width: usize,
        height: usize,
        interleave: Interleave,
    ) -> Result<(), Error> {
        let count = planes.len();
        // With one sample before and one after the line (A.2.1).
        let mut above = vec![vec![0; width + 2]; count];
        let mut line = above.clone();
        let mut run_index = vec![0; count];
        for _ in 0..height {
            for (above, line) in above.iter_mut().zip(&mut line) {
                above[width + 1] = above[width];
                line[0] = above[1];
            }
            match interleave {
                Interleave::None | Interleave::Line => {
                    for component in 0..count {
                        let lines = Lines {
                            above: &above[component..=component],
                            line: &mut line[component..=component],
                            width,
                        };
                        self.line(bits, lines, &mut run_index[component])?;
                    }
                }
                Interleave::Sample => {
                    let lines = Lines {
                        above: &above,
                        line: &mut line,
                        width,
                    };
                    self.line(bits, lines, &mut run_index[0])?;
                }
            }
            for (plane, line) in planes.iter_mut().zip(&line) {
                plane.extend(line[1..=width].iter().map(|&sample| sample as u16));
            }
            std::mem::swap(&mut above, &mut line);
        }
        Ok(())
    }

    /// Decodes one line of the components that it interleaves.
    fn line(
        &mut self,
        bits: &mut Bits<'_>,
        mut lines: Lines<'_>,
        run_index: &mut usize,
    ) -> Result<(), Error> {
        let mut x = 1;
        while x <= lines.width {
            let is_flat = lines.templates(x).all(|template| self.is_flat(template));
            if is_flat {
                x += self.run(bits, &mut lines, x, run_index)?;
                continue;
            }
            for (above, line) in lines.above.iter().zip(lines.line.iter_mut()) {
                line[x] = self.regular(bits, Template::at(above, line, x))?;
            }
            x += 1;
        }
        Ok(())
    }

    // A.3.2.
    fn is_flat(&self, template: Template) -> bool {
        let gradients = template.gradients();
        gradients.iter().all(|d| d.abs() <= self.near)
    }

    /// A.3 to A.6.
    fn regular(&mut self, bits: &mut Bits<'_>, template: Template) -> Result<i32, Error> {
        let [d1, d2, d3] = template.gradients().map(|d| self.quantised(d));
        let index = (d1 * 9 + d2) * 9 + d3;
        let sign = if index < 0 { -1 } else { 1 };
        let (reset, near, limit, qbpp) = (self.reset, self.near, self.limit, self.qbpp);
        let maxval = self.maxval;
        let context = &mut self.contexts[index.unsigned_abs() as usize];
        let predicted = (template.predicted() + sign * context.c).clamp(0, maxval);
        let k = order(context.n, context.a)?;
        let mapped = bits.golomb(k, limit, qbpp)?;
        let is_special = near == 0 && k == 0 && 2 * context.b <= -context.n;
        let error = match (is_special, mapped % 2) {
            (false, 0) => mapped / 2,
            (false, _) => -(mapped + 1) / 2,
            (true, 0) => -mapped / 2 - 1,
            (true, _) => (mapped - 1) / 2,
        };
        context.update(error, 2 * near + 1, reset);
        Ok(self.reconstructed(predicted, sign * error))
    }

    /// A.7: decodes a run, and returns its length with the sample that interrupts it.
    fn run(
        &mut self,
        bits: &mut Bits<'_>,
        lines: &mut Lines<'_>,
        x: usize,
        run_index: &mut usize,
    ) -> Result<usize, Error> {
        let left = lines.width + 1 - x;
        let mut length = 0;
        while length < left && bits.read(1)? == 1 {
            let step = 1 << J[*run_index];
            if step <= left - length {
                *run_index = (*run_index + 1).min(31);
            }
            length = (length + step).min(left);
            if length == left {
                break;
            }
        }
        let is_whole = length == left;
        if !is_whole {
            length += bits.read(J[*run_index])? as usize;
            if length >= left {
                return Err(damaged("a run exceeds its line"));
            }
        }
        for line in lines.line.iter_mut() {
            let ra = line[x - 1];
            line[x..x + length].fill(ra);
        }
        if is_whole {
            return Ok(length);
        }
        let at = x + length;
        let is_alone = lines.line.len() == 1;
        for (above, line) in lines.above.iter().zip(lines.line.iter_mut()) {
            let (ra, rb) = (line[at - 1], above[at]);
            let kind = usize::from(is_alone && (ra - rb).abs() <= self.near);
            let error = self.interruption(bits, kind, J[*run_index])?;
            line[at] = if kind == 1 {
                self.reconstructed(ra, error)
            } else {
                self.reconstructed(rb, if rb >= ra { error } else { -error })
            };
        }
        *run_index = run_index.saturating_sub(1);
        Ok(length + 1)
    }

    /// A.7.2: the error of the sample that interrupts a run.
    fn interruption(&mut self, bits: &mut Bits<'_>, kind: usize, j: u32) -> Result<i32, Error> {
        let (limit, qbpp, reset) = (self.limit - j - 1, self.qbpp, self.reset);
        let context = &mut self.runs[kind];
        let extra = if kind == 1 { context.n >> 1 } else { 0 };
        let k = order(context.n, context.a + extra)?;
        let mapped = bits.golomb(k, limit, qbpp)?;
        let kind = i32::try_from(kind).unwrap_or(0);
        let value = mapped + kind;
        let is_odd = value % 2 == 1;
        let half = (value + i32::from(is_odd)) / 2;
        let is_negative = (k != 0 || 2 * context.b >= context.n) == is_odd;
        let error = if is_negative { -half } else { half };
        if error < 0 {
            context.b += 1;
        }
        context.a += (mapped + 1 - kind) >> 1;
        if context.n == reset {
            context.a >>= 1;
            context.n >>= 1;
            context.b >>= 1;
        }
        context.n += 1;
        Ok(error)
    }

    fn reconstructed(&self, predicted: i32, error: i32) -> i32 {
        let step = 2 * self.near + 1;
        let mut value = predicted + error * step;
        if value < -self.near {
            value += self.range * step;
        } else if value > self.maxval + self.near {
            value -= self.range * step;
        }
        value.clamp(0, self.maxval)
    }

    /// A.3.3.
    fn quantised(&self, d: i32) -> i32 {
        let [t1, t2, t3] = self.thresholds;
        let size = match d.abs() {
            size if size <= self.near => 0,
            size if size < t1 => 1,
            size if size < t2 => 2,
            size if size < t3 => 3,
            _ => 4,
        };
        size * d.signum()
    }
}

fn ceil_log2(value: i32) -> u32 {
    let value = value.max(1).unsigned_abs();
    value.next_power_of_two().trailing_zeros()
}

// C.2.4.1.1.
fn thresholds(maxval: i32, near: i32) -> [i32; 3] {
    let clamp = |value: i32, least: i32| {
        if value > maxval || value < least {
            least
        } else {
            value
        }
    };
    let [basic1, basic2, basic3] = [3, 7, 21];
    if maxval >= 128 {
        let factor = (maxval.min(4095) + 128) / 256;
        let t1 = clamp(factor * (basic1 - 2) + 2 + 3 * near, near + 1);
        let t2 = clamp(factor * (basic2 - 3) + 3 + 5 * near, t1);
        return [t1, t2, clamp(factor * (basic3 - 4) + 4 + 7 * near, t2)];
    }
    let factor = 256 / (maxval + 1);
    let t1 = clamp((basic1 / factor + 3 * near).max(2), near + 1);
    let t2 = clamp((basic2 / factor + 5 * near).max(3), t1);
    [t1, t2, clamp((basic3 / factor + 7 * near).max(4), t2)]
}
