//! The request for an access token: grant type `client_credentials` (RFC 6749 4.4), or the exchange
//! of a user's token (RFC 8693), with a signed assertion (RFC 7523 2.2) or a client secret (RFC 6749
//! 2.3.1).

use std::sync::Arc;
use std::time::Duration;

use http::StatusCode;
use http::header::HeaderValue;
use serde_json::Value;

use super::super::document::{Document, Endpoint, Form};
use super::super::retry_after;
use super::super::settings::{ClientCredentials, TokenExchange};
use super::proof::{Proof, ProofSettings};
use super::user::User;
use crate::credentials::{ClientFiles, Error, RevocationList, Token};
use crate::source;

/// The largest answer of an authorization server.
const LARGEST: usize = 64 << 10;
/// The largest token: servers refuse longer header fields.
const LARGEST_TOKEN: usize = 16 << 10;
/// The lifetime of a token whose answer states none.
const UNSTATED: Duration = Duration::from_secs(60);
const LONGEST: Duration = Duration::from_secs(24 * 60 * 60);
const EXCHANGE: &str = "urn:ietf:params:oauth:grant-type:token-exchange";
const ACCESS_TOKEN: &str = "urn:ietf:params:oauth:token-type:access_token";
const JWT: &str = "urn:ietf:params:oauth:token-type:jwt";

/// The right to ask for access tokens.
pub(in crate::source::client) struct Grant {
    endpoint: Endpoint,
    /// The token URL as settings write it: servers compare it byte for byte.
    audience: String,
    scope: Option<String>,
    proof: Proof,
    exchange: Option<TokenExchange>,
}

/// A request for an access token that can be repeated.
#[derive(Clone)]
pub(super) struct Asking {
    pub(super) grant: Arc<Grant>,
    /// The user whose token is exchanged, if one is.
    pub(super) user: Option<Arc<User>>,
}

/// An access token.
pub(super) struct Issued {
    pub(super) value: HeaderValue,
    pub(super) lifetime: Duration,
}

/// A request without an access token.
#[derive(Debug, Clone, Copy)]
pub(super) struct Failed {
    pub(super) failure: Failure,
    /// The time for which the server asks to be left alone.
    pub(super) retry_after: Option<Duration>,
}

/// Why there is no access token.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Failure {
    /// There is no connection.
    #[error("the authorization server cannot be reached")]
    Unreachable,
    /// It does not answer, or not yet.
    #[error("the authorization server does not answer in time")]
    TimedOut,
    /// It refuses us, with an error code of RFC 6749 5.2.
    #[error("the authorization server answers {0}")]
    Refused(&'static str),
    /// It answers with another status; redirects are not followed.
    #[error("the authorization server answers with status {0}")]
    Status(u16),
    /// Its answer contains no usable token.
    #[error("the answer of the authorization server is malformed")]
    Malformed,
    /// Our assertion cannot be signed.
    #[error("the assertion cannot be signed")]
    Unsigned,
}

impl ClientCredentials {
    fn proof(&self) -> Result<Proof, Error> {
        Proof::load(ProofSettings {
            client_id: &self.client_id,
            private_key: self.private_key.as_deref(),
            key_id: self.key_id.as_deref(),
            client_secret: self.client_secret.as_ref(),
        })
    }
}

impl Grant {
    pub(super) fn load(settings: &ClientCredentials) -> Result<Self, Error> {
        let files = ClientFiles {
            authorities: settings.authorities.clone(),
            revocation_lists: settings.revocation_lists.clone(),
            ..ClientFiles::default()
        };
        Ok(Self {
            endpoint: Endpoint::open(&settings.token_url, &files, &settings.allow_networks)?,
            audience: settings.token_url.clone(),
            scope: settings.scope.clone(),
            proof: settings.proof()?,
            exchange: settings.token_exchange.clone(),
        })
    }

    pub(super) fn revocation_lists(&self) -> &[RevocationList] {
        self.endpoint.revocation_lists()
    }

    /// How the tokens of users are exchanged, if they are.
    pub(super) fn exchange(&self) -> Option<&TokenExchange> {
        self.exchange.as_ref()
    }

    fn form(&self, user: Option<&User>) -> Result<Form, Error> {
        let scope = self.scope.as_deref().map(|scope| ("scope", scope));
        let Some((user, token)) = user.and_then(|user| Some((user, user.token()?))) else {
            let mut fields = vec![("grant_type", "client_credentials")];
            fields.extend(scope);
            return self.proof.form(&self.audience, &fields);
        };
        let actor = self.proof.actor(&self.audience, user.extensions())?;
        let mut fields = vec![
            ("grant_type", EXCHANGE),
            ("subject_token", token.text()),
            ("subject_token_type", ACCESS_TOKEN),
            ("requested_token_type", ACCESS_TOKEN),
        ];
        if let Some(actor) = &actor {
            fields.extend([("actor_token", actor.as_str()), ("actor_token_type", JWT)]);
        }
        if let Some(exchange) = &self.exchange {
            let audience = exchange.audience.as_deref();
            fields.extend(audience.map(|audience| ("audience", audience)));
            let resource = exchange.resource.as_deref();
            fields.extend(resource.map(|resource| ("resource", resource)));
        }
        fields.extend(scope);
        self.proof.form(&self.audience, &fields)
    }
}

impl Asking {
    /// Asks for a token once.
    pub(super) async fn fetch(&self) -> Result<Issued, Failed> {
        let form = self.grant.form(self.user.as_deref());
        let form = form.map_err(|_unsigned| Failure::Unsigned)?;
        let answer = self.grant.endpoint.post(form, LARGEST).await;
        let answer = answer.map_err(|error| Failure::of(&error))?;
        issued(&answer).map_err(|failure| Failed {
            failure,
            retry_after: retry_after(&answer.headers),
        })
    }
}

/// The token in an answer (RFC 6749 5.1).
fn issued(document: &Document) -> Result<Issued, Failure> {
    let body = document.body.as_deref();
    let answer: Option<Value> = body.and_then(|body| serde_json::from_slice(body).ok());
    if document.status != StatusCode::OK {
        return Err(refusal(document.status, answer.as_ref()));
    }
    let answer = answer.ok_or(Failure::Malformed)?;
    let is_bearer = |kind: &str| kind.eq_ignore_ascii_case("bearer");
    if !answer["token_type"].as_str().is_some_and(is_bearer) {
        return Err(Failure::Malformed);
    }
    let token = answer["access_token"].as_str();
    let token = token.filter(|token| token.len() <= LARGEST_TOKEN);
    let token = token.and_then(Token::parse).ok_or(Failure::Malformed)?;
    Ok(Issued {
        value: token.authorization(),
        lifetime: lifetime(&answer["expires_in"]).ok_or(Failure::Malformed)?,
    })
}

/// A number of seconds; some servers write it as a string.
fn lifetime(stated: &Value) -> Option<Duration> {
    if stated.is_null() {
        return Some(UNSTATED);
    }
    let text = stated.as_str().and_then(|text| text.parse().ok());
    let seconds = stated
        .as_f64()
        .or(text)
        .filter(|seconds: &f64| *seconds > 0.0)?;
    let lifetime = Duration::try_from_secs_f64(seconds).unwrap_or(LONGEST);
    Some(lifetime.min(LONGEST))
}

/// Only codes of RFC 6749 5.2 and RFC 8693 2.2.2 are told: any other text could repeat what we sent.
fn refusal(status: StatusCode, answer: Option<&Value>) -> Failure {
    const CODES: [&str; 7] = [
        "invalid_request",
        "invalid_client",
        "invalid_grant",
        "unauthorized_client",
        "unsupported_grant_type",
        "invalid_scope",
        "invalid_target",
    ];
    let code = answer.and_then(|answer| answer["error"].as_str());
    let known = code.and_then(|code| CODES.into_iter().find(|known| *known == code));
    known.map_or(Failure::Status(status.as_u16()), Failure::Refused)
}

impl Failure {
    fn of(error: &source::Error) -> Self {
        if *error == source::Error::TimedOut {
            return Self::TimedOut;
        }
        Self::Unreachable
    }
}

impl From<Failure> for Failed {
    fn from(failure: Failure) -> Self {
        Self {
            failure,
            retry_after: None,
        }
    }
}
