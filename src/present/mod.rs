//! Writes responses: a stream of instances becomes the bytes of a response. Pure.

pub mod adopted;
pub mod animation;
pub mod capabilities;
pub mod document;
pub mod forwarded;
mod instances;
pub mod metadata;
pub mod parts;
pub mod report;
pub mod viewers;
pub mod weasis;
mod xml;

pub use instances::{multipart, single};

use crate::body::Body;

/// The media type of a response and its bytes.
#[derive(Debug)]
pub struct Presented {
    /// `Content-Type`.
    pub content_type: String,
    /// The bytes.
    pub body: Body,
}
