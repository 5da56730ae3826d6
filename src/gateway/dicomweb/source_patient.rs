//! The patient that a source's own metadata name (PS3.18 annex F).

use serde::Deserialize;

use crate::dicom::{PatientId, PatientIds};

/// The attributes that identify a patient, in a data set or an item of Other Patient IDs Sequence.
#[derive(Debug, Deserialize)]
struct Attributes {
    #[serde(rename = "00100020", default)]
    id: Values<String>,
    #[serde(rename = "00100021", default)]
    label: Values<String>,
    #[serde(rename = "00100024", default)]
    qualifiers: Values<Qualifiers>,
    #[serde(rename = "00101002", default)]
    others: Values<Attributes>,
}

#[derive(Debug, Deserialize)]
struct Qualifiers {
    #[serde(rename = "00400032", default)]
    universal: Values<String>,
    #[serde(rename = "00400031", default)]
    local: Values<String>,
}

#[derive(Debug, Deserialize)]
struct Values<T> {
    #[serde(rename = "Value", default = "Vec::new")]
    values: Vec<T>,
}

impl<T> Default for Values<T> {
    fn default() -> Self {
        Self { values: Vec::new() }
    }
}

/// The patient that the metadata of one instance name; `None` if they cannot be read.
pub(crate) fn patient_of(json: &[u8]) -> Option<PatientIds> {
    let patient: Attributes = serde_json::from_slice(json).ok()?;
    let all = [&patient].into_iter().chain(&patient.others.values);
    let ids: Vec<_> = all.filter_map(Attributes::id).collect();
    Some(ids.into())
}

impl Attributes {
    fn id(&self) -> Option<PatientId> {
        let item = self.qualifiers.values.first();
        PatientId::of_attributes(
            self.id.first()?,
            item.and_then(|item| item.universal.first()),
            [item.and_then(|item| item.local.first()), self.label.first()],
        )
    }
}

impl Values<String> {
    fn first(&self) -> Option<&str> {
        self.values.first().map(String::as_str)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dicom::Comparison;

    #[test]
    fn metadata_name_their_patient_as_instances_do() {
        let json = br#"{
            "00100020": { "vr": "LO", "Value": [" 1 "] },
            "00100024": { "vr": "SQ", "Value": [{ "00400032": { "vr": "UT", "Value": ["1.2"] } }] },
            "00101002": { "vr": "SQ", "Value": [{ "00100020": { "vr": "LO", "Value": ["7"] } }] }
        }"#;
        let ids = [PatientId::new("1", Some("1.2")), PatientId::new("7", None)];
        let ids: Vec<_> = ids.into_iter().flatten().collect();
        assert_eq!(patient_of(json), Some(ids.into()));
        assert_eq!(patient_of(b"{}"), Some(PatientIds::default()));
        assert_eq!(patient_of(b"{"), None);
    }

    #[test]
    fn all_names_of_an_issuer_count() {
        let json = br#"{
            "00100020": { "vr": "LO", "Value": ["1"] },
            "00100021": { "vr": "LO", "Value": ["Hospital"] },
            "00100024": { "vr": "SQ", "Value": [{ "00400032": { "vr": "UT", "Value": ["1.2"] } }] }
        }"#;
        let found = patient_of(json).expect("a patient");
        for (issuer, expected) in [
            ("hospital", Comparison::Different),
            ("1.2", Comparison::Different),
            ("1.3", Comparison::Open),
        ] {
            let other: Vec<_> = PatientId::new("2", Some(issuer)).into_iter().collect();
            assert_eq!(found.compare(&other.into()), expected, "{issuer}");
        }
    }
}
