//! Problems in a table of the settings.

use std::fmt;

/// A problem, with its table and key.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{table}[{position}].{key}: {problem}")]
pub struct Problem {
    table: &'static str,
    position: usize,
    key: &'static str,
    problem: String,
}

/// Collects the problems of one table.
pub(crate) struct Problems<'a> {
    table: &'static str,
    position: usize,
    all: &'a mut Vec<Problem>,
}

impl<'a> Problems<'a> {
    pub(crate) fn of(table: &'static str, position: usize, all: &'a mut Vec<Problem>) -> Self {
        Self {
            table,
            position,
            all,
        }
    }

    pub(crate) fn add(&mut self, key: &'static str, problem: impl fmt::Display) {
        self.all.push(Problem {
            table: self.table,
            position: self.position,
            key,
            problem: problem.to_string(),
        });
    }

    /// The value, or a problem.
    pub(crate) fn ok<T, E: fmt::Display>(
        &mut self,
        key: &'static str,
        outcome: Result<T, E>,
    ) -> Option<T> {
        outcome.map_err(|error| self.add(key, error)).ok()
    }
}
