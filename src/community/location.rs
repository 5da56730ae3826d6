//! `[[location]]`: a source in our community.

use std::path::PathBuf;
use std::sync::Arc;

use serde::Deserialize;
use url::Url;

use super::address::{Address, further};
use super::offers::Offers;
use super::problem::Problems;
use crate::ihe::RetrieveLocationUid;
use crate::source::client::{self, Client};
use crate::source::folder::Folder;
use crate::source::wado_rs::WadoRs;
use crate::source::wado_uri::WadoUri;
use crate::source::{DEFAULT_HOURS, DEFAULT_QUEUE, Freshness, Kind, Source, Terms};

/// One `[[location]]`.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LocationSettings {
    /// Its position in the settings, from 0, for problems.
    #[serde(skip)]
    pub position: usize,
    /// Its alias in metrics and logs; `location-1` when absent, which only a single location may
    /// be.
    pub alias: Option<String>,
    /// Its Retrieve Location UID.
    pub retrieve_location_uid: Option<String>,
    /// Its DICOMweb root, if it is a server.
    pub wado_rs_url: Option<String>,
    /// Further DICOMweb roots of the same server.
    #[serde(default)]
    pub more_wado_rs_urls: Vec<String>,
    /// Its WADO-URI service, if the server has no DICOMweb.
    pub wado_uri_url: Option<String>,
    /// Its folder, if it is one.
    pub folder: Option<PathBuf>,
    /// Retrieve URLs in manifests that select this location.
    #[serde(default)]
    pub retrieve_urls: Vec<String>,
    /// Retrieve AE Titles in classic manifests that select this location.
    #[serde(default)]
    pub retrieve_ae_titles: Vec<String>,
    /// The transactions that it offers itself.
    #[serde(default)]
    pub offers: Offers,
    /// Concurrent requests for series and instances.
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
    /// Whether the server decides for each user; so it does wherever it gets tokens of users.
    #[serde(default)]
    pub per_user: bool,
    /// The connection settings, if it is a server.
    #[serde(default)]
    pub http: client::Settings,
}

impl LocationSettings {
    /// Its alias in metrics and logs.
    #[must_use]
    pub fn alias(&self) -> String {
        let numbered = || format!("location-{}", self.position + 1);
        self.alias.clone().unwrap_or_else(numbered)
    }

    /// The addresses that select it, each with its key.
    pub(super) fn addresses(&self) -> impl Iterator<Item = (&'static str, &String)> {
        let own = self.wado_rs_url.iter().map(|url| ("wado_rs_url", url));
        let own = own.chain(self.wado_uri_url.iter().map(|url| ("wado_uri_url", url)));
        let more = self.more_wado_rs_urls.iter();
        let own = own.chain(more.map(|url| (MORE, url)));
        own.chain(self.retrieve_urls.iter().map(|url| ("retrieve_urls", url)))
    }

    /// Opens its source.
    pub(super) fn open(&self, problems: &mut Problems<'_>) -> Option<Source> {
        let alias = self.alias();
        let kind = self.kind(&alias, problems)?;
        let terms = Terms {
            connections: self.connections,
            queue: self.queue,
            freshness: Freshness::of_hours(self.fresh_hours, self.ignore_no_store),
            is_per_user: self.per_user || self.http.is_per_user(),
        };
        let uid = self.retrieve_location_uid.as_deref();
        let uid = uid.and_then(|text| RetrieveLocationUid::parse(text).ok());
        Some(Source::new(&alias, kind, terms).located(uid.as_ref()))
    }

    fn kind(&self, alias: &str, problems: &mut Problems<'_>) -> Option<Kind> {
        let instances_only = self.offers.permit_instances_only();
        let servers = self.wado_rs_url.iter().chain(&self.more_wado_rs_urls);
        let servers = servers.chain(&self.wado_uri_url).map(String::as_str);
        if self.http.would_tell_secrets(servers) {
            problems.add("http.authorization", IN_CLEAR);
            return None;
        }
        match (&self.wado_rs_url, &self.wado_uri_url, &self.folder) {
            (Some(url), None, None) => {
                let base = Address::parse(url).ok()?.url().clone();
                let more = further(url, &self.more_wado_rs_urls, MORE, problems)?;
                let client = problems.ok("http", Client::new(alias, &self.http))?;
                let server = WadoRs::new(base, client).also_at(more);
                Some(Kind::WadoRs(Box::new(server)))
            }
            (None, _, _) if !self.more_wado_rs_urls.is_empty() => {
                problems.add(MORE, "these are further addresses of a wado_rs_url");
                None
            }
            (None, Some(_), None) if !instances_only => {
                problems.add("offers", "a WADO-URI server offers instances only");
                None
            }
            (None, Some(url), None) => {
                let base = service(&Address::parse(url).ok()?, url);
                let client = problems.ok("http", Client::new(alias, &self.http))?;
                Some(Kind::WadoUri(Box::new(WadoUri::new(base, client))))
            }
            (None, None, Some(_)) if self.per_user || self.http.is_per_user() => {
                problems.add("per_user", "a folder does not know its readers");
                None
            }
            (None, None, Some(_)) if !instances_only => {
                problems.add("offers", "a folder offers instances only");
                None
            }
            (None, None, Some(path)) => match Folder::open(path) {
                Ok(folder) => Some(Kind::Folder(Arc::new(folder))),
                Err(error) => {
                    problems.add("folder", format!("{}: {error}", path.display()));
                    None
                }
            },
            (None, None, None) => {
                problems.add("wado_rs_url", EITHER);
                None
            }
            (_, _, folder) => {
                let key = folder.as_ref().map_or("wado_uri_url", |_| "folder");
                problems.add(key, EITHER);
                None
            }
        }
    }
}

pub(super) const IN_CLEAR: &str = "it would be sent in clear: give https addresses, or set \
                                   http.authorization_in_clear = true";

const EITHER: &str = "give one of wado_rs_url, wado_uri_url and folder";

/// The service is at exactly this address: a trailing slash is kept as written.
fn service(address: &Address, written: &str) -> Url {
    let mut url = address.url().clone();
    if !written.trim_end().ends_with('/') {
        let path = url.path().trim_end_matches('/').to_owned();
        url.set_path(&path);
    }
    url
}

const MORE: &str = "more_wado_rs_urls";

fn connections() -> usize {
    64
}

pub(super) fn queue() -> usize {
    DEFAULT_QUEUE
}

pub(super) fn fresh_hours() -> u64 {
    DEFAULT_HOURS
}
