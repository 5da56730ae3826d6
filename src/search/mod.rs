//! Which attribute sets a search finds: the matching of PS3.18 8.3.4.1 and PS3.4 C.2.2.2. Pure.
//!
//! What is searched are rows: attributes in the DICOM JSON model (PS3.18 annex F), whoever made
//! them.

mod attribute;
mod matching;

use std::collections::BTreeSet;

use serde_json::{Map, Value};

pub use attribute::{AttributePath, NotAnAttribute};

/// The attributes of a study, a series or an instance in the DICOM JSON model.
pub type Row = Map<String, Value>;

/// What is searched for, and how much of it is wanted.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Query {
    /// All of these must match.
    pub keys: Vec<Key>,
    /// What is wanted beside the attributes that are always given.
    pub include: Include,
    /// Most results that are wanted.
    pub limit: Option<usize>,
    /// Results that are left out at the beginning.
    pub offset: usize,
    /// Whether names that only sound alike were asked for (PS3.4 C.2.2.2.1.1).
    pub fuzzy: bool,
    /// Whether `""` is an empty value (PS3.18 8.3.4.1).
    pub empty_values: bool,
    /// Whether a list of values matches if one of them does, whatever they are.
    pub multiple_values: bool,
}

/// A matching key and its value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Key {
    /// The attribute.
    pub path: AttributePath,
    /// What it must match.
    pub value: String,
}

/// Attributes that are wanted beside those that are always given.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Include {
    /// Everything there is.
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
    /// Whether an attribute of the top level is wanted.
    #[must_use]
    pub fn has(&self, tag: &str) -> bool {
        match self {
            Self::All => true,
            Self::These(tags) => tags.contains(tag),
        }
    }

    /// Whether nothing is wanted beside what is always given.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        matches!(self, Self::These(tags) if tags.is_empty())
    }
}

impl Query {
    /// Whether a row is found. A key of an attribute that the row does not have restricts nothing:
    /// that attribute is not supported (PS3.4 C.2.2.1.3).
    #[must_use]
    pub fn finds(&self, row: &Row) -> bool {
        self.keys.iter().all(|key| self.matches(key, row))
    }

    /// Of so many that are found, which are given: from, to, and how many there are afterwards.
    #[must_use]
    pub fn page(&self, found: usize) -> (usize, usize, usize) {
        let from = self.offset.min(found);
        let to = self
            .limit
            .map_or(found, |limit| from.saturating_add(limit).min(found));
        (from, to, found - to)
    }
}
