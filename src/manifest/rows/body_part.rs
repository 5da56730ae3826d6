//! Body Part Examined (0018,0015) of a code (PS3.16 annex L, and the value set IHE-MADO1).

use crate::manifest::model::Code;

/// Codes of SNOMED CT, and their defined terms.
const TERMS: [(&str, &str); 34] = [
    // IHE-MADO1.
    ("63337009", "LOWERTRUNK"),
    ("38266002", "WHOLEBODY"),
    ("53120007", "UPPERLIMB"),
    ("61685007", "LOWERLIMB"),
    ("67734004", "UPPERTRUNK"),
    ("774007", "HEADNECK"),
    ("113257007", "CARDIOVASCSYS"),
    ("80891009", "HEART"),
    ("76752008", "BREAST"),
    ("1141981001", "SPINE"),
    ("421060004", "SPINE"),
    // Frequent ones of annex L.
    ("818981001", "ABDOMEN"),
    ("818982008", "ABDOMENPELVIS"),
    ("344001", "ANKLE"),
    ("12738006", "BRAIN"),
    ("122494005", "CSPINE"),
    ("51185008", "CHEST"),
    ("56459004", "FOOT"),
    ("85562004", "HAND"),
    ("69536005", "HEAD"),
    ("24136001", "HIP"),
    ("64033007", "KIDNEY"),
    ("72696002", "KNEE"),
    ("10200004", "LIVER"),
    ("122496007", "LSPINE"),
    ("39607008", "LUNG"),
    ("45048000", "NECK"),
    ("15776009", "PANCREAS"),
    ("12921003", "PELVIS"),
    ("41216001", "PROSTATE"),
    ("16982005", "SHOULDER"),
    ("89546000", "SKULL"),
    ("122495006", "TSPINE"),
    ("8205005", "WRIST"),
];

/// The term of a code; for other codes their meaning, if it may be one.
pub(super) fn of(code: &Code) -> Option<String> {
    let term = TERMS.iter().find(|(value, _)| *value == &*code.value);
    if let Some((_, term)) = term {
        return Some((*term).to_owned());
    }
    let meaning = code.meaning.as_deref()?.to_uppercase();
    is_code_string(&meaning).then_some(meaning)
}

// PS3.5 6.2: CS.
fn is_code_string(text: &str) -> bool {
    let is_legal = |byte: u8| matches!(byte, b'A'..=b'Z' | b'0'..=b'9' | b' ' | b'_');
    !text.is_empty() && text.len() <= 16 && text.bytes().all(is_legal)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_body_part_is_a_term_a_legal_meaning_or_absent() {
        for (value, meaning, expected) in [
            ("774007", "Structure of head and/or neck", Some("HEADNECK")),
            (
                "80891009",
                "Heart structure (body structure)",
                Some("HEART"),
            ),
            ("51185008", "Thoracic structure", Some("CHEST")),
            ("39607008", "", Some("LUNG")),
            ("1", "Left knee", Some("LEFT KNEE")),
            ("", "Thorax", Some("THORAX")),
            ("1", "Schädel", None),
            ("1", "Head and/or neck", None),
            ("1", "Seventeen letters", None),
            ("1", "", None),
        ] {
            let code = Code {
                value: value.into(),
                scheme: None,
                meaning: (!meaning.is_empty()).then(|| meaning.into()),
            };
            assert_eq!(of(&code).as_deref(), expected, "{value} {meaning}");
        }
    }
}
