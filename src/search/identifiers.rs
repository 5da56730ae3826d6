//! Attributes of which a row has further values in a sequence: accession numbers, and identifiers of
//! the patient.

use serde_json::Value;

use super::matching::values;
use super::{Key, Query, Row};

/// Referenced Request Sequence, with all accession numbers of a study that has several.
pub const FURTHER_ACCESSIONS: &str = "0040A370";
/// Other Patient IDs Sequence.
pub const FURTHER_PATIENT_IDS: &str = "00101002";

/// An identifier and its issuer, and the sequence with further ones.
struct Identifiers {
    own: &'static [&'static str],
    further: &'static str,
}

const ALL: [Identifiers; 2] = [
    Identifiers {
        own: &["00080050", "00080051"],
        further: FURTHER_ACCESSIONS,
    },
    Identifiers {
        own: &["00100020", "00100021", "00100024"],
        further: FURTHER_PATIENT_IDS,
    },
];

/// The sequence with further values of an attribute.
#[must_use]
pub fn further(tag: &str) -> Option<&'static str> {
    let of_tag = ALL
        .iter()
        .find(|identifiers| identifiers.own.contains(&tag));
    of_tag.map(|identifiers| identifiers.further)
}

impl Key {
    pub(super) fn is_of_identifier(&self) -> bool {
        let outermost = self.path.tags().first();
        outermost.is_some_and(|tag| further(tag).is_some())
    }

    fn is_of(&self, identifiers: &Identifiers) -> bool {
        let outermost = self.path.tags().first();
        outermost.is_some_and(|tag| identifiers.own.contains(&tag.as_str()))
    }
}

impl Query {
    /// Whether one identifier of each kind meets all keys of it: a number of one issuer and the
    /// issuer of another number are no match.
    pub(super) fn finds_identifiers(&self, row: &Row, is_told: impl Fn(&str) -> bool) -> bool {
        ALL.iter().all(|identifiers| {
            let is_met = |set: &Row| {
                let mut keys = self.keys.iter().filter(|key| key.is_of(identifiers));
                keys.all(|key| self.matches(key, set, &is_told))
            };
            let further = row.get(identifiers.further).into_iter().flat_map(values);
            is_met(row) || further.filter_map(Value::as_object).any(is_met)
        })
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::AttributePath;
    use super::*;

    fn finds(query: &str) -> bool {
        let id = |value: &str, issuer: &str| {
            json!({
                "00100020": {"vr": "LO", "Value": [value]},
                "00100021": {"vr": "LO", "Value": [issuer]},
            })
        };
        let mut row = id("1", "A");
        let of_nobody = json!({"00100020": {"vr": "LO", "Value": ["4"]}});
        row["00101002"] = json!({"vr": "SQ", "Value": [id("2", "B"), of_nobody]});
        row["00080050"] = json!({"vr": "SH"});
        let number = |value: &str| json!({"00080050": {"vr": "SH", "Value": [value]}});
        row["0040A370"] = json!({"vr": "SQ", "Value": [number("X"), number("Y")]});
        let keys = query.split('&').map(|pair| {
            let (name, value) = pair.split_once('=').expect("a pair");
            Key {
                path: AttributePath::parse(name).expect(name),
                value: value.to_owned(),
            }
        });
        let query = Query {
            keys: keys.collect(),
            ..Query::default()
        };
        query.finds(row.as_object().expect("attributes"), |tag| {
            tag == "00100021"
        })
    }

    #[test]
    fn further_identifiers_match_with_their_own_issuers() {
        for (query, expected) in [
            ("PatientID=1", true),
            ("PatientID=2", true),
            ("PatientID=3", false),
            ("PatientID=1&IssuerOfPatientID=A", true),
            ("PatientID=2&IssuerOfPatientID=B", true),
            ("PatientID=1&IssuerOfPatientID=B", false),
            ("PatientID=2&IssuerOfPatientID=A", false),
            ("PatientID=4", true),
            ("PatientID=4&IssuerOfPatientID=A", false),
            ("PatientID=4&IssuerOfPatientID=*", true),
            ("AccessionNumber=X", true),
            ("AccessionNumber=Y", true),
            ("AccessionNumber=Z", false),
            ("AccessionNumber=Y&PatientID=2", true),
            ("AccessionNumber=Y&PatientID=3", false),
        ] {
            assert_eq!(finds(query), expected, "{query}");
        }
    }
}
