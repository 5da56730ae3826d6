//! Matches rows against a query, by PS3.18 8.3.4.1 and PS3.4 C.2.2.2. Pure.
//!
//! A row is a set of attributes in the DICOM JSON model (PS3.18 annex F), of a source or of the
//! gateway.

mod attribute;
mod condition;
mod identifiers;
mod matching;

use std::collections::BTreeSet;

use dicom_core::VR;
use serde_json::{Map, Value};

pub use attribute::{AttributePath, NotAnAttribute};
pub use condition::Condition;
pub use identifiers::{FURTHER_ACCESSIONS, FURTHER_PATIENT_IDS, further};
pub use matching::plain_name;

/// The attributes of a study, a series or an instance in the DICOM JSON model.
pub type Row = Map<String, Value>;

/// The keys of a search, and the attributes and results that the client requests.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Query {
    /// All of these must match.
    pub keys: Vec<Key>,
    /// The attributes beside those that every result has.
    pub include: Include,
    /// The most results.
    pub limit: Option<usize>,
    /// The results that are skipped.
    pub offset: usize,
    /// Whether the client requests fuzzy matching of names (PS3.4 C.2.2.2.1.1).
    pub fuzzy: bool,
    /// Whether `""` is an empty value (PS3.18 8.3.4.1).
    pub empty_values: bool,
    /// Whether a list of values of any representation matches if one of them does.
    pub multiple_values: bool,
}

/// A matching key and its value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Key {
    /// The attribute.
    pub path: AttributePath,
    /// The value to match.
    pub value: String,
}

/// The attributes of a result beside those that every result has.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Include {
    /// All attributes.
    All,
    /// These tags, of the top level.
    These(BTreeSet<String>),
}

impl Default for Include {
    fn default() -> Self {
        Self::These(BTreeSet::new())
    }
}

impl Include {
    /// Whether it includes an attribute of the top level.
    #[must_use]
    pub fn has(&self, tag: &str) -> bool {
        match self {
            Self::All => true,
            Self::These(tags) => tags.contains(tag),
        }
    }

    /// Whether it includes no attributes.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        matches!(self, Self::These(tags) if tags.is_empty())
    }
}

impl Query {
    /// Whether a row matches. If the row lacks the attribute of a key, `is_told` decides: whether
    /// other rows have it, so that it has no value here. If none has it, the attribute is not
    /// supported and restricts nothing (PS3.4 C.2.2.1.3). Keys of an identifier and its issuer match
    /// together, the first identifier or a further one.
    #[must_use]
    pub fn finds(&self, row: &Row, is_told: impl Fn(&str) -> bool) -> bool {
        let mut others = self.keys.iter().filter(|key| !key.is_of_identifier());
        others.all(|key| self.matches(key, row, &is_told)) && self.finds_identifiers(row, &is_told)
    }

    /// Adds a key. Code strings of one attribute are one list, of which one must match: viewers
    /// repeat a parameter for several modalities.
    pub fn add(&mut self, key: Key) {
        let mut known = self.keys.iter_mut();
        let known = known.find(|known| known.path == key.path && key.path.vr() == VR::CS);
        match known {
            None => self.keys.push(key),
            Some(known) if known.is_universal() || key.is_universal() => known.value.clear(),
            Some(known) => known.value = format!("{},{}", known.value, key.value),
        }
    }

    /// The page of `found` matches: its start, its end, and the number of matches behind it.
    #[must_use]
    pub fn page(&self, found: usize) -> (usize, usize, usize) {
        let from = self.offset.min(found);
        let to = self
            .limit
            .map_or(found, |limit| from.saturating_add(limit).min(found));
        (from, to, found - to)
    }
}
