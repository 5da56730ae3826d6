//! The configured locations and the two ways to find one.

use std::collections::{HashMap, HashSet};
use std::path::PathBuf;
use std::sync::Arc;

use serde::Deserialize;

use super::address::Address;
use crate::ihe::{Location, RetrieveLocationUid};
use crate::source::client::{self, Client};
use crate::source::folder::Folder;
use crate::source::wado_rs::WadoRs;
use crate::source::{Kind, Source};

/// One `[[location]]`: a source in our community.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LocationSettings {
    /// The how-manyth it is in the settings, from 0; problems are told with it.
    #[serde(skip)]
    pub position: usize,
    /// What it is called in metrics and logs; `location-1`, `location-2` … when absent.
    pub alias: Option<String>,
    /// Its Retrieve Location UID.
    pub retrieve_location_uid: Option<String>,
    /// Its DICOMweb root, if it is a server.
    pub wado_rs_url: Option<String>,
    /// Its folder, if it is one.
    pub folder: Option<PathBuf>,
    /// Retrieve URLs of manifests that mean this location.
    #[serde(default)]
    pub retrieve_urls: Vec<String>,
    /// Retrieve AE Titles of classic manifests that mean this location.
    #[serde(default)]
    pub retrieve_ae_titles: Vec<String>,
    /// What it offers itself.
    #[serde(default = "instances")]
    pub offers: Vec<Offer>,
    /// Series and instances that are fetched from it at once.
    #[serde(default = "connections")]
    pub connections: usize,
    /// How it is talked to, if it is a server.
    #[serde(default)]
    pub http: client::Settings,
}

impl LocationSettings {
    /// The settings of a folder, the rest by default.
    #[must_use]
    pub fn folder(folder: PathBuf) -> Self {
        Self {
            position: 0,
            alias: None,
            retrieve_location_uid: None,
            wado_rs_url: None,
            folder: Some(folder),
            retrieve_urls: Vec::new(),
            retrieve_ae_titles: Vec::new(),
            offers: instances(),
            connections: connections(),
            http: client::Settings::default(),
        }
    }
}

/// What a source may offer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Offer {
    /// *Get Instances*, which every source must.
    Instances,
}

fn connections() -> usize {
    64
}

fn instances() -> Vec<Offer> {
    vec![Offer::Instances]
}

/// What is wrong with a `[[location]]`.
#[derive(Debug, thiserror::Error)]
#[error("location[{position}].{key}: {problem}")]
pub struct Error {
    position: usize,
    key: &'static str,
    problem: String,
}

/// How a location was found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Via {
    /// By Retrieve Location UID.
    RetrieveLocationUid,
    /// By Retrieve URL.
    RetrieveUrl,
    /// By Retrieve AE Title.
    RetrieveAeTitle,
}

/// All configured locations.
#[derive(Debug, Default)]
pub struct Registry {
    sources: Vec<Arc<Source>>,
    by_uid: HashMap<RetrieveLocationUid, usize>,
    by_address: Vec<(Address, usize)>,
    /// The DICOMweb root of each location that is a server.
    servers: Vec<Option<Address>>,
    by_ae_title: HashMap<Box<str>, usize>,
}

impl Registry {
    /// Sets up every location. Folders are read here, so this takes as long as they are large.
    ///
    /// # Errors
    /// Everything that is wrong, not only the first thing.
    pub fn open(
        settings: &[LocationSettings],
        opaque_location_ids: bool,
    ) -> Result<Self, Vec<Error>> {
        let mut registry = Self::default();
        let mut errors = Vec::new();
        let mut aliases = HashSet::new();
        for location in settings {
            let mut problems = Problems {
                position: location.position,
                errors: &mut errors,
            };
            registry.add(location, opaque_location_ids, &mut problems);
            let alias = alias(location);
            if !aliases.insert(alias.clone()) {
                problems.add("alias", format!("{alias:?} is used twice"));
            }
        }
        // The longest address is the nearest one.
        registry
            .by_address
            .sort_by_key(|(address, _)| std::cmp::Reverse(address.url().path().len()));
        if errors.is_empty() {
            Ok(registry)
        } else {
            Err(errors)
        }
    }

    /// The configured location that a manifest means, and what told: the Retrieve Location UID
    /// before the Retrieve URL before the AE title.
    #[must_use]
    pub fn resolve(&self, meant: &[Location]) -> Option<(&Arc<Source>, Via)> {
        let uid = |l: &Location| self.by_uid.get(l.retrieve_location_uid.as_ref()?);
        let url = |l: &Location| self.covering(l.retrieve_url.as_deref()?);
        let title = |l: &Location| self.by_ae_title.get(l.retrieve_ae_title.as_deref()?);
        let found = |index: &usize, via| self.sources.get(*index).map(|found| (found, via));
        meant
            .iter()
            .find_map(|l| found(uid(l)?, Via::RetrieveLocationUid))
            .or_else(|| meant.iter().find_map(|l| found(url(l)?, Via::RetrieveUrl)))
            .or_else(|| {
                meant
                    .iter()
                    .find_map(|l| found(title(l)?, Via::RetrieveAeTitle))
            })
    }

    /// The sources of all locations, in the order of the settings.
    #[must_use]
    pub fn sources(&self) -> &[Arc<Source>] {
        &self.sources
    }

    fn covering(&self, retrieve_url: &str) -> Option<&usize> {
        let asked = Address::parse(retrieve_url).ok()?;
        let mut addresses = self.by_address.iter();
        addresses
            .find(|(address, _)| address.covers(&asked))
            .map(|(_, index)| index)
    }

    fn add(&mut self, settings: &LocationSettings, opaque: bool, problems: &mut Problems<'_>) {
        let index = self.sources.len();
        self.add_uid(settings, index, opaque, problems);
        let server = settings.wado_rs_url.as_ref();
        self.servers.truncate(index);
        self.servers
            .push(server.and_then(|url| Address::parse(url).ok()));
        for (key, text) in addresses(settings) {
            match Address::parse(text) {
                Err(error) => problems.add(key, format!("{text:?} is {error}")),
                Ok(address) => self.add_address(address, index, key, problems),
            }
        }
        for title in &settings.retrieve_ae_titles {
            if self
                .by_ae_title
                .insert(title.as_str().into(), index)
                .is_some()
            {
                problems.add(
                    "retrieve_ae_titles",
                    format!("{title:?} belongs to two locations"),
                );
            }
        }
        if let Some(kind) = open_source(settings, problems) {
            let alias = alias(settings);
            self.sources
                .push(Arc::new(Source::new(alias, kind, settings.connections)));
        }
    }

    fn add_uid(
        &mut self,
        settings: &LocationSettings,
        index: usize,
        opaque: bool,
        problems: &mut Problems<'_>,
    ) {
        const KEY: &str = "retrieve_location_uid";
        let Some(text) = &settings.retrieve_location_uid else {
            return;
        };
        match RetrieveLocationUid::parse(text) {
            Err(error) => problems.add(KEY, format!("{text:?} is {error}")),
            Ok(uid) if uid.is_opaque() && !opaque => problems.add(
                KEY,
                format!("{text:?} is no OID; xc_wado.opaque_location_ids = true allows that"),
            ),
            Ok(uid) => {
                if self.by_uid.insert(uid, index).is_some() {
                    problems.add(KEY, format!("{text:?} belongs to two locations"));
                }
            }
        }
    }

    fn add_address(
        &mut self,
        address: Address,
        index: usize,
        key: &'static str,
        problems: &mut Problems<'_>,
    ) {
        let owner = self.by_address.iter().find(|(other, _)| *other == address);
        match owner.map(|(_, owner)| *owner) {
            Some(owner) if owner != index && !self.is_one_server(owner, index) => {
                problems.add(key, format!("{address} belongs to two locations"));
            }
            Some(_) => {}
            None => self.by_address.push((address, index)),
        }
    }

    /// Whether two locations are one server that goes by two Retrieve Location UIDs, as IHE's own
    /// example has it. Then an address means the first of them, and either would do.
    fn is_one_server(&self, one: usize, other: usize) -> bool {
        let server = |index: usize| self.servers.get(index).and_then(Option::as_ref);
        let has_uid = |index: usize| self.by_uid.values().any(|of| *of == index);
        server(one).is_some() && server(one) == server(other) && has_uid(one) && has_uid(other)
    }
}

fn alias(settings: &LocationSettings) -> String {
    settings
        .alias
        .clone()
        .unwrap_or_else(|| format!("location-{}", settings.position + 1))
}

fn addresses(settings: &LocationSettings) -> impl Iterator<Item = (&'static str, &String)> {
    let own = settings.wado_rs_url.iter().map(|url| ("wado_rs_url", url));
    own.chain(
        settings
            .retrieve_urls
            .iter()
            .map(|url| ("retrieve_urls", url)),
    )
}

fn open_source(settings: &LocationSettings, problems: &mut Problems<'_>) -> Option<Kind> {
    match (&settings.wado_rs_url, &settings.folder) {
        (Some(url), None) => {
            let base = Address::parse(url).ok()?.url().clone();
            match Client::new(&settings.http) {
                Ok(client) => Some(Kind::WadoRs(Box::new(WadoRs::new(base, client)))),
                Err(error) => problems.none("http.authorities", error.to_string()),
            }
        }
        (None, Some(path)) => match Folder::open(path) {
            Ok(folder) => Some(Kind::Folder(folder)),
            Err(error) => problems.none("folder", format!("{}: {error}", path.display())),
        },
        (Some(_), Some(_)) => problems.none(
            "folder",
            "give either wado_rs_url or folder, not both".into(),
        ),
        (None, None) => problems.none("wado_rs_url", "give either wado_rs_url or folder".into()),
    }
}

struct Problems<'a> {
    position: usize,
    errors: &'a mut Vec<Error>,
}

impl Problems<'_> {
    fn add(&mut self, key: &'static str, problem: String) {
        self.errors.push(Error {
            position: self.position,
            key,
            problem,
        });
    }

    fn none(&mut self, key: &'static str, problem: String) -> Option<Kind> {
        self.add(key, problem);
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings(toml: &str) -> Vec<LocationSettings> {
        #[derive(Deserialize)]
        struct File {
            location: Vec<LocationSettings>,
        }
        let mut locations = toml::from_str::<File>(toml).expect("settings").location;
        for (position, location) in locations.iter_mut().enumerate() {
            location.position = position;
        }
        locations
    }

    fn location(uid: Option<&str>, url: Option<&str>) -> Vec<Location> {
        vec![Location {
            retrieve_location_uid: uid.map(|uid| RetrieveLocationUid::parse(uid).expect("a uid")),
            retrieve_url: url.map(Into::into),
            retrieve_ae_title: None,
        }]
    }

    fn two() -> Registry {
        let settings = settings(
            r#"
            [[location]]
            alias = "a"
            retrieve_location_uid = "1.2.3"
            wado_rs_url = "http://127.0.0.1:1/rs/"
            [[location]]
            alias = "b"
            retrieve_location_uid = "urn:oid:1.2.4"
            wado_rs_url = "http://127.0.0.1:2/rs"
            retrieve_urls = ["https://pacs.example/rs/", "https://pacs.example/rs/deep"]
            "#,
        );
        Registry::open(&settings, false).expect("a registry")
    }

    fn found(registry: &Registry, uid: Option<&str>, url: Option<&str>) -> Option<(String, Via)> {
        let (location, via) = registry.resolve(&location(uid, url))?;
        Some((location.alias.clone(), via))
    }

    #[test]
    fn the_retrieve_location_uid_wins_over_the_retrieve_url() {
        let registry = two();
        let both = found(&registry, Some("1.2.3"), Some("https://pacs.example/rs/"));
        assert_eq!(both, Some(("a".into(), Via::RetrieveLocationUid)));
    }

    #[test]
    fn the_retrieve_url_selects_where_the_uid_is_unknown() {
        let registry = two();
        let by_url = Some(("b".into(), Via::RetrieveUrl));
        assert_eq!(
            found(
                &registry,
                Some("9.9"),
                Some("https://pacs.example/rs/deep/x")
            ),
            by_url
        );
        assert_eq!(
            found(&registry, None, Some("http://127.0.0.1:2/rs/")),
            by_url
        );
    }

    #[test]
    fn what_is_not_configured_is_nowhere() {
        let registry = two();
        assert_eq!(
            found(
                &registry,
                Some("9.9"),
                Some("https://elsewhere.example/rs/")
            ),
            None
        );
        assert_eq!(found(&registry, None, None), None);
    }

    #[test]
    fn one_server_may_go_by_two_location_uids() {
        let two = |second: &str| {
            settings(&format!(
                "[[location]]\nretrieve_location_uid = \"1.2.3\"\n\
                 wado_rs_url = \"http://127.0.0.1:1/rs/\"\nretrieve_urls = [\"https://x.example/\"]\n\
                 [[location]]\n{second}\nretrieve_urls = [\"https://x.example/\"]\n"
            ))
        };
        let same = "retrieve_location_uid = \"1.2.4\"\nwado_rs_url = \"http://127.0.0.1:1/rs\"";
        let registry = Registry::open(&two(same), false).expect("a registry");
        let second = found(&registry, Some("1.2.4"), Some("https://x.example/"));
        assert_eq!(
            second,
            Some(("location-2".into(), Via::RetrieveLocationUid))
        );
        let first = found(&registry, None, Some("https://x.example/"));
        assert_eq!(first, Some(("location-1".into(), Via::RetrieveUrl)));
        for other in [
            "wado_rs_url = \"http://127.0.0.1:1/rs/\"",
            "retrieve_location_uid = \"1.2.4\"\nwado_rs_url = \"http://127.0.0.1:2/rs/\"",
        ] {
            assert!(Registry::open(&two(other), false).is_err(), "{other}");
        }
    }

    #[test]
    fn tells_every_problem_at_once() {
        let settings = settings(
            r#"
            [[location]]
            retrieve_location_uid = "ACME"
            wado_rs_url = "ftp://x/"
            [[location]]
            alias = "x"
            retrieve_location_uid = "1.2.3"
            folder = "/nowhere/at/all"
            [[location]]
            alias = "x"
            retrieve_location_uid = "1.2.3"
            "#,
        );
        let errors = Registry::open(&settings, false).expect_err("problems");
        let texts: Vec<_> = errors.iter().map(ToString::to_string).collect();
        for expected in [
            "location[0].retrieve_location_uid",
            "location[0].wado_rs_url",
            "location[1].folder",
            "location[2].retrieve_location_uid",
            "location[2].wado_rs_url",
            "location[2].alias",
        ] {
            assert!(
                texts.iter().any(|text| text.starts_with(expected)),
                "{expected} in {texts:?}"
            );
        }
    }

    #[test]
    fn an_opaque_location_id_needs_the_switch() {
        let settings = settings(
            "[[location]]\nretrieve_location_uid = \"ACME\"\nwado_rs_url = \"http://127.0.0.1:1/\"",
        );
        assert!(Registry::open(&settings, false).is_err());
        let registry = Registry::open(&settings, true).expect("a registry");
        assert!(found(&registry, Some("ACME"), None).is_some());
    }
}
