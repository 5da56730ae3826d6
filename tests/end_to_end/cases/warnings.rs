//! What is told about the defects of a manifest: to its sender, and on a terminal.

use std::path::PathBuf;

use serde_json::Value;

use super::shared_cases;
use crate::commands::show;
use crate::rig::Rig;

/// The outcome and the text of each warning of a registration.
async fn warnings(document: Vec<u8>) -> Vec<(String, String)> {
    let manifest = Rig::start("").register(document).await;
    let list = manifest.summary["warnings"].as_array().expect("a list");
    let text = |value: &Value| value.as_str().expect("a text").to_owned();
    // No location is configured here.
    let of_manifest = list
        .iter()
        .filter(|warning| !text(&warning["text"]).contains("configured location"));
    of_manifest
        .map(|one| (text(&one["outcome"]), text(&one["text"])))
        .collect()
}

fn case(name: &str) -> Option<Vec<u8>> {
    let file = shared_cases("manifests")?.join(name);
    Some(std::fs::read(file).expect("a manifest"))
}

fn published() -> Option<PathBuf> {
    let folder = shared_cases("manifests")?.join("../../data/ihe-mado");
    Some(folder.canonicalize().expect("published examples"))
}

#[tokio::test]
async fn nothing_that_is_used_is_told_to_be_left_out() {
    let Some(folder) = published() else { return };
    for (name, expected) in [
        ("MADO_KOS_A.dcm", 3),
        ("MADO_KOS_B.dcm", 3),
        ("study-b.fhir-manifest.json", 1),
    ] {
        let document = std::fs::read(folder.join(name)).expect("a manifest");
        let warnings = warnings(document).await;
        assert_eq!(warnings.len(), expected, "{name}: {warnings:#?}");
        for (outcome, text) in warnings {
            assert_eq!(outcome, "read_all_the_same", "{name}: {text}");
        }
    }
    for (name, expected) in [
        (
            "kos-counts-as-text.dcm",
            "read all the same: series 3 \"Lunge 1.0\", series 4 \"Cine\", series 9 \"Key images\": \
             the number of instances is written as text, not as a number",
        ),
        (
            "kos-descriptors-beside.dcm",
            "read all the same: series 3 \"Lunge 1.0\", series 4 \"Cine\", series 9 \"Key images\": \
             the descriptions of instances stand beside them, not below them",
        ),
    ] {
        let Some(document) = case(name) else { return };
        let warnings = warnings(document).await;
        let texts: Vec<_> = warnings.iter().map(|(_, text)| text.as_str()).collect();
        assert!(texts.contains(&expected), "{name}: {texts:#?}");
        let is_used = |(outcome, _): &(String, String)| outcome == "read_all_the_same";
        assert!(warnings.iter().all(is_used), "{name}: {warnings:#?}");
    }
}

#[tokio::test]
async fn an_address_that_is_not_used_is_told_with_its_reason_and_its_series() {
    let Some(document) = case("fhir-unusable-address.json") else {
        return;
    };
    let with = |address: &str| {
        let mut bundle: Value = serde_json::from_slice(&document).expect("JSON");
        for entry in bundle["entry"].as_array_mut().expect("entries") {
            if entry["resource"]["resourceType"] == "Endpoint" {
                entry["resource"]["address"] = address.into();
            }
        }
        bundle.to_string().into_bytes()
    };
    for (address, why) in [
        (
            "http://user:pw@pacs.example/rs",
            "a user name or a password",
        ),
        ("https://pacs.example/\u{1b}[31m", "control characters"),
        ("file:///srv/pacs", "not of http or https"),
        ("file:/srv/pacs", "not of http or https"),
        ("https://pacs.example/wado?x=1", "a query or a fragment"),
    ] {
        let warnings = warnings(with(address)).await;
        let [(outcome, text)] = &warnings[..] else {
            panic!("{address}: {warnings:#?}");
        };
        assert_eq!(outcome, "left_out", "{address}");
        assert!(
            text.contains(why) && text.contains("series 3 \"Lunge 1.0\""),
            "{text}"
        );
        assert!(!text.contains("pw@") && !text.contains('\u{1b}'), "{text}");
    }
}

/// Every text of a manifest that is shown, with characters that a terminal obeys in it.
#[test]
fn a_terminal_obeys_no_manifest() {
    let Some(plain) = case("fhir-control-characters.json") else {
        return;
    };
    const OBEYED: &str = "\u{1b}]0;t\u{7}\u{9b}31m\u{202e}\u{2066}\r";
    let mut documents = vec![plain.clone()];
    for pointer in [
        "/identifier/value",
        "/entry/1/resource/description",
        "/entry/1/resource/modality/0/code",
        "/entry/1/resource/series/0/modality/code",
        "/entry/1/resource/series/0/description",
        "/entry/3/resource/address",
        "/entry/3/resource/extension/0/valueString",
        "/entry/4/resource/identifier/0/value",
    ] {
        let mut bundle: Value = serde_json::from_slice(&plain).expect("JSON");
        let value = bundle.pointer_mut(pointer).expect(pointer);
        *value = format!("A{OBEYED}B").into();
        documents.push(bundle.to_string().into_bytes());
    }
    let mut broken: Value = serde_json::from_slice(&plain).expect("JSON");
    broken["entry"][1]["resource"]["series"][0]["uid"] = format!("1.2{OBEYED}").into();
    documents.push(broken.to_string().into_bytes());
    documents.push(format!("{{\"{OBEYED}\": [").into_bytes());
    let is_obeyed = |c: char| {
        c.is_control() && c != '\n'
            || matches!(c, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
    };
    for document in documents {
        for arguments in [&[][..], &["--json"]] {
            let (code, output, errors) = show(&document, arguments);
            assert!(!output.contains(is_obeyed), "{output:?}");
            assert!(!errors.contains(is_obeyed), "{errors:?}");
            if code == 0 && !arguments.is_empty() {
                let shown: Value = serde_json::from_str(&output).expect("JSON");
                assert_eq!(
                    shown["studies"][0]["series"].as_array().map(Vec::len),
                    Some(3)
                );
            }
        }
    }
}
