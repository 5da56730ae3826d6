//! `[login]`: persons in a browser log in at an OpenID Provider.

use std::path::PathBuf;
use std::time::Duration;

use serde::Deserialize;
use url::Url;

use crate::access::token::IssuerSettings;
use crate::budget::ByteSize;
use crate::credentials::{ClientFiles, TokenSource};
use crate::network::Network;

/// `[login]`.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LoginSettings {
    /// The provider's name in rules, metrics and logs.
    #[serde(default = "LoginSettings::usual_name")]
    pub name: String,
    /// The provider's issuer; its metadata are below `/.well-known/openid-configuration`.
    pub issuer: String,
    /// Our client id.
    pub client_id: String,
    /// Our client secret; a client without proof is a public one.
    pub client_secret: Option<TokenSource>,
    /// PEM file of our private key instead (`private_key_jwt`).
    pub private_key: Option<PathBuf>,
    /// The `kid` of this key.
    pub key_id: Option<String>,
    /// The scopes to ask for, besides `openid`.
    #[serde(default)]
    pub scopes: Vec<String>,
    /// The origins, besides our own, whose pages may use a session.
    #[serde(default)]
    pub origins: Vec<Origin>,
    /// Hours after which a person logs in again.
    #[serde(default)]
    pub session_hours: Hours,
    /// PEM file of the authorities for the provider's certificate; the system's when absent.
    pub authorities: Option<PathBuf>,
    /// Certificate revocation lists of these authorities.
    #[serde(default)]
    pub revocation_lists: Vec<PathBuf>,
    /// Internal networks that the provider's name may resolve to.
    #[serde(default)]
    pub allow_networks: Vec<Network>,
    /// Whether the provider may be asked over http.
    #[serde(default)]
    pub in_clear: bool,
}

/// An origin, as browsers write it (RFC 6454 6.2).
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub struct Origin(String);

/// The text is not an origin.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not an origin (https://viewer.example.org)")]
pub struct NotAnOrigin;

/// The length of a session, in hours: a week at most.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(try_from = "u64")]
pub struct Hours(u64);

/// The number is not the length of a session.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a session has 1 to 168 hours")]
pub struct NotASession;

impl Origin {
    pub(super) fn as_str(&self) -> &str {
        &self.0
    }
}

impl TryFrom<String> for Origin {
    type Error = NotAnOrigin;

    fn try_from(text: String) -> Result<Self, NotAnOrigin> {
        let url = Url::parse(&text).map_err(|_invalid| NotAnOrigin)?;
        let origin = url.origin();
        let is_origin = origin.is_tuple() && origin.ascii_serialization() == text;
        is_origin.then_some(Self(text)).ok_or(NotAnOrigin)
    }
}

impl Hours {
    pub(super) fn length(self) -> Duration {
        Duration::from_secs(self.0 * 3600)
    }
}

impl Default for Hours {
    fn default() -> Self {
        Self(8)
    }
}

impl TryFrom<u64> for Hours {
    type Error = NotASession;

    fn try_from(hours: u64) -> Result<Self, NotASession> {
        let is_fine = (1..=168).contains(&hours);
        is_fine.then_some(Self(hours)).ok_or(NotASession)
    }
}

impl LoginSettings {
    fn usual_name() -> String {
        "login".to_owned()
    }

    /// The files with secrets.
    pub fn secret_files(&self) -> impl Iterator<Item = &PathBuf> {
        let secret = self.client_secret.as_ref().and_then(TokenSource::file);
        secret.into_iter().chain(&self.private_key)
    }

    /// All paths, mutable.
    pub fn files_mut(&mut self) -> impl Iterator<Item = &mut PathBuf> {
        let secret = self.client_secret.as_mut();
        let files = [&mut self.private_key, &mut self.authorities];
        secret
            .and_then(TokenSource::file_mut)
            .into_iter()
            .chain(files.into_iter().flatten())
            .chain(&mut self.revocation_lists)
    }

    pub(super) fn files(&self) -> ClientFiles {
        ClientFiles {
            authorities: self.authorities.clone(),
            revocation_lists: self.revocation_lists.clone(),
            ..ClientFiles::default()
        }
    }

    /// The provider as an issuer of tokens for us, with the URL of its keys.
    pub(super) fn issuer(&self, jwks_url: String) -> IssuerSettings {
        IssuerSettings {
            position: 0,
            name: self.name.clone(),
            issuer: self.issuer.clone(),
            audience: self.client_id.clone(),
            algorithms: None,
            jwks_url: Some(jwks_url),
            jwks_file: None,
            secret: None,
            introspection_url: None,
            introspection_seconds: 0,
            client_id: None,
            client_secret: None,
            private_key: None,
            key_id: None,
            authorities: self.authorities.clone(),
            revocation_lists: self.revocation_lists.clone(),
            allow_networks: self.allow_networks.clone(),
            in_clear: self.in_clear,
            clock_skew_seconds: 60,
            largest_token: ByteSize(16 << 10),
            authorized_parties: Vec::new(),
            patient_issuer: None,
        }
    }
}
