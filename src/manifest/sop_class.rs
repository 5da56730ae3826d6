//! The modality of a series whose SOP classes leave no choice (PS3.3 annex A). Classic manifests tell
//! no other.

use super::model::{Series, Study};

/// Storage SOP classes below `1.2.840.10008.5.1.4.1.1.`, each of one modality (PS3.3 C.7.3.1.1.1).
const MODALITIES: &[(&str, &[&str])] = &[
    ("CR", &["1"]),
    ("DX", &["1.1", "1.1.1", "13.1.2"]),
    ("MG", &["1.2", "1.2.1", "13.1.3", "13.1.4", "13.1.5"]),
    ("IO", &["1.3", "1.3.1"]),
    ("CT", &["2", "2.1", "2.2"]),
    ("US", &["3", "3.1", "6", "6.1", "6.2"]),
    ("MR", &["4", "4.1", "4.2", "4.3", "4.4"]),
    ("NM", &["5", "20"]),
    ("ECG", &["9.1.1", "9.1.2", "9.1.3"]),
    ("HD", &["9.2.1"]),
    ("EPS", &["9.3.1"]),
    ("AU", &["9.4.1", "9.4.2"]),
    (
        "PR",
        &[
            "11.1", "11.2", "11.3", "11.4", "11.5", "11.6", "11.7", "11.8",
        ],
    ),
    ("XA", &["12.1", "12.1.1", "12.3", "13.1.1"]),
    ("RF", &["12.2", "12.2.1"]),
    ("IVOCT", &["14.1", "14.2"]),
    ("REG", &["66.1", "66.3"]),
    ("FID", &["66.2"]),
    ("SEG", &["66.4", "66.5"]),
    ("RWV", &["67"]),
    ("ES", &["77.1.1", "77.1.1.1"]),
    ("GM", &["77.1.2", "77.1.2.1"]),
    ("SM", &["77.1.3", "77.1.6"]),
    ("XC", &["77.1.4", "77.1.4.1"]),
    ("OP", &["77.1.5.1", "77.1.5.2"]),
    ("OPT", &["77.1.5.4"]),
    ("LEN", &["78.1"]),
    ("AR", &["78.2"]),
    ("KER", &["78.3"]),
    ("SRF", &["78.4"]),
    ("VA", &["78.5"]),
    (
        "SR",
        &[
            "88.11", "88.22", "88.33", "88.34", "88.50", "88.65", "88.67",
        ],
    ),
    ("KO", &["88.59"]),
    ("M3D", &["104.3", "104.4", "104.5"]),
    ("PT", &["128", "128.1", "130"]),
    ("RTIMAGE", &["481.1"]),
    ("RTDOSE", &["481.2"]),
    ("RTSTRUCT", &["481.3"]),
    ("RTPLAN", &["481.5", "481.8"]),
    ("RTRECORD", &["481.4", "481.6", "481.7", "481.9"]),
];

/// Adds the modalities of series that the manifest does not tell.
pub(super) fn complete(study: &mut Study) {
    for series in &mut study.series {
        if series.modality.is_some() {
            continue;
        }
        let Some(modality) = modality(series) else {
            continue;
        };
        series.modality = Some(modality.into());
        if !study.modalities.iter().any(|known| **known == *modality) {
            study.modalities.push(modality.into());
        }
    }
}

/// The modality of all instances of a series.
fn modality(series: &Series) -> Option<&'static str> {
    let mut classes = series.instances.iter().map(|instance| &instance.sop_class);
    let first = classes.next()?;
    let modality = of_class(first.as_str())?;
    // Most series have one class.
    let agrees = |class: &str| class == first.as_str() || of_class(class) == Some(modality);
    classes
        .all(|class| agrees(class.as_str()))
        .then_some(modality)
}

fn of_class(class: &str) -> Option<&'static str> {
    let storage = class.strip_prefix("1.2.840.10008.5.1.4.1.1.")?;
    let of_modality = MODALITIES
        .iter()
        .find(|(_, classes)| classes.contains(&storage));
    of_modality.map(|(modality, _)| *modality)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_class_has_one_modality_or_leaves_the_choice() {
        for (class, expected) in [
            ("1.2.840.10008.5.1.4.1.1.2", Some("CT")),
            ("1.2.840.10008.5.1.4.1.1.3.1", Some("US")),
            ("1.2.840.10008.5.1.4.1.1.88.59", Some("KO")),
            // Secondary capture, encapsulated PDF.
            ("1.2.840.10008.5.1.4.1.1.7", None),
            ("1.2.840.10008.5.1.4.1.1.104.1", None),
            ("1.2.840.10008.5.1.4.1.1", None),
            ("1.2.3", None),
        ] {
            assert_eq!(of_class(class), expected, "{class}");
        }
        let mut all: Vec<_> = MODALITIES
            .iter()
            .flat_map(|(_, classes)| *classes)
            .collect();
        let count = all.len();
        all.sort();
        all.dedup();
        assert_eq!(all.len(), count, "no class is listed twice");
    }
}
