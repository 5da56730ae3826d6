//! Data types of FHIR: concepts, identifiers, extensions, references.

use std::fmt;

use serde::Deserialize;
use serde::de::{Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};

use super::member::{Integer, List, Member, Shape, objects, skip_seq, without_urn};
use crate::dicom::Uid;
use crate::manifest::Code;

/// A concept in any form: code, Coding, CodeableConcept, CodeableReference (R5), or a list of them,
/// of which the first counts.
#[derive(Debug, Default, Clone)]
pub(super) struct Concept {
    pub(super) system: Option<Box<str>>,
    pub(super) code: Option<Box<str>>,
    pub(super) text: Option<Box<str>>,
    /// Whether its form is richer than a Coding.
    pub(super) is_codeable: bool,
}

/// A business identifier.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Identifier {
    pub(super) kind: IdentifierKind,
    pub(super) value: Box<str>,
    /// The issuer: an OID without prefix, another URI, or a name.
    pub(super) issuer: Option<Box<str>>,
    /// Whether its use is old, temporary or secondary.
    pub(super) is_secondary: bool,
}

/// The kind of an identifier, as far as manifests need it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum IdentifierKind {
    StudyInstanceUid,
    AccessionNumber,
    /// It has no type.
    Untyped,
    Other,
}

/// An extension, with its value as a concept, which fits every extension that manifests use.
#[derive(Debug)]
pub(super) struct Extension {
    /// In the form of [`plain_name`].
    name: Box<str>,
    pub(super) value: Member<Concept>,
}

/// A reference to another resource.
#[derive(Debug)]
pub(super) struct Reference {
    pub(super) reference: Option<Box<str>>,
    pub(super) identifier: Option<Box<Identifier>>,
    /// A text in place of the resource.
    pub(super) display: Option<Box<str>>,
}

impl Concept {
    /// The concept in the model's form. A concept with only a text has an empty code value.
    pub(super) fn code(self) -> Option<Code> {
        (self.code.is_some() || self.text.is_some()).then(|| Code {
            value: self.code.unwrap_or_default(),
            scheme: self.system,
            meaning: self.text,
        })
    }

    /// The value, if it is a number.
    pub(super) fn number(&self) -> Member<u32> {
        let text = self.code.as_deref().unwrap_or_default();
        Integer::from_text(text).and_then(Integer::fit)
    }
}

impl Extension {
    /// Whether its URL ends in one of these names, which are in the form of [`plain_name`]; hosts
    /// and versions vary.
    pub(super) fn is(&self, names: &[&str]) -> bool {
        names.contains(&&*self.name)
    }
}

/// The first extension of one of these names.
pub(super) fn find<'a>(extensions: &'a List<Extension>, names: &[&str]) -> Option<&'a Extension> {
    extensions
        .items
        .iter()
        .find(|extension| extension.is(names))
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct ConceptMembers {
    system: Member<Box<str>>,
    code: Member<Box<str>>,
    // Identifier and Quantity have `value` in place of `code`.
    value: Member<Box<str>>,
    display: Member<Box<str>>,
    text: Member<Box<str>>,
    coding: List<Concept>,
    concept: Member<Concept>,
}

impl ConceptMembers {
    fn concept(self) -> Member<Concept> {
        let is_codeable = !self.coding.items.is_empty() || self.concept.as_ref().is_some();
        let coding = self
            .coding
            .items
            .into_iter()
            .find(|coding| coding.code.is_some());
        let inner = coding.or(self.concept.present()).unwrap_or_default();
        let concept = Concept {
            system: self.system.present().or(inner.system),
            code: self.code.or(self.value).present().or(inner.code),
            text: self.display.or(self.text).present().or(inner.text),
            is_codeable,
        };
        let is_empty = concept.code.is_none() && concept.text.is_none();
        if is_empty {
            Member::Absent
        } else {
            Member::Present(concept)
        }
    }
}

impl Shape for Concept {
    fn from_text(text: &str) -> Member<Self> {
        <Box<str>>::from_text(text).and_then(|code| {
            Member::Present(Self {
                code: Some(code),
                ..Self::default()
            })
        })
    }

    fn from_integer(integer: i64) -> Member<Self> {
        Self::from_text(&integer.to_string())
    }

    fn from_map<'de, A: MapAccess<'de>>(map: A) -> Result<Member<Self>, A::Error> {
        Ok(ConceptMembers::from_map(map)?.and_then(ConceptMembers::concept))
    }

    fn from_seq<'de, A: SeqAccess<'de>>(mut seq: A) -> Result<Member<Self>, A::Error> {
        let first = seq.next_element::<Member<Self>>()?;
        skip_seq(seq)?;
        Ok(first.unwrap_or_default())
    }
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct IdentifierMembers {
    r#use: Member<Box<str>>,
    r#type: Member<CodeableConcept>,
    system: Member<Box<str>>,
    value: Member<Box<str>>,
    assigner: Member<Assigner>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct CodeableConcept {
    coding: List<Concept>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Assigner {
    display: Member<Box<str>>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct ReferenceMembers {
    reference: Member<Box<str>>,
    identifier: Member<Identifier>,
    display: Member<Box<str>>,
}

objects!(
    ConceptMembers,
    IdentifierMembers,
    CodeableConcept,
    Assigner,
    ReferenceMembers
);

impl IdentifierMembers {
    // An identifier needs a value.
    fn identifier(self) -> Option<Identifier> {
        let system = self.system.present();
        let kind = IdentifierKind::of(self.r#type.as_ref(), system.as_deref());
        let assigner = self
            .assigner
            .present()
            .and_then(|assigner| assigner.display.present());
        let issuer = system
            .map(|system| without_urn(&system).into())
            .or(assigner);
        let is_secondary = matches!(
            self.r#use.as_ref().map(|r#use| &**r#use),
            Some("old" | "temp" | "secondary")
        );
        Some(Identifier {
            kind,
            value: self.value.present()?,
            issuer,
            is_secondary,
        })
    }
}

impl Identifier {
    /// The UID in a URI: `urn:ietf:rfc:3986` with `urn:oid:…`, which does not tell what it names.
    pub(super) fn uid_in_uri(&self) -> Option<Uid> {
        let is_uri = self.issuer.as_deref() == Some("urn:ietf:rfc:3986");
        let uid = without_urn(&self.value);
        let is_oid = uid.len() < self.value.len();
        (self.kind == IdentifierKind::Untyped && is_uri && is_oid)
            .then(|| Uid::parse(uid).ok())
            .flatten()
    }
}

impl IdentifierKind {
    fn of(r#type: Option<&CodeableConcept>, system: Option<&str>) -> Self {
        let codes = || {
            r#type
                .into_iter()
                .flat_map(|r#type| &r#type.coding.items)
                .filter_map(|c| c.code.as_deref())
        };
        if codes().any(|code| matches!(code, "110180" | "0020000D"))
            || system == Some("urn:dicom:uid")
        {
            Self::StudyInstanceUid
        } else if codes().any(|code| matches!(code, "121022" | "ACSN")) {
            Self::AccessionNumber
        } else if codes().next().is_none() {
            Self::Untyped
        } else {
            Self::Other
        }
    }
}

impl Shape for Identifier {
    fn from_map<'de, A: MapAccess<'de>>(map: A) -> Result<Member<Self>, A::Error> {
        Ok(IdentifierMembers::from_map(map)?.and_then(|members| members.identifier().into()))
    }
}

impl Shape for Reference {
    fn from_map<'de, A: MapAccess<'de>>(map: A) -> Result<Member<Self>, A::Error> {
        Ok(ReferenceMembers::from_map(map)?.and_then(|members| {
            let (reference, identifier) =
                (members.reference.present(), members.identifier.present());
            let display = members.display.present();
            let is_empty = reference.is_none() && identifier.is_none() && display.is_none();
            (!is_empty)
                .then(|| Self {
                    reference,
                    identifier: identifier.map(Box::new),
                    display,
                })
                .into()
        }))
    }
}

impl Shape for Extension {
    fn from_map<'de, A: MapAccess<'de>>(mut map: A) -> Result<Member<Self>, A::Error> {
        let (mut url, mut value) = (Member::<Box<str>>::Absent, Member::Absent);
        while let Some(key) = map.next_key()? {
            match key {
                ExtensionKey::Url => {
                    url = url.or(map.next_value()?);
                }
                ExtensionKey::Value => {
                    value = value.or(map.next_value()?);
                }
                ExtensionKey::Other => {
                    map.next_value::<IgnoredAny>()?;
                }
            }
        }
        Ok(url.and_then(|url| {
            Member::Present(Self {
                name: plain_name(last_segment(&url)),
                value,
            })
        }))
    }
}

fn last_segment(url: &str) -> &str {
    let unversioned = url.split(['|', '#']).next().unwrap_or_default();
    let path = unversioned.trim_end_matches('/');
    path.rsplit('/').next().unwrap_or_default()
}

/// The name of an extension as all builds of all guides have it: `MadoNumberOfFrames`,
/// `EuMadoNumberOfFramesExtension` and `number-of-frames` are `numberofframes`.
fn plain_name(name: &str) -> Box<str> {
    let letters = name.chars().filter(char::is_ascii_alphanumeric);
    let name: String = letters.map(|letter| letter.to_ascii_lowercase()).collect();
    let without_guide = ["eumado", "mado", "xcwado"]
        .into_iter()
        .find_map(|guide| name.strip_prefix(guide))
        .unwrap_or(&name);
    let without_kind = without_guide.strip_suffix("extension");
    without_kind.unwrap_or(without_guide).into()
}

enum ExtensionKey {
    Url,
    Value,
    Other,
}

impl<'de> Deserialize<'de> for ExtensionKey {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_identifier(ExtensionKeyVisitor)
    }
}

struct ExtensionKeyVisitor;

impl Visitor<'_> for ExtensionKeyVisitor {
    type Value = ExtensionKey;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a member name")
    }

    fn visit_str<E>(self, name: &str) -> Result<Self::Value, E> {
        Ok(match name {
            "url" => ExtensionKey::Url,
            _ if name.starts_with("value") => ExtensionKey::Value,
            _ => ExtensionKey::Other,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn concept(json: &str) -> Concept {
        match serde_json::from_str(json).expect("any JSON value") {
            Member::Present(concept) => concept,
            Member::Absent | Member::Malformed => panic!("no concept: {json}"),
        }
    }

    #[test]
    fn reads_a_concept_in_every_form() {
        for json in [
            r#""CT""#,
            r#"{"code":"CT"}"#,
            r#"{"coding":[{"display":"no code"},{"code":"CT"},{"code":"MR"}]}"#,
            r#"{"concept":{"coding":[{"code":"CT"}]},"reference":{"reference":"X/1"}}"#,
            r#"[{"code":"CT"},{"code":"MR"}]"#,
            r#"{"system":5,"code":"CT","display":{}}"#,
        ] {
            assert_eq!(concept(json).code.as_deref(), Some("CT"), "{json}");
        }
    }

    #[test]
    fn keeps_a_concept_that_has_only_a_text() {
        let code = concept(r#"{"text":"Head CT"}"#).code().expect("a code");
        assert_eq!(
            (&*code.value, code.meaning.as_deref()),
            ("", Some("Head CT"))
        );
    }

    #[test]
    fn names_an_extension_by_the_last_segment_of_its_url() {
        for url in [
            "https://h/fhir/StructureDefinition/Name",
            "Name",
            "https://other/Name#0.1.0",
            "http://h/Name|1.0",
        ] {
            assert_eq!(last_segment(url), "Name", "{url}");
        }
        for name in [
            "MadoNumberOfFrames",
            "MadoNumberOfFramesExtension",
            "EuMadoNumberOfFrames",
            "NumberOfFrames",
            "number-of-frames",
        ] {
            assert_eq!(&*plain_name(name), "numberofframes", "{name}");
        }
    }

    #[test]
    fn reads_an_extension_of_any_value_type() {
        for value in [
            r#""valueString":"ACME""#,
            r#""valueUri":"ACME""#,
            r#""valueOid":"ACME""#,
            r#""valueIdentifier":{"system":"x","value":"ACME"}"#,
            r#""valueCodeableConcept":{"coding":[{"code":"ACME"}]}"#,
        ] {
            let json = format!(r#"{{"_comment":[{{}}],{value},"url":"https://h/Name"}}"#);
            let extension: Member<Extension> = serde_json::from_str(&json).expect("any JSON value");
            let extension = extension.present().expect("an extension");
            assert!(extension.is(&["name"]) && !extension.is(&["https://h/Name"]));
            assert_eq!(
                extension
                    .value
                    .present()
                    .and_then(|value| value.code)
                    .as_deref(),
                Some("ACME"),
                "{json}"
            );
        }
    }

    #[test]
    fn tells_identifiers_apart() {
        for (json, kind) in [
            (
                r#"{"system":"urn:dicom:uid","value":"1.2"}"#,
                IdentifierKind::StudyInstanceUid,
            ),
            (
                r#"{"value":1,"type":{"coding":[{"code":"110180"}]}}"#,
                IdentifierKind::StudyInstanceUid,
            ),
            (
                r#"{"value":1,"type":{"coding":[{"code":"0020000D"}]}}"#,
                IdentifierKind::StudyInstanceUid,
            ),
            (
                r#"{"value":1,"type":{"coding":[{"code":"x"},{"code":"ACSN"}]}}"#,
                IdentifierKind::AccessionNumber,
            ),
            (
                r#"{"value":1,"type":{"coding":[{"code":"121022"}]}}"#,
                IdentifierKind::AccessionNumber,
            ),
            (
                r#"{"value":1,"type":{"coding":[{"code":"PLAC"}]}}"#,
                IdentifierKind::Other,
            ),
            (r#"{"value":"1"}"#, IdentifierKind::Untyped),
        ] {
            let identifier: Member<Identifier> =
                serde_json::from_str(json).expect("any JSON value");
            assert_eq!(
                identifier.present().map(|identifier| identifier.kind),
                Some(kind),
                "{json}"
            );
        }
    }
}
