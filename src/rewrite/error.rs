//! Why a document cannot be rewritten.

/// The most arrays and objects that may be open at once.
pub(super) const DEEPEST: usize = 64;

/// Why bytes are not a JSON document.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum NotJson {
    /// They violate the grammar of RFC 8259.
    #[error("malformed JSON")]
    Malformed,
    /// Arrays and objects nest more than 64 levels deep.
    #[error("JSON is nested more than {DEEPEST} levels deep")]
    TooDeep,
    /// They end before the document.
    #[error("JSON ends too early")]
    Truncated,
}
