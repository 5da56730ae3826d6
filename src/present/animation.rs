//! Joins pictures of frames into an animated GIF. Pure.
//!
//! A GIF of one picture is a head, the block of the picture, and a trailer byte (GIF89a). An
//! animation is the head of the first picture and the blocks of all.

use bytes::{BufMut, Bytes, BytesMut};

/// Signature and logical screen descriptor.
const HEAD: usize = 13;
/// The flag of a global palette.
const HAS_PALETTE: u8 = 0x80;
const TRAILER: u8 = 0x3B;
/// The extension for an endless loop, which all viewers since Netscape 2.0 support.
const FOR_EVER: &[u8] = b"\x21\xFF\x0BNETSCAPE2.0\x03\x01\x00\x00\x00";

/// The beginning of an animation, with its first picture.
#[must_use]
pub fn begun(first: &Bytes) -> Option<Bytes> {
    let head = first.get(..head(first)?)?;
    let block = block(first)?;
    let mut out = BytesMut::with_capacity(first.len() + FOR_EVER.len());
    out.put_slice(head);
    out.put_slice(FOR_EVER);
    out.put_slice(&block);
    Some(out.freeze())
}

/// The block of another picture.
#[must_use]
pub fn block(picture: &Bytes) -> Option<Bytes> {
    let (start, end) = (head(picture)?, picture.len().checked_sub(1)?);
    (end > start && picture.last() == Some(&TRAILER)).then(|| picture.slice(start..end))
}

/// The length of the head with its global palette.
fn head(picture: &[u8]) -> Option<usize> {
    let flags = *picture.get(10).filter(|_| picture.starts_with(b"GIF89a"))?;
    let palette = match flags & HAS_PALETTE {
        0 => 0,
        _ => 3 << ((flags & 7) + 1),
    };
    Some(HEAD + palette)
}

/// The end of an animation.
#[must_use]
pub fn ended() -> Bytes {
    Bytes::from_static(&[TRAILER])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn picture(level: u8) -> Bytes {
        let mut out = Vec::new();
        let greys: Vec<u8> = (0..=255u8).flat_map(|grey| [grey; 3]).collect();
        let mut frame = gif::Frame::from_palette_pixels(2, 3, vec![level; 6], greys, None);
        frame.delay = 7;
        let mut encoder = gif::Encoder::new(&mut out, 2, 3, &[]).expect("a GIF");
        encoder.write_frame(&frame).expect("a frame");
        drop(encoder);
        out.into()
    }

    #[test]
    fn all_pictures_are_in_one_and_each_has_its_time() {
        let mut out = begun(&picture(1)).expect("a GIF").to_vec();
        for level in [50, 200] {
            out.extend_from_slice(&block(&picture(level)).expect("a GIF"));
        }
        out.extend_from_slice(&ended());
        let mut reader = gif::DecodeOptions::new()
            .read_info(&out[..])
            .expect("a GIF");
        let mut seen = Vec::new();
        while let Some(frame) = reader.read_next_frame().expect("a frame") {
            seen.push((frame.buffer[0], frame.delay));
        }
        assert_eq!(seen, [(1, 7), (50, 7), (200, 7)]);
        assert_eq!(reader.repeat(), gif::Repeat::Infinite);
    }

    #[test]
    fn what_is_no_gif_is_none() {
        for bytes in [
            &b""[..],
            b"GIF89a",
            b"GIF87a\0\0\0\0\0\0\0\0;",
            b"\xFF\xD8\xFF",
        ] {
            assert_eq!(begun(&Bytes::from_static(bytes)), None);
        }
    }
}
