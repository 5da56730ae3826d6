//! Renders samples as a picture: shades, crops, scales and encodes it.

use std::ops::Range;

use super::codec::Samples;
use super::lettering::{self, Canvas};
use super::window::Grey;
use super::{Error, Format, Geometry, Rendering, Viewport};

/// The most pixels of a picture.
const MOST_PIXELS: u64 = 16 << 20;

/// A picture of eight bits: one or three bytes for each pixel.
struct Picture {
    width: usize,
    height: usize,
    channels: usize,
    bytes: Vec<u8>,
}

pub(super) fn render(
    samples: &Samples,
    geometry: &Geometry,
    rendering: &Rendering,
) -> Result<Vec<u8>, Error> {
    let picture = shaded(samples, geometry, rendering)?;
    let mut picture = fitted(picture, rendering.viewport)?;
    let mut canvas = Canvas {
        width: picture.width,
        height: picture.height,
        channels: picture.channels,
        bytes: &mut picture.bytes,
    };
    lettering::write(&mut canvas, &rendering.lettering);
    encoded(&picture, rendering)
}

fn shaded(samples: &Samples, geometry: &Geometry, rendering: &Rendering) -> Result<Picture, Error> {
    let (width, height) = (geometry.columns as usize, geometry.rows as usize);
    let count = width * height;
    let value = |index: usize| value_at(samples, geometry, index);
    let picture = |channels, bytes| Picture {
        width,
        height,
        channels,
        bytes,
    };
    match (geometry.samples, geometry.photometric.as_str()) {
        (1, "PALETTE COLOR") => {
            let palette = rendering.palette.as_ref();
            let palette = palette.ok_or_else(|| unsupported("its palette is missing"))?;
            let levels = (0..count).flat_map(|index| {
                let value = value(index);
                palette.each_ref().map(|lut| lut.level(value))
            });
            Ok(picture(3, levels.collect()))
        }
        (1, _) => {
            let grey = Grey::new(rendering, geometry, (0..count).map(value));
            let bytes = if samples.bits == 8 || (samples.bits == 16 && count > 1 << 16) {
                by_table(samples, geometry, &grey, count)
            } else {
                (0..count).map(|index| grey.level(value(index))).collect()
            };
            Ok(picture(1, bytes))
        }
        (3 | 4, photometric) => {
            let shift = geometry.bits_stored.saturating_sub(8);
            let channels = geometry.samples as usize;
            let is_ybr = photometric.starts_with("YBR") && !samples.is_rgb;
            let level = |index: usize| ((value(index) as i64) >> shift).clamp(0, 255) as u8;
            let pixels = (0..count).flat_map(|pixel| {
                let at = pixel * channels;
                let pixel = [level(at), level(at + 1), level(at + 2)];
                if is_ybr { rgb(pixel) } else { pixel }
            });
            Ok(picture(3, pixels.collect()))
        }
        (samples, _) => Err(unsupported(&format!("{samples} samples for a pixel"))),
    }
}

/// Maps every possible value once.
fn by_table(samples: &Samples, geometry: &Geometry, grey: &Grey<'_>, count: usize) -> Vec<u8> {
    let table: Vec<u8> = (0..1u32 << samples.bits)
        .map(|raw| grey.level(meant(u64::from(raw), geometry)))
        .collect();
    if samples.bits == 8 {
        let bytes = samples.bytes.iter().take(count);
        return bytes.map(|&byte| table[usize::from(byte)]).collect();
    }
    let (numbers, _) = samples.bytes.as_chunks::<2>();
    let numbers = numbers.iter().take(count);
    numbers
        .map(|number| table[usize::from(u16::from_le_bytes(*number))])
        .collect()
}

fn value_at(samples: &Samples, geometry: &Geometry, index: usize) -> f64 {
    let bytes = &samples.bytes;
    match samples.bits {
        1 => {
            let byte = bytes.get(index / 8).copied().unwrap_or(0);
            f64::from(byte >> (index % 8) & 1)
        }
        bits => {
            let width = bits as usize / 8;
            let mut whole = [0; 8];
            if let Some(number) = bytes.get(index * width..(index + 1) * width) {
                whole[..width].copy_from_slice(number);
            }
            let raw = u64::from_le_bytes(whole);
            match (geometry.is_float, bits) {
                (true, 32) => f64::from(f32::from_bits(raw as u32)),
                (true, 64) => f64::from_bits(raw),
                _ => meant(raw, geometry),
            }
        }
    }
}

/// The number in a stored value. The bits beside the stored ones are undefined, or overlays.
fn meant(raw: u64, geometry: &Geometry) -> f64 {
    let bits = geometry.bits_stored.clamp(1, 63);
    let kept = raw >> geometry.lowest_bit().min(63) & ((1 << bits) - 1);
    let sign = 1 << (bits - 1);
    if geometry.is_signed && kept & sign != 0 {
        (kept as i64 - (1 << bits)) as f64
    } else {
        kept as f64
    }
}

// PS3.3 C.7.6.3.1.2, YBR_FULL.
fn rgb([y, blue, red]: [u8; 3]) -> [u8; 3] {
    let (y, blue, red) = (
        f64::from(y),
        f64::from(blue) - 128.0,
        f64::from(red) - 128.0,
    );
    let level = |value: f64| value.round().clamp(0.0, 255.0) as u8;
    [
        level(y + 1.402 * red),
        level(y - 0.344_136 * blue - 0.714_136 * red),
        level(y + 1.772 * blue),
    ]
}

/// The region of the viewport, scaled to its size. Averages where it becomes smaller.
fn fitted(picture: Picture, viewport: Viewport) -> Result<Picture, Error> {
    if viewport == Viewport::default() {
        return Ok(picture);
    }
    let (across, down) = axes(&picture, viewport)?;
    if (across.output as u64) * (down.output as u64) > MOST_PIXELS {
        return Err(Error::TooLarge);
    }
    let channels = picture.channels;
    let mut bytes = Vec::with_capacity(across.output * down.output * channels);
    let columns: Vec<_> = (0..across.output).map(|x| across.span(x)).collect();
    for y in 0..down.output {
        let rows = down.span(y);
        for columns in &columns {
            for channel in 0..channels {
                let mut sum = 0usize;
                let mut count = 0;
                for row in rows.clone() {
                    for column in columns.clone() {
                        let pixel = row * picture.width + column;
                        sum += usize::from(picture.bytes[pixel * channels + channel]);
                        count += 1;
                    }
                }
                bytes.push(((sum + count / 2) / count) as u8);
            }
        }
    }
    Ok(Picture {
        width: across.output,
        height: down.output,
        channels,
        bytes,
    })
}

/// How the columns, or the rows, of a picture become those of a scaled one.
#[derive(Debug, Clone, Copy)]
struct Axis {
    /// Pixels of the picture.
    input: usize,
    /// Pixels of the scaled picture.
    output: usize,
    /// The first pixel of the region.
    start: f64,
    /// The length of the region, in pixels of the picture.
    length: f64,
    is_flipped: bool,
}

/// The axes of a viewport: across and down.
fn axes(picture: &Picture, viewport: Viewport) -> Result<(Axis, Axis), Error> {
    let whole = (0.0, 0.0, picture.width as f64, picture.height as f64);
    let (left, top, width, height) = viewport.source.unwrap_or(whole);
    let (left, top) = (left.clamp(0.0, whole.2), top.clamp(0.0, whole.3));
    let (width, height) = (width.min(whole.2 - left), height.min(whole.3 - top));
    if width < 1.0 || height < 1.0 {
        return Err(unsupported("the region is outside of the frame"));
    }
    // PS3.18 8.3.5.1.3: as large as fits, with its aspect ratio.
    let mut scale = viewport.size.map_or(1.0, |(across, down)| {
        (f64::from(across) / width).min(f64::from(down) / height)
    });
    if viewport.never_larger {
        scale = scale.min(1.0);
    }
    let output = |length: f64| ((length * scale).round() as usize).max(1);
    let across = Axis {
        input: picture.width,
        output: output(width),
        start: left,
        length: width,
        is_flipped: viewport.flips.0,
    };
    let down = Axis {
        input: picture.height,
        output: output(height),
        start: top,
        length: height,
        is_flipped: viewport.flips.1,
    };
    Ok((across, down))
}

impl Axis {
    /// The pixels of the picture, at least one, that make pixel `at` of the scaled picture.
    fn span(self, at: usize) -> Range<usize> {
        let at = if self.is_flipped {
            self.output - 1 - at
        } else {
            at
        };
        let step = self.length / self.output as f64;
        let first = ((self.start + at as f64 * step) as usize).min(self.input - 1);
        let last = (self.start + (at + 1) as f64 * step).ceil() as usize;
        // Enlarging, or keeping the size, takes the nearest pixel.
        let last = if step <= 1.0 {
            first + 1
        } else {
            last.max(first + 1)
        };
        first..last.min(self.input)
    }
}

fn encoded(picture: &Picture, rendering: &Rendering) -> Result<Vec<u8>, Error> {
    let (format, quality) = (rendering.format, rendering.quality);
    let failed = |error: &dyn std::fmt::Display| unsupported(&error.to_string());
    let size = |length: usize| u16::try_from(length).map_err(|_long| Error::TooLarge);
    let mut out = Vec::new();
    match format {
        Format::Jpeg => {
            let colour = match picture.channels {
                1 => jpeg_encoder::ColorType::Luma,
                _ => jpeg_encoder::ColorType::Rgb,
            };
            let encoder = jpeg_encoder::Encoder::new(&mut out, quality);
            let (width, height) = (size(picture.width)?, size(picture.height)?);
            let written = encoder.encode(&picture.bytes, width, height, colour);
            written.map_err(|error| failed(&error))?;
        }
        Format::Png => {
            let (width, height) = (picture.width as u32, picture.height as u32);
            let mut encoder = png::Encoder::new(&mut out, width, height);
            encoder.set_color(match picture.channels {
                1 => png::ColorType::Grayscale,
                _ => png::ColorType::Rgb,
            });
            encoder.set_compression(png::Compression::Fast);
            let mut writer = encoder.write_header().map_err(|error| failed(&error))?;
            writer
                .write_image_data(&picture.bytes)
                .map_err(|error| failed(&error))?;
            writer.finish().map_err(|error| failed(&error))?;
        }
        Format::Gif => {
            let (width, height) = (size(picture.width)?, size(picture.height)?);
            let mut frame = gif_frame(picture, width, height);
            frame.delay = rendering.delay;
            let encoder = gif::Encoder::new(&mut out, width, height, &[]);
            let mut encoder = encoder.map_err(|error| failed(&error))?;
            encoder
                .write_frame(&frame)
                .map_err(|error| failed(&error))?;
        }
    }
    Ok(out)
}

fn gif_frame(picture: &Picture, width: u16, height: u16) -> gif::Frame<'static> {
    if picture.channels == 1 {
        let greys: Vec<u8> = (0..=255u8).flat_map(|level| [level; 3]).collect();
        return gif::Frame::from_palette_pixels(width, height, picture.bytes.clone(), greys, None);
    }
    gif::Frame::from_rgb_speed(width, height, &picture.bytes, 20)
}

fn unsupported(why: &str) -> Error {
    Error::Unsupported(why.to_owned())
}
