//! Cuts out uncompressed frames, in little endian.

use bytes::Bytes;

use super::Native;
use crate::body::Body;

/// The bytes of an uncompressed frame, `number` counted from 1, in little endian. Its bits begin at
/// the lowest bit of the first byte.
#[must_use]
pub fn native_frame(body: Body, native: Native, number: u32) -> Body {
    let first_bit = native.frame_bits * u64::from(number.saturating_sub(1));
    let length = native.frame_bits.div_ceil(8);
    let is_whole = first_bit.is_multiple_of(8) && native.frame_bits.is_multiple_of(8);
    if is_whole && native.swapped == 1 {
        let there = length.min(native.length.saturating_sub(first_bit / 8));
        let body = body.slice(native.offset + first_bit / 8, there);
        return filled(body, there, length);
    }
    // Single bits, or retired big endian: bytes are swapped, then bits are shifted.
    let width = native.swapped as u64;
    let start = first_bit / 8 / width * width;
    let end = (first_bit + native.frame_bits)
        .div_ceil(8)
        .next_multiple_of(width)
        .min(native.length);
    let before = first_bit - start * 8;
    let body = swapped(
        body.slice(native.offset + start, end - start),
        native.swapped,
    );
    let body = body.slice(before / 8, end - start - before / 8);
    moved(body, before % 8, native.frame_bits)
}

/// The body with zeros in place of its last sample, if that is missing.
fn filled(mut body: Body, there: u64, length: u64) -> Body {
    if there == length {
        return body;
    }
    let missing = usize::try_from(length - there).unwrap_or(0);
    Body::generate(Some(length), move |out| async move {
        while let Some(chunk) = body.chunk().await? {
            out.emit(chunk).await?;
        }
        out.emit(vec![0; missing].into()).await
    })
}

/// `count` bits of a body from bit `first` of its first byte on, chunk by chunk.
fn moved(mut body: Body, first: u64, count: u64) -> Body {
    Body::generate(Some(count.div_ceil(8)), move |out| async move {
        let mut left = count;
        // The last byte waits for the next one, which its highest bits come from.
        let mut rest = Vec::new();
        while let Some(chunk) = body.chunk().await? {
            rest.extend_from_slice(&chunk);
            let ready = left.min((rest.len() as u64).saturating_sub(1) * 8);
            if ready > 0 {
                out.emit(bits(&rest, first, ready)).await?;
                left -= ready;
                rest.drain(..rest.len() - 1);
            }
        }
        if left > 0 {
            out.emit(bits(&rest, first, left)).await?;
        }
        Ok(())
    })
}

/// `count` bits from bit `first` on, from the lowest of each byte to the highest (PS3.5 8.1.1).
fn bits(bytes: &[u8], first: u64, count: u64) -> Bytes {
    let shift = (first % 8) as u32;
    let from = usize::try_from(first / 8).unwrap_or(usize::MAX);
    let length = usize::try_from(count.div_ceil(8)).unwrap_or(usize::MAX);
    let at = |index: usize| u16::from(bytes.get(index).copied().unwrap_or(0));
    let mut out: Vec<u8> = (from..from.saturating_add(length))
        .map(|index| (((at(index + 1) << 8 | at(index)) >> shift) & 0xFF) as u8)
        .collect();
    if let (Some(last), left @ 1..) = (out.last_mut(), count % 8) {
        *last &= (1 << left) - 1;
    }
    out.into()
}

/// The body with the bytes of every number of `width` bytes reversed.
#[must_use]
pub fn swapped(mut body: Body, width: usize) -> Body {
    if width <= 1 {
        return body;
    }
    Body::generate(body.length(), move |out| async move {
        let mut rest = Vec::new();
        while let Some(chunk) = body.chunk().await? {
            rest.extend_from_slice(&chunk);
            let left = rest.split_off(rest.len() / width * width);
            let mut whole = std::mem::replace(&mut rest, left);
            for number in whole.chunks_exact_mut(width) {
                number.reverse();
            }
            if !whole.is_empty() {
                out.emit(whole.into()).await?;
            }
        }
        if rest.is_empty() {
            Ok(())
        } else {
            out.emit(rest.into()).await
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn read(mut body: Body) -> Vec<u8> {
        let mut all = Vec::new();
        while let Some(chunk) = body.chunk().await.expect("a whole body") {
            all.extend_from_slice(&chunk);
        }
        all
    }

    /// The same bytes in chunks of this length.
    fn chunked(bytes: &[u8], length: usize) -> Body {
        let chunks: Vec<_> = bytes.chunks(length).map(Bytes::copy_from_slice).collect();
        Body::generate(None, |out| async move {
            for chunk in chunks {
                out.emit(chunk).await?;
            }
            Ok(())
        })
    }

    #[tokio::test]
    async fn bits_move_the_same_way_whatever_the_chunks() {
        let bytes: Vec<u8> = (0..40u32).map(|at| (at * 37 + 11) as u8).collect();
        for first in 0..8 {
            for count in [1, 7, 8, 9, 63, 64, 65, 120, 300 - first] {
                let whole = bits(&bytes, first, count);
                let needed = (first + count).div_ceil(8) as usize;
                for length in [1, 2, 3, 7, 64] {
                    let body = moved(chunked(&bytes[..needed], length), first, count);
                    let expected = Some(count.div_ceil(8));
                    assert_eq!(body.length(), expected);
                    assert_eq!(read(body).await, whole, "{first} {count} {length}");
                }
            }
        }
    }

    #[tokio::test]
    async fn frames_of_bits_and_of_big_endian_numbers_are_cut_out() {
        let body = || Body::full(Bytes::from_static(&[9, 9, 1, 2, 3, 4, 5, 6, 7, 8]));
        let native = Native {
            offset: 2,
            length: 8,
            frames: 4,
            frame_bits: 16,
            swapped: 2,
        };
        assert_eq!(read(native_frame(body(), native, 2)).await, [4, 3]);
        let short = Native {
            frame_bits: 48,
            swapped: 1,
            ..native
        };
        assert_eq!(
            read(native_frame(body(), short, 2)).await,
            [7, 8, 0, 0, 0, 0]
        );
        let bits = Native {
            frame_bits: 12,
            swapped: 1,
            ..native
        };
        assert_eq!(read(native_frame(body(), bits, 1)).await, [1, 2]);
        assert_eq!(read(native_frame(body(), bits, 2)).await, [0x30, 0x0]);
        let both = Native {
            frame_bits: 12,
            ..native
        };
        assert_eq!(read(native_frame(body(), both, 2)).await, [0x40, 0x0]);
    }
}
