//! `manifests/{id}/viewers`: how to open what a manifest selects in a viewer.

use std::sync::Arc;

use http::Response;
use http::header::{CONTENT_TYPE, HeaderValue};
use http::request::Parts;
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use serde::Deserialize;
use serde_json::{Map, Value, json};
use url::Url;

use super::answer::json_document;
use super::metadata::described;
use super::one::broken_off;
use super::{Asking, Error, Gateway, accept_fields};
use crate::body::{self, Body};
use crate::dicom::TransferSyntaxes;
use crate::instance::Target;
use crate::manifest::{Id, Registered, instance_row, series_row, study_row};
use crate::present::{metadata, viewers, weasis};
use crate::request::{Root, Viewer, accept};
use crate::retrieve::Missing;

/// `[viewers]`.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Settings {
    /// Where an OHIF viewer is, whose data sources `dicomwebproxy` and `dicomjson` are configured.
    pub ohif_url: Option<Url>,
    /// Where an image display is that takes IHE Invoke Image Display (RAD-106) requests.
    pub invoke_image_display_url: Option<Url>,
    /// Whether the Display URIs of manifests are given. They are somebody else's, and may hold a
    /// session token.
    pub display_uris: bool,
}

impl Gateway {
    /// `GET manifests/{id}/viewers`.
    pub(super) async fn viewers(
        &self,
        head: &Parts,
        asking: &Asking,
        id: Id,
    ) -> Result<Response<Body>, Error> {
        accept::json(&accept_fields(head))?;
        let manifest = self.load(id).await?.ok_or(Error::NotFound)?;
        let place = asking.root_place(Root::Manifest(id));
        let link = |viewer: Viewer| format!("{}/viewers/{}", asking.link(id), viewer.name());
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
            "dicomweb": place.root(),
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
    pub(super) async fn viewer(
        &self,
        asking: &Asking,
        id: Id,
        viewer: Viewer,
    ) -> Result<Response<Body>, Error> {
        let manifest = self.load(id).await?.ok_or(Error::NotFound)?;
        let root = asking.root_place(Root::Manifest(id)).root().to_owned();
        match viewer {
            Viewer::OhifProxy => {
                let document = viewers::ohif_proxy(&root, &format!("{}/wado", asking.link(id)));
                Ok(json_document(format!("{document:#}\n")))
            }
            Viewer::OhifJson => self.ohif_json(asking, &manifest, root),
            Viewer::Weasis => {
                let text = weasis::manifest(&id.to_string(), &root, &listed(&manifest, &root));
                let mut response = json_document(text);
                let xml = HeaderValue::from_static("application/xml");
                response.headers_mut().insert(CONTENT_TYPE, xml);
                Ok(response)
            }
        }
    }

    /// Everything that is selected, with the metadata of each instance, written while it comes.
    fn ohif_json(
        &self,
        asking: &Asking,
        manifest: &Arc<Registered>,
        root: String,
    ) -> Result<Response<Body>, Error> {
        let context = self.context(asking).patient();
        let retriever = self.retriever.clone();
        let mut studies = Vec::new();
        for study in &manifest.holding.studies {
            let mut series = Vec::new();
            for one in &study.series {
                let target = Target::Series(study.uid.clone(), one.uid.clone());
                let row = series_row(study, one, &root);
                series.push((
                    viewers::ohif_series(&row),
                    self.plan(&manifest.holding, &target, asking)?,
                ));
            }
            let row = study_row(study, &root);
            studies.push((viewers::ohif_study(&row), series));
        }
        let body = Body::generate(None, |out| async move {
            let mut before = "{\"studies\":[";
            for (study, series) in studies {
                out.emit(format!("{before}{}", opened(&study, "series")).into())
                    .await?;
                before = ",";
                let mut before = "";
                for (series, plan) in series {
                    // What is at no configured place is not listed: OHIF would wait for it.
                    if plan.jobs.is_empty() {
                        continue;
                    }
                    let head = format!("{before}{}", opened(&series, "instances"));
                    out.emit(head.into()).await?;
                    before = ",";
                    let starting = retriever.start(plan, TransferSyntaxes::AsStored);
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
                        let described = described(&context, instance).await;
                        let mut described = described.map_err(broken_off)?;
                        let most = metadata::most_of_text(&described.json);
                        described.share.grow(most).await?;
                        let json = metadata::rooted(&described.json, &root);
                        let natural = natural(&json)?;
                        let url = format!(
                            "dicomweb:{root}/{path}?accept=application/dicom%3B%20transfer-syntax%3D*"
                        );
                        let one = json!({ "metadata": natural, "url": url });
                        let one = format!("{before}{one}").into();
                        Body::full(described.share.hold(one)).give(&out).await?;
                        before = ",";
                    }
                    out.emit("]}".into()).await?;
                }
                out.emit("]}".into()).await?;
            }
            let end = if before == "," {
                "]}"
            } else {
                "{\"studies\":[]}"
            };
            out.emit(end.into()).await
        });
        let mut response = json_document(String::new());
        *response.body_mut() = body;
        Ok(response)
    }
}

fn natural(json: &[u8]) -> Result<Value, body::Error> {
    let broken = body::Error::Malformed("the metadata are no JSON");
    let set: Map<String, Value> = serde_json::from_slice(json).map_err(|_ours| broken)?;
    Ok(viewers::naturalized(&set).into())
}

/// An object that goes on with a list.
fn opened(attributes: &Map<String, Value>, list: &str) -> String {
    let mut text = Value::Object(attributes.clone()).to_string();
    text.pop();
    let comma = if attributes.is_empty() { "" } else { "," };
    format!("{text}{comma}\"{list}\":[")
}

fn studies(manifest: &Registered) -> Vec<String> {
    let studies = manifest.holding.studies.iter();
    studies.map(|study| study.uid.to_string()).collect()
}

fn listed(manifest: &Registered, root: &str) -> Vec<weasis::Study> {
    let studies = manifest.holding.studies.iter();
    studies
        .map(|study| weasis::Study {
            row: study_row(study, root),
            series: study
                .series
                .iter()
                .map(|series| weasis::Series {
                    row: series_row(study, series, root),
                    instances: series
                        .instances
                        .iter()
                        .map(|instance| instance_row(study, series, instance, root))
                        .collect(),
                })
                .collect(),
        })
        .collect()
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
