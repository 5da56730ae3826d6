//! Documents that open a manifest in a viewer. Pure.

use dicom_dictionary_std::uids;
use serde_json::{Map, Value, json};

use crate::dicom::TransferSyntax;
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
                // OHIF plays videos and shows documents from where they are `rendered`.
                "singlepart": "video,pdf",
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

/// A study for OHIF's `dicomjson` data source, without its series: so many instances, of these
/// modalities.
#[must_use]
pub fn ohif_study(row: &Row, instances: usize, modalities: &[&str]) -> Map<String, Value> {
    let mut study = chosen(row, OF_STUDY);
    study.insert("NumInstances".to_owned(), instances.into());
    study.insert("Modalities".to_owned(), modalities.join("/").into());
    study
}

/// The most frames of an instance that get an entry each; a list of more says nothing of them.
pub const MOST_FRAMES: u64 = 100_000;

/// An instance for OHIF's `dicomjson` data source: its attributes, and its address.
#[derive(Debug)]
pub struct OhifInstance {
    metadata: Map<String, Value>,
    /// The address of the Part 10 file, with a query.
    url: String,
    /// The number of its frames, if each one has an entry.
    frames: u64,
}

impl OhifInstance {
    /// `set`: the metadata, with links below the root; `address`: where the instance is.
    #[must_use]
    pub fn new(set: &Map<String, Value>, address: &str, transfer_syntax: &TransferSyntax) -> Self {
        let mut metadata = naturalized(set);
        let rendered = format!("{address}/rendered");
        let is_video = transfer_syntax.is_video();
        // Without an address in its value, OHIF asks its own server for a document, because this
        // data source has no root.
        if let Some(document) = set.get(ENCAPSULATED_DOCUMENT).filter(|_| is_pdf(set)) {
            let document = with_address(document, &rendered);
            metadata.insert("EncapsulatedDocument".to_owned(), document);
        }
        let frames = metadata.get("NumberOfFrames").and_then(number);
        let has_entries = |frames: &u64| !is_video && (2..=MOST_FRAMES).contains(frames);
        if is_video {
            // OHIF knows a video by this attribute.
            let syntax = Value::from(transfer_syntax.as_str());
            metadata.insert("AvailableTransferSyntaxUID".to_owned(), syntax);
        }
        if let Some(pixels) = set.get(PIXEL_DATA).filter(|_| is_video) {
            metadata.insert("PixelData".to_owned(), with_address(pixels, &rendered));
        }
        Self {
            // OHIF plays a video from the address of its instance.
            url: if is_video {
                rendered
            } else {
                format!("dicomweb:{address}?accept=application/dicom%3B%20transfer-syntax%3D*")
            },
            frames: frames.filter(has_entries).unwrap_or(1),
            metadata,
        }
    }

    /// The entry of the instance, or of its first frame, which describes the instance.
    #[must_use]
    pub fn entry(&self) -> String {
        let metadata = serde_json::to_string(&self.metadata).expect("memory takes every text");
        format!(
            "{{\"metadata\":{metadata},\"url\":{}}}",
            Value::from(self.url_of(1))
        )
    }

    /// The entries of the other frames. OHIF takes from them nothing but the address; attributes of
    /// an instance once for each frame would make a document of gigabytes.
    pub fn further_entries(&self) -> impl Iterator<Item = Value> {
        let metadata = IN_EACH_ENTRY.iter().filter_map(|keyword| {
            let value = self.metadata.get(*keyword)?;
            Some(((*keyword).to_owned(), value.clone()))
        });
        let metadata: Map<String, Value> = metadata.collect();
        (2..=self.frames)
            .map(move |frame| json!({ "metadata": metadata, "url": self.url_of(frame) }))
    }

    fn url_of(&self, frame: u64) -> String {
        match self.frames {
            1 => self.url.clone(),
            _ => format!("{}&frame={frame}", self.url),
        }
    }
}

const ENCAPSULATED_DOCUMENT: &str = "00420011";
const MIME_TYPE: &str = "00420012";
const SOP_CLASS: &str = "00080016";
const PIXEL_DATA: &str = "7FE00010";
const IN_EACH_ENTRY: &[&str] = &[
    "SOPInstanceUID",
    "SOPClassUID",
    "SeriesInstanceUID",
    "StudyInstanceUID",
    "InstanceNumber",
    "NumberOfFrames",
    "Rows",
    "Columns",
];

/// A value as it stands in metadata or, if it does not stand there itself, the address at which a
/// browser gets it.
fn with_address(value: &Value, address: &str) -> Value {
    match (value.get("InlineBinary"), value.get("BulkDataURI")) {
        (Some(inline), _) => json!({ "InlineBinary": inline }),
        (None, Some(link)) => json!({ "BulkDataURI": link, "DirectRetrieveURL": address }),
        (None, None) => json!({ "DirectRetrieveURL": address }),
    }
}

fn is_pdf(set: &Map<String, Value>) -> bool {
    match first(set, MIME_TYPE) {
        Some(media_type) => media_type.eq_ignore_ascii_case("application/pdf"),
        None => first(set, SOP_CLASS) == Some(uids::ENCAPSULATED_PDF_STORAGE),
    }
}

/// The first value of a text attribute.
fn first<'a>(set: &'a Map<String, Value>, tag: &str) -> Option<&'a str> {
    set.get(tag)?["Value"][0].as_str().map(str::trim)
}

/// An integer; metadata have those of type IS as numbers or as texts.
fn number(value: &Value) -> Option<u64> {
    value
        .as_u64()
        .or_else(|| value.as_str()?.trim().parse().ok())
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

    const HERE: &str = "https://h/studies/1/series/2/instances/3";

    fn instance(set: Value, transfer_syntax: &str) -> Vec<Value> {
        let syntax = TransferSyntax::parse(transfer_syntax).expect("a uid");
        let instance = OhifInstance::new(&row(set), HERE, &syntax);
        let first = serde_json::from_str(&instance.entry()).expect("JSON");
        [first]
            .into_iter()
            .chain(instance.further_entries())
            .collect()
    }

    #[test]
    fn each_frame_has_an_entry_with_its_own_address() {
        let set = json!({
            "00080018": {"vr": "UI", "Value": ["3"]},
            "00280008": {"vr": "IS", "Value": [3]},
            "00280010": {"vr": "US", "Value": [512]},
            "52009230": {"vr": "SQ", "Value": [{}, {}, {}]},
        });
        let entries = instance(set, "1.2.840.10008.1.2.1");
        let query = "accept=application/dicom%3B%20transfer-syntax%3D*";
        let urls: Vec<_> = entries.iter().map(|entry| entry["url"].as_str()).collect();
        let expected = [1, 2, 3].map(|frame| format!("dicomweb:{HERE}?{query}&frame={frame}"));
        assert_eq!(urls, expected.each_ref().map(|url| Some(url.as_str())));
        for entry in &entries {
            assert_eq!(entry["metadata"]["SOPInstanceUID"], "3");
            assert_eq!(entry["metadata"]["NumberOfFrames"], 3);
        }
        assert!(entries[0]["metadata"]["PerFrameFunctionalGroupsSequence"].is_array());
        assert!(
            entries[1]["metadata"]
                .get("PerFrameFunctionalGroupsSequence")
                .is_none()
        );
        for frames in [
            json!([1]),
            json!([]),
            json!([0]),
            json!([4_000_000_000_u64]),
        ] {
            let set = json!({"00280008": {"vr": "IS", "Value": frames}});
            let entries = instance(set, "1.2.840.10008.1.2.1");
            assert_eq!(entries.len(), 1);
            assert!(!entries[0]["url"].to_string().contains("frame="));
        }
        let text = json!({"00280008": {"vr": "IS", "Value": ["2 "]}});
        assert_eq!(instance(text, "1.2.840.10008.1.2.1").len(), 2);
    }

    #[test]
    fn documents_and_videos_have_the_address_that_shows_them() {
        let document = |media_type: &str| {
            json!({
                "00420011": {"vr": "OB", "BulkDataURI": "https://h/b"},
                "00420012": {"vr": "LO", "Value": [media_type]},
            })
        };
        let pdf = instance(document("application/pdf"), "1.2.840.10008.1.2.1");
        assert_eq!(
            pdf[0]["metadata"]["EncapsulatedDocument"],
            json!({"BulkDataURI": "https://h/b", "DirectRetrieveURL": format!("{HERE}/rendered")})
        );
        let small = json!({
            "00080016": {"vr": "UI", "Value": ["1.2.840.10008.5.1.4.1.1.104.1"]},
            "00420011": {"vr": "OB", "InlineBinary": "JVBERg=="},
        });
        let small = instance(small, "1.2.840.10008.1.2.1");
        assert_eq!(
            small[0]["metadata"]["EncapsulatedDocument"],
            json!({"InlineBinary": "JVBERg=="})
        );
        let stl = instance(document("model/stl"), "1.2.840.10008.1.2.1");
        assert!(stl[0]["metadata"].get("EncapsulatedDocument").is_none());
        let cine = json!({
            "00280008": {"vr": "IS", "Value": [90]},
            "7FE00010": {"vr": "OB", "BulkDataURI": "https://h/b"},
        });
        let video = instance(cine.clone(), "1.2.840.10008.1.2.4.102");
        assert_eq!(video.len(), 1);
        assert_eq!(video[0]["url"], format!("{HERE}/rendered"));
        let metadata = &video[0]["metadata"];
        assert_eq!(
            metadata["PixelData"]["DirectRetrieveURL"],
            format!("{HERE}/rendered")
        );
        assert_eq!(
            metadata["AvailableTransferSyntaxUID"],
            "1.2.840.10008.1.2.4.102"
        );
        let pictures = instance(cine, "1.2.840.10008.1.2.4.50");
        assert_eq!(pictures.len(), 90);
        assert!(pictures[0]["metadata"].get("PixelData").is_none());
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
