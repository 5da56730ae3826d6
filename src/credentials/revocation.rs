//! Certificate revocation lists (RFC 5280 5), as authorities publish them.

use std::fmt;
use std::path::{Path, PathBuf};

use rustls::pki_types::CertificateRevocationListDer;
use rustls::pki_types::pem::PemObject;
use x509_parser::prelude::{CertificateRevocationList, FromDer};

/// A certificate revocation list. TLS verifies its signature with each certificate.
#[derive(Clone)]
pub struct RevocationList {
    /// Its file.
    pub file: PathBuf,
    /// The authority that issued it.
    pub issuer: String,
    /// The time of its issue, in seconds since 1970.
    pub this_update: i64,
    /// The time by which the authority issues the next one, in seconds since 1970.
    pub next_update: Option<i64>,
    /// The number of revoked certificates.
    pub revoked: usize,
    pub(super) der: CertificateRevocationListDer<'static>,
}

impl RevocationList {
    /// The lists in the content of a file: any number in PEM, or one in DER. `None` if there is
    /// none, or if one of them is malformed.
    pub(super) fn read_all(file: &Path, content: &[u8]) -> Option<Vec<Self>> {
        let in_pem = CertificateRevocationListDer::pem_slice_iter(content);
        let in_pem = in_pem.collect::<Result<Vec<_>, _>>().ok()?;
        let all = match in_pem.is_empty() {
            true => vec![CertificateRevocationListDer::from(content.to_vec())],
            false => in_pem,
        };
        all.into_iter().map(|der| Self::read(file, der)).collect()
    }

    fn read(file: &Path, der: CertificateRevocationListDer<'static>) -> Option<Self> {
        let (rest, list) = CertificateRevocationList::from_der(&der).ok()?;
        if !rest.is_empty() {
            return None;
        }
        Some(Self {
            file: file.to_owned(),
            issuer: list.issuer().to_string(),
            this_update: list.last_update().timestamp(),
            next_update: list.next_update().map(|time| time.timestamp()),
            revoked: list.iter_revoked_certificates().count(),
            der: der.clone(),
        })
    }

    /// Whether the authority should have issued a newer one by a time in seconds since 1970.
    #[must_use]
    pub fn has_expired(&self, now: i64) -> bool {
        self.next_update.is_some_and(|next| next < now)
    }
}

impl fmt::Debug for RevocationList {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RevocationList")
            .field("file", &self.file)
            .field("next_update", &self.next_update)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use rcgen::{
        BasicConstraints, CertificateParams, CertificateRevocationListParams, CertifiedIssuer,
        IsCa, KeyIdMethod, KeyPair, RevokedCertParams, SerialNumber, date_time_ymd,
    };

    use super::*;

    fn list(revoked: u64) -> rcgen::CertificateRevocationList {
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().expect("a key");
        let issuer = CertifiedIssuer::self_signed(params, key).expect("an authority");
        let revoked = (1..=revoked).map(|number| RevokedCertParams {
            serial_number: SerialNumber::from(number),
            revocation_time: date_time_ymd(2020, 1, 1),
            reason_code: None,
            invalidity_date: None,
        });
        let params = CertificateRevocationListParams {
            this_update: date_time_ymd(2020, 1, 1),
            next_update: date_time_ymd(2020, 2, 1),
            crl_number: SerialNumber::from(1),
            issuing_distribution_point: None,
            revoked_certs: revoked.collect(),
            key_identifier_method: KeyIdMethod::Sha256,
        };
        params.signed_by(&issuer).expect("a list")
    }

    #[test]
    fn reads_pem_and_der() {
        let (one, other) = (list(2), list(0));
        let pem = one.pem().expect("PEM") + &other.pem().expect("PEM");
        let read = |content: &[u8]| RevocationList::read_all(Path::new("x.crl"), content);
        let lists = read(pem.as_bytes()).expect("lists");
        assert_eq!(lists.iter().map(|l| l.revoked).collect::<Vec<_>>(), [2, 0]);
        let lists = read(one.der()).expect("a list");
        assert_eq!(lists[0].revoked, 2);
        assert_eq!(lists[0].next_update, Some(1_580_515_200));
        assert!(lists[0].has_expired(1_580_515_201));
        assert!(!lists[0].has_expired(1_580_515_200));
    }

    #[test]
    fn what_is_no_list_is_none() {
        let (good, pem) = (list(1), list(1).pem().expect("PEM"));
        let cut = &good.der()[..good.der().len() - 1];
        let more = [good.der().as_ref(), b"x"].concat();
        let broken = pem.replacen("MI", "XX", 1);
        for content in [&b""[..], b"rubbish", cut, &more, broken.as_bytes()] {
            assert!(RevocationList::read_all(Path::new("x.crl"), content).is_none());
        }
    }
}
