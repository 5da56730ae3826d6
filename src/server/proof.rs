//! The certificate chain of a client, for the lifetime of its connection.

use rustls::pki_types::{CertificateDer, UnixTime};

use crate::credentials::{Certificate, ClientVerifier};

/// A certificate and its intermediates.
#[derive(Debug)]
pub(super) struct Proof {
    chain: Vec<CertificateDer<'static>>,
    /// The earliest expiry in the chain, in seconds since 1970.
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

    /// Whether a certificate of the chain has expired.
    pub(super) fn has_expired(&self, now: i64) -> bool {
        self.not_after < now
    }

    /// Whether the client would be accepted now.
    pub(super) fn is_good(&self, verifier: &ClientVerifier) -> bool {
        let Some((end_entity, intermediates)) = self.chain.split_first() else {
            return true;
        };
        let verified = verifier.verify_client_cert(end_entity, intermediates, UnixTime::now());
        verified.is_ok()
    }
}
