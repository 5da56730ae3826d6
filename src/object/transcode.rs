//! An instance that is not compressed, in Explicit VR Little Endian, while it arrives.
//!
//! PS3.18 8.7.3.3: Implicit VR Little Endian and Explicit VR Big Endian never leave an origin server.

use bytes::Bytes;
use dicom_core::{Tag, VR};

use super::Error;
use super::inflate::inflated;
use super::layout::swapped_bytes;
use super::reader::Reader;
use super::skim::{Skim, is_pixel_data, start};
use crate::body::{self, Body, Emitter};
use crate::dicom::dataset::DataSet;
use crate::dicom::json::{implicit_vr, width};
use crate::dicom::{Encoding, TransferSyntax, explicit};

const BITS_ALLOCATED: Tag = Tag(0x0028, 0x0100);
/// So much is gathered before it is given on.
const CHUNK: usize = 64 << 10;

/// Whether an instance can be made Explicit VR Little Endian without a decoder.
#[must_use]
pub fn is_rewritable(transfer_syntax: &TransferSyntax) -> bool {
    matches!(
        transfer_syntax.encoding(),
        Encoding::ImplicitLittle | Encoding::ExplicitBig | Encoding::Deflated
    )
}

/// The same instance in Explicit VR Little Endian. Nothing of it is held but what is small.
#[must_use]
pub fn explicit_little(body: Body) -> Body {
    Body::generate(None, |out| async move { Ok(rewrite(body, &out).await?) })
}

async fn rewrite(body: Body, out: &Emitter) -> Result<(), Error> {
    let mut reader = Reader::new(body);
    let (transfer_syntax, meta) = start(&mut reader).await?;
    out.emit(explicit::file_meta(&meta)?.into()).await?;
    let encoding = transfer_syntax.encoding();
    let mut reader = match encoding {
        Encoding::Deflated => Reader::new(inflated(reader)),
        Encoding::ImplicitLittle | Encoding::ExplicitLittle | Encoding::ExplicitBig => reader,
    };
    let mut rewriter = Rewriter {
        encoding,
        is_signed: false,
        bits_allocated: 0,
        ready: Vec::new(),
    };
    loop {
        let mut skim = Skim::new(encoding);
        let Some(head) = skim.next(&mut reader).await? else {
            break;
        };
        match skim.last_large() {
            None => rewriter.small(&skim)?,
            Some(large) => {
                let Some(length) = large.length else {
                    return Err(Error::Pixels(
                        "they are encapsulated in a syntax that has no such",
                    ));
                };
                let vr = head
                    .vr
                    .unwrap_or_else(|| implicit_vr(head.tag, rewriter.is_signed));
                let width = rewriter.width(&head.tag, vr, &large);
                let declared = u32::try_from(length).unwrap_or(u32::MAX);
                explicit::head(head.tag, vr, declared, &mut rewriter.ready);
                out.emit(std::mem::take(&mut rewriter.ready).into()).await?;
                pass(&mut reader, length, width, out).await?;
            }
        }
        if rewriter.ready.len() >= CHUNK {
            out.emit(std::mem::take(&mut rewriter.ready).into()).await?;
        }
    }
    if !rewriter.ready.is_empty() {
        out.emit(rewriter.ready.into()).await?;
    }
    Ok(())
}

struct Rewriter {
    encoding: Encoding,
    is_signed: bool,
    bits_allocated: u32,
    ready: Vec<u8>,
}

impl Rewriter {
    fn small(&mut self, skim: &Skim) -> Result<(), Error> {
        let set = DataSet::new(skim.kept(), self.encoding);
        set.check()?;
        if let Some(bits) = super::layout::u16_of(&set, BITS_ALLOCATED) {
            self.bits_allocated = u32::from(bits);
        }
        Ok(explicit::write(&set, &mut self.is_signed, &mut self.ready)?)
    }

    /// How many bytes of a large value change places.
    fn width(&self, tag: &Tag, vr: VR, large: &super::Large) -> usize {
        match self.encoding {
            Encoding::ExplicitBig if is_pixel_data(*tag) => {
                swapped_bytes(large, self.bits_allocated)
            }
            Encoding::ExplicitBig => width(vr),
            Encoding::ImplicitLittle | Encoding::ExplicitLittle | Encoding::Deflated => 1,
        }
    }
}

/// Gives on so many bytes, turned round where they have to be.
async fn pass(reader: &mut Reader, length: u64, width: usize, out: &Emitter) -> Result<(), Error> {
    let mut left = length;
    let mut rest = Vec::new();
    while left > 0 {
        let bytes = reader.next(left).await?.ok_or(body::Error::Truncated)?;
        left -= bytes.len() as u64;
        if width <= 1 {
            out.emit(bytes).await?;
            continue;
        }
        rest.extend_from_slice(&bytes);
        let tail = rest.split_off(rest.len() / width * width);
        let mut whole = std::mem::replace(&mut rest, tail);
        whole.chunks_exact_mut(width).for_each(<[u8]>::reverse);
        if !whole.is_empty() {
            out.emit(whole.into()).await?;
        }
    }
    if !rest.is_empty() {
        out.emit(Bytes::from(rest)).await?;
    }
    Ok(())
}
