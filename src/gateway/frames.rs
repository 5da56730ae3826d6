//! *Retrieve Frames* (PS3.18 10.4.1.1.6).

use std::sync::Arc;

use http::Response;
use http::request::Parts;

use super::conditional::EntityTag;
use super::material::One;
use super::one::{OneFrame, broken_off, frames_of};
use super::place::Place;
use super::{Error, Gateway, accept_fields, boundary};
use crate::body::Body;
use crate::dicom::TransferSyntax;
use crate::instance::Target;
use crate::object::{self, Layout};
use crate::pixels::Output;
use crate::present::Presented;
use crate::present::parts::{self, Part, Related, with_syntax};
use crate::request::BulkAcceptable;
use crate::request::accept_bulk::{self, OCTET_STREAM, Stored, media_type_of};
use crate::sub_resource::{FrameForm, Frames, SubResource};

impl Gateway {
    pub(super) async fn frames(
        &self,
        head: &Parts,
        one: One,
        place: Place,
        (target, frames): (&Target, &Frames),
    ) -> Result<Response<Body>, Error> {
        let acceptable = BulkAcceptable::parse(head.uri.query(), &accept_fields(head));
        let (instance, kept) = frames_of(&one).await?;
        let all = kept.layout.frames(&kept.geometry);
        let mut numbers: Vec<u32> = frames.numbers().iter().map(|number| number.get()).collect();
        if numbers.iter().any(|&number| number > all) {
            return Err(object::Error::NoFrame(all).into());
        }
        let stored = instance.identity.transfer_syntax.clone();
        let is_one = numbers.len() == 1;
        let as_stored = Stored {
            syntax: &stored,
            media_type: own_media_type(&kept.layout, &stored),
            is_compressed: matches!(kept.layout, Layout::Encapsulated(_)),
        };
        let multipart = accept_bulk::Default::Multipart;
        let given = acceptable.choose(as_stored, is_one, multipart)?;
        let location = place.of_sub_resource(
            target,
            &SubResource::Frames(frames.clone(), FrameForm::Pixels),
        );
        let form = format!(
            "frames {numbers:?} {given:?} {stored} below {}",
            place.root()
        );
        let tag = instance
            .digest()
            .map(|digest| EntityTag::made(digest, &form));
        if let Some(unchanged) = self.unchanged(head, &location, tag.as_ref())? {
            return Ok(unchanged);
        }
        let frame = OneFrame::new(one, stored, kept);
        let is_decoded = !given.is_as_stored && frame.is_compressed();
        let syntax = if is_decoded {
            TransferSyntax::explicit_vr_little_endian()
        } else {
            frame.syntax()
        };
        let first = numbers.first().copied().unwrap_or(1);
        let body = if is_decoded {
            drop(instance);
            Body::full(frame.made(first, Output::Samples).await?.bytes)
        } else {
            frame.stored(instance, first).await?
        };
        let content_type = with_syntax(&given.media_type, &syntax);
        if !given.is_multipart {
            let presented = Presented { content_type, body };
            return self.alone(head, presented, &location, tag.as_ref());
        }
        let root = place.of(target);
        let parts = numbers.drain(..).map(|number| Part {
            location: format!("{root}/frames/{number}"),
            content: number,
        });
        let frame = Arc::new(frame.patient());
        let open = move |number: &u32| {
            let (frame, number) = (Arc::clone(&frame), *number);
            async move {
                if is_decoded {
                    let made = frame.made(number, Output::Samples).await;
                    return made.map(|made| Body::full(made.bytes)).map_err(broken_off);
                }
                frame.opened(number).await.map_err(broken_off)
            }
        };
        let related = Related {
            boundary: boundary()?,
            media_type: given.media_type.as_str(),
            content_type,
        };
        let presented = parts::multipart(parts.collect(), body, open, related);
        self.together(head, presented, &location, tag.as_ref())
    }
}

pub(super) fn own_media_type(layout: &Layout, stored: &TransferSyntax) -> &'static str {
    match layout {
        Layout::Native(_) => OCTET_STREAM,
        Layout::Encapsulated(_) => media_type_of(stored),
    }
}
