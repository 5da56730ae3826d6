//! Certificate authorities made for one test, and their certificates.

use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rcgen::{
    BasicConstraints, CertificateParams, CertificateRevocationListParams, CertifiedIssuer, DnType,
    IsCa, KeyIdMethod, KeyPair, RevokedCertParams, SanType, SerialNumber, SigningKey,
    date_time_ymd,
};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::WebPkiClientVerifier;
use rustls::{RootCertStore, ServerConfig};
use sha2::{Digest, Sha256};
use tempfile::TempDir;
use time::OffsetDateTime;
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;
use x509_cert::Certificate;
use x509_cert::der::asn1::{BitString, GeneralizedTime, OctetString};
use x509_cert::der::oid::ObjectIdentifier;
use x509_cert::der::{Decode, Encode};
use x509_cert::spki::AlgorithmIdentifierOwned;
use x509_ocsp::{
    BasicOcspResponse, CertId, CertStatus, OcspGeneralizedTime, OcspResponse, ResponderId,
    ResponseData, RevokedInfo, SingleResponse, Version,
};

const SHA_256: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.16.840.1.101.3.4.2.1");
const ECDSA_WITH_SHA_256: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.10045.4.3.2");

/// An authority.
pub(crate) struct Authority {
    issuer: CertifiedIssuer<'static, KeyPair>,
    directory: TempDir,
}

/// A certificate with its private key.
pub(crate) struct Issued {
    /// The certificate.
    pub(crate) certificate: CertificateDer<'static>,
    /// Both in one file, so that one step replaces both.
    pem: String,
    key: KeyPair,
    file: PathBuf,
    serial_number: SerialNumber,
}

/// When a certificate is valid.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Validity {
    Now,
    Past,
    Future,
}

impl Authority {
    pub(crate) fn new() -> Self {
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().expect("a key");
        // No two authorities have one name: a revocation list belongs to its issuer's name.
        let digits = xcwado::random::bytes::<8>().expect("random digits");
        let name = data_encoding::HEXLOWER.encode(&digits);
        params.distinguished_name.push(DnType::CommonName, name);
        let issuer = CertifiedIssuer::self_signed(params, key).expect("an authority");
        let directory = tempfile::tempdir().expect("a directory");
        fs::write(directory.path().join("authority.pem"), issuer.pem()).expect("written");
        Self { issuer, directory }
    }

    /// Its certificate, as settings name it.
    pub(crate) fn file(&self) -> PathBuf {
        self.directory.path().join("authority.pem")
    }

    /// A set of roots with this certificate alone.
    pub(crate) fn roots(&self) -> Arc<RootCertStore> {
        let mut roots = RootCertStore::empty();
        roots.add(self.issuer.der().clone()).expect("an authority");
        Arc::new(roots)
    }

    /// A certificate for a host name, address or URI.
    pub(crate) fn issue(&self, name: &str) -> Issued {
        self.issue_valid(name, Validity::Now)
    }

    /// A certificate for several host names and addresses.
    pub(crate) fn issue_to(&self, names: &[&str]) -> Issued {
        let names = names.iter().map(|name| (*name).to_owned());
        let params = CertificateParams::new(names.collect::<Vec<_>>()).expect("names");
        self.issue_with(params, Validity::Now.dates())
    }

    /// As [`Authority::issue`], with another period of validity.
    pub(crate) fn issue_valid(&self, name: &str, validity: Validity) -> Issued {
        let mut params = match name.contains(':') {
            true => CertificateParams::default(),
            false => CertificateParams::new(vec![name.to_owned()]).expect("a name"),
        };
        if name.contains(':') {
            let uri = name.try_into().expect("a URI");
            params.subject_alt_names = vec![SanType::URI(uri)];
        }
        self.issue_with(params, validity.dates())
    }

    /// A certificate that expires after this many seconds.
    pub(crate) fn issue_for(&self, name: &str, seconds: i64) -> Issued {
        let params = CertificateParams::new(vec![name.to_owned()]).expect("a name");
        let now = OffsetDateTime::now_utc();
        let dates = [
            now - time::Duration::days(1),
            now + time::Duration::seconds(seconds),
        ];
        self.issue_with(params, dates)
    }

    /// Its certificate in PEM.
    pub(crate) fn pem(&self) -> String {
        self.issuer.pem()
    }

    fn issue_with(&self, mut params: CertificateParams, [from, to]: [OffsetDateTime; 2]) -> Issued {
        params.not_before = from;
        params.not_after = to;
        let digits = xcwado::random::bytes::<15>().expect("random digits");
        let serial_number = SerialNumber::from_slice(&[&[1], digits.as_slice()].concat());
        params.serial_number = Some(serial_number.clone());
        let key = KeyPair::generate().expect("a key");
        let certificate = params.signed_by(&key, &self.issuer).expect("a certificate");
        let pem = certificate.pem() + &key.serialize_pem();
        let certificate = certificate.der().clone();
        let fingerprint = fingerprint(&certificate);
        let file = self.directory.path().join(format!("{fingerprint}.pem"));
        fs::write(&file, &pem).expect("written");
        Issued {
            certificate,
            pem,
            key,
            file,
            serial_number,
        }
    }

    /// A revocation list in PEM, valid for these days from now on; `-1`: until yesterday.
    pub(crate) fn revoke(&self, revoked: &[&Issued], days: i64) -> String {
        let now = OffsetDateTime::now_utc();
        let revoked = revoked.iter().map(|issued| RevokedCertParams {
            serial_number: issued.serial_number.clone(),
            revocation_time: now - time::Duration::days(5),
            reason_code: None,
            invalidity_date: None,
        });
        let params = CertificateRevocationListParams {
            this_update: now - time::Duration::days(5),
            next_update: now + time::Duration::days(days),
            crl_number: SerialNumber::from(1),
            issuing_distribution_point: None,
            revoked_certs: revoked.collect(),
            key_identifier_method: KeyIdMethod::Sha256,
        };
        let list = params.signed_by(&self.issuer).expect("a list");
        list.pem().expect("PEM")
    }

    /// An OCSP response about a certificate, five hours old and valid for these hours from now on.
    pub(crate) fn respond(&self, issued: &Issued, is_revoked: bool, hours: i64) -> Vec<u8> {
        let own = Certificate::from_der(self.issuer.der()).expect("an authority");
        let own = own.tbs_certificate;
        let about = Certificate::from_der(&issued.certificate).expect("a certificate");
        let key = own.subject_public_key_info.subject_public_key.raw_bytes();
        let single = SingleResponse {
            cert_id: CertId {
                hash_algorithm: algorithm(SHA_256),
                issuer_name_hash: hash(&own.subject.to_der().expect("DER")),
                issuer_key_hash: hash(key),
                serial_number: about.tbs_certificate.serial_number,
            },
            cert_status: match is_revoked {
                false => CertStatus::good(),
                true => CertStatus::Revoked(RevokedInfo {
                    revocation_time: hours_from_now(-5),
                    revocation_reason: None,
                }),
            },
            this_update: hours_from_now(-5),
            next_update: Some(hours_from_now(hours)),
            single_extensions: None,
        };
        self.sign(ResponseData {
            version: Version::V1,
            responder_id: ResponderId::ByName(own.subject),
            produced_at: hours_from_now(-5),
            responses: vec![single],
            response_extensions: None,
        })
    }

    fn sign(&self, data: ResponseData) -> Vec<u8> {
        let signed = data.to_der().expect("DER");
        let signature = self.issuer.key().sign(&signed).expect("a signature");
        let basic = BasicOcspResponse {
            tbs_response_data: data,
            signature_algorithm: algorithm(ECDSA_WITH_SHA_256),
            signature: BitString::from_bytes(&signature).expect("bits"),
            certs: None,
        };
        let response = OcspResponse::successful(basic).expect("DER");
        response.to_der().expect("DER")
    }
}

fn algorithm(oid: ObjectIdentifier) -> AlgorithmIdentifierOwned {
    let parameters = None;
    AlgorithmIdentifierOwned { oid, parameters }
}

fn hash(content: &[u8]) -> OctetString {
    OctetString::new(Sha256::digest(content).as_slice()).expect("octets")
}

fn hours_from_now(hours: i64) -> OcspGeneralizedTime {
    let time = OffsetDateTime::now_utc() + time::Duration::hours(hours);
    let seconds = time.unix_timestamp().try_into().expect("after 1970");
    let time = GeneralizedTime::from_unix_duration(std::time::Duration::from_secs(seconds));
    OcspGeneralizedTime(time.expect("a time"))
}

impl Validity {
    fn dates(self) -> [OffsetDateTime; 2] {
        let (from, to) = match self {
            Self::Now => (2000, 2100),
            Self::Past => (2000, 2001),
            Self::Future => (2090, 2100),
        };
        [from, to].map(|year| date_time_ymd(year, 1, 1))
    }
}

impl Issued {
    /// The settings that name it.
    pub(crate) fn settings(&self) -> String {
        settings(&self.file)
    }

    /// SHA-256 of it, in lower case and without colons.
    pub(crate) fn fingerprint(&self) -> String {
        fingerprint(&self.certificate)
    }

    /// Writes both into a file, or replaces it, atomically.
    pub(crate) fn replace(&self, file: &Path) {
        replace(file, &self.pem);
    }

    /// `[gateway_listen]` with this certificate, for clients with certificates of `authority`.
    pub(crate) fn gateway_listen(&self, authority: &Authority) -> String {
        gateway_listen(&self.file, authority)
    }

    /// The rustls configuration of a server with this certificate.
    pub(crate) fn server(&self) -> ServerConfig {
        self.with(rustls_server().with_no_client_auth())
    }

    /// As [`Issued::server`], with an OCSP response that it staples.
    pub(crate) fn stapling(&self, response: Vec<u8>) -> ServerConfig {
        let chain = vec![self.certificate.clone()];
        rustls_server()
            .with_no_client_auth()
            .with_single_cert_with_ocsp(chain, self.private_key(), response)
            .expect("a server")
    }

    /// As [`Issued::server`], for clients of `authority` only.
    pub(crate) fn server_for(&self, authority: &Authority) -> ServerConfig {
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let verifier = WebPkiClientVerifier::builder_with_provider(authority.roots(), provider);
        let verifier = verifier.build().expect("an authority");
        self.with(rustls_server().with_client_cert_verifier(verifier))
    }

    fn with(
        &self,
        builder: rustls::ConfigBuilder<ServerConfig, rustls::server::WantsServerCert>,
    ) -> ServerConfig {
        let chain = vec![self.certificate.clone()];
        builder
            .with_single_cert(chain, self.private_key())
            .expect("a server")
    }

    pub(crate) fn private_key(&self) -> PrivateKeyDer<'static> {
        PrivateKeyDer::try_from(self.key.serialize_der()).expect("a key")
    }
}

fn rustls_server() -> rustls::ConfigBuilder<ServerConfig, rustls::WantsVerifier> {
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .expect("versions")
}

/// The settings that name a file with a certificate and its key.
pub(crate) fn settings(file: &Path) -> String {
    format!("certificate = {file:?}\nprivate_key = {file:?}\n")
}

/// As [`Issued::gateway_listen`], with the certificate in a file.
pub(crate) fn gateway_listen(file: &Path, authority: &Authority) -> String {
    format!(
        "[gateway_listen]\naddress = \"127.0.0.1:0\"\nclient_authorities = {:?}\n{}",
        authority.file(),
        settings(file)
    )
}

/// Replaces a file atomically, as renewal tools do.
pub(crate) fn replace(file: &Path, content: &str) {
    let new = file.with_extension("new");
    fs::write(&new, content).expect("written");
    fs::rename(new, file).expect("replaced");
}

fn fingerprint(certificate: &CertificateDer<'_>) -> String {
    let digest = Sha256::digest(certificate);
    digest.iter().map(|octet| format!("{octet:02x}")).collect()
}

/// A TLS endpoint in front of a server without TLS.
pub(crate) async fn with_tls(server: SocketAddr, config: ServerConfig) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("an address");
    let acceptor = TlsAcceptor::from(Arc::new(config));
    tokio::spawn(async move {
        while let Ok((socket, _)) = listener.accept().await {
            let acceptor = acceptor.clone();
            tokio::spawn(async move {
                // A client that does not trust the certificate aborts the handshake.
                let Ok(mut client) = acceptor.accept(socket).await else {
                    return;
                };
                let mut server = TcpStream::connect(server).await.expect("the server");
                let _ = tokio::io::copy_bidirectional(&mut client, &mut server).await;
            });
        }
    });
    address
}
