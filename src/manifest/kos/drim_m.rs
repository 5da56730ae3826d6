//! The texts of DRIM-M (France), which describe series in lines of their own:
//! `Série-<uid> : <modality> : / @ : <description>`, or `Série-<uid> : <modality> @  : <description>`.

use super::indexed_study::{IndexedStudy, SeriesDescription};

/// The beginnings of such a line; the last ones come of a wrong character set.
const BEGINNINGS: [&str; 4] = ["Série-", "Serie-", "S\u{FFFD}rie-", "SÃ©rie-"];

/// Adds the descriptions of series in a text, where nothing else describes them.
pub(super) fn describe(text: &str, indexed: &mut IndexedStudy) {
    for line in text.lines().filter_map(Line::parse) {
        let Some(at) = indexed.find_series(line.uid) else {
            continue;
        };
        let series = indexed.series(at);
        let missing = |field: &Option<Box<str>>, value: Option<&str>| {
            let value = value.filter(|_| field.is_none())?;
            Some(value.chars().filter(|c| !c.is_control()).collect())
        };
        let description = SeriesDescription {
            modality: missing(&series.modality, line.modality),
            description: missing(&series.description, line.description),
            ..SeriesDescription::default()
        };
        indexed.describe_series(at, description);
    }
}

/// A line that describes a series.
#[derive(Debug, PartialEq)]
struct Line<'a> {
    uid: &'a str,
    modality: Option<&'a str>,
    description: Option<&'a str>,
}

impl<'a> Line<'a> {
    fn parse(line: &'a str) -> Option<Self> {
        let line = line.trim();
        let rest = BEGINNINGS
            .iter()
            .find_map(|start| line.strip_prefix(start))?;
        let (uid, rest) = rest.split_once(':')?;
        let (modality, description) = rest.split_once('@').unwrap_or((rest, ""));
        let modality = modality.trim().split([' ', ':', '/', '\\']).next();
        let description = description.trim_start().trim_start_matches(':');
        Some(Self {
            uid: uid.trim(),
            modality: modality.and_then(known).filter(|text| is_code(text)),
            description: known(description),
        })
    }
}

// The writers are in Java.
fn known(text: &str) -> Option<&str> {
    let text = text.trim();
    (!text.is_empty() && text != "null").then_some(text)
}

// PS3.5 6.2: CS.
fn is_code(text: &str) -> bool {
    let is_letter = |byte: u8| byte.is_ascii_uppercase() || byte.is_ascii_digit();
    text.len() <= 16 && text.bytes().all(is_letter)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_names_the_series_its_modality_and_its_description() {
        let whole = (Some("CT"), Some("Lunge : 1.0"));
        for (line, (modality, description)) in [
            ("Série-1.2.3 : CT : / @ : Lunge : 1.0", whole),
            ("Série-1.2.3 : CT @  : Lunge : 1.0 \r", whole),
            ("Serie-1.2.3 : CT @ Lunge : 1.0", whole),
            ("S\u{FFFD}rie-1.2.3: CT : / @ :Lunge : 1.0", whole),
            ("Série-1.2.3 : MR\\SR @ : null", (Some("MR"), None)),
            ("Série-1.2.3 : null @  : x", (None, Some("x"))),
            ("Série-1.2.3 : CT", (Some("CT"), None)),
            ("Série-1.2.3 :", (None, None)),
        ] {
            let expected = Line {
                uid: "1.2.3",
                modality,
                description,
            };
            assert_eq!(Line::parse(line), Some(expected), "{line}");
        }
        for line in ["Examen : Thorax", "Acte = Scanner", "Série-1.2.3", ""] {
            assert_eq!(Line::parse(line), None, "{line}");
        }
    }
}
