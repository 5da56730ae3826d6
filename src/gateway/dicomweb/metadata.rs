//! *Retrieve Metadata* (PS3.18 10.4.1.1.2).

use std::sync::Arc;

use bytes::Bytes;
use http::{Response, StatusCode};

use crate::body::{self, Body};
use crate::budget::Share;
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
use crate::present::metadata::{self, View};
use crate::request::{MetadataForm, accept, search};
use crate::resource::Target;
use crate::retrieve::Missing;
use crate::search::Include;

/// The metadata of some series as their sources describe them, held by the memory that they take.
#[derive(Debug)]
pub(crate) struct SourceMetadata {
    pub(crate) described: Vec<Bytes>,
    pub(crate) share: Share,
}

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
        selected: SelectedInstances,
        locator: &Locator,
    ) -> Result<Response<Body>, Error> {
        let representation = Representation::of(exchange)?;
        let (location, gzip) = (locator.url(), representation.gzip);
        if let Some(metadata) = self.source_metadata(&selected, locator.base.root()).await {
            let presented = from_source(metadata, representation, locator.base.root())?;
            let mut response = response(presented, Missing::Nothing, &location)?;
            state_coding(&mut response, gzip);
            return Ok(response);
        }
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
            warn(
                &mut response,
                "1 instance cannot be read: its metadata name it only",
            )?;
            *response.status_mut() = StatusCode::PARTIAL_CONTENT;
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
    let presented = metadata::metadata(Some(first), instances, describing, format, view);
    Ok((presented, is_read))
}

/// Metadata that sources have described.
fn from_source(
    metadata: SourceMetadata,
    representation: Representation,
    root: &str,
) -> Result<Presented, Error> {
    let SourceMetadata { described, share } = metadata;
    let include = representation.include.as_ref();
    let rows = described
        .iter()
        .map(|described| metadata::given(described, root, include))
        .collect::<Result<Vec<_>, _>>()?;
    let format = metadata_format(representation.form, representation.gzip)?;
    let mut presented = metadata::rows(format, rows.into_iter());
    presented.body = presented.body.watched(|_| {}, |_, _| drop(share));
    Ok(presented)
}

/// `includefield` and its plural, which PS3.18 has for metadata.
fn included(query: Option<&str>) -> Result<Option<Include>, Error> {
    let query = query.map(|query| query.replace("includefields=", "includefield="));
    let parsed = search(query.as_deref())?;
    let include = parsed.query.include;
    let is_all = include.is_empty() || include == Include::All;
    Ok((!is_all).then_some(include))
}
