//! Reads the data set of an instance without its large values.

use bytes::Bytes;
use dicom_core::{Tag, VR};

use super::inflate::inflated;
use super::reader::Reader;
use super::{Error, LEAST_KEPT, MOST_KEPT};
use crate::body::{self, Body};
use crate::budget::{self, Share};
use crate::dicom::dataset::{self, DataSet, Head, Order, encoding_of_item};
use crate::dicom::json::{Linked, MOST_INLINE, implicit_vr, is_binary};
use crate::dicom::{Encoding, TransferSyntax, part10};

const PIXEL_DATA: Tag = Tag(0x7FE0, 0x0010);
const FLOAT_PIXEL_DATA: Tag = Tag(0x7FE0, 0x0008);
const DOUBLE_FLOAT_PIXEL_DATA: Tag = Tag(0x7FE0, 0x0009);

/// The part of an instance that is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Extent {
    /// To its pixel data.
    ToPixelData,
    /// To its end.
    Whole,
}

/// The data set of an instance without its large values.
#[derive(Debug)]
pub struct Skimmed {
    /// Its transfer syntax.
    pub transfer_syntax: TransferSyntax,
    /// The data set in the encoding of the transfer syntax, without the values in `large`.
    kept: Vec<u8>,
    /// The skipped values, in order.
    pub large: Vec<Large>,
    /// BLAKE3 of the Part 10 file, if it was computed.
    pub blake3: Option<[u8; 32]>,
    /// The memory of the data set.
    share: Share,
}

/// A value that is skipped.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Large {
    /// Its tag.
    pub tag: Tag,
    /// Its value representation, unless it is implicit.
    pub vr: Option<VR>,
    /// Its offset in bytes of the Part 10 file, or of the inflated file.
    pub offset: u64,
    /// Its length; `None` for encapsulated pixel data.
    pub length: Option<u64>,
}

impl Skimmed {
    /// The data set without its large values.
    #[must_use]
    pub fn data_set(&self) -> DataSet<'_> {
        DataSet::new(&self.kept, self.transfer_syntax.encoding())
    }

    /// The size of the data set without its large values.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.kept.len() as u64
    }

    /// Reserves memory for so many bytes beside the data set.
    ///
    /// # Errors
    /// If the budget has none.
    pub async fn make_room(&mut self, more: u64) -> Result<(), budget::Error> {
        self.share.grow(self.bytes() + more).await
    }

    /// Its memory, for an output that replaces it.
    #[must_use]
    pub fn into_share(self) -> Share {
        self.share
    }

    /// The skipped elements, which metadata link to.
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

    /// The pixel data: integer, float or double float.
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
    (group == 0x0028 && matches!(element, 0x1201..=0x1203 | 0x1221..=0x1223))
        || (group == 0x7FE0 && (1..=2).contains(&element))
}

/// Reads an instance, and computes its BLAKE3 if `with_digest` is set and it is read to its end.
/// `share` starts at [`super::LEAST_KEPT`] and grows with the data set.
///
/// # Errors
/// Why the instance was not read.
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
    let (meta, _bytes) = start(&mut reader).await?;
    let transfer_syntax = meta.transfer_syntax;
    let encoding = transfer_syntax.encoding();
    let mut skim = Skim::new(encoding, share);
    let blake3 = if encoding == Encoding::Deflated {
        // The digest would cover the inflated bytes, not those of the file.
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
        blake3,
        share: skim.share,
    };
    skimmed.data_set().check()?;
    Ok(skimmed)
}

/// The body that the offset of a [`Large`] refers to: the inflated file if the data set is
/// deflated, else `body` itself.
///
/// # Errors
/// Why the instance was not read.
pub async fn plain(body: Body, transfer_syntax: &TransferSyntax) -> Result<Body, Error> {
    if transfer_syntax.encoding() != Encoding::Deflated {
        return Ok(body);
    }
    let mut reader = Reader::new(body);
    start(&mut reader).await?;
    let before = usize::try_from(reader.position()).unwrap_or(part10::MAX_HEAD);
    Ok(inflated(reader).after(Bytes::from(vec![0; before])))
}

/// Reads the file meta information, and all bytes of the file up to its end.
pub(super) async fn start(reader: &mut Reader) -> Result<(part10::Meta, Bytes), Error> {
    let mut wanted = 1024;
    loop {
        let is_more = reader.fill(wanted).await?;
        match part10::Meta::read(reader.here()) {
            Ok(meta) => {
                let bytes = Bytes::copy_from_slice(&reader.here()[..meta.end]);
                reader.skip(meta.end as u64).await?;
                return Ok((meta, bytes));
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

/// Separates large values from the rest of a data set.
pub(super) struct Skim {
    encoding: Encoding,
    order: Order,
    kept: Vec<u8>,
    large: Vec<Large>,
    share: Share,
}

/// A sequence or an item of undefined length.
#[derive(Clone, Copy)]
struct Open {
    is_item: bool,
    encoding: Encoding,
}

impl Skim {
    pub(super) fn new(encoding: Encoding, share: Share) -> Self {
        Self {
            encoding,
            order: Order::new(encoding),
            kept: Vec::new(),
            large: Vec::new(),
            share,
        }
    }

    /// Drops the kept elements and releases their memory.
    pub(super) fn forget(&mut self) {
        self.kept = Vec::new();
        self.large.clear();
        self.share.shrink(LEAST_KEPT);
    }

    /// The memory of the kept elements.
    pub(super) fn share(&mut self) -> &mut Share {
        &mut self.share
    }

    /// The kept elements.
    pub(super) fn kept(&self) -> &[u8] {
        &self.kept
    }

    /// The last large value.
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

    /// Keeps the next element, or skips the head of a large one; `None` at the end of the data set.
    pub(super) async fn next(&mut self, reader: &mut Reader) -> Result<Option<Head>, Error> {
        let mut head = self.head_at_top(reader).await?;
        // Some writers put a delimiter behind a sequence that has a length.
        while let Some(delimiter) = head.filter(Head::is_delimiter) {
            reader.skip(delimiter.size as u64).await?;
            head = self.head_at_top(reader).await?;
        }
        let Some(head) = head else {
            return Ok(None);
        };
        if head.is_item() {
            return Err(dataset::Error::Malformed("an item stands outside a sequence").into());
        }
        self.order.pass(head.tag);
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

    /// The next head at the top level; `None` at the end of the data set, whatever follows it.
    async fn head_at_top(&self, reader: &mut Reader) -> Result<Option<Head>, Error> {
        let is_more = reader.fill(12).await?;
        match Head::read(reader.here(), self.encoding) {
            Ok(head) if !head.is_item() && self.order.is_foreign(head.tag, head.vr) => Ok(None),
            Ok(head) => Ok(Some(head)),
            Err(_short) if !is_more && self.order.ends_before(reader.here()) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    /// The next head; `None` at the end.
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
            // Rendering reads tables.
            Some(length) if is_table(head.tag) => length as usize > 1 << 18,
            Some(length) => is_binary(vr) && length as usize > MOST_INLINE,
            // Encapsulated; UN of undefined length is a sequence (CP-246).
            None => is_binary(vr) && vr != VR::UN && head.vr.is_some(),
        }
    }

    async fn keep(&mut self, reader: &mut Reader, length: u64) -> Result<(), Error> {
        if self.kept.len() as u64 + length > MOST_KEPT as u64 {
            return Err(Error::TooLarge);
        }
        self.share.grow(self.kept.len() as u64 + length).await?;
        if length > 1 << 16 {
            // Doubling the capacity would exceed the share.
            self.kept
                .reserve_exact(usize::try_from(length).unwrap_or(0));
        }
        Ok(reader.take(length, &mut self.kept).await?)
    }

    /// Keeps a sequence of undefined length, delimiters included.
    async fn keep_items(&mut self, reader: &mut Reader, sequence: &Head) -> Result<(), Error> {
        let mut open = vec![self.opened(reader, self.encoding, sequence).await?];
        while let Some(&Open { is_item, encoding }) = open.last() {
            let head = self.head(reader, encoding).await?;
            let head = head.ok_or(dataset::Error::Truncated)?;
            self.keep(reader, head.size as u64).await?;
            // The delimiter of an item may be missing.
            if is_item && (head.begins_item() || head.ends_sequence()) {
                open.pop();
            }
            let ends_nothing = !is_item && head.is_delimiter() && !head.ends_sequence();
            match head.length {
                _ if ends_nothing => {}
                _ if head.is_delimiter() => drop(open.pop()),
                Some(length) => self.keep(reader, length.into()).await?,
                None if open.len() > 2 * dataset::MAX_DEPTH => {
                    return Err(dataset::Error::TooDeep.into());
                }
                None => open.push(self.opened(reader, encoding, &head).await?),
            }
        }
        Ok(())
    }

    /// The sequence or item of `head`, whose content is next.
    async fn opened(
        &self,
        reader: &mut Reader,
        around: Encoding,
        head: &Head,
    ) -> Result<Open, Error> {
        let is_item = head.begins_item();
        let encoding = match head.vr {
            _ if is_item => {
                reader.fill(8).await?;
                encoding_of_item(reader.here(), around)
            }
            // CP-246.
            Some(VR::UN) => Encoding::ImplicitLittle,
            Some(_) | None => around,
        };
        Ok(Open { is_item, encoding })
    }

    pub(super) async fn skip_fragments(&self, reader: &mut Reader) -> Result<(), Error> {
        while let Some(length) = fragment(reader).await? {
            reader.skip(length.into()).await?;
        }
        Ok(())
    }
}

/// The length of the next fragment, whose head is skipped; `None` at their end. Whoever gave the
/// instance has checked that it is whole, so their delimiter may be missing there.
pub(super) async fn fragment(reader: &mut Reader) -> Result<Option<u32>, Error> {
    let not_an_item = Error::Pixels("fragments hold something other than items");
    if !reader.fill(8).await? {
        let is_end = reader.here().iter().all(|byte| *byte == 0);
        return if is_end {
            Ok(None)
        } else {
            Err(body::Error::Truncated.into())
        };
    }
    // Heads of items are little endian.
    let head = Head::read(reader.here(), Encoding::ExplicitLittle)?;
    if head.tag.group() == 0 {
        return Ok(None);
    }
    if !head.is_item() {
        return Err(not_an_item);
    }
    reader.skip(head.size as u64).await?;
    match head.length {
        _ if head.is_delimiter() => Ok(None),
        Some(length) => Ok(Some(length)),
        None => Err(not_an_item),
    }
}
