//! What settings say of the listeners.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use serde::Deserialize;
use tokio::net::TcpListener;
use url::Url;

use super::seats::Numbers;
use super::{Entrance, Tls};
use crate::credentials::{self, ServerFiles};
use crate::gateway::{Edge, HostName, Proxies, UploadPace};

/// `[listen]`.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Settings {
    /// Where viewers connect.
    pub address: SocketAddr,
    /// Where operators connect: metrics and health.
    pub operator_address: SocketAddr,
    /// Proxies that are believed how viewers reach the gateway (`Forwarded`, `X-Forwarded-*`).
    pub proxies: Proxies,
    /// Names that clients call us by, besides those in `public_url` and in our certificate.
    pub names: Vec<HostName>,
    /// Connections of viewers at once; more are turned away.
    pub connections: usize,
    /// Connections of one client at once, an IPv4 address or an IPv6 /64, unless it is a proxy; 0: any
    /// number.
    pub connections_per_client: usize,
    /// KiB that the head of a request may have.
    pub request_head_kibibytes: usize,
    /// Seconds for a request's head to arrive, and for which a connection may be idle.
    pub request_head_seconds: u64,
    /// Bytes that must come of a request's body in each second, on average over the next setting.
    pub upload_bytes_per_second: u64,
    /// Seconds over which that is measured, again and again.
    pub upload_grace_seconds: u64,
    /// Seconds that streams under way have to end when the gateway is told to stop.
    pub drain_seconds: u64,
    /// PEM file of the certificate that viewers are shown; without one there is no TLS.
    pub certificate: Option<PathBuf>,
    /// PEM file of its private key.
    pub private_key: Option<PathBuf>,
    /// PEM file of the authorities that must have signed the certificate of whoever connects.
    pub client_authorities: Option<PathBuf>,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            address: SocketAddr::from(([127, 0, 0, 1], 8080)),
            operator_address: SocketAddr::from(([127, 0, 0, 1], 9090)),
            proxies: Proxies::default(),
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
            client_authorities: None,
        }
    }
}

/// `[gateway_listen]`: a listener for other communities' gateways, with mutual TLS.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct GatewaySettings {
    /// Where partners connect.
    pub address: SocketAddr,
    /// How they reach it; `https://` and the address when absent.
    pub public_url: Option<Url>,
    /// PEM file of the certificate that partners are shown.
    pub certificate: PathBuf,
    /// PEM file of its private key.
    pub private_key: PathBuf,
    /// PEM file of the authorities that must have signed the certificate of a partner.
    pub client_authorities: PathBuf,
    /// Connections of partners at once; more are turned away.
    #[serde(default = "connections")]
    pub connections: usize,
    /// Connections of one client at once; 0: any number.
    #[serde(default = "connections_per_partner")]
    pub connections_per_client: usize,
    /// Seconds for a handshake, for a request's head to arrive, and for which a connection may be
    /// idle.
    #[serde(default = "request_head_seconds")]
    pub request_head_seconds: u64,
}

fn connections() -> usize {
    Settings::default().connections
}

/// A gateway asks for so much at once that a viewer's number would hold it up.
fn connections_per_partner() -> usize {
    640
}

fn request_head_seconds() -> u64 {
    Settings::default().request_head_seconds
}

impl Settings {
    /// What TLS towards viewers needs, if there is to be TLS.
    ///
    /// # Errors
    /// [`credentials::Error::Half`].
    pub fn credentials(&self) -> Result<Option<ServerFiles>, credentials::Error> {
        match (&self.certificate, &self.private_key) {
            (Some(certificate), Some(private_key)) => Ok(Some(ServerFiles {
                certificate: certificate.clone(),
                private_key: private_key.clone(),
                client_authorities: self.client_authorities.clone(),
            })),
            (None, None) if self.client_authorities.is_none() => Ok(None),
            (None | Some(_), _) => Err(credentials::Error::Half),
        }
    }

    /// What goes for requests before anything is known of them.
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

    /// The entrance of viewers, on a socket that is bound already.
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
    /// What TLS towards partners needs.
    #[must_use]
    pub fn credentials(&self) -> ServerFiles {
        ServerFiles {
            certificate: self.certificate.clone(),
            private_key: self.private_key.clone(),
            client_authorities: Some(self.client_authorities.clone()),
        }
    }

    /// The entrance of partners, on a socket that is bound already.
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
