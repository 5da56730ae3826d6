//! Reads `config.toml` and reports every problem at once, each with its table and key.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::{Path, PathBuf};

use serde::de::DeserializeOwned;
use toml::{Table, Value};
use url::Url;

use crate::community::{self, CommunitySettings, LocationSettings};
use crate::credentials::TokenSource;
use crate::gateway::{CorsSettings, ViewersSettings, XcWadoSettings};
use crate::ihe::HomeCommunityId;
use crate::library;
use crate::{budget, cache, pixels, retrieve, server};

/// All settings.
#[derive(Debug, Clone)]
pub struct Config {
    /// The community that we are.
    pub home_community_id: HomeCommunityId,
    /// How viewers reach us; as `listen.address` says when absent.
    pub public_url: Option<Url>,
    /// Where manifests are kept.
    pub data_directory: PathBuf,
    /// `[listen]`.
    pub listen: server::Settings,
    /// `[gateway_listen]`.
    pub gateway_listen: Option<server::GatewaySettings>,
    /// `[manifests]`.
    pub manifests: library::Settings,
    /// `[retrieve]`.
    pub retrieve: retrieve::Settings,
    /// `[cache]`.
    pub cache: cache::Settings,
    /// `[xc_wado]`.
    pub xc_wado: XcWadoSettings,
    /// `[cors]`.
    pub cors: CorsSettings,
    /// `[limits]`.
    pub limits: budget::Settings,
    /// `[rendering]`.
    pub rendering: pixels::Settings,
    /// `[viewers]`.
    pub viewers: ViewersSettings,
    /// `[[community]]`.
    pub communities: Vec<CommunitySettings>,
    /// `[[location]]`.
    pub locations: Vec<LocationSettings>,
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
        for path in config.paths_mut() {
            *path = base.join(&*path);
        }
        Ok((config, problems))
    }

    /// What a registry of sources is made from.
    #[must_use]
    pub fn registry(&self) -> community::Settings<'_> {
        community::Settings {
            home_community_id: &self.home_community_id,
            locations: &self.locations,
            communities: &self.communities,
            initiating: self.xc_wado.initiating,
            opaque_location_ids: self.xc_wado.opaque_location_ids,
            retrieve_url_alone: self.xc_wado.retrieve_url_alone,
        }
    }

    /// How viewers reach us.
    #[must_use]
    pub fn public_url(&self) -> Url {
        let by_address = || {
            let is_tls = self.listen.certificate.is_some();
            url_of(if is_tls { "https" } else { "http" }, self.listen.address)
        };
        self.public_url.clone().unwrap_or_else(by_address)
    }

    /// How partners reach their listener, if they have one.
    #[must_use]
    pub fn gateway_url(&self) -> Option<Url> {
        let listen = self.gateway_listen.as_ref()?;
        let by_address = || url_of("https", listen.address);
        Some(listen.public_url.clone().unwrap_or_else(by_address))
    }

    /// Every path in the settings, to be changed.
    fn paths_mut(&mut self) -> Vec<&mut PathBuf> {
        let mut paths = vec![&mut self.data_directory];
        let listen = &mut self.listen;
        paths.extend(&mut listen.certificate);
        paths.extend(&mut listen.private_key);
        paths.extend(&mut listen.client_authorities);
        if let Some(listen) = &mut self.gateway_listen {
            paths.push(&mut listen.certificate);
            paths.push(&mut listen.private_key);
            paths.push(&mut listen.client_authorities);
        }
        for location in &mut self.locations {
            paths.extend(&mut location.folder);
            paths.extend(location.http.files_mut());
        }
        for community in &mut self.communities {
            let tokens = [&mut community.token, &mut community.their_token];
            let tokens = tokens.into_iter().flatten();
            paths.extend(tokens.filter_map(TokenSource::file_mut));
            paths.extend(community.http.files_mut());
        }
        paths
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
            .filter(|url| reading.is_fine("public_url", Some(url)));
        let config = Self {
            listen: reading.take("listen").unwrap_or_default(),
            gateway_listen: reading
                .take::<server::GatewaySettings>("gateway_listen")
                .filter(|listen| {
                    reading.is_fine("gateway_listen.public_url", listen.public_url.as_ref())
                }),
            manifests: reading.take("manifests").unwrap_or_default(),
            retrieve: reading.take("retrieve").unwrap_or_default(),
            cache: reading.take("cache").unwrap_or_default(),
            xc_wado: reading.take("xc_wado").unwrap_or_default(),
            cors: reading.take("cors").unwrap_or_default(),
            limits: reading.take("limits").unwrap_or_default(),
            rendering: reading.take("rendering").unwrap_or_default(),
            viewers: reading.take("viewers").unwrap_or_default(),
            communities: reading
                .take_tables("community")
                .into_iter()
                .map(
                    |(position, read): (_, CommunitySettings)| CommunitySettings {
                        position,
                        ..read
                    },
                )
                .collect(),
            locations: reading
                .take_tables("location")
                .into_iter()
                .map(|(position, read): (_, LocationSettings)| LocationSettings {
                    position,
                    ..read
                })
                .collect(),
            data_directory: reading
                .take("data_directory")
                .unwrap_or_else(|| "var".into()),
            public_url,
            home_community_id: home_community_id.unwrap_or_else(Self::no_community),
        };
        reading.problems.extend(config.unprotected_tokens());
        Ok((config, reading.finish()))
    }

    /// Tokens that nobody can be held to, as no listener asks partners for certificates, and that would
    /// come in clear.
    fn unprotected_tokens(&self) -> Vec<String> {
        if self.gateway_listen.is_some() || self.listen.client_authorities.is_some() {
            return Vec::new();
        }
        let with_token = |community: &&CommunitySettings| community.their_token.is_some();
        let told = |community: &CommunitySettings| {
            format!(
                "community[{}].their_token: it needs a listener that asks for certificates: \
                 gateway_listen or listen.client_authorities",
                community.position
            )
        };
        let communities = self.communities.iter();
        communities.filter(with_token).map(told).collect()
    }

    fn no_community() -> HomeCommunityId {
        HomeCommunityId::parse("0.0").expect("a form that is right")
    }
}

/// Where an address leads from this machine. A wildcard address is no destination.
fn url_of(scheme: &str, mut address: SocketAddr) -> Url {
    match address.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => address.set_ip(Ipv4Addr::LOCALHOST.into()),
        IpAddr::V6(ip) if ip.is_unspecified() => address.set_ip(Ipv6Addr::LOCALHOST.into()),
        IpAddr::V4(_) | IpAddr::V6(_) => {}
    }
    Url::parse(&format!("{scheme}://{address}")).expect("scheme, address and port are a URL")
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

    /// The tables of an array, each with its position. One that cannot be read is left out.
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
                    .push(format!("{key}: write [[{key}]], once for each"));
                Vec::new()
            }
        }
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

    /// Whether a URL, if there is one, can stand before a path.
    fn is_fine(&mut self, key: &str, url: Option<&Url>) -> bool {
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
        assert_eq!(config.communities.len(), 1);
        assert!(config.gateway_listen.is_some());
        let shown = |config: &Config| {
            format!(
                "{:?} {:?} {:?}",
                config.cache, config.retrieve, config.limits
            )
        };
        assert_eq!(shown(&config), shown(&bare));
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
    fn the_public_url_follows_the_address_when_it_is_not_set() {
        let url = |listen: &str| {
            let text = format!("home_community_id = \"1.2.3\"\n{listen}");
            Config::parse(&text)
                .expect("settings")
                .public_url()
                .to_string()
        };
        for (listen, expected) in [
            ("", "http://127.0.0.1:8080/"),
            ("[listen]\naddress = \"10.1.2.3:80\"", "http://10.1.2.3/"),
            (
                "[listen]\naddress = \"[fd00::1]:8080\"",
                "http://[fd00::1]:8080/",
            ),
            (
                "[listen]\naddress = \"0.0.0.0:9000\"",
                "http://127.0.0.1:9000/",
            ),
            ("[listen]\naddress = \"[::]:9000\"", "http://[::1]:9000/"),
            (
                "[listen]\naddress = \"10.1.2.3:443\"\ncertificate = \"c\"\nprivate_key = \"k\"",
                "https://10.1.2.3/",
            ),
            (
                "public_url = \"https://pacs.example/x\"\n[listen]\naddress = \"10.1.2.3:443\"",
                "https://pacs.example/x",
            ),
        ] {
            assert_eq!(url(listen), expected, "{listen}");
        }
    }

    #[test]
    fn a_token_of_a_partner_needs_a_listener_that_asks_for_certificates() {
        let partner =
            "[[community]]\nhome_community_id = \"1.2.4\"\ntheir_token = { env = \"X\" }\n";
        let text = format!("home_community_id = \"1.2.3\"\n{partner}");
        let problems = Config::parse(&text).expect_err("a problem");
        assert!(
            problems.0[0].starts_with("community[0].their_token: "),
            "{problems}"
        );
        let listener = "[listen]\nclient_authorities = \"a\"\n";
        assert!(Config::parse(&format!("{text}{listener}")).is_ok());
    }

    #[test]
    fn what_is_no_toml_is_told_with_its_line() {
        let problems = Config::parse("home_community_id = \n").expect_err("a problem");
        assert!(problems.to_string().contains("line 1"), "{problems}");
    }
}
