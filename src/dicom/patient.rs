//! The identifiers of a patient, and whether two patients can be one.

use std::fmt;
use std::sync::Arc;

use dicom_core::Tag;
use serde::{Deserialize, Serialize};

use super::CharacterSet;
use super::dataset::{DataSet, Element};

const PATIENT_ID: Tag = Tag(0x0010, 0x0020);
const ISSUER_OF_PATIENT_ID: Tag = Tag(0x0010, 0x0021);
const ISSUER_QUALIFIERS: Tag = Tag(0x0010, 0x0024);
const OTHER_PATIENT_IDS: Tag = Tag(0x0010, 0x1002);
const LOCAL_NAMESPACE: Tag = Tag(0x0040, 0x0031);
const UNIVERSAL_ENTITY_ID: Tag = Tag(0x0040, 0x0032);

/// The most identifiers of one patient, and the most bytes of a text, that are compared.
const MOST_IDS: usize = 64;
const LONGEST: usize = 256;

/// An identifier with its issuer (PS3.3 C.7.1.1).
#[derive(Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct PatientId {
    value: Box<str>,
    /// The issuer by an OID or a URI, which name it everywhere.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    universal: Option<Box<str>>,
    /// Names that the issuer has where the identifier was written.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    local: Vec<Box<str>>,
}

/// The identifiers of one patient: cheap to clone. They are patient data, so `Debug` shows their
/// number only.
#[derive(Clone, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[serde(from = "Vec<PatientId>", into = "Vec<PatientId>")]
pub struct PatientIds(Option<Arc<[PatientId]>>);

/// What the identifiers of two patients tell about them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Comparison {
    /// One issuer has given both the same identifier.
    Same,
    /// Nothing: one has no identifier, or no issuer has given identifiers to both.
    Open,
    /// They have different identifiers, at least one of them without an issuer.
    Doubtful,
    /// They are two patients: one issuer has given them different identifiers, or two issuers have
    /// given the same number, which each means another patient.
    Different,
}

/// What an identifier of one patient and one of another tell.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Pair {
    /// One issuer has given both the same value.
    Same,
    /// The values are equal, and it is not known whether of one issuer.
    Alike,
    /// One issuer has given them different values.
    TwoValues,
    /// Two issuers have given the same value, which each means another patient.
    TwoIssuers,
    /// Different values, neither with an issuer.
    Nameless,
    /// Different values, one of them without an issuer.
    HalfNamed,
    /// Nothing.
    Nothing,
}

impl PatientId {
    /// An identifier whose issuer is an OID, a URI or a local name.
    #[must_use]
    pub fn new(value: &str, issuer: Option<&str>) -> Option<Self> {
        let mut id = Self {
            value: text_of(value)?,
            universal: None,
            local: Vec::new(),
        };
        let issuer = issuer.and_then(text_of);
        match issuer.map(|issuer| without_prefix(&issuer).to_lowercase()) {
            Some(issuer) if is_universal(&issuer) => id.universal = Some(issuer.into()),
            issuer => id.local.extend(issuer.map(Into::into)),
        }
        Some(id)
    }

    /// An identifier as its attributes tell it: Patient ID, Universal Entity ID, and the names
    /// besides, Local Namespace Entity ID and Issuer of Patient ID. A name may be an OID or a URI.
    #[must_use]
    pub fn of_attributes(
        value: &str,
        universal: Option<&str>,
        names: [Option<&str>; 2],
    ) -> Option<Self> {
        let mut id = Self::new(value, None)?;
        let issuer = |text| text_of(text).map(|text| without_prefix(&text).to_lowercase());
        id.universal = universal.and_then(issuer).map(Into::into);
        for name in names.into_iter().flatten().filter_map(issuer) {
            if id.universal.is_none() && is_universal(&name) {
                id.universal = Some(name.into());
            } else {
                id.local.push(name.into());
            }
        }
        Some(id)
    }

    fn has_issuer(&self) -> bool {
        self.universal.is_some() || !self.local.is_empty()
    }

    /// Whether one issuer has given both; `None` if the names of the issuers do not tell.
    fn shares_issuer(&self, other: &Self) -> Option<bool> {
        let all = |id: &Self| id.universal.iter().chain(&id.local).cloned().collect();
        match (&self.universal, &other.universal) {
            (Some(one), Some(other)) => Some(one == other),
            _ if !self.has_issuer() || !other.has_issuer() => None,
            (one, two) => {
                let (mine, theirs): (Vec<_>, Vec<_>) = (all(self), all(other));
                if mine.iter().any(|name| theirs.contains(name)) {
                    return Some(true);
                }
                // A local name and an OID may be of one issuer.
                (one.is_none() && two.is_none()).then_some(false)
            }
        }
    }

    fn pair(&self, other: &Self) -> Pair {
        let is_same_value = self.value == other.value;
        match (is_same_value, self.shares_issuer(other)) {
            (true, Some(true)) => Pair::Same,
            (false, Some(true)) => Pair::TwoValues,
            (true, Some(false)) => Pair::TwoIssuers,
            (true, None) => Pair::Alike,
            (false, Some(false)) => Pair::Nothing,
            (false, None) => match (self.has_issuer(), other.has_issuer()) {
                (true, true) => Pair::Nothing,
                (false, false) => Pair::Nameless,
                _ => Pair::HalfNamed,
            },
        }
    }
}

impl PatientIds {
    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_none()
    }

    /// Those whose issuer is named by an OID or a URI: local names may mean another issuer elsewhere.
    #[must_use]
    pub fn with_universal_issuers(&self) -> Self {
        let ids = self.all().iter().filter(|id| id.universal.is_some());
        ids.cloned().collect::<Vec<_>>().into()
    }

    fn all(&self) -> &[PatientId] {
        self.0.as_deref().unwrap_or_default()
    }

    /// What each identifier of this patient tells together with each of another.
    pub fn pairs<'a>(&'a self, other: &'a Self) -> impl Iterator<Item = Pair> + 'a {
        let others = other.all();
        let all = self.all().iter();
        all.flat_map(move |one| others.iter().map(move |other| one.pair(other)))
    }

    /// Compares two patients. One identifier in common settles it; equal values without an issuer
    /// contradict nothing.
    #[must_use]
    pub fn compare(&self, other: &Self) -> Comparison {
        let has = |told: &[Pair]| self.pairs(other).any(|pair| told.contains(&pair));
        if has(&[Pair::Same]) {
            Comparison::Same
        } else if has(&[Pair::Alike]) {
            Comparison::Open
        } else if has(&[Pair::TwoValues, Pair::TwoIssuers]) {
            Comparison::Different
        } else if has(&[Pair::Nameless, Pair::HalfNamed]) {
            Comparison::Doubtful
        } else {
            Comparison::Open
        }
    }

    /// The identifiers in a data set: Patient ID and Other Patient IDs Sequence, with their issuers.
    pub(super) fn read(set: &DataSet<'_>, found: &PatientElements<'_>) -> Self {
        let mut ids = Vec::new();
        ids.extend(found.id(set));
        let others = found.others.iter().flat_map(Element::items);
        for item in others.map_while(Result::ok).take(MOST_IDS) {
            let mut elements = PatientElements::default();
            for element in item.elements().map_while(Result::ok) {
                elements.note(element);
            }
            ids.extend(elements.id(set));
        }
        ids.into()
    }
}

impl From<Vec<PatientId>> for PatientIds {
    fn from(mut ids: Vec<PatientId>) -> Self {
        ids.truncate(MOST_IDS);
        Self((!ids.is_empty()).then(|| ids.into()))
    }
}

impl From<PatientIds> for Vec<PatientId> {
    fn from(ids: PatientIds) -> Self {
        ids.all().to_vec()
    }
}

impl fmt::Debug for PatientIds {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("PatientIds")
            .field(&self.all().len())
            .finish()
    }
}

impl fmt::Debug for PatientId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("PatientId(…)")
    }
}

/// The elements of a data set that identify its patient.
#[derive(Default)]
pub(super) struct PatientElements<'a> {
    id: Option<Element<'a>>,
    label: Option<Element<'a>>,
    qualifiers: Option<Element<'a>>,
    others: Option<Element<'a>>,
}

impl<'a> PatientElements<'a> {
    /// Keeps an element if it is one of them.
    pub(super) fn note(&mut self, element: Element<'a>) {
        match element.tag {
            PATIENT_ID => self.id = Some(element),
            ISSUER_OF_PATIENT_ID => self.label = Some(element),
            ISSUER_QUALIFIERS => self.qualifiers = Some(element),
            OTHER_PATIENT_IDS => self.others = Some(element),
            _ => {}
        }
    }

    fn id(&self, set: &DataSet<'_>) -> Option<PatientId> {
        let item = self.qualifiers.and_then(|element| element.items().next());
        let qualifiers = item.and_then(Result::ok);
        let qualifier = |tag| decoded(qualifiers.as_ref()?.element(tag), set);
        let local = [qualifier(LOCAL_NAMESPACE), decoded(self.label, set)];
        PatientId::of_attributes(
            &decoded(self.id, set)?,
            qualifier(UNIVERSAL_ENTITY_ID).as_deref(),
            local.each_ref().map(Option::as_deref),
        )
    }
}

fn decoded(element: Option<Element<'_>>, set: &DataSet<'_>) -> Option<Box<str>> {
    let element = element?;
    let bytes = element.text()?;
    Some(match std::str::from_utf8(bytes) {
        Ok(text) if text.is_ascii() && !text.contains('\x1B') => text.into(),
        _ => CharacterSet::of(set).decode(bytes),
    })
}

/// A text without the blanks around it (PS3.5 6.2: they do not count); `None` if nothing is left.
fn text_of(text: &str) -> Option<Box<str>> {
    let text = text.trim_matches(|c: char| c.is_whitespace() || c == '\0');
    (!text.is_empty() && text.len() <= LONGEST).then(|| text.into())
}

fn without_prefix(issuer: &str) -> &str {
    let head = issuer.get(..8).unwrap_or_default();
    if head.eq_ignore_ascii_case("urn:oid:") {
        &issuer[8..]
    } else {
        issuer
    }
}

/// Whether an issuer is named by an OID or a URI.
fn is_universal(issuer: &str) -> bool {
    let is_oid = issuer.contains('.') && issuer.bytes().all(|b| b.is_ascii_digit() || b == b'.');
    is_oid || issuer.contains(':')
}

#[cfg(test)]
#[path = "patient_tests.rs"]
mod tests;
