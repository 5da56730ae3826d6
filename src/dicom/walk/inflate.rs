//! Inflates a deflated data set (PS3.5 A.5) piece by piece and walks over it.

use flate2::{Decompress, FlushDecompress, Status};

use super::elements::Elements;
use super::verdict::{NotWhole, Tail};
use crate::dicom::transfer_syntax::Encoding;

/// The most bytes that a data set may inflate to. Deflate expands a byte to at most 1,032, so this
/// limits the cost of a few MiB.
pub(super) const MAX_INFLATED: u64 = 4 << 30;

/// The bytes that are inflated at a time.
const ROOM: usize = 32 << 10;

#[derive(Debug)]
pub(super) struct Inflating {
    inflater: Decompress,
    room: Box<[u8]>,
    elements: Elements,
    has_ended: bool,
    /// The bytes behind the deflated stream.
    behind: Tail,
}

impl Default for Inflating {
    fn default() -> Self {
        Self {
            // Raw deflate, RFC 1951.
            inflater: Decompress::new(false),
            room: vec![0; ROOM].into(),
            elements: Elements::new(Encoding::Deflated),
            has_ended: false,
            behind: Tail::default(),
        }
    }
}

impl Inflating {
    pub(super) fn push(&mut self, mut bytes: &[u8]) -> Result<(), NotWhole> {
        while !self.has_ended {
            let (read, made) = self.inflate(bytes)?;
            bytes = &bytes[read..];
            if read > 0 || made > 0 || self.has_ended {
                continue;
            }
            if bytes.is_empty() {
                break;
            }
            return Err(NotWhole::Deflate);
        }
        self.behind.add(bytes);
        Ok(())
    }

    /// Returns the number of consumed and of inflated bytes.
    fn inflate(&mut self, bytes: &[u8]) -> Result<(usize, usize), NotWhole> {
        let (read, made) = (self.inflater.total_in(), self.inflater.total_out());
        let status = self
            .inflater
            .decompress(bytes, &mut self.room, FlushDecompress::None)
            .map_err(|_damaged| NotWhole::Deflate)?;
        if self.inflater.total_out() > MAX_INFLATED {
            return Err(NotWhole::TooLarge);
        }
        let count = |now: u64, before| usize::try_from(now - before).unwrap_or(usize::MAX);
        let read = count(self.inflater.total_in(), read);
        let made = count(self.inflater.total_out(), made);
        self.elements.push(&self.room[..made])?;
        self.has_ended = status == Status::StreamEnd;
        Ok((read, made))
    }

    pub(super) fn finish(&self) -> Result<Tail, NotWhole> {
        if !self.has_ended {
            return Err(NotWhole::DeflateCut);
        }
        let within = self.elements.finish()?;
        Ok(Tail {
            zeros: within.zeros + self.behind.zeros,
            foreign: within.foreign + self.behind.foreign,
        })
    }
}
