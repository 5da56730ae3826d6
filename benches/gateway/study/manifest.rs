//! Manifests of made-up studies.

use serde_json::{Value, json};

use crate::study::dicom::{Code, Dataset, Tag};
use crate::study::{CT_IMAGE_STORAGE, STUDY, Shape, instance_uid, series_uid};

/// A FHIR Bundle; the series are dealt to `locations`, which are Retrieve Location UIDs.
pub(crate) fn fhir(shape: Shape, locations: &[&str]) -> Vec<u8> {
    let endpoints = locations.iter().enumerate().map(|(at, uid)| {
        let resource = json!({
            "resourceType": "Endpoint",
            "extension": [{
                "url": "https://profiles.ihe.net/RAD/MADO/StructureDefinition/MadoRetrieveLocationUIDExtension",
                "valueString": uid,
            }],
            "status": "active",
            "connectionType": {
                "system": "http://terminology.hl7.org/CodeSystem/endpoint-connection-type",
                "code": "dicom-wado-rs",
            },
            "payloadMimeType": ["application/dicom"],
            "address": format!("https://{at}.example/rs/"),
        });
        json!({ "fullUrl": urn_uuid(at + 1), "resource": resource })
    });
    let series: Vec<Value> = (0..shape.series)
        .map(|at| fhir_series(shape, at, at % locations.len()))
        .collect();
    let study = json!({
        "resourceType": "ImagingStudy",
        "identifier": [{ "system": "urn:dicom:uid", "value": format!("urn:oid:{STUDY}") }],
        "status": "available",
        "series": series,
    });
    let mut entries = vec![json!({ "fullUrl": urn_uuid(0), "resource": study })];
    entries.extend(endpoints);
    json!({ "resourceType": "Bundle", "type": "collection", "entry": entries })
        .to_string()
        .into_bytes()
}

fn fhir_series(shape: Shape, series: usize, location: usize) -> Value {
    let instances: Vec<Value> = (0..shape.instances)
        .map(|instance| {
            json!({
                "uid": instance_uid(series, instance),
                "sopClass": {
                    "system": "urn:ietf:rfc:3986",
                    "code": format!("urn:oid:{CT_IMAGE_STORAGE}"),
                },
                "number": instance + 1,
            })
        })
        .collect();
    json!({
        "uid": series_uid(series),
        "number": series + 1,
        "modality": { "system": "http://dicom.nema.org/resources/ontology/DCM", "code": "CT" },
        "endpoint": [{ "reference": urn_uuid(location + 1) }],
        "instance": instances,
    })
}

fn urn_uuid(number: usize) -> String {
    format!("urn:uuid:6d1c8ac1-2f2e-4a57-9d9b-{number:012x}")
}

/// A Key Object Selection document (IHE RAD MADO) with an image library (TID 1600).
pub(crate) fn kos(shape: Shape, location: &str) -> Vec<u8> {
    let uid = format!("{STUDY}.1");
    let template =
        Dataset::new()
            .text((0x0008, 0x0105), "CS", "DCMR")
            .text((0x0040, 0xDB00), "CS", "2010");
    let evidence = Dataset::new()
        .sequence(
            REFERENCED_SERIES,
            (0..shape.series).map(|series| evidence(shape, series, location)),
        )
        .text((0x0020, 0x000D), "UI", STUDY);
    Dataset::new()
        .text((0x0008, 0x0005), "CS", "ISO_IR 192")
        .text((0x0008, 0x0016), "UI", KEY_OBJECT_SELECTION)
        .text((0x0008, 0x0018), "UI", &uid)
        .text((0x0008, 0x0020), "DA", "20260102")
        .text((0x0008, 0x0023), "DA", "20260102")
        .text((0x0008, 0x0030), "TM", "101112")
        .text((0x0008, 0x0033), "TM", "101112")
        .text((0x0008, 0x0050), "SH", "A0001")
        .text((0x0008, 0x0060), "CS", "KO")
        .text((0x0010, 0x0010), "PN", "Nobody^Body")
        .text((0x0010, 0x0020), "LO", "P0001")
        .text((0x0020, 0x000D), "UI", STUDY)
        .text((0x0020, 0x000E), "UI", &format!("{STUDY}.2"))
        .text(VALUE_TYPE, "CS", "CONTAINER")
        .code(CONCEPT_NAME, MANIFEST_WITH_DESCRIPTION)
        .text(CONTINUITY, "CS", "SEPARATE")
        .sequence((0x0040, 0xA375), [evidence])
        .sequence((0x0040, 0xA504), [template])
        .sequence(CONTENT, content(shape))
        .into_part10(KEY_OBJECT_SELECTION, &uid)
}

fn evidence(shape: Shape, series: usize, location: &str) -> Dataset {
    let instances = (0..shape.instances).map(|instance| reference(series, instance));
    Dataset::new()
        .text((0x0008, 0x1190), "UR", "https://pacs.example/rs/")
        .sequence(REFERENCED_SOP, instances)
        .text((0x0020, 0x000E), "UI", &series_uid(series))
        .text((0x0040, 0xE011), "UI", location)
}

fn reference(series: usize, instance: usize) -> Dataset {
    Dataset::new()
        .text((0x0008, 0x1150), "UI", CT_IMAGE_STORAGE)
        .text((0x0008, 0x1155), "UI", &instance_uid(series, instance))
}

// TID 2010: every instance in a flat list, then the library.
fn content(shape: Shape) -> impl Iterator<Item = Dataset> {
    let images = (0..shape.series)
        .flat_map(move |series| (0..shape.instances).map(move |at| image(series, at)));
    let groups = (0..shape.series).map(move |series| group(shape, series));
    let library = container(IMAGE_LIBRARY, groups);
    images.chain(std::iter::once(library))
}

fn image(series: usize, instance: usize) -> Dataset {
    Dataset::new()
        .sequence(REFERENCED_SOP, [reference(series, instance)])
        .text(RELATIONSHIP, "CS", "CONTAINS")
        .text(VALUE_TYPE, "CS", "IMAGE")
}

// TID 1602, and an entry for each instance.
fn group(shape: Shape, series: usize) -> Dataset {
    let uid =
        described("UIDREF", SERIES_INSTANCE_UID).text((0x0040, 0xA124), "UI", &series_uid(series));
    let entries = (0..shape.instances).map(|instance| entry(series, instance));
    container(
        IMAGE_LIBRARY_GROUP,
        [modality(), uid].into_iter().chain(entries),
    )
}

fn modality() -> Dataset {
    described("CODE", MODALITY).code((0x0040, 0xA168), ("CT", "DCM", "Computed Tomography"))
}

fn entry(series: usize, instance: usize) -> Dataset {
    let number = described("TEXT", INSTANCE_NUMBER).text(
        (0x0040, 0xA160),
        "UT",
        &(instance + 1).to_string(),
    );
    image(series, instance).sequence(CONTENT, [number])
}

fn described(value_type: &str, concept: Code) -> Dataset {
    Dataset::new()
        .text(RELATIONSHIP, "CS", "HAS ACQ CONTEXT")
        .text(VALUE_TYPE, "CS", value_type)
        .code(CONCEPT_NAME, concept)
}

fn container(concept: Code, children: impl IntoIterator<Item = Dataset>) -> Dataset {
    Dataset::new()
        .text(RELATIONSHIP, "CS", "CONTAINS")
        .text(VALUE_TYPE, "CS", "CONTAINER")
        .code(CONCEPT_NAME, concept)
        .text(CONTINUITY, "CS", "SEPARATE")
        .sequence(CONTENT, children)
}

const KEY_OBJECT_SELECTION: &str = "1.2.840.10008.5.1.4.1.1.88.59";

const REFERENCED_SERIES: Tag = (0x0008, 0x1115);
const REFERENCED_SOP: Tag = (0x0008, 0x1199);
const RELATIONSHIP: Tag = (0x0040, 0xA010);
const VALUE_TYPE: Tag = (0x0040, 0xA040);
const CONCEPT_NAME: Tag = (0x0040, 0xA043);
const CONTINUITY: Tag = (0x0040, 0xA050);
const CONTENT: Tag = (0x0040, 0xA730);

// PS3.16 annex D.
const MANIFEST_WITH_DESCRIPTION: Code = ("131560", "DCM", "Manifest with Description");
const IMAGE_LIBRARY: Code = ("111028", "DCM", "Image Library");
const IMAGE_LIBRARY_GROUP: Code = ("126200", "DCM", "Image Library Group");
const MODALITY: Code = ("121139", "DCM", "Modality");
const SERIES_INSTANCE_UID: Code = ("112002", "DCM", "Series Instance UID");
const INSTANCE_NUMBER: Code = ("113609", "DCM", "Instance Number");
