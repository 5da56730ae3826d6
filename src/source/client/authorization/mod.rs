//! How a client identifies itself to a server in each request: a token, a password, or an access
//! token that an authorization server issues (OAuth 2 client credentials, RFC 6749 4.4); and how it
//! identifies the user, to a server that decides for each of them.

mod grant;
mod proof;
mod tokens;
mod user;

use std::fmt;
use std::sync::Arc;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use http::HeaderValue;

pub use grant::Failure;
pub(super) use grant::Grant;
pub use proof::{Proof, ProofSettings};
pub(super) use tokens::Purse;
pub use tokens::pause_after;
pub use user::User;

use super::settings::{AuthorizationSettings, Basic, WithoutUser};
use crate::credentials::{Error, RevocationList};
use crate::source;
use grant::Asking;
use tokens::Tokens;

/// What a client sends.
#[derive(Clone)]
pub(super) enum Authorization {
    None,
    Fixed(HeaderValue),
    Granted {
        purse: Arc<Purse>,
        grant: Arc<Grant>,
    },
    PassedThrough,
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
        purse: &Arc<Purse>,
    ) -> Result<Self, Error> {
        Ok(match settings {
            None => Self::None,
            Some(AuthorizationSettings::Token(token)) => Self::Fixed(token.load()?.authorization()),
            Some(AuthorizationSettings::Basic(basic)) => Self::Fixed(basic.field()?),
            Some(AuthorizationSettings::ClientCredentials(settings)) => Self::Granted {
                purse: Arc::clone(purse),
                grant: Arc::new(Grant::load(settings)?),
            },
            Some(AuthorizationSettings::PassThrough) => Self::PassedThrough,
        })
    }

    /// Whether what is sent depends on the user.
    pub(super) fn is_per_user(&self) -> bool {
        match self {
            Self::None | Self::Fixed(_) => false,
            Self::Granted { grant, .. } => grant.exchange().is_some(),
            Self::PassedThrough => true,
        }
    }

    /// The field for a request; waits for an access token for less than a second. Without a user, it
    /// is a harmless request that needs none.
    pub(super) async fn show(&self, user: Option<&Arc<User>>) -> Result<Shown, source::Error> {
        match self {
            Self::None => Ok(Shown::nothing()),
            Self::Fixed(value) => Ok(Shown {
                value: Some(value.clone()),
                token: None,
            }),
            Self::Granted { purse, grant } => match asking(purse, grant, user)? {
                Some((tokens, asking)) => {
                    let shown = tokens.current(&asking).await;
                    shown.map_err(|error| asking.blame(error))
                }
                None => Ok(Shown::nothing()),
            },
            Self::PassedThrough => passed_through(user),
        }
    }

    /// The field for one repetition, after the server has rejected an access token.
    pub(super) async fn renew(
        &self,
        user: Option<&Arc<User>>,
        rejected: Option<u64>,
    ) -> Option<Shown> {
        match (self, rejected) {
            (Self::Granted { purse, grant }, Some(rejected)) => {
                let (tokens, asking) = asking(purse, grant, user).ok().flatten()?;
                tokens.replace(&asking, rejected).await
            }
            (Self::None | Self::Fixed(_) | Self::Granted { .. } | Self::PassedThrough, _) => None,
        }
    }

    /// The certificate revocation lists for the authorization server.
    pub(super) fn revocation_lists(&self) -> Vec<RevocationList> {
        match self {
            Self::None | Self::Fixed(_) | Self::PassedThrough => Vec::new(),
            Self::Granted { grant, .. } => grant.revocation_lists().to_vec(),
        }
    }

    /// Fetches the first access token of our own, if any is needed.
    pub(super) fn prepare(&self) {
        if let Self::Granted { purse, grant } = self
            && let Ok(Some((tokens, asking))) = asking(purse, grant, None)
        {
            tokens.prepare(&asking);
        }
    }
}

/// Whose access token a request needs; `None`: it can do without one.
fn asking(
    purse: &Purse,
    grant: &Arc<Grant>,
    user: Option<&Arc<User>>,
) -> Result<Option<(Arc<Tokens>, Asking)>, source::Error> {
    let grant = Arc::clone(grant);
    let without_user = grant.exchange().map(|exchange| exchange.without_user);
    let with_token = user.filter(|user| user.token().is_some());
    match (without_user, with_token) {
        (Some(_), Some(user)) => {
            let user = Arc::clone(user);
            Ok(Some((
                purse.of(&user),
                Asking {
                    grant,
                    user: Some(user),
                },
            )))
        }
        (None, _) | (Some(WithoutUser::ClientCredentials), None) => Ok(Some((
            Arc::clone(purse.own()),
            Asking { grant, user: None },
        ))),
        (Some(WithoutUser::Refuse), None) => match user {
            Some(_) => Err(source::Error::NotForUser(NO_TOKEN)),
            None => Ok(None),
        },
    }
}

fn passed_through(user: Option<&Arc<User>>) -> Result<Shown, source::Error> {
    let Some(user) = user else {
        return Ok(Shown::nothing());
    };
    let token = user.token().ok_or(source::Error::NotForUser(NO_TOKEN))?;
    Ok(Shown {
        value: Some(token.authorization()),
        token: None,
    })
}

impl Asking {
    /// An authorization server that refuses a user's token refuses the user (RFC 8693 2.2.2).
    fn blame(&self, error: source::Error) -> source::Error {
        let is_refusal = matches!(
            error,
            source::Error::NoToken {
                failure: Failure::Refused("invalid_grant" | "invalid_request"),
                ..
            }
        );
        match is_refusal && self.user.is_some() {
            true => source::Error::NotForUser(REFUSED),
            false => error,
        }
    }
}

/// Why a source that decides for each user is not asked.
const NO_TOKEN: &str = "the request has no access token of a user";
const REFUSED: &str = "the authorization server refuses the user's token";

impl Shown {
    fn nothing() -> Self {
        Self {
            value: None,
            token: None,
        }
    }
}

impl fmt::Debug for Authorization {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Authorization(…)")
    }
}
