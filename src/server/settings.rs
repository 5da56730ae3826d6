//! The settings of the listeners.

use std::net::{SocketAddr, TcpListener};
use std::path::PathBuf;
use std::time::Duration;

use serde::Deserialize;
use url::Url;

use super::seats::Numbers;
use super::{Entrance, Tls};
use crate::access::Mode;
use crate::credentials::{self, ServerFiles};
use crate::gateway::{Edge, HostName, Proxies, UploadPace};

/// `[listen]`.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Settings {
    /// The address for viewers.
    pub address: SocketAddr,
    /// The address for operators: metrics and health.
    pub operator_address: SocketAddr,
    /// Trusted proxies: their `Forwarded` and `X-Forwarded-*` fields set the public URL and the
    /// client's address.
    pub proxies: Proxies,
    /// Whether rules apply; by default they do if there are any.
    pub access: Option<Mode>,
    /// Consent to listeners that others reach without TLS or without rules.
    pub everybody_may_see_everything: bool,
    /// Allowed host names, besides those in `public_url` and in our certificate.
    pub names: Vec<HostName>,
    /// Concurrent connections of viewers; more are refused.
    pub connections: usize,
    /// Concurrent connections of one client (an IPv4 address or an IPv6 /64), except trusted
    /// proxies; 0: unlimited.
    pub connections_per_client: usize,
    /// The largest request head in KiB.
    pub request_head_kibibytes: usize,
    /// Seconds for a request head to arrive, and for a connection to be idle.
    pub request_head_seconds: u64,
    /// The lowest rate of a request body in bytes per second, averaged over the next setting.
    pub upload_bytes_per_second: u64,
    /// Seconds over which the rate is averaged.
    pub upload_grace_seconds: u64,
    /// Seconds for open streams to end after the shutdown.
    pub drain_seconds: u64,
    /// PEM file of the certificate for viewers; no TLS when absent.
    pub certificate: Option<PathBuf>,
    /// PEM file of its private key.
    pub private_key: Option<PathBuf>,
    /// DER file of the OCSP response about this certificate, which is stapled.
    pub ocsp_response: Option<PathBuf>,
    /// PEM file of the authorities for client certificates.
    pub client_authorities: Option<PathBuf>,
    /// Certificate revocation lists of these authorities, in PEM or DER.
    pub revocation_lists: Vec<PathBuf>,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            address: SocketAddr::from(([127, 0, 0, 1], 8080)),
            operator_address: SocketAddr::from(([127, 0, 0, 1], 9090)),
            proxies: Proxies::default(),
            access: None,
            everybody_may_see_everything: false,
            names: Vec::new(),
            connections: 1024,
            connections_per_client: 256,
            request_head_kibibytes: 64,
            request_head_seconds: 30,
            upload_bytes_per_second: 8192,
            upload_grace_seconds: 30,
            drain_seconds: 30,
            certificate: None,
            private_key: None,
            ocsp_response: None,
            client_authorities: None,
            revocation_lists: Vec::new(),
        }
    }
}

/// `[gateway_listen]`: a listener for partners, with mutual TLS.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct GatewaySettings {
    /// The address for partners.
    pub address: SocketAddr,
    /// Whether rules apply; by default they do if there are any.
    pub access: Option<Mode>,
    /// The URL for partners; `https://` and the address when absent.
    pub public_url: Option<Url>,
    /// PEM file of the certificate for partners.
    pub certificate: PathBuf,
    /// PEM file of its private key.
    pub private_key: PathBuf,
    /// DER file of the OCSP response about this certificate, which is stapled.
    pub ocsp_response: Option<PathBuf>,
    /// PEM file of the authorities for partners' certificates.
    pub client_authorities: PathBuf,
    /// Certificate revocation lists of these authorities, in PEM or DER.
    #[serde(default)]
    pub revocation_lists: Vec<PathBuf>,
    /// Concurrent connections of partners; more are refused.
    #[serde(default = "connections")]
    pub connections: usize,
    /// Concurrent connections of one client; 0: unlimited.
    #[serde(default = "connections_per_partner")]
    pub connections_per_client: usize,
    /// Seconds for a handshake, for a request head to arrive, and for a connection to be idle.
    #[serde(default = "request_head_seconds")]
    pub request_head_seconds: u64,
}

fn connections() -> usize {
    Settings::default().connections
}

/// A gateway opens many connections at once, so a viewer's limit would slow it down.
fn connections_per_partner() -> usize {
    640
}

fn request_head_seconds() -> u64 {
    Settings::default().request_head_seconds
}

impl Settings {
    /// The TLS files for viewers, if TLS is on.
    ///
    /// # Errors
    /// [`credentials::Error::Half`], [`credentials::Error::ListsAlone`] or
    /// [`credentials::Error::StapleAlone`].
    pub fn credentials(&self) -> Result<Option<ServerFiles>, credentials::Error> {
        if self.client_authorities.is_none() && !self.revocation_lists.is_empty() {
            return Err(credentials::Error::ListsAlone);
        }
        if self.certificate.is_none() && self.ocsp_response.is_some() {
            return Err(credentials::Error::StapleAlone);
        }
        match (&self.certificate, &self.private_key) {
            (Some(certificate), Some(private_key)) => Ok(Some(ServerFiles {
                certificate: certificate.clone(),
                private_key: private_key.clone(),
                ocsp_response: self.ocsp_response.clone(),
                client_authorities: self.client_authorities.clone(),
                revocation_lists: self.revocation_lists.clone(),
            })),
            (None, None) if self.client_authorities.is_none() => Ok(None),
            (None | Some(_), _) => Err(credentials::Error::Half),
        }
    }

    /// The limits of requests before routing.
    #[must_use]
    pub fn edge(&self) -> Edge {
        Edge {
            proxies: self.proxies.clone(),
            names: self.names.clone(),
            largest_head: self.request_head_kibibytes << 10,
            uploads: UploadPace {
                bytes_per_second: self.upload_bytes_per_second,
                grace: Duration::from_secs(self.upload_grace_seconds),
            },
        }
    }

    /// The entrance for viewers, on a bound socket.
    #[must_use]
    pub fn entrance(&self, socket: TcpListener, tls: Option<Tls>) -> Entrance {
        Entrance {
            socket,
            tls,
            numbers: Numbers {
                all: self.connections,
                per_client: self.connections_per_client,
                for_this_machine: 0,
                proxies: self.proxies.clone(),
            },
            request_head: Duration::from_secs(self.request_head_seconds),
        }
    }
}

impl GatewaySettings {
    /// The TLS files for partners.
    #[must_use]
    pub fn credentials(&self) -> ServerFiles {
        ServerFiles {
            certificate: self.certificate.clone(),
            private_key: self.private_key.clone(),
            ocsp_response: self.ocsp_response.clone(),
            client_authorities: Some(self.client_authorities.clone()),
            revocation_lists: self.revocation_lists.clone(),
        }
    }

    /// The entrance for partners, on a bound socket.
    #[must_use]
    pub fn entrance(&self, socket: TcpListener, tls: Tls) -> Entrance {
        Entrance {
            socket,
            tls: Some(tls),
            numbers: Numbers {
                all: self.connections,
                per_client: self.connections_per_client,
                ..Numbers::default()
            },
            request_head: Duration::from_secs(self.request_head_seconds),
        }
    }
}
