//! PEM files of certificates, keys and authorities, and TLS configurations from them.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::client::WebPkiServerVerifier;
use rustls::crypto::CryptoProvider;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::danger::ClientCertVerifier;
use rustls::server::{NoServerSessionStorage, WebPkiClientVerifier};
use rustls::sign::{CertifiedKey, SingleCertAndKey};
use rustls::{ClientConfig, RootCertStore, ServerConfig};

use super::Certificate;
use super::ocsp::{ServerVerifier, Staple, Stapler, Untrusted};
use super::revocation::RevocationList;

/// Why credentials are unusable.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A file cannot be read.
    #[error("cannot read {path}: {error}")]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// The system's error.
        error: io::Error,
    },
    /// A file contains no certificates.
    #[error("{0} contains no PEM certificates")]
    NoCertificates(PathBuf),
    /// A file contains no private key.
    #[error("{0} contains no PEM private key")]
    NoPrivateKey(PathBuf),
    /// The certificate has expired.
    #[error("the certificate in {0} has expired")]
    Expired(PathBuf),
    /// A file contains no certificate revocation list, or a malformed one.
    #[error("{0} is not a certificate revocation list in PEM or DER")]
    NotARevocationList(PathBuf),
    /// A file contains no OCSP response.
    #[error("{path} is not an OCSP response in DER: {reason}")]
    NotAnOcspResponse {
        /// The file.
        path: PathBuf,
        /// Why not.
        reason: Untrusted,
    },
    /// An OCSP response without a certificate.
    #[error("ocsp_response is for certificate: set both")]
    StapleAlone,
    /// Only one of certificate and private key is set.
    #[error("set both certificate and private_key, or neither")]
    Half,
    /// Revocation lists without authorities for client certificates.
    #[error("revocation_lists are for client_authorities: set both")]
    ListsAlone,
    /// The TLS library rejects them.
    #[error("TLS cannot be set up: {0}")]
    Tls(#[from] rustls::Error),
    /// The authorities are unusable.
    #[error("the authorities cannot be used: {0}")]
    Authorities(String),
    /// An environment variable is not set.
    #[error("the environment variable {0} is not set")]
    NoVariable(String),
    /// A file contains no key that signs client assertions.
    #[error("{0} contains neither an EC key on P-384 in PKCS #8 nor an RSA key")]
    NotASigningKey(PathBuf),
    /// The signature of an assertion failed.
    #[error("an assertion cannot be signed")]
    NoSignature,
    /// A user or a secret is malformed.
    #[error("it is empty, or has characters that no user or secret has")]
    NotASecret,
    /// The URL of an authorization server is malformed.
    #[error("the URL of the authorization server is not an http or https URL")]
    NotAUrl,
    /// A file contains no key that verifies signatures.
    #[error("{0} is no JWK set with a key for these algorithms")]
    NoKeys(PathBuf),
    /// A shared secret is too short for HMAC with SHA-256 (RFC 7518 3.2).
    #[error("the secret is shorter than 32 bytes")]
    ShortSecret,
    /// An authorization server without TLS.
    #[error("the authorization server has no https URL; in_clear = true allows that")]
    InClear,
    /// Client credentials need one proof.
    #[error("set one of private_key and client_secret")]
    NoProof,
    /// A token is malformed.
    #[error("it is empty or not a bearer token")]
    NotAToken,
}

/// A value built from credentials, and our certificate in them.
#[derive(Debug)]
pub struct Loaded<T> {
    /// The value.
    pub value: T,
    /// Our certificate, if we have one.
    pub certificate: Option<Certificate>,
    /// The certificate revocation lists in it.
    pub revocation_lists: Vec<RevocationList>,
}

impl<T> Loaded<T> {
    /// A value that contains no certificate.
    pub(crate) fn plain(value: T) -> Self {
        Self {
            value,
            certificate: None,
            revocation_lists: Vec::new(),
        }
    }
}

/// The TLS files of a server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServerFiles {
    /// Its certificate and intermediates.
    pub certificate: PathBuf,
    /// Its private key.
    pub private_key: PathBuf,
    /// The OCSP response about this certificate, in DER.
    pub ocsp_response: Option<PathBuf>,
    /// Authorities for client certificates. `None`: the server requests none.
    pub client_authorities: Option<PathBuf>,
    /// Certificate revocation lists of these authorities.
    pub revocation_lists: Vec<PathBuf>,
}

/// The TLS configuration of a server.
#[derive(Debug, Clone)]
pub struct ServerTls {
    /// The configuration for handshakes.
    pub config: Arc<ServerConfig>,
    /// The verifier of client certificates, if they are requested.
    pub clients: Option<Arc<ClientVerifier>>,
    /// The OCSP response that it staples.
    pub staple: Option<Arc<Staple>>,
}

/// A verifier of client certificates.
pub type ClientVerifier = dyn ClientCertVerifier;

/// The TLS files of a client.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ClientFiles {
    /// Authorities for the server's certificate; the system's when absent.
    pub authorities: Option<PathBuf>,
    /// The client's certificate.
    pub certificate: Option<PathBuf>,
    /// Its private key.
    pub private_key: Option<PathBuf>,
    /// Certificate revocation lists of the authorities.
    pub revocation_lists: Vec<PathBuf>,
}

impl ServerFiles {
    /// The files.
    pub fn paths(&self) -> impl Iterator<Item = &PathBuf> {
        [&self.certificate, &self.private_key]
            .into_iter()
            .chain(&self.ocsp_response)
            .chain(&self.client_authorities)
            .chain(&self.revocation_lists)
    }

    /// TLS 1.2 and 1.3, HTTP/2 and HTTP/1.1. With client certificates, sessions are never resumed:
    /// each connection authenticates anew.
    ///
    /// # Errors
    /// The error in the files.
    pub fn load(&self) -> Result<Loaded<ServerTls>, Error> {
        let (chain, key) = identity(&self.certificate, &self.private_key)?;
        let certificate = chain.first().and_then(Certificate::read);
        let provider = provider();
        let revocation_lists = revocation_lists(&self.revocation_lists)?;
        let clients = self.verifier(&provider, &revocation_lists)?;
        let staple = self.staple(&chain, &provider)?;
        let key = CertifiedKey::from_der(chain, key, &provider)?;
        let builder =
            ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions()?;
        let builder = match &clients {
            None => builder.with_no_client_auth(),
            Some(verifier) => builder.with_client_cert_verifier(Arc::clone(verifier)),
        };
        let mut config = builder.with_cert_resolver(match &staple {
            None => Arc::new(SingleCertAndKey::from(key)),
            Some(staple) => Arc::new(Stapler::new(key, Arc::clone(staple))),
        });
        config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        if clients.is_some() {
            config.session_storage = Arc::new(NoServerSessionStorage {});
            config.send_tls13_tickets = 0;
        }
        let config = Arc::new(config);
        Ok(Loaded {
            value: ServerTls {
                config,
                clients,
                staple,
            },
            certificate,
            revocation_lists,
        })
    }

    fn staple(
        &self,
        chain: &[CertificateDer<'_>],
        provider: &CryptoProvider,
    ) -> Result<Option<Arc<Staple>>, Error> {
        let Some(path) = &self.ocsp_response else {
            return Ok(None);
        };
        let staple = Staple::parse(path, read(path)?, chain, provider);
        let staple = staple.map_err(|reason| Error::NotAnOcspResponse {
            path: path.clone(),
            reason,
        })?;
        Ok(Some(Arc::new(staple)))
    }

    fn verifier(
        &self,
        provider: &Arc<CryptoProvider>,
        lists: &[RevocationList],
    ) -> Result<Option<Arc<ClientVerifier>>, Error> {
        let Some(path) = &self.client_authorities else {
            return Ok(None);
        };
        let roots = Arc::new(roots(certificates(path)?));
        let verifier = WebPkiClientVerifier::builder_with_provider(roots, Arc::clone(provider));
        // Authorities without a list stay accepted: a list concerns its own authority only.
        let verifier = verifier
            .with_crls(lists.iter().map(|list| list.der.clone()))
            .allow_unknown_revocation_status()
            .build()
            .map_err(|error| Error::Authorities(error.to_string()))?;
        Ok(Some(verifier))
    }
}

impl ClientFiles {
    /// The files.
    pub fn paths(&self) -> impl Iterator<Item = &PathBuf> {
        self.certificate
            .iter()
            .chain(&self.private_key)
            .chain(&self.authorities)
            .chain(&self.revocation_lists)
    }

    /// TLS 1.2 and 1.3; the caller selects the protocol.
    ///
    /// # Errors
    /// The error in the files.
    pub fn load(&self) -> Result<Loaded<ClientConfig>, Error> {
        let roots = match &self.authorities {
            None => roots(rustls_native_certs::load_native_certs().certs),
            Some(path) => roots(certificates(path)?),
        };
        let revocation_lists = revocation_lists(&self.revocation_lists)?;
        let builder = ClientConfig::builder_with_provider(provider())
            .with_safe_default_protocol_versions()?;
        let builder = match roots.is_empty() && revocation_lists.is_empty() {
            // The system has none: every server is refused.
            true => builder.with_root_certificates(roots),
            false => {
                let verifier = server_verifier(roots, &revocation_lists)?;
                let builder = builder.dangerous();
                builder.with_custom_certificate_verifier(Arc::new(verifier))
            }
        };
        let (value, certificate) = match (&self.certificate, &self.private_key) {
            (None, None) => (builder.with_no_client_auth(), None),
            (Some(certificate), Some(key)) => {
                let (chain, key) = identity(certificate, key)?;
                let certificate = chain.first().and_then(Certificate::read);
                (builder.with_client_auth_cert(chain, key)?, certificate)
            }
            (Some(_), None) | (None, Some(_)) => return Err(Error::Half),
        };
        Ok(Loaded {
            value,
            certificate,
            revocation_lists,
        })
    }
}

fn server_verifier(
    roots: RootCertStore,
    lists: &[RevocationList],
) -> Result<ServerVerifier, Error> {
    let (roots, provider) = (Arc::new(roots), provider());
    let chain =
        WebPkiServerVerifier::builder_with_provider(Arc::clone(&roots), Arc::clone(&provider))
            .with_crls(lists.iter().map(|list| list.der.clone()))
            .allow_unknown_revocation_status()
            .build()
            .map_err(|error| Error::Authorities(error.to_string()))?;
    Ok(ServerVerifier::new(chain, roots, &provider))
}

fn revocation_lists(paths: &[PathBuf]) -> Result<Vec<RevocationList>, Error> {
    let mut all = Vec::new();
    for path in paths {
        let lists = RevocationList::read_all(path, &read(path)?);
        all.extend(lists.ok_or_else(|| Error::NotARevocationList(path.clone()))?);
    }
    Ok(all)
}

fn provider() -> Arc<CryptoProvider> {
    Arc::new(rustls::crypto::aws_lc_rs::default_provider())
}

fn identity(
    certificate: &Path,
    private_key: &Path,
) -> Result<(Vec<CertificateDer<'static>>, PrivateKeyDer<'static>), Error> {
    let chain = certificates(certificate)?;
    let key = PrivateKeyDer::from_pem_slice(&read(private_key)?)
        .map_err(|_not_pem| Error::NoPrivateKey(private_key.to_owned()))?;
    Ok((chain, key))
}

fn roots(certificates: Vec<CertificateDer<'static>>) -> RootCertStore {
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(certificates);
    roots
}

fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, Error> {
    let pem = read(path)?;
    let certificates: Vec<_> = CertificateDer::pem_slice_iter(&pem)
        .filter_map(Result::ok)
        .collect();
    if certificates.is_empty() {
        return Err(Error::NoCertificates(path.to_owned()));
    }
    Ok(certificates)
}

/// The content of a file.
pub(crate) fn read(path: &Path) -> Result<Vec<u8>, Error> {
    std::fs::read(path).map_err(|error| Error::Unreadable {
        path: path.to_owned(),
        error,
    })
}
