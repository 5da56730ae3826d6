//! The heads of responses with a study or a series, as far as they are known without a question to
//! a source: `HEAD` begins no transfer.

use http::Response;
use http::header::HeaderValue;

use crate::body::Body;
use crate::dicom::media_type::APPLICATION_DICOM;
use crate::gateway::edge::conditional;
use crate::gateway::edge::exchange::Exchange;
use crate::gateway::edge::link::Locator;
use crate::gateway::edge::response::{
    CACHE_STATUS, HIT, MISS, accepts_gzip, boundary, response, state_coding,
};
use crate::gateway::{Error, Gateway};
use crate::multipart::Joiner;
use crate::pixels::Format;
use crate::present::Presented;
use crate::present::metadata::{DICOM_JSON, DICOM_XML};
use crate::request::accept_bulk::OCTET_STREAM;
use crate::request::{MetadataForm, Payload, Rendered, accept, rendering};
use crate::resource::SubResource;
use crate::retrieve::{self, Missing, Plan};

impl Gateway {
    /// The head of a response with instances.
    pub(crate) fn head_of_instances(
        &self,
        exchange: &Exchange<'_>,
        plan: &Plan,
        location: &str,
        payload: Payload,
    ) -> Result<Response<Body>, Error> {
        let content_type = match payload {
            Payload::Single => APPLICATION_DICOM.to_owned(),
            Payload::Multipart => in_parts(APPLICATION_DICOM)?,
        };
        self.head_of(exchange, plan, content_type, location)
    }

    /// The head of a response with a sub-resource.
    pub(crate) fn head_of_sub_resource(
        &self,
        exchange: &Exchange<'_>,
        plan: &Plan,
        locator: &Locator,
    ) -> Result<Response<Body>, Error> {
        let (query, accept) = (exchange.query(), exchange.accept());
        let picture = || -> Result<&str, Error> {
            Rendered::parse(query)?;
            Ok(media_type(rendering::picture(query, &accept)?))
        };
        let content_type = match &locator.sub_resource {
            SubResource::Metadata => match accept::metadata(query, &accept)? {
                MetadataForm::Json => DICOM_JSON.to_owned(),
                MetadataForm::Xml => in_parts(DICOM_XML)?,
            },
            SubResource::Rendered => in_parts(picture()?)?,
            SubResource::Thumbnail => picture()?.to_owned(),
            SubResource::Pixeldata | SubResource::Bulkdata(_) => in_parts(OCTET_STREAM)?,
            SubResource::Frames(..) => return Err(Error::OfInstancesOnly),
        };
        let is_json = content_type == DICOM_JSON;
        let mut response = self.head_of(exchange, plan, content_type, &locator.url())?;
        if locator.sub_resource == SubResource::Metadata {
            let gzip = is_json && accepts_gzip(exchange.headers());
            state_coding(&mut response, gzip);
        }
        Ok(response)
    }

    fn head_of(
        &self,
        exchange: &Exchange<'_>,
        plan: &Plan,
        content_type: String,
        location: &str,
    ) -> Result<Response<Body>, Error> {
        if plan.jobs.is_empty() {
            return Err(retrieve::Error::NotLocatable.into());
        }
        // Of unknown length, and never read.
        let body = Body::generate(None, |_out| std::future::ready(Ok(())));
        let presented = Presented { content_type, body };
        let missing = self.retriever.missing(plan);
        let mut response = response(presented, missing, location)?;
        let is_kept = !plan.jobs.iter().any(|job| self.retriever.must_ask(job));
        let status = HeaderValue::from_static(if is_kept { HIT } else { MISS });
        response.headers_mut().insert(CACHE_STATUS, status);
        self.permit_caching(&mut response, missing);
        if missing != Missing::Nothing {
            return Ok(response);
        }
        Ok(conditional::whole(exchange.headers(), None, response))
    }
}

fn in_parts(media_type: &str) -> Result<String, Error> {
    Ok(Joiner::new(boundary()?).content_type(media_type))
}

pub(crate) fn media_type(format: Format) -> &'static str {
    match format {
        Format::Jpeg => "image/jpeg",
        Format::Png => "image/png",
        Format::Gif => "image/gif",
    }
}
