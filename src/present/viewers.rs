//! Documents that open a manifest in a viewer. Pure.

use serde_json::{Map, Value, json};

use crate::search::Row;

/// The attributes that OHIF's `dicomjson` data source expects at a study and a series rather than
/// at every instance.
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

/// The document for OHIF's `dicomwebproxy` data source: the address of the gateway.
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
                // With a quoted value the browser would send every request for a frame twice.
                "omitQuotationForMultipartRequest": true,
                "bulkDataURI": { "enabled": true, "relativeResolution": "studies" },
            }],
        },
    })
}

/// Attributes by keyword, with plain values, as OHIF expects them.
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

/// A study for OHIF's `dicomjson` data source, without its series.
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
}
