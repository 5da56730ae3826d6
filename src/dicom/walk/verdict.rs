//! The result of a walk.

/// Why an instance is incomplete.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum NotWhole {
    /// The preamble is not followed by `DICM`.
    #[error("it is not a DICOM Part 10 file")]
    NotPart10,
    /// The file meta information names no transfer syntax.
    #[error("its file meta information names no transfer syntax")]
    NoTransferSyntax,
    /// It ends in its file meta information.
    #[error("it ends in its file meta information")]
    MetaCut,
    /// An element of the file meta information has no length.
    #[error("its file meta information is malformed")]
    MetaMalformed,
    /// It ends in the head of an element.
    #[error("it ends in the head of an element")]
    HeadCut,
    /// It ends in a value.
    #[error("it ends in a value")]
    ValueCut,
    /// It ends in a sequence, or in pixel data before their last fragment.
    #[error("it ends in a sequence or in encapsulated pixel data")]
    SequenceCut,
    /// A sequence, or encapsulated pixel data, holds something other than items.
    #[error("a sequence in it holds something other than items")]
    NoItem,
    /// An item stands outside a sequence.
    #[error("an item in it stands outside a sequence")]
    StrayItem,
    /// Sequences nest deeper than [`MAX_DEPTH`](crate::dicom::dataset::MAX_DEPTH).
    #[error("its sequences nest too deeply")]
    TooDeep,
    /// Its deflated data set cannot be inflated.
    #[error("its deflated data set is damaged")]
    Deflate,
    /// Its deflated data set has no end.
    #[error("it ends in its deflated data set")]
    DeflateCut,
    /// Its data set inflates to more than 4 GiB.
    #[error("its deflated data set inflates to more than 4 GiB")]
    TooLarge,
    /// More or fewer bytes came than its source declares.
    #[error("its length differs from the length that its source declares")]
    Length,
    /// It describes pixels and has no pixel data.
    #[error("it describes pixels and ends before them")]
    NoPixelData,
}

/// The bytes behind a complete data set.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Tail {
    /// Zero bytes right behind it.
    pub zeros: u64,
    /// Bytes from the first nonzero byte on.
    pub foreign: u64,
}

impl Tail {
    /// Adds bytes to it.
    pub(super) fn add(&mut self, bytes: &[u8]) {
        let is_padding = self.foreign == 0;
        let zeros = match bytes.iter().position(|byte| *byte != 0) {
            _ if !is_padding => 0,
            Some(first) => first,
            None => bytes.len(),
        };
        self.zeros += zeros as u64;
        self.foreign += (bytes.len() - zeros) as u64;
    }
}
