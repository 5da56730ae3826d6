//! The summary of a manifest: its selection, whether its series have sources, and its warnings.

use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::sync::Arc;

use http::Response;
use serde_json::{Value, json};

use crate::body::{self, Body};
use crate::community::Remedy;
use crate::gateway::edge::exchange::Exchange;
use crate::gateway::edge::response::streamed_document;
use crate::gateway::manifests::{JSON, links};
use crate::gateway::{Error, Gateway};
use crate::manifest::{
    Defect, Disagreement, Format, Names, Outcome, Registered, Series, Study, Subject, Warning,
};
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
            // They are for the sender, and name settings.
            remedies: match exchange.link_url {
                None => self.remedies(&manifest),
                Some(_) => Vec::new(),
            },
            with_instances,
            manifest,
        };
        let body = document(|writer| summary.write(writer));
        streamed_document(body, JSON).await
    }

    /// The defects of the manifest, and of its place among the registered ones.
    async fn warnings(
        &self,
        exchange: &Exchange<'_>,
        manifest: &Arc<Registered>,
    ) -> Result<Vec<Warning>, Error> {
        let mut warnings = manifest.warnings.clone();
        let community = manifest.registration.home_community_id.as_ref();
        let community = community.filter(|id| !self.is_ours(id));
        if let Some(id) = community.filter(|id| self.registry.community(id).is_none()) {
            let defect = Defect::UnknownCommunity(id.as_str().into());
            let outcome = match self.located_series(manifest).contains(&false) {
                true => Outcome::LeftOut,
                false => Outcome::ReadAllTheSame,
            };
            warnings.push(Warning::about(Subject::Manifest, outcome, defect));
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

    /// The remedies for the series that have no source: those that help most series first.
    fn remedies(&self, manifest: &Registered) -> Vec<HelpfulRemedy> {
        let community = manifest.registration.home_community_id.as_ref();
        let studies = manifest.holding.studies.iter();
        let mut counted: BTreeMap<Remedy, usize> = BTreeMap::new();
        for series in studies.flat_map(|study| &study.series) {
            let locations = &series.locations;
            if self.registry.resolve(locations, community).is_some() {
                continue;
            }
            for remedy in self.registry.remedies(locations, community) {
                *counted.entry(remedy).or_default() += 1;
            }
        }
        let helpful = counted.into_iter();
        let mut helpful: Vec<_> = helpful
            .map(|(remedy, series)| HelpfulRemedy { remedy, series })
            .collect();
        helpful.sort_by_key(|helpful| Reverse(helpful.series));
        helpful.truncate(MOST_REMEDIES);
        helpful
    }
}

/// The limit for remedies in a summary; each series may have a location of its own.
const MOST_REMEDIES: usize = 16;

/// A remedy, and the number of series that it helps.
struct HelpfulRemedy {
    remedy: Remedy,
    series: usize,
}

struct Summary {
    manifest: Arc<Registered>,
    /// Its name for the client.
    name: String,
    /// Where the manifest is.
    link: String,
    warnings: Vec<Warning>,
    located: Vec<bool>,
    remedies: Vec<HelpfulRemedy>,
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
        let mut head = with_list(&head, "studies");
        if let Some(not_locatable) = self.not_locatable() {
            // Before everything else: otherwise a reader of the answer overlooks it.
            head.replace_range(..1, &format!("{{\"not_locatable\":{not_locatable},\n"));
        }
        writer.text(&head).await?;
        let mut located = self.located.iter().copied();
        let mut comma = "\n";
        for study in &manifest.holding.studies {
            writer.text(comma).await?;
            comma = ",\n";
            self.study(study, &mut located, &mut writer).await?;
        }
        writer.text("],\n\"warnings\":[").await?;
        let mut comma = "\n";
        let names = Names::of(&manifest.holding.studies);
        for warning in self.warnings.iter().chain(&self.unlocated()) {
            writer.text(comma).await?;
            comma = ",\n";
            writer.json(&names.document(warning)).await?;
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

    /// What the sender must know first: series without a source, and what would help.
    fn not_locatable(&self) -> Option<Value> {
        let of = self.located.len();
        let series = self.located.iter().filter(|is_located| !**is_located);
        let series = series.count();
        let remedies = self
            .remedies
            .iter()
            .map(|helpful| json!({ "series": helpful.series, "text": helpful.remedy.detailed() }));
        (series > 0).then(|| {
            json!({
                "series": series,
                "text": format!(
                    "{series} of {of} series have no source here: they are listed, but cannot be \
                     retrieved"
                ),
                "remedies": remedies.collect::<Vec<_>>(),
            })
        })
    }

    /// The warning about all series without a source.
    fn unlocated(&self) -> Option<Warning> {
        let studies = self.manifest.holding.studies.iter();
        let series = studies.flat_map(|study| &study.series).zip(&self.located);
        // That a series has no location is a warning of its own.
        let unlocated =
            series.filter(|(series, is_located)| !**is_located && !series.locations.is_empty());
        let subjects = unlocated.map(|(series, _)| Subject::Series(series.uid.clone()));
        Warning::about_all(subjects, Outcome::LeftOut, Defect::NotLocatable)
    }
}

/// The fate of a study below the root over all manifests, where an earlier manifest disagrees.
fn in_conflict(disagreement: &Disagreement) -> Option<Warning> {
    let Disagreement {
        study,
        patient,
        instances,
    } = disagreement;
    // A study that is left out has no location there.
    let defect = match (patient, instances) {
        (true, _) => Defect::OtherPatient,
        (false, 0) => return None,
        (false, instances) => Defect::OtherLocation(*instances),
    };
    let subject = Subject::Study(study.clone());
    Some(Warning::about(subject, Outcome::LeftOut, defect))
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
