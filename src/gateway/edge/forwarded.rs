//! How we are reached from outside: as settings say, or as a proxy in front of us does that they
//! trust.

use std::net::IpAddr;
use std::sync::Arc;

use http::HeaderMap;
use http::header::{FORWARDED, HeaderName};
use serde::Deserialize;
use url::Url;

use crate::access::{Door, Peer};
use crate::gateway::edge::link::Place;
use crate::gateway::{Asking, Gateway};
use crate::manifest::Id;
use crate::network::Network;
use crate::request::Root;

const FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
const FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");
const FORWARDED_HOST: HeaderName = HeaderName::from_static("x-forwarded-host");
const FORWARDED_PREFIX: HeaderName = HeaderName::from_static("x-forwarded-prefix");

/// How a listener is reached from outside.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Front {
    /// The URL, without a slash at the end.
    pub(crate) url: String,
    /// Its path, without a slash at the end.
    prefix: String,
}

impl Front {
    pub(crate) fn new(url: &Url) -> Self {
        Self {
            url: url.as_str().trim_end_matches('/').to_owned(),
            prefix: url.path().trim_end_matches('/').to_owned(),
        }
    }

    /// Whether a page of this origin comes from here.
    pub(crate) fn is_of(&self, origin: &Url) -> bool {
        Url::parse(&self.url).is_ok_and(|url| url.origin() == origin.origin())
    }

    /// The path below that of the URL. A proxy in front may have cut it off already.
    pub(crate) fn below_prefix<'a>(&self, path: &'a str) -> &'a str {
        match path.strip_prefix(self.prefix.as_str()) {
            Some(rest) if rest.starts_with('/') => rest,
            Some(_) | None => path,
        }
    }

    /// The same, as a proxy says that the client sees it.
    fn seen(&self, said: &Said<'_>) -> Option<Self> {
        if said.scheme.is_none() && said.host.is_none() && said.prefix.is_none() {
            return None;
        }
        let mut url = Url::parse(&self.url).ok()?;
        let scheme = said.scheme.unwrap_or(url.scheme()).to_ascii_lowercase();
        if !matches!(scheme.as_str(), "http" | "https") {
            return None;
        }
        let host = said
            .host
            .unwrap_or(&url[url::Position::BeforeHost..url::Position::AfterPort]);
        let path = said.prefix.unwrap_or(url.path());
        let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~".contains(&byte);
        let is_host = host
            .bytes()
            .all(|byte| is_plain(byte) || b"[]:".contains(&byte));
        let is_path = path.bytes().all(|byte| is_plain(byte) || byte == b'/');
        if host.is_empty() || !is_host || !is_path || path.contains("//") {
            return None;
        }
        let separator = if path.starts_with('/') { "" } else { "/" };
        url = Url::parse(&format!("{scheme}://{host}{separator}{path}")).ok()?;
        Some(Self::new(&url))
    }
}

/// Addresses of proxies that are believed.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(transparent)]
pub struct Proxies(Vec<Network>);

impl FromIterator<Network> for Proxies {
    fn from_iter<I: IntoIterator<Item = Network>>(networks: I) -> Self {
        Self(networks.into_iter().collect())
    }
}

impl Proxies {
    /// Whether what comes from an address is believed.
    #[must_use]
    pub fn have(&self, address: IpAddr) -> bool {
        self.0.iter().any(|network| network.has(address))
    }
}

/// What the nearest proxy says of a request.
#[derive(Debug, Default, PartialEq, Eq)]
struct Said<'a> {
    client: Option<&'a str>,
    scheme: Option<&'a str>,
    host: Option<&'a str>,
    prefix: Option<&'a str>,
}

impl<'a> Said<'a> {
    /// Of `Forwarded` (RFC 7239), else of its forerunners. What is in front of the last entry was
    /// written by whoever came before, and is not believed.
    fn read(headers: &'a HeaderMap) -> Self {
        let last = |name: &HeaderName| {
            let field = headers.get_all(name).iter().next_back()?;
            Some(field.to_str().ok()?.rsplit(',').next()?.trim())
        };
        let prefix = last(&FORWARDED_PREFIX);
        let Some(forwarded) = last(&FORWARDED) else {
            return Self {
                client: last(&FORWARDED_FOR),
                scheme: last(&FORWARDED_PROTO),
                host: last(&FORWARDED_HOST),
                prefix,
            };
        };
        let mut said = Self {
            prefix,
            ..Self::default()
        };
        let pairs = forwarded.split(';').filter_map(|pair| pair.split_once('='));
        for (name, value) in pairs {
            let value = Some(value.trim().trim_matches('"'));
            match name.trim().to_ascii_lowercase().as_str() {
                "for" => said.client = value,
                "proto" => said.scheme = value,
                "host" => said.host = value,
                _ => {}
            }
        }
        said
    }

    /// The address of the client, without its port.
    fn client(&self) -> Option<IpAddr> {
        let text = self.client?;
        let bare = text.trim_start_matches('[').split(']').next()?;
        let without_port = || {
            bare.rsplit_once(':')
                .and_then(|(host, _)| host.parse().ok())
        };
        bare.parse().ok().or_else(without_port)
    }
}

/// How the client of a request reaches us, and where it is.
#[derive(Debug)]
pub(crate) struct Seen {
    pub(crate) front: Arc<Front>,
    pub(crate) client: IpAddr,
    /// Whether a proxy that is believed names the host that the client has asked.
    pub(crate) is_named: bool,
}

impl Gateway {
    pub(crate) fn seen(&self, peer: &Peer, headers: &HeaderMap) -> Seen {
        let front = match peer.door {
            Door::Public => &self.public,
            Door::Gateway => &self.partners,
        };
        let mut seen = Seen {
            front: Arc::clone(front),
            client: peer.address,
            is_named: false,
        };
        if peer.door == Door::Gateway || !self.proxies.have(peer.address) {
            return seen;
        }
        let said = Said::read(headers);
        seen.client = said.client().unwrap_or(peer.address);
        if let Some(front) = front.seen(&said) {
            seen.front = Arc::new(front);
            seen.is_named = said.host.is_some();
        }
        seen
    }
}

impl Asking {
    /// Where the list of manifests is.
    pub(crate) fn manifests(&self) -> String {
        format!("{}/manifests", self.front.url)
    }

    /// Where a manifest is.
    pub(crate) fn link(&self, id: Id) -> String {
        format!("{}/manifests/{id}", self.front.url)
    }

    /// Where a DICOMweb root is.
    pub(crate) fn root_place(&self, root: Root) -> Place {
        match root {
            Root::Manifest(id) => Place::new(format!("{}/dicomweb", self.link(id))),
            Root::All => Place::new(format!("{}/dicomweb", self.front.url)),
        }
    }
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    fn seen(fields: &[(&'static str, &'static str)]) -> (String, Option<IpAddr>) {
        let mut headers = HeaderMap::new();
        for (name, value) in fields {
            headers.append(*name, HeaderValue::from_static(value));
        }
        let front = Front::new(&Url::parse("http://inside:8080/x/").expect("a URL"));
        let said = Said::read(&headers);
        let seen = front.seen(&said).unwrap_or(front);
        (seen.url, said.client())
    }

    #[test]
    fn what_the_nearest_proxy_says_is_how_we_are_seen() {
        for (fields, url, client) in [
            (&[][..], "http://inside:8080/x", None),
            (
                &[("forwarded", "for=203.0.113.9;proto=https;host=pacs.example")],
                "https://pacs.example/x",
                Some("203.0.113.9"),
            ),
            (
                &[(
                    "forwarded",
                    "for=1.1.1.1;host=evil.example, for=\"[2001:db8::7]:99\";Proto=HTTPS;host=\"pacs.example:8443\"",
                )],
                "https://pacs.example:8443/x",
                Some("2001:db8::7"),
            ),
            (
                &[
                    ("x-forwarded-proto", "https"),
                    ("x-forwarded-host", "evil.example, pacs.example"),
                    ("x-forwarded-prefix", "/wado"),
                    ("x-forwarded-for", "1.1.1.1, 203.0.113.9:4711"),
                ],
                "https://pacs.example/wado",
                Some("203.0.113.9"),
            ),
            (&[("x-forwarded-prefix", "/")], "http://inside:8080", None),
        ] {
            let client = client.map(|client: &str| client.parse().expect("an address"));
            assert_eq!(seen(fields), (url.to_owned(), client), "{fields:?}");
        }
    }

    #[test]
    fn what_makes_no_sense_is_not_believed() {
        for (name, value) in [
            ("forwarded", "proto=javascript"),
            ("forwarded", "host=\"a/b\""),
            ("forwarded", "host=user@evil.example"),
            ("forwarded", "host="),
            ("x-forwarded-prefix", "//evil.example"),
            ("x-forwarded-prefix", "/a\"b"),
            ("x-forwarded-host", "a b"),
        ] {
            assert_eq!(
                seen(&[(name, value)]).0,
                "http://inside:8080/x",
                "{name}: {value}"
            );
        }
    }
}
