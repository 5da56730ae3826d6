//! Content items of a structured report (PS3.3 C.17.3), as far as manifests use them.

use dicom_dictionary_std::tags;

use super::code::{Concept, RawCode};
use super::reader::Reader;
use crate::dicom::dataset::{DataSet, Element};
use crate::manifest::model::Code;
use crate::manifest::warning::Defect;

/// One content item.
#[derive(Debug, Clone, Copy)]
pub(super) struct Content<'a> {
    pub(super) kind: Kind,
    pub(super) concept: Option<Concept>,
    /// Of a container or a reference: its content sequence.
    pub(super) children: Option<Element<'a>>,
    value: Option<Element<'a>>,
}

/// The kind of its value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// CONTAINER, contained in its parent.
    Container,
    /// IMAGE, COMPOSITE or WAVEFORM, contained in its parent.
    Reference,
    Code,
    Number,
    /// TEXT, DATE, TIME or UIDREF.
    Text,
    /// A type that no template of a manifest uses.
    Other,
}

impl<'a> Content<'a> {
    pub(super) fn read(item: &DataSet<'a>, reader: &mut Reader) -> Self {
        let [
            relationship,
            value_type,
            name,
            date,
            time,
            uid,
            text,
            code,
            number,
            reference,
            children,
        ] = reader.describe(
            item,
            [
                tags::RELATIONSHIP_TYPE,
                tags::VALUE_TYPE,
                tags::CONCEPT_NAME_CODE_SEQUENCE,
                tags::DATE,
                tags::TIME,
                tags::UID,
                tags::TEXT_VALUE,
                tags::CONCEPT_CODE_SEQUENCE,
                tags::MEASURED_VALUE_SEQUENCE,
                tags::REFERENCED_SOP_SEQUENCE,
                tags::CONTENT_SEQUENCE,
            ],
        );
        let value_type = value_type.as_ref().and_then(Element::ascii);
        let kind = Kind::of(value_type.unwrap_or_default());
        let is_contained = contains(relationship, kind, reader);
        Self {
            kind: kind.in_place(is_contained),
            concept: name.and_then(|name| concept(name, reader)),
            children,
            value: match value_type {
                Some("DATE") => date,
                Some("TIME") => time,
                Some("UIDREF") => uid,
                Some("TEXT") => text,
                Some("CODE") => code,
                Some("NUM") => number.or(text),
                Some("IMAGE" | "COMPOSITE" | "WAVEFORM") => reference,
                Some(_) | None => None,
            },
        }
    }

    /// Its name in warnings.
    pub(super) fn name(&self) -> &'static str {
        self.concept.map_or("content item", Concept::name)
    }

    /// Its value, if it is a text, a date, a time or a UID.
    pub(super) fn plain(&self) -> Option<Element<'a>> {
        (self.kind == Kind::Text).then_some(self.value).flatten()
    }

    /// Its value, if it is a code.
    pub(super) fn code(&self, reader: &mut Reader) -> Option<Code> {
        (self.kind == Kind::Code)
            .then(|| RawCode::of(self.value, self.name(), reader))?
            .decode(reader)
    }

    /// Its value as text: a text, or the meaning of a code.
    pub(super) fn text(&self, reader: &mut Reader) -> Option<Box<str>> {
        match self.kind {
            Kind::Code => self.code(reader)?.meaning,
            Kind::Text => reader.text(self.value, self.name()),
            Kind::Number | Kind::Container | Kind::Reference | Kind::Other => None,
        }
    }

    /// Its value as a count. MADO 1.1 has some counts as text.
    pub(super) fn count(&self, reader: &mut Reader) -> Option<u32> {
        let number = self.number(reader);
        let count = reader.count(number, self.name());
        if self.kind == Kind::Text && count.is_some() {
            let defect = Defect::NumberAsText(self.name());
            reader.warnings.read_all_the_same(defect);
        }
        count
    }

    /// Its value as an integer.
    pub(super) fn integer(&self, reader: &mut Reader) -> Option<i32> {
        let number = self.number(reader);
        reader.integer(number, self.name())
    }

    /// The referenced SOP Instance UID.
    pub(super) fn sop_instance_uid(&self, reader: &mut Reader) -> Option<&'a str> {
        if self.kind != Kind::Reference {
            return None;
        }
        let item = reader.first(self.value)?;
        let [uid] = reader.describe(&item, [tags::REFERENCED_SOP_INSTANCE_UID]);
        reader.plain(uid, "referenced SOP instance UID")
    }

    fn number(&self, reader: &mut Reader) -> Option<Element<'a>> {
        match self.kind {
            Kind::Text => self.value,
            // A text in place of a number has no items.
            Kind::Number => match reader.first(self.value) {
                Some(item) => {
                    let [number] = reader.describe(&item, [tags::NUMERIC_VALUE]);
                    number
                }
                None => self.value.filter(|value| value.tag == tags::TEXT_VALUE),
            },
            Kind::Code | Kind::Container | Kind::Reference | Kind::Other => None,
        }
    }
}

impl Kind {
    fn of(value_type: &str) -> Self {
        match value_type {
            "CONTAINER" => Self::Container,
            "IMAGE" | "COMPOSITE" | "WAVEFORM" => Self::Reference,
            "CODE" => Self::Code,
            "NUM" => Self::Number,
            "TEXT" | "DATE" | "TIME" | "UIDREF" => Self::Text,
            _ => Self::Other,
        }
    }

    fn is_child_by_nature(self) -> bool {
        match self {
            Self::Container | Self::Reference => true,
            Self::Code | Self::Number | Self::Text | Self::Other => false,
        }
    }

    /// A reference with another relationship (an image as evidence of a finding) is not an entry.
    fn in_place(self, is_contained: bool) -> Self {
        if self.is_child_by_nature() && !is_contained {
            Self::Other
        } else {
            self
        }
    }
}

fn concept(name: Element<'_>, reader: &mut Reader) -> Option<Concept> {
    let code = RawCode::of(Some(name), "code of a concept", reader);
    let concept = Concept::of(&code);
    code.check_concept(concept.is_some(), reader);
    concept
}

// PS3.3 C.17.3.2.4. Some writers use HAS_ACQ_CONTEXT; others omit the type: the kind of value then
// decides.
fn contains(relationship: Option<Element<'_>>, kind: Kind, reader: &mut Reader) -> bool {
    match relationship.as_ref().and_then(Element::ascii) {
        Some(text) => {
            if text.contains('_') {
                reader.warnings.read_all_the_same(Defect::Relationship);
            }
            text == "CONTAINS"
        }
        None => {
            reader.warnings.read_all_the_same(Defect::Relationship);
            kind.is_child_by_nature()
        }
    }
}
