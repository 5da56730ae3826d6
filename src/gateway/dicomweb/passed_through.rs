//! Frames and pictures that a source offers itself, by its settings (`offers`) or as it shows. If it
//! fails to give one, the gateway makes it of instances.

use std::sync::Arc;

use http::header::RANGE;
use http::{Method, Response};
use tokio::runtime::Handle;

use crate::body::{Body, End};
use crate::dicom::MediaType;
use crate::gateway::dicomweb::source_metadata::Ground;
use crate::gateway::edge::exchange::Exchange;
use crate::gateway::edge::link::Locator;
use crate::gateway::edge::response::{SANDBOX, boundary, response};
use crate::gateway::{Error, Gateway};
use crate::hop::Hop;
use crate::present::Presented;
use crate::present::forwarded::{self, Unsuitable, Wrapping};
use crate::request::passed::Expected;
use crate::request::{accept, xc_wado};
use crate::resource::{Offer, SubResource, Target};
use crate::retrieve::{Forwarded, Job, Missing, Plan};
use crate::rewrite::Links;
use crate::source::ResourceRequest;

/// Something of one instance that its source is asked for.
struct Wanted<'a> {
    job: Job,
    target: Target,
    sub_resource: &'a SubResource,
    ground: Ground,
}

/// Whether a request is for a whole body: what is passed through has no ranges.
fn is_plain(exchange: &Exchange<'_>) -> bool {
    exchange.head.method == Method::GET && !exchange.headers().contains_key(RANGE)
}

impl Gateway {
    /// Frames, pixel data or a picture of one instance, if its source offers and gives them.
    pub(crate) async fn passed_through(
        &self,
        exchange: &Exchange<'_>,
        plan: &Plan,
        locator: &Locator,
    ) -> Result<Option<Response<Body>>, Error> {
        let Some(wanted) = self.wanted(plan, locator) else {
            return Ok(None);
        };
        let fields = exchange.accept();
        let expected = Expected::of(wanted.sub_resource, exchange.query(), &fields);
        let is_expected = wanted.ground != Ground::NotRefused || expected.is_some();
        if !is_expected || (wanted.ground != Ground::Listed && !is_plain(exchange)) {
            return Ok(None);
        }
        let Some(forwarded) = self.ask_source(exchange, &wanted, &plan.hop).await else {
            return Ok(None);
        };
        let no_links = Links::new(Vec::new(), forwarded.document, locator.base.root());
        let (media_type, body) = (&forwarded.media_type, forwarded.body);
        let presented = match (wanted.ground, expected) {
            (Ground::NotRefused, Some(expected)) => {
                let is_expected = |wrapping, of: &MediaType| {
                    let is_part = wrapping == Wrapping::Part;
                    expected.is_met(is_part, of)
                };
                let boundary = boundary()?;
                forwarded::expected(media_type, body, boundary, no_links, &is_expected).await
            }
            // A report in HTML needs rules of its own, which do not cross.
            (Ground::Told, _) if media_type.essence() == "text/html" => return Ok(None),
            (Ground::Listed | Ground::Told | Ground::NotRefused, _) => {
                forwarded::payload(media_type, body, boundary()?, no_links)
            }
        };
        self.learn(&wanted, presented.is_ok());
        let presented = match presented {
            Ok(presented) => self.followed(presented, wanted, &plan.hop),
            Err(Unsuitable) => return Ok(None),
        };
        let mut response = response(presented, Missing::Nothing, &locator.url())?;
        response.headers_mut().extend([SANDBOX]);
        Ok(Some(response))
    }

    /// What a source is asked for; `None` if it does not offer that. The thumbnail of a series is
    /// that of the instance in its middle.
    fn wanted<'a>(&self, plan: &Plan, locator: &'a Locator) -> Option<Wanted<'a>> {
        let sub_resource = &locator.sub_resource;
        if *sub_resource == SubResource::Metadata {
            return None;
        }
        let (job, is_of_many) = match (&plan.jobs[..], &locator.target) {
            ([job], Target::Instance(..)) => (job.clone(), false),
            ([job, ..], Target::Series(..) | Target::Study(_))
                if *sub_resource == SubResource::Thumbnail =>
            {
                let only = Some(job.listing.middle()?.clone());
                let middle = Job {
                    only,
                    ..job.clone()
                };
                (middle, true)
            }
            _ => return None,
        };
        let offer = sub_resource.offer();
        let ground = self.ground(&job, offer, &plan.hop)?;
        // Links to bulk data are this gateway's own: only another one knows them.
        let is_link = matches!(sub_resource, SubResource::Bulkdata(_));
        match ground {
            Ground::Listed if is_of_many || is_link => return None,
            Ground::NotRefused if offer == Offer::Bulkdata => return None,
            // What is looked at again is fetched.
            Ground::Told | Ground::NotRefused if self.retriever.has_passed(&job) => return None,
            Ground::Listed | Ground::Told | Ground::NotRefused => {}
        }
        Some(Wanted {
            target: job.listing.instance(job.only.as_ref()?),
            job,
            sub_resource,
            ground,
        })
    }

    /// The answer of a source; `None` if it gives none, or a partial one.
    async fn ask_source(
        &self,
        exchange: &Exchange<'_>,
        wanted: &Wanted<'_>,
        hop: &Arc<Hop>,
    ) -> Option<Forwarded> {
        let request = ResourceRequest {
            target: &wanted.target,
            sub_resource: wanted.sub_resource,
            query: &xc_wado::query_for(wanted.sub_resource, exchange.query()),
            accept: &accept::anew(&exchange.accept()),
            hop,
        };
        let (source, offer) = (&wanted.job.source, wanted.sub_resource.offer());
        if wanted.ground != Ground::Listed && !self.retriever.may_try(source, offer) {
            return None;
        }
        match self.retriever.forward(source, &request).await {
            Ok(forwarded) => (!forwarded.is_partial).then_some(forwarded),
            Err(error) => {
                if error.is_refusal() {
                    self.learn(wanted, false);
                }
                None
            }
        }
    }

    fn learn(&self, wanted: &Wanted<'_>, is_given: bool) {
        if wanted.ground != Ground::Listed {
            let offer = wanted.sub_resource.offer();
            let source = &wanted.job.source;
            self.retriever.learn_offer(source, offer, is_given);
        }
    }

    /// The same answer; at its end the series is fetched, as after a request for an instance.
    /// Before that it would delay the answer.
    fn followed(&self, presented: Presented, wanted: Wanted<'_>, hop: &Arc<Hop>) -> Presented {
        let Wanted { job, ground, .. } = wanted;
        if ground == Ground::Listed {
            return presented;
        }
        self.retriever.note_passed(&job);
        let (retriever, hop) = (self.retriever.clone(), Arc::clone(hop));
        let look_ahead = move |_bytes, end| {
            // A body may end after its runtime.
            if end == End::Complete && Handle::try_current().is_ok() {
                retriever.look_ahead(&job, &hop);
            }
        };
        Presented {
            content_type: presented.content_type,
            body: presented.body.watched(|_bytes| {}, look_ahead),
        }
    }
}
