//! The preamble and the file meta information (PS3.10 7.1).

use dicom_core::Tag;

use super::declared::ValueBuffer;
use super::head::{Head, PartialHead, SHORTEST};
use super::verdict::NotWhole;
use crate::dicom::dataset::Syntax;
use crate::dicom::part10;
use crate::dicom::transfer_syntax::{Encoding, TransferSyntax};

/// The bytes of the group of the file meta information.
const GROUP: [u8; 2] = [2, 0];
const TRANSFER_SYNTAX_UID: Tag = Tag(0x0002, 0x0010);
const LONGEST_UID: usize = 64;

/// Walks over the preamble and the file meta information. As in [`crate::dicom::part10::Meta`], the
/// group length is ignored.
#[derive(Debug, Default)]
pub(super) struct FileMeta {
    /// The first bytes of the file: a preamble and `DICM`, unless they are missing.
    first: Vec<u8>,
    /// The encoding of its elements, once one has arrived.
    syntax: Option<Syntax>,
    head: PartialHead,
    /// The remaining bytes of the current value.
    skip: u64,
    uid: ValueBuffer<LONGEST_UID>,
    encoding: Option<Encoding>,
}

/// The start of the data set.
pub(super) struct DataSetStart<'b> {
    pub(super) encoding: Encoding,
    /// Its first bytes, which were read to detect it.
    pub(super) first: Vec<u8>,
    pub(super) rest: &'b [u8],
}

impl FileMeta {
    /// Takes bytes, and returns the start of the data set once it is reached.
    pub(super) fn push<'b>(
        &mut self,
        bytes: &'b [u8],
    ) -> Result<Option<DataSetStart<'b>>, NotWhole> {
        let missing = part10::START.saturating_sub(self.first.len());
        let (first, rest) = bytes.split_at(missing.min(bytes.len()));
        self.first.extend_from_slice(first);
        let Some(head) = self.first.first_chunk().filter(|_| missing > 0) else {
            return if missing > 0 {
                Ok(None)
            } else {
                self.elements(bytes)
            };
        };
        let start = part10::start_of_meta(head).ok_or(NotWhole::NotPart10)?;
        let early = self.first[start..].to_vec();
        let Some(found) = self.elements(&early)? else {
            return self.elements(rest);
        };
        // Without a preamble, the data set may begin in the first bytes.
        let first = [&found.first, found.rest].concat();
        Ok(Some(DataSetStart {
            encoding: found.encoding,
            first,
            rest,
        }))
    }

    fn elements<'b>(&mut self, mut bytes: &'b [u8]) -> Result<Option<DataSetStart<'b>>, NotWhole> {
        loop {
            bytes = self.pass_value(bytes);
            if bytes.is_empty() {
                return Ok(None);
            }
            if self.head.len() < GROUP.len() {
                bytes = self.head.fill(bytes, GROUP.len());
            }
            if let [a, b] = *self.head.bytes()
                && [a, b] != GROUP
            {
                return Ok(Some(DataSetStart {
                    encoding: self.encoding.ok_or(NotWhole::NoTransferSyntax)?,
                    first: vec![a, b],
                    rest: bytes,
                }));
            }
            bytes = self.read_head(bytes)?;
        }
    }

    fn pass_value<'b>(&mut self, bytes: &'b [u8]) -> &'b [u8] {
        let passed = usize::try_from(self.skip).unwrap_or(usize::MAX);
        let (passed, rest) = bytes.split_at(passed.min(bytes.len()));
        self.skip -= passed.len() as u64;
        if let Some(uid) = self.uid.take(passed) {
            let uid = std::str::from_utf8(uid).unwrap_or_default();
            let uid = uid.trim_matches(|c: char| c == '\0' || c.is_ascii_whitespace());
            let syntax = TransferSyntax::parse(uid).ok();
            self.encoding = syntax.map(|syntax| syntax.encoding());
        }
        rest
    }

    fn read_head<'b>(&mut self, bytes: &'b [u8]) -> Result<&'b [u8], NotWhole> {
        let mut rest = self.head.fill(bytes, SHORTEST);
        if self.head.len() < SHORTEST {
            return Ok(rest);
        }
        let encoding = part10::encoding_of_meta(self.head.padded());
        let encoding = encoding.unwrap_or(Encoding::ExplicitLittle);
        let syntax = *self.syntax.get_or_insert(Syntax::of(encoding));
        let size = Head::size(self.head.padded(), syntax);
        rest = self.head.fill(rest, size);
        if self.head.len() == size {
            let head = Head::read(self.head.padded(), syntax);
            self.head.clear();
            let length = head.length.ok_or(NotWhole::MetaMalformed)?;
            self.skip = length.into();
            if head.tag == TRANSFER_SYNTAX_UID {
                self.encoding = None;
                self.uid.expect(length);
            }
        }
        Ok(rest)
    }
}
