//! `manifests/{id}/viewers`: documents and links that open a manifest in a viewer.

use std::sync::Arc;

use http::{Method, Response};
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use serde::Deserialize;
use serde_json::{Map, Value, json};
use url::Url;

use crate::body::{self, Body};
use crate::derive::{Context, described};
use crate::dicom::TransferSyntaxes;
use crate::gateway::edge::exchange::Exchange;
use crate::gateway::edge::response::{json_document, streamed_document};
use crate::gateway::manifests::summary::with_list;
use crate::gateway::{Error, Gateway};
use crate::manifest::{Id, Registered, Series, instance_row, series_row, study_row};
use crate::present::document::{Writer, document};
use crate::present::viewers::{self, OhifInstance};
use crate::present::{metadata, weasis};
use crate::request::link::LinkRequest;
use crate::request::{Root, Viewer, accept};
use crate::resource::Target;
use crate::retrieve::{Missing, Plan};

/// `[viewers]`.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Settings {
    /// The URL of an OHIF viewer with configured data sources `dicomwebproxy` and `dicomjson`.
    pub ohif_url: Option<Url>,
    /// Where an image display is that takes IHE Invoke Image Display (RAD-106) requests.
    pub invoke_image_display_url: Option<Url>,
    /// Whether the response gives the Display URIs of manifests. They lead to other servers, and
    /// may contain a session token.
    pub display_uris: bool,
}

impl Gateway {
    /// `GET manifests/{id}/viewers`.
    pub(crate) async fn viewers(
        &self,
        exchange: &Exchange<'_>,
        id: Id,
    ) -> Result<Response<Body>, Error> {
        accept::json(&exchange.accept())?;
        let manifest = self.manifest(exchange, id).await?;
        let url = self.hand_off_url(exchange, id).await?;
        let root = format!("{url}/dicomweb");
        let link = |viewer: Viewer| format!("{url}/viewers/{}", viewer.name());
        let (proxy, json) = (link(Viewer::OhifProxy), link(Viewer::OhifJson));
        let for_weasis = link(Viewer::Weasis);
        let studies = studies(&manifest);
        let mut ohif = json!({ "dicomwebproxy": proxy, "dicomjson": json });
        if let Some(url) = &self.viewers.ohif_url {
            let url = url.as_str().trim_end_matches('/');
            let (proxy, json) = (escaped(&proxy), escaped(&json));
            let uids = studies.join(",");
            ohif["open"] = format!(
                "{url}/viewer/dicomwebproxy?studyInstanceUIDs={}&url={proxy}",
                studies.join(";")
            )
            .into();
            ohif["open_dicomjson"] =
                format!("{url}/viewer/dicomjson?StudyInstanceUIDs={uids}&url={json}").into();
        }
        let mut document = json!({
            "dicomweb": root,
            "wado_uri": format!("{url}/wado"),
            "needs": needs(&root, exchange.base_url(Root::All).root()),
            "ohif": ohif,
            "weasis": {
                "manifest": for_weasis,
                "open": format!("weasis://{}", escaped(&format!("$dicom:get -w \"{for_weasis}\""))),
            },
        });
        if let Some(url) = &self.viewers.invoke_image_display_url {
            document["invoke_image_display"] = invoke_image_display(url, &studies).into();
        }
        if self.viewers.display_uris {
            let all = manifest.holding.studies.iter();
            let uris: Vec<&str> = all
                .flat_map(|study| study.viewer_urls.iter().map(|url| &**url))
                .filter(|url| is_web(url))
                .collect();
            document["display_uris"] = uris.into();
        }
        Ok(json_document(format!("{document:#}\n")))
    }

    /// The address of a manifest for viewers. Where clients have to identify themselves, it is a new
    /// link: viewers cannot send header fields for pictures, video, and documents.
    async fn hand_off_url(&self, exchange: &Exchange<'_>, id: Id) -> Result<String, Error> {
        let is_needed = exchange.link_url.is_none() && !self.is_for_everybody(exchange, id);
        let makes_links = is_needed && exchange.head.method != Method::HEAD;
        if !makes_links || !self.library.shows(&self.linkable(exchange), id) {
            return Ok(exchange.manifest_url(id));
        }
        let link = self.link(exchange, id, LinkRequest::default()).await?;
        Ok(exchange.link_url(&link.token))
    }

    /// One of the documents.
    pub(crate) async fn viewer(
        &self,
        exchange: &Exchange<'_>,
        id: Id,
        viewer: Viewer,
    ) -> Result<Response<Body>, Error> {
        let manifest = self.manifest(exchange, id).await?;
        let root = exchange.base_url(Root::Manifest(id)).root().to_owned();
        match viewer {
            Viewer::OhifProxy => {
                let document =
                    viewers::ohif_proxy(&root, &format!("{}/wado", exchange.manifest_url(id)));
                Ok(json_document(format!("{document:#}\n")))
            }
            Viewer::OhifJson => self.ohif_json(exchange, manifest, root).await,
            Viewer::Weasis => {
                let name = exchange.name_of(manifest.id);
                let body = document(|writer| for_weasis(manifest, (name, root), writer));
                streamed_document(body, "application/xml").await
            }
        }
    }

    /// Everything that is selected, with the metadata of each instance, written while it comes.
    async fn ohif_json(
        &self,
        exchange: &Exchange<'_>,
        manifest: Arc<Registered>,
        root: String,
    ) -> Result<Response<Body>, Error> {
        let mut plans = Vec::new();
        for study in &manifest.holding.studies {
            let root = Root::Manifest(manifest.id);
            let patient = self.patient(root, &manifest.holding, &study.uid).await?;
            for one in &study.series {
                let target = Target::Series(study.uid.clone(), one.uid.clone());
                let mut plan = match self.plan(&manifest.holding, &target, exchange) {
                    Err(Error::NotListed) => Plan::new(Arc::clone(&exchange.hop)),
                    plan => plan?.of_patient(&patient),
                };
                // The document contains listed instances only, and cannot state that the manifest
                // declares more.
                plan.not_locatable -= one.unlisted().min(plan.not_locatable);
                plans.push(plan);
            }
        }
        let ohif = Ohif {
            context: self.context(exchange).patient(),
            manifest,
            root,
        };
        let mut response = json_document(String::new());
        *response.body_mut() = document(|writer| ohif.write(plans, writer));
        Ok(response)
    }
}

/// The content of OHIF's `dicomjson` document.
struct Ohif {
    manifest: Arc<Registered>,
    root: String,
    context: Arc<Context>,
}

impl Ohif {
    /// `plans`: one for each series, in the order of the manifest.
    async fn write(self, plans: Vec<Plan>, mut writer: Writer) -> Result<Writer, body::Error> {
        let root = &self.root;
        let mut plans = plans.into_iter();
        writer.text("{\"studies\":[").await?;
        let mut before_study = "";
        for study in &self.manifest.holding.studies {
            let given = study.series.iter().zip(plans.as_slice());
            let given: Vec<&Series> = given
                // OHIF would wait for a series without a source.
                .filter(|(_, plan)| !plan.jobs.is_empty())
                .map(|(series, _)| series)
                .collect();
            let instances = given.iter().map(|series| series.instances.len()).sum();
            let row = study_row(study, root);
            let of_study = viewers::ohif_study(&row, instances, &modalities(&given));
            let head = with_list(&of_study.into(), "series");
            writer.text(&format!("{before_study}{head}")).await?;
            before_study = ",";
            let mut before = "";
            for (series, plan) in study.series.iter().zip(plans.by_ref()) {
                if plan.jobs.is_empty() {
                    continue;
                }
                let of_series = viewers::ohif_series(&series_row(study, series, root));
                let head = with_list(&of_series.into(), "instances");
                writer.text(&format!("{before}{head}")).await?;
                before = ",";
                self.instances(plan, &mut writer).await?;
                writer.text("]}").await?;
            }
            writer.text("]}").await?;
        }
        writer.text("]}").await?;
        Ok(writer)
    }

    async fn instances(&self, plan: Plan, writer: &mut Writer) -> Result<(), body::Error> {
        let Self { root, context, .. } = self;
        let starting = context.retriever.start(plan, TransferSyntaxes::AsStored);
        let mut retrieval = starting
            .await
            .map_err(|_told_nobody| body::Error::Disconnected)?;
        // A document cannot say that something is missing: then it breaks off.
        if retrieval.missing != Missing::Nothing {
            return Err(body::Error::Missing(1));
        }
        let mut before = "";
        while let Some(instance) = retrieval.instances.next().await? {
            let address = format!("{root}/{}", instance.identity.target().path());
            let transfer_syntax = instance.identity.transfer_syntax.clone();
            let mut described = described(context, instance).await?;
            let most = metadata::most_of_text(&described.json);
            described.share.grow(most).await?;
            let json = metadata::rooted(&described.json, root);
            let broken = body::Error::Malformed("the metadata are no JSON");
            let set: Map<String, Value> = serde_json::from_slice(&json).map_err(|_ours| broken)?;
            let instance = OhifInstance::new(&set, &address, &transfer_syntax);
            let one = format!("{before}{}", instance.entry()).into();
            writer.body(Body::full(described.share.hold(one))).await?;
            before = ",";
            for entry in instance.further_entries() {
                writer.text(&format!(",{entry}")).await?;
            }
        }
        Ok(())
    }
}

/// Weasis' manifest of the selection.
async fn for_weasis(
    manifest: Arc<Registered>,
    names: (String, String),
    mut writer: Writer,
) -> Result<Writer, body::Error> {
    let (id, root) = names;
    writer.text(&weasis::beginning(&id, &root)).await?;
    for study in &manifest.holding.studies {
        let has_some = |series: &&Series| !series.instances.is_empty();
        let mut listed = study.series.iter().filter(has_some).peekable();
        if listed.peek().is_none() {
            continue;
        }
        let row = study_row(study, &root);
        writer.text(&weasis::study(&row)).await?;
        for series in listed {
            let row = series_row(study, series, &root);
            writer.text(&weasis::series(&row)).await?;
            for instance in &series.instances {
                let row = instance_row(study, series, instance, &root);
                writer.text(&weasis::instance(&row)).await?;
            }
            writer.text(weasis::SERIES_END).await?;
        }
        writer.text(weasis::STUDY_END).await?;
    }
    writer.text(weasis::END).await?;
    Ok(writer)
}

/// The modalities of these series, each once.
fn modalities<'a>(series: &[&'a Series]) -> Vec<&'a str> {
    let mut modalities = Vec::new();
    for modality in series
        .iter()
        .filter_map(|series| series.modality.as_deref())
    {
        if !modalities.contains(&modality) {
            modalities.push(modality);
        }
    }
    modalities
}

fn studies(manifest: &Registered) -> Vec<String> {
    let studies = manifest.holding.studies.iter();
    studies.map(|study| study.uid.to_string()).collect()
}

/// Whatever each link needs besides the gateway, for the person who sets a viewer up.
fn needs(root: &str, root_of_all: &str) -> Value {
    json!({
        "ohif": "an OHIF with the data sources dicomwebproxy and dicomjson, its address in \
                 viewers.ohif_url, its origin in cors.origins",
        "weasis": "Weasis 4, installed where the link is opened, and able to reach this gateway",
        "invoke_image_display": format!(
            "an image display with IHE Invoke Image Display (RAD-106), its address in \
             viewers.invoke_image_display_url. The link names studies only: the display must have \
             {root_of_all} (all manifests) or {root} (this one) as its DICOMweb server"
        ),
    })
}

// RAD TF-2 4.106.4.1.2: study level, with the UIDs of the studies.
fn invoke_image_display(url: &Url, studies: &[String]) -> String {
    let mut url = url.clone();
    url.query_pairs_mut()
        .append_pair("requestType", "STUDY")
        .append_pair("studyUID", &studies.join(","));
    url.to_string()
}

/// Links that a browser follows without running anything.
fn is_web(url: &str) -> bool {
    Url::parse(url).is_ok_and(|url| matches!(url.scheme(), "http" | "https"))
}

fn escaped(text: &str) -> String {
    utf8_percent_encode(text, NON_ALPHANUMERIC).to_string()
}
