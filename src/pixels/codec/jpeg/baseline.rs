//! Lossy JPEG of eight bits (ISO 10918-1), by jpeg-decoder.

use std::borrow::Cow;
use std::io::Cursor;

use jpeg_decoder::{ColorTransform, Decoder, PixelFormat};

use super::super::samples::{Samples, damaged};
use super::block::{BLOCK, each_coefficient};
use super::entropy::{Bits, ends_early, is_early_end};
use super::segments::{Component, Frame, Scan, Stream};
use crate::pixels::{Error, Geometry, MOST_BYTES};

/// The marker that ends an image.
const END: [u8; 2] = [0xff, 0xd9];

pub(super) fn decode(geometry: &Geometry, jpeg: &[u8], frame: &Frame) -> Result<Samples, Error> {
    frame.check_size(geometry)?;
    let jpeg = ended(jpeg)?;
    let mut decoder = Decoder::new(Cursor::new(&jpeg));
    decoder.set_max_decoding_buffer_size(usize::try_from(MOST_BYTES).unwrap_or(usize::MAX));
    decoder.read_info().map_err(damaged)?;
    let info = decoder.info().ok_or_else(|| damaged("no JPEG header"))?;
    let is_colour = geometry.samples == 3;
    let is_ybr = geometry.photometric.starts_with("YBR") || is_ybr(&jpeg, frame);
    if is_colour {
        // The attributes decide, not the guess of the library.
        decoder.set_color_transform(if is_ybr {
            ColorTransform::YCbCr
        } else {
            ColorTransform::RGB
        });
    }
    let bytes = decoder.decode().map_err(damaged)?;
    if !matches!(
        (info.pixel_format, geometry.samples),
        (PixelFormat::L8, 1) | (PixelFormat::RGB24, 3)
    ) {
        return Err(damaged(
            "the JPEG and the image differ in samples per pixel",
        ));
    }
    Ok(Samples {
        bytes,
        bits: 8,
        precision: Some(8),
        is_rgb: is_colour && is_ybr,
    })
}

/// Whether a stream contradicts the attributes and is right, as other readers have it: a JFIF
/// stream, or one that Adobe's segment says so of, is YBR even if Photometric Interpretation says
/// RGB.
fn is_ybr(jpeg: &[u8], frame: &Frame) -> bool {
    let mut stream = Stream::new(jpeg);
    // Errors are those of the library.
    let _ = stream.next_scan();
    let is_named_rgb = frame.components.iter().map(|one| one.id).eq(*b"RGB");
    match stream.adobe_transform() {
        Some(transform) => transform == 1,
        None => stream.is_jfif() && !is_named_rgb,
    }
}

/// The stream with its end. It must have all its blocks, because the library fills up what is
/// missing, and whoever cut the stream may have closed it again.
fn ended(jpeg: &[u8]) -> Result<Cow<'_, [u8]>, Error> {
    let end = jpeg.iter().rposition(|&byte| byte != 0);
    let last = end.and_then(|end| jpeg.get(end.checked_sub(1)?..=end));
    if last == Some(&END) || memchr::memmem::rfind(jpeg, &END).is_some() {
        return match whole(jpeg) {
            Err(error) if is_early_end(&error) => Err(error),
            // The library judges other faults, and streams that are not sequential.
            Ok(()) | Err(_) => Ok(Cow::Borrowed(jpeg)),
        };
    }
    whole(jpeg)?;
    Ok(Cow::Owned([jpeg, &END].concat()))
}

/// Checks that all scans of a sequential JPEG are there, with all their blocks.
fn whole(jpeg: &[u8]) -> Result<(), Error> {
    let mut stream = Stream::new(jpeg);
    let mut components = 0;
    while let Some(scan) = next_scan(&mut stream)? {
        components += scan.components.len();
        let bits = whole_scan(&stream, &scan)?;
        stream.resume(bits);
    }
    if components < stream.frame()?.components.len() {
        return Err(ends_early());
    }
    Ok(())
}

/// The next scan; `None` behind the last one.
fn next_scan<'a>(stream: &mut Stream<'a>) -> Result<Option<Scan<'a>>, Error> {
    let is_first = stream.is_before_scans();
    match stream.next_scan() {
        Err(_no_more) if !is_first => Ok(None),
        other => other.map(Some),
    }
}

/// Reads all blocks of a scan of a sequential JPEG.
fn whole_scan<'a>(stream: &Stream<'a>, scan: &Scan<'a>) -> Result<Bits<'a>, Error> {
    let (frame, tables) = (stream.frame()?, stream.tables());
    if !matches!(frame.process, 0xc0 | 0xc1) || frame.precision != 8 {
        return Err(damaged("the JPEG has no end"));
    }
    let all = &frame.components;
    let largest = |factor: fn(&Component) -> u8| all.iter().map(factor).max().unwrap_or(1).max(1);
    let (wide, high) = (largest(|one| one.sampling.0), largest(|one| one.sampling.1));
    // A.2: a scan of one component is not interleaved.
    let is_interleaved = scan.components.len() > 1;
    let units = |size: u16, factor: u8, largest: u8| {
        let size = usize::from(size);
        if is_interleaved {
            size.div_ceil(BLOCK * usize::from(largest))
        } else {
            let factors = (usize::from(factor), usize::from(largest));
            (size * factors.0).div_ceil(factors.1).div_ceil(BLOCK)
        }
    };
    let first = all[scan.components[0].place].sampling;
    let count = units(frame.columns, first.0, wide) * units(frame.rows, first.1, high);
    let mut bits = Bits::new(scan.data);
    for at in 0..count {
        if tables.restart_interval > 0 && at > 0 && at % tables.restart_interval == 0 {
            bits.restart()?;
        }
        for &component in &scan.components {
            let (dc, ac) = (tables.dc(component)?, tables.ac(component)?);
            let (across, down) = all[component.place].sampling;
            let blocks = if is_interleaved { across * down } else { 1 };
            for _ in 0..blocks {
                each_coefficient(&mut bits, dc, ac, |_place, _value| {})?;
            }
        }
    }
    Ok(bits)
}

#[cfg(test)]
#[path = "baseline_tests.rs"]
mod tests;
