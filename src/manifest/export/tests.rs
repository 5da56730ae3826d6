//! Small documents and what becomes of them.

use serde_json::{Value, json};

use super::*;

fn export(document: &Value, is_r5: bool) -> Value {
    let written = text(&document.to_string(), is_r5).expect("a Bundle");
    serde_json::from_str(&written).expect("JSON")
}

fn text(document: &str, is_r5: bool) -> Option<String> {
    let export = Export {
        series: HashSet::new(),
        root: "https://here.example/manifests/1/dicomweb",
        wado_uri: "https://here.example/manifests/1/wado",
        context: "https://here.example/manifests",
        is_r5,
    };
    let written = export.write(document.as_bytes()).ok()?;
    String::from_utf8(written).ok()
}

#[test]
fn an_address_that_leads_here_is_not_absent() {
    const REASON: &str = r#"{"url":"http://hl7.org/fhir/StructureDefinition/data-absent-reason","valueCode":"unknown"}"#;
    const HERE: &str = r#""address":"https://here.example/manifests/1/dicomweb""#;
    let kind = r#""resourceType":"Endpoint","connectionType":{"code":"dicom-wado-rs"}"#;
    for (before, after) in [
        (
            format!(
                r#"{{{kind},"address":"http://notspecified","_address":{{"extension":[{REASON}]}}}}"#
            ),
            format!(r#"{{{kind},{HERE}}}"#),
        ),
        (
            format!(r#"{{ "_address" : {{"extension":[{REASON}]}} , {kind}}}"#),
            format!(r#"{{{HERE},  {kind}}}"#),
        ),
        (
            format!(r#"{{{kind},"_address":null,"id":"1"}}"#),
            format!(r#"{{{HERE},{kind},"id":"1"}}"#),
        ),
        (
            format!(
                r#"{{{kind},"_address":{{"id":"a","extension":[{REASON},{{"url":"x"}}]}},"address":"u"}}"#
            ),
            format!(r#"{{{kind},"_address":{{"extension":[{{"url":"x"}}],"id":"a"}},{HERE}}}"#),
        ),
        (
            format!(r#"{{{kind},"address":null}}"#),
            format!(r#"{{{kind},{HERE}}}"#),
        ),
        (
            r#"{"resourceType":"Endpoint","address":"u","connectionType":{"code":"web-viewer"}}"#
                .into(),
            r#"{"resourceType":"Endpoint","address":"u","connectionType":{"code":"web-viewer"}}"#
                .into(),
        ),
    ] {
        let bundle = |endpoint: &str| {
            format!(
                r#"{{"resourceType":"Bundle","entry":[{{"resource":{endpoint}}}, {{"x": 1}}]}}"#
            )
        };
        assert_eq!(
            text(&bundle(&before), false),
            Some(bundle(&after)),
            "{before}"
        );
        let contained = |endpoint: &str| {
            bundle(&format!(
                r#"{{"resourceType":"ImagingStudy","contained":[{endpoint}]}}"#
            ))
        };
        assert_eq!(
            text(&contained(&before), false),
            Some(contained(&after)),
            "{before}"
        );
    }
}

#[test]
fn a_composition_shares_the_identifier_and_relates_to_the_original() {
    let original = json!({ "system": "urn:ietf:rfc:3986", "value": "urn:oid:1.2.3" });
    let bundle = |relates_to: Value| {
        json!({
            "resourceType": "Bundle", "id": "1.2.3", "identifier": original,
            "entry": [{ "resource": {
                "resourceType": "Composition", "identifier": original, "relatesTo": relates_to,
            } }],
        })
    };
    let own = identity::uid("1.2.3", "https://here.example/manifests");
    let of_r4 = json!({ "code": "transforms", "targetIdentifier": original });
    let of_r5 = json!({ "type": "transforms", "resourceReference": { "identifier": original } });
    let earlier = json!({ "code": "replaces", "targetIdentifier": { "value": "x" } });
    for (is_r5, before, after) in [
        (false, json!([]), json!([of_r4])),
        (false, json!([earlier]), json!([of_r4, earlier])),
        (true, json!([]), json!([of_r5])),
    ] {
        let written = export(&bundle(before), is_r5);
        let identifier =
            json!({ "system": "urn:ietf:rfc:3986", "value": format!("urn:oid:{own}") });
        assert_eq!(written["id"], own);
        assert_eq!(written["identifier"], identifier);
        let composition = &written["entry"][0]["resource"];
        assert_eq!(composition["identifier"], identifier);
        assert_eq!(composition["relatesTo"], after);
    }
}

#[test]
fn only_a_bundle_that_has_an_identifier_gets_one() {
    let composition = json!({ "resource": { "resourceType": "Composition" } });
    let without = json!({ "resourceType": "Bundle", "id": "b", "entry": [composition] });
    assert_eq!(export(&without, false), without);
    let named = json!({
        "resourceType": "Bundle", "id": "b", "identifier": { "system": "s", "value": "no-oid" },
        "entry": [composition],
    });
    let written = export(&named, false);
    let value = written["identifier"]["value"].as_str().expect("a text");
    assert!(value.starts_with("urn:oid:2.25."), "{value}");
    assert_eq!(written["id"], "b");
    let target = &written["entry"][0]["resource"]["relatesTo"][0]["targetIdentifier"];
    assert_eq!(*target, named["identifier"]);
}

#[test]
fn an_imaging_study_without_a_bundle_leads_here_too() {
    let own = json!({ "system": "urn:dicom:uid", "value": "urn:oid:1.2.3" });
    for identifier in [own.clone(), json!([own])] {
        let study = json!({
            "resourceType": "ImagingStudy", "id": "1.2.3", "identifier": identifier,
            "contained": [
                { "resourceType": "Endpoint", "connectionType": { "code": "dicom-wado-uri" } },
            ],
        });
        let written = export(&study, false);
        let address = "https://here.example/manifests/1/wado";
        assert_eq!(written["contained"][0]["address"], address);
        assert_eq!(written["identifier"], study["identifier"]);
        assert_eq!(written["id"], "1.2.3");
    }
}

#[test]
fn a_binary_is_exported_as_what_it_holds() {
    let bundle = r#"{"resourceType":"Bundle","entry":[{"resource":{"resourceType":"Endpoint","connectionType":{"code":"dicom-wado-rs"},"address":"u"}}]}"#;
    let data = data_encoding::BASE64.encode(bundle.as_bytes());
    let binary = json!({ "resourceType": "Binary", "data": data });
    assert_eq!(text(&binary.to_string(), false), text(bundle, false));
}
