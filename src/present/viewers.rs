//! Documents that open a manifest in a viewer. Pure.

use std::fmt::Write;

use serde_json::{Map, Value, json};

use crate::search::Row;

/// Attributes that OHIF's `dicomjson` data source has at a study and a series rather than at every
/// instance.
const OF_STUDY: &[&str] = &[
    "StudyInstanceUID",
    "StudyDate",
    "StudyTime",
    "StudyDescription",
    "AccessionNumber",
    "PatientName",
    "PatientID",
    "PatientSex",
    "PatientBirthDate",
];
const OF_SERIES: &[&str] = &[
    "SeriesInstanceUID",
    "SeriesNumber",
    "SeriesDescription",
    "SeriesDate",
    "SeriesTime",
    "Modality",
];

/// The document that OHIF's `dicomwebproxy` data source takes: where the one server is.
#[must_use]
pub fn ohif_proxy(root: &str, wado_uri: &str) -> Value {
    json!({
        "servers": {
            "dicomWeb": [{
                "name": "xcwado",
                "friendlyName": "xcwado",
                "qidoRoot": root,
                "wadoRoot": root,
                "wadoUriRoot": wado_uri,
                "qidoSupportsIncludeField": true,
                "supportsFuzzyMatching": false,
                "supportsWildcard": true,
                "supportsReject": false,
                "supportsStow": false,
                "imageRendering": "wadors",
                "thumbnailRendering": "wadors",
                "enableStudyLazyLoad": true,
                // Quoted, every request for a frame would be asked for twice by the browser.
                "omitQuotationForMultipartRequest": true,
                "bulkDataURI": { "enabled": true, "relativeResolution": "studies" },
            }],
        },
    })
}

/// Attributes by keyword, with plain values, as OHIF wants them.
#[must_use]
pub fn naturalized(set: &Map<String, Value>) -> Map<String, Value> {
    let mut natural = Map::new();
    for (tag, attribute) in set {
        let Some(keyword) = super::xml::keyword(tag) else {
            continue;
        };
        let values = attribute["Value"].as_array().map(Vec::as_slice);
        let value = match values {
            Some([one]) if attribute["vr"] != "SQ" => natural_value(one),
            Some(many) => many.iter().map(natural_value).collect(),
            None => continue,
        };
        natural.insert(keyword.to_owned(), value);
    }
    natural
}

fn natural_value(value: &Value) -> Value {
    match value {
        Value::Object(map) if map.contains_key("Alphabetic") => map["Alphabetic"].clone(),
        Value::Object(map) => Value::Object(naturalized(map)),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) | Value::Array(_) => {
            value.clone()
        }
    }
}

/// A study as OHIF's `dicomjson` data source has it, without its series.
#[must_use]
pub fn ohif_study(row: &Row) -> Map<String, Value> {
    chosen(row, OF_STUDY)
}

/// A series, without its instances.
#[must_use]
pub fn ohif_series(row: &Row) -> Map<String, Value> {
    chosen(row, OF_SERIES)
}

fn chosen(row: &Row, keywords: &[&str]) -> Map<String, Value> {
    let mut natural = naturalized(row);
    natural.retain(|keyword, _| keywords.contains(&keyword.as_str()));
    natural
}

/// What a Weasis manifest (its version 2.5) says of a study.
#[derive(Debug)]
pub struct WeasisStudy {
    /// The attributes of the study.
    pub row: Row,
    /// Those of its series.
    pub series: Vec<Row>,
}

/// The manifest that Weasis takes: it asks the root for series and instances itself.
#[must_use]
pub fn weasis(id: &str, root: &str, studies: &[WeasisStudy]) -> String {
    let mut out = String::from(
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n\
         <manifest xmlns=\"http://www.weasis.org/xsd/2.5\" \
         xmlns:xsi=\"http://www.w3.org/2001/XMLSchema-instance\">\n",
    );
    let mut start = String::from("<arcQuery");
    attribute(&mut start, "arcId", id);
    attribute(&mut start, "baseUrl", root);
    attribute(&mut start, "queryMode", "DICOM_WEB");
    let _ = writeln!(out, "  {start}>");
    for study in studies {
        element(
            &mut out,
            4,
            "Patient",
            &study.row,
            &[
                ("PatientID", "00100020"),
                ("IssuerOfPatientID", "00100021"),
                ("PatientName", "00100010"),
                ("PatientBirthDate", "00100030"),
                ("PatientSex", "00100040"),
            ],
        );
        out.push_str(">\n");
        element(
            &mut out,
            6,
            "Study",
            &study.row,
            &[
                ("StudyInstanceUID", "0020000D"),
                ("StudyDescription", "00081030"),
                ("StudyDate", "00080020"),
                ("StudyTime", "00080030"),
                ("AccessionNumber", "00080050"),
                ("StudyID", "00200010"),
                ("ReferringPhysicianName", "00080090"),
            ],
        );
        out.push_str(">\n");
        for series in &study.series {
            element(
                &mut out,
                8,
                "Series",
                series,
                &[
                    ("SeriesInstanceUID", "0020000E"),
                    ("SeriesDescription", "0008103E"),
                    ("SeriesNumber", "00200011"),
                    ("Modality", "00080060"),
                ],
            );
            out.push_str(" WadoTransferSyntaxUID=\"*\"/>\n");
        }
        out.push_str("      </Study>\n    </Patient>\n");
    }
    out.push_str("  </arcQuery>\n</manifest>\n");
    out
}

fn element(out: &mut String, indent: usize, name: &str, row: &Row, attributes: &[(&str, &str)]) {
    let _ = write!(out, "{:indent$}<{name}", "");
    for (key, tag) in attributes {
        let Some(attribute_value) = row.get(*tag) else {
            continue;
        };
        let value = match &attribute_value["Value"][0] {
            Value::String(text) => text.clone(),
            Value::Number(number) => number.to_string(),
            Value::Object(name) => name
                .get("Alphabetic")
                .and_then(Value::as_str)
                .unwrap_or_default()
                .to_owned(),
            Value::Null | Value::Bool(_) | Value::Array(_) => continue,
        };
        attribute(out, key, &value);
    }
}

fn attribute(out: &mut String, name: &str, value: &str) {
    let _ = write!(out, " {name}=\"{}\"", super::xml::escaped(value));
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(value: Value) -> Row {
        value.as_object().expect("an object").clone()
    }

    #[test]
    fn attributes_become_plain_values() {
        let natural = naturalized(&row(json!({
            "00100010": {"vr": "PN", "Value": [{"Alphabetic": "A^B"}]},
            "00200032": {"vr": "DS", "Value": [1, 2.5, 3]},
            "00280010": {"vr": "US", "Value": [512]},
            "00081140": {"vr": "SQ", "Value": [{"00081155": {"vr": "UI", "Value": ["1.3"]}}]},
            "00091001": {"vr": "LO", "Value": ["private"]},
        })));
        assert_eq!(
            Value::Object(natural),
            json!({
                "PatientName": "A^B",
                "ImagePositionPatient": [1, 2.5, 3],
                "Rows": 512,
                "ReferencedImageSequence": [{"ReferencedSOPInstanceUID": "1.3"}],
            })
        );
    }

    #[test]
    fn a_weasis_manifest_escapes_what_it_says() {
        let study = WeasisStudy {
            row: row(json!({
                "0020000D": {"vr": "UI", "Value": ["1.2"]},
                "00100010": {"vr": "PN", "Value": [{"Alphabetic": "A\"<B>"}]},
            })),
            series: vec![row(json!({
                "0020000E": {"vr": "UI", "Value": ["1.2.3"]},
                "00200011": {"vr": "IS", "Value": [7]},
            }))],
        };
        let text = weasis("x", "http://h/a?b&c", &[study]);
        for expected in [
            "baseUrl=\"http://h/a?b&amp;c\"",
            "PatientName=\"A&quot;&lt;B&gt;\"",
            "<Series SeriesInstanceUID=\"1.2.3\" SeriesNumber=\"7\" WadoTransferSyntaxUID=\"*\"/>",
        ] {
            assert!(text.contains(expected), "{expected}\n{text}");
        }
    }
}
