//! Certificates of an authority that lives as long as the benchmark.

use std::fs;
use std::path::PathBuf;
use std::sync::Arc;

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use rustls::{ClientConfig, RootCertStore};
use tempfile::TempDir;

/// An authority, and everything that it has issued.
pub(crate) struct Authority {
    issuer: CertifiedIssuer<'static, KeyPair>,
    directory: TempDir,
}

/// A certificate for 127.0.0.1 and one more name, with its key.
pub(crate) struct Issued {
    pub(crate) certificate: PathBuf,
    pub(crate) private_key: PathBuf,
}

impl Authority {
    pub(crate) fn new() -> Self {
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().expect("a key");
        let issuer = CertifiedIssuer::self_signed(params, key).expect("an authority");
        let directory = tempfile::tempdir().expect("a directory");
        let authority = Self { issuer, directory };
        fs::write(authority.file(), authority.issuer.pem()).expect("written");
        authority
    }

    /// Its own certificate.
    pub(crate) fn file(&self) -> PathBuf {
        self.directory.path().join("authority.pem")
    }

    pub(crate) fn issue(&self, name: &str) -> Issued {
        let names = vec!["127.0.0.1".to_owned(), name.to_owned()];
        let key = KeyPair::generate().expect("a key");
        let params = CertificateParams::new(names).expect("names");
        let certificate = params.signed_by(&key, &self.issuer).expect("a certificate");
        let issued = Issued {
            certificate: self.directory.path().join(format!("{name}.pem")),
            private_key: self.directory.path().join(format!("{name}.key")),
        };
        fs::write(&issued.certificate, certificate.pem()).expect("written");
        fs::write(&issued.private_key, key.serialize_pem()).expect("written");
        issued
    }

    /// What a client needs that trusts it.
    pub(crate) fn client(&self) -> Arc<ClientConfig> {
        let mut roots = RootCertStore::empty();
        let trusted = roots.add(self.issuer.der().clone());
        trusted.expect("a certificate of an authority");
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let config = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .expect("versions");
        let config = config.with_root_certificates(roots);
        Arc::new(config.with_no_client_auth())
    }
}
