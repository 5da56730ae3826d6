//! *Search* (PS3.18 10.6): the scope, and the query parameters (8.3.4).

use std::borrow::Cow;

use super::Error;
use super::query::pairs;
use crate::dicom::{SeriesInstanceUid, StudyInstanceUid};
use crate::resource::Level;
use crate::search::{AttributePath, Include, Key, Query};

/// The scope of a search: the resources of PS3.18 table 10.6.1-1.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Scope {
    /// The level of the results.
    pub level: Level,
    /// Only in this study.
    pub study: Option<StudyInstanceUid>,
    /// Only in this series.
    pub series: Option<SeriesInstanceUid>,
}

/// A query, and whether some of it means nothing here.
#[derive(Debug, PartialEq, Eq)]
pub struct ParsedQuery {
    /// The query.
    pub query: Query,
    /// Whether some parameters are not attributes.
    pub has_unknown: bool,
}

/// Most matching keys, and most attributes to include, that are read.
const MOST: usize = 256;

/// Reads the query parameters of a search. Parameters that mean nothing here are passed over.
///
/// # Errors
/// [`Error::Query`].
pub fn search(query: Option<&str>) -> Result<ParsedQuery, Error> {
    let mut parsed = ParsedQuery {
        query: Query::default(),
        has_unknown: false,
    };
    for (name, value) in pairs(query.unwrap_or_default()) {
        // Blanks of a form (`+`) stand for themselves.
        parsed.add(&name, value)?;
    }
    Ok(parsed)
}

impl ParsedQuery {
    fn add(&mut self, name: &str, value: Cow<'_, str>) -> Result<(), Error> {
        let query = &mut self.query;
        match name.to_ascii_lowercase().as_str() {
            "limit" => query.limit = Some(number(&value, "limit")?),
            "offset" => query.offset = number(&value, "offset")?,
            "fuzzymatching" => query.fuzzy = truth(&value, "fuzzymatching")?,
            "emptyvaluematching" => query.empty_values = truth(&value, "emptyvaluematching")?,
            "multiplevaluematching" => {
                query.multiple_values = truth(&value, "multiplevaluematching")?;
            }
            "includefield" => include(&mut query.include, &value)?,
            // Read elsewhere.
            "accept" | "charset" => {}
            _ => match AttributePath::parse(name) {
                Ok(_) if query.keys.len() == MOST => return Err(Error::Query("of an attribute")),
                Ok(path) => query.add(Key {
                    path,
                    value: value.into_owned(),
                }),
                Err(_none) => self.has_unknown = true,
            },
        }
        Ok(())
    }
}

fn include(include: &mut Include, value: &str) -> Result<(), Error> {
    for name in value.split(',').map(str::trim) {
        if name.eq_ignore_ascii_case("all") {
            *include = Include::All;
        }
        let Include::These(tags) = include else {
            return Ok(());
        };
        // An unknown attribute has no value.
        if let Ok(path) = AttributePath::parse(name) {
            tags.extend(path.tags().first().cloned());
        }
        if tags.len() > MOST {
            return Err(Error::Query("includefield"));
        }
    }
    Ok(())
}

fn number(value: &str, name: &'static str) -> Result<usize, Error> {
    let is_number = !value.is_empty() && value.bytes().all(|byte| byte.is_ascii_digit());
    if !is_number {
        return Err(Error::Query(name));
    }
    // More than there can be is as much as there is.
    Ok(value.parse().unwrap_or(usize::MAX))
}

fn truth(value: &str, name: &'static str) -> Result<bool, Error> {
    match value.to_ascii_lowercase().as_str() {
        "true" => Ok(true),
        "false" => Ok(false),
        _ => Err(Error::Query(name)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tags(include: &Include) -> Vec<&str> {
        match include {
            Include::All => vec!["all"],
            Include::These(tags) => tags.iter().map(String::as_str).collect(),
        }
    }

    #[test]
    fn reads_what_ohif_asks() {
        let asked = "limit=101&offset=0&fuzzymatching=false&includefield=00081030%2C00080060&StudyInstanceUID=1.2";
        let read = search(Some(asked)).expect("a query");
        assert!(!read.has_unknown);
        assert_eq!((read.query.limit, read.query.offset), (Some(101), 0));
        assert_eq!(tags(&read.query.include), ["00080060", "00081030"]);
        assert_eq!(read.query.keys.len(), 1);
        assert_eq!(read.query.keys[0].value, "1.2");
    }

    #[test]
    fn a_repeated_modality_is_one_list_of_modalities() {
        let asked = "ModalitiesInStudy=CT&PatientID=1&00080061=MR&PatientID=2";
        let read = search(Some(asked)).expect("a query");
        let values: Vec<_> = read.query.keys.iter().map(|key| &*key.value).collect();
        assert_eq!(values, ["CT,MR", "1", "2"]);
        let asked = "ModalitiesInStudy=CT&ModalitiesInStudy=";
        let read = search(Some(asked)).expect("a query");
        assert!(read.query.is_universal(), "one of them matches everything");
    }

    #[test]
    fn values_are_decoded() {
        let read = search(Some("PatientName=DOE%5EJohn&includefield=all")).expect("a query");
        assert_eq!(read.query.keys[0].value, "DOE^John");
        assert_eq!(read.query.include, Include::All);
    }

    #[test]
    fn what_is_no_attribute_is_passed_over_and_said() {
        let read =
            search(Some("_=17&orderby=x&includefield=Nonsense,,PatientID")).expect("a query");
        assert!(read.has_unknown && read.query.keys.is_empty());
        assert_eq!(tags(&read.query.include), ["00100020"]);
    }

    #[test]
    fn what_cannot_be_read_is_refused() {
        for query in [
            "limit=-1",
            "limit=",
            "offset=x",
            "limit=1.5",
            "fuzzymatching=maybe",
        ] {
            assert!(
                matches!(search(Some(query)), Err(Error::Query(_))),
                "{query}"
            );
        }
        let many = "PatientID=1&".repeat(300);
        assert!(search(Some(&many)).is_err());
    }
}
