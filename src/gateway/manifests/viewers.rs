//! `manifests/{id}/viewers`: documents and links that open a manifest in a viewer.

use std::sync::Arc;

use http::Response;
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
use crate::present::{metadata, viewers, weasis};
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
        let manifest = self.load(id).await?.ok_or(Error::NotFound)?;
        let base = exchange.base_url(Root::Manifest(id));
        let link =
            |viewer: Viewer| format!("{}/viewers/{}", exchange.manifest_url(id), viewer.name());
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
            "dicomweb": base.root(),
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

    /// One of the documents.
    pub(crate) async fn viewer(
        &self,
        exchange: &Exchange<'_>,
        id: Id,
        viewer: Viewer,
    ) -> Result<Response<Body>, Error> {
        let manifest = self.load(id).await?.ok_or(Error::NotFound)?;
        let root = exchange.base_url(Root::Manifest(id)).root().to_owned();
        match viewer {
            Viewer::OhifProxy => {
                let document =
                    viewers::ohif_proxy(&root, &format!("{}/wado", exchange.manifest_url(id)));
                Ok(json_document(format!("{document:#}\n")))
            }
            Viewer::OhifJson => self.ohif_json(exchange, manifest, root).await,
            Viewer::Weasis => {
                let body = document(|writer| for_weasis(manifest, root, writer));
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
            let of_study = viewers::ohif_study(&study_row(study, root));
            let head = with_list(&of_study.into(), "series");
            writer.text(&format!("{before_study}{head}")).await?;
            before_study = ",";
            let mut before = "";
            for (series, plan) in study.series.iter().zip(plans.by_ref()) {
                // OHIF would wait for a series without a source.
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
            let path = instance.identity.target().path();
            let mut described = described(context, instance).await?;
            let most = metadata::most_of_text(&described.json);
            described.share.grow(most).await?;
            let json = metadata::rooted(&described.json, root);
            let natural = natural(&json)?;
            let url =
                format!("dicomweb:{root}/{path}?accept=application/dicom%3B%20transfer-syntax%3D*");
            let one = json!({ "metadata": natural, "url": url });
            let one = format!("{before}{one}").into();
            writer.body(Body::full(described.share.hold(one))).await?;
            before = ",";
        }
        Ok(())
    }
}

/// Weasis' manifest of the selection.
async fn for_weasis(
    manifest: Arc<Registered>,
    root: String,
    mut writer: Writer,
) -> Result<Writer, body::Error> {
    let id = manifest.id.to_string();
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

fn natural(json: &[u8]) -> Result<Value, body::Error> {
    let broken = body::Error::Malformed("the metadata are no JSON");
    let set: Map<String, Value> = serde_json::from_slice(json).map_err(|_ours| broken)?;
    Ok(viewers::naturalized(&set).into())
}

fn studies(manifest: &Registered) -> Vec<String> {
    let studies = manifest.holding.studies.iter();
    studies.map(|study| study.uid.to_string()).collect()
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
