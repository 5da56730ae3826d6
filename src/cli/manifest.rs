//! `xcwado manifest show`: prints the selection of a manifest.

use std::path::{Path, PathBuf};

use clap::Subcommand;
use serde_json::{Value, json};

use super::{plain, table};
use crate::ihe::Location;
use crate::manifest::{self, Manifest, Names, Series, Study};
use crate::start::Failure;

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Show the selection of a manifest
    #[command(after_help = "Example:\n  xcwado manifest show study.dcm --json")]
    Show {
        /// A manifest: a Key Object Selection document (Part 10 or DICOM JSON), a FHIR Bundle or
        /// ImagingStudy, or a FHIR Binary around one of them
        file: PathBuf,
        /// As JSON, with every instance
        #[arg(long)]
        json: bool,
    },
}

pub(super) fn run(command: &Command) -> Result<(), Failure> {
    match command {
        Command::Show { file, json } => show(file, *json),
    }
}

fn show(file: &Path, as_json: bool) -> Result<(), Failure> {
    let failed = |error: &dyn std::fmt::Display| Failure(format!("{}: {error}", file.display()));
    let bytes = std::fs::read(file).map_err(|error| failed(&error))?;
    let manifest = manifest::read(&bytes).map_err(|error| failed(&error))?;
    let names = Names::of(&manifest.studies);
    for warning in &manifest.warnings {
        eprintln!("warning: {}", plain::plain(&names.text(warning)));
    }
    if as_json {
        println!(
            "{}",
            plain::json(&format!("{:#}", document(&manifest, &names)))
        );
    } else {
        print(&manifest);
    }
    Ok(())
}

fn print(manifest: &Manifest) {
    for study in &manifest.studies {
        let instances: usize = study
            .series
            .iter()
            .map(|series| series.instances.len())
            .sum();
        let series = study.series.len();
        println!(
            "study {}: {series} series, {instances} instances",
            study.uid
        );
        let headings = [
            "SERIES",
            "NO",
            "MODALITY",
            "INSTANCES",
            "DESCRIPTION",
            "WHERE",
        ];
        let mut rows = vec![table::row(headings)];
        rows.extend(study.series.iter().map(series_row));
        table::print(&rows);
    }
}

fn series_row(series: &Series) -> Vec<String> {
    let text = |text: &Option<Box<str>>| text.as_deref().unwrap_or("-").to_owned();
    vec![
        series.uid.to_string(),
        series
            .number
            .map_or_else(|| "-".into(), |number| number.to_string()),
        text(&series.modality),
        series.instances.len().to_string(),
        text(&series.description),
        series
            .locations
            .iter()
            .map(place)
            .collect::<Vec<_>>()
            .join(" or "),
    ]
}

fn place(location: &Location) -> String {
    let uid = location
        .retrieve_location_uid
        .as_ref()
        .map(ToString::to_string);
    let url = location.retrieve_url.as_deref().map(ToOwned::to_owned);
    let title = location
        .retrieve_ae_title
        .as_deref()
        .map(|title| format!("AE {title}"));
    [uid, url, title]
        .into_iter()
        .flatten()
        .collect::<Vec<_>>()
        .join(", ")
}

fn document(manifest: &Manifest, names: &Names<'_>) -> Value {
    let warnings = manifest.warnings.iter();
    json!({
        "document_id": manifest.document_id,
        "format": format!("{:?}", manifest.format),
        "studies": manifest.studies.iter().map(study_document).collect::<Vec<_>>(),
        "warnings": warnings.map(|warning| names.document(warning)).collect::<Vec<_>>(),
    })
}

fn study_document(study: &Study) -> Value {
    json!({
        "study_instance_uid": study.uid.as_str(),
        "study_date": study.date,
        "study_time": study.time,
        "study_description": study.description,
        "modalities": study.modalities,
        "accession_numbers": study.accessions.iter().map(|a| &a.value).collect::<Vec<_>>(),
        "series": study.series.iter().map(series_document).collect::<Vec<_>>(),
    })
}

fn series_document(series: &Series) -> Value {
    let locations = series.locations.iter().map(|location| {
        json!({
            "retrieve_location_uid": location.retrieve_location_uid.as_ref().map(ToString::to_string),
            "retrieve_url": location.retrieve_url,
            "retrieve_ae_title": location.retrieve_ae_title,
        })
    });
    let instances = series.instances.iter().map(|instance| {
        json!({
            "sop_class_uid": instance.sop_class.as_str(),
            "sop_instance_uid": instance.uid.as_str(),
            "instance_number": instance.number,
            "number_of_frames": instance.frames,
        })
    });
    json!({
        "series_instance_uid": series.uid.as_str(),
        "series_number": series.number,
        "modality": series.modality,
        "series_description": series.description,
        "locations": locations.collect::<Vec<_>>(),
        "instances": instances.collect::<Vec<_>>(),
    })
}
