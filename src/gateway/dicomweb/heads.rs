//! Heads of answers with a study or a series, as far as they are known without asking a source: `HEAD` begins
//! no transfer that it would break off.

use http::header::HeaderValue;
use http::request::Parts;
use http::{Method, Response};

use crate::body::Body;
use crate::dicom::media_type::APPLICATION_DICOM;
use crate::gateway::dicomweb::retrieve::{CACHE_STATUS, HIT, MISS, response};
use crate::gateway::edge::conditional;
use crate::gateway::edge::response::{encoded, takes_gzip};
use crate::gateway::{Error, Gateway, accept_fields, boundary};
use crate::multipart::Joiner;
use crate::pixels::Format;
use crate::present::Presented;
use crate::present::metadata::{DICOM_JSON, DICOM_XML};
use crate::request::accept_bulk::OCTET_STREAM;
use crate::request::{MetadataForm, Payload, Rendered, accept, rendering};
use crate::resource::SubResource;
use crate::resource::Target;
use crate::retrieve::{self, Missing, Plan};

/// Whether a request wants the head of an answer only that has many instances.
pub(crate) fn is_of_many(head: &Parts, target: &Target) -> bool {
    head.method == Method::HEAD && !matches!(target, Target::Instance(..))
}

impl Gateway {
    /// The head of the answer with instances.
    pub(crate) fn head_of_instances(
        &self,
        head: &Parts,
        plan: &Plan,
        location: &str,
        payload: Payload,
    ) -> Result<Response<Body>, Error> {
        let content_type = match payload {
            Payload::Single => APPLICATION_DICOM.to_owned(),
            Payload::Multipart => in_parts(APPLICATION_DICOM)?,
        };
        self.head_of(head, plan, content_type, location)
    }

    /// The head of the answer with something that is made of instances.
    pub(crate) fn head_of_derived(
        &self,
        head: &Parts,
        plan: &Plan,
        resource: &SubResource,
        location: &str,
    ) -> Result<Response<Body>, Error> {
        let (query, accepted) = (head.uri.query(), accept_fields(head));
        let picture = || -> Result<&str, Error> {
            Rendered::parse(query)?;
            Ok(media_type(rendering::picture(query, &accepted)?))
        };
        match resource {
            SubResource::Metadata => {
                let form = accept::metadata(query, &accepted)?;
                let content_type = match form {
                    MetadataForm::Json => DICOM_JSON.to_owned(),
                    MetadataForm::Xml => in_parts(DICOM_XML)?,
                };
                let gzip = form == MetadataForm::Json && takes_gzip(&head.headers);
                let mut response = self.head_of(head, plan, content_type, location)?;
                encoded(&mut response, gzip);
                Ok(response)
            }
            SubResource::Rendered => self.head_of(head, plan, in_parts(picture()?)?, location),
            SubResource::Thumbnail => self.head_of(head, plan, picture()?.to_owned(), location),
            SubResource::Pixeldata | SubResource::Bulkdata(_) => {
                self.head_of(head, plan, in_parts(OCTET_STREAM)?, location)
            }
            SubResource::Frames(..) => Err(Error::OfInstancesOnly),
        }
    }

    fn head_of(
        &self,
        head: &Parts,
        plan: &Plan,
        content_type: String,
        location: &str,
    ) -> Result<Response<Body>, Error> {
        if plan.jobs.is_empty() {
            return Err(retrieve::Error::NotLocatable.into());
        }
        // Of no known length, and never read.
        let body = Body::generate(None, |_out| std::future::ready(Ok(())));
        let presented = Presented { content_type, body };
        let missing = self.retriever.missing(plan);
        let mut response = response(presented, missing, location)?;
        let is_kept = !plan.jobs.iter().any(|job| self.retriever.must_ask(job));
        let status = HeaderValue::from_static(if is_kept { HIT } else { MISS });
        response.headers_mut().insert(CACHE_STATUS, status);
        self.keepable(&mut response, missing);
        if missing != Missing::Nothing {
            return Ok(response);
        }
        Ok(conditional::whole(&head.headers, None, response))
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
