//! The verifier of servers' certificates, with what they staple.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::CryptoProvider;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{CertificateError, DigitallySignedStruct, RootCertStore, SignatureScheme};
use webpki::{EndEntityCert, KeyUsage};
use x509_cert::der::Decode;
use x509_parser::prelude::{FromDer, X509Certificate};

use super::response::{Algorithms, Response, Status, Subject, Untrusted, anchor};

/// TLS feature (RFC 7633), and in it `status_request`: the server must staple a response.
const TLS_FEATURE: &str = "1.3.6.1.5.5.7.1.24";
const STATUS_REQUEST: u64 = 5;

/// Verifies the chain of a server's certificate, and then the response that the server stapled.
#[derive(Debug)]
pub(in crate::credentials) struct ServerVerifier {
    chain: Arc<WebPkiServerVerifier>,
    roots: Arc<RootCertStore>,
    algorithms: Algorithms,
    /// Whether the log says that a response does not count, since the last one that did.
    has_told: AtomicBool,
}

impl ServerVerifier {
    /// A verifier that does as `chain` does, and knows its roots.
    pub(in crate::credentials) fn new(
        chain: Arc<WebPkiServerVerifier>,
        roots: Arc<RootCertStore>,
        provider: &CryptoProvider,
    ) -> Self {
        Self {
            chain,
            roots,
            algorithms: provider.signature_verification_algorithms.all,
            has_told: AtomicBool::new(false),
        }
    }

    /// The status of a certificate whose chain has been verified.
    fn status(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        response: &[u8],
        now: UnixTime,
    ) -> Result<Status, Untrusted> {
        let response = Response::parse(response)?;
        let other = |_webpki| Untrusted::OtherCertificate;
        let certificate = EndEntityCert::try_from(end_entity).map_err(other)?;
        // Builds the path again, as its issuer is not told: only this can be relied upon.
        let (roots, usage) = (self.roots.roots.as_slice(), KeyUsage::server_auth());
        let path = certificate
            .verify_for_usage(
                self.algorithms,
                roots,
                intermediates,
                now,
                usage,
                None,
                None,
            )
            .map_err(other)?;
        let issuer_key = path.issuer_spki();
        let answer = response.answer(&Subject {
            serial: certificate.serial(),
            issuer: certificate.issuer(),
            issuer_key: Some(issuer_key.clone()),
        })?;
        let issuer = anchor(certificate.issuer(), &issuer_key).ok_or(Untrusted::Signer)?;
        response.verify(&issuer, self.algorithms, now)?;
        answer.at(now)
    }

    fn tell(&self, server_name: &ServerName<'_>, reason: Untrusted) {
        if !self.has_told.swap(true, Ordering::Relaxed) {
            let server = server_name.to_str();
            tracing::warn!(%server, %reason, "a stapled OCSP response does not count");
        }
    }
}

impl ServerCertVerifier for ServerVerifier {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        let chain = &self.chain;
        let verified =
            chain.verify_server_cert(end_entity, intermediates, server_name, &[], now)?;
        let error = match ocsp_response.is_empty() {
            true => CertificateError::UnknownRevocationStatus,
            false => match self.status(end_entity, intermediates, ocsp_response, now) {
                Ok(Status::Good) => {
                    self.has_told.store(false, Ordering::Relaxed);
                    return Ok(verified);
                }
                Ok(Status::Revoked) => return Err(CertificateError::Revoked.into()),
                Err(reason) => {
                    self.tell(server_name, reason);
                    CertificateError::InvalidOcspResponse
                }
            },
        };
        match must_staple(end_entity) {
            true => Err(error.into()),
            false => Ok(verified),
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let chain = &self.chain;
        chain.verify_tls12_signature(message, certificate, signature)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let chain = &self.chain;
        chain.verify_tls13_signature(message, certificate, signature)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.chain.supported_verify_schemes()
    }
}

/// A certificate with a malformed feature must staple, too.
fn must_staple(certificate: &CertificateDer<'_>) -> bool {
    let Ok((_rest, parsed)) = X509Certificate::from_der(certificate) else {
        return false;
    };
    let mut extensions = parsed.extensions().iter();
    extensions.any(|extension| {
        extension.oid.to_id_string() == TLS_FEATURE
            && <Vec<u64> as Decode>::from_der(extension.value)
                .map_or(true, |features| features.contains(&STATUS_REQUEST))
    })
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use super::super::rig::{Draft, Pki, provider};
    use super::*;

    fn verifier(pki: &Pki) -> ServerVerifier {
        let mut roots = RootCertStore::empty();
        roots.add(pki.root.der().clone()).expect("a root");
        let (roots, provider) = (Arc::new(roots), provider());
        let chain =
            WebPkiServerVerifier::builder_with_provider(Arc::clone(&roots), Arc::clone(&provider));
        ServerVerifier::new(chain.build().expect("a verifier"), roots, &provider)
    }

    /// What a client says to a server that staples this.
    fn verify(pki: &Pki, leaf: &CertificateDer<'_>, response: &[u8]) -> Result<(), rustls::Error> {
        let name = ServerName::try_from("source.example").expect("a name");
        let intermediates = [pki.intermediate.der().clone()];
        verifier(pki)
            .verify_server_cert(leaf, &intermediates, &name, response, UnixTime::now())
            .map(|_verified| ())
    }

    type Change = for<'a> fn(&mut Draft<'a>, &'a Pki);

    /// Responses from the issuer, each changed in one thing, and whether they count.
    const CASES: [(&str, Change, Result<Status, Untrusted>); 28] = [
        ("good", |_, _| (), Ok(Status::Good)),
        ("revoked", |d, _| d.revoke(), Ok(Status::Revoked)),
        (
            "SHA-256",
            |d, p| d.ids = vec![p.id(&p.leaf).sha_256()],
            Ok(Status::Good),
        ),
        ("unknown", |d, _| d.forget(), Err(Untrusted::Unknown)),
        (
            "no bytes",
            |d, _| d.edit = |_| b"x".to_vec(),
            Err(Untrusted::Malformed),
        ),
        (
            "cut",
            |d, _| d.edit = |r| r[..r.len() - 1].to_vec(),
            Err(Untrusted::Malformed),
        ),
        (
            "longer",
            |d, _| d.edit = |r| [r, b"x"].concat(),
            Err(Untrusted::Malformed),
        ),
        (
            "too large",
            |d, _| d.edit = |r| [r, &[0; 65 << 10]].concat(),
            Err(Untrusted::TooLarge),
        ),
        (
            "try later",
            |d, _| d.edit = |_| vec![0x30, 3, 10, 1, 3],
            Err(Untrusted::Unsuccessful),
        ),
        (
            "of no basic type",
            |d, _| d.is_basic = false,
            Err(Untrusted::Malformed),
        ),
        (
            "expired",
            |d, _| d.until = Some(-1),
            Err(Untrusted::Expired),
        ),
        (
            "of the day, without end",
            |d, _| d.until = None,
            Ok(Status::Good),
        ),
        (
            "old, without end",
            |d, _| (d.from, d.until) = (-90_000, None),
            Err(Untrusted::Expired),
        ),
        ("of a clock ahead", |d, _| d.from = 240, Ok(Status::Good)),
        ("of the future", |d, _| d.from = 400, Err(Untrusted::Early)),
        (
            "of another",
            |d, p| d.ids = vec![p.id(&p.other)],
            Err(Untrusted::OtherCertificate),
        ),
        (
            "of several",
            |d, p| d.ids.push(p.id(&p.other)),
            Ok(Status::Good),
        ),
        (
            "other name",
            |d, _| d.ids[0].spoil_name(),
            Err(Untrusted::OtherCertificate),
        ),
        (
            "other key",
            |d, _| d.ids[0].spoil_key(),
            Err(Untrusted::OtherCertificate),
        ),
        (
            "critical",
            |d, _| d.is_critical = true,
            Err(Untrusted::CriticalExtension),
        ),
        (
            "false signature",
            |d, _| d.is_forged = true,
            Err(Untrusted::Signer),
        ),
        (
            "signed by root",
            |d, p| d.key = p.root.key(),
            Err(Untrusted::Signer),
        ),
        (
            "signed by leaf",
            |d, p| d.sign_by(&p.leaf),
            Err(Untrusted::Signer),
        ),
        ("delegate", |d, p| d.sign_by(&p.delegate), Ok(Status::Good)),
        (
            "delegate absent",
            |d, p| d.key = &p.delegate.key,
            Err(Untrusted::Signer),
        ),
        (
            "delegate of root",
            |d, p| d.sign_by(&p.delegate_of_root),
            Err(Untrusted::Signer),
        ),
        (
            "delegate expired",
            |d, p| d.sign_by(&p.delegate_expired),
            Err(Untrusted::Signer),
        ),
        (
            "delegate for TLS",
            |d, p| d.sign_by(&p.delegate_for_tls),
            Err(Untrusted::Signer),
        ),
    ];

    #[test]
    fn a_response_counts_only_if_all_of_it_is_right() {
        let pki = Pki::new();
        let intermediates = [pki.intermediate.der().clone()];
        for (name, change, expected) in CASES {
            for must_staple in [false, true] {
                let leaf = match must_staple {
                    false => &pki.leaf,
                    true => &pki.must_staple,
                };
                let mut draft = Draft::good(&pki);
                change(&mut draft, &pki);
                // The same about the certificate that must have a staple.
                draft.replace(&pki.id(&pki.leaf), &pki.id(leaf));
                let response = draft.encode();
                let now = UnixTime::now();
                let status = verifier(&pki).status(&leaf.der, &intermediates, &response, now);
                assert_eq!(status, expected, "{name}");
                let verified = verify(&pki, &leaf.der, &response);
                let expected: Result<(), rustls::Error> = match (expected, must_staple) {
                    (Ok(Status::Good), _) | (Err(_), false) => Ok(()),
                    (Ok(Status::Revoked), _) => Err(CertificateError::Revoked.into()),
                    (Err(_), true) => Err(CertificateError::InvalidOcspResponse.into()),
                };
                assert_eq!(verified, expected, "{name}, {must_staple}");
            }
        }
    }

    #[test]
    fn a_certificate_may_be_of_a_root_itself() {
        let pki = Pki::new();
        let leaf = &pki.leaf_of_root;
        for is_revoked in [false, true] {
            let mut draft = Draft::good(&pki);
            draft.ids = vec![pki.id_under(&pki.root, leaf)];
            draft.key = pki.root.key();
            if is_revoked {
                draft.revoke();
            }
            let verified = verify(&pki, &leaf.der, &draft.encode());
            assert_eq!(verified.is_err(), is_revoked);
        }
    }

    #[test]
    fn without_a_staple_only_must_staple_fails() {
        let pki = Pki::new();
        assert_eq!(verify(&pki, &pki.leaf.der, &[]), Ok(()));
        let error = verify(&pki, &pki.must_staple.der, &[]);
        assert_eq!(error, Err(CertificateError::UnknownRevocationStatus.into()));
    }

    #[test]
    fn a_good_staple_saves_no_certificate_of_another_root_of_this_name() {
        let (pki, others) = (Pki::new(), Pki::new());
        let response = Draft::good(&pki).encode();
        let name = ServerName::try_from("source.example").expect("a name");
        let intermediates = [pki.intermediate.der().clone()];
        let verifier = verifier(&others);
        let now = UnixTime::now();
        let verified =
            verifier.verify_server_cert(&pki.leaf.der, &intermediates, &name, &response, now);
        let error = verified.expect_err("refused");
        assert_eq!(error, CertificateError::BadSignature.into());
    }

    #[test]
    fn a_response_that_does_not_count_is_told_once() {
        let pki = Pki::new();
        let verifier = verifier(&pki);
        let name = ServerName::try_from("source.example").expect("a name");
        let intermediates = [pki.intermediate.der().clone()];
        let verify = |response: &[u8]| {
            let now = UnixTime::now();
            verifier
                .verify_server_cert(&pki.leaf.der, &intermediates, &name, response, now)
                .expect("accepted");
        };
        let good = Draft::good(&pki).encode();
        let lines = told(|| [&b"x"[..], b"x", &good, b"x"].into_iter().for_each(verify));
        assert_eq!(lines.len(), 2, "{lines:?}");
        assert!(lines[0].contains("source.example"), "{lines:?}");
        assert!(lines[0].contains("it is malformed"), "{lines:?}");
    }

    /// The lines that the log gets meanwhile.
    fn told(what: impl FnOnce()) -> Vec<String> {
        let log = Arc::new(Mutex::new(Vec::new()));
        let writer = Arc::clone(&log);
        let subscriber = tracing_subscriber::fmt()
            .with_ansi(false)
            .with_max_level(tracing::Level::WARN)
            .with_writer(move || Log(Arc::clone(&writer)))
            .finish();
        tracing::subscriber::with_default(subscriber, what);
        let log = log.lock().expect("a log");
        let text = String::from_utf8_lossy(&log);
        text.lines().map(str::to_owned).collect()
    }

    struct Log(Arc<Mutex<Vec<u8>>>);

    impl std::io::Write for Log {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            self.0.lock().expect("a log").extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }
}
