//! How a client identifies itself to a server in each request: a token, a password, or an access
//! token that an authorization server issues (OAuth 2 client credentials, RFC 6749 4.4).

mod grant;
mod proof;
mod tokens;

use std::fmt;
use std::sync::Arc;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use http::HeaderValue;

pub use grant::Failure;
pub(super) use grant::Grant;
pub use proof::{Proof, ProofSettings};
pub(super) use tokens::Tokens;
pub use tokens::pause_after;

use super::settings::{AuthorizationSettings, Basic};
use crate::credentials::{Error, RevocationList};
use crate::source;

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
            Self::Granted { grant, .. } => grant.revocation_lists().to_vec(),
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
