//! How a client identifies itself to a server in each request: a token, a password, or an access
//! token that an authorization server issues (OAuth 2 client credentials, RFC 6749 4.4).

mod grant;
mod tokens;

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use http::HeaderValue;
use serde::Deserialize;

pub(super) use grant::Grant;
pub use grant::{ClientCredentials, Failure};
pub(super) use tokens::Tokens;

use crate::credentials::{Error, RevocationList, TokenSource};
use crate::source;

/// The settings.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum AuthorizationSettings {
    /// A bearer token that stays the same.
    Token(TokenSource),
    /// HTTP basic authentication (RFC 7617).
    Basic(Basic),
    /// An access token from an authorization server.
    ClientCredentials(Box<ClientCredentials>),
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

/// What a client sends.
#[derive(Clone)]
pub(super) enum Authorization {
    None,
    Fixed(HeaderValue),
    Granted {
        tokens: Arc<Tokens>,
        grant: Arc<Grant>,
    },
}

/// The `Authorization` field of a request.
#[derive(Clone)]
pub(super) struct Shown {
    pub(super) value: Option<HeaderValue>,
    /// The number of the access token in it.
    pub(super) token: Option<u64>,
}

impl AuthorizationSettings {
    /// Its files.
    pub fn paths(&self) -> Vec<&PathBuf> {
        match self {
            Self::Token(token) => token.file().into_iter().collect(),
            Self::Basic(basic) => basic.password.file().into_iter().collect(),
            Self::ClientCredentials(settings) => settings.paths(),
        }
    }

    /// Its files, mutable.
    pub fn paths_mut(&mut self) -> Vec<&mut PathBuf> {
        match self {
            Self::Token(token) => token.file_mut().into_iter().collect(),
            Self::Basic(basic) => basic.password.file_mut().into_iter().collect(),
            Self::ClientCredentials(settings) => settings.paths_mut(),
        }
    }

    /// The URL of the authorization server, if there is one.
    #[must_use]
    pub fn token_url(&self) -> Option<&str> {
        match self {
            Self::Token(_) | Self::Basic(_) => None,
            Self::ClientCredentials(settings) => Some(&settings.token_url),
        }
    }
}

impl Basic {
    fn field(&self) -> Result<HeaderValue, Error> {
        if self.user.contains(':') || self.user.chars().any(char::is_control) {
            return Err(Error::NotASecret);
        }
        Ok(basic(&self.user, &self.password.secret()?))
    }
}

/// The field for a user and a password (RFC 7617 2).
fn basic(user: &str, password: &str) -> HeaderValue {
    let encoded = BASE64_STANDARD.encode(format!("{user}:{password}"));
    let mut value = HeaderValue::try_from(format!("Basic {encoded}"))
        .expect("Base64 has only visible characters");
    value.set_sensitive(true);
    value
}

impl Authorization {
    /// Reads the secrets.
    pub(super) fn load(
        settings: Option<&AuthorizationSettings>,
        tokens: &Arc<Tokens>,
    ) -> Result<Self, Error> {
        Ok(match settings {
            None => Self::None,
            Some(AuthorizationSettings::Token(token)) => Self::Fixed(token.load()?.authorization()),
            Some(AuthorizationSettings::Basic(basic)) => Self::Fixed(basic.field()?),
            Some(AuthorizationSettings::ClientCredentials(settings)) => Self::Granted {
                tokens: Arc::clone(tokens),
                grant: Arc::new(Grant::load(settings)?),
            },
        })
    }

    /// The field for a request; waits for an access token for less than a second.
    pub(super) async fn show(&self) -> Result<Shown, source::Error> {
        match self {
            Self::None => Ok(Shown {
                value: None,
                token: None,
            }),
            Self::Fixed(value) => Ok(Shown {
                value: Some(value.clone()),
                token: None,
            }),
            Self::Granted { tokens, grant } => tokens.current(grant).await,
        }
    }

    /// The field for one repetition, after the server has rejected an access token.
    pub(super) async fn renew(&self, rejected: Option<u64>) -> Option<Shown> {
        match (self, rejected) {
            (Self::Granted { tokens, grant }, Some(rejected)) => {
                tokens.replace(grant, rejected).await
            }
            (Self::None | Self::Fixed(_) | Self::Granted { .. }, _) => None,
        }
    }

    /// The certificate revocation lists for the authorization server.
    pub(super) fn revocation_lists(&self) -> Vec<RevocationList> {
        match self {
            Self::None | Self::Fixed(_) => Vec::new(),
            Self::Granted { grant, .. } => grant.revocation_lists.clone(),
        }
    }

    /// Fetches the first access token, if any is needed.
    pub(super) fn prepare(&self) {
        if let Self::Granted { tokens, grant } = self {
            tokens.prepare(grant);
        }
    }
}

impl fmt::Debug for Authorization {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Authorization(…)")
    }
}
