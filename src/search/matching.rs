//! PS3.4 C.2.2.2: single value, list of UIDs, universal, wildcard, range, sequence, empty value and
//! multiple value matching.

use dicom_core::VR;
use serde_json::Value;

use super::{Key, Query, Row};

impl Query {
    pub(super) fn matches(&self, key: &Key, row: &Row, is_told: impl Fn(&str) -> bool) -> bool {
        let Some((last, above)) = key.path.tags().split_last() else {
            return true;
        };
        let outermost = above.first().unwrap_or(last);
        match is_told(outermost) && !row.contains_key(outermost) {
            true => self.is_met(key, &Value::Null),
            false => self.matches_below(row, above, last, key),
        }
    }

    /// Descends into sequences: one matching item suffices.
    fn matches_below(&self, row: &Row, above: &[String], last: &str, key: &Key) -> bool {
        let Some((sequence, deeper)) = above.split_first() else {
            return match row.get(last) {
                Some(attribute) => self.is_met(key, attribute),
                None => true,
            };
        };
        let Some(attribute) = row.get(sequence) else {
            return true;
        };
        let mut items = values(attribute).filter_map(Value::as_object);
        items.any(|item| self.matches_below(item, deeper, last, key))
    }

    fn is_met(&self, key: &Key, attribute: &Value) -> bool {
        let (vr, wanted) = (key.path.vr(), key.value.as_str());
        if wanted == "\"\"" && self.empty_values {
            return values(attribute).next().is_none();
        }
        // Universal matching.
        if wanted.is_empty() || (has_wildcards(vr) && wanted.bytes().all(|byte| byte == b'*')) {
            return true;
        }
        let mut each = self.each(key);
        each.any(|wanted| is_one_met(key, wanted, attribute))
    }

    /// The values of a key, one of which must match.
    pub(super) fn each<'k>(&self, key: &'k Key) -> impl Iterator<Item = &'k str> {
        let is_list = self.multiple_values || is_always_list(key.path.vr());
        let separators: &[char] = if is_list { &[',', '\\'] } else { &[] };
        let each = key.value.split(separators);
        each.map(move |value| if is_list { value.trim() } else { value })
    }
}

/// Whether a comma or backslash always separates values: a list of UIDs (C.2.2.2.2); and a code
/// string, which can contain neither (PS3.5 6.2). Viewers ask for several modalities so.
fn is_always_list(vr: VR) -> bool {
    matches!(vr, VR::UI | VR::CS)
}

/// Study and Series Description: people type them, and devices vary the case.
fn ignores_case(key: &Key) -> bool {
    matches!(key.path.tags(), [tag] if matches!(tag.as_str(), "00081030" | "0008103E"))
}

fn is_one_met(key: &Key, wanted: &str, attribute: &Value) -> bool {
    let is_met = |value: &Value| match value.as_str() {
        Some(text) if ignores_case(key) => {
            is_like(&wanted.trim().to_lowercase(), &text.trim().to_lowercase())
        }
        Some(_) | None => is_value_met(key.path.vr(), wanted, value),
    };
    !wanted.is_empty() && values(attribute).any(is_met)
}

fn is_value_met(vr: VR, wanted: &str, value: &Value) -> bool {
    match value {
        Value::Object(name) => name
            .values()
            .filter_map(Value::as_str)
            .any(|name| is_name_met(wanted, name)),
        Value::Number(number) => wanted
            .trim()
            .parse::<f64>()
            .is_ok_and(|wanted| number.as_f64() == Some(wanted)),
        Value::String(value) if matches!(vr, VR::DA | VR::TM | VR::DT) => {
            is_time_met(wanted, value)
        }
        Value::String(value) if has_wildcards(vr) => is_like(wanted.trim(), value.trim()),
        Value::String(value) => wanted.trim() == value.trim(),
        Value::Null | Value::Bool(_) | Value::Array(_) => false,
    }
}

fn is_name_met(wanted: &str, name: &str) -> bool {
    is_like(&plain_name(wanted), &plain_name(name))
}

/// The form in which names are compared. C.2.2.2.1 allows matching names without regard to case;
/// some writers leave out empty components at the end.
#[must_use]
pub fn plain_name(name: &str) -> String {
    name.trim_end_matches(['^', '=', ' ']).to_lowercase()
}

// C.2.2.2.5: a range includes both ends. A value of less precision covers all values it begins.
fn is_time_met(wanted: &str, value: &str) -> bool {
    let (wanted, value) = (plain_time(wanted), plain_time(value));
    // An offset from UTC may follow a date and time; it is not a range.
    let range = wanted.split_once('-');
    let Some((from, to)) = range else {
        return value.starts_with(&wanted) || wanted.starts_with(&value);
    };
    let is_after = from.is_empty() || value.as_str() >= from;
    let is_before = to.is_empty() || value.as_str() <= to || value.starts_with(to);
    is_after && is_before && !(from.is_empty() && to.is_empty())
}

/// Old writers use `2020.01.02` and `12:30:00`.
pub(super) fn plain_time(text: &str) -> String {
    let is_filler = |c: char| c == ':' || c.is_whitespace();
    let text: String = text.chars().filter(|&c| !is_filler(c)).collect();
    match text.split('.').count() {
        3 => text.replace('.', ""),
        _ => text,
    }
}

// C.2.2.2.4.
pub(super) fn has_wildcards(vr: VR) -> bool {
    matches!(
        vr,
        VR::AE
            | VR::CS
            | VR::LO
            | VR::LT
            | VR::PN
            | VR::SH
            | VR::ST
            | VR::UC
            | VR::UR
            | VR::UT
            | VR::UN
    )
}

/// `*` is any text, `?` any one character. Takes time in the product of both lengths.
fn is_like(pattern: &str, text: &str) -> bool {
    let pattern: Vec<char> = pattern.chars().collect();
    let text: Vec<char> = text.chars().collect();
    let (mut p, mut t) = (0, 0);
    let mut star = None;
    while t < text.len() {
        match pattern.get(p) {
            Some('*') => {
                star = Some((p, t));
                p += 1;
            }
            Some(&c) if c == '?' || Some(&c) == text.get(t) => {
                p += 1;
                t += 1;
            }
            Some(_) | None => match star {
                Some((at, from)) => {
                    star = Some((at, from + 1));
                    p = at + 1;
                    t = from + 1;
                }
                None => return false,
            },
        }
    }
    pattern[p..].iter().all(|&c| c == '*')
}

pub(super) fn values(attribute: &Value) -> impl Iterator<Item = &Value> {
    attribute["Value"]
        .as_array()
        .into_iter()
        .flatten()
        .filter(|value| !value.is_null() && value.as_str() != Some(""))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::AttributePath;
    use super::*;

    fn row() -> Row {
        let row = json!({
            "00080020": {"vr": "DA", "Value": ["20200229"]},
            "00080030": {"vr": "TM", "Value": ["131500.25"]},
            "00080050": {"vr": "SH"},
            "00080061": {"vr": "CS", "Value": ["CT", "KO"]},
            "00081030": {"vr": "LO", "Value": ["Abdomen (native)"]},
            "00100010": {"vr": "PN", "Value": [{"Alphabetic": "Müller^Eva^^", "Ideographic": "山田^太郎"}]},
            "0020000D": {"vr": "UI", "Value": ["1.2.3"]},
            "00200011": {"vr": "IS", "Value": [7]},
            "00400275": {"vr": "SQ", "Value": [{"00400009": {"vr": "SH", "Value": ["A"]}}, {"00400009": {"vr": "SH", "Value": ["B"]}}]},
        });
        row.as_object().expect("an object").clone()
    }

    fn finds(name: &str, value: &str) -> bool {
        let path = AttributePath::parse(name).expect(name);
        let value = value.to_owned();
        let query = Query {
            keys: vec![Key { path, value }],
            ..Query::default()
        };
        query.finds(&row(), |tag| ["0008103E", "00081032"].contains(&tag))
    }

    #[test]
    fn single_values_and_wildcards() {
        for (name, value) in [
            ("StudyDescription", "Abdomen (native)"),
            ("StudyDescription", "Abd*"),
            ("StudyDescription", "*native?"),
            ("StudyDescription", "*"),
            ("StudyDescription", ""),
            ("StudyDescription", "abdomen (NATIVE)"),
            ("StudyDescription", "*NATIV*"),
            ("AccessionNumber", "*"),
            ("ModalitiesInStudy", "KO"),
            ("ModalitiesInStudy", "MR,KO"),
            ("ModalitiesInStudy", "CT\\MR"),
            ("ModalitiesInStudy", "M*, K?"),
            // Told for other rows.
            ("SeriesDescription", ""),
            ("SeriesDescription", "*"),
            ("ProcedureCodeSequence.CodeValue", ""),
            ("SeriesNumber", "7"),
            ("SeriesNumber", "07"),
            ("PatientName", "müller^eva"),
            ("PatientName", "M?LLER*"),
            ("PatientName", "山田*"),
            ("StudyInstanceUID", "1.2.3"),
            ("StudyInstanceUID", "9.9,1.2.3"),
            ("StudyInstanceUID", "9.9\\1.2.3"),
            ("RequestAttributesSequence.00400009", "B"),
            // Not an attribute of this row.
            ("InstitutionName", "anything"),
        ] {
            assert!(finds(name, value), "{name}={value}");
        }
        for (name, value) in [
            ("StudyDescription", "Abd"),
            ("SeriesDescription", "anything"),
            ("SeriesDescription", "a*"),
            ("ProcedureCodeSequence.CodeValue", "A"),
            ("StudyDescription", "?"),
            ("AccessionNumber", "1"),
            ("ModalitiesInStudy", "MR"),
            ("ModalitiesInStudy", "MR,US"),
            ("SeriesNumber", "8"),
            ("PatientName", "eva"),
            ("StudyInstanceUID", "1.2.*"),
            ("StudyInstanceUID", "1.2"),
            ("RequestAttributesSequence.00400009", "C"),
        ] {
            assert!(!finds(name, value), "{name}={value}");
        }
    }

    #[test]
    fn dates_and_times_match_as_ranges() {
        for (name, value) in [
            ("StudyDate", "20200229"),
            ("StudyDate", "20200101-20201231"),
            ("StudyDate", "20200229-20200229"),
            ("StudyDate", "-20200229"),
            ("StudyDate", "20200229-"),
            ("StudyTime", "13"),
            ("StudyTime", "1200-1315"),
            ("StudyTime", "-13"),
        ] {
            assert!(finds(name, value), "{name}={value}");
        }
        for (name, value) in [
            ("StudyDate", "20200228"),
            ("StudyDate", "20200301-"),
            ("StudyDate", "-20200228"),
            ("StudyDate", "-"),
            ("StudyDate", "junk"),
            ("StudyTime", "1316-1400"),
        ] {
            assert!(!finds(name, value), "{name}={value}");
        }
    }

    #[test]
    fn empty_and_several_values_match_where_that_is_asked_for() {
        let accession = AttributePath::parse("AccessionNumber").expect("an attribute");
        let description = AttributePath::parse("StudyDescription").expect("an attribute");
        let mut query = Query::default();
        query.keys.push(Key {
            path: accession,
            value: "\"\"".to_owned(),
        });
        assert!(!query.finds(&row(), |_tag| false));
        query.empty_values = true;
        assert!(query.finds(&row(), |_tag| false));
        query.keys.push(Key {
            path: description,
            value: "Knee,Abdomen*".to_owned(),
        });
        assert!(!query.finds(&row(), |_tag| false));
        query.multiple_values = true;
        assert!(query.finds(&row(), |_tag| false));
    }

    #[test]
    fn a_pattern_of_stars_takes_no_time() {
        let pattern = "*a".repeat(2000);
        assert!(!is_like(&pattern, &"b".repeat(4000)));
    }

    #[test]
    fn pages_stay_within_what_is_found() {
        let query = |offset, limit| Query {
            offset,
            limit,
            ..Query::default()
        };
        assert_eq!(query(0, None).page(5), (0, 5, 0));
        assert_eq!(query(1, Some(2)).page(5), (1, 3, 2));
        assert_eq!(query(9, Some(2)).page(5), (5, 5, 0));
        assert_eq!(query(0, Some(0)).page(5), (0, 0, 5));
        assert_eq!(query(1, Some(usize::MAX)).page(5), (1, 5, 0));
    }
}
