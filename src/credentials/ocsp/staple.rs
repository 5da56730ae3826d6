//! The response that our server staples to its handshakes.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use rustls::crypto::CryptoProvider;
use rustls::pki_types::{CertificateDer, UnixTime};
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use webpki::EndEntityCert;

use super::response::{Answer, Response, Subject, Untrusted, anchor};

/// The response that a server staples, while it counts.
#[derive(Debug, Clone)]
pub struct Staple {
    /// Its file.
    pub file: PathBuf,
    /// What it says about the server's certificate, or why it is never stapled.
    pub answer: Result<Answer, Untrusted>,
    content: Vec<u8>,
}

impl Staple {
    /// Parses the response about the first certificate of a chain. Its signature is verified if the
    /// chain contains the issuer.
    pub(in crate::credentials) fn parse(
        file: &Path,
        content: Vec<u8>,
        chain: &[CertificateDer<'_>],
        provider: &CryptoProvider,
    ) -> Result<Self, Untrusted> {
        let response = Response::parse(&content)?;
        let answer = judge(&response, chain, provider);
        if let Err(reason) = answer {
            let file = file.display();
            tracing::warn!(%file, %reason, "an OCSP response is not stapled");
        }
        Ok(Self {
            file: file.to_owned(),
            answer,
            content,
        })
    }

    /// The answer, if the response is stapled at a time in seconds since 1970.
    ///
    /// # Errors
    /// Why it is not stapled.
    pub fn stapled_at(&self, now: u64) -> Result<Answer, Untrusted> {
        let answer = self.answer?;
        let now = UnixTime::since_unix_epoch(std::time::Duration::from_secs(now));
        answer.at(now).map(|_status| answer)
    }
}

fn judge(
    response: &Response,
    chain: &[CertificateDer<'_>],
    provider: &CryptoProvider,
) -> Result<Answer, Untrusted> {
    let other = Untrusted::OtherCertificate;
    let (first, others) = chain.split_first().ok_or(other)?;
    let certificate = EndEntityCert::try_from(first).map_err(|_webpki| other)?;
    let keys = others.iter().filter_map(|der| {
        let issuer = EndEntityCert::try_from(der).ok()?;
        let is_issuer = issuer.subject() == certificate.issuer();
        is_issuer.then(|| issuer.subject_public_key_info())
    });
    let issuer_key = keys.into_iter().next();
    let answer = response.answer(&Subject {
        serial: certificate.serial(),
        issuer: certificate.issuer(),
        issuer_key: issuer_key.clone(),
    })?;
    if let Some(key) = issuer_key {
        let issuer = anchor(certificate.issuer(), &key).ok_or(Untrusted::Signer)?;
        let algorithms = provider.signature_verification_algorithms.all;
        response.verify(&issuer, algorithms, UnixTime::now())?;
    }
    Ok(answer)
}

/// Our certificate, with a response while it counts.
#[derive(Debug)]
pub(in crate::credentials) struct Stapler {
    plain: Arc<CertifiedKey>,
    stapled: Arc<CertifiedKey>,
    staple: Arc<Staple>,
    /// Whether the log says that the response no longer counts.
    has_told: AtomicBool,
}

impl Stapler {
    /// A certificate with this response.
    pub(in crate::credentials) fn new(key: CertifiedKey, staple: Arc<Staple>) -> Self {
        let mut stapled = key.clone();
        stapled.ocsp = Some(staple.content.clone());
        Self {
            plain: Arc::new(key),
            stapled: Arc::new(stapled),
            has_told: AtomicBool::new(staple.answer.is_err()),
            staple,
        }
    }
}

impl ResolvesServerCert for Stapler {
    fn resolve(&self, _client: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        let key = match self.staple.stapled_at(UnixTime::now().as_secs()) {
            Ok(_answer) => &self.stapled,
            Err(reason) => {
                if !self.has_told.swap(true, Ordering::Relaxed) {
                    let file = self.staple.file.display();
                    tracing::warn!(%file, %reason, "an OCSP response is no longer stapled");
                }
                &self.plain
            }
        };
        Some(Arc::clone(key))
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
    use rustls::pki_types::ServerName;
    use rustls::version::{TLS12, TLS13};
    use rustls::{
        ClientConfig, ClientConnection, ServerConfig, ServerConnection, SignatureScheme,
        SupportedProtocolVersion,
    };

    use super::super::rig::{Draft, Pki, provider};
    use super::*;
    use crate::credentials::ServerFiles;

    /// A client that accepts everything and remembers what was stapled.
    #[derive(Debug, Default)]
    struct Recorder(Mutex<Vec<u8>>);

    impl ServerCertVerifier for Recorder {
        fn verify_server_cert(
            &self,
            _end_entity: &CertificateDer<'_>,
            _intermediates: &[CertificateDer<'_>],
            _server_name: &ServerName<'_>,
            ocsp_response: &[u8],
            _now: UnixTime,
        ) -> Result<ServerCertVerified, rustls::Error> {
            *self.0.lock().expect("a record") = ocsp_response.to_vec();
            Ok(ServerCertVerified::assertion())
        }

        fn verify_tls12_signature(
            &self,
            _message: &[u8],
            _certificate: &CertificateDer<'_>,
            _signature: &rustls::DigitallySignedStruct,
        ) -> Result<HandshakeSignatureValid, rustls::Error> {
            Ok(HandshakeSignatureValid::assertion())
        }

        fn verify_tls13_signature(
            &self,
            _message: &[u8],
            _certificate: &CertificateDer<'_>,
            _signature: &rustls::DigitallySignedStruct,
        ) -> Result<HandshakeSignatureValid, rustls::Error> {
            Ok(HandshakeSignatureValid::assertion())
        }

        fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
            let algorithms = provider().signature_verification_algorithms;
            algorithms.supported_schemes()
        }
    }

    /// The bytes that a server staples to a handshake.
    fn stapled(config: &Arc<ServerConfig>, version: &'static SupportedProtocolVersion) -> Vec<u8> {
        let recorder = Arc::new(Recorder::default());
        let client = ClientConfig::builder_with_provider(provider())
            .with_protocol_versions(&[version])
            .expect("a version")
            .dangerous()
            .with_custom_certificate_verifier(Arc::clone(&recorder) as Arc<_>)
            .with_no_client_auth();
        let name = ServerName::try_from("source.example").expect("a name");
        let mut client = ClientConnection::new(Arc::new(client), name).expect("a client");
        let mut server = ServerConnection::new(Arc::clone(config)).expect("a server");
        while client.is_handshaking() || server.is_handshaking() {
            let (mut there, mut back) = (Vec::new(), Vec::new());
            client.write_tls(&mut there).expect("written");
            let mut there = there.as_slice();
            while !there.is_empty() {
                server.read_tls(&mut there).expect("read");
                server.process_new_packets().expect("a handshake");
            }
            server.write_tls(&mut back).expect("written");
            let mut back = back.as_slice();
            while !back.is_empty() {
                client.read_tls(&mut back).expect("read");
                client.process_new_packets().expect("a handshake");
            }
        }
        let stapled = recorder.0.lock().expect("a record");
        stapled.clone()
    }

    fn files(directory: &Path, pki: &Pki, has_issuer: bool, response: &[u8]) -> ServerFiles {
        let file = |name: &str, content: &[u8]| {
            let path = directory.join(name);
            std::fs::write(&path, content).expect("written");
            path
        };
        let mut chain = pki.leaf.pem.clone();
        if has_issuer {
            chain.push_str(&pki.intermediate.pem());
        }
        ServerFiles {
            certificate: file("certificate", chain.as_bytes()),
            private_key: file("key", pki.leaf.key.serialize_pem().as_bytes()),
            ocsp_response: Some(file("response", response)),
            client_authorities: None,
            revocation_lists: Vec::new(),
        }
    }

    type Change = for<'a> fn(&mut Draft<'a>, &'a Pki);

    /// Responses, and whether they are stapled with and without the issuer in the chain.
    const CASES: [(&str, Change, [bool; 2]); 8] = [
        ("good", |_, _| (), [true, true]),
        ("revoked", |d, _| d.revoke(), [true, true]),
        ("unknown", |d, _| d.forget(), [false, false]),
        ("expired", |d, _| d.until = Some(-1), [false, false]),
        ("of the future", |d, _| d.from = 400, [false, false]),
        (
            "of another",
            |d, p| d.ids = vec![p.id(&p.other)],
            [false, false],
        ),
        ("other name", |d, _| d.ids[0].spoil_name(), [false, false]),
        // Without the issuer nothing here verifies the signature; clients do.
        ("false signature", |d, _| d.is_forged = true, [false, true]),
    ];

    #[test]
    fn only_a_response_that_counts_is_stapled() {
        let (pki, directory) = (Pki::new(), tempfile::tempdir().expect("a directory"));
        for (name, change, expected) in CASES {
            for (has_issuer, is_stapled) in [true, false].into_iter().zip(expected) {
                let mut draft = Draft::good(&pki);
                change(&mut draft, &pki);
                let response = draft.encode();
                let files = files(directory.path(), &pki, has_issuer, &response);
                let tls = files.load().expect("a server").value;
                for version in [&TLS12, &TLS13] {
                    let expected = if is_stapled { response.as_slice() } else { &[] };
                    assert_eq!(stapled(&tls.config, version), expected, "{name}");
                }
            }
        }
    }

    #[test]
    fn a_response_ends_being_stapled_when_it_expires() {
        let (pki, directory) = (Pki::new(), tempfile::tempdir().expect("a directory"));
        let mut draft = Draft::good(&pki);
        draft.until = Some(2);
        let files = files(directory.path(), &pki, true, &draft.encode());
        let tls = files.load().expect("a server").value;
        assert!(!stapled(&tls.config, &TLS13).is_empty());
        std::thread::sleep(std::time::Duration::from_millis(3_100));
        assert!(stapled(&tls.config, &TLS13).is_empty());
    }

    #[test]
    fn what_is_no_response_is_refused_and_the_file_is_watched() {
        let (pki, directory) = (Pki::new(), tempfile::tempdir().expect("a directory"));
        let files = files(directory.path(), &pki, true, b"rubbish");
        let error = files.load().expect_err("refused").to_string();
        assert!(error.contains("response"), "{error}");
        let watched: Vec<_> = files.paths().collect();
        assert!(watched.contains(&&directory.path().join("response")));
    }
}
