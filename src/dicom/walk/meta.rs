//! The preamble and the file meta information (PS3.10 7.1).

use dicom_core::Tag;

use super::declared::ValueBuffer;
use super::head::{Head, PartialHead, SHORTEST};
use super::verdict::NotWhole;
use crate::dicom::dataset::Syntax;
use crate::dicom::transfer_syntax::{Encoding, TransferSyntax};

const PREAMBLE: usize = 128;
const MAGIC: &[u8; 4] = b"DICM";
/// The bytes of the group of the file meta information.
const GROUP: [u8; 2] = [2, 0];
const TRANSFER_SYNTAX_UID: Tag = Tag(0x0002, 0x0010);
const LONGEST_UID: usize = 64;

/// Walks over the preamble and the file meta information. As in [`crate::dicom::part10::Meta`], the
/// group length is ignored.
#[derive(Debug, Default)]
pub(super) struct FileMeta {
    /// The bytes of preamble and magic that have passed.
    passed: usize,
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
    pub(super) group: [u8; 2],
    pub(super) rest: &'b [u8],
}

impl FileMeta {
    /// Takes bytes, and returns the start of the data set once it is reached.
    pub(super) fn push<'b>(
        &mut self,
        mut bytes: &'b [u8],
    ) -> Result<Option<DataSetStart<'b>>, NotWhole> {
        bytes = self.pass_magic(bytes)?;
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
                    group: [a, b],
                    rest: bytes,
                }));
            }
            bytes = self.read_head(bytes)?;
        }
    }

    fn pass_magic<'b>(&mut self, bytes: &'b [u8]) -> Result<&'b [u8], NotWhole> {
        let passed = (PREAMBLE - self.passed.min(PREAMBLE)).min(bytes.len());
        let (_preamble, bytes) = bytes.split_at(passed);
        self.passed += passed;
        let magic = &MAGIC[self.passed.saturating_sub(PREAMBLE)..];
        let (found, rest) = bytes.split_at(magic.len().min(bytes.len()));
        if !magic.starts_with(found) {
            return Err(NotWhole::NotPart10);
        }
        self.passed += found.len();
        Ok(rest)
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
        let syntax = Syntax::ExplicitLittle;
        let mut rest = self.head.fill(bytes, SHORTEST);
        if self.head.len() < SHORTEST {
            return Ok(rest);
        }
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
