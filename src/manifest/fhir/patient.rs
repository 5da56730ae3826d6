//! Converts a Patient to DICOM.

use serde::Deserialize;
use serde::de::MapAccess;

use super::concept::Identifier;
use super::date_time;
use super::member::{List, Member, Shape, objects};
use crate::manifest::warning::Warnings;
use crate::manifest::{Patient, PatientId};

/// The members of a Patient.
#[derive(Debug, Default, Clone)]
pub(super) struct PatientMembers {
    pub(super) identifier: List<Identifier>,
    pub(super) name: List<HumanName>,
    pub(super) gender: Member<Box<str>>,
    pub(super) birth_date: Member<Box<str>>,
}

/// A name of a person, in its DICOM form.
#[derive(Debug, Clone)]
pub(super) struct HumanName {
    /// The order of preference.
    rank: u8,
    person_name: Box<str>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct HumanNameMembers {
    r#use: Member<Box<str>>,
    text: Member<Box<str>>,
    family: Member<Box<str>>,
    given: List<Box<str>>,
    prefix: List<Box<str>>,
    suffix: List<Box<str>>,
}

objects!(HumanNameMembers);

/// Reads a patient.
pub(super) fn read(members: PatientMembers, warnings: &mut Warnings) -> Patient {
    let names = members.name.read("patient name", warnings);
    let sex = members.gender.and_then(|gender| sex(&gender));
    Patient {
        ids: ids(members.identifier, warnings),
        name: person_name(names),
        birth_date: members
            .birth_date
            .and_then(|date| date_time::date(&date))
            .read("patient birth date", warnings),
        sex: sex.read("patient sex", warnings),
    }
}

/// The preferred one of several names.
pub(super) fn person_name(names: Vec<HumanName>) -> Option<Box<str>> {
    let preferred = names.into_iter().min_by_key(|name| name.rank);
    preferred.map(|name| name.person_name)
}

/// A patient with nothing but an identifier.
pub(super) fn identified(identifier: Identifier) -> Patient {
    Patient {
        ids: vec![id(identifier)],
        ..Patient::default()
    }
}

fn id(identifier: Identifier) -> PatientId {
    PatientId {
        value: identifier.value,
        issuer: identifier.issuer,
    }
}

fn ids(identifiers: List<Identifier>, warnings: &mut Warnings) -> Vec<PatientId> {
    let mut identifiers = identifiers.read("patient identifier", warnings);
    identifiers.sort_by_key(|identifier| identifier.is_secondary);
    identifiers.into_iter().map(id).collect()
}

// PS3.3 C.7.1.1: M, F or O; unknown has no code.
fn sex(gender: &str) -> Member<Box<str>> {
    match gender.to_ascii_lowercase().as_str() {
        "male" | "m" => Member::Present("M".into()),
        "female" | "f" => Member::Present("F".into()),
        "other" | "o" => Member::Present("O".into()),
        "unknown" => Member::Absent,
        _ => Member::Malformed,
    }
}

impl Shape for HumanName {
    fn from_map<'de, A: MapAccess<'de>>(map: A) -> Result<Member<Self>, A::Error> {
        Ok(HumanNameMembers::from_map(map)?.and_then(|members| {
            let rank = members.rank();
            members
                .person_name()
                .map(|person_name| Self { rank, person_name })
                .into()
        }))
    }
}

impl HumanNameMembers {
    fn rank(&self) -> u8 {
        match self.r#use.as_ref().map(|r#use| &**r#use) {
            Some("official") => 0,
            Some("old" | "maiden" | "nickname" | "anonymous") => 2,
            Some(_) | None => 1,
        }
    }

    /// PS3.5 6.2.1.1: family, given, middle, prefix and suffix, without trailing `^`.
    fn person_name(self) -> Option<Box<str>> {
        let mut given = self.given.items.into_iter();
        let first = given.next().unwrap_or_default();
        let family = self.family.present().unwrap_or_default();
        let middle = join(given);
        let [prefix, suffix] = [self.prefix, self.suffix].map(|list| join(list.items.into_iter()));
        let parts = [&*family, &*first, &middle, &prefix, &suffix].map(component);
        let name = parts.join("^");
        let name = name.trim_end_matches('^');
        if name.is_empty() {
            self.text.present().and_then(|text| unstructured(&text))
        } else {
            Some(name.into())
        }
    }
}

// A text with carets is a complete DICOM name.
pub(super) fn unstructured(text: &str) -> Option<Box<str>> {
    let name = text.split('^').map(component).collect::<Vec<_>>().join("^");
    (!name.is_empty()).then(|| name.into())
}

fn join(parts: impl Iterator<Item = Box<str>>) -> String {
    parts.map(String::from).collect::<Vec<_>>().join(" ")
}

// `^`, `=` and `\` are delimiters; control characters are not allowed.
fn component(text: &str) -> String {
    let clean = text.replace(
        |c: char| matches!(c, '^' | '=' | '\\') || c.is_control(),
        " ",
    );
    clean.trim().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(json: &str) -> Option<Box<str>> {
        let name: Member<HumanName> = serde_json::from_str(json).expect("any JSON value");
        name.present().map(|name| name.person_name)
    }

    #[test]
    fn writes_a_name_as_dicom_does() {
        for (json, expected) in [
            (
                r#"{"text":"John DOE","family":"DOE","given":["John"]}"#,
                Some("DOE^John"),
            ),
            (
                r#"{"family":"DOE","given":["A","B","C"],"prefix":"Dr"}"#,
                Some("DOE^A^B C^Dr"),
            ),
            (r#"{"given":["John"],"suffix":["Jr"]}"#, Some("^John^^^Jr")),
            (r#"{"family":"D^O=E\\\u0007","given":[7]}"#, Some("D O E^7")),
            (r#"{"text":"John DOE"}"#, Some("John DOE")),
            (r#"{"text":"DOE^John"}"#, Some("DOE^John")),
            (r#"{"family":{},"given":true}"#, None),
            ("{}", None),
        ] {
            assert_eq!(name(json).as_deref(), expected, "{json}");
        }
    }

    #[test]
    fn knows_the_sexes_that_dicom_knows() {
        assert_eq!(sex("male"), Member::Present("M".into()));
        assert_eq!(sex("Female"), Member::Present("F".into()));
        assert_eq!(sex("other"), Member::Present("O".into()));
        assert_eq!(sex("unknown"), Member::Absent);
        assert_eq!(sex("xy"), Member::Malformed);
    }
}
