//! The connection settings of a source.

use std::path::PathBuf;

use serde::Deserialize;

use super::authorization::AuthorizationSettings;
use crate::credentials::ClientFiles;
use crate::network::Network;

/// The connection settings of a source.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Settings {
    /// Seconds to connect.
    pub connect_seconds: u64,
    /// Seconds until the answer begins, without connecting.
    pub first_byte_seconds: u64,
    /// Seconds of silence in an answer.
    pub silence_seconds: u64,
    /// The lowest rate of an answer, in bytes per second, while a reader waits; 0: no limit. It may
    /// be slower for `silence_seconds`.
    pub slowest_bytes_per_second: u64,
    /// PEM file of the authorities for the server's certificate; the system's when absent.
    pub authorities: Option<PathBuf>,
    /// PEM file of our client certificate and its intermediates.
    pub certificate: Option<PathBuf>,
    /// PEM file of its private key.
    pub private_key: Option<PathBuf>,
    /// Certificate revocation lists of the authorities, in PEM or DER.
    pub revocation_lists: Vec<PathBuf>,
    /// What we send with each request, if the server requires it.
    pub authorization: Option<AuthorizationSettings>,
    /// Whether that may be sent over http too.
    pub authorization_in_clear: bool,
    /// Internal networks that its name may resolve to.
    pub allow_networks: Vec<Network>,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            connect_seconds: 5,
            first_byte_seconds: 60,
            silence_seconds: 30,
            slowest_bytes_per_second: 1024,
            authorities: None,
            certificate: None,
            private_key: None,
            revocation_lists: Vec::new(),
            authorization: None,
            authorization_in_clear: false,
            allow_networks: Vec::new(),
        }
    }
}

impl Settings {
    /// All paths, mutable.
    pub fn files_mut(&mut self) -> impl Iterator<Item = &mut PathBuf> {
        let files = [
            &mut self.authorities,
            &mut self.certificate,
            &mut self.private_key,
        ];
        files
            .into_iter()
            .flatten()
            .chain(&mut self.revocation_lists)
            .chain(
                self.authorization
                    .iter_mut()
                    .flat_map(AuthorizationSettings::paths_mut),
            )
    }

    /// Whether a secret would travel without TLS to one of these servers or to the authorization
    /// server, and the settings do not allow that.
    #[must_use]
    pub fn would_tell_secrets<'a>(&'a self, servers: impl IntoIterator<Item = &'a str>) -> bool {
        let Some(authorization) = &self.authorization else {
            return false;
        };
        let mut all = servers.into_iter().chain(authorization.token_url());
        let is_clear = |url: &str| !url.trim_start().to_ascii_lowercase().starts_with("https:");
        !self.authorization_in_clear && all.any(is_clear)
    }

    /// The files for TLS.
    #[must_use]
    pub fn credentials(&self) -> ClientFiles {
        ClientFiles {
            authorities: self.authorities.clone(),
            certificate: self.certificate.clone(),
            private_key: self.private_key.clone(),
            revocation_lists: self.revocation_lists.clone(),
        }
    }
}

/// The HTTP version for a server.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(try_from = "u8")]
pub enum HttpVersion {
    /// HTTP/1.1, over several connections.
    #[default]
    Http1,
    /// HTTP/2, over a few connections.
    Http2,
}

/// An unknown HTTP version.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the HTTP version must be 1 or 2")]
pub struct UnknownVersion;

impl TryFrom<u8> for HttpVersion {
    type Error = UnknownVersion;

    fn try_from(number: u8) -> Result<Self, UnknownVersion> {
        match number {
            1 => Ok(Self::Http1),
            2 => Ok(Self::Http2),
            _ => Err(UnknownVersion),
        }
    }
}
