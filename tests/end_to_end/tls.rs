//! Sources over TLS: whom the gateway trusts.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use rustls::ServerConfig;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tempfile::TempDir;
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;

use crate::origin::Origin;
use crate::rig::{AS_STORED, Rig};
use crate::study::{Study, at, location_uid};

/// An authority made for one test.
struct Authority {
    issuer: CertifiedIssuer<'static, KeyPair>,
    directory: TempDir,
}

impl Authority {
    fn new() -> Self {
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().expect("a key");
        let issuer = CertifiedIssuer::self_signed(params, key).expect("an authority");
        let directory = tempfile::tempdir().expect("a directory");
        Self { issuer, directory }
    }

    /// Its certificate, as settings name it.
    fn file(&self) -> PathBuf {
        let file = self.directory.path().join("authority.pem");
        std::fs::write(&file, self.issuer.pem()).expect("written");
        file
    }

    /// What a server called `name` needs.
    fn server(&self, name: &str) -> ServerConfig {
        let key = KeyPair::generate().expect("a key");
        let params = CertificateParams::new(vec![name.to_owned()]).expect("a name");
        let certificate = params.signed_by(&key, &self.issuer).expect("a certificate");
        let chain: Vec<CertificateDer<'static>> = vec![certificate.der().clone()];
        let key = PrivateKeyDer::try_from(key.serialize_der()).expect("a key");
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .expect("versions")
            .with_no_client_auth()
            .with_single_cert(chain, key)
            .expect("a server")
    }
}

/// Puts TLS in front of a server that has none.
async fn with_tls(server: SocketAddr, config: ServerConfig) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("an address");
    let acceptor = TlsAcceptor::from(Arc::new(config));
    tokio::spawn(async move {
        while let Ok((socket, _)) = listener.accept().await {
            let acceptor = acceptor.clone();
            tokio::spawn(async move {
                // A client that does not trust us hangs up in the handshake.
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

/// A gateway that trusts `trusted`, before a source whose certificate `issued` gave to `name`.
async fn status(trusted: &Authority, issued: &Authority, name: &str) -> (u16, usize) {
    let study = Study::new(1).with(3, at(1));
    let origin = Origin::of(&study).await;
    let address = with_tls(origin.address, issued.server(name)).await;
    let path = origin.url();
    let path = path
        .rsplit_once(&origin.address.to_string())
        .expect("a path")
        .1;
    let rig = Rig::start(&format!(
        "[[location]]\nretrieve_location_uid = \"{}\"\nwado_rs_url = \"https://{address}{path}\"\n\
         [location.http]\nauthorities = \"{}\"\n",
        location_uid(1),
        trusted.file().display(),
    ));
    let manifest = rig.register(study.fhir()).await;
    let answer = rig
        .get(&format!("{}{}", manifest.root, study.path()), &[AS_STORED])
        .await;
    (answer.status.as_u16(), origin.asked().len())
}

#[tokio::test]
async fn a_source_with_a_certificate_of_a_trusted_authority_is_asked() {
    let authority = Authority::new();
    assert_eq!(status(&authority, &authority, "127.0.0.1").await, (200, 1));
}

#[tokio::test]
async fn a_source_of_another_authority_or_name_is_never_asked() {
    let (authority, other) = (Authority::new(), Authority::new());
    assert_eq!(status(&authority, &other, "127.0.0.1").await, (502, 0));
    assert_eq!(
        status(&authority, &authority, "elsewhere.example").await,
        (502, 0)
    );
}
