//! Why a multipart message cannot be split.

/// Why a message cannot be split any further.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// The message has no boundary within [`Limits::preamble`](super::Limits::preamble).
    #[error("no boundary in the first {limit} bytes of the multipart message")]
    PreambleTooLarge {
        /// Bytes.
        limit: usize,
    },
    /// A part's head has no end within [`Limits::part_head`](super::Limits::part_head).
    #[error("the head of a part is longer than {limit} bytes")]
    PartHeadTooLarge {
        /// Bytes.
        limit: usize,
    },
    /// A part's head has a line that is not a header field.
    #[error("the head of a part has a line that is not a header field")]
    MalformedPartHead,
    /// The input ended before the closing boundary.
    #[error("the multipart message ended before its closing boundary")]
    Truncated,
}
