//! The data set of an instance, without the values that are large.

use bytes::Bytes;
use dicom_core::{Tag, VR};

use super::inflate::inflated;
use super::reader::Reader;
use super::{Error, LEAST_KEPT, MOST_KEPT};
use crate::body::{self, Body};
use crate::budget::{self, Share};
use crate::dicom::dataset::{self, DataSet, Head};
use crate::dicom::json::{Linked, MOST_INLINE, implicit_vr, is_binary};
use crate::dicom::{Encoding, TransferSyntax, part10};

const PIXEL_DATA: Tag = Tag(0x7FE0, 0x0010);
const FLOAT_PIXEL_DATA: Tag = Tag(0x7FE0, 0x0008);
const DOUBLE_FLOAT_PIXEL_DATA: Tag = Tag(0x7FE0, 0x0009);

/// How far an instance is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Extent {
    /// To its pixel data.
    ToPixelData,
    /// To its end.
    Whole,
}

/// What an instance says, without its large values.
#[derive(Debug)]
pub struct Skimmed {
    /// Its transfer syntax.
    pub transfer_syntax: TransferSyntax,
    /// The data set, in the encoding of that, without what is in `large`.
    kept: Vec<u8>,
    /// Values that were passed over, in their order.
    pub large: Vec<Large>,
    /// SHA-256 of the Part 10 file, if it was worked out.
    pub sha256: Option<[u8; 32]>,
    /// The memory that it takes.
    share: Share,
}

/// A value that was passed over.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Large {
    /// Its tag.
    pub tag: Tag,
    /// Its value representation, where one is written.
    pub vr: Option<VR>,
    /// Where it begins, in bytes of the Part 10 file, or of what that inflates to.
    pub offset: u64,
    /// How long it is; `None` for encapsulated pixel data.
    pub length: Option<u64>,
}

impl Skimmed {
    /// The data set without its large values.
    #[must_use]
    pub fn data_set(&self) -> DataSet<'_> {
        DataSet::new(&self.kept, self.transfer_syntax.encoding())
    }

    /// Bytes of the data set that were kept.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.kept.len() as u64
    }

    /// Takes memory for so many bytes beside those that were kept.
    ///
    /// # Errors
    /// If there is none.
    pub async fn make_room(&mut self, more: u64) -> Result<(), budget::Error> {
        self.share.grow(self.bytes() + more).await
    }

    /// Its memory, for what has been made of it.
    #[must_use]
    pub fn into_share(self) -> Share {
        self.share
    }

    /// The elements that the data set lacks, as their metadata names them.
    #[must_use]
    pub fn linked(&self) -> Vec<Linked> {
        let large = self.large.iter();
        let linked = |large: &Large| Linked {
            tag: large.tag,
            vr: large.vr,
        };
        large.map(linked).collect()
    }

    /// The large value of this tag.
    #[must_use]
    pub fn large(&self, tag: Tag) -> Option<&Large> {
        self.large.iter().find(|large| large.tag == tag)
    }

    /// The pixel data, of whichever kind.
    #[must_use]
    pub fn pixel_data(&self) -> Option<&Large> {
        self.large.iter().find(|large| is_pixel_data(large.tag))
    }
}

/// Whether a tag is that of pixel data.
pub(super) fn is_pixel_data(tag: Tag) -> bool {
    matches!(tag, PIXEL_DATA | FLOAT_PIXEL_DATA | DOUBLE_FLOAT_PIXEL_DATA)
}

/// Whether a tag is that of a palette or an offset table.
fn is_table(Tag(group, element): Tag) -> bool {
    (group == 0x0028 && (0x1201..=0x1203).contains(&element))
        || (group == 0x7FE0 && (1..=2).contains(&element))
}

/// Reads an instance. `with_digest`: its SHA-256 is worked out, if it is read to its end. `share` grows with
/// what is kept; [`super::LEAST_KEPT`] is where it begins.
///
/// # Errors
/// Why it cannot be read.
pub async fn skim(
    body: Body,
    extent: Extent,
    with_digest: bool,
    share: Share,
) -> Result<Skimmed, Error> {
    let mut reader = if with_digest && extent == Extent::Whole {
        Reader::digesting(body)
    } else {
        Reader::new(body)
    };
    let (transfer_syntax, _meta) = start(&mut reader).await?;
    let encoding = transfer_syntax.encoding();
    let mut skim = Skim::new(encoding, share);
    let sha256 = if encoding == Encoding::Deflated {
        // What is inflated is not what was sent, so there is no digest of it.
        let offset = reader.position();
        let mut inflated = Reader::new(inflated(reader));
        skim.read(&mut inflated, extent, offset).await?;
        None
    } else {
        skim.read(&mut reader, extent, 0).await?;
        reader.finish().await?
    };
    let skimmed = Skimmed {
        transfer_syntax,
        kept: skim.kept,
        large: skim.large,
        sha256,
        share: skim.share,
    };
    skimmed.data_set().check()?;
    Ok(skimmed)
}

/// The body in which offsets of a [`Large`] count: the same, but for a deflated data set, which is
/// inflated.
///
/// # Errors
/// Why it cannot be read.
pub async fn plain(body: Body, transfer_syntax: &TransferSyntax) -> Result<Body, Error> {
    if transfer_syntax.encoding() != Encoding::Deflated {
        return Ok(body);
    }
    let mut reader = Reader::new(body);
    start(&mut reader).await?;
    let before = usize::try_from(reader.position()).unwrap_or(part10::MAX_HEAD);
    Ok(inflated(reader).after(Bytes::from(vec![0; before])))
}

/// Reads the file meta information: the transfer syntax, and all of it, from the preamble on.
pub(super) async fn start(reader: &mut Reader) -> Result<(TransferSyntax, Bytes), Error> {
    let mut wanted = 1024;
    loop {
        let is_more = reader.fill(wanted).await?;
        match part10::Meta::read(reader.here()) {
            Ok(meta) => {
                let bytes = Bytes::copy_from_slice(&reader.here()[..meta.end]);
                reader.skip(meta.end as u64).await?;
                return Ok((meta.transfer_syntax, bytes));
            }
            Err(part10::Error::DataSet(dataset::Error::Truncated))
                if is_more && wanted < part10::MAX_HEAD =>
            {
                wanted = reader.here().len() * 2;
            }
            Err(error) => return Err(error.into()),
        }
    }
}

/// Tells what is large from what is not.
pub(super) struct Skim {
    encoding: Encoding,
    kept: Vec<u8>,
    large: Vec<Large>,
    share: Share,
}

impl Skim {
    pub(super) fn new(encoding: Encoding, share: Share) -> Self {
        Self {
            encoding,
            kept: Vec::new(),
            large: Vec::new(),
            share,
        }
    }

    /// Forgets what was kept, and gives its memory back.
    pub(super) fn forget(&mut self) {
        self.kept = Vec::new();
        self.large.clear();
        self.share.shrink(LEAST_KEPT);
    }

    /// The memory of what is kept.
    pub(super) fn share(&mut self) -> &mut Share {
        &mut self.share
    }

    /// What was kept.
    pub(super) fn kept(&self) -> &[u8] {
        &self.kept
    }

    /// The large value that was met last.
    pub(super) fn last_large(&self) -> Option<Large> {
        self.large.last().copied()
    }

    async fn read(&mut self, reader: &mut Reader, extent: Extent, from: u64) -> Result<(), Error> {
        while let Some(head) = self.next(reader).await? {
            let Some(large) = self.large.last_mut().filter(|large| large.tag == head.tag) else {
                continue;
            };
            large.offset += from;
            if extent == Extent::ToPixelData && is_pixel_data(head.tag) {
                return Ok(());
            }
            match head.length {
                Some(length) => reader.skip(length.into()).await?,
                None => self.skip_fragments(reader).await?,
            }
        }
        Ok(())
    }

    /// Keeps the next element, or passes over the head of a large one; `None` at the end.
    pub(super) async fn next(&mut self, reader: &mut Reader) -> Result<Option<Head>, Error> {
        let Some(head) = self.head(reader, self.encoding).await? else {
            return Ok(None);
        };
        if head.is_item() {
            return Err(dataset::Error::Malformed("an item stands outside a sequence").into());
        }
        if self.is_large(&head) {
            self.large.push(Large {
                tag: head.tag,
                vr: head.vr,
                offset: reader.position() + head.size as u64,
                length: head.length.map(u64::from),
            });
            reader.skip(head.size as u64).await?;
        } else {
            self.keep(reader, head.size as u64).await?;
            match head.length {
                Some(length) => self.keep(reader, length.into()).await?,
                None => self.keep_items(reader, &head).await?,
            }
        }
        Ok(Some(head))
    }

    /// The head of what comes next; `None` at the end.
    async fn head(&self, reader: &mut Reader, encoding: Encoding) -> Result<Option<Head>, Error> {
        if !reader.fill(12).await? && reader.here().is_empty() {
            return Ok(None);
        }
        Ok(Some(Head::read(reader.here(), encoding)?))
    }

    fn is_large(&self, head: &Head) -> bool {
        let vr = head.vr.unwrap_or_else(|| implicit_vr(head.tag, false));
        match head.length {
            _ if is_pixel_data(head.tag) => true,
            // Tables are looked into when a picture is made.
            Some(length) if is_table(head.tag) => length as usize > 1 << 18,
            Some(length) => is_binary(vr) && length as usize > MOST_INLINE,
            // Encapsulated; what is UN is a sequence.
            None => is_binary(vr) && vr != VR::UN && head.vr.is_some(),
        }
    }

    async fn keep(&mut self, reader: &mut Reader, length: u64) -> Result<(), Error> {
        if self.kept.len() as u64 + length > MOST_KEPT as u64 {
            return Err(Error::TooLarge);
        }
        self.share.grow(self.kept.len() as u64 + length).await?;
        if length > 1 << 16 {
            // Doubling it would take more than there is a share for.
            self.kept
                .reserve_exact(usize::try_from(length).unwrap_or(0));
        }
        Ok(reader.take(length, &mut self.kept).await?)
    }

    /// Keeps a sequence of undefined length, delimiters included.
    async fn keep_items(&mut self, reader: &mut Reader, sequence: &Head) -> Result<(), Error> {
        let mut open = vec![self.inner(self.encoding, sequence)];
        while let Some(&encoding) = open.last() {
            let head = self.head(reader, encoding).await?;
            let head = head.ok_or(dataset::Error::Truncated)?;
            self.keep(reader, head.size as u64).await?;
            if head.is_delimiter() {
                open.pop();
                continue;
            }
            match head.length {
                Some(length) => self.keep(reader, length.into()).await?,
                None if open.len() > 2 * dataset::MAX_DEPTH => {
                    return Err(dataset::Error::TooDeep.into());
                }
                None => open.push(self.inner(encoding, &head)),
            }
        }
        Ok(())
    }

    /// How elements are written in what `head` opens (CP-246).
    fn inner(&self, around: Encoding, head: &Head) -> Encoding {
        match head.vr {
            Some(VR::UN) => Encoding::ImplicitLittle,
            Some(_) | None => around,
        }
    }

    pub(super) async fn skip_fragments(&self, reader: &mut Reader) -> Result<(), Error> {
        loop {
            let head = self.head(reader, self.encoding).await?;
            let head = head.ok_or(body::Error::Truncated)?;
            reader.skip(head.size as u64).await?;
            match head.length {
                _ if head.is_delimiter() => return Ok(()),
                Some(length) if head.is_item() => reader.skip(length.into()).await?,
                Some(_) | None => {
                    let what = "pixel data fragments hold something else than items";
                    return Err(dataset::Error::Malformed(what).into());
                }
            }
        }
    }
}
