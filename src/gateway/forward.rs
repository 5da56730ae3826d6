//! What a source offers beside instances, and settings say so: asked for in our words, its links
//! made ours. What it does not offer is not asked for.

use http::header::{CONTENT_SECURITY_POLICY, HeaderValue};
use http::request::Parts;
use http::{HeaderName, Response};

use super::answer::response;
use super::xc_wado::Holder;
use super::{Asking, Error, Gateway, accept_fields, boundary};
use crate::body::Body;
use crate::present::forwarded::{self, Unsuitable};
use crate::request::{XcWado, accept};
use crate::retrieve::Missing;
use crate::rewrite::Links;
use crate::source::{self, ResourceRequest};
use crate::sub_resource::SubResource;

/// What comes from elsewhere runs nothing and fetches nothing, whatever it is.
pub(super) const POLICY: (HeaderName, HeaderValue) = (
    CONTENT_SECURITY_POLICY,
    HeaderValue::from_static("default-src 'none'; sandbox"),
);

impl Gateway {
    pub(super) async fn forward(
        &self,
        head: &Parts,
        asking: &Asking,
        request: &XcWado,
        (holder, sub_resource): (Holder, &SubResource),
    ) -> Result<Response<Body>, Error> {
        if !holder
            .offers
            .iter()
            .any(|offered| offered.is(sub_resource.offer()))
        {
            return Err(Error::NotOffered);
        }
        let wants_metadata = *sub_resource == SubResource::Metadata;
        let accept = if wants_metadata {
            accept::dicom_json(head.uri.query(), &accept_fields(head))?;
            HeaderValue::from_static("application/dicom+json")
        } else {
            accept::anew(&accept_fields(head))
        };
        let wanted = ResourceRequest {
            target: &request.target,
            sub_resource,
            query: &request.upstream_query(),
            accept: &accept,
            hop: &asking.hop,
        };
        let forwarding = self.retriever.forward(&holder.source, &wanted);
        let forwarded = forwarding.await.map_err(Error::between_communities)?;
        let place = self.place(asking, request);
        let links = Links::new(holder.addresses, forwarded.document, place.root());
        let (media_type, body) = (&forwarded.media_type, forwarded.body);
        let presented = if wants_metadata {
            forwarded::metadata(media_type, body, links)
        } else {
            forwarded::payload(media_type, body, boundary()?, links)
        };
        let presented = presented.map_err(|Unsuitable| {
            Error::Retrieve(source::Error::Malformed("it is not what was asked for").into())
        })?;
        let missing = if forwarded.is_partial {
            Missing::SourceSaysSome
        } else {
            Missing::Nothing
        };
        let location = place.of_sub_resource(&request.target, sub_resource);
        let mut response = response(presented, missing, &location)?;
        response.headers_mut().extend([POLICY]);
        Ok(response)
    }
}
