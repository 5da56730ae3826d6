//! *Retrieve Bulk Data* (PS3.18 10.4.1.1.5): the values that metadata have links to.

use http::Response;

use crate::body::Body;
use crate::derive::{
    AllValues, OpenedValue, SelectedInstance, SelectedInstances, ValueFilter, open_value,
};
use crate::dicom::TransferSyntax;
use crate::gateway::edge::conditional::EntityTag;
use crate::gateway::edge::exchange::Exchange;
use crate::gateway::edge::link::Locator;
use crate::gateway::edge::response::{boundary, lasting_boundary, response, warn_of_left_out};
use crate::gateway::{Error, Gateway};
use crate::present::Presented;
use crate::present::parts::{self, Part, with_syntax};
use crate::request::BulkAcceptable;
use crate::request::accept::NotAcceptable;
use crate::request::accept_bulk::{self, OCTET_STREAM, Representation, Stored};
use crate::resource::{Frames, Target};

impl Gateway {
    /// The value of an instance at a path of its metadata.
    pub(crate) async fn bulkdata(
        &self,
        exchange: &Exchange<'_>,
        instance: &SelectedInstance,
        path: &str,
        locator: &Locator,
    ) -> Result<Response<Body>, Error> {
        let acceptable = BulkAcceptable::parse(exchange.query(), &exchange.accept());
        let (body, media_type, digest) = match open_value(instance, path).await? {
            OpenedValue::Bytes {
                body,
                media_type,
                digest,
            } => (body, media_type, digest),
            OpenedValue::Frames(opened, frames) => {
                let most = u32::try_from(Frames::MOST).unwrap_or(u32::MAX);
                let numbers: Vec<u32> = (1..=frames.count().min(most)).collect();
                let list = Frames::of(&numbers).ok_or(Error::Internal)?;
                return self
                    .opened_frames(exchange, *opened, *frames, &list, locator)
                    .await;
            }
        };
        let given = representation(&acceptable, media_type)?;
        let location = locator.url();
        let root = locator.base.root();
        let representation = format!("bulk data {path} {given:?} below {root}");
        let tag = digest.map(|digest| EntityTag::made(digest, &representation));
        if !given.is_multipart {
            let content_type = given.media_type;
            let presented = Presented { content_type, body };
            return self.alone(exchange, presented, &location, tag.as_ref());
        }
        let part = Part {
            content_type: with_syntax(OCTET_STREAM, &TransferSyntax::explicit_vr_little_endian()),
            location: location.clone(),
            body,
        };
        let boundary = lasting_boundary(&location, &representation);
        let presented = parts::single_part(boundary, OCTET_STREAM, part);
        self.alone(exchange, presented, &location, tag.as_ref())
    }

    /// The values of all instances of a target. Instances without any are skipped.
    pub(crate) async fn all_values(
        &self,
        exchange: &Exchange<'_>,
        selected: SelectedInstances,
        filter: ValueFilter,
        locator: &Locator,
    ) -> Result<Response<Body>, Error> {
        let acceptable = BulkAcceptable::parse(exchange.query(), &exchange.accept());
        let (instances, missing) = selected.in_order()?;
        let base = locator.base.clone();
        let located = move |target: &Target| base.of(target);
        let mut values = AllValues::new(instances, filter, acceptable, located);
        let first = values.first().await?;
        let left_out = values.left_out().clone();
        let (boundary, media_type) = (boundary()?, first.media_type.as_str());
        let rest = values.patient();
        let presented = parts::multipart(boundary, media_type, Some(first.part), rest);
        let mut response = response(presented, missing, &locator.url())?;
        self.permit_caching(&mut response, missing);
        warn_of_left_out(&mut response, &left_out)?;
        Ok(response)
    }
}

/// The representation of a value. One that declares a media type of its own has no other.
fn representation(
    acceptable: &BulkAcceptable,
    media_type: &str,
) -> Result<Representation, NotAcceptable> {
    if media_type != OCTET_STREAM {
        return Ok(Representation {
            is_multipart: false,
            media_type: media_type.to_owned(),
            is_as_stored: true,
        });
    }
    let as_stored = Stored {
        syntax: &TransferSyntax::explicit_vr_little_endian(),
        media_type,
        is_compressed: false,
        is_decodable: true,
    };
    acceptable.choose(as_stored, true, accept_bulk::Default::Single)
}
