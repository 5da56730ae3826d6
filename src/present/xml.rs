//! Converts the DICOM JSON model into the equivalent Native DICOM Model (PS3.19 A.1).

use std::fmt::Write;

use dicom_core::Tag;
use dicom_core::dictionary::{DataDictionary, DataDictionaryEntry};
use dicom_dictionary_std::StandardDataDictionary;
use serde_json::{Map, Value};

/// The document of a data set in the JSON model.
#[must_use]
pub(super) fn document(set: &Value) -> String {
    let mut out = String::from(
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n\
         <NativeDicomModel xmlns=\"http://dicom.nema.org/PS3.19/models/NativeDICOM\" xml:space=\"preserve\">",
    );
    if let Some(set) = set.as_object() {
        attributes(set, &mut out);
    }
    out.push_str("</NativeDicomModel>\n");
    out
}

fn attributes(set: &Map<String, Value>, out: &mut String) {
    for (tag, attribute) in set {
        let vr = attribute["vr"].as_str().unwrap_or("UN");
        let _ = write!(
            out,
            "<DicomAttribute tag=\"{}\" vr=\"{}\"",
            escaped(tag),
            escaped(vr)
        );
        if let Some(keyword) = keyword(tag) {
            let _ = write!(out, " keyword=\"{keyword}\"");
        }
        if let Some(creator) = private_creator(set, tag) {
            let _ = write!(out, " privateCreator=\"{}\"", escaped(creator));
        }
        out.push('>');
        value(attribute, out);
        out.push_str("</DicomAttribute>");
    }
}

fn value(attribute: &Value, out: &mut String) {
    if let Some(link) = attribute["BulkDataURI"].as_str() {
        let _ = write!(out, "<BulkData uri=\"{}\"/>", escaped(link));
    } else if let Some(bytes) = attribute["InlineBinary"].as_str() {
        let _ = write!(out, "<InlineBinary>{}</InlineBinary>", escaped(bytes));
    }
    let values = attribute["Value"].as_array().into_iter().flatten();
    for (value, number) in values.zip(1..) {
        match value {
            Value::Object(item) if attribute["vr"] == "SQ" => {
                let _ = write!(out, "<Item number=\"{number}\">");
                attributes(item, out);
                out.push_str("</Item>");
            }
            Value::Object(name) => {
                let _ = write!(out, "<PersonName number=\"{number}\">");
                person_name(name, out);
                out.push_str("</PersonName>");
            }
            Value::String(text) => {
                let _ = write!(out, "<Value number=\"{number}\">{}</Value>", escaped(text));
            }
            Value::Number(text) => {
                let _ = write!(out, "<Value number=\"{number}\">{text}</Value>");
            }
            // The model omits an empty value among others.
            Value::Null | Value::Bool(_) | Value::Array(_) => {}
        }
    }
}

fn person_name(name: &Map<String, Value>, out: &mut String) {
    const COMPONENTS: [&str; 5] = [
        "FamilyName",
        "GivenName",
        "MiddleName",
        "NamePrefix",
        "NameSuffix",
    ];
    for (group, text) in name {
        let group = escaped(group);
        let _ = write!(out, "<{group}>");
        let parts = text.as_str().unwrap_or_default().split('^');
        for (component, part) in COMPONENTS.into_iter().zip(parts) {
            if !part.is_empty() {
                let _ = write!(out, "<{component}>{}</{component}>", escaped(part));
            }
        }
        let _ = write!(out, "</{group}>");
    }
}

pub(super) fn keyword(tag: &str) -> Option<&'static str> {
    let number = u32::from_str_radix(tag, 16).ok()?;
    let (group, element) = ((number >> 16) as u16, (number & 0xFFFF) as u16);
    let entry = StandardDataDictionary.by_tag(Tag(group, element))?;
    Some(entry.alias())
}

/// PS3.5 7.8.1: the element (gggg,00bb) names the creator of the elements (gggg,bbee).
fn private_creator<'a>(set: &'a Map<String, Value>, tag: &str) -> Option<&'a str> {
    let group = tag.get(..4)?;
    let block = tag.get(4..6)?;
    let is_private = u16::from_str_radix(group, 16).ok()? % 2 == 1;
    if !is_private || block == "00" {
        return None;
    }
    set.get(&format!("{group}00{block}"))?["Value"][0].as_str()
}

/// Escapes text or an attribute value. XML 1.0 cannot represent most control characters.
pub(super) fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\n' | '\t' => out.push(c),
            '\r' => out.push_str("&#13;"),
            c if c.is_control() || matches!(c, '\u{FFFE}' | '\u{FFFF}') => out.push('\u{FFFD}'),
            c => out.push(c),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn names_items_links_and_private_attributes_are_written() {
        let set = json!({
            "00080018": {"vr": "UI", "Value": ["1.2"]},
            "00100010": {"vr": "PN", "Value": [{"Alphabetic": "A^<B>"}]},
            "00080060": {"vr": "CS"},
            "00081140": {"vr": "SQ", "Value": [{"00081155": {"vr": "UI", "Value": ["1.3"]}}]},
            "00090010": {"vr": "LO", "Value": ["ME & YOU"]},
            "00091001": {"vr": "OB", "InlineBinary": "AQI="},
            "7FE00010": {"vr": "OW", "BulkDataURI": "http://x/?a&b"},
        });
        let text = document(&set);
        for expected in [
            "<DicomAttribute tag=\"00080018\" vr=\"UI\" keyword=\"SOPInstanceUID\"><Value number=\"1\">1.2</Value>",
            "<PersonName number=\"1\"><Alphabetic><FamilyName>A</FamilyName><GivenName>&lt;B&gt;</GivenName>",
            "keyword=\"Modality\"></DicomAttribute>",
            "<Item number=\"1\"><DicomAttribute tag=\"00081155\"",
            "tag=\"00091001\" vr=\"OB\" privateCreator=\"ME &amp; YOU\"><InlineBinary>AQI=</InlineBinary>",
            "<BulkData uri=\"http://x/?a&amp;b\"/>",
        ] {
            assert!(text.contains(expected), "{expected}\n{text}");
        }
    }
}
