//! The manifest of the study as a FHIR R4 document Bundle (IHE RAD MADO).

use serde_json::{Value, json};

use super::model::{Code, Identifier, Instance, LocationIds, Series, Study};

/// The manifest as JSON. `locations` is in the order of `Location::index`; a series whose location
/// is missing there has no endpoint.
pub(super) fn write(study: &Study, locations: &[LocationIds]) -> Vec<u8> {
    format!("{:#}\n", bundle(study, locations)).into_bytes()
}

fn bundle(study: &Study, locations: &[LocationIds]) -> Value {
    let mut entries = vec![
        entry(COMPOSITION, composition(study)),
        entry(IMAGING_STUDY, imaging_study(study, locations)),
        entry(PATIENT, patient(study)),
        entry(REQUESTED_PROCEDURE, service_request(study)),
        entry(DEVICE, device(study)),
        entry(ORGANIZATION, organization(study)),
    ];
    entries.extend(
        locations
            .iter()
            .enumerate()
            .map(|(index, ids)| entry(endpoint_id(index), endpoint(ids))),
    );
    json!({
        "resourceType": "Bundle",
        "meta": profile("MadoFhirBundle"),
        "identifier": document_identifier(study),
        "type": "document",
        "timestamp": study.manifest.created.date_time(),
        "entry": entries,
    })
}

fn composition(study: &Study) -> Value {
    json!({
        "resourceType": "Composition",
        "meta": profile("MadoComposition"),
        "text": narrative(&summary(study)),
        "identifier": document_identifier(study),
        "status": "final",
        "type": concept("http://loinc.org", "18748-4", "Diagnostic imaging study"),
        "category": [concept(DOCUMENT_CATEGORIES, "Medical-Imaging", "Medical Imaging")],
        "subject": reference(PATIENT),
        "date": study.manifest.created.date_time(),
        "author": [reference(DEVICE), reference(ORGANIZATION)],
        "title": format!("Imaging study manifest: {}", study.description),
        "event": [{ "detail": [reference(IMAGING_STUDY)] }],
        "section": study.series.iter().map(section).collect::<Vec<_>>(),
    })
}

// The narrative contains only texts of this study, and none of them needs escaping.
fn summary(study: &Study) -> String {
    let (series, instances) = (study.series.len(), study.instance_count());
    format!(
        "{}: {instances} instances in {series} series.",
        study.description
    )
}

fn section(series: &Series) -> Value {
    let (modality, count) = (series.modality.value, series.instances.len());
    let text = format!(
        "{}. Modality: {modality}. Instances: {count}.",
        series.description
    );
    json!({ "title": format!("Series {}", series.number), "text": narrative(&text) })
}

fn imaging_study(study: &Study, locations: &[LocationIds]) -> Value {
    json!({
        "resourceType": "ImagingStudy",
        "meta": profile("MadoImagingStudy"),
        "extension": [{
            "url": structure("MadoAnatomicalRegionExtension"),
            "valueCodeableConcept": { "coding": [coding(study.region)] },
        }],
        "identifier": [{
            "type": concept(DCM, "110180", "Study Instance UID"),
            "system": "urn:dicom:uid",
            "value": urn(study.uid.as_str()),
        }],
        "status": "available",
        "modality": study.modalities().into_iter().map(coding).collect::<Vec<_>>(),
        "subject": reference(PATIENT),
        "started": study.started.date_time(),
        "basedOn": [{
            "reference": urn_uuid(REQUESTED_PROCEDURE),
            "type": "ServiceRequest",
            "identifier": accession(study),
        }],
        "numberOfSeries": study.series.len(),
        "numberOfInstances": study.instance_count(),
        "procedureCode": [{ "coding": [coding(study.procedure)], "text": study.procedure.meaning }],
        "description": study.description,
        "series": study.series.iter().map(|series| series_of(series, locations)).collect::<Vec<_>>(),
    })
}

fn series_of(series: &Series, locations: &[LocationIds]) -> Value {
    let mut value = json!({
        "uid": series.uid.as_str(),
        "number": series.number,
        "modality": coding(series.modality),
        "description": series.description,
        "numberOfInstances": series.instances.len(),
        "bodySite": coding(series.body_part),
        "started": series.started.date_time(),
        "instance": series.instances.iter().map(instance).collect::<Vec<_>>(),
    });
    if series.location.ids(locations).is_some() {
        value["endpoint"] = json!([reference(endpoint_id(series.location.index()))]);
    }
    value
}

fn instance(instance: &Instance) -> Value {
    let mut value = json!({
        "uid": instance.uid.as_str(),
        "sopClass": { "system": "urn:ietf:rfc:3986", "code": urn(instance.sop_class.as_str()) },
        "number": instance.number,
    });
    if let Some(frames) = instance.frames {
        value["extension"] =
            json!([{ "url": structure("MadoNumberOfFrames"), "valueInteger": frames }]);
    }
    value
}

fn patient(study: &Study) -> Value {
    let patient = &study.patient;
    json!({
        "resourceType": "Patient",
        "meta": profile("MadoPatient"),
        "identifier": [identifier(patient.id, json!({ "coding": [v2("MR", "Medical record number")] }))],
        "name": [{
            "text": format!("{} {}", patient.given, patient.family),
            "family": patient.family,
            "given": [patient.given],
        }],
        "gender": "other",
        "birthDate": patient.born.date(),
    })
}

fn service_request(study: &Study) -> Value {
    let placer = json!({ "coding": [v2("PLAC", "Placer Identifier")] });
    json!({
        "resourceType": "ServiceRequest",
        "meta": profile("MadoRequestedProcedure"),
        "identifier": [accession(study), identifier(study.placer_order, placer)],
        "status": "completed",
        "intent": "order",
        "code": { "coding": [coding(study.procedure)], "text": study.procedure.meaning },
        "subject": reference(PATIENT),
    })
}

fn device(study: &Study) -> Value {
    json!({
        "resourceType": "Device",
        "meta": profile("MadoCreator"),
        "manufacturer": study.manifest.manufacturer,
        "deviceName": [{ "name": "xcwado demo", "type": "user-friendly-name" }],
        "type": concept(
            "https://profiles.ihe.net/RAD/MADO/CodeSystem/MadoDeviceType",
            "mado-creator",
            "MADO Creator"
        ),
        "owner": reference(ORGANIZATION),
    })
}

fn organization(study: &Study) -> Value {
    let Identifier { value, issuer } = study.manifest.institution.identifier;
    json!({
        "resourceType": "Organization",
        "meta": profile("MadoCreatorOrganization"),
        "identifier": [{ "system": urn(issuer), "value": value }],
        "name": study.manifest.institution.name,
    })
}

fn endpoint(ids: &LocationIds) -> Value {
    let mut payload_type = concept(
        "http://terminology.hl7.org/CodeSystem/endpoint-payload-type",
        "none",
        "None",
    );
    payload_type["text"] = json!("DICOM WADO-RS");
    json!({
        "resourceType": "Endpoint",
        "meta": profile("MadoWadoEndpoint"),
        "extension": [{
            "url": structure("MadoRetrieveLocationUIDExtension"),
            "valueString": ids.retrieve_location_uid,
        }],
        "status": "active",
        "connectionType": {
            "system": "http://terminology.hl7.org/CodeSystem/endpoint-connection-type",
            "code": "dicom-wado-rs",
        },
        "payloadType": [payload_type],
        "payloadMimeType": ["application/dicom"],
        "address": ids.retrieve_url,
    })
}

/// A resource of the Bundle: its type, and the number in its URN.
#[derive(Clone, Copy)]
struct Resource(&'static str, usize);

const COMPOSITION: Resource = Resource("Composition", 1);
const IMAGING_STUDY: Resource = Resource("ImagingStudy", 2);
const PATIENT: Resource = Resource("Patient", 3);
const REQUESTED_PROCEDURE: Resource = Resource("ServiceRequest", 4);
const DEVICE: Resource = Resource("Device", 5);
const ORGANIZATION: Resource = Resource("Organization", 6);

fn endpoint_id(index: usize) -> Resource {
    Resource("Endpoint", 16 + index)
}

fn urn_uuid(Resource(_, number): Resource) -> String {
    format!("urn:uuid:03f526da-66c0-4c17-b436-{number:012x}")
}

fn entry(id: Resource, resource: Value) -> Value {
    json!({ "fullUrl": urn_uuid(id), "resource": resource })
}

fn reference(id: Resource) -> Value {
    json!({ "reference": urn_uuid(id), "type": id.0 })
}

// MADO: the identifier is an OID in the form of a DICOM UI, equal to that of the Key Object
// Selection.
fn document_identifier(study: &Study) -> Value {
    json!({ "system": "urn:dicom:uid", "value": study.manifest.uid.as_str() })
}

fn accession(study: &Study) -> Value {
    let codings = [
        json!({ "system": DCM, "code": "121022", "display": "Accession Number" }),
        v2("ACSN", "Accession ID"),
    ];
    identifier(study.accession, json!({ "coding": codings }))
}

fn identifier(identifier: Identifier, kind: Value) -> Value {
    json!({ "type": kind, "system": urn(identifier.issuer), "value": identifier.value })
}

fn narrative(text: &str) -> Value {
    let div = format!("<div xmlns=\"http://www.w3.org/1999/xhtml\">{text}</div>");
    json!({ "status": "generated", "div": div })
}

fn concept(system: &str, code: &str, display: &str) -> Value {
    json!({ "coding": [{ "system": system, "code": code, "display": display }] })
}

fn v2(code: &str, display: &str) -> Value {
    json!({ "system": "http://terminology.hl7.org/CodeSystem/v2-0203", "code": code, "display": display })
}

fn coding(code: Code) -> Value {
    json!({ "system": system(code.scheme), "code": code.value, "display": code.meaning })
}

// PS3.16 table 8-1.
fn system(scheme: &str) -> &str {
    match scheme {
        "DCM" => DCM,
        "SCT" => "http://snomed.info/sct",
        "LN" => "http://loinc.org",
        other => other,
    }
}

fn urn(oid: &str) -> String {
    format!("urn:oid:{oid}")
}

fn profile(name: &str) -> Value {
    json!({ "profile": [structure(name)] })
}

fn structure(name: &str) -> String {
    format!("https://profiles.ihe.net/RAD/MADO/StructureDefinition/{name}")
}

const DCM: &str = "http://dicom.nema.org/resources/ontology/DCM";
const DOCUMENT_CATEGORIES: &str =
    "http://hl7.eu/fhir/eu-health-data-api/CodeSystem/eehrxf-document-priority-category-cs";

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::super::model::two_locations as locations;
    use super::super::study;
    use super::*;

    fn written(study: &Study, locations: &[LocationIds]) -> Value {
        serde_json::from_slice(&write(study, locations)).expect("JSON")
    }

    fn entries(bundle: &Value) -> &Vec<Value> {
        bundle["entry"].as_array().expect("entries")
    }

    fn resource<'a>(bundle: &'a Value, kind: &str) -> &'a Value {
        let is_it = |entry: &&Value| entry["resource"]["resourceType"] == kind;
        &entries(bundle).iter().find(is_it).expect("present")["resource"]
    }

    fn references(value: &Value, found: &mut BTreeSet<String>) {
        if let Some(reference) = value["reference"].as_str() {
            found.insert(reference.to_owned());
        }
        let children = value.as_array().into_iter().flatten();
        children
            .chain(
                value
                    .as_object()
                    .into_iter()
                    .flat_map(|object| object.values()),
            )
            .for_each(|child| references(child, found));
    }

    #[test]
    fn is_a_document_that_starts_with_its_composition() {
        let study = study::small();
        let bundle = written(&study, &locations());
        assert_eq!(
            (&bundle["resourceType"], &bundle["type"]),
            (&json!("Bundle"), &json!("document"))
        );
        assert_eq!(
            bundle["entry"][0]["resource"]["resourceType"],
            "Composition"
        );
        assert_eq!(bundle["identifier"]["value"], study.manifest.uid.as_str());
        assert_eq!(
            resource(&bundle, "Composition")["identifier"],
            bundle["identifier"]
        );
        assert!(bundle.get("total").is_none());
    }

    #[test]
    fn lists_every_series_and_instance() {
        let study = study::small();
        let bundle = written(&study, &locations());
        let listed = resource(&bundle, "ImagingStudy");
        assert_eq!(
            listed["identifier"][0]["value"],
            format!("urn:oid:{}", study.uid)
        );
        assert_eq!(
            (&listed["numberOfSeries"], &listed["numberOfInstances"]),
            (&json!(3), &json!(8))
        );
        let series = listed["series"].as_array().expect("series");
        assert_eq!(series.len(), study.series.len());
        for (listed, series) in series.iter().zip(&study.series) {
            assert_eq!(listed["uid"], series.uid.as_str());
            assert_eq!(listed["numberOfInstances"], series.instances.len());
            let uids = listed["instance"]
                .as_array()
                .expect("instances")
                .iter()
                .map(|i| i["uid"].as_str());
            assert!(uids.eq(series.instances.iter().map(|i| Some(i.uid.as_str()))));
        }
    }

    #[test]
    fn each_series_points_to_the_endpoint_of_its_location() {
        let (study, locations) = (study::small(), locations());
        let bundle = written(&study, &locations);
        for (index, series) in study.series.iter().enumerate() {
            let target =
                &resource(&bundle, "ImagingStudy")["series"][index]["endpoint"][0]["reference"];
            let found = entries(&bundle)
                .iter()
                .find(|entry| entry["fullUrl"] == *target);
            let endpoint = &found.expect("the endpoint")["resource"];
            let ids = &locations[series.location.index()];
            assert_eq!(endpoint["address"], ids.retrieve_url);
            assert_eq!(
                endpoint["extension"][0]["valueString"],
                ids.retrieve_location_uid
            );
        }
    }

    #[test]
    fn every_reference_leads_to_an_entry_and_every_entry_is_referenced() {
        let bundle = written(&study::small(), &locations());
        let mut found = BTreeSet::from([urn_uuid(COMPOSITION)]);
        references(&bundle, &mut found);
        let entries = entries(&bundle);
        let targets: BTreeSet<String> = entries
            .iter()
            .filter_map(|entry| entry["fullUrl"].as_str())
            .map(str::to_owned)
            .collect();
        assert_eq!(targets.len(), entries.len());
        assert_eq!(found, targets);
    }

    #[test]
    fn counts_frames_only_of_instances_that_can_have_several() {
        let mut study = study::small();
        study.series[2].instances[0].frames = Some(12);
        let bundle = written(&study, &locations());
        let series = &resource(&bundle, "ImagingStudy")["series"];
        assert_eq!(series[2]["instance"][0]["extension"][0]["valueInteger"], 12);
        assert!(series[0]["instance"][0].get("extension").is_none());
    }

    #[test]
    fn a_series_without_a_known_location_has_no_endpoint() {
        let bundle = written(&study::small(), &locations()[..1]);
        let series = &resource(&bundle, "ImagingStudy")["series"];
        assert!(series[0].get("endpoint").is_some());
        assert!(series[1].get("endpoint").is_none());
    }
}
