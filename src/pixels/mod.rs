//! Decodes compressed frames into samples and renders samples as pictures.
//!
//! Decoders do not run in the gateway's own process: they parse untrusted bytes, take time and
//! memory, and some are not safe Rust. They run in child processes ([`Pool`]) with limits on memory
//! and time, so a crash or a time-out costs one frame and not the gateway, and in a [`Sandbox`], so
//! that a process which a frame has taken over reaches nothing else.

mod codec;
mod lettering;
mod pool;
mod render;
mod sandbox;
mod window;
mod worker;

use bytes::Bytes;
use serde::{Deserialize, Serialize};

pub use codec::decodable;
pub use pool::{COMMAND, Pool, Settings};
pub use sandbox::Sandbox;
pub use worker::run;

/// The most pixels of a frame that is decoded.
pub const MOST_PIXELS: u64 = 64 << 20;
/// The most bytes of a frame, compressed or not.
pub const MOST_BYTES: u64 = 256 << 20;

/// The attributes of the Image Pixel module (PS3.3 C.7.6.3).
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Geometry {
    /// Rows (0028,0010).
    pub rows: u32,
    /// Columns (0028,0011).
    pub columns: u32,
    /// Samples per Pixel (0028,0002).
    pub samples: u32,
    /// Bits Allocated (0028,0100).
    pub bits_allocated: u32,
    /// Bits Stored (0028,0101).
    pub bits_stored: u32,
    /// High Bit (0028,0102): the place of the highest stored bit.
    pub high_bit: u32,
    /// Whether samples have a sign (0028,0103).
    pub is_signed: bool,
    /// Whether each sample has a plane of its own (0028,0006).
    pub is_planar: bool,
    /// Photometric Interpretation (0028,0004).
    pub photometric: String,
    /// Number of Frames (0028,0008), if it is a number.
    pub frames: Option<u32>,
    /// Whether samples are floating-point numbers (7FE0,0008 and 7FE0,0009).
    pub is_float: bool,
}

/// One frame and the output that its decoder makes of it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Task {
    /// The transfer syntax of a compressed frame.
    pub compressed: Option<String>,
    /// The attributes of the frame.
    pub geometry: Geometry,
    /// Samples or a picture.
    pub output: Output,
}

impl Task {
    /// An upper bound on the bytes of the output. A picture may exceed it if its encoding is larger
    /// than its pixels.
    #[must_use]
    pub fn most_bytes(&self) -> u64 {
        /// The headers of a picture.
        const HEAD: u64 = 64 << 10;
        let geometry = &self.geometry;
        let pixels = u64::from(geometry.rows) * u64::from(geometry.columns);
        let samples = u64::from(geometry.samples);
        match &self.output {
            Output::Samples => {
                let bits = u64::from(geometry.bits_allocated.max(8));
                (pixels * samples * bits).div_ceil(8)
            }
            Output::Picture(rendering) => {
                let pixels = match rendering.viewport.size {
                    Some((width, height)) if rendering.viewport.never_larger => {
                        pixels.min(u64::from(width) * u64::from(height))
                    }
                    Some((width, height)) => u64::from(width) * u64::from(height),
                    None => pixels,
                };
                let is_colour = samples > 1 || rendering.palette.is_some();
                pixels * if is_colour { 3 } else { 1 } + HEAD
            }
        }
    }
}

/// The output of a task.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub enum Output {
    /// Its samples in little endian, pixel by pixel.
    Samples,
    /// An encoded picture.
    Picture(Box<Rendering>),
}

/// The result of a task.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Product {
    /// The samples, or the picture.
    pub bytes: Bytes,
    /// Whether the decoder converted the samples to red, green and blue.
    pub is_rgb: bool,
}

/// How a frame becomes a picture (PS3.3 C.7.6.3.1.2, C.11.1, C.11.2; PS3.18 8.3.5).
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Rendering {
    /// The format of the picture.
    pub format: Format,
    /// From 1 to 100.
    pub quality: u8,
    /// Modality transformation.
    pub rescale: Option<(f64, f64)>,
    /// Modality LUT, instead of `rescale`.
    pub modality_lut: Option<Lut>,
    /// Window; without one and without a VOI LUT, the range of the frame.
    pub window: Option<Window>,
    /// VOI LUT, unless there is a window.
    pub voi_lut: Option<Lut>,
    /// The lookup tables of a palette: red, green and blue.
    pub palette: Option<[Lut; 3]>,
    /// The range of padding values, inclusive.
    pub padding: Option<(i32, i32)>,
    /// Whether the presentation is inverse (2050,0020).
    pub is_inverse: bool,
    /// The region of the frame, and its size in the picture.
    pub viewport: Viewport,
    /// The delay of the frame in an animation, in hundredths of a second.
    pub delay: u16,
    /// The text in the picture.
    pub lettering: Lettering,
}

/// Lines of text in a picture.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Lettering {
    /// Lines at the upper edge, downwards.
    pub top: Vec<String>,
    /// Lines at the lower edge, downwards.
    pub bottom: Vec<String>,
}

/// The format of a picture.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Format {
    /// `image/jpeg`.
    Jpeg,
    /// `image/png`.
    Png,
    /// `image/gif`.
    Gif,
}

/// A window (PS3.3 C.11.2.1.2).
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Window {
    /// Window Center.
    pub center: f64,
    /// Window Width.
    pub width: f64,
    /// VOI LUT Function.
    pub function: Function,
}

/// VOI LUT Function (0028,1056).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Function {
    /// C.11.2.1.2.1.
    Linear,
    /// C.11.2.1.3.2.
    LinearExact,
    /// C.11.2.1.3.1.
    Sigmoid,
}

/// A lookup table (PS3.3 C.11.1.1).
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Lut {
    /// The first value that is mapped.
    pub first: i32,
    /// Bits of an entry.
    pub bits: u32,
    /// The entries.
    pub entries: Vec<u16>,
}

/// `viewport` (PS3.18 8.3.5.1.3).
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
pub struct Viewport {
    /// The box that the picture is scaled to fit into.
    pub size: Option<(u32, u32)>,
    /// The region of the frame: left, top, width, height.
    pub source: Option<(f64, f64, f64, f64)>,
    /// Mirrored horizontally, vertically.
    pub flips: (bool, bool),
    /// Whether a picture that is smaller than the box keeps its size.
    pub never_larger: bool,
}

/// Why a frame was not decoded or rendered.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error, Serialize, Deserialize)]
pub enum Error {
    /// The compressed frame is damaged, or contradicts the attributes.
    #[error("the frame cannot be decoded: {0}")]
    Damaged(String),
    /// No decoder supports the transfer syntax.
    #[error("no decoder supports the transfer syntax of the frame")]
    NoDecoder,
    /// The attributes have values that the renderer does not support.
    #[error("the frame cannot be rendered: {0}")]
    Unsupported(String),
    /// The frame exceeds [`MOST_PIXELS`] or [`MOST_BYTES`].
    #[error("the frame is too large to be decoded")]
    TooLarge,
    /// The decoder exceeded its limit of time or memory.
    #[error("the decoder exceeded its limit of time or memory")]
    Exhausted,
    /// The kernel has killed the decoder for a system call that decoders do not make.
    #[error("the decoder was stopped: it tried to leave its sandbox")]
    Forbidden,
    /// The queue for decoders is full.
    #[error("the queue for decoders is full")]
    Busy,
}

impl Geometry {
    /// The geometry of one grey frame, for tests of decoders.
    #[cfg(test)]
    fn grey(rows: u32, columns: u32, bits_allocated: u32, bits_stored: u32) -> Self {
        Self {
            rows,
            columns,
            samples: 1,
            bits_allocated,
            bits_stored,
            high_bit: bits_stored - 1,
            is_signed: false,
            is_planar: false,
            photometric: "MONOCHROME2".to_owned(),
            frames: Some(1),
            is_float: false,
        }
    }

    /// The place of the lowest stored bit (PS3.5 8.1.1). A High Bit that leaves no room for the
    /// stored bits, or lies beyond those allocated, is none.
    #[must_use]
    pub fn lowest_bit(&self) -> u32 {
        let is_possible = self.high_bit < self.bits_allocated;
        let lowest = (self.high_bit + 1).checked_sub(self.bits_stored);
        lowest.filter(|_| is_possible).unwrap_or(0)
    }

    /// Whether two pixels share their colour samples (PS3.3 C.7.6.3.1.2).
    #[must_use]
    pub fn is_subsampled(&self) -> bool {
        let photometric = self.photometric.as_str();
        self.samples == 3 && matches!(photometric, "YBR_FULL_422" | "YBR_PARTIAL_422")
    }

    /// The bits of one uncompressed frame.
    #[must_use]
    pub fn frame_bits(&self) -> u64 {
        // 4:2:2 has two samples for each pixel.
        let samples = if self.is_subsampled() {
            2
        } else {
            self.samples
        };
        self.bits_of(samples)
    }

    /// The bits of one uncompressed frame with all samples of each pixel.
    #[must_use]
    pub fn full_frame_bits(&self) -> u64 {
        self.bits_of(self.samples)
    }

    fn bits_of(&self, samples: u32) -> u64 {
        let pixels = u64::from(self.rows) * u64::from(self.columns);
        pixels * u64::from(samples) * u64::from(self.bits_allocated)
    }

    /// Whether a frame is small enough to be decoded.
    ///
    /// # Errors
    /// [`Error::TooLarge`].
    pub fn check(&self) -> Result<(), Error> {
        let pixels = u64::from(self.rows) * u64::from(self.columns);
        let bytes = pixels
            .saturating_mul(u64::from(self.samples))
            .saturating_mul(u64::from(self.bits_allocated.div_ceil(8)));
        if pixels == 0 {
            return Err(Error::Unsupported("it has no pixels".to_owned()));
        }
        if pixels > MOST_PIXELS || bytes > MOST_BYTES || self.samples > 4 {
            return Err(Error::TooLarge);
        }
        Ok(())
    }
}

/// Whether a decoder supports the transfer syntax.
#[must_use]
pub fn is_decodable(transfer_syntax: &str) -> bool {
    codec::codec(transfer_syntax).is_some()
}
