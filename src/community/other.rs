//! `[[community]]`: another community, its gateway, and whom we take for it.

use serde::Deserialize;

use super::address::{Address, further};
use super::location::{Offered, fresh_hours, instances, queue};
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
    /// The how-manyth it is in the settings, from 0; problems are told with it.
    #[serde(skip)]
    pub position: usize,
    /// Its homeCommunityId.
    pub home_community_id: HomeCommunityId,
    /// What it is called in metrics and logs; `community-1` when absent, which only a single one may be.
    pub alias: Option<String>,
    /// What stands before `homeCommunityId/` in the addresses of its responding imaging gateway;
    /// absent if it only asks us.
    pub gateway_url: Option<String>,
    /// Further addresses of the same gateway: other ways to it.
    #[serde(default)]
    pub more_gateway_urls: Vec<String>,
    /// Locations that are known to be theirs, for manifests that mix communities.
    #[serde(default)]
    pub retrieve_location_uids: Vec<String>,
    /// Subject alternative names of the certificate that it calls us with.
    #[serde(default)]
    pub certificate_names: Vec<Name>,
    /// SHA-256 fingerprints of the certificate that it calls us with.
    #[serde(default)]
    pub certificate_fingerprints: Vec<Fingerprint>,
    /// The bearer token that we send.
    pub token: Option<TokenSource>,
    /// The bearer token that it must send beside its certificate.
    pub their_token: Option<TokenSource>,
    /// What its gateway offers.
    #[serde(default = "instances")]
    pub offers: Vec<Offered>,
    /// Streams that are asked of its gateway at once.
    #[serde(default = "connections")]
    pub connections: usize,
    /// Requests that may wait for one of these connections; the next one is told at once to come later.
    #[serde(default = "queue")]
    pub queue: usize,
    /// Hours for which what it gave serves without asking it again.
    #[serde(default = "fresh_hours")]
    pub fresh_hours: u64,
    /// Whether what it gave is kept although it says `Cache-Control: no-store`.
    #[serde(default)]
    pub ignore_no_store: bool,
    /// The version of HTTP that its gateway is spoken to in.
    #[serde(default)]
    pub http_version: HttpVersion,
    /// How its gateway is talked to.
    #[serde(default)]
    pub http: client::Settings,
}

/// Another community.
#[derive(Debug)]
pub struct Community {
    /// What it is called in metrics and logs.
    pub alias: String,
    /// Its responding imaging gateway, if it has one.
    pub gateway: Option<RespondingGateway>,
    /// What that offers.
    pub offers: Vec<Offered>,
}

impl CommunitySettings {
    /// A community that neither is asked nor asks, yet.
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
            offers: instances(),
            connections: connections(),
            queue: queue(),
            fresh_hours: fresh_hours(),
            ignore_no_store: false,
            http_version: HttpVersion::default(),
            http: client::Settings::default(),
        }
    }

    /// What it is called in metrics and logs.
    #[must_use]
    pub fn alias(&self) -> String {
        let numbered = || format!("community-{}", self.position + 1);
        self.alias.clone().unwrap_or_else(numbered)
    }

    /// Opens it.
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
            connections: self.streams(),
            queue: self.queue,
            freshness: Freshness::of_hours(self.fresh_hours, self.ignore_no_store),
        }
    }

    /// Streams at once: over HTTP/2 all of them share one connection, and one that is beyond what it
    /// carries would wait behind those that nobody reads.
    fn streams(&self) -> usize {
        match self.http_version {
            HttpVersion::Http1 => self.connections,
            HttpVersion::Http2 => self.connections.min(HTTP_2_STREAMS),
        }
    }
}

/// What servers commonly take on one connection, this one included.
const HTTP_2_STREAMS: usize = 100;

fn connections() -> usize {
    512
}
