//! JPEG-LS (ISO 14495-1, LOCO-I): there is no library of it in safe Rust.
//!
//! Names are those of the standard: A, B, C and N are the counters of a context, T1 to T3 the
//! thresholds of the gradients, NEAR is how far a sample may be off.

use super::decode::{Samples, damaged};
use super::{Error, Geometry};

/// A.7.1.2: orders of run lengths.
const J: [u32; 32] = [
    0, 0, 0, 0, 1, 1, 1, 1, 2, 2, 2, 2, 3, 3, 3, 3, 4, 4, 5, 5, 6, 6, 7, 7, 8, 9, 10, 11, 12, 13,
    14, 15,
];
const REGULAR_CONTEXTS: usize = 365;

/// How the samples of several components are mixed (C.2.3, ILV).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Interleave {
    /// Each component has a scan of its own.
    None,
    /// Line by line.
    Line,
    /// Pixel by pixel.
    Sample,
}

/// C.2.4.1: parameters of the coder; 0: the default.
#[derive(Debug, Clone, Copy, Default)]
struct Preset {
    maxval: i32,
    t1: i32,
    t2: i32,
    t3: i32,
    reset: i32,
}

pub(super) fn decode(geometry: &Geometry, frame: &[u8]) -> Result<Samples, Error> {
    let components = geometry.samples as usize;
    let (width, height) = (geometry.columns as usize, geometry.rows as usize);
    let mut planes = vec![Vec::new(); components];
    let mut preset = Preset::default();
    let mut precision = None;
    let mut done = 0;
    let mut at = 0;
    while done < components {
        let marker = marker(frame, &mut at)?;
        if marker == 0xD8 {
            continue;
        }
        let segment = segment(frame, &mut at)?;
        match marker {
            0xF7 => precision = Some(frame_header(segment, geometry)?),
            0xF8 => preset = parameters(segment)?,
            0xDA => {
                let bits = precision.ok_or_else(|| damaged("a scan before the frame header"))?;
                let (count, near, interleave) = scan_header(segment)?;
                if count > components - done || (interleave == Interleave::None && count != 1) {
                    return Err(damaged("a scan of other components than the frame has"));
                }
                let mut coder = Coder::new(bits, near, preset)?;
                let mut bits = Bits::new(&frame[at..]);
                let scan = &mut planes[done..done + count];
                coder.scan(&mut bits, scan, (width, height), interleave)?;
                done += count;
                at += bits.behind();
            }
            // Application data and comments; a restart interval would change how scans are cut.
            0xDD => return Err(damaged("restart intervals are not known here")),
            _ => {}
        }
    }
    let bits = if geometry.bits_allocated <= 8 { 8 } else { 16 };
    let mut bytes = Vec::with_capacity(width * height * components * bits as usize / 8);
    for pixel in 0..width * height {
        for plane in &planes {
            let [low, high] = plane[pixel].to_le_bytes();
            bytes.push(low);
            if bits == 16 {
                bytes.push(high);
            }
        }
    }
    Ok(Samples {
        bytes,
        bits,
        is_rgb: false,
    })
}

fn short() -> Error {
    damaged("the JPEG-LS stream ends early")
}

/// The next marker; fill bytes may stand before it, and between scans what the coder left over.
fn marker(frame: &[u8], at: &mut usize) -> Result<u8, Error> {
    loop {
        let pair = frame.get(*at..*at + 2).ok_or_else(short)?;
        *at += 1;
        if pair[0] == 0xFF && pair[1] != 0xFF && pair[1] >= 0x80 {
            *at += 1;
            return Ok(pair[1]);
        }
    }
}

fn segment<'a>(frame: &'a [u8], at: &mut usize) -> Result<&'a [u8], Error> {
    let length = frame.get(*at..*at + 2).ok_or_else(short)?;
    let length = usize::from(u16::from_be_bytes([length[0], length[1]]));
    let segment = frame.get(*at + 2..*at + length.max(2)).ok_or_else(short)?;
    *at += length;
    Ok(segment)
}

/// C.2.2: precision, lines, samples in a line, components.
fn frame_header(segment: &[u8], geometry: &Geometry) -> Result<u32, Error> {
    let &[bits, y1, y0, x1, x0, components, ..] = segment else {
        return Err(short());
    };
    let (rows, columns) = (u16::from_be_bytes([y1, y0]), u16::from_be_bytes([x1, x0]));
    let is_same = u32::from(rows) == geometry.rows
        && u32::from(columns) == geometry.columns
        && u32::from(components) == geometry.samples;
    if !is_same || !(2..=16).contains(&bits) || u32::from(bits) > geometry.bits_allocated.max(8) {
        return Err(damaged("the JPEG-LS frame is not what the image says"));
    }
    Ok(u32::from(bits))
}

fn parameters(segment: &[u8]) -> Result<Preset, Error> {
    let (&id, rest) = segment.split_first().ok_or_else(short)?;
    if id != 1 {
        return Err(damaged("mapping tables are not known here"));
    }
    let (numbers, _) = rest.as_chunks::<2>();
    let numbers: Vec<i32> = numbers
        .iter()
        .map(|n| i32::from(u16::from_be_bytes(*n)))
        .collect();
    let &[maxval, t1, t2, t3, reset, ..] = numbers.as_slice() else {
        return Err(short());
    };
    Ok(Preset {
        maxval,
        t1,
        t2,
        t3,
        reset,
    })
}

/// C.2.3: components of the scan, NEAR, ILV.
fn scan_header(segment: &[u8]) -> Result<(usize, i32, Interleave), Error> {
    let count = usize::from(*segment.first().ok_or_else(short)?);
    let rest = segment.get(1 + 2 * count..).ok_or_else(short)?;
    let &[near, interleave, ..] = rest else {
        return Err(short());
    };
    let interleave = match interleave {
        0 => Interleave::None,
        1 => Interleave::Line,
        2 => Interleave::Sample,
        _ => return Err(damaged("an interleave mode that does not exist")),
    };
    if count == 0 || count > 4 {
        return Err(damaged("a scan without components"));
    }
    // One component cannot be mixed with anything.
    let interleave = if count == 1 {
        Interleave::None
    } else {
        interleave
    };
    Ok((count, i32::from(near), interleave))
}

/// Bits of a scan: after a byte 0xFF comes one of seven bits (9.1).
struct Bits<'a> {
    bytes: &'a [u8],
    at: usize,
    held: u64,
    count: u32,
    was_ff: bool,
}

impl<'a> Bits<'a> {
    fn new(bytes: &'a [u8]) -> Self {
        Self {
            bytes,
            at: 0,
            held: 0,
            count: 0,
            was_ff: false,
        }
    }

    fn behind(&self) -> usize {
        self.at
    }

    fn fill(&mut self) {
        while self.count <= 48 {
            let Some(&byte) = self.bytes.get(self.at) else {
                return;
            };
            // A marker ends the scan.
            if self.was_ff && byte >= 0x80 {
                return;
            }
            if byte == 0xFF && self.bytes.get(self.at + 1).is_none_or(|&next| next >= 0x80) {
                return;
            }
            let width = if self.was_ff { 7 } else { 8 };
            self.held = self.held << width | u64::from(byte);
            self.count += width;
            self.was_ff = byte == 0xFF;
            self.at += 1;
        }
    }

    fn read(&mut self, count: u32) -> Result<u32, Error> {
        if count == 0 {
            return Ok(0);
        }
        if self.count < count {
            self.fill();
            if self.count < count {
                return Err(short());
            }
        }
        self.count -= count;
        Ok((self.held >> self.count) as u32 & ((1 << count) - 1))
    }

    /// A.5.3: Golomb code of limited length.
    fn golomb(&mut self, k: u32, limit: u32, qbpp: u32) -> Result<i32, Error> {
        let mut zeros = 0;
        while self.read(1)? == 0 {
            zeros += 1;
            if zeros > limit {
                return Err(damaged("a code that is too long"));
            }
        }
        let value = if zeros < limit - qbpp - 1 {
            (zeros << k) + self.read(k)?
        } else {
            self.read(qbpp)? + 1
        };
        i32::try_from(value).map_err(|_large| damaged("an error that is too large"))
    }
}

/// A.2.1.
#[derive(Debug, Clone, Copy)]
struct Context {
    a: i32,
    b: i32,
    c: i32,
    n: i32,
}

/// The decoder of one scan.
struct Coder {
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
    fn new(bits: u32, near: i32, preset: Preset) -> Result<Self, Error> {
        let all = (1 << bits) - 1;
        let or = |value: i32, otherwise: i32| if value == 0 { otherwise } else { value };
        let maxval = or(preset.maxval, all);
        if maxval > all || near > maxval / 2 || near > 255 {
            return Err(damaged("parameters that cannot be"));
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

    fn scan(
        &mut self,
        bits: &mut Bits<'_>,
        planes: &mut [Vec<u16>],
        (width, height): (usize, usize),
        interleave: Interleave,
    ) -> Result<(), Error> {
        let count = planes.len();
        // A sample before and one after the line (A.2.1).
        let mut before = vec![vec![0; width + 2]; count];
        let mut line = before.clone();
        let mut run_index = vec![0; count];
        for _ in 0..height {
            for component in 0..count {
                let above = &mut before[component];
                above[width + 1] = above[width];
                line[component][0] = above[1];
            }
            match interleave {
                Interleave::None | Interleave::Line => {
                    for component in 0..count {
                        let lines = (
                            &before[component..=component],
                            &mut line[component..=component],
                        );
                        self.line(bits, lines, width, &mut run_index[component])?;
                    }
                }
                Interleave::Sample => {
                    self.line(bits, (&before, &mut line), width, &mut run_index[0])?;
                }
            }
            for (plane, line) in planes.iter_mut().zip(&line) {
                plane.extend(line[1..=width].iter().map(|&sample| sample as u16));
            }
            std::mem::swap(&mut before, &mut line);
        }
        Ok(())
    }

    /// One line of all components that are mixed in it.
    fn line(
        &mut self,
        bits: &mut Bits<'_>,
        (before, line): (&[Vec<i32>], &mut [Vec<i32>]),
        width: usize,
        run_index: &mut usize,
    ) -> Result<(), Error> {
        let mut x = 1;
        while x <= width {
            let is_flat = before.iter().zip(line.iter()).all(|(above, line)| {
                let (ra, rb, rc, rd) = (line[x - 1], above[x], above[x - 1], above[x + 1]);
                [rd - rb, rb - rc, rc - ra]
                    .iter()
                    .all(|d| d.abs() <= self.near)
            });
            if is_flat {
                x += self.run(bits, (before, line), (x, width), run_index)?;
                continue;
            }
            for (above, line) in before.iter().zip(line.iter_mut()) {
                let around = (line[x - 1], above[x], above[x - 1], above[x + 1]);
                line[x] = self.regular(bits, around)?;
            }
            x += 1;
        }
        Ok(())
    }

    /// A.3 to A.6.
    fn regular(
        &mut self,
        bits: &mut Bits<'_>,
        (ra, rb, rc, rd): (i32, i32, i32, i32),
    ) -> Result<i32, Error> {
        let quantised = |d: i32| self.quantised(d);
        let index = (quantised(rd - rb) * 9 + quantised(rb - rc)) * 9 + quantised(rc - ra);
        let sign = if index < 0 { -1 } else { 1 };
        let (reset, near, limit, qbpp) = (self.reset, self.near, self.limit, self.qbpp);
        let maxval = self.maxval;
        let context = &mut self.contexts[index.unsigned_abs() as usize];
        let predicted = if rc >= ra.max(rb) {
            ra.min(rb)
        } else if rc <= ra.min(rb) {
            ra.max(rb)
        } else {
            ra + rb - rc
        };
        let predicted = (predicted + sign * context.c).clamp(0, maxval);
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

    /// A.7: how many samples the run covers, the one that ends it included.
    fn run(
        &mut self,
        bits: &mut Bits<'_>,
        (before, line): (&[Vec<i32>], &mut [Vec<i32>]),
        (x, width): (usize, usize),
        run_index: &mut usize,
    ) -> Result<usize, Error> {
        let left = width + 1 - x;
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
            if length >= left + usize::from(is_whole) {
                return Err(damaged("a run beyond the end of its line"));
            }
        }
        for line in line.iter_mut() {
            let ra = line[x - 1];
            line[x..x + length].fill(ra);
        }
        if is_whole {
            return Ok(length);
        }
        let at = x + length;
        let is_alone = line.len() == 1;
        for (above, line) in before.iter().zip(line.iter_mut()) {
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

    /// A.7.2: the error of the sample that ends a run.
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

impl Context {
    // A.6.
    fn update(&mut self, error: i32, step: i32, reset: i32) {
        self.b += error * step;
        self.a += error.abs();
        if self.n == reset {
            self.a >>= 1;
            self.b = if self.b >= 0 {
                self.b >> 1
            } else {
                -((1 - self.b) >> 1)
            };
            self.n >>= 1;
        }
        self.n += 1;
        if self.b <= -self.n {
            self.b = (self.b + self.n).max(1 - self.n);
            self.c = (self.c - 1).max(-128);
        } else if self.b > 0 {
            self.b = (self.b - self.n).min(0);
            self.c = (self.c + 1).min(127);
        }
    }
}

// A.5.1.
fn order(n: i32, a: i32) -> Result<u32, Error> {
    let mut k = 0;
    while (i64::from(n) << k) < i64::from(a) {
        k += 1;
        if k > 24 {
            return Err(damaged("errors that are too large"));
        }
    }
    Ok(k)
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

#[cfg(test)]
mod tests {
    use super::*;

    fn geometry(rows: u32, columns: u32) -> Geometry {
        Geometry::grey(rows, columns, 8, 8)
    }

    // ISO 14495-1 annex H.3: four by four samples, with their code.
    #[test]
    fn decodes_the_example_of_the_standard() {
        let stream = [
            0xFF, 0xD8, 0xFF, 0xF7, 0x00, 0x0B, 0x08, 0x00, 0x04, 0x00, 0x04, 0x01, 0x01, 0x11,
            0x00, 0xFF, 0xDA, 0x00, 0x08, 0x01, 0x01, 0x00, 0x00, 0x00, 0x00, 0xC0, 0x00, 0x00,
            0x6C, 0x80, 0x20, 0x8E, 0x01, 0xC0, 0x00, 0x00, 0x57, 0x40, 0x00, 0x00, 0x6E, 0xE6,
            0x00, 0x00, 0x01, 0xBC, 0x18, 0x00, 0x00, 0x05, 0xD8, 0x00, 0x00, 0x91, 0x60, 0xFF,
            0xD9,
        ];
        let samples = decode(&geometry(4, 4), &stream).expect("samples");
        assert_eq!(
            samples.bytes,
            [
                0, 0, 90, 74, 68, 50, 43, 205, 64, 145, 145, 145, 100, 145, 145, 145
            ]
        );
    }

    #[test]
    fn junk_ends_with_an_error() {
        let stream = [
            0xFF, 0xD8, 0xFF, 0xF7, 0x00, 0x0B, 0x08, 0x00, 0x04, 0x00, 0x04, 0x01, 0x01, 0x11,
            0x00, 0xFF, 0xDA, 0x00, 0x08, 0x01, 0x01, 0x00, 0x00, 0x00, 0x00,
        ];
        for tail in 0..=255u8 {
            let mut bytes = stream.to_vec();
            bytes.extend([tail, tail ^ 0x5A, 0, tail]);
            // Whatever comes of it, it comes.
            let _ = decode(&geometry(4, 4), &bytes);
            assert!(decode(&geometry(5, 4), &bytes).is_err());
        }
        assert!(decode(&geometry(4, 4), &stream).is_err());
        assert!(decode(&geometry(4, 4), &[]).is_err());
    }
}
