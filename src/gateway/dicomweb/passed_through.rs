//! Sub-resources that a source offers itself (`offers` in its settings). If it fails to give one,
//! the gateway makes it of instances.

use bytes::{Bytes, BytesMut};
use http::Response;
use http::header::HeaderValue;

use crate::body::Body;
use crate::budget::Share;
use crate::derive::SelectedInstances;
use crate::gateway::dicomweb::metadata::SourceMetadata;
use crate::gateway::dicomweb::source_patient::patient_of;
use crate::gateway::edge::exchange::Exchange;
use crate::gateway::edge::link::Locator;
use crate::gateway::edge::response::{SANDBOX, boundary, response};
use crate::gateway::{Error, Gateway};
use crate::instance::Listing;
use crate::object::LEAST_KEPT;
use crate::present::{adopted, forwarded};
use crate::request::{accept, xc_wado};
use crate::resource::{Offer, SubResource, Target};
use crate::retrieve::{Forwarded, Job, Missing, Plan};
use crate::rewrite::Links;
use crate::source::ResourceRequest;

/// Most bytes of metadata of one series that are taken from a source.
const MOST_METADATA: usize = 64 << 20;

impl Gateway {
    /// The metadata of all selected instances, if every source offers them and gives them whole.
    pub(crate) async fn source_metadata(
        &self,
        selected: &SelectedInstances,
        root: &str,
    ) -> Option<SourceMetadata> {
        let plan = &selected.plan;
        let is_offered = |job: &Job| self.is_offered(job, Offer::Metadata);
        if plan.jobs.is_empty() || plan.not_locatable > 0 || !plan.jobs.iter().all(is_offered) {
            return None;
        }
        let mut described = Vec::new();
        let mut share = selected.context.account.share(LEAST_KEPT).await.ok()?;
        for job in &plan.jobs {
            let json = self.metadata_of(job, plan, &mut share).await?;
            let adopted = adopt(&json, job, root)?;
            // In doubt, the instances themselves tell.
            if !adopted.iter().all(|json| self.is_of_patient(job, json)) {
                return None;
            }
            described.extend(adopted);
            let held: usize = described.iter().map(Bytes::len).sum();
            share.shrink(held as u64);
        }
        Some(SourceMetadata { described, share })
    }

    fn is_of_patient(&self, job: &Job, json: &[u8]) -> bool {
        patient_of(json).is_some_and(|found| {
            let patient = job.patient.as_ref();
            self.retriever.is_beyond_doubt(patient, &found)
        })
    }

    /// The metadata of one series, as its source sends them.
    async fn metadata_of(&self, job: &Job, plan: &Plan, share: &mut Share) -> Option<Bytes> {
        let before = share.bytes();
        let target = match &job.only {
            Some(uid) => job.listing.instance(uid),
            None => job.listing.target(),
        };
        let request = ResourceRequest {
            target: &target,
            sub_resource: &SubResource::Metadata,
            query: "",
            accept: &HeaderValue::from_static("application/dicom+json"),
            hop: &plan.hop,
        };
        let mut forwarded = self.ask_source(job, &request).await?;
        let mut json = BytesMut::new();
        while let Some(chunk) = forwarded.body.chunk().await.ok()? {
            if json.len() + chunk.len() > MOST_METADATA {
                return None;
            }
            // The text, once more while it moves, and the descriptions that are cut out of it.
            let length = (json.len() + chunk.len()) as u64;
            share.grow(before + length * 3).await.ok()?;
            json.extend_from_slice(&chunk);
        }
        Some(json.freeze())
    }

    /// Frames, pixel data or pictures of one instance, if its source offers and gives them.
    pub(crate) async fn passed_through(
        &self,
        exchange: &Exchange<'_>,
        plan: &Plan,
        locator: &Locator,
    ) -> Result<Option<Response<Body>>, Error> {
        let sub_resource = &locator.sub_resource;
        let ([job], Target::Instance(..)) = (&plan.jobs[..], &locator.target) else {
            return Ok(None);
        };
        // Links to bulk data are the gateway's own: a source does not know them.
        let is_ours = matches!(
            sub_resource,
            SubResource::Bulkdata(_) | SubResource::Metadata
        );
        if is_ours || !self.is_offered(job, sub_resource.offer()) {
            return Ok(None);
        }
        let request = ResourceRequest {
            target: &locator.target,
            sub_resource,
            query: &xc_wado::query_for(sub_resource, exchange.query()),
            accept: &accept::anew(&exchange.accept()),
            hop: &plan.hop,
        };
        let Some(forwarded) = self.ask_source(job, &request).await else {
            return Ok(None);
        };
        let no_links = Links::new(Vec::new(), forwarded.document, locator.base.root());
        let (media_type, body) = (&forwarded.media_type, forwarded.body);
        let Ok(presented) = forwarded::payload(media_type, body, boundary()?, no_links) else {
            return Ok(None);
        };
        let mut response = response(presented, Missing::Nothing, &locator.url())?;
        response.headers_mut().extend([SANDBOX]);
        Ok(Some(response))
    }

    /// Whether a source is asked for a sub-resource. Instances in a tier are nearer than the
    /// source.
    fn is_offered(&self, job: &Job, offer: Offer) -> bool {
        self.registry.offers(&job.source, offer) && self.retriever.must_ask(job)
    }

    /// The answer of a source; `None` if it gives none, or a partial one.
    async fn ask_source(&self, job: &Job, request: &ResourceRequest<'_>) -> Option<Forwarded> {
        let forwarded = self.retriever.forward(&job.source, request).await.ok()?;
        (!forwarded.is_partial).then_some(forwarded)
    }
}

/// The descriptions of a job's instances, in the order of the manifest; `None` if any is missing.
fn adopt(json: &[u8], job: &Job, root: &str) -> Option<Vec<Bytes>> {
    let listing: &Listing = &job.listing;
    let target_of = |uid: &str| {
        let (uid, _) = listing.instances.get_key_value(uid)?;
        let is_selected = job.only.as_ref().is_none_or(|only| only == uid);
        is_selected.then(|| listing.instance(uid))
    };
    let mut adopted = adopted::adopted(json, root, target_of).ok()?;
    let mut selected: Vec<_> = match &job.only {
        Some(uid) => vec![(uid, 0)],
        None => listing
            .instances
            .iter()
            .map(|(uid, at)| (uid, *at))
            .collect(),
    };
    selected.sort_by_key(|(_, at)| *at);
    let described = selected.into_iter().map(|(uid, _)| adopted.remove(uid));
    let described: Option<Vec<_>> = described.collect();
    if described.is_none() {
        let location = &*job.source.alias;
        tracing::info!(
            location,
            "a source's metadata lack instances of the manifest"
        );
    }
    described
}
