//! Warnings in words, for the person who sends a manifest.
//!
//! They name series by number and description, which may be patient data: they belong into the
//! answer to the sender, and into no log.

use std::collections::HashMap;
use std::fmt::Write as _;

use serde_json::{Value, json};

use super::model::{Series, Study};
use super::warning::{Subject, Warning};
use crate::dicom::{SeriesInstanceUid, StudyInstanceUid};

/// The limit for the characters of a description, that of the standard (LO).
const LONGEST_DESCRIPTION: usize = 64;

/// The names of the studies and series of a manifest.
#[derive(Debug)]
pub struct Names<'a> {
    studies: &'a [Study],
    series: HashMap<&'a SeriesInstanceUid, &'a Series>,
}

impl<'a> Names<'a> {
    /// The names of these studies and their series.
    #[must_use]
    pub fn of(studies: &'a [Study]) -> Self {
        let series = studies.iter().flat_map(|study| &study.series);
        Self {
            studies,
            series: series.map(|series| (&series.uid, series)).collect(),
        }
    }

    /// A warning in words.
    #[must_use]
    pub fn text(&self, warning: &Warning) -> String {
        let mut text = format!("{}: ", warning.outcome);
        let named: Vec<_> = warning
            .about
            .iter()
            .filter_map(|one| self.name(one))
            .collect();
        if !named.is_empty() {
            let others = if warning.has_more { " and others" } else { "" };
            // Writing to a string cannot fail.
            let _ = write!(text, "{}{others}: ", named.join(", "));
        }
        let _ = write!(text, "{}", warning.defect);
        text
    }

    /// A warning as a member of a summary.
    #[must_use]
    pub fn document(&self, warning: &Warning) -> Value {
        let about = warning.about.iter().filter_map(|one| self.subject(one));
        json!({
            "outcome": warning.outcome.name(),
            "text": self.text(warning),
            "attribute": warning.defect.attribute(),
            "about": about.collect::<Vec<_>>(),
        })
    }

    /// What a reader calls a subject; `None` for the whole manifest, and for its only study.
    fn name(&self, subject: &Subject) -> Option<String> {
        match subject {
            Subject::Manifest => None,
            Subject::Study(uid) => {
                let description = self.study(uid).and_then(|study| short(&study.description));
                let name = || Name {
                    kind: "study",
                    number: None,
                    description,
                };
                (self.studies.len() > 1).then(|| name().or(uid.as_str()))
            }
            Subject::Series(uid) => {
                let series = self.series.get(uid);
                let name = Name {
                    kind: "series",
                    number: series.and_then(|series| series.number),
                    description: series.and_then(|series| short(&series.description)),
                };
                Some(name.or(uid.as_str()))
            }
        }
    }

    fn subject(&self, subject: &Subject) -> Option<Value> {
        match subject {
            Subject::Manifest => None,
            Subject::Study(uid) => Some(json!({
                "study_instance_uid": uid.as_str(),
                "study_description": self.study(uid).and_then(|study| short(&study.description)),
            })),
            Subject::Series(uid) => {
                let series = self.series.get(uid);
                Some(json!({
                    "series_instance_uid": uid.as_str(),
                    "series_number": series.and_then(|series| series.number),
                    "series_description": series.and_then(|series| short(&series.description)),
                }))
            }
        }
    }

    fn study(&self, uid: &StudyInstanceUid) -> Option<&'a Study> {
        self.studies.iter().find(|study| study.uid == *uid)
    }
}

/// What a manifest calls a study or series.
struct Name {
    kind: &'static str,
    number: Option<i32>,
    description: Option<String>,
}

impl Name {
    /// The name in words, or the UID if there is none.
    fn or(self, uid: &str) -> String {
        let mut name = self.kind.to_owned();
        if let Some(number) = self.number {
            // Writing to a string cannot fail.
            let _ = write!(name, " {number}");
        }
        if let Some(description) = &self.description {
            let _ = write!(name, " \"{description}\"");
        }
        if self.number.is_none() && self.description.is_none() {
            let _ = write!(name, " {uid}");
        }
        name
    }
}

fn short(description: &Option<Box<str>>) -> Option<String> {
    let text = description.as_deref()?;
    let end = text.char_indices().nth(LONGEST_DESCRIPTION);
    Some(end.map_or_else(|| text.to_owned(), |(end, _)| format!("{}…", &text[..end])))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::manifest::{Defect, Outcome};

    #[test]
    fn a_warning_says_what_became_of_what() {
        let series = |uid| Subject::Series(SeriesInstanceUid::parse(uid).expect("a UID"));
        let about = [series("1.2.1"), series("1.2.2")];
        let defect = Defect::Malformed("series date");
        let warning = Warning::about_all(about, Outcome::LeftOut, defect).expect("a warning");
        let names = Names::of(&[]);
        let text = "left out: series 1.2.1, series 1.2.2: the series date is malformed";
        assert_eq!(names.text(&warning), text);
        let document = names.document(&warning);
        assert_eq!(document["outcome"], "left_out");
        assert_eq!(document["attribute"], "series date");
        assert_eq!(document["about"][1]["series_instance_uid"], "1.2.2");
    }

    #[test]
    fn a_name_is_short() {
        let name = |number, description: Option<&str>| {
            let description = description.map(Into::into);
            Name {
                kind: "series",
                number,
                description: short(&description),
            }
            .or("1.2")
        };
        let long = "ä".repeat(100);
        let cut = format!("series 3 \"{}…\"", "ä".repeat(64));
        assert_eq!(name(Some(3), Some(&long)), cut);
        assert_eq!(name(Some(3), None), "series 3");
        assert_eq!(name(None, Some("Lunge")), "series \"Lunge\"");
        assert_eq!(name(None, None), "series 1.2");
    }
}
