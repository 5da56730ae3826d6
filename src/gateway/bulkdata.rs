//! *Retrieve Bulk Data* (PS3.18 10.4.1.1.5): values that metadata have links to.

use bytes::Bytes;
use dicom_core::Tag;
use http::Response;
use http::request::Parts;

use super::conditional::EntityTag;
use super::material::One;
use super::one::{frames_of, skimmed};
use super::place::Place;
use super::{Error, Gateway, accept_fields, boundary};
use crate::body::{self, Body};
use crate::dicom::json::{little_endian, width};
use crate::dicom::{Encoding, TransferSyntax, tag};
use crate::instance::Target;
use crate::object::{self, Extent, Skimmed, layout, plain};
use crate::present::Presented;
use crate::present::parts::{self, Part, Related, with_syntax};
use crate::request::BulkAcceptable;
use crate::request::accept_bulk::{self, OCTET_STREAM, Representation, Stored};
use crate::sub_resource::{Frames, SubResource};

const PIXEL_DATA: &str = "7FE00010";

/// A value of an instance: where it is, or what it is.
#[derive(Debug)]
pub(super) enum Value {
    /// So many bytes from a place on.
    There(u64, u64),
    /// These bytes.
    Here(Bytes),
    /// Encapsulated pixel data.
    Frames,
}

impl Gateway {
    /// A large value of an instance.
    pub(super) async fn bulkdata(
        &self,
        head: &Parts,
        one: One,
        place: Place,
        (target, resource, path): (&Target, &SubResource, &str),
    ) -> Result<Response<Body>, Error> {
        let acceptable = BulkAcceptable::parse(head.uri.query(), &accept_fields(head));
        let instance = one.open().await?;
        let stored = instance.identity.transfer_syntax.clone();
        let location = place.of_sub_resource(target, resource);
        let digest = instance.digest();
        let mut skimmed = skimmed(&one, instance.body, extent_for(path)).await?;
        // What is not found where it is takes as much again.
        skimmed.make_room(skimmed.bytes()).await?;
        let (body, what) = match value_at(&skimmed, path)? {
            Value::Frames => {
                drop(skimmed);
                let (_, kept) = frames_of(&one).await?;
                let all = kept.layout.frames(&kept.geometry);
                // PS3.18 10.4.1.1.6: all frames, each a part.
                let list = (1..=all.min(Frames::MOST as u32)).collect::<Vec<_>>();
                let frames = Frames::of(&list).ok_or(Error::Internal)?;
                return self.frames(head, one, place, (target, &frames)).await;
            }
            Value::Here(bytes) => {
                let bytes = skimmed.into_share().hold(bytes);
                (Body::full(bytes), OCTET_STREAM)
            }
            Value::There(offset, length) => {
                let width = width_at(&skimmed, path);
                let body = opened(&one, &stored, (offset, length), width).await?;
                (body, bulk_type(&skimmed, path))
            }
        };
        let plain_syntax = TransferSyntax::explicit_vr_little_endian();
        let given = if what == OCTET_STREAM {
            let as_stored = Stored {
                syntax: &plain_syntax,
                media_type: what,
                is_compressed: false,
            };
            acceptable.choose(as_stored, true, accept_bulk::Default::Single)?
        } else {
            Representation {
                is_multipart: false,
                media_type: what.to_owned(),
                is_as_stored: true,
            }
        };
        let form = format!("bulk data {path} {given:?} below {}", place.root());
        let tag = digest.map(|digest| EntityTag::made(digest, &form));
        if !given.is_multipart {
            let content_type = given.media_type;
            let presented = Presented { content_type, body };
            return self.alone(head, presented, &location, tag.as_ref());
        }
        let parts = vec![Part {
            location: location.clone(),
            content: (),
        }];
        let open = |(): &()| std::future::ready(Err(body::Error::Abandoned));
        let content_type = with_syntax(OCTET_STREAM, &plain_syntax);
        let related = Related {
            boundary: boundary()?,
            media_type: OCTET_STREAM,
            content_type,
        };
        let presented = parts::multipart(parts, body, open, related);
        self.together(head, presented, &location, tag.as_ref())
    }
}

/// A value of so many bytes from a place on, whose numbers are turned round where they have to be.
pub(super) async fn opened(
    one: &One,
    stored: &TransferSyntax,
    (offset, length): (u64, u64),
    width: usize,
) -> Result<Body, Error> {
    let body = plain(one.open().await?.body, stored).await?;
    Ok(layout::swapped(body.slice(offset, length), width))
}

fn extent_for(path: &str) -> Extent {
    // Pixel data are last but for what hardly anybody has.
    if path == PIXEL_DATA {
        Extent::ToPixelData
    } else {
        Extent::Whole
    }
}

/// Finds a value by the path that metadata give it.
pub(super) fn value_at(skimmed: &Skimmed, path: &str) -> Result<Value, object::Error> {
    let mut pieces = path.split('/');
    let first = pieces.next().and_then(tag).ok_or(object::Error::NoValue)?;
    let rest: Vec<&str> = pieces.collect();
    if let Some(large) = skimmed.large(first).filter(|_| rest.is_empty()) {
        return Ok(match large.length {
            Some(length) => Value::There(large.offset, length),
            None => Value::Frames,
        });
    }
    let mut set = skimmed.data_set();
    let mut tag_now = first;
    let mut rest = rest.as_slice();
    while let [number, next, deeper @ ..] = rest {
        let number: usize = number
            .parse()
            .map_err(|_no_number| object::Error::NoValue)?;
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
    Ok(Value::Here(little_endian(&element).into()))
}

/// How many bytes of a value of the top level have to change places to be little endian.
pub(super) fn width_at(skimmed: &Skimmed, path: &str) -> usize {
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

/// What an encapsulated document says that it is (PS3.3 C.24.2).
pub(super) fn document_type(skimmed: &Skimmed) -> &'static str {
    const MIME_TYPE: Tag = Tag(0x0042, 0x0012);
    let set = skimmed.data_set();
    let said = set.element(MIME_TYPE);
    match said.as_ref().and_then(|element| element.ascii()) {
        Some("application/pdf") => "application/pdf",
        Some("text/xml" | "application/xml") => "text/xml",
        Some(_) | None => OCTET_STREAM,
    }
}

fn bulk_type(skimmed: &Skimmed, path: &str) -> &'static str {
    const ENCAPSULATED_DOCUMENT: &str = "00420011";
    if path == ENCAPSULATED_DOCUMENT {
        document_type(skimmed)
    } else {
        OCTET_STREAM
    }
}
