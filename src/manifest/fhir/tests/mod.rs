//! Whole Bundles: the published one, and small ones built here.

mod bundle;
mod description;
mod limits;
mod location;

use std::time::{Duration, Instant};

use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;
use crate::ihe::{Location, RetrieveLocationUid};
use crate::manifest::{Accession, Code, Defect, Outcome, Patient, PatientId, Series, Warning};

const CT: &str = "1.2.840.10008.5.1.4.1.1.2";
const KOS: &str = "1.2.840.10008.5.1.4.1.1.88.59";
const RLU: &str =
    "https://profiles.ihe.net/RAD/MADO/StructureDefinition/MadoRetrieveLocationUIDExtension";

/// A manifest with one instance at one location and nothing that would cause a warning.
fn small() -> Value {
    json!({
        "resourceType": "Bundle",
        "type": "document",
        "entry": [
            {
                "fullUrl": "https://a.example/ImagingStudy/1",
                "resource": {
                    "resourceType": "ImagingStudy",
                    "id": "1",
                    "identifier": [{ "system": "urn:dicom:uid", "value": "urn:oid:1.2.3" }],
                    "series": [{
                        "uid": "1.2.4",
                        "endpoint": [{ "reference": "Endpoint/w" }],
                        "instance": [{ "uid": "1.2.5", "sopClass": { "code": CT } }],
                    }],
                },
            },
            { "fullUrl": "https://a.example/Endpoint/w", "resource": wado("w", "https://h.example/rs", "1.2.40") },
        ],
    })
}

fn wado(id: &str, address: &str, location: &str) -> Value {
    json!({
        "resourceType": "Endpoint",
        "id": id,
        "extension": [{ "url": RLU, "valueString": location }],
        "connectionType": { "code": "dicom-wado-rs" },
        "address": address,
    })
}

fn defects(manifest: &Manifest) -> Vec<Defect> {
    let warnings = manifest.warnings.iter();
    warnings.map(|warning| warning.defect.clone()).collect()
}

/// `small`, with the value at the pointer put in.
fn with(pointer: &str, value: Value) -> Value {
    set(small(), pointer, value)
}

fn set(mut bundle: Value, pointer: &str, value: Value) -> Value {
    let (parent, name) = pointer.rsplit_once('/').expect("a pointer");
    let parent = bundle.pointer_mut(parent).expect("a place");
    if let Value::Array(list) = parent {
        // `-`, or in place.
        match name.parse::<usize>() {
            Ok(at) => list[at] = value,
            Err(_end) => list.push(value),
        }
    } else {
        parent[name] = value;
    }
    bundle
}

const STUDY: &str = "/entry/0/resource";
const SERIES: &str = "/entry/0/resource/series/0";
const INSTANCE: &str = "/entry/0/resource/series/0/instance/0";
const ENDPOINT: &str = "/entry/1/resource";

fn parsed(bundle: &Value) -> Result<Manifest, Error> {
    read(bundle.to_string().as_bytes())
}

fn manifest(bundle: &Value) -> Manifest {
    parsed(bundle).unwrap_or_else(|error| panic!("{error}: {bundle}"))
}

fn series(bundle: &Value) -> Series {
    manifest(bundle).studies[0].series[0].clone()
}

fn location(uid: Option<&str>, url: Option<&str>) -> Location {
    Location {
        retrieve_location_uid: uid.map(|uid| RetrieveLocationUid::parse(uid).expect("a location")),
        retrieve_url: url.map(Into::into),
        retrieve_ae_title: None,
    }
}

fn boxed(text: &str) -> Option<Box<str>> {
    Some(text.into())
}

/// A real manifest, or `None` where the folder is missing and that is allowed.
fn real_manifest() -> Option<Vec<u8>> {
    let path = concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/../shared/data/ihe-mado/study-b.fhir-manifest.json"
    );
    match std::fs::read(path) {
        Ok(bytes) => Some(bytes),
        Err(error) if std::env::var_os("CI").is_some() => panic!("{path}: {error}"),
        Err(_missing) => {
            eprintln!("left out: {path} is missing");
            None
        }
    }
}

fn r5() -> Value {
    let codeable = |code: &str| json!({ "coding": [{ "code": code }] });
    json!({
        "resourceType": "Bundle",
        "type": "searchset",
        "entry": [
            { "fullUrl": "ImagingStudy/1", "resource": {
                "resourceType": "ImagingStudy",
                "identifier": [{ "system": "urn:dicom:uid", "value": "1.2.3" }],
                "subject": { "reference": "Patient/patient" },
                "modality": [codeable("CT")],
                "procedure": [{ "concept": codeable("P5") }, { "reference": { "reference": "Procedure/1" } }],
                "endpoint": [{ "reference": "Endpoint/w" }, { "reference": "Endpoint/v" }],
                "series": [{
                    "uid": "1.2.4",
                    "modality": codeable("CT"),
                    "bodySite": { "concept": codeable("69536005") },
                    "instance": [{
                        "uid": "1.2.5",
                        "sopClass": { "code": format!("urn:oid:{KOS}") },
                        "extension": [{ "url": "http://hl7.eu/x/instance-description", "valueString": "Note" }],
                    }],
                }],
            } },
            { "fullUrl": "Patient/patient", "resource": { "resourceType": "Patient", "gender": "other" } },
            { "fullUrl": "Endpoint/w", "resource": {
                "resourceType": "Endpoint",
                "connectionType": [codeable("dicom-wado-rs")],
                "payload": [{ "type": [codeable("dicom-wado-rs")], "mimeType": ["application/dicom"] }],
                "address": "https://h.example/rs",
            } },
            { "fullUrl": "Endpoint/v", "resource": {
                "resourceType": "Endpoint",
                "connectionType": [codeable("ihe-iid")],
                "payload": [{ "mimeType": ["text/html"] }],
                "address": "https://v.example/",
            } },
        ],
    })
}
