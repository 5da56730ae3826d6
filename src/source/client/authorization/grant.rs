//! The request for an access token: grant type `client_credentials` (RFC 6749 4.4), with a signed
//! assertion (RFC 7523 2.2) or a client secret (RFC 6749 2.3.1).

use std::time::Duration;

use bytes::Bytes;
use http::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE, HeaderValue, USER_AGENT};
use http::{Method, Request, StatusCode, Uri};
use http_body_util::Full;
use serde_json::Value;
use tokio::time::Instant;
use url::form_urlencoded;

use super::super::connector::Connector;
use super::super::patience::Patience;
use super::super::pool::Pool;
use super::super::response::{Response, ResponseBody};
use super::super::settings::{ClientCredentials, HttpVersion};
use super::super::{AGENT, retry_after};
use super::basic;
use crate::credentials::{ClientFiles, Error, RevocationList, SigningKey, Token};
use crate::source;
use crate::source::resolver::Resolver;

const CONNECT: Duration = Duration::from_secs(5);
const SILENCE: Duration = Duration::from_secs(5);
/// The largest answer of an authorization server.
const LARGEST: usize = 64 << 10;
/// The largest token: servers refuse longer header fields.
const LARGEST_TOKEN: usize = 16 << 10;
/// The lifetime of a token whose answer states none.
const UNSTATED: Duration = Duration::from_secs(60);
const LONGEST: Duration = Duration::from_secs(24 * 60 * 60);

/// The right to ask for access tokens.
pub(in crate::source::client) struct Grant {
    uri: Uri,
    /// The token URL as settings write it: servers compare it byte for byte.
    audience: String,
    client_id: String,
    scope: Option<String>,
    proof: Proof,
    pool: Pool,
    pub(in crate::source::client) revocation_lists: Vec<RevocationList>,
}

enum Proof {
    Assertion(SigningKey),
    Secret(HeaderValue),
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
        match (&self.private_key, &self.client_secret) {
            (Some(key), None) => {
                let key = SigningKey::load(key, self.key_id.as_deref())?;
                Ok(Proof::Assertion(key))
            }
            (None, Some(secret)) => {
                // RFC 6749 2.3.1: both are encoded like a form first.
                let encode = |text: &str| -> String {
                    form_urlencoded::byte_serialize(text.as_bytes()).collect()
                };
                let secret = encode(&secret.secret()?);
                Ok(Proof::Secret(basic(&encode(&self.client_id), &secret)))
            }
            (None, None) | (Some(_), Some(_)) => Err(Error::NoProof),
        }
    }
}

impl Grant {
    pub(super) fn load(settings: &ClientCredentials) -> Result<Self, Error> {
        let files = ClientFiles {
            authorities: settings.authorities.clone(),
            revocation_lists: settings.revocation_lists.clone(),
            ..ClientFiles::default()
        };
        let tls = files.load()?;
        let uri: Uri = settings
            .token_url
            .parse()
            .map_err(|_invalid| Error::NotATokenUrl)?;
        if !matches!(uri.scheme_str(), Some("http" | "https")) || uri.host().is_none() {
            return Err(Error::NotATokenUrl);
        }
        let names = Resolver::new(&settings.allow_networks);
        let connector = Connector::new(names, tls.value, CONNECT);
        Ok(Self {
            uri,
            audience: settings.token_url.clone(),
            client_id: settings.client_id.clone(),
            scope: settings.scope.clone(),
            proof: settings.proof()?,
            pool: Pool::new(HttpVersion::Http1, connector, CONNECT, false),
            revocation_lists: tls.revocation_lists,
        })
    }

    /// Asks for a token once.
    pub(super) async fn fetch(&self) -> Result<Issued, Failed> {
        let request = self.request().ok_or(Failure::Unsigned)?;
        // A connection of its own: the server may close an idle one at any time.
        let sent = self.pool.send(request, Some(Instant::now())).await;
        let (head, incoming) = sent
            .map_err(|error| Failure::of(&error.into()))?
            .into_parts();
        let response = Response {
            status: head.status,
            headers: head.headers,
            body: ResponseBody::new(incoming, Patience::new(SILENCE, 0)),
        };
        let wait = retry_after(&response.headers);
        let issued = issued(response).await;
        issued.map_err(|failure| Failed {
            failure,
            retry_after: wait,
        })
    }

    fn request(&self) -> Option<Request<Full<Bytes>>> {
        let mut form = form_urlencoded::Serializer::new(String::new());
        form.append_pair("grant_type", "client_credentials");
        if let Some(scope) = &self.scope {
            form.append_pair("scope", scope);
        }
        let mut request = Request::new(Full::default());
        *request.method_mut() = Method::POST;
        *request.uri_mut() = self.uri.clone();
        let headers = request.headers_mut();
        headers.insert(ACCEPT, HeaderValue::from_static("application/json"));
        headers.insert(USER_AGENT, HeaderValue::from_static(AGENT));
        headers.insert(CONTENT_TYPE, HeaderValue::from_static(FORM));
        match &self.proof {
            Proof::Secret(value) => {
                headers.insert(AUTHORIZATION, value.clone());
            }
            Proof::Assertion(key) => {
                let assertion = key.assertion(&self.client_id, &self.audience).ok()?;
                form.append_pair("client_assertion_type", ASSERTION_TYPE);
                form.append_pair("client_assertion", &assertion);
            }
        }
        *request.body_mut() = Full::from(form.finish());
        Some(request)
    }
}

const FORM: &str = "application/x-www-form-urlencoded";
const ASSERTION_TYPE: &str = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer";

/// The token in an answer (RFC 6749 5.1).
async fn issued(response: Response) -> Result<Issued, Failure> {
    let status = response.status;
    let body = response.body.collect(LARGEST).await;
    let answer: Option<Value> = body
        .ok()
        .and_then(|body| serde_json::from_slice(&body).ok());
    if status != StatusCode::OK {
        return Err(refusal(status, answer.as_ref()));
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

/// Only codes of RFC 6749 5.2 are told: any other text could repeat what we sent.
fn refusal(status: StatusCode, answer: Option<&Value>) -> Failure {
    const CODES: [&str; 6] = [
        "invalid_request",
        "invalid_client",
        "invalid_grant",
        "unauthorized_client",
        "unsupported_grant_type",
        "invalid_scope",
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
