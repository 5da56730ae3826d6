//! Single values of an instance (PS3.18 10.4.1.1.5): found by the path that metadata give them, and
//! opened.

use bytes::Bytes;
use dicom_core::Tag;

use super::frames::skimmed;
use super::{Error, InstanceFrames, SelectedInstance};
use crate::body::Body;
use crate::dicom::json::{little_endian, width};
use crate::dicom::{Encoding, TransferSyntax, digits, tag};
use crate::instance::Instance;
use crate::object::{self, Extent, Skimmed, layout, plain};
use crate::request::accept_bulk::OCTET_STREAM;

/// The path of pixel data.
pub const PIXEL_DATA: &str = "7FE00010";
const ENCAPSULATED_DOCUMENT: Tag = Tag(0x0042, 0x0011);

/// Where a value is.
#[derive(Debug)]
pub(super) enum Value {
    /// A large value: it stays in the instance.
    Range(ByteRange),
    /// A small value.
    Bytes(Bytes),
    /// Encapsulated pixel data.
    Frames,
}

/// Bytes of an instance, and how many of them change places to become little endian.
#[derive(Debug, Clone, Copy)]
pub(super) struct ByteRange {
    offset: u64,
    length: u64,
    width: usize,
}

/// A value of an instance, opened.
#[derive(Debug)]
pub enum OpenedValue {
    /// Bytes, and the media type that the instance declares for them.
    Bytes {
        /// The bytes in little endian.
        body: Body,
        /// Their media type.
        media_type: &'static str,
        /// Of the instance.
        digest: Option<[u8; 32]>,
    },
    /// Encapsulated pixel data: each frame is a part (PS3.18 10.4.1.1.6). The instance is still
    /// open.
    Frames(Box<Instance>, InstanceFrames),
}

/// Opens the value at a path of the metadata.
///
/// # Errors
/// [`object::Error::NoValue`], or why the instance cannot be read.
pub async fn open_value(instance: &SelectedInstance, path: &str) -> Result<OpenedValue, Error> {
    let opened = instance.open().await?;
    let stored = opened.identity.transfer_syntax.clone();
    let digest = opened.digest();
    let mut skimmed = skimmed(instance, opened.body, extent_for(path)).await?;
    // A value inside a sequence is copied out of it.
    skimmed.make_room(skimmed.bytes()).await?;
    let (body, media_type) = match find(&skimmed, path)? {
        Value::Frames => {
            drop(skimmed);
            let (opened, frames) = InstanceFrames::open(instance).await?;
            return Ok(OpenedValue::Frames(Box::new(opened), frames));
        }
        Value::Bytes(bytes) => {
            let bytes = skimmed.into_share().hold(bytes);
            (Body::full(bytes), OCTET_STREAM)
        }
        Value::Range(range) => {
            let media_type = media_type_at(&skimmed, path);
            (open_range(instance, &stored, range).await?, media_type)
        }
    };
    Ok(OpenedValue::Bytes {
        body,
        media_type,
        digest,
    })
}

/// Bytes of an instance, in little endian.
pub(super) async fn open_range(
    instance: &SelectedInstance,
    stored: &TransferSyntax,
    range: ByteRange,
) -> Result<Body, Error> {
    let body = plain(instance.open().await?.body, stored).await?;
    let slice = body.slice(range.offset, range.length);
    Ok(layout::swapped(slice, range.width))
}

/// Finds a value by its path in the metadata.
pub(super) fn find(skimmed: &Skimmed, path: &str) -> Result<Value, object::Error> {
    let mut pieces = path.split('/');
    let first = pieces.next().and_then(tag).ok_or(object::Error::NoValue)?;
    let rest: Vec<&str> = pieces.collect();
    if let Some(large) = skimmed.large(first).filter(|_| rest.is_empty()) {
        return Ok(match large.length {
            Some(length) => Value::Range(ByteRange {
                offset: large.offset,
                length,
                width: width_at(skimmed, path),
            }),
            None => Value::Frames,
        });
    }
    find_kept(skimmed, first, &rest).map(Value::Bytes)
}

/// A value that was read together with the data set; `rest` leads through sequences.
fn find_kept(skimmed: &Skimmed, first: Tag, rest: &[&str]) -> Result<Bytes, object::Error> {
    let mut set = skimmed.data_set();
    let mut tag_now = first;
    let mut rest = rest;
    while let [number, next, deeper @ ..] = rest {
        let number: usize = number
            .parse()
            .map_err(|_not_a_number| object::Error::NoValue)?;
        let index = number.checked_sub(1).ok_or(object::Error::NoValue)?;
        let item = set.items(tag_now).nth(index);
        set = item.ok_or(object::Error::NoValue)??;
        tag_now = tag(next).ok_or(object::Error::NoValue)?;
        rest = deeper;
    }
    if !rest.is_empty() {
        return Err(object::Error::NoValue);
    }
    let element = set.element(tag_now).ok_or(object::Error::NoValue)?;
    if element.is_sequence() || element.is_encapsulated() {
        return Err(object::Error::NoValue);
    }
    Ok(little_endian(&element).into())
}

/// The path of the pixel data of an instance that has any.
pub(super) fn pixel_path(skimmed: &Skimmed) -> Option<String> {
    Some(digits(skimmed.pixel_data()?.tag))
}

fn extent_for(path: &str) -> Extent {
    // Hardly any instance has elements behind its pixel data.
    if path == PIXEL_DATA {
        Extent::ToPixelData
    } else {
        Extent::Whole
    }
}

/// The number of bytes of each number in a value of the top level, if they have to change places.
fn width_at(skimmed: &Skimmed, path: &str) -> usize {
    let large = tag(path).and_then(|tag| skimmed.large(tag));
    let Some(large) = large.filter(|_| skimmed.transfer_syntax.encoding() == Encoding::ExplicitBig)
    else {
        return 1;
    };
    if large.tag == layout::PIXEL_DATA {
        let geometry = object::geometry(skimmed);
        let bits = geometry.map_or(0, |geometry| geometry.bits_allocated);
        return layout::swapped_bytes(large, bits);
    }
    large.vr.map_or(1, width)
}

/// An encapsulated document, opened.
#[derive(Debug)]
pub struct EncapsulatedDocument {
    /// Its media type (PS3.3 C.24.2).
    pub media_type: &'static str,
    range: ByteRange,
}

impl EncapsulatedDocument {
    /// Finds the document of an opened instance; `None` if it holds none.
    ///
    /// # Errors
    /// Why the data set cannot be read.
    pub async fn find(instance: &SelectedInstance, body: Body) -> Result<Option<Self>, Error> {
        let skimmed = skimmed(instance, body, Extent::ToPixelData).await?;
        Ok(skimmed.large(ENCAPSULATED_DOCUMENT).map(|large| Self {
            media_type: document_type(&skimmed),
            range: ByteRange {
                offset: large.offset,
                length: large.length.unwrap_or(0),
                width: 1,
            },
        }))
    }

    /// Its bytes; the instance is opened anew.
    ///
    /// # Errors
    /// Why the instance cannot be opened.
    pub async fn open(
        &self,
        instance: &SelectedInstance,
        stored: &TransferSyntax,
    ) -> Result<Body, Error> {
        open_range(instance, stored, self.range).await
    }
}

/// The media type that an encapsulated document declares (PS3.3 C.24.2).
fn document_type(skimmed: &Skimmed) -> &'static str {
    const MIME_TYPE: Tag = Tag(0x0042, 0x0012);
    let set = skimmed.data_set();
    let declared = set.element(MIME_TYPE);
    match declared.as_ref().and_then(|element| element.ascii()) {
        Some("application/pdf") => "application/pdf",
        Some("text/xml" | "application/xml") => "text/xml",
        Some(_) | None => OCTET_STREAM,
    }
}

fn media_type_at(skimmed: &Skimmed, path: &str) -> &'static str {
    if tag(path) == Some(ENCAPSULATED_DOCUMENT) {
        document_type(skimmed)
    } else {
        OCTET_STREAM
    }
}
