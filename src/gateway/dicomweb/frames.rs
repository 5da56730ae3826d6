//! *Retrieve Frames* (PS3.18 10.4.1.1.6).

use http::Response;

use crate::body::Body;
use crate::derive::{FrameParts, InstanceFrames, SelectedInstance};
use crate::gateway::edge::conditional::EntityTag;
use crate::gateway::edge::exchange::Exchange;
use crate::gateway::edge::link::Locator;
use crate::gateway::edge::response::{boundary, lasting_boundary};
use crate::gateway::{Error, Gateway};
use crate::instance::Instance;
use crate::object;
use crate::present::{Presented, parts};
use crate::request::{BulkAcceptable, accept_bulk};
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
        let (opened, frames) = InstanceFrames::open(&instance).await?;
        self.opened_frames(exchange, opened, frames, list, locator)
            .await
    }

    /// The same of an instance that is open already.
    pub(crate) async fn opened_frames(
        &self,
        exchange: &Exchange<'_>,
        opened: Instance,
        frames: InstanceFrames,
        list: &Frames,
        locator: &Locator,
    ) -> Result<Response<Body>, Error> {
        let acceptable = BulkAcceptable::parse(exchange.query(), &exchange.accept());
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
        // Stored bytes in a lasting wrapper are the same each time, so their tag is strong.
        let is_exact = is_one && given.is_as_stored;
        let tag = opened.digest().map(|digest| {
            let tag = EntityTag::made(digest, &representation);
            if is_exact { tag.strong() } else { tag }
        });
        if let Some(unchanged) = self.unchanged(exchange, &location, tag.as_ref())? {
            return Ok(unchanged);
        }
        let address = locator.base.of(&locator.target);
        let is_multipart = given.is_multipart;
        let mut parts = FrameParts::new(frames, given, address, numbers);
        let first = parts.open_next(Some(opened)).await?;
        let first = first.ok_or(Error::Internal)?;
        if !is_multipart {
            let presented = Presented {
                content_type: first.content_type,
                body: first.body,
            };
            return self.alone(exchange, presented, &location, tag.as_ref());
        }
        let media_type = parts.media_type().to_owned();
        if is_one {
            let boundary = lasting_boundary(&location, &representation);
            let presented = parts::single_part(boundary, &media_type, first);
            return self.alone(exchange, presented, &location, tag.as_ref());
        }
        let presented = parts::multipart(boundary()?, &media_type, Some(first), parts.patient());
        self.together(exchange, presented, &location, tag.as_ref())
    }
}
