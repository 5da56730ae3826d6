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
    others: Values<Other>,
}

#[derive(Debug, Deserialize)]
struct Other {
    #[serde(rename = "00100020", default)]
    id: Values<String>,
    #[serde(rename = "00100021", default)]
    label: Values<String>,
    #[serde(rename = "00100024", default)]
    qualifiers: Values<Qualifiers>,
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
    let Attributes {
        id,
        label,
        qualifiers,
        others,
    } = serde_json::from_slice(json).ok()?;
    let first = Other {
        id,
        label,
        qualifiers,
    };
    let all = [first].into_iter().chain(others.values);
    let ids: Vec<_> = all.filter_map(|one| one.id()).collect();
    Some(ids.into())
}

impl Other {
    fn id(&self) -> Option<PatientId> {
        let qualifiers = self.qualifiers.values.first();
        let universal = qualifiers.and_then(|item| item.universal.values.first());
        let local = qualifiers.and_then(|item| item.local.values.first());
        let issuer = universal.or(local).or(self.label.values.first());
        PatientId::new(self.id.values.first()?, issuer.map(String::as_str))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

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
}
