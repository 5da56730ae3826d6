//! A person in a browser: logs in by the authorization code flow of OpenID Connect with PKCE, and has
//! a session afterwards.
//!
//! What a browser brings back counts only in the browser that has begun the login: `state` belongs to
//! a cookie. A session has a new secret with each login. Nothing of either is stored but digests.

mod cookie;
mod failure;
mod provider;
mod settings;
#[cfg(test)]
mod tests;

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use http::HeaderMap;
use moka::policy::EvictionPolicy;
use moka::sync::Cache;
use sha2::{Digest as _, Sha256};
use tokio_util::sync::{CancellationToken, WaitForCancellationFutureOwned};
use url::{Url, form_urlencoded};
use zeroize::Zeroizing;

pub use failure::Failure;
pub use settings::{Hours, LoginSettings, NotASession, NotAnOrigin, Origin};

use super::claims::Claims;
use super::token::Login as Expected;
use crate::credentials::{self, Token, now};
use crate::metrics::Metrics;
use cookie::{Digest, LOGIN, SESSION, Secret};
use provider::{Granted, Provider};

/// The time that a person has for a login, and the most logins at a time.
const PATIENCE: Duration = Duration::from_secs(600);
const MOST_LOGINS: u64 = 16_384;
/// The bytes of the tokens of all sessions, and what a session costs besides.
const MOST_BYTES: u64 = 32 << 20;
const OVERHEAD: usize = 1024;
/// The longest path to return to.
const LONGEST_PATH: usize = 2048;
/// The longest code.
const LONGEST_CODE: usize = 4096;

/// The logins and the sessions of persons.
pub struct Logins {
    provider: Provider,
    /// The URL of the gateway, with a slash at its end.
    base: Url,
    origins: Vec<Origin>,
    session: Duration,
    /// By the digest of their state.
    begun: Cache<Digest, Arc<Pending>>,
    /// By the digest of their cookie.
    sessions: Cache<Digest, Arc<Session>>,
}

/// A login that has begun.
struct Pending {
    browser: Digest,
    nonce: Secret,
    verifier: Secret,
    return_to: String,
}

struct Session {
    claims: Arc<Claims>,
    id_token: Zeroizing<String>,
    /// For sources that decide for each user.
    access_token: Option<Token>,
    /// Cancelled when the person logs out.
    ended: CancellationToken,
}

/// The answer that begins a login: a redirect to the provider.
#[derive(Debug)]
pub struct Begun {
    /// `Location`.
    pub location: String,
    /// `Set-Cookie`.
    pub cookie: String,
}

/// The answer that ends a login: a redirect to where it began.
#[derive(Debug)]
pub struct Finished {
    /// `Location`: a path of ours.
    pub location: String,
    /// `Set-Cookie`, each in a field of its own.
    pub cookies: [String; 2],
}

/// The answer that ends a session: a redirect to the provider, or to our first page.
#[derive(Debug)]
pub struct Ended {
    /// `Location`.
    pub location: String,
    /// `Set-Cookie`.
    pub cookie: String,
}

/// What the provider sends through the browser.
struct Returned {
    code: String,
    state: String,
    issuer: Option<String>,
}

impl Logins {
    /// The logins at the provider in the settings, for the gateway at this URL. No server is asked
    /// yet.
    ///
    /// # Errors
    /// The error in the files or the URL.
    pub fn open(settings: &LoginSettings, public_url: &Url) -> Result<Self, credentials::Error> {
        if !settings.in_clear && !settings.issuer.starts_with("https://") {
            return Err(credentials::Error::InClear);
        }
        let mut base = public_url.clone();
        base.set_query(None);
        base.set_fragment(None);
        base.set_path(&format!("{}/", public_url.path().trim_end_matches('/')));
        let redirect_uri = format!("{base}login/callback");
        let session = settings.session_hours.length();
        let weigh = |_cookie: &Digest, session: &Arc<Session>| {
            let token = session
                .access_token
                .as_ref()
                .map_or(0, |token| token.text().len());
            let bytes = session.id_token.len().saturating_add(token);
            u32::try_from(bytes.saturating_add(OVERHEAD)).unwrap_or(u32::MAX)
        };
        Ok(Self {
            provider: Provider::open(settings, redirect_uri)?,
            origins: settings.origins.clone(),
            session,
            begun: Cache::builder()
                .max_capacity(MOST_LOGINS)
                .eviction_policy(EvictionPolicy::lru())
                .time_to_live(PATIENCE)
                .build(),
            sessions: Cache::builder()
                .weigher(weigh)
                .max_capacity(MOST_BYTES)
                .eviction_policy(EvictionPolicy::lru())
                .time_to_live(session)
                .build(),
            base,
        })
    }

    /// Keeps keys and credentials current in the background.
    pub fn watch(&self, metrics: &Metrics) {
        self.provider.watch(metrics);
    }

    /// Asks the provider for its metadata.
    ///
    /// # Errors
    /// [`Failure::Unavailable`].
    pub async fn probe(&self) -> Result<(), Failure> {
        self.provider.metadata().await.map(|_metadata| ())
    }

    /// Begins a login, after which the browser returns to a path of ours; to our first page if it is
    /// none.
    ///
    /// # Errors
    /// [`Failure::Unavailable`], within a second; [`Failure::NoRandom`].
    pub async fn begin(&self, return_to: &str, headers: &HeaderMap) -> Result<Begun, Failure> {
        let metadata = self.provider.metadata().await?;
        let [state, nonce, verifier] = [Secret::new()?, Secret::new()?, Secret::new()?];
        // Two logins in one browser share its cookie.
        let browser = match Secret::sent(headers, LOGIN) {
            Some(browser) => browser,
            None => Secret::new()?,
        };
        let challenge = BASE64_URL_SAFE_NO_PAD.encode(Sha256::digest(verifier.as_str()));
        let mut location = self.provider.authorization_url(&metadata);
        location
            .query_pairs_mut()
            .append_pair("state", state.as_str())
            .append_pair("nonce", nonce.as_str())
            .append_pair("code_challenge", &challenge)
            .append_pair("code_challenge_method", "S256");
        let pending = Pending {
            browser: browser.digest(),
            nonce,
            verifier,
            return_to: self.own_path(return_to),
        };
        self.begun.insert(state.digest(), Arc::new(pending));
        Ok(Begun {
            location: location.into(),
            cookie: browser.set(LOGIN, PATIENCE.as_secs()),
        })
    }

    /// Ends a login with the query that the provider has sent through the browser.
    ///
    /// # Errors
    /// [`Failure`].
    pub async fn finish(&self, query: &str, headers: &HeaderMap) -> Result<Finished, Failure> {
        let returned = Returned::read(query)?;
        // It counts once, whatever follows.
        let pending = self.begun.remove(&cookie::digest(&returned.state));
        let pending = pending.ok_or(Failure::Unknown)?;
        let browser = Secret::sent(headers, LOGIN).ok_or(Failure::Unknown)?;
        if browser.digest() != pending.browser {
            return Err(Failure::Unknown);
        }
        let metadata = self.provider.metadata().await?;
        if !metadata.has_answered(returned.issuer.as_deref()) {
            return Err(Failure::Unknown);
        }
        let (code, verifier) = (&returned.code, pending.verifier.as_str());
        let granted = self.provider.exchange(&metadata, code, verifier).await?;
        let expected = Expected {
            nonce: pending.nonce.as_str(),
            access_token: granted.access_token.as_str(),
        };
        let claims = metadata
            .id_tokens
            .check(&granted.id_token, expected)
            .await?;
        let old = Secret::sent(headers, SESSION);
        if let Some(old) = old.and_then(|old| self.sessions.remove(&old.digest())) {
            old.ended.cancel();
        }
        let secret = self.keep(&claims, granted)?;
        Ok(Finished {
            location: pending.return_to.clone(),
            cookies: [
                secret.set(SESSION, self.session.as_secs()),
                cookie::delete(LOGIN),
            ],
        })
    }

    fn keep(&self, claims: &Claims, granted: Granted) -> Result<Secret, Failure> {
        let secret = Secret::new()?;
        let scopes = granted.scope.unwrap_or_default();
        let claims = Claims {
            scopes: scopes.split_ascii_whitespace().map(Into::into).collect(),
            expires: now().saturating_add_unsigned(self.session.as_secs()),
            ..claims.clone()
        };
        let session = Session {
            claims: Arc::new(claims),
            access_token: Token::parse(&granted.access_token),
            id_token: granted.id_token,
            ended: CancellationToken::new(),
        };
        self.sessions.insert(secret.digest(), Arc::new(session));
        Ok(secret)
    }

    /// The person whose session a request belongs to.
    #[must_use]
    pub fn session(&self, headers: &HeaderMap) -> Option<Arc<Claims>> {
        let secret = Secret::sent(headers, SESSION)?;
        let session = self.sessions.get(&secret.digest())?;
        (session.claims.expires > now()).then(|| Arc::clone(&session.claims))
    }

    /// The access token of the person whose session a request belongs to.
    #[must_use]
    pub fn access_token(&self, headers: &HeaderMap) -> Option<Token> {
        let secret = Secret::sent(headers, SESSION)?;
        let session = self.sessions.get(&secret.digest())?;
        session.access_token.clone()
    }

    /// Ready when the person whose session a request belongs to logs out.
    #[must_use]
    pub fn revocation(&self, headers: &HeaderMap) -> Option<WaitForCancellationFutureOwned> {
        let secret = Secret::sent(headers, SESSION)?;
        let session = self.sessions.get(&secret.digest())?;
        Some(session.ended.clone().cancelled_owned())
    }

    /// Whether pages of an origin (`Origin` of a request) may use a session.
    #[must_use]
    pub fn is_for(&self, origin: &str) -> bool {
        let own = self.base.origin().ascii_serialization();
        own == origin || self.origins.iter().any(|listed| listed.as_str() == origin)
    }

    /// Ends a session here, and says where it is ended at the provider (OpenID Connect RP-Initiated
    /// Logout 2).
    #[must_use]
    pub fn end(&self, headers: &HeaderMap) -> Ended {
        let secret = Secret::sent(headers, SESSION);
        let session = secret.and_then(|secret| self.sessions.remove(&secret.digest()));
        if let Some(session) = &session {
            session.ended.cancel();
        }
        let ended = |session: Arc<Session>| {
            let provider = &self.provider;
            provider.end_session_url(&session.id_token, &self.base)
        };
        Ended {
            location: session
                .and_then(ended)
                .map_or(self.base.path().to_owned(), Into::into),
            cookie: cookie::delete(SESSION),
        }
    }

    /// A path below our URL, or that of our first page.
    fn own_path(&self, path: &str) -> String {
        let first = || self.base.path().to_owned();
        let is_path = path.starts_with('/') && path.len() <= LONGEST_PATH;
        // Browsers read a backslash as a slash, and two slashes as another host.
        if !is_path || path.contains(|c: char| c == '\\' || c.is_control()) {
            return first();
        }
        let url = self.base.join(path).ok();
        let is_own = |url: &Url| {
            url.origin() == self.base.origin()
                && url.path().starts_with(self.base.path())
                && !url.path().starts_with("//")
        };
        url.filter(is_own).map_or_else(first, |url| {
            let query = url.query().map(|query| format!("?{query}"));
            format!("{}{}", url.path(), query.unwrap_or_default())
        })
    }
}

impl Returned {
    fn read(query: &str) -> Result<Self, Failure> {
        let mut pairs: Vec<(String, String)> = Vec::new();
        for (name, value) in form_urlencoded::parse(query.as_bytes()) {
            // Two readers could read a repeated parameter differently.
            if pairs.iter().any(|(known, _value)| *known == name) {
                return Err(Failure::Unknown);
            }
            pairs.push((name.into_owned(), value.into_owned()));
        }
        let value = |name: &str| {
            let found = pairs.iter().find(|(known, _value)| known == name);
            found.map(|(_name, value)| value.clone())
        };
        if value("error").is_some() {
            return Err(Failure::Denied);
        }
        let code = value("code").filter(|code| !code.is_empty() && code.len() <= LONGEST_CODE);
        Ok(Self {
            code: code.ok_or(Failure::Unknown)?,
            state: value("state").ok_or(Failure::Unknown)?,
            issuer: value("iss"),
        })
    }
}

impl fmt::Debug for Logins {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Logins")
            .field("provider", &self.provider)
            .finish_non_exhaustive()
    }
}
