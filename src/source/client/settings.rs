//! The connection settings of a source.

use std::path::PathBuf;

use rustls::ClientConfig;
use serde::Deserialize;

use crate::credentials::{ClientFiles, TokenSource};
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
    /// Whether a spare connection is kept. Settings files cannot say otherwise: only tests that count
    /// connections do.
    #[serde(skip)]
    pub keeps_spare: bool,
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
            keeps_spare: true,
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

    /// Whether the server decides for each user.
    #[must_use]
    pub fn is_per_user(&self) -> bool {
        let authorization = self.authorization.as_ref();
        authorization.is_some_and(AuthorizationSettings::is_per_user)
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

/// What a client sends to identify itself.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum AuthorizationSettings {
    /// A bearer token that stays the same.
    Token(TokenSource),
    /// HTTP basic authentication (RFC 7617).
    Basic(Basic),
    /// An access token from an authorization server.
    ClientCredentials(Box<ClientCredentials>),
    /// The access token of the user, as it came.
    PassThrough,
}

/// A user and a password.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Basic {
    /// The user.
    pub user: String,
    /// The place of the password.
    pub password: TokenSource,
}

/// The settings of OAuth 2 client credentials.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ClientCredentials {
    /// The token endpoint; also the audience of assertions.
    pub token_url: String,
    /// Our client id.
    pub client_id: String,
    /// The scopes to ask for, separated by blanks.
    pub scope: Option<String>,
    /// PEM file of the private key for assertions (`private_key_jwt`).
    pub private_key: Option<PathBuf>,
    /// The `kid` of this key.
    pub key_id: Option<String>,
    /// The client secret instead (`client_secret_basic`).
    pub client_secret: Option<TokenSource>,
    /// If the source decides for each user: how their tokens are exchanged for tokens for it.
    pub token_exchange: Option<TokenExchange>,
    /// PEM file of the authorities for the endpoint's certificate; the system's when absent.
    pub authorities: Option<PathBuf>,
    /// Certificate revocation lists of these authorities.
    #[serde(default)]
    pub revocation_lists: Vec<PathBuf>,
    /// Internal networks that the endpoint's name may resolve to.
    #[serde(default)]
    pub allow_networks: Vec<Network>,
}

/// The settings of a token exchange (RFC 8693 2.1).
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TokenExchange {
    /// `audience`: the source by its name at the authorization server.
    pub audience: Option<String>,
    /// `resource`: the source by its URL.
    pub resource: Option<String>,
    /// What is sent for a request that names no user, or whose user has no token.
    #[serde(default)]
    pub without_user: WithoutUser,
}

/// What a source gets that decides for each user, for a request without a user's token.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum WithoutUser {
    /// Nothing: the request fails.
    #[default]
    Refuse,
    /// The access token of the gateway itself.
    ClientCredentials,
}

impl AuthorizationSettings {
    /// Whether what is sent depends on the user.
    #[must_use]
    pub fn is_per_user(&self) -> bool {
        match self {
            Self::Token(_) | Self::Basic(_) => false,
            Self::ClientCredentials(settings) => settings.token_exchange.is_some(),
            Self::PassThrough => true,
        }
    }

    /// Its files.
    pub fn paths(&self) -> Vec<&PathBuf> {
        match self {
            Self::Token(token) => token.file().into_iter().collect(),
            Self::Basic(basic) => basic.password.file().into_iter().collect(),
            Self::ClientCredentials(settings) => settings.paths(),
            Self::PassThrough => Vec::new(),
        }
    }

    /// Its files, mutable.
    pub fn paths_mut(&mut self) -> Vec<&mut PathBuf> {
        match self {
            Self::Token(token) => token.file_mut().into_iter().collect(),
            Self::Basic(basic) => basic.password.file_mut().into_iter().collect(),
            Self::ClientCredentials(settings) => settings.paths_mut(),
            Self::PassThrough => Vec::new(),
        }
    }

    /// The URL of the authorization server, if there is one.
    #[must_use]
    pub fn token_url(&self) -> Option<&str> {
        match self {
            Self::Token(_) | Self::Basic(_) | Self::PassThrough => None,
            Self::ClientCredentials(settings) => Some(&settings.token_url),
        }
    }
}

impl ClientCredentials {
    fn paths(&self) -> Vec<&PathBuf> {
        let secret = self.client_secret.as_ref().and_then(TokenSource::file);
        let files = [&self.private_key, &self.authorities];
        files
            .into_iter()
            .flatten()
            .chain(secret)
            .chain(&self.revocation_lists)
            .collect()
    }

    fn paths_mut(&mut self) -> Vec<&mut PathBuf> {
        let secret = self.client_secret.as_mut().and_then(TokenSource::file_mut);
        let files = [&mut self.private_key, &mut self.authorities];
        let files = files.into_iter().flatten().chain(secret);
        files.chain(&mut self.revocation_lists).collect()
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

impl HttpVersion {
    /// The same TLS settings, with what is offered by ALPN.
    pub(super) fn offered(self, tls: &ClientConfig) -> ClientConfig {
        let mut tls = tls.clone();
        if self == Self::Http2 {
            tls.alpn_protocols = vec![b"h2".to_vec()];
        }
        tls
    }
}
