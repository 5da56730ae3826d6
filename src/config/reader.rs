//! Reads the tables of the settings one by one, and tells every problem with its table and key.

use serde::de::DeserializeOwned;
use toml::{Table, Value};
use url::Url;

use super::Problems;
use crate::access::RuleSettings;
use crate::access::token::IssuerSettings;
use crate::community::{CommunitySettings, LocationSettings};

/// Reads tables, and collects every problem.
pub(super) struct SettingsReader {
    /// The keys not yet read.
    pub(super) table: Table,
    pub(super) problems: Vec<String>,
}

impl SettingsReader {
    pub(super) fn require(&mut self, key: &str) {
        if !self.table.contains_key(key) {
            self.problems.push(format!("{key}: the key is missing"));
        }
    }

    pub(super) fn take<T: DeserializeOwned>(&mut self, key: &str) -> Option<T> {
        let value = self.table.remove(key)?;
        self.read(key, value)
    }

    pub(super) fn issuers(&mut self) -> Vec<IssuerSettings> {
        let tables = self.take_tables("issuer").into_iter();
        tables
            .map(|(position, read)| IssuerSettings { position, ..read })
            .collect()
    }

    pub(super) fn communities(&mut self) -> Vec<CommunitySettings> {
        let tables = self.take_tables("community").into_iter();
        tables
            .map(|(position, read)| CommunitySettings { position, ..read })
            .collect()
    }

    pub(super) fn locations(&mut self) -> Vec<LocationSettings> {
        let tables = self.take_tables("location").into_iter();
        tables
            .map(|(position, read)| LocationSettings { position, ..read })
            .collect()
    }

    pub(super) fn rules(&mut self) -> Vec<RuleSettings> {
        let tables = self.take_tables("rule").into_iter();
        tables.map(|(_, rule)| rule).collect()
    }

    /// The tables of an array, each with its position, without the invalid ones.
    fn take_tables<T: DeserializeOwned>(&mut self, key: &str) -> Vec<(usize, T)> {
        match self.table.remove(key) {
            None => Vec::new(),
            Some(Value::Array(values)) => {
                let values = values.into_iter().enumerate();
                values
                    .filter_map(|(at, value)| {
                        Some((at, self.read(&format!("{key}[{at}]"), value)?))
                    })
                    .collect()
            }
            Some(_) => {
                self.problems
                    .push(format!("{key}: write one [[{key}]] for each"));
                Vec::new()
            }
        }
    }

    /// Deserialises a value. A deserialiser stops at the first problem: each faulty key is removed
    /// and the rest is parsed again, to find all problems.
    fn read<T: DeserializeOwned>(&mut self, key: &str, mut value: Value) -> Option<T> {
        let before = self.problems.len();
        loop {
            match serde_path_to_error::deserialize(value.clone()) {
                Ok(read) if self.problems.len() == before => return Some(read),
                Ok(_) => return None,
                Err(error) => {
                    let text = one_line(&error.inner().to_string());
                    let mut path = path_of(error.path());
                    // Some errors name an unknown key only in their text.
                    if let Some(unknown) = unknown_field(&text)
                        && path.last().is_none_or(|last| last != unknown)
                    {
                        path.push(unknown.to_owned());
                    }
                    let shown: String = path.iter().map(|part| format!(".{part}")).collect();
                    self.problems.push(format!("{key}{shown}: {text}"));
                    if !remove(&mut value, &path) {
                        return None;
                    }
                }
            }
        }
    }

    /// Whether a URL, if present, is usable as a base.
    pub(super) fn is_fine(&mut self, key: &str, url: Option<&Url>) -> bool {
        let is_fine = url.is_none_or(|url| {
            matches!(url.scheme(), "http" | "https")
                && url.has_host()
                && url.query().is_none()
                && url.fragment().is_none()
                && url.username().is_empty()
        });
        if !is_fine {
            self.problems
                .push(format!("{key}: not an http or https URL without query"));
        }
        is_fine
    }

    pub(super) fn finish(mut self) -> Problems {
        for key in self.table.keys() {
            self.problems.push(format!("{key}: unknown key"));
        }
        Problems(self.problems)
    }
}

fn path_of(path: &serde_path_to_error::Path) -> Vec<String> {
    use serde_path_to_error::Segment;
    path.iter()
        .filter_map(|segment| match segment {
            Segment::Map { key } => Some(key.clone()),
            Segment::Seq { index } => Some(index.to_string()),
            Segment::Enum { .. } | Segment::Unknown => None,
        })
        .collect()
}

fn unknown_field(text: &str) -> Option<&str> {
    text.strip_prefix("unknown field `")?.split('`').next()
}

/// Removes the value at a path; `false` if it does not exist.
fn remove(value: &mut Value, path: &[String]) -> bool {
    let Some((last, parents)) = path.split_last() else {
        return false;
    };
    let mut at = value;
    for key in parents {
        let next = match at {
            Value::Table(table) => table.get_mut(key),
            Value::Array(array) => key.parse().ok().and_then(|at: usize| array.get_mut(at)),
            Value::String(_)
            | Value::Integer(_)
            | Value::Float(_)
            | Value::Boolean(_)
            | Value::Datetime(_) => None,
        };
        let Some(next) = next else { return false };
        at = next;
    }
    match at {
        Value::Table(table) => table.remove(last).is_some(),
        Value::Array(array) => match last.parse::<usize>() {
            Ok(at) if at < array.len() => {
                array.remove(at);
                true
            }
            Ok(_) | Err(_) => false,
        },
        Value::String(_)
        | Value::Integer(_)
        | Value::Float(_)
        | Value::Boolean(_)
        | Value::Datetime(_) => false,
    }
}

fn one_line(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}
