//! Compares the patients of two manifests: by identifier and issuer; if these are inconclusive, by
//! name, birth date and sex.

use std::collections::HashSet;

use super::model::Patient;
use crate::dicom::{self, Pair, PatientIds};

impl Patient {
    /// The identifiers, as instances are compared with them.
    #[must_use]
    pub fn identifiers(&self) -> PatientIds {
        let ids = self.ids.iter();
        let ids = ids.filter_map(|id| dicom::PatientId::new(&id.value, id.issuer.as_deref()));
        ids.collect::<Vec<_>>().into()
    }

    /// Whether this is certainly, or most probably, another patient.
    ///
    /// An identifier is unique only together with its issuer (PS3.3 C.7.1.1): equal identifiers of
    /// one issuer mean one patient, different ones two. Otherwise birth date, sex and name must not
    /// contradict each other; spellings of a name may differ.
    #[must_use]
    pub fn disagrees_with(&self, other: &Self) -> bool {
        let (mine, theirs) = (self.identifiers(), other.identifiers());
        let has = |told: &[Pair]| mine.pairs(&theirs).any(|pair| told.contains(&pair));
        if has(&[Pair::Same]) {
            return false;
        }
        // Two identifiers without issuers count as those of one: the study's own archive. An equal
        // value without an issuer is probably, not certainly, that of the same patient.
        let is_other = !has(&[Pair::Alike]) && has(&[Pair::TwoValues, Pair::Nameless]);
        is_other || self.contradicts(other)
    }

    fn contradicts(&self, other: &Self) -> bool {
        let differ = |one: &Option<Box<str>>, other: &Option<Box<str>>| match (one, other) {
            (Some(one), Some(other)) => one != other,
            (None, _) | (_, None) => false,
        };
        let is_birth_date_shared = self.birth_date.is_some() && self.birth_date == other.birth_date;
        differ(&self.birth_date, &other.birth_date)
            || differ(&self.sex, &other.sex)
            || names_differ(
                self.name.as_deref(),
                other.name.as_deref(),
                is_birth_date_shared,
            )
    }
}

/// Whether two names belong to different people. Order, case and separators do not count, nor do
/// titles and middle names present in one of them only. With the same birth date, one common part
/// is enough: names change, and transcriptions vary.
fn names_differ(one: Option<&str>, other: Option<&str>, is_birth_date_shared: bool) -> bool {
    let (one, other) = (
        parts(one.unwrap_or_default()),
        parts(other.unwrap_or_default()),
    );
    if one.is_empty() || other.is_empty() {
        return false;
    }
    if is_birth_date_shared {
        one.is_disjoint(&other)
    } else {
        !one.is_subset(&other) && !other.is_subset(&one)
    }
}

fn parts(name: &str) -> HashSet<String> {
    let parts = name.split(|c: char| !c.is_alphanumeric());
    let parts = parts.filter(|part| !part.is_empty());
    parts.map(str::to_lowercase).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::manifest::PatientId;

    /// `ids` as `value@issuer`, blank-separated; then name, birth date and sex.
    fn patient(ids: &str, [name, birth_date, sex]: [&str; 3]) -> Patient {
        let known = |text: &str| (!text.is_empty()).then(|| text.into());
        let ids = ids.split_whitespace().map(|id| {
            let (value, issuer) = id.split_once('@').unwrap_or((id, ""));
            PatientId {
                value: value.into(),
                issuer: known(issuer),
            }
        });
        Patient {
            ids: ids.collect(),
            name: known(name),
            birth_date: known(birth_date),
            sex: known(sex),
        }
    }

    fn disagree(one: &Patient, other: &Patient) -> bool {
        let disagree = one.disagrees_with(other);
        assert_eq!(disagree, other.disagrees_with(one), "it is symmetric");
        disagree
    }

    #[test]
    fn identifiers_are_compared_by_issuer() {
        for (one, other, expected) in [
            ("1@A", "1@A", false),
            ("1@A", "2@A", true),
            ("1@A", "1@a", false),
            // Several: one in common settles it.
            ("1@A 7@N", "2@A 7@N", false),
            ("1@A 7@N", "2@A 8@N", true),
            // Different issuers say nothing of each other.
            ("1@A", "2@B", false),
            ("1@A", "1@B", false),
            // Without issuers.
            ("1", "1", false),
            ("1", "2", true),
            ("1", "1@A", false),
            ("1", "2@A", false),
            ("1", "", false),
            ("", "", false),
        ] {
            let unnamed = ["", "", ""];
            let (a, b) = (patient(one, unnamed), patient(other, unnamed));
            assert_eq!(disagree(&a, &b), expected, "{one} / {other}");
        }
    }

    #[test]
    fn the_same_identifier_of_one_issuer_outweighs_name_and_birth_date() {
        let one = patient("1@A", ["DOE^Jane", "19800101", "F"]);
        let other = patient("1@A", ["ROE^Jane", "19800110", "M"]);
        assert!(!disagree(&one, &other));
    }

    #[test]
    fn where_identifiers_cannot_tell_the_person_is_compared() {
        let born = "19800101";
        for (one, other, expected) in [
            (["DOE^John", "", ""], ["Doe, John", "", ""], false),
            (["DOE^John", "", ""], ["John Doe", "", ""], false),
            (["DOE^John", "", ""], ["DOE^John^Q^Dr", "", ""], false),
            (["DOE^John", "", ""], ["ROE^John", "", ""], true),
            (["DOE^John", born, ""], ["DOE^John", "19800102", ""], true),
            (["DOE^John", born, "M"], ["DOE^John", born, "F"], true),
            // A name that changed, or is transcribed in another way.
            (
                ["MUELLER^Anna", born, "F"],
                ["Müller^Anna", born, ""],
                false,
            ),
            (["DOE^John", born, ""], ["ROE^Anna", born, ""], true),
            (
                ["山田^太郎", "", ""],
                ["Yamada^Tarou=山田^太郎", "", ""],
                false,
            ),
            (["", born, ""], ["DOE^John", "", "M"], false),
            (["^^", "", ""], ["DOE^John", "", ""], false),
        ] {
            for ids in [["1@A", "2@B"], ["1", "1@B"], ["", ""]] {
                let (a, b) = (patient(ids[0], one), patient(ids[1], other));
                assert_eq!(disagree(&a, &b), expected, "{one:?} / {other:?} / {ids:?}");
            }
        }
    }
}
