//! `[[community]]`: another community, its gateway, and its credentials.

use serde::Deserialize;

use super::address::{Address, further};
use super::location::{IN_CLEAR, fresh_hours, queue};
use super::offers::Offers;
use super::problem::Problems;
use crate::credentials::{Fingerprint, Name, TokenSource};
use crate::ihe::HomeCommunityId;
use crate::source::client::{self, Client, HttpVersion};
use crate::source::xc_wado::RespondingGateway;
use crate::source::{Freshness, Terms};

/// One `[[community]]`.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CommunitySettings {
    /// Its position in the settings, from 0, for problems.
    #[serde(skip)]
    pub position: usize,
    /// Its homeCommunityId.
    pub home_community_id: HomeCommunityId,
    /// Its alias in metrics and logs; `community-1` when absent, which only a single community may
    /// be.
    pub alias: Option<String>,
    /// The part before `homeCommunityId/` in the URLs of its responding imaging gateway; absent if
    /// it is a client only.
    pub gateway_url: Option<String>,
    /// Further addresses of the same gateway.
    #[serde(default)]
    pub more_gateway_urls: Vec<String>,
    /// Its known locations, for manifests that mix communities.
    #[serde(default)]
    pub retrieve_location_uids: Vec<String>,
    /// Subject alternative names of its client certificate.
    #[serde(default)]
    pub certificate_names: Vec<Name>,
    /// SHA-256 fingerprints of its client certificate.
    #[serde(default)]
    pub certificate_fingerprints: Vec<Fingerprint>,
    /// Our bearer token.
    pub token: Option<TokenSource>,
    /// Its bearer token, required besides its certificate.
    pub their_token: Option<TokenSource>,
    /// The transactions of its gateway.
    #[serde(default)]
    pub offers: Offers,
    /// Concurrent streams from its gateway.
    #[serde(default = "connections")]
    pub connections: usize,
    /// Requests that may wait for a seat; further requests get `Retry-After` at once.
    #[serde(default = "queue")]
    pub queue: usize,
    /// The freshness lifetime of its instances in hours.
    #[serde(default = "fresh_hours")]
    pub fresh_hours: u64,
    /// Whether to cache despite `Cache-Control: no-store`.
    #[serde(default)]
    pub ignore_no_store: bool,
    /// Whether its gateway decides for each user; so it does wherever it gets tokens of users.
    #[serde(default)]
    pub per_user: bool,
    /// The HTTP version for its gateway.
    #[serde(default)]
    pub http_version: HttpVersion,
    /// The connection settings of its gateway.
    #[serde(default)]
    pub http: client::Settings,
}

/// Another community.
#[derive(Debug)]
pub struct Community {
    /// Its alias in metrics and logs.
    pub alias: String,
    /// Its responding imaging gateway, if it has one.
    pub gateway: Option<RespondingGateway>,
    /// The transactions of its gateway.
    pub offers: Offers,
}

impl CommunitySettings {
    /// A community with this id, and neither a gateway nor credentials.
    #[must_use]
    pub fn new(home_community_id: HomeCommunityId) -> Self {
        Self {
            position: 0,
            home_community_id,
            alias: None,
            gateway_url: None,
            more_gateway_urls: Vec::new(),
            retrieve_location_uids: Vec::new(),
            certificate_names: Vec::new(),
            certificate_fingerprints: Vec::new(),
            token: None,
            their_token: None,
            offers: Offers::default(),
            connections: connections(),
            queue: queue(),
            fresh_hours: fresh_hours(),
            ignore_no_store: false,
            per_user: false,
            http_version: HttpVersion::default(),
            http: client::Settings::default(),
        }
    }

    /// Its alias in metrics and logs.
    #[must_use]
    pub fn alias(&self) -> String {
        let numbered = || format!("community-{}", self.position + 1);
        self.alias.clone().unwrap_or_else(numbered)
    }

    /// Opens its gateway.
    pub(super) fn open(&self, problems: &mut Problems<'_>) -> Community {
        Community {
            alias: self.alias(),
            gateway: self.gateway(problems),
            offers: self.offers.clone(),
        }
    }

    fn gateway(&self, problems: &mut Problems<'_>) -> Option<RespondingGateway> {
        const MORE: &str = "more_gateway_urls";
        let Some(url) = self.gateway_url.as_ref() else {
            if !self.more_gateway_urls.is_empty() {
                problems.add(MORE, "these are further addresses of a gateway_url");
            }
            return None;
        };
        let base = problems.ok("gateway_url", Address::parse(url))?;
        for text in &self.more_gateway_urls {
            problems.ok(MORE, Address::parse(text))?;
        }
        let more = further(url, &self.more_gateway_urls, MORE, problems)?;
        let alias = self.alias();
        let token = self.token.clone();
        if let Some(Err(error)) = token.as_ref().map(TokenSource::load) {
            problems.add("token", error);
            return None;
        }
        if token.is_some()
            && std::iter::once(base.url())
                .chain(&more)
                .any(|url| url.scheme() == "http")
        {
            problems.add(
                "token",
                "it would be sent in clear: give https addresses of the gateway",
            );
            return None;
        }
        if token.is_some() && self.http.authorization.is_some() {
            problems.add("token", "http.authorization replaces it: set one of them");
            return None;
        }
        let servers = std::iter::once(url).chain(&self.more_gateway_urls);
        if self.http.would_tell_secrets(servers.map(String::as_str)) {
            problems.add("http.authorization", IN_CLEAR);
            return None;
        }
        let client = Client::open(&alias, &self.http, self.http_version, token);
        let client = problems.ok("http", client)?;
        let gateway = RespondingGateway::new(
            &alias,
            base.url().clone(),
            self.home_community_id.clone(),
            client,
            self.terms(),
        );
        Some(gateway.also_at(more))
    }

    fn terms(&self) -> Terms {
        Terms {
            connections: self.connections,
            queue: self.queue,
            freshness: Freshness::of_hours(self.fresh_hours, self.ignore_no_store),
            is_per_user: self.per_user || self.http.is_per_user(),
        }
    }
}

fn connections() -> usize {
    512
}
