//! *Retrieve Frames* (PS3.18 10.4.1.1.6).

use http::Response;

use crate::body::Body;
use crate::derive::{FrameParts, InstanceFrames, SelectedInstance};
use crate::gateway::edge::conditional::EntityTag;
use crate::gateway::edge::exchange::Exchange;
use crate::gateway::edge::link::Locator;
use crate::gateway::edge::response::boundary;
use crate::gateway::{Error, Gateway};
use crate::object;
use crate::present::{Presented, parts};
use crate::request::BulkAcceptable;
use crate::request::accept_bulk;
use crate::resource::{FrameForm, Frames, SubResource};

impl Gateway {
    /// Frames of one instance, as they are stored or decoded.
    pub(crate) async fn frames(
        &self,
        exchange: &Exchange<'_>,
        instance: SelectedInstance,
        list: &Frames,
        locator: &Locator,
    ) -> Result<Response<Body>, Error> {
        let acceptable = BulkAcceptable::parse(exchange.query(), &exchange.accept());
        let (opened, frames) = InstanceFrames::open(&instance).await?;
        let numbers: Vec<u32> = list.numbers().iter().map(|number| number.get()).collect();
        let count = frames.count();
        if numbers.iter().any(|&number| number > count) {
            return Err(object::Error::NoFrame(count).into());
        }
        let is_one = numbers.len() == 1;
        let multipart = accept_bulk::Default::Multipart;
        let given = acceptable.choose(frames.as_stored(), is_one, multipart)?;
        let location = locator
            .with(SubResource::Frames(list.clone(), FrameForm::Pixels))
            .url();
        let stored = &opened.identity.transfer_syntax;
        let root = locator.base.root();
        let representation = format!("frames {numbers:?} {given:?} {stored} below {root}");
        let tag = opened
            .digest()
            .map(|digest| EntityTag::made(digest, &representation));
        if let Some(unchanged) = self.unchanged(exchange, &location, tag.as_ref())? {
            return Ok(unchanged);
        }
        let address = locator.base.of(&locator.target);
        let mut parts = FrameParts::new(frames, &given, address, numbers);
        let first = parts.first(opened).await?.ok_or(Error::Internal)?;
        if !given.is_multipart {
            let presented = Presented {
                content_type: first.content_type,
                body: first.body,
            };
            return self.alone(exchange, presented, &location, tag.as_ref());
        }
        let (boundary, media_type) = (boundary()?, given.media_type.as_str());
        let presented = if is_one {
            parts::single_part(boundary, media_type, first)
        } else {
            parts::multipart(boundary, media_type, Some(first), parts.patient())
        };
        self.together(exchange, presented, &location, tag.as_ref())
    }
}
