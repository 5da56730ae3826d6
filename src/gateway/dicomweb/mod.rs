//! The transactions of PS3.18 over the selection of a manifest, one file each, and everything that
//! they have in common.

pub(crate) mod bulkdata;
pub(crate) mod capabilities;
pub(crate) mod documents;
pub(crate) mod frames;
pub(crate) mod heads;
pub(crate) mod metadata;
pub(crate) mod passed_through;
pub(crate) mod rendered;
pub(crate) mod retrieve;
pub(crate) mod search;
pub(crate) mod source_metadata;
pub(crate) mod source_patient;
pub(crate) mod wado_uri;

use std::sync::Arc;

use http::Response;
use http::header::CACHE_CONTROL;

use super::edge::conditional::{self, EntityTag};
use super::edge::exchange::Exchange;
use super::edge::link::Locator;
use super::edge::response::{boundary, response, warn_of_patient};
use super::{Error, Gateway};
use crate::body::Body;
use crate::derive::{Context, PIXEL_DATA, SelectedInstances, ValueFilter};
use crate::present::Presented;
use crate::present::metadata::Format;
use crate::request::accept_bulk::OCTET_STREAM;
use crate::request::{MetadataForm, Root};
use crate::resource::{BulkdataPath, FrameForm, SubResource, Target};
use crate::retrieve::Missing;

impl Gateway {
    /// A sub-resource of a study, a series or an instance.
    pub(crate) async fn sub_resource(
        &self,
        exchange: &Exchange<'_>,
        root: Root,
        target: &Target,
        sub_resource: &SubResource,
    ) -> Result<Response<Body>, Error> {
        let holding = self.holding(exchange, root, target.study()).await?;
        let patient = self.patient(root, &holding, target.study()).await?;
        let plan = self.plan(&holding, target, exchange)?.of_patient(&patient);
        let locator = Locator {
            base: exchange.base_url(root),
            target: target.clone(),
            sub_resource: sub_resource.clone(),
        };
        if exchange.is_head_of_many(target) {
            return self.head_of_sub_resource(exchange, &plan, &locator);
        }
        if let Some(response) = self.passed_through(exchange, &plan, &locator).await? {
            return Ok(response);
        }
        let context = self.context(exchange);
        let selected = SelectedInstances { plan, context };
        let mut response = self.derived(exchange, selected, &locator).await?;
        warn_of_patient(&mut response, &patient)?;
        Ok(response)
    }

    /// A sub-resource that the gateway makes of instances.
    pub(crate) async fn derived(
        &self,
        exchange: &Exchange<'_>,
        selected: SelectedInstances,
        locator: &Locator,
    ) -> Result<Response<Body>, Error> {
        let is_of_one = matches!(locator.target, Target::Instance(..));
        match &locator.sub_resource {
            SubResource::Metadata => self.metadata(exchange, selected, locator).await,
            SubResource::Frames(frames, FrameForm::Pixels) => {
                let instance = selected.single()?;
                self.frames(exchange, instance, frames, locator).await
            }
            SubResource::Pixeldata if !is_of_one => {
                let filter = ValueFilter::PixelData;
                self.all_values(exchange, selected, filter, locator).await
            }
            SubResource::Bulkdata(path) if path.is_all() => {
                let filter = ValueFilter::All;
                self.all_values(exchange, selected, filter, locator).await
            }
            SubResource::Pixeldata => {
                let instance = selected.single()?;
                self.bulkdata(exchange, &instance, PIXEL_DATA, locator)
                    .await
            }
            SubResource::Bulkdata(path) => {
                let (instance, path) = (selected.single()?, value_path(path));
                self.bulkdata(exchange, &instance, &path, locator).await
            }
            SubResource::Rendered
            | SubResource::Thumbnail
            | SubResource::Frames(_, FrameForm::Rendered | FrameForm::Thumbnail) => {
                self.rendered(exchange, selected, locator).await
            }
        }
    }

    /// The means to open instances for a response.
    pub(crate) fn context(&self, exchange: &Exchange<'_>) -> Arc<Context> {
        Arc::new(Context {
            retriever: self.retriever.clone(),
            decoders: self.decoders.clone(),
            account: exchange.account.clone(),
            hop: Arc::clone(&exchange.hop),
        })
    }

    /// Caches that may store instances may store whatever is made of them.
    pub(crate) fn permit_caching(&self, response: &mut Response<Body>, missing: Missing) {
        if missing == Missing::Nothing {
            let headers = response.headers_mut();
            headers.insert(CACHE_CONTROL, self.cache_control.clone());
        }
    }

    /// A response of one part without a wrapper, or a range of its bytes.
    pub(crate) fn alone(
        &self,
        exchange: &Exchange<'_>,
        presented: Presented,
        location: &str,
        tag: Option<&EntityTag>,
    ) -> Result<Response<Body>, Error> {
        let response = self.whole(presented, location)?;
        let head = exchange.head;
        Ok(conditional::answer(
            &head.method,
            &head.headers,
            tag,
            response,
        ))
    }

    /// A response without ranges.
    pub(crate) fn together(
        &self,
        exchange: &Exchange<'_>,
        presented: Presented,
        location: &str,
        tag: Option<&EntityTag>,
    ) -> Result<Response<Body>, Error> {
        let response = self.whole(presented, location)?;
        Ok(conditional::whole(exchange.headers(), tag, response))
    }

    /// A response that lacks nothing and may be cached.
    fn whole(&self, presented: Presented, location: &str) -> Result<Response<Body>, Error> {
        let mut response = response(presented, Missing::Nothing, location)?;
        self.permit_caching(&mut response, Missing::Nothing);
        Ok(response)
    }

    /// `304` if the client has the representation with this tag: then it need not be made.
    pub(crate) fn unchanged(
        &self,
        exchange: &Exchange<'_>,
        location: &str,
        tag: Option<&EntityTag>,
    ) -> Result<Option<Response<Body>>, Error> {
        if !conditional::is_had(exchange.headers(), tag) {
            return Ok(None);
        }
        let presented = Presented {
            content_type: OCTET_STREAM.to_owned(),
            body: Body::empty(),
        };
        self.together(exchange, presented, location, tag).map(Some)
    }
}

/// The format of metadata for a client that accepts `form`.
pub(crate) fn metadata_format(form: MetadataForm, gzip: bool) -> Result<Format, Error> {
    Ok(match form {
        MetadataForm::Json => Format::Json { gzip },
        MetadataForm::Xml => Format::Xml(boundary()?),
    })
}

/// The path of a value, without the `bulkdata/` before it.
fn value_path(path: &BulkdataPath) -> String {
    let path = path.to_string();
    path.split_once('/').map_or("", |(_, rest)| rest).to_owned()
}
