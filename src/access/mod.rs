//! Who asks, and what they may do.
//!
//! A client is a partner gateway, identified by its certificate; the subject of an access token; the
//! holder of a link; or a member of our own community who is not identified further. Rules say what
//! each of them may do; without rules, a listener is open.
//!
//! A partner's certificate must be listed in the settings, by name or by fingerprint; a signature
//! of an authority is not enough.

mod claims;
mod links;
mod partner;
pub mod person;
mod rules;
pub mod token;
mod user;

use std::collections::HashMap;
use std::future::Future;
use std::net::IpAddr;
use std::pin::Pin;
use std::sync::Arc;

use http::HeaderMap;
use http::header::AUTHORIZATION;
use serde::Deserialize;
use sha2::{Digest, Sha256};

pub use claims::{Claims, Code};
pub use links::{
    Entry, Error as LinkError, Grant, GrantedLink, LinkId, LinkTerms, Links, Unlocking,
};
pub use partner::Partner;
use token::{IssuerSettings, Refused, Tokens};

pub use rules::{
    Effect, Explained, Manifests, RuleSettings, Rules, Transaction, Unmet, view_of_link,
};

use crate::community::{CommunitySettings, Problem, Problems};
use crate::credentials::{Certificate, Fingerprint, Name};
use crate::manifest::Owner;
use crate::metrics::Metrics;
use person::Logins;

/// The client end of a connection.
#[derive(Debug, Clone)]
pub struct Peer {
    /// The listener.
    pub door: Door,
    /// Its address.
    pub address: IpAddr,
    /// Its verified certificate.
    pub certificate: Option<Arc<Certificate>>,
    /// Our certificate, if the connection has TLS.
    pub ours: Option<Arc<Certificate>>,
}

/// A listener.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Door {
    /// For viewers, and for partners without a listener of their own.
    Public,
    /// For partner gateways only.
    Gateway,
}

/// The client of a request.
#[derive(Debug, Clone)]
pub enum Caller {
    /// A client of our own community.
    Member {
        /// Whether it presented a certificate of no partner.
        with_certificate: bool,
    },
    /// Another community's gateway.
    Partner(Arc<Partner>),
    /// The subject of an access token.
    Subject(Arc<Claims>),
    /// The holder of a link.
    Link(Arc<Grant>),
}

impl Caller {
    /// The owner of the manifests that the client registers.
    #[must_use]
    pub fn owner(&self) -> Option<Owner> {
        let Self::Subject(claims) = self else {
            return None;
        };
        // The names of issuers have no line breaks.
        let names = format!("{}\n{}", claims.issuer, claims.subject);
        let digest = Sha256::digest(names);
        digest.first_chunk().copied().map(Owner)
    }
}

/// Why a client was refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// The certificate is valid, but not a partner's.
    #[error("the certificate is not that of a partner")]
    NotListed,
    /// The certificate is a partner's, but the token is missing or wrong.
    #[error("a bearer token is required")]
    Token,
    /// The client is not identified, and rules permit this to identified clients only.
    #[error("identify yourself by a bearer token")]
    Unidentified,
    /// The bearer token is not valid.
    #[error("the bearer token is not valid here: {0}")]
    InvalidToken(Refused),
    /// Nothing is known about the bearer token, because its issuer does not answer.
    #[error("the authorization server does not answer")]
    Unavailable,
    /// No rule permits this to the client.
    #[error("no rule permits this")]
    NoRight,
}

/// Ready when a right is revoked.
pub type Revocation = Pin<Box<dyn Future<Output = ()> + Send>>;

/// Whether rules apply at a listener.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Mode {
    /// Every client that reaches it may do everything that it offers.
    Open,
    /// Rules say who may do what.
    Rules,
}

/// The settings of access.
#[derive(Debug, Clone, Copy)]
pub struct Settings<'a> {
    /// The partners.
    pub communities: &'a [CommunitySettings],
    /// The issuers of tokens.
    pub issuers: &'a [IssuerSettings],
    /// The name of the login.
    pub login: Option<&'a str>,
    /// The rules.
    pub rules: &'a [RuleSettings],
    /// The mode of the public listener; by default rules apply if there are any.
    pub public: Option<Mode>,
    /// The mode of the listener for partners.
    pub gateways: Option<Mode>,
}

impl Settings<'_> {
    /// Whether rules apply at a listener.
    #[must_use]
    pub fn mode(&self, door: Door) -> Mode {
        let set = match door {
            Door::Public => self.public,
            Door::Gateway => self.gateways,
        };
        set.unwrap_or(match self.rules {
            [] => Mode::Open,
            _ => Mode::Rules,
        })
    }
}

/// The partners, by their certificates.
#[derive(Debug, Default)]
pub struct Access {
    by_name: HashMap<Name, Arc<Partner>>,
    by_fingerprint: HashMap<Fingerprint, Arc<Partner>>,
    tokens: Arc<Tokens>,
    logins: Option<Logins>,
    /// `iss` of the tokens.
    issuers: Vec<String>,
    /// `None`: the listener is open.
    public: Option<Rules>,
    gateways: Option<Rules>,
}

impl Access {
    /// Gathers the partners.
    ///
    /// # Errors
    /// Everything that is wrong.
    pub fn new(settings: &Settings<'_>) -> Result<Self, Vec<Problem>> {
        let mut access = Self::default();
        let mut all = Vec::new();
        for community in settings.communities {
            let mut problems = Problems::of("community", community.position, &mut all);
            access.add(community, &mut problems);
        }
        let issuers = settings.issuers.iter();
        access.issuers = issuers.clone().map(|one| one.issuer.clone()).collect();
        match Tokens::open(settings.issuers) {
            Ok(tokens) => access.tokens = Arc::new(tokens),
            Err(problems) => all.extend(problems),
        }
        let names = issuers.map(|one| one.name.as_str()).chain(settings.login);
        let names: Vec<&str> = names.collect();
        match Rules::new(settings.rules, &names) {
            Ok(rules) => {
                let of = |door| (settings.mode(door) == Mode::Rules).then(|| rules.clone());
                (access.public, access.gateways) = (of(Door::Public), of(Door::Gateway));
            }
            Err(problems) => all.extend(problems),
        }
        if all.is_empty() { Ok(access) } else { Err(all) }
    }

    fn add(&mut self, community: &CommunitySettings, problems: &mut Problems<'_>) {
        let their_token = community.their_token.as_ref().map(|token| token.load());
        let their_token = their_token.and_then(|token| problems.ok("their_token", token));
        let partner = Arc::new(Partner::new(
            community.home_community_id.clone(),
            community.alias(),
            their_token,
        ));
        for name in &community.certificate_names {
            let known = self.by_name.insert(name.clone(), Arc::clone(&partner));
            if known.is_some() {
                problems.add("certificate_names", format!("{name} is listed twice"));
            }
        }
        for fingerprint in &community.certificate_fingerprints {
            let known = self
                .by_fingerprint
                .insert(*fingerprint, Arc::clone(&partner));
            if known.is_some() {
                let problem = format!("{fingerprint} is listed twice");
                problems.add("certificate_fingerprints", problem);
            }
        }
    }

    /// The rules of a listener; `None`: it is open.
    #[must_use]
    pub fn rules(&self, door: Door) -> Option<&Rules> {
        match door {
            Door::Public => self.public.as_ref(),
            Door::Gateway => self.gateways.as_ref(),
        }
    }

    /// The issuers of tokens that are accepted here.
    #[must_use]
    pub fn issuers(&self) -> &[String] {
        &self.issuers
    }

    /// The same with logins of persons.
    #[must_use]
    pub fn with_logins(self, logins: Option<Logins>) -> Self {
        Self { logins, ..self }
    }

    /// The logins of persons.
    #[must_use]
    pub fn logins(&self) -> Option<&Logins> {
        self.logins.as_ref()
    }

    /// Keeps keys and credentials current in the background.
    pub fn watch(&self, metrics: &Metrics) {
        self.tokens.watch(metrics);
        if let Some(logins) = &self.logins {
            logins.watch(metrics);
        }
    }

    /// Its tokens.
    #[must_use]
    pub fn tokens(&self) -> &Tokens {
        &self.tokens
    }

    /// Ready when the right of a client to read an answer is revoked; `None` if that is not found out.
    #[must_use]
    pub fn revocation(&self, caller: &Caller, headers: &HeaderMap) -> Option<Revocation> {
        match caller {
            Caller::Link(grant) => Some(Box::pin(grant.revoked.clone().cancelled_owned())),
            Caller::Subject(_) => match authorization(headers) {
                Some(field) => Some(Box::pin(self.tokens.revocation(bearer(field)?)?)),
                None => Some(Box::pin(self.logins.as_ref()?.revocation(headers)?)),
            },
            Caller::Member { .. } | Caller::Partner(_) => None,
        }
    }

    /// Finds out who asks.
    ///
    /// # Errors
    /// Why they are not let in.
    pub async fn identify(&self, peer: &Peer, headers: &HeaderMap) -> Result<Caller, Error> {
        let certificate = peer.certificate.as_deref();
        match (certificate.and_then(|shown| self.partner(shown)), peer.door) {
            (Some(partner), _) if partner.has_token_in(authorization(headers)) => {
                Ok(Caller::Partner(partner))
            }
            (Some(_), _) => Err(Error::Token),
            (None, Door::Gateway) => Err(Error::NotListed),
            (None, Door::Public)
                if self.public.is_some() && headers.contains_key(AUTHORIZATION) =>
            {
                self.subject(certificate, authorization(headers)).await
            }
            (None, Door::Public) => Ok(Caller::Member {
                with_certificate: certificate.is_some(),
            }),
        }
    }

    /// The subject of a bearer token.
    async fn subject(
        &self,
        certificate: Option<&Certificate>,
        authorization: Option<&str>,
    ) -> Result<Caller, Error> {
        let token = authorization.and_then(bearer);
        let token = token.ok_or(Error::InvalidToken(Refused::Malformed))?;
        let outcome = match self.tokens.known(token, certificate) {
            Some(outcome) => outcome,
            None => self.tokens.ask(token, certificate).await,
        };
        match outcome {
            Ok(claims) => Ok(Caller::Subject(claims)),
            Err(Refused::Unavailable) => Err(Error::Unavailable),
            Err(refused) => Err(Error::InvalidToken(refused)),
        }
    }

    /// The partner with this certificate. A certificate that is listed for two communities, by name
    /// for one and by name or fingerprint for the other, identifies neither.
    fn partner(&self, certificate: &Certificate) -> Option<Arc<Partner>> {
        let by_name = certificate.names.iter().filter_map(|n| self.by_name.get(n));
        let mut found = self
            .by_fingerprint
            .get(&certificate.fingerprint)
            .into_iter()
            .chain(by_name);
        let partner = found.next()?;
        found
            .all(|other| other == partner)
            .then(|| Arc::clone(partner))
    }
}

/// The token in a field.
fn bearer(authorization: &str) -> Option<&str> {
    let (scheme, token) = authorization.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then(|| token.trim())
}

fn authorization(headers: &HeaderMap) -> Option<&str> {
    let mut values = headers.get_all(AUTHORIZATION).iter();
    let value = values.next()?.to_str().ok()?;
    values.next().is_none().then_some(value)
}

#[cfg(test)]
mod tests;
