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
    Frames(Box<Instance>, Box<InstanceFrames>),
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
            return Ok(OpenedValue::Frames(Box::new(opened), Box::new(frames)));
        }
        Value::Bytes(bytes) => {
            let media_type = media_type_at(&skimmed, path);
            let bytes = skimmed.into_share().hold(bytes);
            (Body::full(bytes), media_type)
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
                length: match first {
                    ENCAPSULATED_DOCUMENT => document_length(skimmed, length),
                    _ => length,
                },
                width: width_at(skimmed, path),
            }),
            None => Value::Frames,
        });
    }
    let mut bytes = find_kept(skimmed, first, &rest)?;
    if first == ENCAPSULATED_DOCUMENT {
        let length = document_length(skimmed, bytes.len() as u64);
        bytes.truncate(usize::try_from(length).unwrap_or(usize::MAX));
    }
    Ok(Value::Bytes(bytes))
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
    value: Value,
}

impl EncapsulatedDocument {
    /// Finds the document of an opened instance; `None` if it holds none.
    ///
    /// # Errors
    /// Why the data set cannot be read.
    pub async fn find(instance: &SelectedInstance, body: Body) -> Result<Option<Self>, Error> {
        let mut skimmed = skimmed(instance, body, Extent::ToPixelData).await?;
        skimmed.make_room(skimmed.bytes()).await?;
        let media_type = document_type(&skimmed);
        let value = match find(&skimmed, &digits(ENCAPSULATED_DOCUMENT)) {
            Err(object::Error::NoValue) => return Ok(None),
            found => found?,
        };
        // A small document was read together with the data set.
        let value = match value {
            Value::Bytes(bytes) => Value::Bytes(skimmed.into_share().hold(bytes)),
            Value::Range(_) | Value::Frames => value,
        };
        Ok(Some(Self { media_type, value }))
    }

    /// Its bytes; the instance is opened anew if they are many.
    ///
    /// # Errors
    /// Why the instance cannot be opened.
    pub async fn open(
        self,
        instance: &SelectedInstance,
        stored: &TransferSyntax,
    ) -> Result<Body, Error> {
        match self.value {
            Value::Range(range) => open_range(instance, stored, range).await,
            Value::Bytes(bytes) => Ok(Body::full(bytes)),
            Value::Frames => Err(object::Error::NoValue.into()),
        }
    }
}

/// The length of an encapsulated document, which is stored with `stored` bytes: one that is odd is
/// padded (PS3.3 C.24.2, Encapsulated Document Length).
fn document_length(skimmed: &Skimmed, stored: u64) -> u64 {
    const DOCUMENT_LENGTH: Tag = Tag(0x0042, 0x0015);
    let set = skimmed.data_set();
    let element = set.element(DOCUMENT_LENGTH);
    let declared = element.and_then(|element| {
        let bytes = little_endian(&element);
        bytes.first_chunk().map(|bytes| u32::from_le_bytes(*bytes))
    });
    match declared.map(u64::from) {
        Some(declared) if declared + 1 == stored => declared,
        Some(_) | None => stored,
    }
}

/// The media type that an encapsulated document declares (PS3.3 C.24.2), in any case.
fn document_type(skimmed: &Skimmed) -> &'static str {
    const MIME_TYPE: Tag = Tag(0x0042, 0x0012);
    let set = skimmed.data_set();
    let declared = set.element(MIME_TYPE);
    let declared = declared.as_ref().and_then(|element| element.ascii());
    match declared.unwrap_or_default().to_ascii_lowercase().as_str() {
        "application/pdf" => "application/pdf",
        "text/xml" | "application/xml" => "text/xml",
        "model/stl" | "application/sla" => "model/stl",
        "model/obj" => "model/obj",
        "model/mtl" => "model/mtl",
        _ => OCTET_STREAM,
    }
}

fn media_type_at(skimmed: &Skimmed, path: &str) -> &'static str {
    if tag(path) == Some(ENCAPSULATED_DOCUMENT) {
        document_type(skimmed)
    } else {
        OCTET_STREAM
    }
}
