//! The URL at which clients reach the gateway: `public_url`, or the one that a trusted proxy
//! forwards.

use std::net::IpAddr;
use std::sync::Arc;

use http::HeaderMap;
use http::header::{FORWARDED, HeaderName};
use serde::Deserialize;
use url::Url;

use crate::access::{Door, Peer};
use crate::gateway::Gateway;
use crate::network::Network;

const FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
const FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");
const FORWARDED_HOST: HeaderName = HeaderName::from_static("x-forwarded-host");
const FORWARDED_PREFIX: HeaderName = HeaderName::from_static("x-forwarded-prefix");

/// The URL at which clients reach a listener.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct PublicUrl {
    /// The URL, without a slash at the end.
    pub(crate) url: String,
    /// Its path, without a slash at the end.
    prefix: String,
}

impl PublicUrl {
    pub(crate) fn new(url: &Url) -> Self {
        Self {
            url: url.as_str().trim_end_matches('/').to_owned(),
            prefix: url.path().trim_end_matches('/').to_owned(),
        }
    }

    /// The path of the URL, without a slash at the end.
    pub(crate) fn prefix(&self) -> &str {
        &self.prefix
    }

    /// Whether a page of this origin comes from the gateway.
    pub(crate) fn is_of(&self, origin: &Url) -> bool {
        Url::parse(&self.url).is_ok_and(|url| url.origin() == origin.origin())
    }

    /// The path below that of the URL. A proxy may have removed the prefix already.
    pub(crate) fn below_prefix<'a>(&self, path: &'a str) -> &'a str {
        match path.strip_prefix(self.prefix.as_str()) {
            Some(rest) if rest.starts_with('/') => rest,
            Some(_) | None => path,
        }
    }

    /// The URL that a trusted proxy forwards.
    fn forwarded(&self, fields: &ForwardedFields<'_>) -> Option<Self> {
        if fields.scheme.is_none() && fields.host.is_none() && fields.prefix.is_none() {
            return None;
        }
        let mut url = Url::parse(&self.url).ok()?;
        let scheme = fields.scheme.unwrap_or(url.scheme()).to_ascii_lowercase();
        if !matches!(scheme.as_str(), "http" | "https") {
            return None;
        }
        let host = fields
            .host
            .unwrap_or(&url[url::Position::BeforeHost..url::Position::AfterPort]);
        let path = fields.prefix.unwrap_or(url.path());
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

/// Trusted proxies: their `Forwarded` fields set the public URL and the client's address.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(transparent)]
pub struct Proxies(Vec<Network>);

impl FromIterator<Network> for Proxies {
    fn from_iter<I: IntoIterator<Item = Network>>(networks: I) -> Self {
        Self(networks.into_iter().collect())
    }
}

impl Proxies {
    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether the proxy at an address is trusted.
    #[must_use]
    pub fn have(&self, address: IpAddr) -> bool {
        self.0.iter().any(|network| network.has(address))
    }
}

/// The fields that the nearest proxy has added.
#[derive(Debug, Default, PartialEq, Eq)]
struct ForwardedFields<'a> {
    client: Option<&'a str>,
    scheme: Option<&'a str>,
    host: Option<&'a str>,
    prefix: Option<&'a str>,
}

impl<'a> ForwardedFields<'a> {
    /// `Forwarded` (RFC 7239), else its forerunners. Only the last entry is the proxy's own; a
    /// client can forge the earlier ones.
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
        let mut fields = Self {
            prefix,
            ..Self::default()
        };
        let pairs = forwarded.split(';').filter_map(|pair| pair.split_once('='));
        for (name, value) in pairs {
            let value = Some(value.trim().trim_matches('"'));
            match name.trim().to_ascii_lowercase().as_str() {
                "for" => fields.client = value,
                "proto" => fields.scheme = value,
                "host" => fields.host = value,
                _ => {}
            }
        }
        fields
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

/// The URL that a client has used, and the address of the client.
#[derive(Debug)]
pub(crate) struct Route {
    pub(crate) public_url: Arc<PublicUrl>,
    pub(crate) client: IpAddr,
    /// Whether a trusted proxy forwards the host.
    pub(crate) is_named: bool,
}

impl Gateway {
    /// The route of a request. Only a trusted proxy can say more of it than the connection does.
    pub(crate) fn route(&self, peer: &Peer, headers: &HeaderMap) -> Route {
        let public_url = match peer.door {
            Door::Public => &self.public_url,
            Door::Gateway => &self.partners_url,
        };
        let mut route = Route {
            public_url: Arc::clone(public_url),
            client: peer.address,
            is_named: false,
        };
        if peer.door == Door::Gateway || !self.proxies.have(peer.address) {
            return route;
        }
        let fields = ForwardedFields::read(headers);
        route.client = fields.client().unwrap_or(peer.address);
        if let Some(public_url) = public_url.forwarded(&fields) {
            route.public_url = Arc::new(public_url);
            route.is_named = fields.host.is_some();
        }
        route
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
        let front = PublicUrl::new(&Url::parse("http://inside:8080/x/").expect("a URL"));
        let said = ForwardedFields::read(&headers);
        let seen = front.forwarded(&said).unwrap_or(front);
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
