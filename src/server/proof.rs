//! The certificate that a client has shown, for as long as its connection is open.

use rustls::pki_types::{CertificateDer, UnixTime};

use crate::credentials::{Certificate, ClientVerifier};

/// A certificate and those between it and an authority.
#[derive(Debug)]
pub(super) struct Proof {
    chain: Vec<CertificateDer<'static>>,
    /// Seconds since 1970 when the first of them ceases to be valid.
    not_after: i64,
}

impl Proof {
    pub(super) fn new(chain: &[CertificateDer<'static>]) -> Self {
        let read = chain.iter().filter_map(Certificate::read);
        let not_after = read.map(|certificate| certificate.not_after).min();
        Self {
            chain: chain.to_vec(),
            not_after: not_after.unwrap_or(i64::MAX),
        }
    }

    /// Whether one of them has expired.
    pub(super) fn has_expired(&self, now: i64) -> bool {
        self.not_after < now
    }

    /// Whether it would be let in now.
    pub(super) fn is_good(&self, verifier: &ClientVerifier) -> bool {
        let Some((end_entity, intermediates)) = self.chain.split_first() else {
            return true;
        };
        let verified = verifier.verify_client_cert(end_entity, intermediates, UnixTime::now());
        verified.is_ok()
    }
}
