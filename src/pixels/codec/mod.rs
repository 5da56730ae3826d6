//! Decodes a frame into samples, by its transfer syntax.

mod jpeg;
mod jpeg2000;
mod jpeg_ls;
mod rle;
mod samples;

use super::{Error, Geometry};

pub(super) use samples::{Samples, damaged};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Codec {
    /// Uncompressed frames in fragments.
    None,
    Rle,
    Jpeg,
    JpegLs,
    Jpeg2000,
}

/// The codec of each transfer syntax.
const CODECS: [(&str, Codec); 13] = [
    ("1.2.840.10008.1.2.1.98", Codec::None),
    ("1.2.840.10008.1.2.5", Codec::Rle),
    ("1.2.840.10008.1.2.4.50", Codec::Jpeg),
    ("1.2.840.10008.1.2.4.51", Codec::Jpeg),
    ("1.2.840.10008.1.2.4.57", Codec::Jpeg),
    ("1.2.840.10008.1.2.4.70", Codec::Jpeg),
    ("1.2.840.10008.1.2.4.80", Codec::JpegLs),
    ("1.2.840.10008.1.2.4.81", Codec::JpegLs),
    ("1.2.840.10008.1.2.4.90", Codec::Jpeg2000),
    ("1.2.840.10008.1.2.4.91", Codec::Jpeg2000),
    ("1.2.840.10008.1.2.4.201", Codec::Jpeg2000),
    ("1.2.840.10008.1.2.4.202", Codec::Jpeg2000),
    ("1.2.840.10008.1.2.4.203", Codec::Jpeg2000),
];

/// The transfer syntaxes that have a codec.
pub fn decodable() -> impl Iterator<Item = &'static str> {
    CODECS.iter().map(|(syntax, _)| *syntax)
}

/// The codec of a transfer syntax.
pub(super) fn codec(transfer_syntax: &str) -> Option<Codec> {
    let mut codecs = CODECS.iter();
    let found = codecs.find(|(syntax, _)| *syntax == transfer_syntax);
    found.map(|(_, codec)| *codec)
}

pub(super) fn decode(
    compressed: Option<&str>,
    geometry: &Geometry,
    frame: &[u8],
) -> Result<Samples, Error> {
    geometry.check()?;
    let mut samples = match compressed {
        None => native(geometry, frame)?,
        Some(syntax) => match codec(syntax).ok_or(Error::NoDecoder)? {
            Codec::None => native(geometry, frame)?,
            Codec::Rle => rle::decode(geometry, frame)?,
            Codec::Jpeg => jpeg::decode(geometry, frame)?.placed(geometry)?,
            Codec::JpegLs => jpeg_ls::decode(geometry, frame)?.placed(geometry)?,
            Codec::Jpeg2000 => jpeg2000::decode(geometry, frame)?.placed(geometry)?,
        },
    };
    let pixels = geometry.rows as usize * geometry.columns as usize;
    let expected = (pixels * geometry.samples as usize * samples.bits as usize).div_ceil(8);
    if samples.bytes.len() < expected {
        return Err(damaged("there are fewer samples than pixels"));
    }
    // A fragment has an even length.
    samples.bytes.truncate(expected);
    Ok(samples)
}

fn native(geometry: &Geometry, frame: &[u8]) -> Result<Samples, Error> {
    let bits = geometry.bits_allocated;
    if !matches!(bits, 1 | 8 | 16 | 32 | 64) {
        return Err(Error::Unsupported(format!("{bits} bits for a sample")));
    }
    let is_full = frame.len() as u64 * 8 >= geometry.full_frame_bits();
    let bytes = if geometry.is_subsampled() && bits == 8 && !is_full {
        upsampled(frame)
    } else if geometry.is_planar && geometry.samples > 1 && bits >= 8 {
        interleaved(frame, geometry.samples as usize, bits as usize / 8)
    } else {
        frame.to_vec()
    };
    Ok(Samples {
        bytes,
        bits,
        precision: None,
        is_rgb: false,
    })
}

// PS3.3 C.7.6.3.1.2: Y1 Y2 Cb Cr for each two pixels of a row.
fn upsampled(frame: &[u8]) -> Vec<u8> {
    let (pairs, _) = frame.as_chunks::<4>();
    let pixels = pairs
        .iter()
        .flat_map(|[a, b, blue, red]| [*a, *blue, *red, *b, *blue, *red]);
    pixels.collect()
}

/// Interleaves planes into pixels.
pub(super) fn interleaved(planes: &[u8], samples: usize, width: usize) -> Vec<u8> {
    let plane = planes.len() / samples / width * width;
    let mut out = Vec::with_capacity(plane * samples);
    for at in (0..plane).step_by(width) {
        for sample in 0..samples {
            let from = sample * plane + at;
            out.extend_from_slice(&planes[from..from + width]);
        }
    }
    out
}
