//! *Retrieve Metadata* (PS3.18 10.4.1.1.2).

use std::sync::Arc;

use http::{Response, StatusCode};

use crate::body::{self, Body};
use crate::derive::{Context, SelectedInstances, described, described_or_named};
use crate::dicom::TransferSyntaxes;
use crate::gateway::dicomweb::metadata_format;
use crate::gateway::edge::conditional::{self, EntityTag};
use crate::gateway::edge::exchange::Exchange;
use crate::gateway::edge::link::Locator;
use crate::gateway::edge::response::{accepts_gzip, response, state_coding, warn};
use crate::gateway::{Error, Gateway};
use crate::instance::{Instance, Instances};
use crate::present::Presented;
use crate::present::metadata::{self, Described, View};
use crate::request::{MetadataForm, accept, search};
use crate::resource::Target;
use crate::retrieve::{Missing, RelayRequest};
use crate::search::Include;

/// The representation of metadata that a client accepts.
struct Representation {
    form: MetadataForm,
    gzip: bool,
    include: Option<Include>,
}

impl Gateway {
    /// The metadata of a target: as its sources describe it if they offer that, or read here.
    pub(crate) async fn metadata(
        &self,
        exchange: &Exchange<'_>,
        mut selected: SelectedInstances,
        locator: &Locator,
    ) -> Result<Response<Body>, Error> {
        let representation = Representation::of(exchange)?;
        let given = self
            .source_metadata(&mut selected, locator.base.root())
            .await;
        if !given.is_empty() {
            return self
                .completed(given, selected, representation, locator)
                .await;
        }
        let (location, gzip) = (locator.url(), representation.gzip);
        let mut tag = None;
        let (instances, missing) = match &locator.target {
            // The file of an instance is opened in place, and its pixel data are not read.
            Target::Instance(..) => {
                let opened = selected.single()?.open().await?;
                let name = representation.name(locator.base.root());
                tag = opened.digest().map(|digest| EntityTag::made(digest, &name));
                if let Some(mut unchanged) = self.unchanged(exchange, &location, tag.as_ref())? {
                    state_coding(&mut unchanged, false);
                    return Ok(unchanged);
                }
                (Instances::of(opened), Missing::Nothing)
            }
            Target::Study(_) | Target::Series(..) => {
                let plan = selected.plan;
                self.retriever.pictures_first(&plan);
                let starting = self.retriever.start(plan, TransferSyntaxes::AsStored);
                let retrieval = starting.await?;
                (retrieval.instances, retrieval.missing)
            }
        };
        let (presented, is_read) =
            described_all(selected.context, instances, representation, locator).await?;
        let mut response = response(presented, missing, &location)?;
        if is_read {
            self.permit_caching(&mut response, missing);
        } else {
            warn_of_unread(&mut response)?;
        }
        state_coding(&mut response, gzip);
        if missing != Missing::Nothing || !is_read {
            return Ok(response);
        }
        Ok(conditional::whole(
            exchange.headers(),
            tag.as_ref(),
            response,
        ))
    }

    /// The metadata of everything that a source has of a target, which no manifest lists.
    pub(crate) async fn relayed_metadata(
        &self,
        exchange: &Exchange<'_>,
        relay: RelayRequest,
        locator: &Locator,
    ) -> Result<Response<Body>, Error> {
        let representation = Representation::of(exchange)?;
        let (context, gzip) = (self.context(exchange), representation.gzip);
        let given = self.all_metadata(&context, &relay, locator.base.root());
        let (presented, missing, is_read) = match given.await {
            Some(given) => {
                let none = Instances::none();
                let presented = presented(&context, given, none, representation, locator)?;
                (presented, Missing::Nothing, true)
            }
            None => {
                let relaying = self.retriever.relay(relay, TransferSyntaxes::AsStored);
                let retrieval = relaying.await.map_err(Error::between_communities)?;
                let described =
                    described_all(context, retrieval.instances, representation, locator);
                let (presented, is_read) = described.await?;
                (presented, retrieval.missing, is_read)
            }
        };
        let mut response = response(presented, missing, &locator.url())?;
        if !is_read {
            warn_of_unread(&mut response)?;
        }
        state_coding(&mut response, gzip);
        Ok(response)
    }

    /// The metadata that sources have given, and those of the other instances, read here.
    async fn completed(
        &self,
        given: Vec<Described>,
        selected: SelectedInstances,
        representation: Representation,
        locator: &Locator,
    ) -> Result<Response<Body>, Error> {
        let SelectedInstances { plan, context } = selected;
        let left = plan.not_locatable + plan.count();
        let selected = given.len() + left;
        let started = match plan.jobs.is_empty() {
            true => None,
            false => {
                self.retriever.pictures_first(&plan);
                let starting = self.retriever.start(plan, TransferSyntaxes::AsStored);
                starting.await.ok()
            }
        };
        let (instances, missing) = match started {
            Some(retrieval) => (retrieval.instances, retrieval.missing.count()),
            None => (Instances::none(), left),
        };
        let missing = match missing {
            0 => Missing::Nothing,
            missing => Missing::Some { missing, selected },
        };
        let gzip = representation.gzip;
        let presented = presented(&context, given, instances, representation, locator)?;
        let mut response = response(presented, missing, &locator.url())?;
        state_coding(&mut response, gzip);
        Ok(response)
    }
}

impl Representation {
    fn of(exchange: &Exchange<'_>) -> Result<Self, Error> {
        let form = accept::metadata(exchange.query(), &exchange.accept())?;
        Ok(Self {
            form,
            gzip: form == MetadataForm::Json && accepts_gzip(exchange.headers()),
            include: included(exchange.query())?,
        })
    }

    /// Tells the entity tags of representations apart.
    fn name(&self, root: &str) -> String {
        let (form, gzip, include) = (&self.form, self.gzip, &self.include);
        format!("{form:?} {gzip} {include:?} below {root}")
    }
}

/// The metadata of instances, read here, and whether the first one could be read: that is done
/// before the response begins, so that its fault still has a status.
async fn described_all(
    context: Arc<Context>,
    mut instances: Instances,
    representation: Representation,
    locator: &Locator,
) -> Result<(Presented, bool), Error> {
    let first = instances.next().await?.ok_or(body::Error::Missing(1))?;
    let first = match locator.target {
        Target::Instance(..) => described(&context, first).await?,
        Target::Study(_) | Target::Series(..) => described_or_named(&context, first).await?,
    };
    let is_read = first.is_read;
    let presented = presented(&context, vec![first], instances, representation, locator)?;
    Ok((presented, is_read))
}

/// States that the first instance could not be read.
fn warn_of_unread(response: &mut Response<Body>) -> Result<(), Error> {
    let text = "1 instance cannot be read: its metadata name it only";
    warn(response, text)?;
    *response.status_mut() = StatusCode::PARTIAL_CONTENT;
    Ok(())
}

/// Metadata that are there, then those of instances.
fn presented(
    context: &Context,
    first: Vec<Described>,
    instances: Instances,
    representation: Representation,
    locator: &Locator,
) -> Result<Presented, Error> {
    let context = context.patient();
    let describing = move |instance: Instance| {
        let context = Arc::clone(&context);
        async move { Ok(described_or_named(&context, instance).await?) }
    };
    let format = metadata_format(representation.form, representation.gzip)?;
    let view = View {
        root: locator.base.root().to_owned(),
        include: representation.include,
    };
    Ok(metadata::metadata(
        first, instances, describing, format, view,
    ))
}

/// `includefield` and its plural, which PS3.18 has for metadata.
fn included(query: Option<&str>) -> Result<Option<Include>, Error> {
    let query = query.map(|query| query.replace("includefields=", "includefield="));
    let parsed = search(query.as_deref())?;
    let include = parsed.query.include;
    let is_all = include.is_empty() || include == Include::All;
    Ok((!is_all).then_some(include))
}
