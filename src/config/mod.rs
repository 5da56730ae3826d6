//! Parses `config.toml` and reports every problem at once, each with its table and key.

mod reader;

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::{Path, PathBuf};

use toml::Table;
use url::{Host, Url};

use crate::access::person::LoginSettings;
use crate::access::token::IssuerSettings;
use crate::access::{self, Door, Mode, RuleSettings};
use crate::community::{self, CommunitySettings, LocationSettings};
use crate::credentials::TokenSource;
use crate::gateway::{CorsSettings, ViewersSettings, XcWadoSettings};
use crate::ihe::HomeCommunityId;
use crate::library;
use crate::{budget, cache, pixels, retrieve, server};
use reader::SettingsReader;

/// All settings.
#[derive(Debug, Clone)]
pub struct Config {
    /// Our community.
    pub home_community_id: HomeCommunityId,
    /// The URL for viewers; from `listen.address` when absent.
    pub public_url: Option<Url>,
    /// The folder for manifests and the cache.
    pub data_directory: PathBuf,
    /// Runtimes that serve connections; 0: one for each core.
    pub threads: usize,
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
    /// `[login]`.
    pub login: Option<LoginSettings>,
    /// `[[issuer]]`.
    pub issuers: Vec<IssuerSettings>,
    /// `[[community]]`.
    pub communities: Vec<CommunitySettings>,
    /// `[[location]]`.
    pub locations: Vec<LocationSettings>,
    /// `[[rule]]`.
    pub rules: Vec<RuleSettings>,
}

/// The problems in the settings.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problems(pub Vec<String>);

impl Config {
    /// Reads a settings file. Relative paths are relative to the file.
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

    /// As [`Config::load`], but also returns the valid settings, so that the caller can find
    /// further problems. Invalid settings are absent or have their default.
    ///
    /// # Errors
    /// If nothing can be parsed.
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

    /// The settings of the source registry.
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

    /// The settings of access.
    #[must_use]
    pub fn access(&self) -> access::Settings<'_> {
        access::Settings {
            communities: &self.communities,
            issuers: &self.issuers,
            login: self.login.as_ref().map(|login| login.name.as_str()),
            rules: &self.rules,
            public: self.listen.access,
            gateways: self
                .gateway_listen
                .as_ref()
                .and_then(|listen| listen.access),
        }
    }

    /// The URL for viewers.
    #[must_use]
    pub fn public_url(&self) -> Url {
        let by_address = || {
            let is_tls = self.listen.certificate.is_some();
            url_of(if is_tls { "https" } else { "http" }, self.listen.address)
        };
        self.public_url.clone().unwrap_or_else(by_address)
    }

    /// The URL for partners, if they have a listener.
    #[must_use]
    pub fn gateway_url(&self) -> Option<Url> {
        let listen = self.gateway_listen.as_ref()?;
        let by_address = || url_of("https", listen.address);
        Some(listen.public_url.clone().unwrap_or_else(by_address))
    }

    /// The files with private keys and tokens.
    #[must_use]
    pub fn secret_files(&self) -> Vec<&Path> {
        let listen = self.listen.private_key.as_ref();
        let gateway = self.gateway_listen.as_ref();
        let locations = self.locations.iter();
        let communities = self.communities.iter();
        let tokens = communities.clone().flat_map(|community| {
            let tokens = [&community.token, &community.their_token];
            tokens.into_iter().flatten().filter_map(TokenSource::file)
        });
        let mut files: Vec<_> = listen
            .into_iter()
            .chain(gateway.map(|listen| &listen.private_key))
            .chain(locations.filter_map(|location| location.http.private_key.as_ref()))
            .chain(communities.filter_map(|community| community.http.private_key.as_ref()))
            .chain(tokens)
            .chain(self.issuers.iter().flat_map(IssuerSettings::secret_files))
            .chain(self.login.iter().flat_map(LoginSettings::secret_files))
            .map(PathBuf::as_path)
            .collect();
        files.sort();
        files.dedup();
        files
    }

    /// All paths, mutable.
    fn paths_mut(&mut self) -> Vec<&mut PathBuf> {
        let mut paths = vec![&mut self.data_directory];
        let listen = &mut self.listen;
        paths.extend(&mut listen.certificate);
        paths.extend(&mut listen.private_key);
        paths.extend(&mut listen.ocsp_response);
        paths.extend(&mut listen.client_authorities);
        paths.extend(&mut listen.revocation_lists);
        if let Some(listen) = &mut self.gateway_listen {
            paths.push(&mut listen.certificate);
            paths.push(&mut listen.private_key);
            paths.extend(&mut listen.ocsp_response);
            paths.push(&mut listen.client_authorities);
            paths.extend(&mut listen.revocation_lists);
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
        paths.extend(self.login.iter_mut().flat_map(LoginSettings::files_mut));
        let issuers = self.issuers.iter_mut();
        paths.extend(issuers.flat_map(IssuerSettings::files_mut));
        paths
    }

    /// Parses settings.
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
        let mut reader = SettingsReader {
            table,
            problems: Vec::new(),
        };
        reader.require("home_community_id");
        let home_community_id = reader.take("home_community_id");
        let public_url = reader
            .take::<Url>("public_url")
            .filter(|url| reader.is_fine("public_url", Some(url)));
        let config = Self {
            listen: reader.take("listen").unwrap_or_default(),
            gateway_listen: reader
                .take::<server::GatewaySettings>("gateway_listen")
                .filter(|listen| {
                    reader.is_fine("gateway_listen.public_url", listen.public_url.as_ref())
                }),
            manifests: reader.take("manifests").unwrap_or_default(),
            retrieve: reader.take("retrieve").unwrap_or_default(),
            cache: reader.take("cache").unwrap_or_default(),
            xc_wado: reader.take("xc_wado").unwrap_or_default(),
            cors: reader.take("cors").unwrap_or_default(),
            limits: reader.take("limits").unwrap_or_default(),
            rendering: reader.take("rendering").unwrap_or_default(),
            viewers: reader.take("viewers").unwrap_or_default(),
            login: reader.take("login"),
            issuers: reader.issuers(),
            communities: reader.communities(),
            locations: reader.locations(),
            rules: reader.rules(),
            data_directory: reader
                .take("data_directory")
                .unwrap_or_else(|| "var".into()),
            public_url,
            threads: reader.take("threads").unwrap_or_default(),
            home_community_id: home_community_id.unwrap_or_else(Self::no_community),
        };
        reader.problems.extend(config.unprotected_tokens());
        reader.problems.extend(config.unprotected_listeners());
        reader.problems.extend(config.shared_answers());
        Ok((config, reader.finish()))
    }

    /// Tokens without effect: no listener asks partners for certificates, and the tokens would
    /// arrive in clear text.
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

    /// Listeners that others reach, and that show everything to everybody or in clear text.
    fn unprotected_listeners(&self) -> Vec<String> {
        const CONSENT: &str = "or set listen.everybody_may_see_everything = true";
        let (listen, mut problems) = (&self.listen, Vec::new());
        if listen.everybody_may_see_everything {
            return problems;
        }
        let is_reached = |address: SocketAddr| !address.ip().is_loopback();
        let is_behind_tls = self.public_url().scheme() == "https" && !listen.proxies.is_empty();
        if is_reached(listen.address) && listen.certificate.is_none() && !is_behind_tls {
            problems.push(format!(
                "listen.address: others reach it, in clear text: set certificate and private_key, \
                 or name the proxies that have TLS in front of it and an https public_url, {CONSENT}"
            ));
        }
        if is_reached(listen.address) && self.access().mode(Door::Public) == Mode::Open {
            problems.push(format!(
                "listen.address: others reach it, and it is open: write a [[rule]] for each who may \
                 see something, {CONSENT}"
            ));
        }
        if is_reached(listen.operator_address) {
            problems.push(format!(
                "listen.operator_address: others reach it, in clear text: operators do not identify \
                 themselves; use a loopback address, {CONSENT}"
            ));
        }
        problems
    }

    /// Answers that a cache between clients would give to whoever asks next.
    fn shared_answers(&self) -> Option<String> {
        let value = self.cache.cache_control.0.to_str().unwrap_or_default();
        let is_shared = value.to_ascii_lowercase().contains("public");
        let has_rules = self.access().mode(Door::Public) == Mode::Rules;
        (is_shared && has_rules).then(|| {
            "cache.cache_control: where rules apply, shared caches must not keep answers: leave out \
             public"
                .to_owned()
        })
    }

    /// Whether others reach the listener for viewers although it is on loopback: by a proxy.
    pub(crate) fn is_reached_by_a_proxy(&self) -> bool {
        let url = self.public_url();
        let is_local = match url.host() {
            Some(Host::Ipv4(ip)) => ip.is_loopback(),
            Some(Host::Ipv6(ip)) => ip.is_loopback(),
            Some(Host::Domain(name)) => name == "localhost" || name.ends_with(".localhost"),
            None => true,
        };
        self.listen.address.ip().is_loopback() && (!is_local || !self.listen.proxies.is_empty())
    }

    fn no_community() -> HomeCommunityId {
        HomeCommunityId::parse("0.0").expect("a form that is right")
    }
}

/// The URL of an address on this machine. A wildcard address is not a destination.
fn url_of(scheme: &str, mut address: SocketAddr) -> Url {
    match address.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => address.set_ip(Ipv4Addr::LOCALHOST.into()),
        IpAddr::V6(ip) if ip.is_unspecified() => address.set_ip(Ipv6Addr::LOCALHOST.into()),
        IpAddr::V4(_) | IpAddr::V6(_) => {}
    }
    Url::parse(&format!("{scheme}://{address}")).expect("scheme, address and port are a URL")
}

impl fmt::Display for Problems {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.join("\n"))
    }
}

impl std::error::Error for Problems {}

#[cfg(test)]
mod tests;
