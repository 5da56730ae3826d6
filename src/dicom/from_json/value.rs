//! The values of an element in the DICOM JSON model, and their bytes.

use std::borrow::Cow;
use std::fmt;

use dicom_core::{Tag, VR};
use serde::Deserialize;
use serde::de::{Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};

use crate::dicom::tag;

/// The limit for the values of one element; a manifest has a few.
const MOST_VALUES: usize = 1 << 16;

/// The values of an element, one after the other.
pub(super) struct Scalars(Vec<Scalar>);

/// A value, as far as an element may have it.
enum Scalar {
    Text(String),
    Number(serde_json::Number),
    /// Null, or of a kind that no element has.
    Nothing,
}

impl<'de> Deserialize<'de> for Scalars {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(ScalarsVisitor)
    }
}

struct ScalarsVisitor;

impl<'de> Visitor<'de> for ScalarsVisitor {
    type Value = Scalars;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a list of values")
    }

    fn visit_unit<E>(self) -> Result<Self::Value, E> {
        Ok(Scalars(Vec::new()))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Self::Value, A::Error> {
        let mut scalars = Vec::new();
        while let Some(scalar) = seq.next_element()? {
            if scalars.len() < MOST_VALUES {
                scalars.push(scalar);
            }
        }
        Ok(Scalars(scalars))
    }
}

impl<'de> Deserialize<'de> for Scalar {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(ScalarVisitor)
    }
}

struct ScalarVisitor;

impl<'de> Visitor<'de> for ScalarVisitor {
    type Value = Scalar;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a value")
    }

    fn visit_unit<E>(self) -> Result<Self::Value, E> {
        Ok(Scalar::Nothing)
    }

    fn visit_bool<E>(self, _value: bool) -> Result<Self::Value, E> {
        Ok(Scalar::Nothing)
    }

    fn visit_i64<E>(self, value: i64) -> Result<Self::Value, E> {
        Ok(Scalar::Number(value.into()))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Self::Value, E> {
        Ok(Scalar::Number(value.into()))
    }

    fn visit_f64<E>(self, value: f64) -> Result<Self::Value, E> {
        let number = serde_json::Number::from_f64(value);
        Ok(number.map_or(Scalar::Nothing, Scalar::Number))
    }

    fn visit_str<E>(self, value: &str) -> Result<Self::Value, E> {
        Ok(Scalar::Text(value.to_owned()))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Self::Value, A::Error> {
        while seq.next_element::<IgnoredAny>()?.is_some() {}
        Ok(Scalar::Nothing)
    }

    // F.2.2: a person name has its component groups by name.
    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut groups = [const { String::new() }; 3];
        while let Some(name) = map.next_key::<Cow<'de, str>>()? {
            let group = match &*name {
                "Alphabetic" => 0,
                "Ideographic" => 1,
                "Phonetic" => 2,
                _ => {
                    map.next_value::<IgnoredAny>()?;
                    continue;
                }
            };
            if let Self::Value::Text(text) = map.next_value()? {
                groups[group] = text;
            }
        }
        let name = groups.join("=");
        Ok(Scalar::Text(name.trim_end_matches('=').to_owned()))
    }
}

/// The value of an element that is neither binary nor a sequence.
#[expect(
    clippy::wildcard_enum_match_arm,
    reason = "most representations are texts"
)]
pub(super) fn bytes_of(vr: VR, Scalars(scalars): &Scalars) -> Vec<u8> {
    let numbers = || scalars.iter().filter_map(Scalar::text);
    match vr {
        VR::US => numbers()
            .flat_map(|n| number::<u16>(&n).to_le_bytes())
            .collect(),
        VR::SS => numbers()
            .flat_map(|n| number::<i16>(&n).to_le_bytes())
            .collect(),
        VR::UL => numbers()
            .flat_map(|n| number::<u32>(&n).to_le_bytes())
            .collect(),
        VR::SL => numbers()
            .flat_map(|n| number::<i32>(&n).to_le_bytes())
            .collect(),
        VR::UV => numbers()
            .flat_map(|n| number::<u64>(&n).to_le_bytes())
            .collect(),
        VR::SV => numbers()
            .flat_map(|n| number::<i64>(&n).to_le_bytes())
            .collect(),
        VR::FL => numbers()
            .flat_map(|n| number::<f32>(&n).to_le_bytes())
            .collect(),
        VR::FD => numbers()
            .flat_map(|n| number::<f64>(&n).to_le_bytes())
            .collect(),
        VR::AT => numbers()
            .filter_map(|n| tag(&n))
            .flat_map(tag_bytes)
            .collect(),
        _ => {
            let texts = scalars
                .iter()
                .map(|scalar| scalar.text().unwrap_or_default());
            texts.collect::<Vec<_>>().join("\\").into_bytes()
        }
    }
}

fn tag_bytes(Tag(group, element): Tag) -> impl Iterator<Item = u8> {
    let bytes = [group.to_le_bytes(), element.to_le_bytes()];
    bytes.into_iter().flatten()
}

fn number<T: std::str::FromStr + Default>(text: &str) -> T {
    text.trim().parse().unwrap_or_default()
}

impl Scalar {
    fn text(&self) -> Option<Cow<'_, str>> {
        match self {
            Self::Text(text) => Some(text.into()),
            Self::Number(number) => Some(number.to_string().into()),
            Self::Nothing => None,
        }
    }
}
