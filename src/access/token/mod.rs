//! Bearer tokens (RFC 6750) as IHE IUA has them: JWTs that are verified here (ITI-72), and tokens
//! about which their issuer is asked (ITI-102, RFC 7662).
//!
//! The checks of a token are, in this order: its size; its form; the algorithm; the key; the
//! signature; its type; `iss`; `aud`; `exp`, `nbf` and `iat`; the client; the binding to a
//! certificate; the form of every other claim that is used.

mod id_token;
mod introspection;
mod issuer;
mod json;
mod jws;
mod keys;
mod memory;
mod refused;
mod rules;
mod settings;
#[cfg(test)]
mod tests;

use std::collections::HashSet;
use std::fmt;
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use zeroize::Zeroizing;

pub(super) use id_token::IdTokens;
pub use refused::Refused;
pub(super) use rules::Login;
pub use settings::IssuerSettings;

use super::claims::Claims;
use crate::community::{Problem, Problems};
use crate::credentials::{Certificate, Token, now};
use crate::metrics::Metrics;
use issuer::{Evidence, Issuer};
use jws::Jws;
use memory::{Memory, Remembered, digest};
use rules::Verified;

/// The issuers whose tokens are accepted.
pub struct Tokens {
    issuers: Vec<Issuer>,
    memory: Arc<Memory>,
    /// The largest token of any issuer.
    largest: usize,
}

impl Default for Tokens {
    /// No token is accepted.
    fn default() -> Self {
        Self {
            issuers: Vec::new(),
            memory: Arc::new(Memory::new()),
            largest: 0,
        }
    }
}

/// A token whose issuer is known.
struct Sent<'a> {
    issuer: &'a Issuer,
    place: usize,
    /// Absent if only the issuer can read it.
    jws: Option<Jws<'a>>,
}

impl Tokens {
    /// Opens the issuers. No server is asked yet.
    ///
    /// # Errors
    /// Everything that is wrong.
    pub fn open(all: &[IssuerSettings]) -> Result<Self, Vec<Problem>> {
        let memory = Arc::new(Memory::new());
        let mut told = Vec::new();
        let mut issuers = Vec::new();
        let (mut names, mut known) = (HashSet::new(), HashSet::new());
        for (place, settings) in all.iter().enumerate() {
            let mut problems = Problems::of("issuer", settings.position, &mut told);
            if !names.insert(&settings.name) {
                problems.add("name", "another issuer has it");
            }
            if !known.insert(&settings.issuer) {
                problems.add("issuer", "another table has it");
            }
            issuers.extend(Issuer::open(settings, place, &memory, &mut problems));
        }
        if !told.is_empty() {
            return Err(told);
        }
        let largest = issuers.iter().map(|issuer| issuer.largest_token).max();
        Ok(Self {
            issuers,
            memory,
            largest: largest.unwrap_or_default(),
        })
    }

    /// Whether no token can be accepted.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.issuers.is_empty()
    }

    /// Fetches keys, and keeps them and our credentials current in the background.
    pub fn watch(&self, metrics: &Metrics) {
        for issuer in &self.issuers {
            match &issuer.evidence {
                Evidence::Keys(keys) => keys.watch(metrics),
                Evidence::Introspection(introspection) => introspection.watch(metrics),
            }
        }
    }

    /// Checks a token that a client with this certificate has sent. `None` if the answer is in the
    /// network: [`Tokens::ask`] then has it.
    ///
    /// Its second use costs a digest and a look-up.
    #[must_use]
    pub fn known(
        &self,
        token: &str,
        certificate: Option<&Certificate>,
    ) -> Option<Result<Arc<Claims>, Refused>> {
        let outcome = self.look(token, now())?;
        Some(outcome.and_then(|verified| verified.sent_with(certificate)))
    }

    /// Checks a token, and asks its issuer if need be: for less than a second, and once for all who
    /// send the same token at the same time.
    ///
    /// # Errors
    /// [`Refused`]; [`Refused::Unavailable`] if the issuer does not answer.
    pub async fn ask(
        &self,
        token: &str,
        certificate: Option<&Certificate>,
    ) -> Result<Arc<Claims>, Refused> {
        let outcome = match self.look(token, now()) {
            Some(outcome) => outcome,
            // It is boxed because every request has a place for it, and few need it.
            None => Box::pin(self.fetch(token)).await,
        };
        outcome.and_then(|verified| verified.sent_with(certificate))
    }

    /// Waits until the issuer of a token says that it is not active any more. `None` if it is not asked
    /// about its tokens: they are valid until they expire.
    #[must_use]
    pub fn revocation(self: &Arc<Self>, token: &str) -> Option<impl Future<Output = ()> + use<>> {
        /// Between two questions: what is revoked ends within a minute.
        const LOOK: Duration = Duration::from_secs(30);
        // To read a token takes longer than all else of a warm request's access.
        if !self.issuers.iter().any(Issuer::is_asked) {
            return None;
        }
        let sent = self.read(token).ok()?;
        if !sent.issuer.is_asked() {
            return None;
        }
        let (tokens, token) = (Arc::clone(self), Zeroizing::new(token.to_owned()));
        Some(async move {
            loop {
                tokio::time::sleep(LOOK).await;
                // During an outage, what has begun goes on.
                match tokens.fetch(&token).await {
                    Ok(_) | Err(Refused::Unavailable) => {}
                    Err(_) => return,
                }
            }
        })
    }

    /// Asks each issuer for its keys, or whether it answers; gives their names and what is wrong.
    pub async fn probe(&self) -> Vec<(Arc<str>, Result<String, Refused>)> {
        let mut all = Vec::new();
        for issuer in &self.issuers {
            let outcome = match &issuer.evidence {
                Evidence::Keys(keys) => {
                    keys.refresh().await;
                    let count = keys.with(|keys| format!("{} keys", keys.len()));
                    count.ok_or(Refused::Unavailable)
                }
                // No server has issued this one.
                Evidence::Introspection(introspection) => match introspection.ask("-").await {
                    Err(Refused::Unavailable) => Err(Refused::Unavailable),
                    Ok(_) | Err(_) => Ok("answers".to_owned()),
                },
            };
            all.push((Arc::clone(&issuer.name), outcome));
        }
        all
    }

    /// What is known of a token without the network.
    fn look(&self, token: &str, now: i64) -> Option<Result<Arc<Verified>, Refused>> {
        if self.is_empty() {
            return Some(Err(Refused::Issuer));
        }
        if token.len() > self.largest {
            return Some(Err(Refused::TooLarge));
        }
        let digest = digest(token);
        let remembered = self.memory.get(&digest, now);
        if let Some(remembered) = remembered.filter(|remembered| self.is_current(remembered)) {
            return Some(remembered.outcome);
        }
        let sent = match self.read(token) {
            Ok(sent) => sent,
            Err(refused) => return Some(Err(refused)),
        };
        let (Evidence::Keys(keys), Some(jws)) = (&sent.issuer.evidence, &sent.jws) else {
            return None;
        };
        match sent.issuer.verify(keys, jws, now) {
            Ok((keys, verified)) => {
                let verified = Arc::new(verified);
                let remembered = Remembered {
                    outcome: Ok(Arc::clone(&verified)),
                    issuer: sent.place,
                    keys,
                    until: None,
                    size: token.len(),
                };
                self.memory.insert(digest, remembered);
                Some(Ok(verified))
            }
            Err(Refused::Key | Refused::Unavailable) if keys.may_change() => None,
            Err(refused) => Some(Err(refused)),
        }
    }

    /// What the issuer of a token says.
    async fn fetch(&self, token: &str) -> Result<Arc<Verified>, Refused> {
        match &self.read(token)?.issuer.evidence {
            Evidence::Introspection(introspection) => introspection.ask(token).await,
            Evidence::Keys(keys) => {
                keys.refresh().await;
                let outcome = self.look(token, now());
                // The keys may change again: this token has had its turn.
                outcome.unwrap_or(Err(Refused::Unavailable))
            }
        }
    }

    /// Finds the issuer of a token, so far only by what it says itself.
    fn read<'a>(&'a self, token: &'a str) -> Result<Sent<'a>, Refused> {
        let (place, jws) = match Jws::parse(token) {
            Ok(jws) => (self.named(&jws), Some(jws)),
            Err(Refused::Malformed) => (self.opaque(token), None),
            Err(refused) => return Err(refused),
        };
        let otherwise = jws
            .as_ref()
            .map_or(Refused::Malformed, |_jws| Refused::Issuer);
        let place = place.ok_or(otherwise)?;
        let issuer = &self.issuers[place];
        match token.len() <= issuer.largest_token {
            true => Ok(Sent { issuer, place, jws }),
            false => Err(Refused::TooLarge),
        }
    }

    fn named(&self, jws: &Jws<'_>) -> Option<usize> {
        let named = jws.claims.get("iss")?.as_str()?;
        let mut issuers = self.issuers.iter();
        issuers.position(|issuer| issuer.issuer == named)
    }

    /// The issuer that is asked about a token that is no JWT: one only, because a token is a secret
    /// between its issuer and us.
    fn opaque(&self, token: &str) -> Option<usize> {
        let place = self.issuers.iter().position(Issuer::is_asked)?;
        Token::parse(token).map(|_well_formed| place)
    }

    /// Whether the issuer still has the keys that verified a token.
    fn is_current(&self, remembered: &Remembered) -> bool {
        match &self.issuers[remembered.issuer].evidence {
            Evidence::Keys(keys) => keys.number() == Some(remembered.keys),
            Evidence::Introspection(_) => true,
        }
    }
}

impl Verified {
    /// The claims, if the client with this certificate may use the token.
    fn sent_with(&self, certificate: Option<&Certificate>) -> Result<Arc<Claims>, Refused> {
        let shown = certificate.map(|certificate| certificate.fingerprint);
        match self.bound_to.is_none() || self.bound_to == shown {
            true => Ok(Arc::clone(&self.claims)),
            false => Err(Refused::Binding),
        }
    }
}

impl fmt::Debug for Tokens {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tokens")
            .field("issuers", &self.issuers)
            .finish_non_exhaustive()
    }
}
