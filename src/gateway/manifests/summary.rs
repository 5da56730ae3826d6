//! The summary of a manifest: its selection, whether its series have sources, and its warnings.

use std::sync::Arc;

use http::Response;
use serde_json::{Value, json};

use crate::body::{self, Body};
use crate::gateway::edge::exchange::Exchange;
use crate::gateway::edge::response::streamed_document;
use crate::gateway::manifests::{JSON, links};
use crate::gateway::{Error, Gateway};
use crate::manifest::{Disagreement, Format, Registered, Series, Study};
use crate::present::document::{Writer, document};

impl Gateway {
    /// The summary of a manifest, written while it is read.
    pub(crate) async fn summary(
        &self,
        exchange: &Exchange<'_>,
        manifest: Arc<Registered>,
        with_instances: bool,
    ) -> Result<Response<Body>, Error> {
        let summary = Summary {
            name: exchange.name_of(manifest.id),
            link: exchange.manifest_url(manifest.id),
            warnings: self.warnings(exchange, &manifest).await?,
            located: self.located_series(&manifest),
            with_instances,
            manifest,
        };
        let body = document(|writer| summary.write(writer));
        streamed_document(body, JSON).await
    }

    async fn warnings(
        &self,
        exchange: &Exchange<'_>,
        manifest: &Arc<Registered>,
    ) -> Result<Vec<String>, Error> {
        let mut warnings: Vec<String> = manifest.warnings.iter().map(ToString::to_string).collect();
        let community = manifest.registration.home_community_id.as_ref();
        if community.is_some_and(|id| !self.is_ours(id) && self.registry.community(id).is_none()) {
            warnings.push("the manifest's community is not configured here".to_owned());
        }
        for disagreement in self.disagreements(exchange, manifest).await? {
            warnings.extend(in_conflict(&disagreement));
        }
        Ok(warnings)
    }

    /// Whether there is a source for each series, in the order of the manifest.
    fn located_series(&self, manifest: &Registered) -> Vec<bool> {
        let community = manifest.registration.home_community_id.as_ref();
        let studies = manifest.holding.studies.iter();
        let located = studies.flat_map(|study| &study.series).map(|series| {
            let found = self.registry.resolve(&series.locations, community);
            found.is_some()
        });
        located.collect()
    }
}

struct Summary {
    manifest: Arc<Registered>,
    /// Its name for the client.
    name: String,
    /// Where the manifest is.
    link: String,
    warnings: Vec<String>,
    located: Vec<bool>,
    with_instances: bool,
}

impl Summary {
    async fn write(self, mut writer: Writer) -> Result<Writer, body::Error> {
        let manifest = &self.manifest;
        let community = manifest.registration.home_community_id.as_ref();
        let head = json!({
            "id": self.name,
            "format": format_name(manifest.format),
            "home_community_id": community.map(ToString::to_string),
            "instances": manifest.holding.instances(),
            "links": links(&self.link),
        });
        writer.text(&with_list(&head, "studies")).await?;
        let mut located = self.located.iter().copied();
        let mut comma = "\n";
        for study in &manifest.holding.studies {
            writer.text(comma).await?;
            comma = ",\n";
            self.study(study, &mut located, &mut writer).await?;
        }
        writer.text("],\n\"warnings\":[").await?;
        let mut comma = "\n";
        for warning in self.warnings.iter().cloned().chain(self.unlocated()) {
            writer.text(comma).await?;
            comma = ",\n";
            writer.json(&Value::from(warning)).await?;
        }
        writer.text("]}\n").await?;
        Ok(writer)
    }

    async fn study(
        &self,
        study: &Study,
        located: &mut (impl Iterator<Item = bool> + Send),
        writer: &mut Writer,
    ) -> Result<(), body::Error> {
        let link = format!("{}/dicomweb/studies/{}", self.link, study.uid);
        let head = json!({
            "study_instance_uid": study.uid.as_str(),
            "study_date": study.date,
            "study_description": study.description,
            "modalities": study.modalities,
            "link": link,
        });
        writer.text(&with_list(&head, "series")).await?;
        let mut comma = "\n";
        for (series, is_located) in study.series.iter().zip(located) {
            writer.text(comma).await?;
            comma = ",\n";
            let head = series_summary(&link, series, is_located);
            if self.with_instances {
                writer.text(&with_list(&head, "sop_instance_uids")).await?;
                let mut comma = "";
                for instance in &series.instances {
                    // A UID needs no escaping.
                    let uid = format!("{comma}\"{}\"", instance.uid);
                    writer.text(&uid).await?;
                    comma = ",";
                }
                writer.text("]}").await?;
            } else {
                writer.json(&head).await?;
            }
        }
        writer.text("]}").await
    }

    fn unlocated(&self) -> impl Iterator<Item = String> {
        let studies = self.manifest.holding.studies.iter();
        let series = studies.flat_map(|study| &study.series).zip(&self.located);
        let unlocated = series.filter(|(_, is_located)| !**is_located);
        unlocated.map(|(series, _)| {
            let uid = &series.uid;
            format!("series {uid} is not at any configured location")
        })
    }
}

/// The fate of a study below the root over all manifests, where an earlier manifest disagrees.
fn in_conflict(disagreement: &Disagreement) -> impl Iterator<Item = String> + use<> {
    let Disagreement {
        study,
        patient,
        instances,
    } = disagreement;
    let on_patient = patient.then(|| {
        format!(
            "study {study}: a manifest that was registered before names another patient; \
             the root over all manifests leaves this one out"
        )
    });
    // A study that is left out has no location there.
    let on_location = (!patient && *instances > 0).then(|| {
        format!(
            "study {study}: a manifest that was registered before has {instances} instances at \
             another location; the root over all manifests retrieves them from there"
        )
    });
    on_patient.into_iter().chain(on_location)
}

/// An object that goes on with a list.
pub(crate) fn with_list(object: &Value, list: &str) -> String {
    let mut text = object.to_string();
    text.pop();
    let comma = if text.len() > 1 { "," } else { "" };
    format!("{text}{comma}\"{list}\":[")
}

fn series_summary(study_link: &str, series: &Series, is_located: bool) -> Value {
    json!({
        "series_instance_uid": series.uid.as_str(),
        "series_number": series.number,
        "modality": series.modality,
        "series_description": series.description,
        "instances": series.instances.len(),
        "unlisted": series.unlisted(),
        "located": is_located,
        "link": format!("{study_link}/series/{}", series.uid),
    })
}

fn format_name(format: Format) -> &'static str {
    match format {
        Format::Kos(_) => "kos",
        Format::FhirR4 => "fhir-r4",
        Format::FhirR5 => "fhir-r5",
    }
}
