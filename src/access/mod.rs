//! Who is asking. So far: another community's gateway, known by its certificate, or somebody of
//! our own community, who is not asked further.
//!
//! A partner is whoever shows a certificate that settings list, by name or by fingerprint; that an
//! authority has signed it is not enough.

mod partner;

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::Arc;

use http::HeaderMap;
use http::header::AUTHORIZATION;

pub use partner::Partner;

use crate::community::{CommunitySettings, Problem, Problems};
use crate::credentials::{Certificate, Fingerprint, Name};

/// Where a connection came in, and what its other end has proved.
#[derive(Debug, Clone)]
pub struct Peer {
    /// The listener.
    pub door: Door,
    /// Where it is.
    pub address: IpAddr,
    /// The certificate that was shown and verified in the handshake.
    pub certificate: Option<Arc<Certificate>>,
    /// The certificate that we showed to it, if the connection has TLS.
    pub ours: Option<Arc<Certificate>>,
}

/// A listener.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Door {
    /// For viewers, and for partners where they have no listener of their own.
    Public,
    /// For partner gateways only.
    Gateway,
}

/// Who asks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Caller {
    /// Somebody of our own community.
    Member {
        /// Whether a certificate was shown, which no partner owns.
        with_certificate: bool,
    },
    /// Another community's gateway.
    Partner(Arc<Partner>),
}

/// Why somebody is not let in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// The certificate is good, and no partner's.
    #[error("the certificate is not that of a partner")]
    NotListed,
    /// The certificate is a partner's, and the token is not there or not right.
    #[error("a bearer token is needed")]
    Token,
}

/// The partners, by what they show.
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

    /// Whose certificate it is. One that is listed for two communities, by name for one and by name
    /// or fingerprint for the other, is nobody's.
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
