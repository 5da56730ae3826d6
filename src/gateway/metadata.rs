//! *Retrieve Metadata* (PS3.18 10.4.1.1.2).

use std::sync::Arc;

use bytes::Bytes;
use http::Response;
use http::request::Parts;

use super::answer::response;
use super::coding::{encoded, takes_gzip};
use super::conditional::EntityTag;
use super::derive::written;
use super::material::{Context, Material};
use super::one::broken_off;
use super::place::Place;
use super::{Error, Gateway, accept_fields, conditional};
use crate::body::{self, Body};
use crate::budget::Share;
use crate::dicom::TransferSyntaxes;
use crate::instance::{Instance, Instances, Target};
use crate::object::{Extent, LEAST_KEPT, skim};
use crate::present::metadata::{self, Described, View, describe};
use crate::request::{MetadataForm, accept, search};
use crate::retrieve::Missing;
use crate::search::Include;
use crate::sub_resource::SubResource;

impl Gateway {
    pub(super) async fn metadata(
        &self,
        head: &Parts,
        material: Material,
        place: Place,
        target: &Target,
    ) -> Result<Response<Body>, Error> {
        let form = accept::metadata(head.uri.query(), &accept_fields(head))?;
        let include = included(head.uri.query())?;
        let gzip = form == MetadataForm::Json && takes_gzip(&head.headers);
        let location = place.of_sub_resource(target, &SubResource::Metadata);
        let representation = format!("{form:?} {gzip} {include:?} below {}", place.root());
        let form = written(form, gzip)?;
        if let Some(offered) = self.offered_metadata(&material, &place).await {
            return given((offered, include), (form, gzip), &place, target);
        }
        let mut tag = None;
        let (mut instances, missing) = match target {
            // A file is opened where it is, and its pixels are not read.
            Target::Instance(..) => {
                let instance = material.one()?.open().await?;
                let digest = instance.digest();
                tag = digest.map(|digest| EntityTag::made(digest, &representation));
                if let Some(mut unchanged) = self.unchanged(head, &location, tag.as_ref())? {
                    encoded(&mut unchanged, false);
                    return Ok(unchanged);
                }
                (Instances::of(instance), Missing::Nothing)
            }
            Target::Study(_) | Target::Series(..) => {
                let starting = self
                    .retriever
                    .start(material.plan, TransferSyntaxes::AsStored);
                let retrieval = starting.await?;
                (retrieval.instances, retrieval.missing)
            }
        };
        let context = material.context;
        // What is wrong with the first is an error that can still be told.
        let first = instances.next().await?.ok_or(body::Error::Missing(1))?;
        let first = described(&context, first).await?;
        let context = context.patient();
        let describing = move |instance| {
            let context = Arc::clone(&context);
            async move { described(&context, instance).await.map_err(broken_off) }
        };
        let view = View {
            root: place.root().to_owned(),
            include,
        };
        let presented = metadata::metadata(Some(first), instances, describing, form, view);
        let mut response = response(presented, missing, &location)?;
        self.keepable(&mut response, missing);
        encoded(&mut response, gzip);
        if missing != Missing::Nothing {
            return Ok(response);
        }
        Ok(conditional::whole(&head.headers, tag.as_ref(), response))
    }
}

/// Metadata that sources have made, as an answer.
fn given(
    ((described, share), include): ((Vec<Bytes>, Share), Option<Include>),
    (form, gzip): (metadata::Format, bool),
    place: &Place,
    target: &Target,
) -> Result<Response<Body>, Error> {
    let rows = described
        .iter()
        .map(|described| metadata::given(described, place.root(), include.as_ref()))
        .collect::<Result<Vec<_>, _>>()?;
    let mut presented = metadata::rows(form, rows.into_iter());
    presented.body = presented.body.watched(|_| {}, |_, _| drop(share));
    let location = place.of_sub_resource(target, &SubResource::Metadata);
    let mut response = response(presented, Missing::Nothing, &location)?;
    encoded(&mut response, gzip);
    Ok(response)
}

/// The metadata of an instance, worked out unless they are kept.
pub(super) async fn described(context: &Context, instance: Instance) -> Result<Described, Error> {
    let derived = context.retriever.cache().derived();
    if let Some(json) = instance
        .digest()
        .and_then(|digest| derived.metadata(&digest))
    {
        // It stays in memory while it is written, also if it is not kept any longer.
        let share = context.account.share(json.len() as u64).await?;
        return Ok(Described { json, share });
    }
    let target = instance.identity.target();
    let digest = instance.digest();
    let with_digest = digest.is_none();
    let share = context.account.share(LEAST_KEPT).await?;
    let skimmed = skim(instance.body, Extent::Whole, with_digest, share).await?;
    let digest = digest.or(skimmed.sha256);
    let described = describe(skimmed, &target).await?;
    if let Some(digest) = digest {
        derived.keep_metadata(digest, described.json.clone());
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
