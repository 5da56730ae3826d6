//! Authentication: a client is either a partner, identified by its certificate, or a member of our
//! own community, who is not authenticated further.
//!
//! A partner's certificate must be listed in the settings, by name or by fingerprint; a signature
//! of an authority is not enough.

mod claims;
mod partner;
pub mod person;
pub mod token;

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::Arc;

use http::HeaderMap;
use http::header::AUTHORIZATION;

pub use claims::{Claims, Code};
pub use partner::Partner;

use crate::community::{CommunitySettings, Problem, Problems};
use crate::credentials::{Certificate, Fingerprint, Name};

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
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Caller {
    /// A client of our own community.
    Member {
        /// Whether it presented a certificate of no partner.
        with_certificate: bool,
    },
    /// Another community's gateway.
    Partner(Arc<Partner>),
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
}

/// The partners, by their certificates.
#[derive(Debug, Default)]
pub struct Access {
    by_name: HashMap<Name, Arc<Partner>>,
    by_fingerprint: HashMap<Fingerprint, Arc<Partner>>,
}

impl Access {
    /// Gathers the partners.
    ///
    /// # Errors
    /// Everything that is wrong.
    pub fn new(communities: &[CommunitySettings]) -> Result<Self, Vec<Problem>> {
        let mut access = Self::default();
        let mut all = Vec::new();
        for community in communities {
            let mut problems = Problems::of("community", community.position, &mut all);
            access.add(community, &mut problems);
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

    /// Finds out who asks.
    ///
    /// # Errors
    /// Why they are not let in.
    pub fn identify(&self, peer: &Peer, headers: &HeaderMap) -> Result<Caller, Error> {
        let certificate = peer.certificate.as_deref();
        match (certificate.and_then(|shown| self.partner(shown)), peer.door) {
            (Some(partner), _) if partner.has_token_in(authorization(headers)) => {
                Ok(Caller::Partner(partner))
            }
            (Some(_), _) => Err(Error::Token),
            (None, Door::Gateway) => Err(Error::NotListed),
            (None, Door::Public) => Ok(Caller::Member {
                with_certificate: certificate.is_some(),
            }),
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

fn authorization(headers: &HeaderMap) -> Option<&str> {
    let mut values = headers.get_all(AUTHORIZATION).iter();
    let value = values.next()?.to_str().ok()?;
    values.next().is_none().then_some(value)
}

#[cfg(test)]
mod tests;
