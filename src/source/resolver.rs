//! Resolves the names of servers. A name in an internal network is refused unless the settings
//! allow it: otherwise the owner of the name could point the gateway anywhere (DNS rebinding). The
//! checked addresses are the ones that are dialled.

use std::future::Future;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};
use std::vec;

use hyper_util::client::legacy::connect::dns::{GaiResolver, Name};
use tower_service::Service;
use url::{Host, Url};

use crate::network::{self, Network, SpecialRange};

/// A resolver for one server.
#[derive(Debug, Clone)]
pub struct Resolver {
    allowed: Arc<[Network]>,
    names: Names,
    /// Whether the log already contains the refusal.
    has_told: Arc<AtomicBool>,
}

/// The origin of addresses.
#[derive(Debug, Clone)]
enum Names {
    System(GaiResolver),
    #[cfg(test)]
    Fixed(Vec<IpAddr>),
}

/// Why a name has no usable address.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The name cannot be resolved.
    #[error("{name} cannot be resolved: {error}")]
    Unknown {
        /// The name.
        name: String,
        /// The system's error.
        error: io::Error,
    },
    /// The name resolves to an internal network.
    #[error(
        "{name} resolves to {address} ({}); if that is meant, add allow_networks = [\"{}\"] \
         to its table ([location.http], [community.http], [[issuer]], [login])",
        range.name, range.network
    )]
    Refused {
        /// The name.
        name: String,
        /// One of its addresses.
        address: IpAddr,
        /// The range of the address.
        range: SpecialRange,
    },
}

/// `localhost` is this machine (RFC 6761 6.3), as the settings intend.
const LOCALHOST: &str = "localhost";

impl Resolver {
    pub(super) fn new(allowed: &[Network]) -> Self {
        Self::with(Names::System(GaiResolver::new()), allowed)
    }

    /// A resolver with these addresses for any name.
    #[cfg(test)]
    pub(super) fn fixed(addresses: Vec<IpAddr>, allowed: &[Network]) -> Self {
        Self::with(Names::Fixed(addresses), allowed)
    }

    fn with(names: Names, allowed: &[Network]) -> Self {
        Self {
            allowed: allowed.into(),
            names,
            has_told: Arc::default(),
        }
    }

    /// The addresses of a URL. A literal address is used as it is.
    ///
    /// # Errors
    /// [`Error`].
    pub async fn addresses(&self, url: &Url) -> Result<Vec<SocketAddr>, Error> {
        let port = url.port_or_known_default().unwrap_or(0);
        let name = match url.host() {
            Some(Host::Ipv4(address)) => return Ok(vec![(address, port).into()]),
            Some(Host::Ipv6(address)) => return Ok(vec![(address, port).into()]),
            Some(Host::Domain(name)) => name,
            None => "",
        };
        let addresses = self.permitted(name).await?;
        Ok(addresses.into_iter().map(|ip| (ip, port).into()).collect())
    }

    async fn permitted(&self, name: &str) -> Result<Vec<IpAddr>, Error> {
        let found = self.look_up(name).await;
        let found = found.map_err(|error| Error::Unknown {
            name: name.to_owned(),
            error,
        })?;
        let permitted = permitted(name, found, &self.allowed);
        match &permitted {
            Ok(_) => self.has_told.store(false, Ordering::Relaxed),
            Err(error) => {
                if !self.has_told.swap(true, Ordering::Relaxed) {
                    tracing::error!(%error, "a server is not contacted");
                }
            }
        }
        permitted
    }

    async fn look_up(&self, name: &str) -> io::Result<Vec<IpAddr>> {
        match &self.names {
            Names::System(system) => {
                let name: Name = name.parse().map_err(io::Error::other)?;
                let found = system.clone().call(name).await?;
                Ok(found.map(|address| address.ip()).collect())
            }
            #[cfg(test)]
            Names::Fixed(addresses) => Ok(addresses.clone()),
        }
    }
}

/// The permitted addresses of a name.
fn permitted(name: &str, found: Vec<IpAddr>, allowed: &[Network]) -> Result<Vec<IpAddr>, Error> {
    if name.eq_ignore_ascii_case(LOCALHOST) {
        return Ok(found);
    }
    let mut refused = None;
    let mut permitted = Vec::new();
    for address in found {
        match network::permit(allowed, address) {
            Ok(()) => permitted.push(address),
            Err(range) => refused = refused.or(Some((address, range))),
        }
    }
    match refused {
        Some((address, range)) if permitted.is_empty() => Err(Error::Refused {
            name: name.to_owned(),
            address,
            range,
        }),
        Some(_) | None => Ok(permitted),
    }
}

impl Service<Name> for Resolver {
    type Response = vec::IntoIter<SocketAddr>;
    type Error = Error;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Error>> + Send>>;

    fn poll_ready(&mut self, _context: &mut Context<'_>) -> Poll<Result<(), Error>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, name: Name) -> Self::Future {
        let resolver = self.clone();
        Box::pin(async move {
            let addresses = resolver.permitted(name.as_str()).await?;
            // The connector adds the port.
            let addresses = addresses.into_iter().map(|ip| SocketAddr::new(ip, 0));
            Ok(addresses.collect::<Vec<_>>().into_iter())
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn addresses(texts: &[&str]) -> Vec<IpAddr> {
        let parsed = texts.iter().map(|text| text.parse().expect("an address"));
        parsed.collect()
    }

    fn ask(name: &str, found: &[&str], allowed: &[&str]) -> Result<Vec<IpAddr>, String> {
        let allowed: Vec<_> = allowed
            .iter()
            .map(|text| Network::try_from((*text).to_owned()).expect("a network"))
            .collect();
        permitted(name, addresses(found), &allowed).map_err(|error| error.to_string())
    }

    #[test]
    fn a_name_that_leads_into_an_internal_network_is_refused_with_the_line_to_add() {
        for (address, network) in [
            ("10.1.2.3", "10.0.0.0/8"),
            ("172.20.0.1", "172.16.0.0/12"),
            ("192.168.1.1", "192.168.0.0/16"),
            ("100.64.0.1", "100.64.0.0/10"),
            ("127.0.0.1", "127.0.0.0/8"),
            ("0.0.0.0", "0.0.0.0/8"),
            ("169.254.169.254", "169.254.0.0/16"),
            ("224.0.0.1", "224.0.0.0/4"),
            ("::1", "::1/128"),
            ("fd00::1", "fc00::/7"),
            ("fe80::1", "fe80::/10"),
            ("::ffff:10.1.2.3", "10.0.0.0/8"),
        ] {
            let refused = ask("pacs.example", &[address], &[]).expect_err(address);
            let line = format!("allow_networks = [\"{network}\"]");
            assert!(refused.contains("pacs.example"), "{refused}");
            assert!(refused.contains(&line), "{refused}");
            assert!(
                ask("pacs.example", &[address], &[network]).is_ok(),
                "{address}"
            );
            assert!(ask("pacs.example", &[address], &["203.0.113.0/24"]).is_err());
            assert!(ask("LOCALHOST", &[address], &[]).is_ok());
        }
        let outside = ["203.0.113.9", "2001:db8::1"];
        assert_eq!(ask("a.example", &outside, &[]), Ok(addresses(&outside)));
    }

    #[test]
    fn of_several_addresses_only_permitted_ones_are_dialled() {
        let both = ["10.0.0.1", "203.0.113.9", "169.254.169.254"];
        assert_eq!(
            ask("a.example", &both, &[]),
            Ok(addresses(&["203.0.113.9"]))
        );
        assert_eq!(
            ask("a.example", &both, &["10.0.0.0/24"]),
            Ok(addresses(&["10.0.0.1", "203.0.113.9"]))
        );
    }

    #[tokio::test]
    async fn addresses_in_settings_are_meant_as_they_are() {
        let resolver = Resolver::fixed(addresses(&["10.0.0.1"]), &[]);
        let of = async |url: &str| {
            let url = Url::parse(url).expect("a URL");
            resolver
                .addresses(&url)
                .await
                .map_err(|error| error.to_string())
        };
        assert_eq!(
            of("http://192.168.1.1:8042/x").await,
            Ok(vec!["192.168.1.1:8042".parse().expect("an address")])
        );
        assert_eq!(
            of("https://[fe80::1]/").await,
            Ok(vec!["[fe80::1]:443".parse().expect("an address")])
        );
        assert!(of("https://pacs.example/").await.is_err());
        assert!(of("https://localhost/").await.is_ok());
    }
}
