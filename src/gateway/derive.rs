//! What viewers ask for besides instances: which of it is made where, and what all of it has in common.

use std::sync::Arc;

use http::header::{ACCEPT_ENCODING, CACHE_CONTROL, CONTENT_ENCODING, HeaderValue, VARY};
use http::request::Parts;
use http::{HeaderMap, Response};

use super::all_values::Which;
use super::answer::response;
use super::one::One;
use super::{Asking, Error, Gateway, boundary, conditional};
use crate::body::Body;
use crate::instance::Target;
use crate::present::Presented;
use crate::present::metadata::Form;
use crate::request::{MetadataForm, Root};
use crate::retrieve::{Missing, Plan};
use crate::sub_resource::{BulkdataPath, FrameForm, SubResource};

const PIXEL_DATA: &str = "7FE00010";

impl Gateway {
    /// Something that is made of instances.
    pub(super) async fn derive(
        &self,
        head: &Parts,
        asking: &Asking,
        root: Root,
        (target, resource): (&Target, &SubResource),
    ) -> Result<Response<Body>, Error> {
        let holding = self.holding(root, target.study()).await?;
        let plan = self.plan(&holding, target, asking)?;
        let place = asking.root_place(root);
        let what = (&place, target, resource);
        if let Some(response) = self.offered(head, &plan, what).await? {
            return Ok(response);
        }
        match resource {
            SubResource::Metadata => self.metadata(head, plan, place, target).await,
            SubResource::Frames(frames, FrameForm::Pixels) => {
                let one = self.one(plan)?;
                self.frames(head, one, place, (target, frames)).await
            }
            SubResource::Pixeldata if !matches!(target, Target::Instance(..)) => {
                let location = place.of_sub_resource(target, resource);
                self.all_values(head, plan, (place, &location), Which::PixelData)
                    .await
            }
            SubResource::Bulkdata(path) if path.is_all() => {
                let location = place.of_sub_resource(target, resource);
                self.all_values(head, plan, (place, &location), Which::All)
                    .await
            }
            SubResource::Pixeldata => {
                let one = self.one(plan)?;
                self.bulkdata(head, one, place, (target, resource, PIXEL_DATA))
                    .await
            }
            SubResource::Bulkdata(path) => {
                let one = self.one(plan)?;
                let path = value_path(path);
                self.bulkdata(head, one, place, (target, resource, &path))
                    .await
            }
            SubResource::Rendered
            | SubResource::Thumbnail
            | SubResource::Frames(_, FrameForm::Rendered | FrameForm::Thumbnail) => {
                self.rendered(head, plan, place, (target, resource)).await
            }
        }
    }

    /// The one instance that is asked for.
    pub(super) fn one(&self, plan: Plan) -> Result<One, Error> {
        let mut jobs = plan.jobs.into_iter();
        match (jobs.next(), jobs.next()) {
            (Some(job), None) if job.only.is_some() => {
                Ok(One::new(self.retriever.clone(), job, plan.hop))
            }
            (None, _) if plan.not_locatable > 0 => Err(crate::retrieve::Error::NotLocatable.into()),
            _ => Err(Error::OfInstancesOnly),
        }
    }

    /// All instances that are asked for, in their order.
    pub(super) fn ones(&self, plan: &Plan) -> Result<Vec<(One, Target)>, Error> {
        if plan.jobs.is_empty() {
            return Err(crate::retrieve::Error::NotLocatable.into());
        }
        let mut ones = Vec::new();
        for job in &plan.jobs {
            let is_asked_for = |uid: &_| job.only.as_ref().is_none_or(|only| only == uid);
            let instances = job.listing.instances.iter();
            let mut uids: Vec<_> = instances.filter(|(uid, _)| is_asked_for(uid)).collect();
            uids.sort_by_key(|(_, number)| **number);
            for (uid, _) in uids {
                let mut job = job.clone();
                let target = job.listing.instance(uid);
                job.only = Some(uid.clone());
                let one = One::new(self.retriever.clone(), job, Arc::clone(&plan.hop));
                ones.push((one, target));
            }
        }
        Ok(ones)
    }

    /// Whoever may keep instances may keep what is made of them.
    pub(super) fn keepable(&self, response: &mut Response<Body>, missing: Missing) {
        if missing == Missing::Nothing {
            let headers = response.headers_mut();
            headers.insert(CACHE_CONTROL, self.cache_control.clone());
        }
    }

    /// An answer of one part that is not wrapped, or a range of its bytes.
    pub(super) fn alone(
        &self,
        head: &Parts,
        presented: Presented,
        location: &str,
    ) -> Result<Response<Body>, Error> {
        let mut response = response(presented, Missing::Nothing, location)?;
        self.keepable(&mut response, Missing::Nothing);
        Ok(conditional::answer(
            (&head.method, &head.headers),
            None,
            response,
        ))
    }
}

pub(super) fn written(form: MetadataForm, gzip: bool) -> Result<Form, Error> {
    Ok(match form {
        MetadataForm::Json => Form::Json { gzip },
        MetadataForm::Xml => Form::Xml(boundary()?),
    })
}

/// Whether the answer may be compressed (RFC 9110 12.5.3).
pub(super) fn takes_gzip(headers: &HeaderMap) -> bool {
    let fields = headers.get_all(ACCEPT_ENCODING).iter();
    let mut codings = fields
        .filter_map(|field| field.to_str().ok())
        .flat_map(|field| field.split(','));
    codings.any(|coding| {
        let mut pieces = coding.split(';').map(str::trim);
        let is_gzip = matches!(pieces.next(), Some("gzip" | "x-gzip" | "*"));
        is_gzip && !pieces.any(|weight| matches!(weight, "q=0" | "q=0.0" | "q=0.00" | "q=0.000"))
    })
}

pub(super) fn encoded(response: &mut Response<Body>, gzip: bool) {
    let headers = response.headers_mut();
    headers.insert(VARY, HeaderValue::from_static("accept, accept-encoding"));
    if gzip {
        headers.insert(CONTENT_ENCODING, HeaderValue::from_static("gzip"));
    }
}

/// The path of a value, without the `bulkdata/` before it.
fn value_path(path: &BulkdataPath) -> String {
    let path = path.to_string();
    path.split_once('/').map_or("", |(_, rest)| rest).to_owned()
}
