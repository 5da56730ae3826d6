//! Reads `config.toml` and reports every problem at once, each with its table and key.

use std::fmt;
use std::path::{Path, PathBuf};

use serde::Deserialize;
use serde::de::DeserializeOwned;
use toml::{Table, Value};
use url::Url;

use crate::community::LocationSettings;
use crate::ihe::HomeCommunityId;
use crate::manifest::store;
use crate::{retrieve, server};

/// All settings.
#[derive(Debug, Clone)]
pub struct Config {
    /// The community that we are.
    pub home_community_id: HomeCommunityId,
    /// How viewers reach us.
    pub public_url: Url,
    /// Where manifests are kept.
    pub data_directory: PathBuf,
    /// `[listen]`.
    pub listen: server::Settings,
    /// `[manifests]`.
    pub manifests: store::Settings,
    /// `[retrieve]`.
    pub retrieve: retrieve::Settings,
    /// `[xc_wado]`.
    pub xc_wado: XcWado,
    /// `[[location]]`.
    pub locations: Vec<LocationSettings>,
}

/// `[xc_wado]`.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct XcWado {
    /// Whether Retrieve Location UIDs that are no OIDs may be configured.
    pub opaque_location_ids: bool,
}

/// What is wrong with the settings.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problems(pub Vec<String>);

impl Config {
    /// Reads a settings file. Relative paths in it are relative to the file.
    ///
    /// # Errors
    /// Every problem.
    pub fn load(path: &Path) -> Result<Self, Problems> {
        let (config, problems) = Self::look(path)?;
        if problems.0.is_empty() {
            Ok(config)
        } else {
            Err(problems)
        }
    }

    /// As [`Config::load`], with what could be read beside the problems, so that a caller can go
    /// on and find more of them. What could not be read is left out or has its default.
    ///
    /// # Errors
    /// If there is nothing to go on with.
    pub fn look(path: &Path) -> Result<(Self, Problems), Problems> {
        let text = std::fs::read_to_string(path)
            .map_err(|error| Problems(vec![format!("{}: {error}", path.display())]))?;
        let (mut config, problems) = Self::read(&text)?;
        let base = path.parent().unwrap_or(Path::new(""));
        config.data_directory = base.join(&config.data_directory);
        for location in &mut config.locations {
            for path in location
                .folder
                .iter_mut()
                .chain(&mut location.http.authorities)
            {
                *path = base.join(&*path);
            }
        }
        Ok((config, problems))
    }

    /// Reads settings.
    ///
    /// # Errors
    /// Every problem.
    pub fn parse(text: &str) -> Result<Self, Problems> {
        let (config, problems) = Self::read(text)?;
        if problems.0.is_empty() {
            Ok(config)
        } else {
            Err(problems)
        }
    }

    fn read(text: &str) -> Result<(Self, Problems), Problems> {
        let table: Table = text
            .parse()
            .map_err(|error: toml::de::Error| Problems(vec![error.to_string()]))?;
        let mut reading = Reading {
            table,
            problems: Vec::new(),
        };
        reading.require("home_community_id");
        let home_community_id = reading.take("home_community_id");
        let public_url = reading
            .take::<Url>("public_url")
            .filter(|url| reading.is_public(url));
        let config = Self {
            listen: reading.take("listen").unwrap_or_default(),
            manifests: reading.take("manifests").unwrap_or_default(),
            retrieve: reading.take("retrieve").unwrap_or_default(),
            xc_wado: reading.take("xc_wado").unwrap_or_default(),
            locations: reading.take_locations(),
            data_directory: reading
                .take("data_directory")
                .unwrap_or_else(|| "var".into()),
            public_url: public_url.unwrap_or_else(Self::default_public_url),
            home_community_id: home_community_id.unwrap_or_else(Self::no_community),
        };
        Ok((config, reading.finish()))
    }

    fn no_community() -> HomeCommunityId {
        HomeCommunityId::parse("0.0").expect("a form that is right")
    }

    fn default_public_url() -> Url {
        Url::parse("http://127.0.0.1:8080").expect("the text is a URL")
    }
}

struct Reading {
    /// What has not been read yet.
    table: Table,
    problems: Vec<String>,
}

impl Reading {
    fn require(&mut self, key: &str) {
        if !self.table.contains_key(key) {
            self.problems.push(format!("{key}: it is missing"));
        }
    }

    fn take<T: DeserializeOwned>(&mut self, key: &str) -> Option<T> {
        let value = self.table.remove(key)?;
        self.read(key, value)
    }

    fn take_locations(&mut self) -> Vec<LocationSettings> {
        match self.table.remove("location") {
            None => Vec::new(),
            Some(Value::Array(values)) => {
                let values = values.into_iter().enumerate();
                values
                    .filter_map(|(at, value)| self.location(at, value))
                    .collect()
            }
            Some(_) => {
                self.problems
                    .push("location: write [[location]], once for each".into());
                Vec::new()
            }
        }
    }

    fn location(&mut self, position: usize, value: Value) -> Option<LocationSettings> {
        let read = self.read::<LocationSettings>(&format!("location[{position}]"), value)?;
        Some(LocationSettings { position, ..read })
    }

    /// Reads a value. A deserialiser stops at the first problem: what it complains of is taken out
    /// and the rest is read again, so that all of them are found.
    fn read<T: DeserializeOwned>(&mut self, key: &str, mut value: Value) -> Option<T> {
        let before = self.problems.len();
        loop {
            match serde_path_to_error::deserialize(value.clone()) {
                Ok(read) if self.problems.len() == before => return Some(read),
                Ok(_) => return None,
                Err(error) => {
                    let text = one_line(&error.inner().to_string());
                    let mut path = path_of(error.path());
                    // An unknown key is sometimes named in the text only.
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

    fn is_public(&mut self, url: &Url) -> bool {
        let is_fine = matches!(url.scheme(), "http" | "https")
            && url.has_host()
            && url.query().is_none()
            && url.fragment().is_none()
            && url.username().is_empty();
        if !is_fine {
            self.problems
                .push("public_url: not an http or https URL without query".into());
        }
        is_fine
    }

    fn finish(mut self) -> Problems {
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

/// Takes what a path leads to out of a value; `false` if there is nothing.
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

impl fmt::Display for Problems {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.join("\n"))
    }
}

impl std::error::Error for Problems {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_commented_default_is_what_the_code_defaults_to() {
        let text = include_str!("../config.toml");
        let config = Config::parse(text).expect("it can be read");
        let bare = Config::parse("home_community_id = \"1.3.6.1.4.1.99999.1\"").expect("settings");
        assert_eq!(format!("{config:?}"), format!("{bare:?}"));
        // What is commented out can be uncommented: `# key = value`, `# [table]`.
        let uncommented: String = text
            .lines()
            .map(|line| match line.strip_prefix("# ") {
                Some(setting) if setting.contains(" = ") || setting.starts_with('[') => setting,
                Some(_) | None => line,
            })
            .flat_map(|line| [line, "\n"])
            .collect();
        let config = Config::parse(&uncommented).expect("it can be uncommented");
        assert_eq!(config.locations.len(), 2);
    }

    #[test]
    fn tells_every_problem_at_once_with_table_and_key() {
        let problems = Config::parse(
            r#"
            public_url = "ftp://x/"
            colour = "blue"
            [listen]
            address = "nowhere"
            conections = 5
            drain_seconds = "soon"
            [[location]]
            retrieve_location_uid = 5
            wado_rs_url = "http://127.0.0.1:1/"
            http.conect_seconds = 1
            [[location]]
            offers = ["everything"]
            "#,
        )
        .expect_err("problems");
        for expected in [
            "home_community_id: it is missing",
            "public_url: ",
            "colour: unknown key",
            "listen.address: ",
            "listen.conections: unknown field",
            "listen.drain_seconds: invalid type",
            "location[0].retrieve_location_uid: ",
            "location[0].http.conect_seconds: unknown field",
            "location[1].offers.0: ",
        ] {
            let is_told = problems
                .0
                .iter()
                .any(|problem| problem.starts_with(expected));
            assert!(is_told, "{expected} in {problems:#?}");
        }
        assert_eq!(problems.0.len(), 9, "{problems:#?}");
    }

    #[test]
    fn what_is_no_toml_is_told_with_its_line() {
        let problems = Config::parse("home_community_id = \n").expect_err("a problem");
        assert!(problems.to_string().contains("line 1"), "{problems}");
    }
}
