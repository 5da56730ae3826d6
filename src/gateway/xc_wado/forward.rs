//! Sub-resources that a source offers between communities, because its settings say so: the
//! upstream request is written anew, and links in the answer become the gateway's own.

use http::Response;
use http::header::HeaderValue;

use crate::body::Body;
use crate::gateway::edge::exchange::Exchange;
use crate::gateway::edge::response::{SANDBOX, boundary, response};
use crate::gateway::xc_wado::Holder;
use crate::gateway::{Error, Gateway};
use crate::present::forwarded::{self, Unsuitable};
use crate::request::{XcWado, accept};
use crate::resource::SubResource;
use crate::retrieve::Missing;
use crate::rewrite::Links;
use crate::source::{self, ResourceRequest};

impl Gateway {
    /// A sub-resource as its source gives it, if the settings say that it does; else it is derived.
    pub(crate) async fn forward(
        &self,
        exchange: &Exchange<'_>,
        request: &XcWado,
        holder: Holder,
        sub_resource: &SubResource,
    ) -> Result<Response<Body>, Error> {
        if holder.offers.list(sub_resource.offer()) != Some(true) {
            let derived = self.derived_between(exchange, request, holder, sub_resource);
            return Box::pin(derived).await;
        }
        let is_metadata = *sub_resource == SubResource::Metadata;
        let upstream = ResourceRequest {
            target: &request.target,
            sub_resource,
            query: &request.upstream_query(),
            accept: &upstream_accept(exchange, is_metadata)?,
            hop: &exchange.hop,
        };
        let forwarding = self.retriever.forward(&holder.source, &upstream);
        let forwarded = forwarding.await.map_err(Error::between_communities)?;
        let base = self.xc_wado_base(exchange, request);
        let links = Links::new(holder.addresses, forwarded.document, base.root());
        let (media_type, body) = (&forwarded.media_type, forwarded.body);
        let presented = if is_metadata {
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
        let location = base.of_sub_resource(&request.target, sub_resource);
        let mut response = response(presented, missing, &location)?;
        response.headers_mut().extend([SANDBOX]);
        Ok(response)
    }
}

fn upstream_accept(exchange: &Exchange<'_>, is_metadata: bool) -> Result<HeaderValue, Error> {
    if !is_metadata {
        return Ok(accept::anew(&exchange.accept()));
    }
    accept::dicom_json(exchange.query(), &exchange.accept())?;
    Ok(HeaderValue::from_static("application/dicom+json"))
}
