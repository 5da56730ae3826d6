//! `[[issuer]]`: an authorization server whose access tokens are accepted.

use std::path::PathBuf;

use jsonwebtoken::Algorithm;
use serde::Deserialize;

use crate::budget::ByteSize;
use crate::credentials::{ClientFiles, TokenSource};
use crate::network::Network;

/// An authorization server whose access tokens are accepted.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct IssuerSettings {
    /// Its place among the tables.
    #[serde(skip)]
    pub position: usize,
    /// Its name in rules, metrics and logs.
    pub name: String,
    /// `iss` of its tokens, compared exactly.
    pub issuer: String,
    /// The value that `aud` of its tokens contains: our identifier as a resource server.
    pub audience: String,
    /// The accepted signature algorithms; by default all asymmetric ones, or HS256 with a secret.
    pub algorithms: Option<Vec<Algorithm>>,
    /// The URL of its keys (JWK set).
    pub jwks_url: Option<String>,
    /// A file with its keys instead.
    pub jwks_file: Option<PathBuf>,
    /// A secret shared with it instead, for HS256.
    pub secret: Option<TokenSource>,
    /// The URL at which it answers about tokens instead (RFC 7662).
    pub introspection_url: Option<String>,
    /// Seconds for which such an answer counts; at most 60.
    #[serde(default = "IssuerSettings::longest_introspection")]
    pub introspection_seconds: u64,
    /// Our client id for the introspection.
    pub client_id: Option<String>,
    /// Our client secret for the introspection.
    pub client_secret: Option<TokenSource>,
    /// PEM file of our private key for the introspection instead (`private_key_jwt`).
    pub private_key: Option<PathBuf>,
    /// The `kid` of this key.
    pub key_id: Option<String>,
    /// PEM file of the authorities for its server's certificate; the system's when absent.
    pub authorities: Option<PathBuf>,
    /// Certificate revocation lists of these authorities.
    #[serde(default)]
    pub revocation_lists: Vec<PathBuf>,
    /// Internal networks that its server's name may resolve to.
    #[serde(default)]
    pub allow_networks: Vec<Network>,
    /// Whether its server may be asked over http.
    #[serde(default)]
    pub in_clear: bool,
    /// Seconds by which its clock may differ from ours; at most 300.
    #[serde(default = "IssuerSettings::usual_skew")]
    pub clock_skew_seconds: u32,
    /// The largest accepted token.
    #[serde(default = "IssuerSettings::usual_size")]
    pub largest_token: ByteSize,
    /// The clients whose tokens are accepted (`client_id`, `azp`); all when empty.
    #[serde(default)]
    pub authorized_parties: Vec<String>,
    /// The issuer of the patient identifiers in the SMART claim `patient`, which is ignored without
    /// it.
    pub patient_issuer: Option<String>,
}

impl IssuerSettings {
    /// What [`IssuerSettings::introspection_seconds`] is at most.
    pub(super) const fn longest_introspection() -> u64 {
        60
    }

    const fn usual_skew() -> u32 {
        60
    }

    const fn usual_size() -> ByteSize {
        ByteSize(8 << 10)
    }

    /// The TLS files for its server.
    pub(super) fn files(&self) -> ClientFiles {
        ClientFiles {
            authorities: self.authorities.clone(),
            revocation_lists: self.revocation_lists.clone(),
            ..ClientFiles::default()
        }
    }

    /// The files with secrets.
    pub fn secret_files(&self) -> impl Iterator<Item = &PathBuf> {
        let secrets = self.secret.iter().chain(&self.client_secret);
        secrets
            .filter_map(TokenSource::file)
            .chain(&self.private_key)
    }

    /// All paths, mutable.
    pub fn files_mut(&mut self) -> impl Iterator<Item = &mut PathBuf> {
        let secrets = self.secret.iter_mut().chain(&mut self.client_secret);
        let files = [
            &mut self.jwks_file,
            &mut self.private_key,
            &mut self.authorities,
        ];
        secrets
            .filter_map(TokenSource::file_mut)
            .chain(files.into_iter().flatten())
            .chain(&mut self.revocation_lists)
    }
}
