//! What sources offer themselves of what is otherwise made of instances, where settings say so
//! (`offers`). What they do not give after all is made here.

use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use http::Response;
use http::header::HeaderValue;
use http::request::Parts;

use super::answer::response;
use super::forward::POLICY;
use super::material::Material;
use super::place::Place;
use super::{Error, Gateway, accept_fields, boundary};
use crate::body::Body;
use crate::budget::Share;
use crate::instance::Target;
use crate::object::LEAST_KEPT;
use crate::present::{adopted, forwarded};
use crate::request::{accept, xc_wado};
use crate::retrieve::{Forwarded, Job, Missing, Plan};
use crate::rewrite::Links;
use crate::source::ResourceRequest;
use crate::sub_resource::{Offer, SubResource};

/// Metadata of one series that are taken from a source.
const MOST_METADATA: usize = 64 << 20;

impl Gateway {
    /// The metadata of everything in a plan, if all its sources offer them and give them all.
    pub(super) async fn offered_metadata(
        &self,
        material: &Material,
        place: &Place,
    ) -> Option<(Vec<Bytes>, Share)> {
        let plan = &material.plan;
        let is_offered = |job: &Job| self.is_offered(job, Offer::Metadata);
        if plan.jobs.is_empty() || plan.not_locatable > 0 || !plan.jobs.iter().all(is_offered) {
            return None;
        }
        let mut all = Vec::new();
        let mut share = material.context.account.share(LEAST_KEPT).await.ok()?;
        for job in &plan.jobs {
            all.extend(self.metadata_of(job, plan, place, &mut share).await?);
            let held: usize = all.iter().map(Bytes::len).sum();
            share.shrink(held as u64);
        }
        Some((all, share))
    }

    async fn metadata_of(
        &self,
        job: &Job,
        plan: &Plan,
        place: &Place,
        share: &mut Share,
    ) -> Option<Vec<Bytes>> {
        let before = share.bytes();
        let target = match &job.only {
            Some(uid) => job.listing.instance(uid),
            None => job.listing.target(),
        };
        let accept = HeaderValue::from_static("application/dicom+json");
        let wanted = (&SubResource::Metadata, "", &accept);
        let mut forwarded = self.ask_source(job, plan, &target, wanted).await?;
        let mut json = BytesMut::new();
        while let Some(chunk) = forwarded.body.chunk().await.ok()? {
            if json.len() + chunk.len() > MOST_METADATA {
                return None;
            }
            // The answer, twice while it moves, and what is taken over of it.
            let length = (json.len() + chunk.len()) as u64;
            share.grow(before + length * 3).await.ok()?;
            json.extend_from_slice(&chunk);
        }
        let listing = &job.listing;
        let target_of = |uid: &str| {
            let (uid, _) = listing.instances.get_key_value(uid)?;
            let is_wanted = job.only.as_ref().is_none_or(|only| only == uid);
            is_wanted.then(|| listing.instance(uid))
        };
        let mut adopted = adopted::adopted(&json, place.root(), target_of).ok()?;
        let mut wanted: Vec<_> = match &job.only {
            Some(uid) => vec![(uid, 0)],
            None => listing
                .instances
                .iter()
                .map(|(uid, at)| (uid, *at))
                .collect(),
        };
        wanted.sort_by_key(|(_, at)| *at);
        let found = wanted.into_iter().map(|(uid, _)| adopted.remove(uid));
        let found: Option<Vec<_>> = found.collect();
        if found.is_none() {
            let location = &*job.source.alias;
            tracing::info!(location, "a source's metadata lack what the manifest lists");
        }
        found
    }

    /// Frames, pixel data or pictures of one instance, as its source gives them.
    pub(super) async fn offered(
        &self,
        head: &Parts,
        plan: &Plan,
        (place, target, resource): (&Place, &Target, &SubResource),
    ) -> Result<Option<Response<Body>>, Error> {
        let ([job], Target::Instance(..)) = (&plan.jobs[..], target) else {
            return Ok(None);
        };
        // Links to bulk data are ours, and mean nothing to a source.
        let is_ours = matches!(resource, SubResource::Bulkdata(_) | SubResource::Metadata);
        if is_ours || !self.is_offered(job, resource.offer()) {
            return Ok(None);
        }
        let accept = accept::anew(&accept_fields(head));
        let query = xc_wado::query_for(resource, head.uri.query());
        let wanted = (resource, &*query, &accept);
        let Some(forwarded) = self.ask_source(job, plan, target, wanted).await else {
            return Ok(None);
        };
        let nowhere = Links::new(Vec::new(), forwarded.document, place.root());
        let (media_type, body) = (&forwarded.media_type, forwarded.body);
        let Ok(presented) = forwarded::payload(media_type, body, boundary()?, nowhere) else {
            return Ok(None);
        };
        let location = place.of_sub_resource(target, resource);
        let mut response = response(presented, Missing::Nothing, &location)?;
        response.headers_mut().extend([POLICY]);
        Ok(Some(response))
    }

    /// Whether a source offers something itself. What is here already is nearer.
    fn is_offered(&self, job: &Job, offer: Offer) -> bool {
        self.registry.offers(&job.source, offer) && self.retriever.must_ask(job)
    }

    /// What a source answers; nothing if it does not, or says that it is only some of it.
    async fn ask_source(
        &self,
        job: &Job,
        plan: &Plan,
        target: &Target,
        (sub_resource, query, accept): (&SubResource, &str, &HeaderValue),
    ) -> Option<Forwarded> {
        let hop = Arc::clone(&plan.hop);
        let wanted = ResourceRequest {
            target,
            sub_resource,
            query,
            accept,
            hop: &hop,
        };
        let forwarded = self.retriever.forward(&job.source, &wanted).await.ok()?;
        (!forwarded.is_partial).then_some(forwarded)
    }
}
