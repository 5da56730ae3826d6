//! Writes the manifest of Weasis, version 2.5 of its published schema. Pure.

use std::fmt::Write;

use serde_json::Value;

use crate::search::Row;

/// The type of an attribute in Weasis' schema.
#[derive(Debug, Clone, Copy)]
enum Kind {
    Uid,
    Text,
    ShortText,
    Date,
    Time,
    Sex,
    Code,
    Integer,
}

impl Kind {
    /// The value if the schema allows it. Long texts are truncated.
    fn checked(self, value: String) -> Option<String> {
        let cut = |most: usize| value.chars().take(most).collect();
        let is_allowed = match self {
            Self::Text => return Some(cut(64)),
            Self::ShortText => return Some(cut(16)),
            Self::Uid => value.len() <= 64,
            // The schema calls a date a year, and years of so many digits begin with none.
            Self::Date => {
                value.len() == 8
                    && !value.starts_with('0')
                    && value.bytes().all(|byte| byte.is_ascii_digit())
            }
            Self::Time => is_time(&value),
            Self::Sex => matches!(value.as_str(), "M" | "F" | "O"),
            Self::Code => {
                let allowed = |byte: u8| matches!(byte, b'A'..=b'Z' | b'0'..=b'9' | b' ' | b'_');
                value.len() <= 16 && value.bytes().all(allowed)
            }
            Self::Integer => value.parse::<i32>().is_ok(),
        };
        is_allowed.then_some(value)
    }
}

/// `hhmmss.ffffff`, or a prefix of it.
fn is_time(value: &str) -> bool {
    let (whole, fraction) = value.split_once('.').unwrap_or((value, "0"));
    let is_digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
    let has_fraction = whole.len() < value.len();
    let (pairs, rest) = whole.as_bytes().as_chunks::<2>();
    let mut most = [24, 60, 60].into_iter();
    is_digits(whole)
        && is_digits(fraction)
        && rest.is_empty()
        && matches!(pairs.len(), 1..=3)
        && (!has_fraction || pairs.len() == 3)
        && matches!(fraction.len(), 1..=6)
        && pairs.iter().all(|[tens, ones]| {
            most.next()
                .is_some_and(|most| (tens - b'0') * 10 + (ones - b'0') < most)
        })
}

/// An element of Weasis' manifest.
struct Tagged {
    name: &'static str,
    indent: usize,
    /// Attributes that the schema requires; empty if the value is unknown.
    required: &'static [(&'static str, &'static str, Kind)],
    optional: &'static [(&'static str, &'static str, Kind)],
}

const PATIENT: Tagged = Tagged {
    name: "Patient",
    indent: 4,
    required: &[
        ("PatientID", "00100020", Kind::Text),
        ("PatientName", "00100010", Kind::Text),
    ],
    optional: &[
        ("IssuerOfPatientID", "00100021", Kind::Text),
        ("PatientBirthDate", "00100030", Kind::Date),
        ("PatientSex", "00100040", Kind::Sex),
    ],
};

const STUDY: Tagged = Tagged {
    name: "Study",
    indent: 6,
    required: &[("StudyInstanceUID", "0020000D", Kind::Uid)],
    optional: &[
        ("StudyDescription", "00081030", Kind::Text),
        ("StudyDate", "00080020", Kind::Date),
        ("StudyTime", "00080030", Kind::Time),
        ("AccessionNumber", "00080050", Kind::ShortText),
        ("StudyID", "00200010", Kind::ShortText),
        ("ReferringPhysicianName", "00080090", Kind::Text),
    ],
};

const SERIES: Tagged = Tagged {
    name: "Series",
    indent: 8,
    required: &[("SeriesInstanceUID", "0020000E", Kind::Uid)],
    optional: &[
        ("SeriesDescription", "0008103E", Kind::Text),
        ("SeriesNumber", "00200011", Kind::Integer),
        ("Modality", "00080060", Kind::Code),
    ],
};

const INSTANCE: Tagged = Tagged {
    name: "Instance",
    indent: 10,
    required: &[("SOPInstanceUID", "00080018", Kind::Uid)],
    optional: &[
        ("SOPClassUID", "00080016", Kind::Uid),
        ("InstanceNumber", "00200013", Kind::Integer),
    ],
};

/// The start of a manifest. Weasis appends the `DirectDownloadFile` of an instance to the root, or
/// asks the root itself with a WADO-URI query.
///
/// There is no `queryMode`: with `DICOM_WEB`, Weasis 4.7 takes nothing but multipart answers for
/// the instances that a manifest lists, and older versions do not know it.
#[must_use]
pub fn beginning(id: &str, root: &str) -> String {
    let mut out = String::from(
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n\
         <manifest xmlns=\"http://www.weasis.org/xsd/2.5\" \
         xmlns:xsi=\"http://www.w3.org/2001/XMLSchema-instance\">\n  <arcQuery",
    );
    attribute(&mut out, "arcId", id);
    attribute(&mut out, "baseUrl", root);
    out.push_str(">\n");
    out
}

/// The start of a study. The schema requires at least one series.
#[must_use]
pub fn study(row: &Row) -> String {
    let mut out = String::new();
    element(&mut out, &PATIENT, row);
    out.push_str(">\n");
    element(&mut out, &STUDY, row);
    out.push_str(">\n");
    out
}

/// The start of a series. The schema requires at least one instance.
#[must_use]
pub fn series(row: &Row) -> String {
    let mut out = String::new();
    element(&mut out, &SERIES, row);
    out.push_str(" WadoTransferSyntaxUID=\"*\">\n");
    out
}

/// An instance, which every version of Weasis downloads from below the root: WADO-URI gives the
/// bare file whatever the client accepts, and Weasis knows how to ask it for another transfer
/// syntax.
#[must_use]
pub fn instance(row: &Row) -> String {
    let mut out = String::new();
    element(&mut out, &INSTANCE, row);
    let uid = |tag| text_of(row, tag).unwrap_or_default();
    let file = format!(
        "?requestType=WADO&studyUID={}&seriesUID={}&objectUID={}\
         &contentType=application%2Fdicom&transferSyntax=*",
        uid("0020000D"),
        uid("0020000E"),
        uid("00080018")
    );
    attribute(&mut out, "DirectDownloadFile", &file);
    out.push_str("/>\n");
    out
}

/// The end of a series.
pub const SERIES_END: &str = "        </Series>\n";
/// The end of a study.
pub const STUDY_END: &str = "      </Study>\n    </Patient>\n";
/// The end of a manifest.
pub const END: &str = "  </arcQuery>\n</manifest>\n";

/// The start tag of an element, without its `>`.
fn element(out: &mut String, what: &Tagged, row: &Row) {
    let _ = write!(out, "{:1$}<{2}", "", what.indent, what.name);
    for &(key, tag, kind) in what.required {
        let value = text_of(row, tag).and_then(|text| kind.checked(text));
        attribute(out, key, &value.unwrap_or_default());
    }
    for &(key, tag, kind) in what.optional {
        if let Some(value) = text_of(row, tag).and_then(|text| kind.checked(text)) {
            attribute(out, key, &value);
        }
    }
}

/// The first value of an attribute, as text.
fn text_of(row: &Row, tag: &str) -> Option<String> {
    match &row.get(tag)?["Value"][0] {
        Value::String(text) => Some(text.clone()),
        Value::Number(number) => Some(number.to_string()),
        Value::Object(name) => Some(name.get("Alphabetic")?.as_str()?.to_owned()),
        Value::Null | Value::Bool(_) | Value::Array(_) => None,
    }
}

fn attribute(out: &mut String, name: &str, value: &str) {
    let _ = write!(out, " {name}=\"{}\"", super::xml::escaped(value));
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn row(value: Value) -> Row {
        value.as_object().expect("an object").clone()
    }

    #[test]
    fn a_manifest_escapes_what_it_says() {
        let of_study = row(json!({
            "0020000D": {"vr": "UI", "Value": ["1.2"]},
            "00100010": {"vr": "PN", "Value": [{"Alphabetic": "A\"<B>"}]},
        }));
        let of_series = row(json!({
            "0020000E": {"vr": "UI", "Value": ["1.2.3"]},
            "00200011": {"vr": "IS", "Value": [7]},
        }));
        let of_instance = row(json!({
            "0020000D": {"vr": "UI", "Value": ["1.2"]},
            "0020000E": {"vr": "UI", "Value": ["1.2.3"]},
            "00080018": {"vr": "UI", "Value": ["1.2.3.4"]},
            "00200013": {"vr": "IS", "Value": [1]},
        }));
        let text = [
            beginning("x", "http://h/a?b&c"),
            study(&of_study),
            series(&of_series),
            instance(&of_instance),
        ]
        .concat();
        for expected in [
            "baseUrl=\"http://h/a?b&amp;c\"",
            "PatientName=\"A&quot;&lt;B&gt;\"",
            // The schema requires it even if it is unknown.
            "<Patient PatientID=\"\" PatientName=",
            "<Series SeriesInstanceUID=\"1.2.3\" SeriesNumber=\"7\" WadoTransferSyntaxUID=\"*\">",
            "<Instance SOPInstanceUID=\"1.2.3.4\" InstanceNumber=\"1\" \
             DirectDownloadFile=\"?requestType=WADO&amp;studyUID=1.2&amp;seriesUID=1.2.3\
             &amp;objectUID=1.2.3.4&amp;contentType=application%2Fdicom&amp;transferSyntax=*\"/>",
        ] {
            assert!(text.contains(expected), "{expected}\n{text}");
        }
    }

    #[test]
    fn weasis_is_told_nothing_that_its_schema_forbids() {
        let said = |kind: Kind, value: &str| kind.checked(value.to_owned());
        for time in ["09", "0930", "093059", "235959.123456"] {
            assert_eq!(said(Kind::Time, time).as_deref(), Some(time));
        }
        for time in [
            "",
            "9",
            "24",
            "0960",
            "093059.",
            "0930.5",
            "093059.1234567",
            "09:30",
            "+1",
        ] {
            assert_eq!(said(Kind::Time, time), None, "{time}");
        }
        assert_eq!(said(Kind::Date, "20240131").as_deref(), Some("20240131"));
        assert_eq!(said(Kind::Date, "2024.01.31"), None);
        assert_eq!(said(Kind::Date, "02240131"), None);
        assert_eq!(said(Kind::Sex, "U"), None);
        assert_eq!(said(Kind::Code, "CT").as_deref(), Some("CT"));
        assert_eq!(said(Kind::Code, "ct"), None);
        assert_eq!(said(Kind::Integer, "99999999999"), None);
        assert_eq!(said(Kind::ShortText, &"ä".repeat(20)), Some("ä".repeat(16)));
    }
}
