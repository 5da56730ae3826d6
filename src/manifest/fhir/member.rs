//! JSON members of any shape: a value of an unexpected shape is malformed, not an error.
//!
//! Only invalid JSON is an error, so one odd member never makes a whole manifest unreadable.

use std::fmt;
use std::marker::PhantomData;

use serde::Deserialize;
use serde::de::{Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};

use crate::dicom::Uid;
use crate::manifest::warning::Warnings;

/// The limit for the items of a list, far above any real list; further items count as malformed.
/// (Entries, contained resources, series and instances have limits of their own.)
const LONGEST_LIST: usize = 1_000;

/// A member: absent (also null or empty), malformed, or present.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) enum Member<T> {
    #[default]
    Absent,
    Malformed,
    Present(T),
}

/// A list; a single value in its place counts as a list of one.
#[derive(Debug, Clone)]
pub(super) struct List<T> {
    pub(super) items: Vec<T>,
    pub(super) is_malformed: bool,
    pub(super) is_array: bool,
}

/// An integer, as a number or as text.
#[derive(Debug, Clone, Copy)]
pub(super) struct Integer(i64);

/// Reads a type from each kind of JSON value. An unexpected kind is malformed.
pub(super) trait Shape: Sized {
    fn from_text(_text: &str) -> Member<Self> {
        Member::Malformed
    }

    fn from_integer(_integer: i64) -> Member<Self> {
        Member::Malformed
    }

    fn from_map<'de, A: MapAccess<'de>>(map: A) -> Result<Member<Self>, A::Error> {
        skip_map(map)?;
        Ok(Member::Malformed)
    }

    fn from_seq<'de, A: SeqAccess<'de>>(seq: A) -> Result<Member<Self>, A::Error> {
        skip_seq(seq)?;
        Ok(Member::Malformed)
    }
}

/// Reads the listed structs from JSON objects only (serde alone would accept arrays).
macro_rules! objects {
    ($($name:ty),* $(,)?) => { $(
        impl $crate::manifest::fhir::member::Shape for $name {
            fn from_map<'de, A: serde::de::MapAccess<'de>>(
                map: A,
            ) -> Result<$crate::manifest::fhir::member::Member<Self>, A::Error> {
                let object = serde::de::value::MapAccessDeserializer::new(map);
                serde::Deserialize::deserialize(object).map($crate::manifest::fhir::member::Member::Present)
            }
        }
    )* };
}
pub(super) use objects;

impl<T> Member<T> {
    /// The value; a malformed one is ignored with a warning.
    pub(super) fn read(self, what: &'static str, warnings: &mut Warnings) -> Option<T> {
        match self {
            Self::Absent => None,
            Self::Malformed => {
                warnings.malformed(what);
                None
            }
            Self::Present(value) => Some(value),
        }
    }

    /// The value; a malformed one is ignored without a warning.
    pub(super) fn present(self) -> Option<T> {
        match self {
            Self::Absent | Self::Malformed => None,
            Self::Present(value) => Some(value),
        }
    }

    pub(super) fn as_ref(&self) -> Option<&T> {
        match self {
            Self::Absent | Self::Malformed => None,
            Self::Present(value) => Some(value),
        }
    }

    pub(super) fn is_malformed(&self) -> bool {
        match self {
            Self::Malformed => true,
            Self::Absent | Self::Present(_) => false,
        }
    }

    pub(super) fn and_then<U>(self, next: impl FnOnce(T) -> Member<U>) -> Member<U> {
        match self {
            Self::Absent => Member::Absent,
            Self::Malformed => Member::Malformed,
            Self::Present(value) => next(value),
        }
    }

    /// The value if it is present, else the other member.
    pub(super) fn or(self, other: Self) -> Self {
        match self {
            Self::Absent | Self::Malformed => other,
            Self::Present(value) => Self::Present(value),
        }
    }
}

impl<T> From<Option<T>> for Member<T> {
    fn from(value: Option<T>) -> Self {
        value.map_or(Self::Malformed, Self::Present)
    }
}

impl<T> List<T> {
    /// The items; a malformed list or item adds a warning.
    pub(super) fn read(self, what: &'static str, warnings: &mut Warnings) -> Vec<T> {
        if self.is_malformed {
            warnings.malformed(what);
        }
        self.items
    }

    fn add(&mut self, item: Member<T>) {
        match item {
            Member::Absent => {}
            Member::Present(item) if self.items.len() < LONGEST_LIST => self.items.push(item),
            Member::Malformed | Member::Present(_) => self.is_malformed = true,
        }
    }

    fn of(item: Member<T>) -> Member<Self> {
        let mut list = Self::default();
        list.add(item);
        Member::Present(list)
    }
}

impl<T> Default for List<T> {
    fn default() -> Self {
        Self {
            items: Vec::new(),
            is_malformed: false,
            is_array: false,
        }
    }
}

impl Integer {
    /// The number, if it is in the range of `T`.
    pub(super) fn fit<T: TryFrom<i64>>(self) -> Member<T> {
        T::try_from(self.0).ok().into()
    }
}

impl Shape for Box<str> {
    fn from_text(text: &str) -> Member<Self> {
        let text = text.trim_matches(|c: char| c.is_whitespace() || c == '\0');
        if text.is_empty() {
            Member::Absent
        } else {
            Member::Present(text.into())
        }
    }

    // An accession number without quotes, for example.
    fn from_integer(integer: i64) -> Member<Self> {
        Member::Present(integer.to_string().into())
    }
}

impl Shape for Integer {
    fn from_text(text: &str) -> Member<Self> {
        let text = text.trim();
        if text.is_empty() {
            Member::Absent
        } else {
            text.parse().ok().map(Self).into()
        }
    }

    fn from_integer(integer: i64) -> Member<Self> {
        Member::Present(Self(integer))
    }
}

impl Shape for Uid {
    fn from_text(text: &str) -> Member<Self> {
        let text = text.trim_matches(|c: char| c.is_whitespace() || c == '\0');
        if text.is_empty() {
            Member::Absent
        } else {
            Self::parse(without_urn(text)).ok().into()
        }
    }
}

impl<T: Shape> Shape for List<T> {
    fn from_text(text: &str) -> Member<Self> {
        Self::of(T::from_text(text))
    }

    fn from_integer(integer: i64) -> Member<Self> {
        Self::of(T::from_integer(integer))
    }

    fn from_map<'de, A: MapAccess<'de>>(map: A) -> Result<Member<Self>, A::Error> {
        T::from_map(map).map(Self::of)
    }

    fn from_seq<'de, A: SeqAccess<'de>>(mut seq: A) -> Result<Member<Self>, A::Error> {
        let mut list = Self {
            is_array: true,
            ..Self::default()
        };
        while let Some(item) = seq.next_element()? {
            list.add(item);
        }
        Ok(Member::Present(list))
    }
}

impl<'de, T: Shape> Deserialize<'de> for List<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Ok(match Member::deserialize(deserializer)? {
            Member::Absent => Self::default(),
            Member::Malformed => Self {
                is_malformed: true,
                ..Self::default()
            },
            Member::Present(list) => list,
        })
    }
}

impl<'de, T: Shape> Deserialize<'de> for Member<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(ShapeVisitor(PhantomData))
    }
}

struct ShapeVisitor<T>(PhantomData<T>);

impl<'de, T: Shape> Visitor<'de> for ShapeVisitor<T> {
    type Value = Member<T>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("any JSON value")
    }

    fn visit_unit<E>(self) -> Result<Self::Value, E> {
        Ok(Member::Absent)
    }

    fn visit_bool<E>(self, _value: bool) -> Result<Self::Value, E> {
        Ok(Member::Malformed)
    }

    fn visit_i64<E>(self, value: i64) -> Result<Self::Value, E> {
        Ok(T::from_integer(value))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Self::Value, E> {
        Ok(i64::try_from(value).map_or(Member::Malformed, T::from_integer))
    }

    // `1.0` and `1e2` are integers too; above 2^53 a float is no longer exact.
    fn visit_f64<E>(self, value: f64) -> Result<Self::Value, E> {
        let is_exact = value.fract() == 0.0 && value.abs() < 9_007_199_254_740_992.0;
        Ok(if is_exact {
            T::from_integer(value as i64)
        } else {
            Member::Malformed
        })
    }

    fn visit_str<E>(self, value: &str) -> Result<Self::Value, E> {
        Ok(T::from_text(value))
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Self::Value, A::Error> {
        T::from_map(map)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, seq: A) -> Result<Self::Value, A::Error> {
        T::from_seq(seq)
    }
}

/// Skips the rest of the object.
pub(super) fn skip_map<'de, A: MapAccess<'de>>(mut map: A) -> Result<(), A::Error> {
    while map.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
    Ok(())
}

/// Skips the rest of the array.
pub(super) fn skip_seq<'de, A: SeqAccess<'de>>(mut seq: A) -> Result<(), A::Error> {
    while seq.next_element::<IgnoredAny>()?.is_some() {}
    Ok(())
}

/// The text without a leading `urn:oid:` or `oid:`.
pub(super) fn without_urn(text: &str) -> &str {
    ["urn:oid:", "oid:"]
        .into_iter()
        .find(|prefix| {
            text.get(..prefix.len())
                .is_some_and(|head| head.eq_ignore_ascii_case(prefix))
        })
        .map_or(text, |prefix| &text[prefix.len()..])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn member<T: Shape>(json: &str) -> Member<T> {
        serde_json::from_str(json).expect("any JSON value")
    }

    fn integer(json: &str) -> Member<i32> {
        member::<Integer>(json).and_then(Integer::fit)
    }

    #[test]
    fn reads_a_number_in_every_spelling() {
        for json in ["7", "\"7\"", "\" +7 \"", "7.0", "70e-1"] {
            assert_eq!(integer(json), Member::Present(7), "{json}");
        }
        for json in ["null", "\"\"", "\" \""] {
            assert_eq!(integer(json), Member::Absent, "{json}");
        }
        for json in [
            "true",
            "7.5",
            "\"x\"",
            "{}",
            "[7]",
            "1e300",
            "4294967296",
            "18446744073709551615",
        ] {
            assert_eq!(integer(json), Member::Malformed, "{json}");
        }
    }

    #[test]
    fn reads_text_and_marks_everything_else() {
        assert_eq!(
            member::<Box<str>>("\" a\\u0000\""),
            Member::Present("a".into())
        );
        assert_eq!(member::<Box<str>>("12"), Member::Present("12".into()));
        for json in ["true", "1.5", "{\"a\":{\"b\":[]}}", "[\"a\",{}]"] {
            assert_eq!(member::<Box<str>>(json), Member::Malformed, "{json}");
        }
    }

    #[test]
    fn keeps_the_good_items_of_a_list() {
        let list: List<Box<str>> = serde_json::from_str(r#"["a", {}, null, "b"]"#).expect("a list");
        assert_eq!(list.items, ["a".into(), "b".into()]);
        assert!(list.is_malformed && list.is_array);
        let single: List<Box<str>> = serde_json::from_str("\"a\"").expect("a value");
        assert_eq!(single.items, ["a".into()]);
        assert!(!single.is_malformed && !single.is_array);
    }

    #[test]
    fn leaves_out_what_makes_a_list_too_long() {
        let json = format!("[{}0]", "0,".repeat(LONGEST_LIST));
        let list: List<Integer> = serde_json::from_str(&json).expect("a list");
        assert_eq!(list.items.len(), LONGEST_LIST);
        assert!(list.is_malformed);
    }

    #[test]
    fn strips_the_urn_in_any_case() {
        for text in ["1.2.3", "urn:oid:1.2.3", "URN:OID:1.2.3", "oid:1.2.3"] {
            assert_eq!(without_urn(text), "1.2.3", "{text}");
        }
        for text in ["urn:uuid:1", "ürn:oid:1", "urn"] {
            assert_eq!(without_urn(text), text);
        }
    }
}
