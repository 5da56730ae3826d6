//! Admits requests that name a host of the gateway (RFC 9110 7.4) and that do not come from a page
//! without the right to send them.
//!
//! A loopback address does not protect a listener against DNS rebinding: a page in a browser lets a
//! name of its own resolve to that address, and the browser takes the gateway for that page's
//! server. The request still carries that name, so the gateway refuses names that are not its own.

use std::net::{IpAddr, Ipv6Addr};

use http::header::{HOST, ORIGIN};
use http::request::Parts;
use http::{HeaderMap, HeaderName, Method, Version};
use serde::Deserialize;
use url::Url;

use crate::access::{Door, Peer};
use crate::credentials::{Certificate, Name};
use crate::gateway::edge::forwarded::Route;
use crate::gateway::{Error, Gateway, InvalidHost};

const SEC_FETCH_SITE: HeaderName = HeaderName::from_static("sec-fetch-site");
const LOCALHOST: &str = "localhost";

/// A host name by which clients address the gateway.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub struct HostName(Box<str>);

/// A text is not a host name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not a host name (without scheme, port and path; addresses need not be listed)")]
pub struct NotAHostName;

/// The names that a listener answers to.
#[derive(Debug, Clone)]
pub(crate) struct Hosts(Vec<HostName>);

/// The host that a request names, and its port if present.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Authority {
    host: Host,
    port: Option<u16>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Host {
    Name(HostName),
    Address(IpAddr),
}

impl HostName {
    fn parse(text: &str) -> Result<Self, NotAHostName> {
        // A trailing dot does not change the name.
        let text = text.strip_suffix('.').unwrap_or(text);
        let is_allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"-._".contains(&byte);
        let is_name = !text.is_empty() && text.len() <= 253 && text.bytes().all(is_allowed);
        // WHATWG URL: a host whose last label is a number is an address.
        let last = text.rsplit('.').next().unwrap_or_default();
        let is_number = last.bytes().all(|byte| byte.is_ascii_digit());
        if !is_name || is_number {
            return Err(NotAHostName);
        }
        Ok(Self(text.to_ascii_lowercase().into()))
    }
}

impl TryFrom<String> for HostName {
    type Error = NotAHostName;

    fn try_from(text: String) -> Result<Self, NotAHostName> {
        Self::parse(&text)
    }
}

impl Host {
    fn parse(text: &str) -> Result<Self, InvalidHost> {
        let name = || HostName::parse(text).map(Self::Name);
        let address = text.parse().map(Self::Address);
        address
            .or_else(|_not_an_address| name())
            .map_err(|_not_a_name| InvalidHost::Malformed)
    }
}

impl Authority {
    /// RFC 3986 3.2.2 and 3.2.3, for names that occur in DNS.
    fn parse(text: &str) -> Result<Self, InvalidHost> {
        if text.contains('@') {
            return Err(InvalidHost::UserInformation);
        }
        let (host, port) = match text.strip_prefix('[') {
            Some(bracketed) => {
                let (address, port) = bracketed.split_once(']').ok_or(InvalidHost::Malformed)?;
                let address = address.parse::<Ipv6Addr>();
                let address = address.map_err(|_not_an_address| InvalidHost::Malformed)?;
                (Host::Address(IpAddr::V6(address)), port)
            }
            None => {
                let (host, port) = text.split_at(text.find(':').unwrap_or(text.len()));
                (Host::parse(host)?, port)
            }
        };
        let port = match port.strip_prefix(':') {
            None if port.is_empty() => None,
            Some("") => None,
            Some(digits) if digits.bytes().all(|byte| byte.is_ascii_digit()) => {
                let port = digits.parse();
                Some(port.map_err(|_too_large| InvalidHost::Malformed)?)
            }
            None | Some(_) => return Err(InvalidHost::Malformed),
        };
        Ok(Self { host, port })
    }

    /// The host of a request; `None` if an old HTTP version does not require one.
    fn of(head: &Parts) -> Result<Option<Self>, InvalidHost> {
        let mut fields = head.headers.get_all(HOST).iter();
        let field = fields.next();
        if fields.next().is_some() {
            return Err(InvalidHost::Repeated);
        }
        let field = field.map(|field| {
            let text = field.to_str().map_err(|_binary| InvalidHost::Malformed)?;
            Self::parse(text.trim())
        });
        let field = field.transpose()?;
        let target = head.uri.authority();
        let target = target
            .map(|target| Self::parse(target.as_str()))
            .transpose()?;
        match (target, field, head.version) {
            // RFC 9113 8.3.1: `:authority` and `Host` must not differ.
            (Some(target), Some(field), Version::HTTP_2 | Version::HTTP_3) if target != field => {
                Err(InvalidHost::Malformed)
            }
            (None, None, Version::HTTP_09 | Version::HTTP_10) => Ok(None),
            (_, None, Version::HTTP_11) | (None, None, _) => Err(InvalidHost::Missing),
            // RFC 9112 3.2.2: a target in absolute form overrides the field.
            (target, field, _) => Ok(target.or(field)),
        }
    }

    /// Whether this origin (RFC 6454 6.2) is on the host and port.
    fn is_of(&self, origin: &Url) -> bool {
        let host = origin.host_str().map(|host| host.trim_matches(['[', ']']));
        let host = host.and_then(|host| Host::parse(host).ok());
        let default = match origin.scheme() {
            "https" => Some(443),
            "http" => Some(80),
            _ => return false,
        };
        host.as_ref() == Some(&self.host) && origin.port_or_known_default() == self.port.or(default)
    }
}

impl Hosts {
    /// The host of a URL, and the listed names.
    pub(crate) fn new(url: &Url, listed: &[HostName]) -> Self {
        let own = url.host_str().and_then(|host| HostName::parse(host).ok());
        Self(own.into_iter().chain(listed.iter().cloned()).collect())
    }

    /// Addresses always pass, because DNS rebinding needs a name. The names of the certificate on
    /// this connection pass too: a client that expected another name fails in the handshake.
    fn have(&self, host: &Host, shown: Option<&Certificate>) -> bool {
        let Host::Name(name) = host else {
            return true;
        };
        let mut certified = shown.iter().flat_map(|shown| &shown.names);
        &*name.0 == LOCALHOST
            || self.0.contains(name)
            || certified.any(|certified| certifies(certified, &name.0))
    }
}

/// Whether a name in a certificate matches a host name (RFC 9525 6.3).
fn certifies(certified: &Name, name: &str) -> bool {
    let Name::Dns(certified) = certified else {
        return false;
    };
    let below = certified.strip_prefix("*.");
    let of_wildcard = name.split_once('.').map(|(_label, parent)| parent);
    **certified == *name || (below.is_some() && below == of_wildcard)
}

impl Gateway {
    /// Admits a request if it names a host of the gateway, its head is not too large, and it does
    /// not change something on behalf of a page of a foreign origin.
    ///
    /// # Errors
    /// [`Error::HeadTooLarge`], [`Error::Host`], [`Error::Misdirected`] or [`Error::CrossOrigin`].
    pub fn admit(&self, peer: &Peer, head: &Parts) -> Result<(), Error> {
        let route = self.route(peer, &head.headers);
        let admitted = self.admit_on(peer, head, &route);
        if let Err(error) = &admitted {
            self.tell(peer, route.client, error);
        }
        admitted
    }

    pub(crate) fn admit_on(&self, peer: &Peer, head: &Parts, route: &Route) -> Result<(), Error> {
        if size(head) > self.largest_head {
            return Err(Error::HeadTooLarge);
        }
        let authority = Authority::of(head)?;
        let hosts = match peer.door {
            Door::Public => &self.hosts,
            Door::Gateway => &self.partner_hosts,
        };
        let ours = peer.ours.as_deref();
        let is_ours = |authority: &Authority| hosts.have(&authority.host, ours);
        // A trusted proxy that forwards the client's host may itself use any name for the gateway.
        if !route.is_named && !authority.as_ref().is_none_or(is_ours) {
            return Err(Error::Misdirected);
        }
        if is_safe(&head.method) || self.may_change(&head.headers, authority.as_ref(), route) {
            Ok(())
        } else {
            Err(Error::CrossOrigin)
        }
    }

    /// Whether a request that changes something does not come from a page at all, or comes from a
    /// page of the gateway or of an origin in the settings. `*` does not count as an origin here.
    fn may_change(
        &self,
        headers: &HeaderMap,
        authority: Option<&Authority>,
        route: &Route,
    ) -> bool {
        let site = headers.get(SEC_FETCH_SITE).map(|site| site.as_bytes());
        let origin = headers.get(ORIGIN);
        let origin = origin.map(|origin| origin.to_str().unwrap_or_default());
        if origin.is_some_and(|origin| self.cors.names(origin)) {
            return true;
        }
        match (site, origin) {
            (Some(b"same-origin" | b"none"), _) | (None, None) => true,
            (Some(_), _) => false,
            // An older browser that does not send `Sec-Fetch-Site`.
            (None, Some(origin)) => Url::parse(origin).is_ok_and(|origin| {
                route.public_url.is_of(&origin)
                    || authority.is_some_and(|authority| authority.is_of(&origin))
            }),
        }
    }
}

/// Whether a method is safe (RFC 9110 9.2.1).
fn is_safe(method: &Method) -> bool {
    [Method::GET, Method::HEAD, Method::OPTIONS].contains(method)
}

/// The approximate number of bytes of a request's head, with the separators of HTTP/1.1 also for
/// HTTP/2, so that the limit does not depend on the version.
fn size(head: &Parts) -> usize {
    let target = head.uri.path().len()
        + head.uri.query().map_or(0, |query| query.len() + 1)
        + head
            .uri
            .authority()
            .map_or(0, |authority| authority.as_str().len());
    let fields = head.headers.iter();
    let fields = fields.map(|(name, value)| name.as_str().len() + value.len() + 4);
    head.method.as_str().len() + target + fields.sum::<usize>()
}

#[cfg(test)]
#[path = "hosts_tests.rs"]
mod tests;
