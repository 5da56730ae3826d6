//! *Retrieve Metadata* (PS3.18 10.4.1.1.2).

use bytes::Bytes;
use http::Response;
use http::request::Parts;

use super::answer::response;
use super::derive::{encoded, takes_gzip, written};
use super::place::Place;
use super::{Error, Gateway, accept_fields};
use crate::body::{self, Body};
use crate::cache::Derived;
use crate::dicom::TransferSyntaxes;
use crate::instance::{Instance, Instances, Target};
use crate::object::{self, Extent, skim};
use crate::present::metadata::{self, describe};
use crate::request::{MetadataForm, accept, search};
use crate::retrieve::{Missing, Plan};
use crate::search::Include;
use crate::sub_resource::SubResource;

impl Gateway {
    pub(super) async fn metadata(
        &self,
        head: &Parts,
        plan: Plan,
        place: Place,
        target: &Target,
    ) -> Result<Response<Body>, Error> {
        let form = accept::metadata(head.uri.query(), &accept_fields(head))?;
        let include = included(head.uri.query())?;
        let gzip = form == MetadataForm::Json && takes_gzip(&head.headers);
        let form = written(form, gzip)?;
        if let Some(offered) = self.offered_metadata(&plan, &place).await {
            return given((offered, include), (form, gzip), &place, target);
        }
        let (mut instances, missing) = match target {
            // A file is opened where it is, and its pixels are not read.
            Target::Instance(..) => {
                let instance = self.one(plan)?.open().await?;
                (Instances::of(instance), Missing::Nothing)
            }
            Target::Study(_) | Target::Series(..) => {
                let starting = self.retriever.start(plan, TransferSyntaxes::AsStored);
                let retrieval = starting.await?;
                (retrieval.instances, retrieval.missing)
            }
        };
        let derived = self.retriever.cache().derived().clone();
        // What is wrong with the first is an error that can still be told.
        let first = instances.next().await?.ok_or(body::Error::Missing(1))?;
        let first = described(&derived, first).await?;
        let describing = move |instance| {
            let derived = derived.clone();
            async move { Ok(described(&derived, instance).await?) }
        };
        let how = (form, place.root().to_owned(), include);
        let presented = metadata::metadata(Some(first), instances, describing, how);
        let location = place.of_sub_resource(target, &SubResource::Metadata);
        let mut response = response(presented, missing, &location)?;
        self.keepable(&mut response, missing);
        encoded(&mut response, gzip);
        Ok(response)
    }
}

/// Metadata that sources have made, as an answer.
fn given(
    (described, include): (Vec<Bytes>, Option<Include>),
    (form, gzip): (metadata::Form, bool),
    place: &Place,
    target: &Target,
) -> Result<Response<Body>, Error> {
    let rows = described
        .iter()
        .map(|described| metadata::given(described, place.root(), include.as_ref()))
        .collect::<Result<Vec<_>, _>>()?;
    let presented = metadata::rows(form, rows.into_iter());
    let location = place.of_sub_resource(target, &SubResource::Metadata);
    let mut response = response(presented, Missing::Nothing, &location)?;
    encoded(&mut response, gzip);
    Ok(response)
}

/// The metadata of an instance, worked out unless they are kept.
pub(super) async fn described(
    derived: &Derived,
    instance: Instance,
) -> Result<Bytes, object::Error> {
    if let Some(kept) = instance
        .digest()
        .and_then(|digest| derived.metadata(&digest))
    {
        return Ok(kept);
    }
    let target = instance.identity.target();
    let digest = instance.digest();
    let with_digest = digest.is_none();
    let skimmed = skim(instance.body, Extent::Whole, with_digest).await?;
    let described = describe(&skimmed, &target)?;
    if let Some(digest) = digest.or(skimmed.sha256) {
        derived.keep_metadata(digest, described.clone());
    }
    Ok(described)
}

/// `includefield` and its plural, which PS3.18 has for metadata.
fn included(query: Option<&str>) -> Result<Option<Include>, Error> {
    let query = query.map(|query| query.replace("includefields=", "includefield="));
    let parsed = search(query.as_deref())?;
    let wanted = parsed.query.include;
    let is_all = wanted.is_empty() || wanted == Include::All;
    Ok((!is_all).then_some(wanted))
}
