//! Items of sequences: codes (PS3.3 8.8), issuers (10.14), identifiers, requests, and the content of
//! key object selections.

use serde_json::{Map, Value, json};

use crate::manifest::model::{Accession, Code, FlaggedInstance, KeyObject, PatientId};
use crate::manifest::outline::Outline;

/// Coding schemes in FHIR, and their designators in DICOM (PS3.16 table 8-1).
const SCHEMES: [(&str, &str); 6] = [
    ("http://snomed.info/sct", "SCT"),
    ("http://dicom.nema.org/resources/ontology/DCM", "DCM"),
    ("http://radlex.org", "RADLEX"),
    ("http://www.radlex.org", "RADLEX"),
    ("http://loinc.org", "LN"),
    ("http://hl7.org/fhir/sid/icd-10", "I10"),
];

/// A code.
pub(super) fn code_item(code: &Code) -> Value {
    let mut item = Map::new();
    let value = &*code.value;
    let meaning = code.meaning.as_deref().unwrap_or(value);
    if !value.is_empty() {
        let (tag, vr) = match value {
            _ if is_uri(value) => ("00080120", "UR"),
            _ if value.chars().count() > 16 => ("00080119", "UC"),
            _ => ("00080100", "SH"),
        };
        item.insert(tag.into(), attribute(vr, value));
    }
    if let Some(scheme) = code.scheme.as_deref().and_then(designator) {
        item.insert("00080102".into(), attribute("SH", scheme));
    }
    item.insert("00080104".into(), attribute("LO", meaning));
    Value::Object(item)
}

// SH has at most 16 characters; a URI without a designator has none in DICOM.
fn designator(scheme: &str) -> Option<&str> {
    let known = SCHEMES.iter().find(|(uri, _)| *uri == scheme);
    let designator = known.map_or(scheme, |(_, designator)| designator);
    (!is_uri(designator) && designator.chars().count() <= 16).then_some(designator)
}

fn is_uri(text: &str) -> bool {
    text.starts_with("urn:") || text.contains("://")
}

/// An issuer: a universal entity, or a local name.
pub(super) fn issuer_item(issuer: &str) -> Value {
    let kind = match issuer {
        _ if is_uri(issuer) => "URI",
        _ if crate::dicom::Uid::parse(issuer).is_ok() => "ISO",
        _ => return json!({ "00400031": attribute("UT", issuer) }),
    };
    json!({ "00400032": attribute("UT", issuer), "00400033": attribute("CS", kind) })
}

/// A patient identifier, of Other Patient IDs Sequence.
pub(super) fn patient_id_item(id: &PatientId) -> Value {
    let mut item = json!({
        "00100020": attribute("LO", &id.value),
        "00100022": attribute("CS", "TEXT"),
    });
    if let Some(issuer) = id.issuer.as_deref() {
        item["00100021"] = attribute("LO", issuer);
        item["00100024"] = sequence([issuer_item(issuer)]);
    }
    item
}

/// The request for an accession number, of Referenced Request Sequence.
pub(super) fn request(accession: &Accession, study: &Outline) -> Value {
    let mut item = json!({
        "00080050": attribute("SH", &accession.value),
        "0020000D": attribute("UI", study.uid.as_str()),
    });
    if let Some(issuer) = accession.issuer.as_deref() {
        item["00080051"] = sequence([issuer_item(issuer)]);
    }
    item
}

/// The content of a key object selection (PS3.16 TID 2010), as far as the manifest tells it.
pub(super) fn content_items(key_object: &KeyObject) -> Vec<Value> {
    let description = key_object.description.iter().map(|text| {
        let name = json!({
            "00080100": attribute("SH", "113012"),
            "00080102": attribute("SH", "DCM"),
            "00080104": attribute("LO", "Key Object Description"),
        });
        json!({
            "0040A010": attribute("CS", "CONTAINS"),
            "0040A040": attribute("CS", "TEXT"),
            "0040A043": sequence([name]),
            "0040A160": attribute("UT", text),
        })
    });
    let flagged = key_object.flagged.iter().map(flagged_item);
    description.chain(flagged).collect()
}

fn flagged_item(flagged: &FlaggedInstance) -> Value {
    let FlaggedInstance { sop_class, uid } = flagged;
    let reference = json!({
        "00081150": attribute("UI", sop_class.as_str()),
        "00081155": attribute("UI", uid.as_str()),
    });
    json!({
        "00081199": sequence([reference]),
        "0040A010": attribute("CS", "CONTAINS"),
        "0040A040": attribute("CS", value_type(sop_class.as_str())),
    })
}

// PS3.3 C.18.3 to C.18.5: waveforms, and documents, which are composite objects.
fn value_type(sop_class: &str) -> &'static str {
    match sop_class.strip_prefix("1.2.840.10008.5.1.4.1.1.") {
        Some(storage) if storage.starts_with("9.") => "WAVEFORM",
        Some(storage) if storage.starts_with("88.") || storage.starts_with("104.") => "COMPOSITE",
        Some(_) | None => "IMAGE",
    }
}

fn attribute(vr: &str, value: &str) -> Value {
    json!({ "vr": vr, "Value": [value] })
}

fn sequence<const N: usize>(items: [Value; N]) -> Value {
    let items = Vec::from(items);
    json!({ "vr": "SQ", "Value": items })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_code_keeps_to_the_representations_of_dicom() {
        let code = |value: &str, scheme: &str| Code {
            value: value.into(),
            scheme: Some(scheme.into()),
            meaning: None,
        };
        for (code, tag, scheme) in [
            (
                code("39607008", "http://snomed.info/sct"),
                "00080100",
                "SCT",
            ),
            (code("RPID16", "http://radlex.org"), "00080100", "RADLEX"),
            (code("12345678901234567", "99X"), "00080119", "99X"),
            (code("urn:oid:1.2", "99X"), "00080120", "99X"),
        ] {
            let item = code_item(&code);
            assert_eq!(item[tag]["Value"][0], *code.value, "{item}");
            assert_eq!(item["00080102"]["Value"][0], scheme, "{item}");
            assert_eq!(item["00080104"]["Value"][0], *code.value, "{item}");
        }
        let foreign = code_item(&code("7", "https://codes.example/local"));
        assert!(foreign.get("00080102").is_none(), "{foreign}");
    }

    #[test]
    fn an_issuer_is_universal_or_local() {
        for (issuer, kind) in [("1.2.3", "ISO"), ("https://h.example/ids", "URI")] {
            let item = issuer_item(issuer);
            assert_eq!(item["00400032"]["Value"][0], issuer);
            assert_eq!(item["00400033"]["Value"][0], kind);
        }
        assert_eq!(issuer_item("RIS")["00400031"]["Value"][0], "RIS");
    }
}
