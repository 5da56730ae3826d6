//! What a key requires of an attribute, in the forms that an index can answer.

use std::ops::RangeInclusive;

use dicom_core::VR;

use super::matching::{has_wildcards, plain_name, plain_time};
use super::{Key, Query};

/// The requirement of a key. An index that answers it may give more rows than match, never fewer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Condition {
    /// The attribute has one of these values.
    Texts(Vec<String>),
    /// A component group of the name is this text, in its plain form.
    Name(String),
    /// A component group of the name begins with this text, in its plain form.
    NamePrefix(String),
    /// The date is in one of these ranges of `YYYYMMDD`.
    Dates(Vec<RangeInclusive<u32>>),
}

impl Query {
    /// Whether every row matches: all keys are universal (PS3.4 C.2.2.2.3).
    #[must_use]
    pub fn is_universal(&self) -> bool {
        self.keys.iter().all(Key::is_universal)
    }

    /// The requirement of a key; `None` if no index can answer it.
    #[must_use]
    pub fn condition(&self, key: &Key) -> Option<Condition> {
        if key.is_universal() || (self.empty_values && key.value == "\"\"") {
            return None;
        }
        let vr = key.path.vr();
        let values: Vec<&str> = self.each(key).collect();
        match (vr, values.as_slice()) {
            (VR::DA, _) => Some(Condition::Dates(
                values.into_iter().map(dates).collect::<Option<_>>()?,
            )),
            (VR::PN, &[name]) => of_name(&plain_name(name)),
            (VR::PN, _) => None,
            _ => texts(vr, &values),
        }
    }
}

impl Key {
    /// Whether it restricts nothing.
    pub(super) fn is_universal(&self) -> bool {
        let is_all_stars =
            || has_wildcards(self.path.vr()) && self.value.bytes().all(|byte| byte == b'*');
        self.path.tags().len() == 1 && (self.value.is_empty() || is_all_stars())
    }
}

fn texts(vr: VR, values: &[&str]) -> Option<Condition> {
    if has_wildcards(vr) && values.iter().any(|value| value.contains(['*', '?'])) {
        return None;
    }
    let texts = values.iter().map(|value| value.trim().to_owned());
    Some(Condition::Texts(texts.collect()))
}

fn of_name(name: &str) -> Option<Condition> {
    let beginning = name.trim_end_matches('*');
    match beginning.contains(['*', '?']) || beginning.is_empty() {
        true => None,
        false if beginning.len() == name.len() => Some(Condition::Name(name.to_owned())),
        false => Some(Condition::NamePrefix(beginning.to_owned())),
    }
}

/// The days that a date or a range of dates covers. A range without ends covers none.
fn dates(wanted: &str) -> Option<RangeInclusive<u32>> {
    let wanted = plain_time(wanted);
    let (from, to) = wanted.split_once('-').unwrap_or((&wanted, &wanted));
    if from.is_empty() && to.is_empty() {
        return Some(RangeInclusive::new(1, 0));
    }
    Some(day(from, '0')?..=day(to, '9')?)
}

/// A day from the digits of a date, and this digit for those that it lacks.
fn day(digits: &str, other: char) -> Option<u32> {
    let is_digits = digits.len() <= 8 && digits.bytes().all(|byte| byte.is_ascii_digit());
    let missing = 8_usize.checked_sub(digits.len())?;
    let padded = digits.chars().chain(std::iter::repeat_n(other, missing));
    is_digits.then(|| padded.collect::<String>().parse().ok())?
}

#[cfg(test)]
mod tests {
    use super::super::AttributePath;
    use super::*;

    fn condition(name: &str, value: &str) -> Option<Condition> {
        let path = AttributePath::parse(name).expect(name);
        let value = value.to_owned();
        Query::default().condition(&Key { path, value })
    }

    fn texts(all: &[&str]) -> Option<Condition> {
        let all = all.iter().map(|text| (*text).to_owned());
        Some(Condition::Texts(all.collect()))
    }

    #[test]
    fn single_values_and_lists_are_texts() {
        assert_eq!(condition("PatientID", " P1 "), texts(&["P1"]));
        assert_eq!(condition("PatientID", "P1,P2"), texts(&["P1,P2"]));
        let uids = condition("StudyInstanceUID", "1.2,1.3\\1.4");
        assert_eq!(uids, texts(&["1.2", "1.3", "1.4"]));
        let modalities = condition("ModalitiesInStudy", "CT,MR\\US");
        assert_eq!(modalities, texts(&["CT", "MR", "US"]));
        let path = AttributePath::parse("PatientID").expect("an attribute");
        let (value, mut query) = ("P1,P2".to_owned(), Query::default());
        query.multiple_values = true;
        assert_eq!(query.condition(&Key { path, value }), texts(&["P1", "P2"]));
    }

    #[test]
    fn names_are_plain_and_a_star_at_their_end_is_a_prefix() {
        let name = |text: &str| Some(Condition::Name(text.to_owned()));
        let prefix = |text: &str| Some(Condition::NamePrefix(text.to_owned()));
        assert_eq!(condition("PatientName", "DOE^Jane^^"), name("doe^jane"));
        assert_eq!(condition("PatientName", "Doe^*"), prefix("doe^"));
    }

    #[test]
    fn dates_are_ranges_of_days() {
        let days = |from, to| Some(Condition::Dates(vec![RangeInclusive::new(from, to)]));
        for (value, expected) in [
            ("20260131", days(20_260_131, 20_260_131)),
            ("2026.01.31", days(20_260_131, 20_260_131)),
            ("202601", days(20_260_100, 20_260_199)),
            ("20260101-20260131", days(20_260_101, 20_260_131)),
            ("2025-", days(20_250_000, 99_999_999)),
            ("-202501", days(0, 20_250_199)),
            ("-", days(1, 0)),
            ("20260131120000", None),
            ("junk", None),
        ] {
            assert_eq!(condition("StudyDate", value), expected, "{value}");
        }
    }

    #[test]
    fn other_keys_need_a_walk() {
        for (name, value) in [
            ("PatientID", "P*"),
            ("PatientName", "*doe*"),
            ("PatientName", "d?e"),
            ("PatientID", ""),
            ("PatientName", "*"),
        ] {
            assert_eq!(condition(name, value), None, "{name}={value}");
        }
    }
}
